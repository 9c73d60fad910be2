-- Queue requests that come from another partition, or were set aside in this one.
--   KEYS: meta (HASH), moving (HASH), slots and their queues
--   ARGV: token of this run, number of the partition that they come from, number of the batch,
--         then for each list: slot, priority, how many, elements…
-- They come behind what is queued, in their order. A batch sent again counts once. Returns 1; -1
-- when another run has taken over.
local meta, moving = KEYS[1], KEYS[2]

--#include _moving

local from, batch = 'from:' .. ARGV[2], tonumber(ARGV[3])
if (tonumber(redis.call('HGET', moving, from)) or -1) >= batch then return 1 end

--#include _clock
--#include _limits
--#include _queue

local count, i = 0, 4
while i <= #ARGV do
  local slot, priority, many = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  announce(slot, priority)
  redis.call('RPUSH', queue .. slot .. ':' .. priority, unpack(ARGV, i + 3, i + 2 + many))
  count, i = count + many, i + 3 + many
end
redis.call('HINCRBY', meta, 'queued', count)
redis.call('HINCRBY', moving, 'arrived', count)
redis.call('HSET', moving, from, batch)
return 1
