-- Remove the stream of items of a crawl that is being purged, unless somebody still needs it.
--   KEYS: meta (HASH), items (STREAM), dead items (STREAM), their writers (HASH)
--   ARGV: token of this purge, whether to remove items that nobody has stored, too (0|1)
-- Returns {keys removed, items that wait, dead items}; with one of the latter nothing was
-- removed. The first is -1 when another purge has taken over.
local meta, items, dead, writers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('HGET', meta, 'purger') ~= ARGV[1] then return {-1, 0, 0} end
local waiting, buried = redis.call('XLEN', items), redis.call('XLEN', dead)
if ARGV[2] == '0' and waiting + buried > 0 then return {0, waiting, buried} end
return {redis.call('UNLINK', items, dead, writers), 0, 0}
