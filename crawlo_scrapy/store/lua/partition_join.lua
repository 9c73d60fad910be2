-- Begin the crawl's run in a partition, if it has not begun there, and register a worker.
--   KEYS: meta (HASH), workers (ZSET), worker (HASH), seeds (SET)
--   ARGV: worker id, or empty to register nobody; of the crawl's home: its root, run, when that
--         was created, format version, token of this partition (empty when nobody noted one);
--         most members of a bucket, whether the worker was here before (0|1), then fields and
--         values of the worker's record
-- Returns {status, token}. Statuses besides "joined": "gone" when a later run is here; "purging";
-- "taken" while the registry has a worker of that id; "lost" when this is not the partition that
-- the crawl had.
local meta, workers, worker, seeds = unpack(KEYS)
local id, root, run, created, format, known, bucket_fill = unpack(ARGV, 1, 7)

--#include _clock

local fields = redis.call('HMGET', meta, 'state', 'root', 'run', 'created', 'token')
local token = fields[5] or ''
if fields[1] == 'purging' or fields[1] == 'repartitioning' then return {'purging', ''} end
if token ~= '' and fields[2] ~= root then return {'lost', ''} end
if token ~= known and (known ~= '' or ARGV[8] == '1') then return {'lost', ''} end
if (tonumber(fields[4]) or 0) > tonumber(created) then return {'gone', ''} end
if id ~= '' and redis.call('ZSCORE', workers, id) then return {'taken', ''} end

if token == '' then
  token = time[1] .. '.' .. time[2]
  redis.call('HSET', meta, 'token', token, 'root', root)
end
if fields[1] ~= 'running' or fields[3] ~= run or fields[4] ~= created then
  redis.call('HSET', meta, 'state', 'running', 'run', run, 'created', created, 'format', format,
    'bucket_fill', bucket_fill)
  redis.call('UNLINK', seeds)
end
if id ~= '' then
  redis.call('DEL', worker)
  redis.call('HSET', worker, 'pushed', 0, 'joined', now, unpack(ARGV, 9))
  redis.call('ZADD', workers, now, id)
end
return {'joined', token}
