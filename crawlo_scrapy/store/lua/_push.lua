-- Included, after the clock, the limits, the queue and the seen set, where new requests are
-- queued; needs `meta`, `delayed` and `seeds`.
--#include _claim

local function push_all(first, order, name)
  if (#ARGV + 1 - first) % 7 ~= 0 then error('requests have seven values each') end
  local duplicates, lists, later, new_seeds, count = {}, {}, {}, {}, 0
  for i = first, #ARGV, 7 do
    local mode, prefix, member = string.sub(ARGV[i], 1, 1), tonumber(ARGV[i + 1]), ARGV[i + 2]
    local slot, priority, delay = ARGV[i + 3], ARGV[i + 4], tonumber(ARGV[i + 5])
    if not (prefix and prefix >= 0 and prefix < 2 ^ 32 and delay and delay < 2 ^ 42) then
      error('a fingerprint or a delay that is none')
    end
    local fresh = claim(i, prefix, member, mode)
    if mode == 'n' then
      fresh = true
    elseif mode == 's' then
      local seed = member .. string.sub(ARGV[i], 2)
      fresh = not new_seeds[seed] and redis.call('SISMEMBER', seeds, seed) == 0
      new_seeds[seed] = true
    end
    if not fresh then
      duplicates[#duplicates + 1] = (i - first) / 7
    elseif mode ~= 'c' and mode ~= 'r' then
      count = count + 1
      local element = '\0' .. ARGV[i + 6]
      if delay > 0 then
        local unique = name .. '.' .. i .. '.' .. time[1] .. time[2]
        later[#later + 1] = now + delay
        later[#later + 1] = unique .. '\n' .. slot .. '\n' .. priority .. '\n' .. element
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
  for key, list in pairs(lists) do
    -- Where something waits already, the slot and the priority are announced.
    if redis.call('LLEN', queue .. key) == 0 then announce(list.slot, list.priority) end
  end
  for from = 1, #later, 1000 do
    redis.call('ZADD', delayed, unpack(later, from, math.min(from + 999, #later)))
  end
  local command = order == 'lifo' and 'LPUSH' or 'RPUSH'
  for key, list in pairs(lists) do
    for from = 1, #list, 1000 do
      redis.call(command, queue .. key, unpack(list, from, math.min(from + 999, #list)))
    end
  end
  for _, i in ipairs(claimed) do record_new(tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 6]) end
  for seed in pairs(new_seeds) do redis.call('SADD', seeds, seed) end
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

-- Queue the requests in ARGV from *first* on, seven values each (see frontier_push). *name* tells
-- this call's requests from all others. Returns the places of duplicates, and how many were queued.
local function push_new(first, order, name)
  local done, duplicates, count = pcall(push_all, first, order, name)
  if not done then
    -- Who is not queued is not seen.
    for i = 1, #recorded, 2 do redis.call('SREM', recorded[i], recorded[i + 1]) end
    error(duplicates, 0)
  end
  return duplicates, count
end
