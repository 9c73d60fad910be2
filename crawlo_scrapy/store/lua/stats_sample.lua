-- Append to the series of a run and of one of its nodes what is due.
--   KEYS: meta (HASH), workers (ZSET), dead letters (HASH), runs (ZSET), nodes of the run (ZSET),
--         series of the run (STREAM), series of the node (STREAM), leases of the worker (HASH),
--         prefix of the nodes' stats
--   ARGV: run, when it began in ms, node, silence after which a node counts as dead in ms,
--         time from one sample to the next in ms, how many samples are kept, whether this is
--         the node's last write (0|1), then names of the stats to sample
-- A run gets one sample an interval, whoever comes first; and a last one when nobody is left.
-- Returns how many were appended.
local meta, workers, dead, runs, nodes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local series, node_series, leases, stats_prefix = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local run, created, node, silence = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local interval, most, last = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local names = {unpack(ARGV, 8)}

--#include _clock

local silent = now - silence

--#include _stats_run
--#include _stats_sums

local function due(stream)
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if not newest then return true end
  local before = tonumber(string.match(newest[1], '^%d+'))
  return math.floor(now / interval) > math.floor(before / interval)
end

local function append(stream, sample)
  redis.call('XADD', stream, 'MAXLEN', '~', most, '*', 'v', sample)
end

if refusal() then return 0 end
local count = 0
if last or due(node_series) then
  local figures = figures_of(node)
  figures[#figures + 1] = redis.call('HLEN', leases)
  append(node_series, text(figures))
  redis.call('PEXPIRE', node_series, string.format('%.0f', interval * most))
  count = 1
end
local living = string.format('(%.0f', silent)
local alone = last and redis.call('ZCOUNT', workers, living, '+inf') == 0
  and redis.call('ZCOUNT', nodes, living, '+inf') == 0
if alone or due(series) then
  append(series, crawl_text(meta, dead, workers))
  count = count + 1
end
return count
