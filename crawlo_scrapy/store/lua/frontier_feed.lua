-- Queue requests of a program that is no worker, as frontier_push does; begin the crawl when there
-- is none, without deciding who seeds it.
--   KEYS: meta (HASH), control (HASH), batches of this program (HASH), delayed (ZSET),
--         seeds (SET), prefix of seen keys, slots and their queues (see _limits)
--   ARGV: number of this batch, order (fifo|lifo), format version, most members of a bucket, for
--         how many seconds the last batch is remembered, how the crawl is divided (empty in a
--         partition that is not its home, and was opened), then the requests as in frontier_push
-- Returns {"ok", how many were queued, index of each duplicate…}; the last batch sent again counts
-- once and gives the same. Other statuses, with which nothing was done: "purging"; "format", and
-- the version that wrote the crawl; "layout" and how it is divided, if that is another way.
local meta, control, batches, delayed, seeds, seen_prefix = unpack(KEYS, 1, 6)
local batch, order, format = ARGV[1], ARGV[2], ARGV[3]

--#include _clock

local state, run, found, layout = unpack(redis.call('HMGET', meta, 'state', 'run', 'format',
  'layout'))
if found and found ~= format then return {'format', found} end
if state == 'purging' or state == 'repartitioning' then return {state} end
if ARGV[6] == '' then
  if not state then return {'purging'} end
elseif (layout or state and '1:slot' or ARGV[6]) ~= ARGV[6] then
  return {'layout', layout or '1:slot'}
end
local last = redis.call('HMGET', batches, 'number', 'answer')
if last[1] == batch then return cmsgpack.unpack(last[2]) end

--#include _begin

if not state then begin_run((tonumber(run) or 0) + 1, format, ARGV[4], ARGV[6]) end

--#include _limits
--#include _queue
--#include _seen
--#include _push

local duplicates, count = push_new(7, order, KEYS[3] .. batch)
local answer = {'ok', count, unpack(duplicates)}
redis.call('HSET', batches, 'number', batch, 'answer', cmsgpack.pack(answer))
redis.call('EXPIRE', batches, ARGV[5])
return answer
