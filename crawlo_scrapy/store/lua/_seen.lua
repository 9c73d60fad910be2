-- Included where the seen set is read or written; needs `meta` and `seen_prefix`.
-- Level L has 64 * 4^L buckets, chosen by the first bits of the fingerprint (`prefix`, 32 bits).
-- A bucket is a SET of 64-bit integers that stays packed while it is small. Fingerprints go
-- into the newest level; when that is full on average, a larger one is opened.
local seen_state = redis.call('HMGET', meta, 'seen_level', 'seen_fill', 'bucket_fill')
local seen_level = tonumber(seen_state[1]) or 0
local seen_fill = tonumber(seen_state[2]) or 0
local bucket_fill = tonumber(seen_state[3]) or 400
local seen_added = 0

local function bucket(level, prefix)
  return seen_prefix .. level .. ':' .. math.floor(prefix / 2 ^ (26 - 2 * level))
end

local function in_older_levels(prefix, member)
  for level = seen_level - 1, 0, -1 do
    if redis.call('SISMEMBER', bucket(level, prefix), member) == 1 then return true end
  end
  return false
end

local function is_seen(prefix, member)
  return redis.call('SISMEMBER', bucket(seen_level, prefix), member) == 1
    or in_older_levels(prefix, member)
end

-- Records a fingerprint; false when it was there.
local function record(prefix, member)
  if in_older_levels(prefix, member) then return false end
  if redis.call('SADD', bucket(seen_level, prefix), member) == 0 then return false end
  seen_added = seen_added + 1
  seen_fill = seen_fill + 1
  if seen_fill >= 64 * 4 ^ seen_level * bucket_fill and seen_level < 13 then
    seen_level, seen_fill = seen_level + 1, 0
  end
  return true
end

local function save_seen()
  if seen_added > 0 then
    redis.call('HSET', meta, 'seen_level', seen_level, 'seen_fill', seen_fill)
    redis.call('HINCRBY', meta, 'seen', seen_added)
  end
end
