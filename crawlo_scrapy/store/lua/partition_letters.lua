-- Take in dead letters of another partition.
--   KEYS: moving (HASH), dead letters (HASH)
--   ARGV: token of this run, number of the partition that they come from, then for each: id, letter
-- Another letter may have the id of one here: then it is told apart by that number. Those that are
-- here already count once. Returns 1; -1 when another run has taken over.
local moving, dead = KEYS[1], KEYS[2]

--#include _moving

local count = 0
for i = 3, #ARGV, 2 do
  local id, letter = ARGV[i], ARGV[i + 1]
  local there = redis.call('HGET', dead, id)
  while there and there ~= letter do
    id = id .. '~' .. ARGV[2]
    there = redis.call('HGET', dead, id)
  end
  count = count + redis.call('HSET', dead, id, letter)
end
redis.call('HINCRBY', moving, 'buried', count)
return 1
