-- Forget fingerprints: their URLs are new again.
--   KEYS: meta (HASH), prefix of seen keys, and if URLs come from it, a stream of kept URLs
--   ARGV: for each: its first 32 bits, 64 further bits, id of its entry in the stream or ''
-- Returns how many had been seen; -1 and does nothing where a Bloom filter is, which cannot forget.
local meta, seen_prefix, urls = KEYS[1], KEYS[2], KEYS[3]

--#include _seen

if seen_state[4] and seen_state[4] ~= 'exact' then return -1 end
if #ARGV % 3 ~= 0 then error('fingerprints have three values each') end
for i = 1, #ARGV, 3 do
  local prefix, member = tonumber(ARGV[i]), ARGV[i + 1]
  for _, slice in ipairs(slices) do
    for level = slice.base, slice.level do
      if redis.call('SREM', bucket(slice, level, prefix), member) == 1 then
        seen_added, slice.count = seen_added - 1, slice.count - 1
        if level == slice.level then slice.fill = slice.fill - 1 end
      end
    end
  end
  if urls and ARGV[i + 2] ~= '' then redis.call('XDEL', urls, ARGV[i + 2]) end
end
local forgotten = -seen_added
save_seen()
return forgotten
