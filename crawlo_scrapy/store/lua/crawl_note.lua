-- Note that requests came into another partition, which no lease there spoke for.
--   KEYS: meta (HASH)
-- A test for the end that has begun fails; a crawl that was declared finished goes on. Returns 1.
redis.call('HINCRBY', KEYS[1], 'noted', 1)
if redis.call('HGET', KEYS[1], 'state') == 'finished' then
  redis.call('HSET', KEYS[1], 'state', 'running')
end
return 1
