-- Included where the seen set is read or written; needs `meta` and `seen_prefix`.
-- Level L has 4096 * 16^L buckets, chosen by the first bits of the fingerprint (`prefix`, 32 bits).
-- A bucket is a SET of 64-bit integers that stays packed while it is small. Fingerprints go
-- into the newest level; when that is full on average, a larger one is opened.
-- A crawl that asked for something else has `seen_how`: Bloom filters in the place of buckets,
-- slices that expire, URLs kept. See _seen_choice; a crawl without pays nothing for it.
local seen_state = redis.call('HMGET', meta, 'seen_level', 'seen_fill', 'bucket_fill', 'seen_how')
local bucket_fill = tonumber(seen_state[3]) or 400
local seen_added, seen_gone = 0, 0
-- What still counts, newest first. Without expiry it is one slice for ever.
local slices = {{
  at = seen_prefix, base = 0, level = math.min(tonumber(seen_state[1]) or 0, 60),
  fill = tonumber(seen_state[2]) or 0, count = 0,
}}
local keep_slices, keep_url

local function bucket(slice, level, prefix)
  return slice.at .. level .. ':' .. math.floor(prefix / 2 ^ (20 - 4 * level))
end

local function holds(slice, level, prefix, member)
  return redis.call('SISMEMBER', bucket(slice, level, prefix), member) == 1
end

local function put(slice, level, prefix, member)
  return redis.call('SADD', bucket(slice, level, prefix), member) == 1
end

local function room(level)
  return level < 5 and 4096 * 16 ^ level * bucket_fill or math.huge
end

if seen_state[4] then
--#include _seen_choice
end

-- Whether any level but the newest has it.
local function in_older_levels(prefix, member)
  for i, slice in ipairs(slices) do
    for level = i == 1 and slice.level - 1 or slice.level, slice.base, -1 do
      if holds(slice, level, prefix, member) then return true end
    end
  end
  return false
end

local function is_seen(prefix, member)
  return holds(slices[1], slices[1].level, prefix, member) or in_older_levels(prefix, member)
end

-- One more is in the newest level.
local function count_new(newest)
  seen_added = seen_added + 1
  newest.fill, newest.count = newest.fill + 1, newest.count + 1
  if newest.fill >= room(newest.level) then newest.level, newest.fill = newest.level + 1, 0 end
end

-- Records a fingerprint that is in no older level; false when it was there. `payload` is the
-- request's, if there is one.
local function record_new(prefix, member, payload)
  local newest = slices[1]
  if not put(newest, newest.level, prefix, member) then return false end
  if keep_url and payload then keep_url(prefix, member, payload) end
  count_new(newest)
  return true
end

local function record(prefix, member)
  return not in_older_levels(prefix, member) and record_new(prefix, member)
end

local function save_seen()
  if keep_slices then keep_slices() end
  if seen_added == 0 then return end
  if not slices[1].number then
    redis.call('HSET', meta, 'seen_level', slices[1].level, 'seen_fill', slices[1].fill)
  end
  redis.call('HINCRBY', meta, 'seen', seen_added)
end
