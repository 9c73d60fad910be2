-- Move requests from the queue to the leases of a worker.
--   KEYS: meta (HASH), worker (HASH), leases of this worker (HASH), slots (ZSET),
--         delayed (ZSET), workers (ZSET), prefix of queue keys
--   ARGV: number of the last batch pushed, how many to lease at most, ids of the leases that
--         the worker has started (one string), how many requests it keeps in its own memory,
--         whether it may add requests of its own accord, and so keeps the crawl open (0|1)
-- Slots take turns; inside a slot the highest priority goes first. When little is queued, a
-- worker gets its share of it and leaves the rest to the others.
-- Returns {status, state, seeding, seeder, queued, leased by all, held by this worker,
--          lease id, element, …}; status as in frontier_push.
local meta, worker, leases, slots = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local delayed, workers, queue = KEYS[5], KEYS[6], KEYS[7]
local limit = tonumber(ARGV[2])

local pushed = redis.call('HGET', worker, 'pushed')
if not pushed then return {'unregistered'} end
if pushed ~= ARGV[1] then return {'rollback'} end
redis.call('HSET', worker, 'started', ARGV[3], 'local', ARGV[4], 'open', ARGV[5])

--#include _clock
--#include _queue

local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 100)
for i = #due, 1, -1 do -- the first to be due comes to the front last
  local slot, priority, element = split_record(string.sub(due[i], string.find(due[i], '\n') + 1))
  push_front(slot, priority, element)
  redis.call('ZREM', delayed, due[i])
end

local fields = redis.call('HMGET', meta, 'state', 'seeding', 'queued', 'leased', 'seeder')
if fields[1] == 'finished' and ARGV[5] == '1' then
  fields[1] = 'running'
  redis.call('HSET', meta, 'state', 'running')
end
local queued, leased = tonumber(fields[3]) or 0, tonumber(fields[4]) or 0
local share = math.max(1, math.ceil(queued / math.max(1, redis.call('ZCARD', workers))))
local want = fields[1] == 'running' and math.min(limit, share) or 0
local id_base = string.format('%d%06d', time[1], time[2])
local held, given = {}, {}

local function take(slot, most)
  local priorities = queue .. slot
  while most > 0 do
    local priority = redis.call('ZREVRANGE', priorities, 0, 0)[1]
    if not priority then return end
    local list = priorities .. ':' .. priority
    for _, element in ipairs(redis.call('LPOP', list, most) or {}) do
      local id = id_base .. string.format('%05d', #given / 2)
      given[#given + 1], given[#given + 2] = id, element
      held[#held + 1] = id
      held[#held + 1] = slot .. '\n' .. priority .. '\n' .. element
      most = most - 1
    end
    if redis.call('EXISTS', list) == 0 then redis.call('ZREM', priorities, priority) end
  end
end

local ready = want > 0 and redis.call('ZCOUNT', slots, '-inf', now_exact) or 0
while want > #given / 2 do
  local slot = redis.call('ZRANGEBYSCORE', slots, '-inf', now_exact, 'LIMIT', 0, 1)[1]
  if not slot then break end
  take(slot, math.max(1, math.ceil((want - #given / 2) / math.max(1, ready))))
  ready = ready - 1
  if redis.call('EXISTS', queue .. slot) == 0 then
    redis.call('ZREM', slots, slot)
  else
    redis.call('ZADD', slots, now_exact, slot)
  end
end

local count = #given / 2
for first = 1, #held, 1000 do
  redis.call('HSET', leases, unpack(held, first, math.min(first + 999, #held)))
end
if count > 0 then
  queued = redis.call('HINCRBY', meta, 'queued', -count)
  leased = redis.call('HINCRBY', meta, 'leased', count)
end
return {'ok', fields[1] or '', fields[2] or '', fields[5] or '', queued, leased,
  redis.call('HLEN', leases), unpack(given)}
