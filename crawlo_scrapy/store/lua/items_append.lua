-- Append items to the stream, each unless it was stored before; all of them or none.
--   KEYS: items (STREAM), writers (HASH), state of the seen items (HASH), prefix of their keys
--   ARGV: writer, number of this batch, most entries (0: no limit), then for each item:
--         format, class, payload, first 32 bits of the fingerprint or '', 64 further bits
-- Returns {status, entries, index of each item that was stored before…}; status is "ok" or
-- "full". A batch sent twice counts once. Nothing is trimmed: what is full waits for readers.
local items, writers, meta, seen_prefix = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local writer, batch, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

if (#ARGV - 3) % 5 ~= 0 then error('items have five values each') end
local length = redis.call('XLEN', items)
if (tonumber(redis.call('HGET', writers, writer)) or 0) >= batch then return {'ok', length} end
if limit > 0 and length >= limit then return {'full', length} end

--#include _seen

local result = {'ok', 0}
for i = 4, #ARGV, 5 do
  local prefix = tonumber(ARGV[i + 3])
  if prefix and is_seen(prefix, ARGV[i + 4]) then
    result[#result + 1] = (i - 4) / 5
  else
    redis.call('XADD', items, '*', ARGV[i], ARGV[i + 2], 'class', ARGV[i + 1])
    if prefix then record(prefix, ARGV[i + 4]) end
  end
end
save_seen()
redis.call('HSET', writers, writer, batch)
result[2] = redis.call('XLEN', items)
return result
