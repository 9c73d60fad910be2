-- Read the next of the requests that were set aside, in their order; changes nothing.
--   KEYS: moving (HASH), names of lists set aside (LIST), prefix of these lists
--   ARGV: token of this run, most requests, most bytes
-- Returns {number of this batch, {slot, priority, {element, …}}, …}; -1 when another run has taken
-- over.
local moving, names, aside = unpack(KEYS)

--#include _moving

local left, room = tonumber(ARGV[2]), tonumber(ARGV[3])
local batch = {tonumber(redis.call('HGET', moving, 'batch') or 0)}
for _, name in ipairs(redis.call('LRANGE', names, 0, left - 1)) do
  local number, slot, priority = string.match(name, '^(%d+) (.*):([^:]*)$')
  local elements = {}
  while left > 0 and room > 0 do
    local page = redis.call('LRANGE', aside .. number, #elements,
      #elements + math.min(left, 20) - 1)
    if #page == 0 then break end
    for _, element in ipairs(page) do
      elements[#elements + 1] = element
      left, room = left - 1, room - #element
    end
  end
  batch[#batch + 1] = {slot, priority, elements}
  if left <= 0 or room <= 0 then break end
end
return batch
