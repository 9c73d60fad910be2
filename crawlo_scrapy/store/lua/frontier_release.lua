-- Give leases back unstarted: to the front of their queues, in their old order, at no cost.
--   KEYS: meta (HASH), leases of this worker (HASH), slots (ZSET), prefix of queue keys
--   ARGV: lease ids, oldest first
-- Returns how many were still held.
local meta, leases, slots, queue = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

--#include _clock
--#include _queue

local count = 0
for i = #ARGV, 1, -1 do
  local record = redis.call('HGET', leases, ARGV[i])
  if record then
    push_front(split_record(record))
    redis.call('HDEL', leases, ARGV[i])
    count = count + 1
  end
end
if count > 0 then
  redis.call('HINCRBY', meta, 'queued', count)
  redis.call('HINCRBY', meta, 'leased', -count)
end
return count
