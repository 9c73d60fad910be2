-- Remove the statistics of a run.
--   KEYS: workers (ZSET), runs (ZSET), nodes of the run (ZSET), series of the run (STREAM),
--         folded nodes (SET), prefix of the nodes' stats, prefix of the nodes' series
--   ARGV: run, '' or the silence in ms after which a node counts as dead
-- Returns how many nodes there were; with a silence, -1 and removes nothing while a node lives.
local workers, runs, nodes, series, folded, stats_prefix, series_prefix = unpack(KEYS)
local run = ARGV[1]

--#include _clock

if ARGV[2] ~= '' then
  local living = string.format('(%.0f', now - tonumber(ARGV[2]))
  if redis.call('ZCOUNT', workers, living, '+inf') > 0
    or redis.call('ZCOUNT', nodes, living, '+inf') > 0 then return -1 end
end
-- First of all: from here on nobody writes to it who comes late.
redis.call('ZREM', runs, run)
local members = redis.call('ZRANGE', nodes, 0, -1)
for _, node in ipairs(members) do
  redis.call('UNLINK', stats_prefix .. node, series_prefix .. node)
end
redis.call('UNLINK', nodes, series, folded)
return #members
