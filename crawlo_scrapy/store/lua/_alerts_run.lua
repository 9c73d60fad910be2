-- Included where a run's alerts are kept; needs `meta`, `alerts` and `run` ("number:created").
-- What stands there of an earlier run is forgotten. Returns whether the run is the crawl's.
local function is_current()
  local fields = redis.call('HMGET', meta, 'state', 'run', 'created')
  if not fields[1] or fields[1] == 'purging' then return false end
  if (fields[2] or '') .. ':' .. (fields[3] or '') ~= run then return false end
  if redis.call('HGET', alerts, '') ~= run then
    redis.call('DEL', alerts)
    redis.call('HSET', alerts, '', run)
  end
  return true
end
