-- Write how a node's statistics stand. Values are absolute: a repeat changes nothing.
--   KEYS: meta (HASH), runs (ZSET), nodes of the run (ZSET), folded nodes (SET),
--         stats of the node (HASH)
--   ARGV: run, when it began in ms, node, id of its worker, version that Redis should have
--         ('' for any), whether this is the last write (0|1), how many runs are kept, then
--         key, value, …: a value is as in _stats_sums.lua, without the time; '' removes the key
-- The version and the worker's id stand in the field ''. A node's score is the time of its last
-- write, below zero once it has left.
-- Returns {status, version, oldest run if there are too many, else ''}. status: "ok"; "again" when
-- Redis has another version (it has forgotten some); "busy" and "gone" as in _stats_run.lua, and
-- "gone" for a node that was given up, whose counts stand under another name.
local meta, runs, nodes, folded, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local run, created, node, worker, expected = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

--#include _clock
--#include _stats_run

local refused = refusal()
  or redis.call('SISMEMBER', folded, node) == 1 and 'gone'
if refused then return {refused, '', ''} end
local known = string.sub(redis.call('HGET', stats, '') or '', 1, 16)
if expected ~= '' and known ~= expected then return {'again', '', ''} end

local version = string.format('%016.0f', time[1] * 1000000 + time[2])
local fields, removed = {'', version .. worker}, {}
for i = 8, #ARGV, 2 do
  local key, value = ARGV[i], ARGV[i + 1]
  if value == '' then
    removed[#removed + 1] = key
  else
    if string.sub(value, 1, 1) == '=' then
      -- What was written before is not newer for being written again.
      local old = redis.call('HGET', stats, key) or ''
      local same = string.sub(old, 1, 1) == '=' and string.sub(old, 18) == string.sub(value, 2)
      value = same and old or '=' .. version .. string.sub(value, 2)
    end
    fields[#fields + 1] = key
    fields[#fields + 1] = value
  end
end
redis.call('HSET', stats, unpack(fields))
if #removed > 0 then redis.call('HDEL', stats, unpack(removed)) end
redis.call('ZADD', nodes, ARGV[6] == '1' and -now or now, node)

local surplus = redis.call('ZCARD', runs) > tonumber(ARGV[7])
return {'ok', version, surplus and redis.call('ZRANGE', runs, 0, 0)[1] or ''}
