-- Look whether items were stored before; nothing is recorded.
--   KEYS: state of the seen items (HASH), prefix of their keys
--   ARGV: for each fingerprint: its first 32 bits, 64 further bits
-- Returns for each 1 if it was, else 0.
local meta, seen_prefix = KEYS[1], KEYS[2]

--#include _seen

local seen = {}
for i = 1, #ARGV, 2 do
  seen[#seen + 1] = is_seen(tonumber(ARGV[i]), ARGV[i + 1]) and 1 or 0
end
return seen
