-- Steer a crawl while it runs, and note who did.
--   KEYS: meta (HASH), control (HASH), audit (LIST)
--   ARGV: who, what he did, how many notes are kept, new state (empty to leave it), states from
--         which that is possible (one string), then fields of control and their values; an
--         empty value removes the field
-- Returns {1, state before}, or {0, state} and does nothing when it is not possible.
local meta, control, audit = KEYS[1], KEYS[2], KEYS[3]
local who, what, kept, state = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

--#include _clock
--#include _news

local before = redis.call('HGET', meta, 'state') or ''
if before == '' or before == 'purging' then return {0, before} end
if state ~= '' then
  if not string.find(' ' .. ARGV[5] .. ' ', ' ' .. before .. ' ', 1, true) then
    return {0, before}
  end
  redis.call('HSET', meta, 'state', state)
end
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', control, ARGV[i])
  else
    redis.call('HSET', control, ARGV[i], ARGV[i + 1])
  end
end
redis.call('LPUSH', audit, string.format('%d', now) .. '\n' .. who .. '\n' .. what)
redis.call('LTRIM', audit, 0, kept - 1)
tell(meta)
return {1, before}
