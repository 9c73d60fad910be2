-- Adapt the delays of slots to how fast they answer, by Scrapy's AutoThrottle rule.
--   KEYS: limits (HASH)
--   ARGV: first, smallest and largest delay in ms, requests that a slot should have in progress,
--         then for each answer: slot, latency in ms, whether it was a success (0|1)
-- A slot of which nothing was heard yet has the first delay. Returns 1.
local limits = KEYS[1]
local first, least, most, target = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]

redis.call('HSET', limits, 'throttle:', first)
local delays = {}
for i = 5, #ARGV, 3 do
  local slot, wanted = ARGV[i], ARGV[i + 1] / target
  local delay = delays[slot] or tonumber(redis.call('HGET', limits, 'throttle:' .. slot)) or first
  local new = math.min(math.max(least, wanted, (delay + wanted) / 2), most)
  -- Errors often come fast: they are no reason to ask faster.
  if ARGV[i + 2] == '1' or new > delay then delay = new end
  delays[slot] = delay
end
for slot, delay in pairs(delays) do
  redis.call('HSET', limits, 'throttle:' .. slot, string.format('%.3f', delay))
end
return 1
