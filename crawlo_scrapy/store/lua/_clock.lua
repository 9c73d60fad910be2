-- Redis's clock, in milliseconds: the only one that all workers share.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- The same with its microseconds: what is pushed and leased in one millisecond keeps its turns.
local now_exact = time[1] * 1000 + time[2] / 1000
