-- Included after the limits where delays change; needs `holds`.
-- The next request of a slot, whose *time* stands in *set*, need not wait for the end of a longer
-- delay; only what the site itself asked for (Retry-After) stays.
local function hasten(set, slot, time)
  local offset = time >= BLOCKED and BLOCKED or 0
  local held = tonumber(redis.call('ZSCORE', holds, slot) or 0)
  local latest = math.max(now_exact + limit_of(slot), held)
  if time - offset > latest then redis.call('ZADD', set, latest + offset, slot) end
end
