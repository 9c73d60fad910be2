-- Forget the slices of a seen set that expires which are older than an age.
--   KEYS: meta (HASH), prefix of seen keys
--   ARGV: the age in ms
-- A slice goes when all in it is older. Returns {how many fingerprints, what the keys of each
-- slice begin with…}: nobody looks into them any more, and the caller removes them.
local meta, seen_prefix = KEYS[1], KEYS[2]

--#include _seen

local dropped, kept, expired = {0}, {}, seen_gone
if slices[1].number then
  local clock = redis.call('TIME')
  local before = clock[1] * 1000 + math.floor(clock[2] / 1000) - tonumber(ARGV[1])
  for _, slice in ipairs(slices) do
    if slice.closes <= before then
      seen_gone = seen_gone + slice.count
      dropped[#dropped + 1] = slice.at
    else
      kept[#kept + 1] = slice
    end
  end
  slices = kept
  dropped[1] = seen_gone - expired
end
save_seen()
return dropped
