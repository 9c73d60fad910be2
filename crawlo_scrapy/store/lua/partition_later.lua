-- Take in delayed requests of another partition, with their times.
--   KEYS: meta (HASH), moving (HASH), delayed (ZSET)
--   ARGV: token of this run, then for each: time in ms, member
-- Those that are here already count once. Returns 1; -1 when another run has taken over.
local meta, moving, delayed = unpack(KEYS)

--#include _moving

local count = redis.call('ZADD', delayed, unpack(ARGV, 2))
redis.call('HINCRBY', meta, 'queued', count)
redis.call('HINCRBY', moving, 'arrived', count)
return 1
