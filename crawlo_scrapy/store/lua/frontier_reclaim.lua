-- Take back the leases of a dead worker and strike it off the registry.
--   KEYS: meta (HASH), workers (ZSET), worker (HASH), its leases (HASH), dead letters (HASH),
--         slots and their queues
--   ARGV: worker id, silence after which it counts as dead in ms, most attempts, how long its
--         record is kept in seconds
-- A request that the worker had started loses an attempt; one that it had not only becomes
-- suspect: the next worker tells us before it starts it. Returns {requeued, made dead letters},
-- or {-1, 0} when the worker lives.
local meta, workers, worker, leases, dead = unpack(KEYS, 1, 5)
local id, timeout, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

--#include _clock
--#include _limits
--#include _queue

local beat = tonumber(redis.call('ZSCORE', workers, id))
if not beat or beat > now - timeout then return {-1, 0} end

local started = {}
for lease in string.gmatch(redis.call('HGET', worker, 'started') or '', '%d+') do
  started[lease] = true
end
local held = redis.call('HKEYS', leases)
table.sort(held)
local requeued, buried = 0, 0
for i = #held, 1, -1 do
  local record = redis.call('HGET', leases, held[i])
  local slot, priority, element = split_record(record)
  local attempts = math.floor(string.byte(element) / 2) + (started[held[i]] and 1 or 0)
  settle(slot, 1)
  if started[held[i]] and attempts >= most then
    local letter = {reason = 'attempts', attempts = attempts, worker = id, time = now,
      error = 'its workers died while it was in progress'}
    redis.call('HSET', dead, held[i], cjson.encode(letter) .. '\n' .. record)
    buried = buried + 1
  else
    push_front(slot, priority, string.char(math.min(2 * attempts + 1, 255)) .. string.sub(element, 2))
    requeued = requeued + 1
  end
  redis.call('HDEL', leases, held[i])
end
redis.call('ZREM', workers, id)
redis.call('HDEL', worker, 'pushed', 'started', 'local', 'seeding', 'open')
redis.call('HSET', worker, 'left', now, 'reason', 'dead')
redis.call('EXPIRE', worker, ARGV[4])
if #held > 0 then -- Lua's -0 is no integer to Redis
  redis.call('HINCRBY', meta, 'queued', requeued)
  redis.call('HINCRBY', meta, 'leased', -#held)
end
if redis.call('HGET', meta, 'seeder') == id then redis.call('HDEL', meta, 'seeder') end
return {requeued, buried}
