-- Take in what limits slots that come from other partitions.
--   KEYS: moving (HASH), limits (HASH), times of slots without requests (ZSET), holds (ZSET)
--   ARGV: token of this run, then three each: limit|pace|hold; field or slot; value or time in ms
-- Returns 1; -1 when another run has taken over.
local moving, limits, pace, holds = unpack(KEYS)

--#include _moving

for i = 2, #ARGV, 3 do
  if ARGV[i] == 'limit' then
    redis.call('HSET', limits, ARGV[i + 1], ARGV[i + 2])
  else
    redis.call('ZADD', ARGV[i] == 'pace' and pace or holds, 'GT', ARGV[i + 2], ARGV[i + 1])
  end
end
return 1
