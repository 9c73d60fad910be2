-- Included where a run's nodes are added up; needs `nodes`, `stats_prefix`, `silent` and `names`.
-- A field of a node's stats is one byte that says how it adds up, for "=" the time of the write
-- in 16 digits, and the value as msgpack.
local function number(field)
  if not field then return 0 end
  local from = string.sub(field, 1, 1) == '=' and 18 or 2
  local ok, value = pcall(cmsgpack.unpack, string.sub(field, from))
  return ok and type(value) == 'number' and value or 0
end

local function figures_of(node)
  local figures = redis.call('HMGET', stats_prefix .. node, unpack(names))
  for i, field in ipairs(figures) do figures[i] = number(field) end
  return figures
end

-- The sums over all nodes; of the last name only over those that live.
local function sums()
  local total = {}
  for i in ipairs(names) do total[i] = 0 end
  local scores = redis.call('ZRANGE', nodes, 0, -1, 'WITHSCORES')
  for i = 1, #scores, 2 do
    for place, value in ipairs(figures_of(scores[i])) do
      if place < #names or tonumber(scores[i + 1]) > silent then
        total[place] = total[place] + value
      end
    end
  end
  return total
end

local function text(figures)
  for i, value in ipairs(figures) do figures[i] = string.format('%.0f', value) end
  return table.concat(figures, ',')
end

-- The sums, and how the frontier stands; other partitions as they were noted (see
-- store/partitions.py).
local function crawl_text(meta, dead, workers)
  local figures, elsewhere = sums(), {}
  local found = redis.call('HMGET', meta, 'leased', 'queued', 'acked', 'seen', 'elsewhere')
  for figure in string.gmatch(found[5] or '', '%d+') do elsewhere[#elsewhere + 1] = figure end
  found[5] = redis.call('HLEN', dead)
  for i, value in ipairs(found) do
    figures[#figures + 1] = math.max(0, tonumber(value) or 0) + (elsewhere[i] or 0)
  end
  figures[#figures + 1] = redis.call('ZCOUNT', workers, string.format('(%.0f', silent), '+inf')
  return text(figures)
end
