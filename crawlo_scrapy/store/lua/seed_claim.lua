-- Ask for the right to seed.
--   KEYS: meta (HASH), workers (ZSET)
--   ARGV: worker id
-- Returns "yours", "theirs" while another living worker seeds, or "done". A worker
-- that was struck off gets "theirs": it must register anew first.
local meta, workers = KEYS[1], KEYS[2]
local fields = redis.call('HMGET', meta, 'seeding', 'seeder')
if fields[1] and fields[1] ~= '' then return 'done' end
if not redis.call('ZSCORE', workers, ARGV[1]) then return 'theirs' end
local holder = fields[2]
if holder and holder ~= ARGV[1] and redis.call('ZSCORE', workers, holder) then return 'theirs' end
redis.call('HSET', meta, 'seeder', ARGV[1])
return 'yours'
