-- Forget entries that a worker had taken: they are queued.
--   KEYS: workers that have entries (SET), entries of this worker (HASH)
--   ARGV: worker id, names of entries…
-- Returns how many there were.
local workers, taken = KEYS[1], KEYS[2]
local count = 0
for first = 2, #ARGV, 1000 do
  count = count + redis.call('HDEL', taken, unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
if redis.call('EXISTS', taken) == 0 then redis.call('SREM', workers, ARGV[1]) end
return count
