-- Drop leases that are done.
--   KEYS: meta (HASH), worker (HASH), leases of this worker (HASH), slots and their queues
--   ARGV: number of the last batch that this worker pushed, lease ids…
-- Returns how many were still held; fewer than given means that others took them back.
-- Returns -1 and drops nothing when that batch is not here: children come before parents.
local meta, worker, leases = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HGET', worker, 'pushed') ~= ARGV[1] then return -1 end

--#include _limits

if active_used then
  for i = 2, #ARGV do
    local record = redis.call('HGET', leases, ARGV[i])
    if record then settle(string.match(record, '^[^\n]*'), 1) end
  end
end
local held = 0
for first = 2, #ARGV, 1000 do
  held = held + redis.call('HDEL', leases, unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
if held > 0 then
  redis.call('HINCRBY', meta, 'leased', -held)
  redis.call('HINCRBY', meta, 'acked', held)
end
return held
