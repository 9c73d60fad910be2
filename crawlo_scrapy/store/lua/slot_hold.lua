-- Lease nothing of a slot for some time, for all workers: a site asked for it (Retry-After).
--   KEYS: meta (HASH), holds (ZSET), slots and their queues
--   ARGV: slot, ms
-- Returns the time in ms until which it holds.
local meta, holds = KEYS[1], KEYS[2]

--#include _clock
--#include _news
--#include _limits

local slot = ARGV[1]
local time = math.max(now_exact + ARGV[2], tonumber(redis.call('ZSCORE', holds, slot) or 0))
local due = tonumber(redis.call('ZSCORE', timed, slot) or 0)
if due > 0 then
  local offset = due >= BLOCKED and BLOCKED or 0
  redis.call('ZADD', timed, math.max(due, time + offset), slot)
elseif redis.call('ZREM', slots, slot) == 1 then
  redis.call('ZADD', timed, time, slot)
else
  redis.call('ZADD', pace, math.max(time, tonumber(redis.call('ZSCORE', pace, slot) or 0)), slot)
end
redis.call('ZREMRANGEBYSCORE', holds, '-inf', now_exact)
redis.call('ZADD', holds, time, slot)
tell(meta)
return string.format('%d', time)
