-- Give leases back unstarted: to the front of their queues, in their old order, at no cost.
--   KEYS: meta (HASH), leases of this worker (HASH), slots and their queues
--   ARGV: lease ids, oldest first
-- Returns how many were still held.
local meta, leases = KEYS[1], KEYS[2]

--#include _clock
--#include _limits
--#include _queue

local count = 0
for i = #ARGV, 1, -1 do
  local record = redis.call('HGET', leases, ARGV[i])
  if record then
    local slot, priority, element = split_record(record)
    settle(slot, 1)
    push_front(slot, priority, element)
    redis.call('HDEL', leases, ARGV[i])
    count = count + 1
  end
end
if count > 0 then
  redis.call('HINCRBY', meta, 'queued', count)
  redis.call('HINCRBY', meta, 'leased', -count)
end
return count
