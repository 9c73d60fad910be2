-- Included, after the clock, the limits, the queue and the seen set, where new requests are
-- queued; needs `meta`, `delayed` and `seeds`.
-- Queue the requests in ARGV from *first* on, seven values each (see frontier_push). *name* tells
-- this call's requests from all others. Returns the places of duplicates, and how many were queued.
local function push_new(first, order, name)
  local duplicates, lists, count = {}, {}, 0
  for i = first, #ARGV, 7 do
    local mode, prefix, member = string.sub(ARGV[i], 1, 1), tonumber(ARGV[i + 1]), ARGV[i + 2]
    local slot, priority, delay = ARGV[i + 3], ARGV[i + 4], tonumber(ARGV[i + 5])
    local fresh
    if mode == 'c' then
      fresh = not is_seen(prefix, member)
    else
      fresh = record(prefix, member) or mode == 'n'
      if mode == 's' then
        fresh = redis.call('SADD', seeds, member .. string.sub(ARGV[i], 2)) == 1
      end
    end
    if not fresh then
      duplicates[#duplicates + 1] = (i - first) / 7
    elseif mode ~= 'c' and mode ~= 'r' then
      count = count + 1
      local element = '\0' .. ARGV[i + 6]
      if delay > 0 then
        local unique = name .. '.' .. i .. '.' .. time[1] .. time[2]
        redis.call('ZADD', delayed, now + delay,
          unique .. '\n' .. slot .. '\n' .. priority .. '\n' .. element)
      else
        local key = slot .. ':' .. priority
        local list = lists[key]
        if not list then
          list = {slot = slot, priority = priority}
          lists[key] = list
        end
        list[#list + 1] = element
      end
    end
  end
  local command = order == 'lifo' and 'LPUSH' or 'RPUSH'
  for key, list in pairs(lists) do
    for from = 1, #list, 1000 do
      redis.call(command, queue .. key, unpack(list, from, math.min(from + 999, #list)))
    end
    announce(list.slot, list.priority)
  end
  save_seen()
  if count > 0 then
    redis.call('HINCRBY', meta, 'queued', count)
    redis.call('HINCRBY', meta, 'pushed', count)
    if redis.call('HGET', meta, 'state') == 'finished' then
      redis.call('HSET', meta, 'state', 'running')
    end
  end
  return duplicates, count
end
