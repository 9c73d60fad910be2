-- Included where requests enter the queue; needs `slots`, `queue` (key prefix) and the clock.
-- queue .. slot: ZSET of the priorities in use; queue .. slot:priority: LIST of elements.
-- An element is one byte (2 * attempts + suspect) and the payload.
local function announce(slot, priority)
  redis.call('ZADD', queue .. slot, priority, priority)
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
