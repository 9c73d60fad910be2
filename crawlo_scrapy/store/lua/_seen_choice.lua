-- Included by _seen for a crawl whose seen set is not the plain one; all of it stands in `meta`.
-- `seen_how` is exact, bloom (filters of ours) or bf (those of a module).
-- Of a crawl with `seen_ttl` (ms) each slice of time has levels, or filters, of its own. A slice is
-- opened by what is recorded first in it, takes what comes in a fifth of the TTL, and is gone one
-- TTL later; Redis itself drops its keys then. It begins one level below the one before it.
-- `seen_slices`: "number:base:level:fill:count:closes:expires:chunk;…", newest first, times in ms.
local choice = redis.call('HMGET', meta, 'seen_ttl', 'seen_slices', 'seen_slice', 'seen_urls',
  'seen_chunk', 'seen_chunk_fill', 'seen_shapes', 'seen_capacity', 'seen_error')
local ttl = tonumber(choice[1]) or 0
local chunk, chunk_fill = tonumber(choice[5]) or 0, tonumber(choice[6]) or 0

--#include _seen_slices
--#include _seen_urls
if seen_state[4] == 'bloom' then
--#include _seen_bloom
elseif seen_state[4] == 'bf' then
--#include _seen_module
end
