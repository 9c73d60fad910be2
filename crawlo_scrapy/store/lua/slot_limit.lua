-- Set the delay of a slot by hand, over all else that says something of it.
--   KEYS: meta (HASH), holds (ZSET), slots and their queues
--   ARGV: slot, ms; empty to go back to what the settings say
-- Returns 1 if that is a change.
local meta, holds = KEYS[1], KEYS[2]
local slot, field = ARGV[1], 'set:' .. ARGV[1]

--#include _clock
--#include _news
--#include _limits
--#include _sooner

local before = redis.call('HGET', limits, field) or ''
if ARGV[2] == '' then
  redis.call('HDEL', limits, field)
else
  redis.call('HSET', limits, field, ARGV[2])
end
for _, set in ipairs({timed, pace}) do
  local time = redis.call('ZSCORE', set, slot)
  if time then hasten(set, slot, tonumber(time)) end
end
-- Workers give back what they hold of it without a time.
redis.call('ZADD', holds, 'GT', now + 1000, slot)
tell(meta)
return before == ARGV[2] and 0 or 1
