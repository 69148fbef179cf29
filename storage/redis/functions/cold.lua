-- What has to do with the archive: rows on their way into it (waiting, archived), rows that were read back from it and
-- are kept for a while (kept, keep), and changes of rows that are there alone (touched).

local WAITING_MAX = 262144

-- Rows that the archive lacks, or that may leave Redis. keys: m
-- args: packed: from low u8 (1: from `low` on; 0: from `archived` on), limit u16
-- reply: N, from u48, head · rows from there on, nil for those that are not there, fewer when they grow too large;
--        X: there is no such pair
local function waiting(keys, args)
  local m, v = keys[1], redis.call('HGET', keys[1], 'h')
  local h = v and head_unpack(v)
  if not h or h.kind ~= 2 then return {'X'} end
  local low, limit = struct.unpack('>BI2', args[1])
  local from = low == 1 and h.low + 1 or math.max(h.low, h.archived) + 1
  local n, size, list = math.min(limit, h.seq - from + 1), 0, {'N' .. struct.pack('>I6', from) .. v}
  if n <= 0 then return list end
  local fields = {}
  for i = 1, n do fields[i] = from + i - 1 end
  local found = redis.call('HMGET', m, unpack(fields))
  for i = 1, n do
    size = size + (found[i] and #found[i] or 8)
    if size > WAITING_MAX and i > 1 then return list end
    list[i + 1] = found[i]
  end
  return list
end

-- The archive has what stands in Redis up to a seq, as it was at `edits`, and nothing below `first`. keys: m e A
-- args: 1 packed: checked u8 (0: `archived` and `edits` mean nothing), archived u48, first u48, edits u32, hot u32 (the
--       newest rows that stay in Redis), leave u48 (how long after their birth others leave it), look u48 (when the
--       archive's oldest row ends; 0: never), now u48; 2 K
-- reply: N archived u48; D: rows were changed after `edits`; X: there is no such pair
local function archived(keys, args)
  local call, m, e, A, key = redis.call, keys[1], keys[2], keys[3], args[2]
  local checked, upto, first, edits, hot, leave, look, now = struct.unpack('>BI6I6I4I4I6I6I6', args[1])
  local h = head_get(m)
  if not h or h.kind ~= 2 then return 'X' end
  local was = head_pack(h)
  if checked == 1 then
    if edits ~= h.edits then return 'D' end
    if upto > h.archived then h.archived = math.min(upto, h.seq) end
  end
  if first > h.first then h.first = first end
  local after = head_pack(h)
  if after ~= was then call('HSET', m, 'h', after) end
  if checked == 1 then
    local at = math.max(h.archived, h.low) + 1
    local v = at <= h.seq and call('HGET', m, at)
    if v then
      call('ZADD', A, (struct.unpack('>I6', v, 18)), key)
    elseif at <= h.seq then
      call('ZADD', A, now, key) -- numbers that were left out
    else
      call('ZREM', A, key)
    end
    if math.min(h.archived, h.seq - hot) > h.low then
      v = call('HGET', m, h.low + 1)
      call('ZADD', e, 'LT', v and math.max(now, struct.unpack('>I6', v, 18) + leave) or now, key)
    end
  end
  if look > 0 then call('ZADD', e, 'LT', look, key) end
  return 'N' .. struct.pack('>I6', h.archived)
end

-- What is kept of the archive. keys: x of each block; args: edits, 4 bytes
-- reply: N · the blocks as `keep` was given them; nil for those that are not there, or of before a change
local function kept(keys, args)
  local list, size = {'N'}, 0
  for i = 1, #keys do
    local v = size < WAITING_MAX and redis.call('GET', keys[i])
    if v and string.sub(v, 1, 4) == args[1] then
      list[i + 1] = v
      size = size + #v
    else
      list[i + 1] = false
    end
  end
  return list
end

-- keys: x; args: 1 the block, which begins with the head's edits; 2 ms that it is kept. reply: N
local function keep(keys, args)
  redis.call('SET', keys[1], args[1], 'PX', args[2])
  return 'N'
end

-- A row that is in the archive alone is about to be changed, or was: no block of before counts any more, and whoever
-- archives reads again. keys: m; reply: N; X: there is no such pair
local function touched(keys)
  local h = head_get(keys[1])
  if not h then return 'X' end
  h.edits = (h.edits + 1) % 4294967296
  redis.call('HSET', keys[1], 'h', head_pack(h))
  return 'N'
end

register('waiting', {'no-writes'}, waiting)
register('archived', {'allow-oom'}, archived)
register('kept', {'no-writes'}, kept)
register('keep', {}, keep)
register('touched', {'allow-oom'}, touched)
