-- Write changed cookies, and read what was changed since a moment, by others too.
--   KEYS: jars (ZSET: name -> version of its last change), prefix of jars (HASH: cookie -> version,
--         newline, value)
--   ARGV: version that the worker has, most jars, most bytes of a jar, most bytes of the answer,
--         then of each change: jar, cookie, value
-- A version is Redis's time in microseconds, and never the same twice. Beyond the limits the oldest
-- goes. Returns version up to which the answer is complete, 1 if there is more, jars and cookies
-- that were dropped, then of each change: jar, cookie, value.
local jars, prefix = KEYS[1], KEYS[2]
local since, most_jars, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local function split(record)
  local version, value = string.match(record, '^(%d+)\n(.*)$')
  return tonumber(version) or 0, value or ''
end

local changed, dropped_jars, dropped_cookies = {}, 0, 0
if #ARGV > 4 then
  local time = redis.call('TIME')
  local last = redis.call('ZRANGE', jars, -1, -1, 'WITHSCORES')[2]
  local version = math.max(time[1] * 1000000 + time[2], (tonumber(last) or 0) + 1)
  local text = string.format('%.0f', version)
  for i = 5, #ARGV, 3 do
    redis.call('HSET', prefix .. ARGV[i], ARGV[i + 1], text .. '\n' .. ARGV[i + 2])
    redis.call('ZADD', jars, text, ARGV[i])
    changed[ARGV[i]] = true
  end
end

for jar in pairs(changed) do
  local size, cookies = 0, {}
  local fields = redis.call('HGETALL', prefix .. jar)
  for i = 1, #fields, 2 do
    size = size + #fields[i] + #fields[i + 1]
    local version = split(fields[i + 1])
    cookies[#cookies + 1] = {version, fields[i], #fields[i] + #fields[i + 1]}
  end
  if size > most_bytes then
    table.sort(cookies, function(a, b) return a[1] < b[1] end)
    for _, cookie in ipairs(cookies) do
      if size <= most_bytes then break end
      redis.call('HDEL', prefix .. jar, cookie[2])
      size, dropped_cookies = size - cookie[3], dropped_cookies + 1
    end
  end
end
local surplus = redis.call('ZCARD', jars) - most_jars
if surplus > 0 then
  for _, jar in ipairs(redis.call('ZRANGE', jars, 0, surplus - 1)) do
    redis.call('UNLINK', prefix .. jar)
    redis.call('ZREM', jars, jar)
    dropped_jars = dropped_jars + 1
  end
end

local answer = {string.format('%.0f', since), 0, dropped_jars, dropped_cookies}
local size = 0
local found = redis.call('ZRANGEBYSCORE', jars, '(' .. ARGV[1], '+inf', 'WITHSCORES')
for i = 1, #found, 2 do
  -- Jars that were changed together have one version: the next answer begins after all of them.
  if size > tonumber(ARGV[4]) and found[i + 1] ~= found[i - 1] then
    answer[2] = 1
    break
  end
  local fields = redis.call('HGETALL', prefix .. found[i])
  for j = 1, #fields, 2 do
    local version, value = split(fields[j + 1])
    if version > since then
      size = size + #value
      for _, part in ipairs({found[i], fields[j], value}) do answer[#answer + 1] = part end
    end
  end
  answer[1] = string.format('%.0f', tonumber(found[i + 1]))
end
return answer
