-- Take over the entries of a worker that is gone.
--   KEYS: workers that have entries (SET), entries of that worker (HASH), of this one (HASH)
--   ARGV: that worker's id, this one's
-- Returns {name, entry, name, entry…}.
local workers, theirs, mine = KEYS[1], KEYS[2], KEYS[3]
local entries = redis.call('HGETALL', theirs)
for i = 1, #entries, 2 do redis.call('HSET', mine, entries[i], entries[i + 1]) end
if #entries > 0 then redis.call('SADD', workers, ARGV[2]) end
redis.call('DEL', theirs)
redis.call('SREM', workers, ARGV[1])
return entries
