-- Read what is in buckets of one level of a seen set, one after the other; changes nothing.
--   KEYS: what the keys of the level begin with
--   ARGV: first bucket, how many buckets at most, after how many members to stop
-- Returns {the bucket to go on with, {bucket, {member, …}}, …}.
local level = KEYS[1]
local bucket, left = tonumber(ARGV[1]), tonumber(ARGV[3])
local last, found = bucket + math.min(tonumber(ARGV[2]), 10000), {0}
while bucket < last and left > 0 do
  local name = string.format('%d', bucket)
  local members = redis.call('SMEMBERS', level .. name)
  if #members > 0 then found[#found + 1] = {name, members} end
  left, bucket = left - #members, bucket + 1
end
found[1] = string.format('%d', bucket)
return found
