-- Take entries from a list, set, sorted set or stream, and note that a worker has them.
--   KEYS: source (any of these), workers that have entries (SET), entries of this worker (HASH)
--   ARGV: worker id, how many entries at most, what the names of these entries begin with
-- Returns {type of the source, name, entry, name, entry…}; nothing is taken from other types. Of a
-- list the first go first, of a sorted set those of the highest score. An entry of a stream is its
-- field "data", or a JSON object of its fields, and then its name ends with "-fields".
local source, workers, taken = KEYS[1], KEYS[2], KEYS[3]
local worker, most, name = ARGV[1], tonumber(ARGV[2]), ARGV[3]

-- What fails, fails here, where nothing is taken yet.
if not (worker and most and name) then error('worker, number or name is missing') end
redis.call('SCARD', workers)
redis.call('HLEN', taken)
local kind = redis.call('TYPE', source).ok
local result = {kind}
local function give(entry, suffix)
  local place = name .. '-' .. #result .. (suffix or '')
  redis.call('HSET', taken, place, entry)
  result[#result + 1] = place
  result[#result + 1] = entry
end

local function give_fields(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  if fields.data then give(fields.data) else give(cjson.encode(fields), '-fields') end
end

if kind == 'list' then
  for _, entry in ipairs(redis.call('LPOP', source, most) or {}) do give(entry) end
elseif kind == 'set' then
  for _, entry in ipairs(redis.call('SPOP', source, most)) do give(entry) end
elseif kind == 'zset' then
  local popped = redis.call('ZPOPMAX', source, most)
  for i = 1, #popped, 2 do give(popped[i]) end
elseif kind == 'stream' then
  for _, entry in ipairs(redis.call('XRANGE', source, '-', '+', 'COUNT', most)) do
    give_fields(entry[2])
    redis.call('XDEL', source, entry[1])
  end
end
if #result > 1 then redis.call('SADD', workers, worker) end
return result
