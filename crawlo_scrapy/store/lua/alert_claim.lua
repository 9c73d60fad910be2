-- Claim the right to tell that an alert is raised, or that it is over.
--   KEYS: meta (HASH), alerts (HASH)
--   ARGV: run and when it began as "number:created", name of the alert, whether it holds (0|1),
--         time after it was raised in which it is not raised again, and time after which the
--         right is another's, both in ms
-- A field of alerts is "told raised claimed": what was told last (0|1), when it was last raised,
-- and until when somebody has the right. Returns {until when, raised, memory of the last look},
-- or nothing when there is nothing to tell, or another tells it.
local meta, alerts = KEYS[1], KEYS[2]
local run, name, holds, quiet, lease = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

--#include _clock
--#include _alerts_run

if not is_current() then return {} end
local record = redis.call('HGET', alerts, name) or '0 0 0'
local told, raised, claimed = string.match(record, '^(%d+) (%d+) (%d+)$')
if not told then told, raised, claimed = '0', '0', '0' end
if holds == told or now < tonumber(claimed) then return {} end
if holds == '1' and now < raised + quiet then return {} end
claimed = string.format('%.0f', now + lease)
redis.call('HSET', alerts, name, told .. ' ' .. raised .. ' ' .. claimed)
return {claimed, raised, redis.call('HGET', alerts, ':memory') or ''}
