-- Included where `repartition` changes a partition; needs `moving`, and its token in ARGV[1].
-- Another run has taken over, or the crawl was purged: this one ends here.
if redis.call('HGET', moving, 'token') ~= ARGV[1] then return -1 end
