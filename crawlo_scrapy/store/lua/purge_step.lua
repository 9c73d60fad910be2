-- Remove some keys of a crawl that is being purged.
--   KEYS: meta (HASH), keys to remove…
--   ARGV: token of this purge
-- Returns how many there were; -1 and removes nothing when another purge has taken over, after
-- which the keys may be those of a new crawl.
if redis.call('HGET', KEYS[1], 'purger') ~= ARGV[1] then return -1 end
local count = 0
for first = 2, #KEYS, 1000 do
  count = count + redis.call('UNLINK', unpack(KEYS, first, math.min(first + 999, #KEYS)))
end
return count
