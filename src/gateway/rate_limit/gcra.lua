-- GCRA (see ITU-T I.371) for one key: its theoretical arrival time, in microseconds of Redis'
-- own clock. KEYS[1]: the key. ARGV: microseconds a request, requests at once.
-- Answers whether one more may pass, how many may follow at once, and the wait in microseconds.
local period, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local arrival = math.max(tonumber(redis.call('GET', KEYS[1])) or now, now)
local earliest = arrival - period * (burst - 1)
if now < earliest then
  return { 0, 0, math.ceil(earliest - now) }
end
arrival = arrival + period
local life = math.ceil((arrival - now) / 1000) + 1
redis.call('SET', KEYS[1], string.format('%.1f', arrival), 'PX', string.format('%d', life))
-- A thousandth for what the numbers' precision loses.
return { 1, math.floor((now + period * burst - arrival) / period + 0.001), 0 }
