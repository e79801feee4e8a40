-- Prints wrk's summary as one line of JSON, behind its own report.
function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"requests":%d,"requests_per_s":%.1f,"p50_ms":%.3f,"p99_ms":%.3f,'
            .. '"outcomes":{"answered":%d,"bad status":%d,"connect, read or write error":%d,"timeout":%d}}\n',
        summary.requests, summary.requests / summary.duration * 1e6,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        summary.requests, errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
