-- Make a dead letter: of a lease, or of a request that never had one.
--   KEYS: meta (HASH), leases of this worker (HASH), dead letters (HASH), slots and their queues
--   ARGV: lease id, or a new unique id; reason, error, worker id; slot, priority and payload
--         of a request that has no lease (priority is empty for a lease)
-- Returns 1, or 0 when the lease is no longer held.
local meta, leases, dead = KEYS[1], KEYS[2], KEYS[3]
local id, reason, message, worker = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

--#include _clock
--#include _limits

local record = redis.call('HGET', leases, id)
local attempts = 0
if record then
  redis.call('HDEL', leases, id)
  redis.call('HINCRBY', meta, 'leased', -1)
  settle(string.sub(record, 1, string.find(record, '\n', 1, true) - 1), 1)
  local second = string.find(record, '\n', string.find(record, '\n', 1, true) + 1, true)
  attempts = math.floor(string.byte(record, second + 1) / 2)
elseif ARGV[6] == '' then
  return 0
else
  record = ARGV[5] .. '\n' .. ARGV[6] .. '\n\0' .. ARGV[7]
end
local letter = {reason = reason, error = message, attempts = attempts, worker = worker, time = now}
redis.call('HSET', dead, id, cjson.encode(letter) .. '\n' .. record)
return 1
