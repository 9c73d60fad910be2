-- Included after the clock. Workers look at what has changed when this number is another one. It
-- is a time: should Redis forget a change (a rollback), the next one does not have its number.
local function tell(meta)
  local before = tonumber(redis.call('HGET', meta, 'news') or 0)
  redis.call('HSET', meta, 'news', string.format('%d', math.max(before + 1, now)))
end
