-- Read what limits slots now; changes nothing.
--   KEYS: holds (ZSET), slots and their queues
--   ARGV: most slots to return, to look into, and most priorities of a slot to look into; then
--         names of slots, instead of the busiest
-- Returns {now in ms, {slot, queued, leased or -1 when nobody counts, delay in ms, most leases,
--          time of the next lease, time until which it is on hold, {its delays: by hand, of the
--          settings, of the settings for all, of robots.txt, learned, to begin with}}, …}, the
--          busiest first.
local holds, most, looked = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

--#include _clock
--#include _limits

local rows, known = {}, {}
local function add(names)
  for _, slot in ipairs(names) do
    if #rows >= looked then return end
    if not known[slot] then
      local queued = 0
      for _, priority in ipairs(redis.call('ZREVRANGE', queue .. slot, 0, ARGV[3] - 1)) do
        queued = queued + redis.call('LLEN', queue .. slot .. ':' .. priority)
      end
      local leased = active_used and tonumber(redis.call('HGET', active, slot) or 0) or -1
      known[slot] = true
      rows[#rows + 1] = {slot, queued, leased}
    end
  end
end

if #ARGV > 3 then
  add({unpack(ARGV, 4)})
else
  add(redis.call('ZRANGEBYSCORE', holds, now, '+inf', 'LIMIT', 0, looked))
  if redis.call('HLEN', active) <= looked then add(redis.call('HKEYS', active)) end
  for _, set in ipairs({timed, slots, pace}) do add(redis.call('ZRANGE', set, 0, looked - 1)) end
  table.sort(rows, function(one, other)
    local busy, less = one[2] + one[3], other[2] + other[3]
    return busy > less or busy == less and one[1] < other[1]
  end)
end

local result = {string.format('%d', now)}
for i = 1, math.min(most, #rows) do
  local row, slot = rows[i], rows[i][1]
  local delay, count = limit_of(slot)
  local next_lease = tonumber(redis.call('ZSCORE', timed, slot)
    or redis.call('ZSCORE', pace, slot) or 0) % BLOCKED
  row[4], row[5] = string.format('%.3f', delay), count
  row[6] = string.format('%.3f', next_lease)
  row[7] = redis.call('ZSCORE', holds, slot) or '0'
  row[8] = redis.call('HMGET', limits, 'set:' .. slot, 'delay:' .. slot, 'delay:',
    'robots:' .. slot, 'throttle:' .. slot, 'throttle:')
  for j, value in ipairs(row[8]) do
    local ms = tonumber(value)
    row[8][j] = ms and string.format('%.3f', ms) or ''
  end
  result[i + 1] = row
end
return result
