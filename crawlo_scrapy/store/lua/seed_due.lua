-- Let one worker seed a crawl once more at a due time: who asks first.
--   KEYS: meta (HASH), workers (ZSET), seeds (SET)
--   ARGV: worker id, due time in ms
-- Returns 1, again if asked again; 0 when another has it, or had it, or the crawl is being seeded
-- or stopped at that time: then it is not seeded for it.
local meta, workers, seeds = KEYS[1], KEYS[2], KEYS[3]
local id, due = ARGV[1], tonumber(ARGV[2])
local state, seeding, seeder, last = unpack(redis.call('HMGET', meta, 'state', 'seeding', 'seeder',
  'due'))
last = tonumber(last) or 0
if not redis.call('ZSCORE', workers, id) or last > due then return 0 end
if last == due then return seeding == '' and seeder == id and 1 or 0 end
redis.call('HSET', meta, 'due', ARGV[2])
if not seeding or seeding == '' or state == 'stopping' or state == 'purging' then return 0 end
redis.call('HSET', meta, 'seeding', '', 'seeder', id)
redis.call('UNLINK', seeds)
if state == 'finished' then redis.call('HSET', meta, 'state', 'running') end
return 1
