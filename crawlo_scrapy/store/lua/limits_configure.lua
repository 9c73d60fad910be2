-- Make the limits of the settings those of the crawl. What was set by hand stays.
--   KEYS: meta (HASH), holds (ZSET), slots and their queues
--   ARGV: digest of the limits, kinds of delays to forget, as in _limits ("robots:throttle:"; one
--         string), then fields and values
-- Returns 1, or 0 when the limits were these before.
local meta, holds = KEYS[1], KEYS[2]

--#include _clock
--#include _limits
--#include _sooner

local known = (redis.call('HGET', meta, 'limits') or '') == ARGV[1]
local gone, changed = ARGV[2] .. (known and '' or 'delay:count:'), not known
for _, name in ipairs(gone ~= '' and redis.call('HKEYS', limits) or {}) do
  local kind = string.match(name, '^%l+:')
  if kind and string.find(gone, kind, 1, true) then
    redis.call('HDEL', limits, name)
    changed = true
  end
end
if not known then
  for first = 3, #ARGV, 1000 do
    redis.call('HSET', limits, unpack(ARGV, first, math.min(first + 999, #ARGV)))
  end
  redis.call('HSET', meta, 'limits', ARGV[1])
end
for _, set in ipairs(changed and {timed, pace} or {}) do
  -- The latest, within bounds: so long nothing else is done.
  local found = redis.call('ZREVRANGE', set, 0, 9999, 'WITHSCORES')
  for i = 1, #found, 2 do hasten(set, found[i], tonumber(found[i + 1])) end
end
return known and 0 or 1
