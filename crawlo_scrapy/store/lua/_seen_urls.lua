-- Included by _seen_choice: keeps the URLs of a crawl that wants them, with the fingerprints that
-- they are known by and the time, in streams of 50,000 (`chunk` counts them), the newest last. Each
-- belongs to one slice and goes with it.
if choice[4] == '1' then
  -- The URL in a payload: "u" is its first field. Nothing for a payload of another form.
  local function url_in(payload)
    if string.sub(payload, 2, 3) ~= '\161u' then return end
    local kind, first, second, third, fourth = string.byte(payload, 4, 8)
    if not fourth then return end
    if kind >= 160 and kind < 192 then return string.sub(payload, 5, kind - 156) end
    if kind == 217 then return string.sub(payload, 6, first + 5) end
    if kind == 218 then return string.sub(payload, 7, first * 256 + second + 6) end
    if kind == 219 then
      return string.sub(payload, 9, ((first * 256 + second) * 256 + third) * 256 + fourth + 8)
    end
  end

  keep_url = function(prefix, member, payload)
    local url = url_in(payload)
    if not url then return end
    local key = seen_prefix .. 'urls:' .. chunk
    redis.call('XADD', key, '*', 'u', url, 'p', string.format('%d', prefix), 'm', member)
    if chunk_fill == 0 and slices[1].expires then
      redis.call('PEXPIREAT', key, slices[1].expires)
    end
    chunk_fill = chunk_fill + 1
    if chunk_fill >= 50000 then chunk, chunk_fill = chunk + 1, 0 end
  end
end
