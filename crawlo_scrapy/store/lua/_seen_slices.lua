-- Included by _seen_choice: the slices of a seen set that expires.
if ttl > 0 then
  local clock = redis.call('TIME')
  local now_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
  slices = {}
  for text in string.gmatch(choice[2] or '', '[^;]+') do
    local n = {}
    for number in string.gmatch(text, '%d+') do n[#n + 1] = tonumber(number) end
    if n[7] > now_ms then
      slices[#slices + 1] = {number = n[1], base = n[2], level = math.min(n[3], 60), fill = n[4], count = n[5],
        closes = n[6], expires = n[7], chunk = n[8]}
    else
      seen_gone = seen_gone + n[5]
    end
  end
  local last = slices[1]
  if not last or last.closes <= now_ms then
    local slice, base = math.ceil(ttl / 5), last and math.max(0, last.level - 1) or 0
    if chunk_fill > 0 then chunk, chunk_fill = chunk + 1, 0 end
    table.insert(slices, 1, {number = (tonumber(choice[3]) or 0) + 1, base = base, level = base,
      fill = 0, count = 0, closes = now_ms + slice, expires = now_ms + slice + ttl, chunk = chunk})
  end
  for _, slice in ipairs(slices) do slice.at = seen_prefix .. 's' .. slice.number .. ':' end

  local put_bucket = put
  put = function(slice, level, prefix, member)
    if not put_bucket(slice, level, prefix, member) then return false end
    local key = bucket(slice, level, prefix)
    if redis.call('SCARD', key) == 1 then redis.call('PEXPIREAT', key, slice.expires) end
    return true
  end
end

keep_slices = function()
  if seen_added == 0 and seen_gone == 0 then return end
  redis.call('HSET', meta, 'seen_chunk', chunk, 'seen_chunk_fill', chunk_fill)
  if ttl == 0 then return end
  local texts = {}
  for i, s in ipairs(slices) do
    if s.count > 0 or s.fill > 0 or i > 1 then
      texts[#texts + 1] = string.format('%d:%d:%d:%d:%d:%d:%d:%d', s.number, s.base, s.level,
        s.fill, s.count, s.closes, s.expires, s.chunk)
    end
  end
  redis.call('HSET', meta, 'seen_slices', table.concat(texts, ';'))
  if slices[1].count > 0 then redis.call('HSET', meta, 'seen_slice', slices[1].number) end
  if seen_gone > 0 then redis.call('HINCRBY', meta, 'seen', -seen_gone) end
end
