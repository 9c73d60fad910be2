-- End a worker's seeding.
--   KEYS: meta (HASH), worker (HASH)
--   ARGV: worker id, outcome: done, failed, or empty to leave the rest to another worker
-- Returns 1, or 0 when the worker did not hold the right.
local meta, worker = KEYS[1], KEYS[2]
if redis.call('HDEL', worker, 'seeding') == 1 then return 1 end
if redis.call('HGET', meta, 'seeder') ~= ARGV[1] then return 0 end
redis.call('HSET', meta, 'seeding', ARGV[2])
redis.call('HDEL', meta, 'seeder')
return 1
