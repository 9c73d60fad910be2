-- Reserve the next time of slots for one request each that is not in Redis.
--   KEYS: slots and their queues
--   ARGV: within how many ms it may be started, then two each: slot, how many such requests of it
--         the worker has in progress; nobody else counts those
-- Returns for each in how many ms to start it; -1 where the slot has no limits, -2 where it has all
-- the requests that it may have now, or its time is further away.

--#include _clock
--#include _limits

local turns = {}
for i = 2, #ARGV, 2 do
  local slot = ARGV[i]
  local delay, most = limit_of(slot)
  local set = redis.call('ZSCORE', timed, slot) and timed or pace
  local start = math.max(now_exact, tonumber(redis.call('ZSCORE', set, slot) or 0))
  local busy = most > 0 and tonumber(redis.call('HGET', active, slot) or 0) + ARGV[i + 1] >= most
  if busy or start > now_exact + ARGV[1] then -- where it is blocked, too
    turns[#turns + 1] = -2
  elseif delay == 0 and most == 0 and start == now_exact then
    turns[#turns + 1] = -1
  else
    turns[#turns + 1] = math.ceil(start - now_exact)
    if delay > 0 then redis.call('ZADD', set, start + delay, slot) end
  end
end
return turns
