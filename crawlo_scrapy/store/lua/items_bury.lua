-- Move an item that its storage refuses to the dead items.
--   KEYS: items (STREAM), dead items (STREAM)
--   ARGV: group, entry's id, reason, storage, format, payload, class
-- Returns 1, or 0 and does nothing when no reader has the entry any more: somebody settled it.
local items, dead = KEYS[1], KEYS[2]
local group, id, reason, storage, format, payload, class = unpack(ARGV)
-- What fails, fails here, where the entry is still the reader's.
if not class then error('seven values are needed') end
redis.call('XLEN', dead)
if redis.call('XACK', items, group, id) == 0 then return 0 end
redis.call('XADD', dead, '*', format, payload, 'class', class, 'reason', reason,
  'storage', storage)
redis.call('XDEL', items, id)
return 1
