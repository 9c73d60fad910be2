-- Included by _seen_choice: a scalable Bloom filter in the place of buckets (see store/bloom.py).
-- Filter L has so many blocks of 128 bytes, and a fingerprint so many bits in one of them, as
-- `seen_shapes` says ("blocks:bits,…"). The first bits of the fingerprint choose the block. Strings
-- of 127 blocks stay below 16 KB with all that Redis and its allocator add.
local blocks, hashes = {}, {}
for count, bits in string.gmatch(choice[7], '(%d+):(%d+)') do
  blocks[#blocks + 1], hashes[#hashes + 1] = tonumber(count), tonumber(bits)
end
local capacity, masks = tonumber(choice[8]), {[0] = 1, 2, 4, 8, 16, 32, 64, 128}
local byte_at, floor, band = string.byte, math.floor, bit.band

local function block_of(slice, level, prefix)
  local place = floor(prefix * blocks[level + 1] / 4294967296)
  local key, first = slice.at .. level .. ':' .. floor(place / 127), place % 127 * 128
  return redis.call('GETRANGE', key, first, first + 127), key, first, place
end

-- What the places of a fingerprint's bits are drawn from: the decimal digits of its 64 bits, which
-- are more than a number here can hold.
local function seed(member)
  return tonumber(string.sub(member, -9)) or 0, 2 * (tonumber(string.sub(member, -18, -10)) or 0) + 1
end

local function all_set(block, member, count)
  local x, step = seed(member)
  for _ = 1, count do
    x = (x * 69069 + step) % 4294967296
    local place = floor(x / 4194304)
    if band(byte_at(block, floor(place / 8) + 1), masks[place % 8]) == 0 then return false end
  end
  return true
end

holds = function(slice, level, prefix, member)
  local block = block_of(slice, level, prefix)
  return block ~= '' and all_set(block, member, hashes[level + 1])
end

put = function(slice, level, prefix, member)
  local block, key, first, place = block_of(slice, level, prefix)
  if block == '' then -- all of the string at once: grown, it would take up twice the memory
    local count = math.min(127, blocks[level + 1] - (place - first / 128))
    redis.call('SETBIT', key, count * 1024 - 1, 0)
    if slice.expires then redis.call('PEXPIREAT', key, slice.expires) end
    block = string.rep('\0', 128)
  end
  if all_set(block, member, hashes[level + 1]) then return false end
  local bytes, x, step = {byte_at(block, 1, 128)}, seed(member)
  for _ = 1, hashes[level + 1] do
    x = (x * 69069 + step) % 4294967296
    local at = floor(x / 4194304)
    local byte = floor(at / 8) + 1
    bytes[byte] = bit.bor(bytes[byte], masks[at % 8])
  end
  redis.call('SETRANGE', key, first, string.char(unpack(bytes)))
  return true
end

room = function(level) return level < #blocks - 1 and capacity * 2 ^ level or math.huge end
