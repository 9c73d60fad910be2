-- Included where requests are leased, after the clock, the limits and the queue; needs `id_base`.
local count, held, given = 0, {}, {}
local unwanted = {} -- slots of which this worker has enough

-- Takes up to *most* requests of a slot; returns whether it has more.
local function take(slot, most, wait)
  local priorities, before, more = queue .. slot, count, false
  while count < before + most do
    local priority = redis.call('ZREVRANGE', priorities, 0, 0)[1]
    if not priority then break end
    local list = priorities .. ':' .. priority
    for _, element in ipairs(redis.call('LPOP', list, before + most - count) or {}) do
      if element == '' then element = '\0' end -- from elsewhere; it will not decode
      local id = id_base .. string.format('%05d', count)
      given[#given + 1], given[#given + 2], given[#given + 3] = id, wait, element
      held[#held + 1] = id
      held[#held + 1] = slot .. '\n' .. priority .. '\n' .. element
      count = count + 1
    end
    more = redis.call('EXISTS', list) == 1
    if not more then redis.call('ZREM', priorities, priority) end
  end
  if limits_used and count > before then redis.call('HINCRBY', active, slot, count - before) end
  return more or redis.call('EXISTS', priorities) == 1
end

-- Slots without limits: who was served goes to the end. Turns follow the clock, and each other
-- where it goes back.
local function take_turns(want)
  local last = tonumber(redis.call('ZREVRANGE', slots, 0, 0, 'WITHSCORES')[2] or 0)
  local quantum = math.max(1, math.floor(want / math.max(1, redis.call('ZCARD', slots))))
  local moved, passed = 0, 0
  while want > count and moved < 1000 do
    local last_place = passed + math.ceil((want - count) / quantum) - 1
    local turns, served = redis.call('ZRANGE', slots, passed, last_place), {}
    if #turns == 0 then break end
    for _, slot in ipairs(turns) do
      local delay, most = limit_of(slot)
      if delay > 0 or most > 0 then
        -- Its limit is new.
        redis.call('ZREM', slots, slot)
        redis.call('ZADD', timed, now_exact, slot)
        moved = moved + 1
      elseif unwanted[slot] then
        passed = passed + 1 -- it stays in front, for others
      elseif want - count < quantum then
        want = count -- nobody's turn is a shorter one
      elseif take(slot, quantum, -1) then
        last = math.max(now_exact, last + 0.001)
        served[#served + 1], served[#served + 2] = last, slot
      else
        redis.call('ZREM', slots, slot)
      end
    end
    if #served > 0 then redis.call('ZADD', slots, unpack(served)) end
  end
end
