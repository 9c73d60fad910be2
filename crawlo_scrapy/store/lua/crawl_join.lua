-- Enter a worker into the registry; begin the crawl, or its next run, when there is none.
--   KEYS: meta (HASH), workers (ZSET), worker (HASH), seeds (SET), control (HASH)
--   ARGV: worker id, format version, most members of a bucket, age of the process in ms,
--         named crawl (0|1), seeding (once|every), run that the worker was in before
--         ("run:created", or empty), how the crawl is divided, then fields and values of the
--         worker's record
-- Returns {status, run}, and with "joined" when the run was created. Other statuses: "finished"
-- when this worker came too late, or the crawl is named and done; "purging"; "stopping" while
-- others still obey that; "format" when
-- another version of this package wrote the crawl (run is that version); "lost" when the crawl
-- that the worker was in is gone; "taken" while the registry has a worker of that id, dead or
-- alive; "layout" when the crawl is divided in another way (run is that way), or is being divided
-- anew (run is empty).
local meta, workers, worker, seeds, control = unpack(KEYS)
local id, format, bucket_fill, age = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local named, every, before = ARGV[5] == '1', ARGV[6] == 'every', ARGV[7]

--#include _clock
--#include _begin

local fields = redis.call('HMGET', meta, 'state', 'run', 'format', 'finished', 'created', 'seeding',
  'layout')
local state, run = fields[1], tonumber(fields[2]) or 0
if fields[3] and fields[3] ~= format then return {'format', fields[3]} end
if state == 'purging' then return {'purging', run} end
if state == 'repartitioning' then return {'layout', ''} end
local layout = fields[7] or state and '1:slot'
if layout and layout ~= ARGV[8] then return {'layout', layout} end
if state == 'stopping' and before == '' then
  if redis.call('ZCARD', workers) > 0 then return {'stopping', run} end
  state = 'running'
  redis.call('HSET', meta, 'state', state)
end
if before ~= '' and (not state or before ~= run .. ':' .. (fields[5] or '')) then
  local later = state and run > tonumber(string.match(before, '^%d+'))
  return {later and 'finished' or 'lost', run}
end
if state == 'finished' then
  local late = redis.call('ZCARD', workers) > 0 or now - age < tonumber(fields[4])
  if (named and fields[6] ~= 'failed') or before ~= '' or (late and not every) then
    return {'finished', run}
  end
end
if redis.call('ZSCORE', workers, id) then return {'taken', run} end
if not state or state == 'finished' then
  run = run + 1
  begin_run(run, format, bucket_fill, ARGV[8])
  fields[6] = nil
end
if not fields[6] then -- a feed may have begun it
  redis.call('HSET', meta, 'seeding', every and 'every' or '')
elseif fields[6] == 'failed' and redis.call('ZCARD', workers) == 0 then
  redis.call('HSET', meta, 'seeding', '')
end
redis.call('DEL', worker)
redis.call('HSET', worker, 'pushed', 0, 'joined', now, unpack(ARGV, 9))
if every then redis.call('HSET', worker, 'seeding', 1) end
redis.call('ZADD', workers, now, id)
return {'joined', run, redis.call('HGET', meta, 'created')}
