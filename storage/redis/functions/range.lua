-- head, look, range, rows: what a conversation holds. They know no expiry: the engine decides what is visible.

local REPLY_MAX = 262144

-- Where rows begin that any of its tiers still shows, and how many fields one HMGET is given.
local function base_of(h, max0, max1, max2)
  local maxes, low = {[0] = max0, [1] = max1, [2] = max2}, nil
  for t = 0, 2 do
    if has(h.used, 2 ^ t) then
      local l = head_low(h, t, maxes[t], '')
      if not low or l < low then low = l end
    end
  end
  return low or h.low
end

-- Appends rows from, from + step … (n of them) to a list, whole, as long as the reply is not too large.
local function rows_add(m, list, from, step, n)
  local size, at = 0, #list
  for done = 0, n - 1, 64 do
    local fields = {}
    for i = 1, n - done < 64 and n - done or 64 do fields[i] = from + (done + i - 1) * step end
    local found = redis.call('HMGET', m, unpack(fields))
    for i = 1, #fields do
      local row = found[i]
      size = size + (row and #row or 8)
      if size > REPLY_MAX and done + i > 1 then return end
      at = at + 1
      list[at] = row
    end
  end
end

-- keys: m
-- args: 1 packed: from u48, to u48 (both inclusive; to 0: the newest), up u8, limit u16, probe u48, probes u8, max u32
--       by tier
-- reply: N, start u48, probe u48, probes u8, head · so many beginnings of rows from `probe` on, among which `first` is
-- looked for · rows from `start` on, upward or downward; nil for those that are not there
local function range(keys, args)
  local from, to, up, limit, probe, probes, max0, max1, max2 = struct.unpack('>I6I6BI2I6BI4I4I4', args[1])
  local m = keys[1]
  local v = redis.call('HGET', m, 'h')
  if not v then return {'N' .. string.rep('\0', 13)} end
  local h = head_unpack(v)
  local base = base_of(h, max0, max1, max2)
  if probe <= base then probe = base + 1 end
  if probe + probes - 1 > h.seq then probes = h.seq >= probe and h.seq - probe + 1 or 0 end
  if from <= base then from = base + 1 end
  if to == 0 or to > h.seq then to = h.seq end
  local start, n = up == 1 and from or to, to - from + 1
  if n > limit then n = limit end
  local list = {'N' .. struct.pack('>I6I6B', start, probe, probes) .. v}
  if probes > 0 then
    local fields = {}
    for i = 1, probes do fields[i] = probe + i - 1 end
    local found = redis.call('HMGET', m, unpack(fields))
    for i = 1, probes do list[i + 1] = found[i] and string.sub(found[i], 1, 31) end
  end
  if n > 0 then rows_add(m, list, start, up == 1 and 1 or -1, n) end
  return list
end

-- keys: m
-- args: 1 seqs, u48 each, 64 at most
-- reply: N, head · a row for each, nil when it is not there; fewer than asked for when the reply grows too large
local function rows(keys, args)
  local fields, size = {'h'}, 0
  for i = 1, #args[1], 6 do fields[#fields + 1] = struct.unpack('>I6', args[1], i) end
  local list = redis.call('HMGET', keys[1], unpack(fields))
  list[1] = 'N' .. (list[1] or '')
  for i = 2, #fields do
    size = size + (list[i] and #list[i] or 8)
    if size > REPLY_MAX and i > 2 then return {unpack(list, 1, i - 1)} end
  end
  return list
end

register('head', {'no-writes'}, range)
-- The same among the changes: after those that were handed over before.
register('look', {'no-writes'}, range)
register('range', {'no-writes'}, range)
register('rows', {'no-writes'}, rows)
