-- Take fingerprints into buckets of the seen set, or out of them, and count the changes.
--   KEYS: moving (HASH), buckets (SETs)…
--   ARGV: token of this run; SADD|SREM; time in ms when the buckets expire, or 0; field that
--         counts; then for each bucket: how many, members…
-- Returns 1; -1 when another run has taken over.
local moving = KEYS[1]

--#include _moving

local command, expires = ARGV[2], ARGV[3]
local changes, i = 0, 5
for key = 2, #KEYS do
  local last = i + ARGV[i]
  for first = i + 1, last, 1000 do
    changes = changes + redis.call(command, KEYS[key], unpack(ARGV, first, math.min(first + 999, last)))
  end
  if expires ~= '0' then redis.call('PEXPIREAT', KEYS[key], expires) end
  i = last + 1
end
redis.call('HINCRBY', moving, ARGV[4], command == 'SADD' and changes or -changes)
return 1
