-- Remove requests that were set aside and stand elsewhere now.
--   KEYS: moving (HASH), names of lists set aside (LIST), prefix of these lists
--   ARGV: token of this run, number of the batch, then how many of each list, from the first on
-- A batch sent again counts once. Returns 1; -1 when another run has taken over.
local moving, names, aside = unpack(KEYS)

--#include _moving

local batch = tonumber(redis.call('HGET', moving, 'batch') or 0)
if batch ~= tonumber(ARGV[2]) then return 1 end
for i = 3, #ARGV do
  local list = aside .. string.match(redis.call('LINDEX', names, 0), '^%d+')
  redis.call('LTRIM', list, ARGV[i], -1)
  if redis.call('EXISTS', list) == 0 then redis.call('LPOP', names) end
end
redis.call('HSET', moving, 'batch', batch + 1)
return 1
