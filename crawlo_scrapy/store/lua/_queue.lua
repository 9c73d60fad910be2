-- Included, after the clock and the limits, where requests enter the queue.
-- queue .. slot: ZSET of the priorities in use; queue .. slot:priority: LIST of elements.
-- An element is one byte (2 * attempts + suspect) and the payload.
local function announce(slot, priority)
  redis.call('ZADD', queue .. slot, priority, priority)
  if limits_used then
    if redis.call('ZSCORE', timed, slot) then return end
    local delay, most = limit_of(slot)
    local ready = tonumber(redis.call('ZSCORE', pace, slot) or 0)
    if delay > 0 or most > 0 or ready > now_exact then
      redis.call('ZREM', pace, slot)
      redis.call('ZREM', slots, slot)
      redis.call('ZADD', timed, math.max(now_exact, ready), slot)
      return
    end
  end
  redis.call('ZADD', slots, 'NX', now_exact, slot)
end

local function push_front(slot, priority, element)
  -- In this order: a slot without requests does no harm, requests of no slot would be lost.
  local list = queue .. slot .. ':' .. priority
  if redis.call('LLEN', list) == 0 then announce(slot, priority) end
  redis.call('LPUSH', list, element)
end

-- A lease and a dead letter's tail hold "slot\npriority\nelement". What does not is returned as a
-- request of no slot: it will not decode, and so becomes a dead letter.
local function split_record(record)
  local slot, priority, place = string.match(record, '^([%w%%%-_.~]*)\n(%-?%d+)\n()')
  if not place or #priority > 17 or place > #record then return '', '0', '\0' .. record end
  return slot, priority, string.sub(record, place)
end
