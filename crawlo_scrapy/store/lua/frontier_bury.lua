-- Make a dead letter: of a lease, or of a request that never had one.
--   KEYS: meta (HASH), leases of this worker (HASH), dead letters (HASH), slots and their queues
--   ARGV: lease id, or a new unique id; reason, error, worker id; slot, priority and payload
--         of a request that has no lease (priority is empty for a lease)
-- Returns 1, or 0 when the lease is no longer held.
local meta, leases, dead = KEYS[1], KEYS[2], KEYS[3]
local id, reason, message, worker = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not worker then error('the worker is missing') end

--#include _clock
--#include _limits

local record = redis.call('HGET', leases, id)
local attempts = 0
local held = record
if held then
  local byte = string.match(record, '^[^\n]*\n[^\n]*\n(.)')
  attempts = math.floor(string.byte(byte or '\0') / 2)
  settle(string.match(record, '^[^\n]*'), 1)
elseif ARGV[6] == '' then
  return 0
else
  record = ARGV[5] .. '\n' .. ARGV[6] .. '\n\0' .. ARGV[7]
end
local letter = {reason = reason, error = message, attempts = attempts, worker = worker, time = now}
redis.call('HSET', dead, id, cjson.encode(letter) .. '\n' .. record)
if held then
  redis.call('HDEL', leases, id)
  redis.call('HINCRBY', meta, 'leased', -1)
end
return 1
