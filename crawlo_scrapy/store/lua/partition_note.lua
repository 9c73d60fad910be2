-- Note how far `repartition` has come.
--   KEYS: moving (HASH)
--   ARGV: token of this run, field, value, whether one that was noted before stays (0|1)
-- Returns what is noted now; -1 when another run has taken over.
local moving = KEYS[1]

--#include _moving

redis.call(ARGV[4] == '1' and 'HSETNX' or 'HSET', moving, ARGV[2], ARGV[3])
return redis.call('HGET', moving, ARGV[2])
