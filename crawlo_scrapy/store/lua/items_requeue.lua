-- Put dead items back into the stream, at its end.
--   KEYS: dead items (STREAM), items (STREAM)
--   ARGV: ids
-- Returns how many there were.
local dead, items = KEYS[1], KEYS[2]
local about = {reason = true, storage = true}
local count = 0
for _, id in ipairs(ARGV) do
  local entry = redis.call('XRANGE', dead, id, id)[1]
  if entry then
    local item = {}
    for i = 1, #entry[2], 2 do
      if not about[entry[2][i]] then
        item[#item + 1] = entry[2][i]
        item[#item + 1] = entry[2][i + 1]
      end
    end
    if #item > 0 then
      redis.call('XADD', items, '*', unpack(item))
      redis.call('XDEL', dead, id)
      count = count + 1
    end
  end
end
return count
