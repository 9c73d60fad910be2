-- Get the robots.txt of a site, or the right to fetch it.
--   KEYS: the file (STRING), the claim on it (STRING)
--   ARGV: worker, for how many ms it has the right
-- Returns {"here", file}, {"yours"}, or {"theirs"} while another worker fetches it.
local file = redis.call('GET', KEYS[1])
if file then return {'here', file} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {'yours'} end
return {redis.call('GET', KEYS[2]) == ARGV[1] and 'yours' or 'theirs'}
