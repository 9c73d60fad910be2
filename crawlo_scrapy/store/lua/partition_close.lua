-- End the removal of a partition that the crawl no longer has.
--   KEYS: meta (HASH)
--   ARGV: token of its purge; for how many seconds nobody who still believes in it can begin it anew
-- Returns 1, or 0 when another run has taken over.
local meta = KEYS[1]
if redis.call('HGET', meta, 'purger') ~= ARGV[1] then return 0 end
redis.call('DEL', meta)
redis.call('HSET', meta, 'state', 'repartitioning')
redis.call('EXPIRE', meta, ARGV[2])
return 1
