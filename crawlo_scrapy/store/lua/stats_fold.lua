-- Put the stats of nodes that write no more under one name.
--   KEYS: nodes of the run (ZSET), folded nodes (SET), stats of the node that takes them (HASH),
--         prefix of the nodes' stats, prefix of the nodes' series
--   ARGV: the node that takes them, its score as it was read ('' if there was none), how many
--         the others are, then for each its name and its score as it was read, then the new
--         keys and values of the node that takes them, as they stand in Redis
-- Returns 1, or 0 and does nothing when one of them was written to since it was read. A node that
-- has not left, and comes back after all, finds itself among the folded.
local nodes, folded, stats, stats_prefix, series_prefix = unpack(KEYS)
local taker, score, count = ARGV[1], ARGV[2], tonumber(ARGV[3])

if (redis.call('ZSCORE', nodes, taker) or '') ~= score then return 0 end
local newest = math.abs(tonumber(score) or 0)
for i = 4, 2 + 2 * count, 2 do
  if redis.call('ZSCORE', nodes, ARGV[i]) ~= ARGV[i + 1] then return 0 end
  newest = math.max(newest, math.abs(tonumber(ARGV[i + 1])))
end
for i = 4, 2 + 2 * count, 2 do
  local node = ARGV[i]
  if tonumber(ARGV[i + 1]) > 0 then redis.call('SADD', folded, node) end
  redis.call('ZREM', nodes, node)
  redis.call('UNLINK', stats_prefix .. node, series_prefix .. node)
end
for first = 4 + 2 * count, #ARGV, 1000 do
  redis.call('HSET', stats, unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
-- A score of its own: whoever reads the same nodes at the same time must not fold them twice.
redis.call('ZADD', nodes, string.format('%.0f', -newest - 1), taker)
return 1
