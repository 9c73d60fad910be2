-- Included by _seen_choice: the Bloom filter of a module (Redis 8, RedisBloom, valkey-bloom), which
-- opens further filters itself.
local function name_of(prefix, member) return string.format('%d:%s', prefix, member) end

holds = function(slice, _, prefix, member)
  return redis.call('BF.EXISTS', slice.at .. 'bf', name_of(prefix, member)) == 1
end

put = function(slice, _, prefix, member)
  local key = slice.at .. 'bf'
  local opens = slice.fill == 0 and redis.call('EXISTS', key) == 0
  if opens then redis.call('BF.RESERVE', key, choice[9], choice[8], 'EXPANSION', 2) end
  local fresh = redis.call('BF.ADD', key, name_of(prefix, member)) == 1
  if opens and slice.expires then redis.call('PEXPIREAT', key, slice.expires) end
  return fresh
end

room = function() return math.huge end
