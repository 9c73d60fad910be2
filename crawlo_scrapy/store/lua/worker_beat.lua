-- Say that a worker lives, and look for those that do not.
--   KEYS: meta (HASH), workers (ZSET), worker (HASH), leases of this worker (HASH)
--   ARGV: worker id, silence after which a worker counts as dead in ms,
--         then fields and values to set in the worker's record
-- Returns {1, state, {ids of dead workers}, {lease ids of this worker}}, or {0} when this
-- worker itself was struck off: a late beat never revives it.
local meta, workers, worker, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, timeout = ARGV[1], tonumber(ARGV[2])

--#include _clock

if not redis.call('ZSCORE', workers, id) then return {0} end
redis.call('ZADD', workers, 'XX', now, id)
if #ARGV > 2 then redis.call('HSET', worker, unpack(ARGV, 3)) end
return {1, redis.call('HGET', meta, 'state') or '',
  redis.call('ZRANGEBYSCORE', workers, '-inf', '(' .. string.format('%d', now - timeout)),
  redis.call('HKEYS', leases)}
