-- Included, after the clock, where a run of a crawl begins; needs `meta`, `seeds` and `control`.
-- Who seeds it is not decided yet.
local function begin_run(run, format, bucket_fill, layout)
  redis.call('HSET', meta, 'state', 'running', 'run', run, 'format', format,
    'bucket_fill', bucket_fill, 'created', now, 'layout', layout)
  redis.call('HSETNX', meta, 'root', time[1] .. '.' .. time[2])
  redis.call('HDEL', meta, 'finished', 'seeder', 'seeding')
  redis.call('UNLINK', seeds, control)
end
