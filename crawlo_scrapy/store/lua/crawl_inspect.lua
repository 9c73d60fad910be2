-- Read how a crawl stands; changes nothing.
--   KEYS: meta (HASH), workers (ZSET), slots (ZSET), timed slots (ZSET),
--         delayed (ZSET), dead letters (HASH), prefix of queue keys, prefix of worker keys,
--         prefix of lease keys
--   ARGV: most slots, most priorities of a slot, and most workers to look into
-- Returns {now in ms, {meta}, delayed, dead, all slots, all workers,
--          {{slot, {priority, length, …}}, …}, {{id, last beat in ms, leases, {record}}, …}}.
local meta, workers, slots, timed, delayed, dead = unpack(KEYS, 1, 6)
local queue, worker_prefix, lease_prefix = unpack(KEYS, 7)

--#include _clock

local queues = {}
local names = redis.call('ZRANGE', slots, 0, ARGV[1] - 1)
for _, slot in ipairs(redis.call('ZRANGE', timed, 0, ARGV[1] - 1)) do names[#names + 1] = slot end
for i = 1, math.min(#names, tonumber(ARGV[1])) do
  local slot, lengths = names[i], {}
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
  redis.call('HLEN', dead), redis.call('ZCARD', slots) + redis.call('ZCARD', timed),
  redis.call('ZCARD', workers),
  queues, registered}
