-- Set the queues of some slots aside, before their requests are moved; first of all what is
-- delayed, and dead letters.
--   KEYS: meta (HASH), moving (HASH), delayed (ZSET), dead letters (HASH), where these two are set
--         aside, names of lists set aside (LIST), prefix of these lists, slots and their queues
--   ARGV: token of this run, most lists to set aside, slots…
-- A name is "number slot:priority"; the number makes the key. Returns 1; -1 when another run has
-- taken over.
local meta, moving, delayed, dead, later, letters, names, aside = unpack(KEYS, 1, 8)

--#include _moving
--#include _limits

local found = 0
if redis.call('HSETNX', moving, 'whole', 1) == 1 then
  if redis.call('EXISTS', delayed) == 1 then
    found = redis.call('ZCARD', delayed)
    redis.call('RENAME', delayed, later)
  end
  if redis.call('EXISTS', dead) == 1 then
    redis.call('HSET', moving, 'letters', redis.call('HLEN', dead))
    redis.call('RENAME', dead, letters)
  end
end
local left = tonumber(ARGV[2])
for i = 3, #ARGV do
  local slot = ARGV[i]
  local priorities = queue .. slot
  for _, priority in ipairs(redis.call('ZREVRANGE', priorities, 0, left - 1)) do
    local list = priorities .. ':' .. priority
    local length = redis.call('LLEN', list)
    if length > 0 then
      local number = redis.call('HINCRBY', moving, 'lists', 1)
      redis.call('RPUSH', names, number .. ' ' .. slot .. ':' .. priority)
      redis.call('RENAME', list, aside .. number)
      found = found + length
    end
    redis.call('ZREM', priorities, priority)
    left = left - 1
  end
  if redis.call('EXISTS', priorities) == 1 then break end
  redis.call('ZREM', slots, slot)
  redis.call('ZREM', timed, slot)
  if left <= 0 then break end
end
if found > 0 then
  redis.call('HINCRBY', meta, 'queued', -found)
  redis.call('HINCRBY', moving, 'found', found)
end
return 1
