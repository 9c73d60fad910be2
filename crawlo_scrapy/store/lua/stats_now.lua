-- Add up a run's nodes and see how the frontier stands; changes nothing.
--   KEYS: meta (HASH), workers (ZSET), dead letters (HASH), nodes of the run (ZSET),
--         prefix of the nodes' stats
--   ARGV: silence after which a node counts as dead in ms, then names of the stats to add up
-- Returns {now in ms, a sample as in the series of the run}.
local meta, workers, dead, nodes, stats_prefix = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local names = {unpack(ARGV, 2)}

--#include _clock

local silent = now - tonumber(ARGV[1])

--#include _stats_sums

return {string.format('%d', now), crawl_text(meta, dead, workers)}
