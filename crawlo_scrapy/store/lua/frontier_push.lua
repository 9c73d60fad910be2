-- Queue requests, each unless it is a duplicate; record its fingerprint in the same step.
--   KEYS: meta (HASH), worker (HASH), delayed (ZSET), seeds (SET), prefix of seen keys,
--         slots and their queues (see _limits)
--   ARGV: number of this batch, order (fifo|lifo), then for each request:
--         mode, first 32 bits of the fingerprint, 64 further bits, slot, priority,
--         delay in ms, payload
--   mode: f  drop if seen          n     queue in any case
--         s… a start request that is queued once, whoever sends it; … tells equal ones apart
--         c  only look               r     only record
-- Returns {status, index of each duplicate…}; status is "ok", "unregistered", or "rollback"
-- when Redis has forgotten batches that it had confirmed. A batch sent twice counts once.
local meta, worker, delayed, seeds, seen_prefix = unpack(KEYS, 1, 5)
local batch, order = tonumber(ARGV[1]), ARGV[2]

local pushed = tonumber(redis.call('HGET', worker, 'pushed'))
if not pushed then return {'unregistered'} end
if batch == pushed then return {'ok'} end
if batch ~= pushed + 1 then return {'rollback'} end

--#include _clock
--#include _limits
--#include _queue
--#include _seen
--#include _push

local duplicates = push_new(3, order, batch)
redis.call('HSET', worker, 'pushed', batch)
return {'ok', unpack(duplicates)}
