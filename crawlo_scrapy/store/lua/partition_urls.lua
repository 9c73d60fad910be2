-- Take in URLs that another partition has kept, with the times when they were seen.
--   KEYS: moving (HASH), URLs (STREAM)
--   ARGV: token of this run; time in ms when they expire, or 0; then for each: id, URL, first 32
--         bits of its fingerprint, 64 further bits
-- They come in the order of their ids; those that are here already count once. Returns 1; -1 when
-- another run has taken over.
local moving, urls = KEYS[1], KEYS[2]

--#include _moving

local function parts(id)
  local ms, number = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(number)
end

local newest = redis.call('XREVRANGE', urls, '+', '-', 'COUNT', 1)[1]
local last_ms, last_number = parts(newest and newest[1] or '0-0')
for i = 3, #ARGV, 4 do
  local ms, number = parts(ARGV[i])
  if ms > last_ms or ms == last_ms and number > last_number then
    redis.call('XADD', urls, ARGV[i], 'u', ARGV[i + 1], 'p', ARGV[i + 2], 'm', ARGV[i + 3])
  end
end
if ARGV[2] ~= '0' then redis.call('PEXPIREAT', urls, ARGV[2]) end
return 1
