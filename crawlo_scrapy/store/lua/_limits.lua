-- Included where slots and their limits matter. The scripts' KEYS end with these six, of which
-- the last is a prefix.
local slots, timed, limits, pace, active, queue = unpack(KEYS, #KEYS - 5)
-- slots (ZSET): slots without limits that have requests, in the order of their turns.
-- limits (HASH): "delay:" and "count:" of the settings, with a slot's name or none for all;
--   "set:" a delay by hand, "robots:" and "throttle:" what was learned. Delays are in ms.
-- timed (ZSET): limited slots with requests, by the time of their next lease.
-- pace (ZSET): that time for slots that have no requests now. active (HASH): leases by slot.
local limits_used = redis.call('EXISTS', limits, timed, pace) > 0
local active_used = redis.call('EXISTS', active) == 1
-- Added to the time of a slot that has all the leases it may have; the year 2109 otherwise.
local BLOCKED = 2 ^ 42

-- Delay in ms and most leases of a slot; 0 is no limit.
local function limit_of(slot)
  if not limits_used then return 0, 0 end
  local found = redis.call('HMGET', limits, 'set:' .. slot, 'delay:' .. slot, 'delay:',
    'robots:' .. slot, 'throttle:' .. slot, 'throttle:', 'count:' .. slot, 'count:')
  for i, value in ipairs(found) do found[i] = tonumber(value) end
  return found[1] or math.max(found[2] or found[3] or 0, found[4] or 0, found[5] or found[6] or 0),
    found[7] or found[8] or 0
end

-- A slot has *count* leases less.
local function settle(slot, count)
  if not active_used then return end
  if redis.call('HINCRBY', active, slot, -count) <= 0 then redis.call('HDEL', active, slot) end
  local time = tonumber(redis.call('ZSCORE', timed, slot) or 0)
  if time >= BLOCKED then redis.call('ZADD', timed, time - BLOCKED, slot) end
end
