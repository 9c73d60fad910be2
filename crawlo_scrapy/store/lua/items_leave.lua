-- Strike a reader off that has no entries. (One that has some takes them along.)
--   KEYS: items (STREAM), meta (HASH), dead items (STREAM), their writers (HASH)
--   ARGV: group, reader
-- Returns 1, or 0 when it has entries or there is no group. What a purge had left for readers
-- goes with the last entry.
local items, meta, dead, writers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, reader = ARGV[1], ARGV[2]
local pending = redis.pcall('XPENDING', items, group, '-', '+', 1, reader)
if pending.err or #pending > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', items, group, reader)
if redis.call('EXISTS', meta) + redis.call('XLEN', items) + redis.call('XLEN', dead) == 0 then
  redis.call('UNLINK', items, dead, writers)
end
return 1
