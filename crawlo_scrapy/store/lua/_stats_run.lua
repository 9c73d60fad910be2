-- Included where a run's statistics are written; needs `meta`, `runs`, `run` and `created`.
-- Numbers of runs begin again after a purge: a run is known by when it began, too. Run 0 is that
-- of processes which share nothing but statistics.
-- Returns nil when the run may be written to; "busy" when it may be later, "gone" when never.
local function refusal()
  local fields = redis.call('HMGET', meta, 'state', 'run', 'created')
  if fields[1] == 'purging' then return 'busy' end
  local began = redis.call('ZSCORE', runs, run)
  if began and tonumber(began) == tonumber(created) then return nil end
  if run ~= '0' and (fields[2] ~= run or fields[3] ~= created) then return 'gone' end
  redis.call('ZADD', runs, created, run)
  return nil
end
