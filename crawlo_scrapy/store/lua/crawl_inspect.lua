-- Read how a crawl stands; changes nothing.
--   KEYS: meta (HASH), workers (ZSET), slots (ZSET), delayed (ZSET), dead letters (HASH),
--         prefix of queue keys, prefix of worker keys, prefix of lease keys
--   ARGV: most slots, most priorities of a slot, and most workers to look into
-- Returns {now in ms, {meta}, delayed, dead, all slots, all workers,
--          {{slot, {priority, length, …}}, …}, {{id, last beat in ms, leases, {record}}, …}}.
local meta, workers, slots, delayed, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local queue, worker_prefix, lease_prefix = KEYS[6], KEYS[7], KEYS[8]

--#include _clock

local queues = {}
for _, slot in ipairs(redis.call('ZRANGE', slots, 0, ARGV[1] - 1)) do
  local lengths = {}
  for _, priority in ipairs(redis.call('ZREVRANGE', queue .. slot, 0, ARGV[2] - 1)) do
    lengths[#lengths + 1] = priority
    lengths[#lengths + 1] = redis.call('LLEN', queue .. slot .. ':' .. priority)
  end
  queues[#queues + 1] = {slot, lengths}
end

local members = redis.call('ZREVRANGE', workers, 0, ARGV[3] - 1, 'WITHSCORES')
local registered = {}
for i = 1, #members, 2 do
  local id = members[i]
  registered[#registered + 1] = {id, members[i + 1], redis.call('HLEN', lease_prefix .. id),
    redis.call('HGETALL', worker_prefix .. id)}
end
return {string.format('%d', now), redis.call('HGETALL', meta), redis.call('ZCARD', delayed),
  redis.call('HLEN', dead), redis.call('ZCARD', slots), redis.call('ZCARD', workers),
  queues, registered}
