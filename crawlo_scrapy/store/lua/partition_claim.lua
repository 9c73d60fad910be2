-- Let a run of `repartition` have a partition to itself, an old or a new one.
--   KEYS: meta (HASH), moving (HASH)
--   ARGV: token of this run; of the crawl's home: its root, format version, most members of a
--         bucket
-- Returns "had" when an earlier run had it, or it is the home; "claimed" now; "stale" and does
-- nothing when it is of an earlier crawl.
local meta, moving = KEYS[1], KEYS[2]
local status = 'had'
if redis.call('EXISTS', moving) == 0 then
  local state, token, root = unpack(redis.call('HMGET', meta, 'state', 'token', 'root'))
  if (token and root ~= ARGV[2]) or state == 'purging' then return 'stale' end
  if not token then
    -- Nobody was in it, or it was removed not long ago.
    local time = redis.call('TIME')
    redis.call('DEL', meta)
    redis.call('HSET', meta, 'token', time[1] .. '.' .. time[2], 'root', ARGV[2], 'format',
      ARGV[3], 'bucket_fill', ARGV[4])
  end
  redis.call('HSET', meta, 'state', 'repartitioning')
  status = 'claimed'
end
redis.call('HSET', moving, 'token', ARGV[1])
return status
