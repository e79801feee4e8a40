-- GETs, or with BODY_BYTES in the environment POSTs of that size, with the header AUTHORIZATION from
-- there; prints wrk's summary as one line of JSON, behind its own report.
local size = tonumber(os.getenv('BODY_BYTES') or '0')
if size > 0 then
    wrk.method = 'POST'
    wrk.body = string.rep('x', size)
end

local authorization = os.getenv('AUTHORIZATION') or ''
if authorization ~= '' then
    wrk.headers['Authorization'] = authorization
end

function done(summary, latency)
    local errors = summary.errors
    local rate = summary.requests / summary.duration * 1e6
    local speed = string.format('"requests_per_s":%.1f', rate)
    if size > 0 then
        speed = string.format('"bytes":%d,"mb_per_s":%.1f', summary.requests * size, rate * size / 1e6)
    end
    io.write(string.format(
        '{"requests":%d,%s,"p50_ms":%.3f,"p99_ms":%.3f,'
            .. '"outcomes":{"answered":%d,"bad status":%d,"connect, read or write error":%d,"timeout":%d}}\n',
        summary.requests, speed, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        summary.requests, errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
