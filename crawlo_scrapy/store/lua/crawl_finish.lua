-- Declare the crawl finished if it is: nothing queued, nothing leased, seeding done.
--   KEYS: meta (HASH), workers (ZSET), slots (ZSET), timed slots (ZSET), delayed (ZSET),
--         prefix of worker keys, prefix of lease keys
--   ARGV: of a divided crawl, the moment (see _moment) when all partitions were empty
-- Judged by the structures themselves, never by counters. Returns 1 when it is finished; 2 when
-- it would be if no worker kept it open.
local meta, workers, slots, timed, delayed = unpack(KEYS, 1, 5)
local worker_prefix, lease_prefix = KEYS[6], KEYS[7]

--#include _moment

local fields = redis.call('HMGET', meta, 'state', 'seeding')
if fields[1] == 'finished' then return 1 end
if ARGV[1] and ARGV[1] ~= moment() then return 0 end
if fields[1] ~= 'running' or fields[2] == '' or not fields[2] then return 0 end
if redis.call('EXISTS', slots, timed, delayed) > 0 then return 0 end
local open = false
for _, id in ipairs(redis.call('ZRANGE', workers, 0, -1)) do
  if redis.call('EXISTS', lease_prefix .. id) == 1 then return 0 end
  local busy = redis.call('HMGET', worker_prefix .. id, 'local', 'seeding', 'open')
  if (busy[1] and busy[1] ~= '0') or busy[2] then return 0 end
  open = open or busy[3] == '1'
end
if open then return 2 end

--#include _clock

redis.call('HSET', meta, 'state', 'finished', 'finished', now, 'queued', 0, 'leased', 0)
return 1
