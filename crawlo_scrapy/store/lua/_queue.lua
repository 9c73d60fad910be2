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
  redis.call('LPUSH', queue .. slot .. ':' .. priority, element)
  announce(slot, priority)
end

-- A lease and a dead letter's tail hold "slot\npriority\nelement".
local function split_record(record)
  local first = string.find(record, '\n', 1, true)
  local second = string.find(record, '\n', first + 1, true)
  return string.sub(record, 1, first - 1), string.sub(record, first + 1, second - 1),
    string.sub(record, second + 1)
end
