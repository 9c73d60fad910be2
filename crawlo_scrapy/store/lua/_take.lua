-- Included where requests are leased, after the clock, the limits and the queue; needs `id_base`.
local count, held, given = 0, {}, {}
local unwanted = {} -- slots of which this worker has enough

local function take(slot, most, wait)
  local priorities, before = queue .. slot, count
  while count < before + most do
    local priority = redis.call('ZREVRANGE', priorities, 0, 0)[1]
    if not priority then break end
    local list = priorities .. ':' .. priority
    for _, element in ipairs(redis.call('LPOP', list, before + most - count) or {}) do
      local id = id_base .. string.format('%05d', count)
      given[#given + 1], given[#given + 2], given[#given + 3] = id, wait, element
      held[#held + 1] = id
      held[#held + 1] = slot .. '\n' .. priority .. '\n' .. element
      count = count + 1
    end
    if redis.call('EXISTS', list) == 0 then redis.call('ZREM', priorities, priority) end
  end
  if limits_used and count > before then redis.call('HINCRBY', active, slot, count - before) end
end

-- Slots without limits: who was served goes to the end. Turns follow the clock, and each other
-- where it goes back.
local function take_turns(want)
  local last = tonumber(redis.call('ZREVRANGE', slots, 0, 0, 'WITHSCORES')[2] or 0)
  local quantum = math.max(1, math.floor(want / math.max(1, redis.call('ZCARD', slots))))
  local moved, passed = 0, 0
  while want > count and moved < 1000 do
    local slot = redis.call('ZRANGE', slots, passed, passed)[1]
    if not slot then break end
    local delay, most = limit_of(slot)
    if delay > 0 or most > 0 then
      -- Its limit is new.
      redis.call('ZREM', slots, slot)
      redis.call('ZADD', timed, now_exact, slot)
      moved = moved + 1
    elseif unwanted[slot] then
      passed = passed + 1 -- it stays in front, for others
    else
      if want - count < quantum then break end -- nobody's turn is a shorter one
      take(slot, quantum, -1)
      if redis.call('EXISTS', queue .. slot) == 0 then
        redis.call('ZREM', slots, slot)
      else
        last = math.max(now_exact, last + 0.001)
        redis.call('ZADD', slots, last, slot)
      end
    end
  end
end
