-- Included where a divided crawl is tested for its end; needs `meta`.
-- Changes whenever a request comes into this partition other than from a lease.
local function moment()
  local fields = redis.call('HMGET', meta, 'run', 'created', 'pushed', 'requeued', 'noted')
  for i = 1, 5 do fields[i] = fields[i] or '' end
  return table.concat(fields, ':')
end
