-- Begin to purge a crawl: from here on nobody is registered, and nobody can join.
--   KEYS: meta (HASH), workers (ZSET), prefix of worker keys
--   ARGV: token of this purge, silence in ms after which a worker counts as dead; empty to
--         strike off the living too
-- Returns how many keys there were among meta, workers and their records; -1 and does nothing
-- when a worker lives.
local meta, workers, worker_prefix = KEYS[1], KEYS[2], KEYS[3]

--#include _clock

if ARGV[2] ~= '' then
  local silent = string.format('%d', now - tonumber(ARGV[2]))
  if redis.call('ZCOUNT', workers, '(' .. silent, '+inf') > 0 then return -1 end
end
local count = redis.call('EXISTS', meta)
for _, id in ipairs(redis.call('ZRANGE', workers, 0, -1)) do
  count = count + redis.call('DEL', worker_prefix .. id)
end
count = count + redis.call('DEL', workers)
redis.call('HSET', meta, 'state', 'purging', 'purger', ARGV[1])
return count
