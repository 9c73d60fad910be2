-- Set the delay of a slot by hand, over all else that says something of it.
--   KEYS: meta (HASH), limits (HASH), holds (ZSET)
--   ARGV: slot, ms; empty to go back to what the settings say
-- Returns 1 if that is a change.
local meta, limits, holds = KEYS[1], KEYS[2], KEYS[3]
local field = 'set:' .. ARGV[1]

--#include _clock

local before = redis.call('HGET', limits, field) or ''
if ARGV[2] == '' then
  redis.call('HDEL', limits, field)
else
  redis.call('HSET', limits, field, ARGV[2])
end
-- Workers give back what they hold of it without a time.
redis.call('ZADD', holds, 'GT', now + 1000, ARGV[1])
redis.call('HINCRBY', meta, 'news', 1)
return before == ARGV[2] and 0 or 1
