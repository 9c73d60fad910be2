-- Say whether nothing is queued or leased in a partition.
--   KEYS: meta (HASH), workers (ZSET), slots (ZSET), timed slots (ZSET), delayed (ZSET),
--         prefix of lease keys
-- Returns an empty text if something is; else one that changes whenever something comes in, or is
-- noted to have come into another partition.
local meta, workers, slots, timed, delayed = unpack(KEYS, 1, 5)
if redis.call('EXISTS', slots, timed, delayed) > 0 then return '' end
for _, id in ipairs(redis.call('ZRANGE', workers, 0, -1)) do
  if redis.call('EXISTS', KEYS[6] .. id) == 1 then return '' end
end

--#include _moment

return moment()
