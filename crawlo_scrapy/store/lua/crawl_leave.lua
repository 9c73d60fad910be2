-- Strike a worker off the registry after it has released its leases.
--   KEYS: meta (HASH), workers (ZSET), worker (HASH), leases of this worker (HASH)
--   ARGV: worker id, reason, how long its record is kept in seconds, keep the crawl (0|1)
-- Returns {status, workers left}. status: "held" when leases remain (nothing was done),
-- "purge" when this was the last worker of a finished crawl that is not to be kept: the caller
-- purges it; "left" otherwise. A worker that was struck off before may still be the last.
local meta, workers, worker, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id = ARGV[1]

--#include _clock

if redis.call('EXISTS', leases) == 1 then return {'held', redis.call('ZCARD', workers)} end
if redis.call('ZREM', workers, id) == 1 then
  redis.call('HDEL', worker, 'pushed', 'started', 'local', 'seeding', 'open')
  redis.call('HSET', worker, 'left', now, 'reason', ARGV[2])
  redis.call('EXPIRE', worker, ARGV[3])
end
if redis.call('HGET', meta, 'seeder') == id then redis.call('HDEL', meta, 'seeder') end
local others = redis.call('ZCARD', workers)
local state = redis.call('HGET', meta, 'state')
if others == 0 and state == 'stopping' then
  state = 'running' -- all have obeyed; who starts a worker now wants it to go on
  redis.call('HSET', meta, 'state', state)
end
if others == 0 and ARGV[4] == '0' and (state == 'finished' or state == 'purging') then
  redis.call('HSET', meta, 'state', 'purging')
  return {'purge', 0}
end
return {'left', others}
