-- Keep a value, if a right that was claimed is still one's own.
--   KEYS: meta (HASH), alerts (HASH)
--   ARGV: run and when it began as "number:created", name of the right, until when it was
--         claimed, field, value
-- Returns 1, or 0 when another has the right, or the run is over.
local meta, alerts = KEYS[1], KEYS[2]
local run, name, claimed, field, value = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

--#include _alerts_run

if not is_current() then return 0 end
local record = redis.call('HGET', alerts, name) or ''
if string.match(record, '%d+$') ~= claimed then return 0 end
redis.call('HSET', alerts, field, value)
return 1
