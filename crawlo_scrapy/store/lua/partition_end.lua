-- End `repartition`: the crawl goes on as it was before.
--   KEYS: meta (HASH), moving (HASH), both of its home
--   ARGV: token of this run
-- Returns 1; -1 when another run has taken over.
local meta, moving = KEYS[1], KEYS[2]

--#include _moving

local was = redis.call('HGET', moving, 'was')
if was == '' then
  redis.call('HDEL', meta, 'state')
else
  redis.call('HSET', meta, 'state', was)
end
redis.call('DEL', moving)
return 1
