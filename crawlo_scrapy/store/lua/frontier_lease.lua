-- Move requests from the queue to the leases of a worker.
--   KEYS: meta (HASH), worker (HASH), leases of this worker (HASH), delayed (ZSET),
--         workers (ZSET), slots and their queues
--   ARGV: number of the last batch pushed, how many to lease at most, ids of the leases that
--         the worker has started (one string), how many requests it keeps in its own memory,
--         whether it may add requests of its own accord, and so keeps the crawl open (0|1),
--         how many requests of limited slots it can start, and within how many ms, the
--         limited slots that it serves and those that it is behind with ("slot=ms"; one string
--         each), slots of which it wants none now…
-- Slots take turns; inside a slot the highest priority goes first. When little is queued, a
-- worker gets its share of it and leaves the rest to the others. A request of a limited slot
-- comes with the time to start it.
-- Returns {status, state, seeding, seeder, queued, leased by all, held by this worker, number
--          of the latest news, whether another worker has nothing to do (0|1), lease id, ms to
--          wait before it is started or -1, element, …}; status as in frontier_push.
local meta, worker, leases, delayed, workers = unpack(KEYS, 1, 5)
local limit = tonumber(ARGV[2])

local pushed = redis.call('HGET', worker, 'pushed')
if not pushed then return {'unregistered'} end
if pushed ~= ARGV[1] then return {'rollback'} end
local mine = redis.call('HLEN', leases)
redis.call('HSET', worker, 'started', ARGV[3], 'local', ARGV[4], 'open', ARGV[5])

--#include _clock
--#include _limits
--#include _queue

local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, 100)
for i = #due, 1, -1 do -- the first to be due comes to the front last
  local slot, priority, element = split_record(string.sub(due[i], (string.find(due[i], '\n', 1, true) or 0) + 1))
  push_front(slot, priority, element)
  redis.call('ZREM', delayed, due[i])
end

local fields = redis.call('HMGET', meta, 'state', 'seeding', 'queued', 'leased', 'seeder', 'news',
  'hungry')
if fields[1] == 'finished' and ARGV[5] == '1' then
  fields[1] = 'running'
  redis.call('HSET', meta, 'state', 'running')
end
local queued, leased = tonumber(fields[3]) or 0, tonumber(fields[4]) or 0
local share = math.max(1, math.ceil(queued / math.max(1, redis.call('ZCARD', workers))))
local id_base = string.format('%d%06d', time[1], time[2])

--#include _take
--#include _timed

for i = 10, #ARGV do unwanted[ARGV[i]] = true end
put_off(ARGV[9])
-- Whatever fails in between: what was taken out of the queue is leased.
local taken, failure = pcall(function()
  if fields[1] ~= 'running' then return end
  take_turns(math.min(limit, share))
  if limits_used then take_timed(tonumber(ARGV[6]), now_exact + ARGV[7], ARGV[8]) end
end)

for first = 1, #held, 1000 do
  redis.call('HSET', leases, unpack(held, first, math.min(first + 999, #held)))
end
if count > 0 then
  queued = redis.call('HINCRBY', meta, 'queued', -count)
  leased = redis.call('HINCRBY', meta, 'leased', count)
end
mine = mine + count
if not taken then error(failure, 0) end
local hungry = now - (tonumber(fields[7]) or 0) < 1000
if mine == 0 and limit > 0 and queued == 0 and leased > 0 and not hungry then
  redis.call('HSET', meta, 'hungry', now) -- who has more than he needs now gives some back
end
return {'ok', fields[1] or '', fields[2] or '', fields[5] or '', queued, leased,
  mine, tonumber(fields[6]) or 0, hungry and 1 or 0, unpack(given)}
