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

local result, lists, count, delayed_count = {'ok'}, {}, 0, 0
for i = 3, #ARGV, 7 do
  local mode, prefix, member = string.sub(ARGV[i], 1, 1), tonumber(ARGV[i + 1]), ARGV[i + 2]
  local slot, priority, delay = ARGV[i + 3], ARGV[i + 4], tonumber(ARGV[i + 5])
  local fresh
  if mode == 'c' then
    fresh = not is_seen(prefix, member)
  else
    fresh = record(prefix, member) or mode == 'n'
    if mode == 's' then
      fresh = redis.call('SADD', seeds, member .. string.sub(ARGV[i], 2)) == 1
    end
  end
  if not fresh then
    result[#result + 1] = (i - 3) / 7
  elseif mode ~= 'c' and mode ~= 'r' then
    count = count + 1
    local element = '\0' .. ARGV[i + 6]
    if delay > 0 then
      local unique = batch .. '.' .. i .. '.' .. time[1] .. time[2]
      redis.call('ZADD', delayed, now + delay,
        unique .. '\n' .. slot .. '\n' .. priority .. '\n' .. element)
    else
      local key = slot .. ':' .. priority
      local list = lists[key]
      if not list then
        list = {slot = slot, priority = priority}
        lists[key] = list
      end
      list[#list + 1] = element
    end
  end
end

local command = order == 'lifo' and 'LPUSH' or 'RPUSH'
for key, list in pairs(lists) do
  for first = 1, #list, 1000 do
    redis.call(command, queue .. key, unpack(list, first, math.min(first + 999, #list)))
  end
  announce(list.slot, list.priority)
end
save_seen()
redis.call('HSET', worker, 'pushed', batch)
if count > 0 then
  redis.call('HINCRBY', meta, 'queued', count)
  redis.call('HINCRBY', meta, 'pushed', count)
  if redis.call('HGET', meta, 'state') == 'finished' then
    redis.call('HSET', meta, 'state', 'running')
  end
end
return result
