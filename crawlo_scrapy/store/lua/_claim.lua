-- Included in _push, after the seen set.
local recorded = {} -- by this call, of a plain seen set: bucket, member, …
local claimed = {} -- what this call records once its requests are queued, of any other

-- Make a fingerprint seen, but for mode c; false when it was.
local function claim(i, prefix, member, mode)
  if mode == 'c' then return not is_seen(prefix, member) end
  if seen_state[4] then
    if claimed[member] or is_seen(prefix, member) then return false end
    claimed[member], claimed[#claimed + 1] = true, i
    return true
  end
  if in_older_levels(prefix, member) then return false end
  local newest = slices[1]
  local key = bucket(newest, newest.level, prefix)
  if redis.call('SADD', key, member) == 0 then return false end
  recorded[#recorded + 1] = key
  recorded[#recorded + 1] = member
  count_new(newest)
  return true
end
