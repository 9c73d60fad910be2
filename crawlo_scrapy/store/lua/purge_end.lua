-- End a purge: the next worker to join begins anew.
--   KEYS: meta (HASH)
--   ARGV: token of this purge, whether the seen set was kept (0|1)
-- Returns 1, or 0 when another purge has taken over.
local meta = KEYS[1]
if redis.call('HGET', meta, 'purger') ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', meta)
else
  redis.call('HDEL', meta, 'state', 'purger', 'seeding', 'seeder', 'finished', 'created')
  redis.call('HSET', meta, 'queued', 0, 'leased', 0)
end
return 1
