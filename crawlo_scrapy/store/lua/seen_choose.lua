-- Choose what kind of seen set a crawl has, or say that it has another one.
--   KEYS: meta (HASH), workers (ZSET), prefix of seen keys
--   ARGV: exact|bloom; of a Bloom filter: for how many, its error rate, and the shapes of filters
--         of ours (see _seen_bloom); after how many ms a fingerprint expires (0: never); whether
--         URLs are kept (0|1); whether to write it down (0|1: only look); how many of the living
--         workers are the caller's; silence in ms after which a worker counts as dead
-- What is recorded stays of one kind. How long it counts, and whether URLs are kept, may change
-- while nobody else lives in the crawl. Returns {"ok", kind, capacity, error rate, how many filters
-- of ours are full}, or {"other", kind, ms, URLs kept} and does nothing. "bf" is a module's filter.
local meta, workers, seen_prefix = KEYS[1], KEYS[2], KEYS[3]
local kind, capacity, most, shapes, ttl, urls = unpack(ARGV, 1, 6)

--#include _clock

local fields = redis.call('HMGET', meta, 'seen_how', 'seen_ttl', 'seen_urls', 'seen',
  'seen_capacity', 'seen_error', 'seen_level')
local how = fields[1] or 'exact'
local is_ttl, is_urls = fields[2] or '0', fields[3] or '0'
local same = (how ~= 'exact') == (kind ~= 'exact') and (is_ttl == '0') == (ttl == '0')
local silent = string.format('%d', now - tonumber(ARGV[9]))
local alone = redis.call('ZCOUNT', workers, '(' .. silent, '+inf') <= tonumber(ARGV[8])
local empty = (tonumber(fields[4]) or 0) == 0
if not (alone and (empty or same)) and not (same and is_ttl == ttl and is_urls == urls) then
  return {'other', how, is_ttl, is_urls}
end
if ARGV[7] == '0' then return {'ok', how, fields[5] or '', fields[6] or '', fields[7] or '0'} end

if not same then
  redis.call('HDEL', meta, 'seen_level', 'seen_fill', 'seen_slices')
  fields[5], fields[6], fields[7] = false, false, '0'
  how = kind
  if kind == 'bloom' then
    local probe = seen_prefix .. 'bf'
    local reply = redis.pcall('BF.RESERVE', probe, most, capacity, 'EXPANSION', 2)
    if type(reply) ~= 'table' or not reply.err then how = 'bf' end
    redis.call('DEL', probe)
  end
end
if how == 'exact' and ttl == '0' and urls == '0' then
  redis.call('HDEL', meta, 'seen_how', 'seen_ttl', 'seen_urls')
else
  redis.call('HSET', meta, 'seen_how', how, 'seen_ttl', ttl, 'seen_urls', urls)
end
if how ~= 'exact' and not fields[5] then
  redis.call('HSET', meta, 'seen_capacity', capacity, 'seen_error', most, 'seen_shapes', shapes)
end
return {'ok', how, fields[5] or capacity, fields[6] or most, fields[7] or '0'}
