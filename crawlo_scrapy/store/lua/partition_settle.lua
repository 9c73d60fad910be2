-- Write down how a partition stands at the end of `repartition`.
--   KEYS: meta (HASH), moving (HASH)
--   ARGV: token of this run, how many fields to remove, these, then fields and values to set
-- Returns the token of the partition; -1 when another run has taken over.
local meta, moving = KEYS[1], KEYS[2]

--#include _moving

local set = 3 + ARGV[2]
for i = 3, set - 1 do redis.call('HDEL', meta, ARGV[i]) end
for i = set, #ARGV, 2 do redis.call('HSET', meta, ARGV[i], ARGV[i + 1]) end
return redis.call('HGET', meta, 'token') or ''
