-- Begin to divide a crawl anew, or take that over: until the end nobody can join or push.
--   KEYS: meta (HASH), workers (ZSET), moving (HASH), all of its home
--   ARGV: token of this run, how the crawl is to be divided, silence in ms after which a worker
--         counts as dead, whether it may be divided so already (0|1)
-- Returns {"ok", how it was divided}; or, and does nothing, {"none"} when there is no crawl,
-- {"purging"}, {"same"} when it is divided so, {"other", how} when it is being divided in another
-- way, {"living", ids of workers…}.
local meta, workers, moving = unpack(KEYS)

--#include _clock

local state, layout = unpack(redis.call('HMGET', meta, 'state', 'layout'))
if redis.call('EXISTS', meta) == 0 then return {'none'} end
if state == 'purging' then return {'purging'} end
local from, to = unpack(redis.call('HMGET', moving, 'from', 'to'))
if state == 'repartitioning' and to ~= ARGV[2] then return {'other', to or ''} end
local silent = string.format('%d', now - tonumber(ARGV[3]))
local living = redis.call('ZRANGEBYSCORE', workers, '(' .. silent, '+inf')
if #living > 0 then return {'living', unpack(living, 1, math.min(#living, 100))} end
if state ~= 'repartitioning' then
  from = layout or '1:slot'
  if from == ARGV[2] and ARGV[4] == '0' then return {'same'} end
  redis.call('DEL', moving) -- of one that was purged
  redis.call('HSET', moving, 'from', from, 'to', ARGV[2], 'was', state or '')
  redis.call('HSET', meta, 'state', 'repartitioning')
  redis.call('HSETNX', meta, 'root', time[1] .. '.' .. time[2])
end
redis.call('HSET', moving, 'token', ARGV[1])
return {'ok', from}
