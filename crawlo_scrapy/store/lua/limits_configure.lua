-- Make the limits of the settings those of the crawl. What was set by hand or learned stays.
--   KEYS: meta (HASH), limits (HASH)
--   ARGV: digest of the limits, then fields and values, as in _limits
-- Returns 1, or 0 when they were these before.
local meta, limits = KEYS[1], KEYS[2]
if (redis.call('HGET', meta, 'limits') or '') == ARGV[1] then return 0 end
for _, name in ipairs(redis.call('HKEYS', limits)) do
  if string.find(name, '^delay:') or string.find(name, '^count:') then
    redis.call('HDEL', limits, name)
  end
end
if #ARGV > 1 then redis.call('HSET', limits, unpack(ARGV, 2)) end
redis.call('HSET', meta, 'limits', ARGV[1])
return 1
