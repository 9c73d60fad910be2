-- Keep the latest lines that the nodes of a crawl logged as errors.
--   KEYS: meta (HASH), runs (ZSET), errors (LIST)
--   ARGV: run, when it began in ms, how many are kept, lines, oldest first
-- Returns how many there are.
local meta, runs, errors = KEYS[1], KEYS[2], KEYS[3]
local run, created = ARGV[1], ARGV[2]

--#include _stats_run

if refusal() then return 0 end
redis.call('LPUSH', errors, unpack(ARGV, 4))
redis.call('LTRIM', errors, 0, ARGV[3] - 1)
return redis.call('LLEN', errors)
