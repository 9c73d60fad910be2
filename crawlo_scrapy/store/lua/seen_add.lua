-- Record fingerprints without queueing anything.
--   KEYS: meta (HASH), prefix of seen keys
--   ARGV: for each fingerprint: its first 32 bits, 64 further bits
-- Returns for each 1 if it was new, else 0.
local meta, seen_prefix = KEYS[1], KEYS[2]

--#include _seen

local fresh = {}
for i = 1, #ARGV, 2 do
  fresh[#fresh + 1] = record(tonumber(ARGV[i]), ARGV[i + 1]) and 1 or 0
end
save_seen()
return fresh
