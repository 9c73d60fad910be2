-- Included, after the clock, where a run of a crawl begins; needs `meta`, `seeds` and `control`.
-- Who seeds it is not decided yet.
local function begin_run(run, format, bucket_fill)
  redis.call('HSET', meta, 'state', 'running', 'run', run, 'format', format,
    'bucket_fill', bucket_fill, 'created', now)
  redis.call('HDEL', meta, 'finished', 'seeder', 'seeding')
  redis.call('DEL', seeds, control)
end
