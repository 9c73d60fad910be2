-- Included after _take.
-- Take one request of a limited slot whose *time* has come; false when it may have no more.
local function take_one(slot, time)
  local delay, most = limit_of(slot)
  local start = math.max(now_exact, time)
  if delay == 0 and most == 0 then
    -- It was put off, or its limit was lifted.
    if start > now_exact then return false end
    redis.call('ZREM', timed, slot)
    redis.call('ZADD', slots, now_exact, slot)
    return false
  end
  if most > 0 and tonumber(redis.call('HGET', active, slot) or 0) >= most then
    redis.call('ZADD', timed, start + BLOCKED, slot)
    return false
  end
  local more = take(slot, 1, math.ceil(start - now_exact))
  start = start + math.max(delay, 0.001)
  if not more then
    redis.call('ZREM', timed, slot)
    if delay > 0 then redis.call('ZADD', pace, start, slot) end
    return false
  end
  redis.call('ZADD', timed, start, slot)
  return true
end

-- A worker that is serving a slot is given its requests ahead; it alone knows whether it keeps
-- their times. Others take a slot over when its time has come.
local function take_timed(room, horizon, mine)
  redis.call('ZREMRANGEBYSCORE', pace, '-inf', now_exact)
  local most = count + room
  for slot in string.gmatch(mine, '[^,]+') do
    local time = tonumber(redis.call('ZSCORE', timed, slot) or BLOCKED)
    while count < most and time <= horizon and not unwanted[slot] and take_one(slot, time) do
      time = tonumber(redis.call('ZSCORE', timed, slot))
    end
  end
  local passed = 0
  for _ = 1, room + #ARGV do
    local slot, time = unpack(redis.call('ZRANGEBYSCORE', timed, '-inf', now_exact, 'WITHSCORES',
      'LIMIT', passed, 1))
    if not slot or count >= most then break end
    if unwanted[slot] then passed = passed + 1 else take_one(slot, tonumber(time)) end
  end
end

-- The worker started requests of these slots later than it was to ("slot=ms,…"): so is the next.
local function put_off(late)
  for slot, ms in string.gmatch(late, '([^,=]+)=(%d+)') do
    for _, set in ipairs({timed, pace}) do
      if redis.call('ZSCORE', set, slot) then redis.call('ZINCRBY', set, ms, slot) end
    end
  end
end
