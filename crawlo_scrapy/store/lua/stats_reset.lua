-- Let the statistics of a run begin at zero, if this worker is the first of those that live.
--   KEYS: workers (ZSET), nodes of the run (ZSET), series of the run (STREAM),
--         prefix of worker keys, prefix of the nodes' stats, prefix of the nodes' series
--   ARGV: id of this worker, silence after which a worker counts as dead in ms
-- What was written before this worker joined is removed. Returns how many nodes it was of; -1 and
-- removes nothing when another that lives was there before.
local workers, nodes, series = KEYS[1], KEYS[2], KEYS[3]
local worker_prefix, stats_prefix, series_prefix = KEYS[4], KEYS[5], KEYS[6]
local id = ARGV[1]

--#include _clock

local living = string.format('(%.0f', now - tonumber(ARGV[2]))
local joined = tonumber(redis.call('HGET', worker_prefix .. id, 'joined'))
if not joined then
  if redis.call('ZCOUNT', nodes, living, '+inf') > 0 then return -1 end
  joined = now + 1
end
for _, other in ipairs(redis.call('ZRANGEBYSCORE', workers, living, '+inf')) do
  local theirs = tonumber(redis.call('HGET', worker_prefix .. other, 'joined'))
  if theirs and (theirs < joined or (theirs == joined and other < id)) then return -1 end
end

local count = 0
local scores = redis.call('ZRANGE', nodes, 0, -1, 'WITHSCORES')
for i = 1, #scores, 2 do
  if math.abs(tonumber(scores[i + 1])) < joined then
    redis.call('UNLINK', stats_prefix .. scores[i], series_prefix .. scores[i])
    redis.call('ZREM', nodes, scores[i])
    count = count + 1
  end
end
redis.call('XTRIM', series, 'MINID', string.format('%.0f', joined))
return count
