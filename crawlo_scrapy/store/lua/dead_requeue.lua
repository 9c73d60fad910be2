-- Put dead letters back into the queue, with all their attempts before them.
--   KEYS: meta (HASH), dead letters (HASH), slots and their queues
--   ARGV: ids
-- Returns how many there were.
local meta, dead = KEYS[1], KEYS[2]

--#include _clock
--#include _limits
--#include _queue

local count = 0
for _, id in ipairs(ARGV) do
  local letter = redis.call('HGET', dead, id)
  if letter then
    local record = string.sub(letter, (string.find(letter, '\n', 1, true) or 0) + 1)
    local slot, priority, element = split_record(record)
    push_front(slot, priority, '\1' .. string.sub(element, 2))
    redis.call('HDEL', dead, id)
    count = count + 1
  end
end
if count > 0 then
  redis.call('HINCRBY', meta, 'queued', count)
  redis.call('HINCRBY', meta, 'requeued', count)
  if redis.call('HGET', meta, 'state') == 'finished' then
    redis.call('HSET', meta, 'state', 'running')
  end
end
return count
