-- What the sweeper finds in a partition (sweep), and how what is past its time goes (trim, windows).

local DAY, TRIM_ROWS = 86400000, 64

-- Members of a sorted set up to a score, each as u48 of the score, n u8, the member; and how many.
local function due_pack(key, upto, limit)
  local pack, list = struct.pack, redis.call('ZRANGEBYSCORE', key, '-inf', upto, 'WITHSCORES', 'LIMIT', 0, limit)
  local out = {}
  for i = 1, #list, 2 do out[#out + 1] = pack('>I6B', tonumber(list[i + 1]), #list[i]) .. list[i] end
  return pack('>I2', #out) .. table.concat(out)
end

-- keys: o e A G c g; cursor of o ('0' at first; empty: no intents are wanted), births of intents up to this are old,
-- the expiry clock, archive up to this birth, limit.
-- N; channels made u32, fields of c u32 (whoever knows how many else there may be has the number of names in it), the
-- oldest dedup window u48 (0: nobody has swept here yet, 1: nor is there any message), cursor n u8; n u16 old intents:
-- field n u16, value n u16; then conversations due, private ones to archive, guests due: n u16 and each as due_pack()
-- says.
local function sweep(keys, args)
  local call, pack, unpack = redis.call, struct.pack, struct.unpack
  local c = call('HMGET', keys[5], 'n', 'w')
  local window = tonumber(c[2] or 1 - call('EXISTS', keys[6]))
  local out, n, cursor, limit, old = {}, 0, '0', tonumber(args[5]), tonumber(args[2])
  local begin = 'N' .. pack('>I4I4I6', tonumber(c[1] or 0), call('HLEN', keys[5]), window)
  if call('EXISTS', keys[1], keys[2], keys[3], keys[4]) == 0 then
    return begin .. '\1' .. '0\0\0\0\0\0\0\0\0'
  end
  if args[1] ~= '' then
    local page = call('HSCAN', keys[1], args[1], 'COUNT', limit)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local field, v = page[2][i], page[2][i + 1]
      if unpack('>I6', v) <= old then
        n = n + 1
        out[n] = pack('>I2', #field) .. field .. pack('>I2', #v) .. v
      end
    end
  end
  return begin .. pack('>B', #cursor) .. cursor .. pack('>I2', n) .. table.concat(out)
    .. due_pack(keys[2], args[3], limit) .. due_pack(keys[3], args[4], limit) .. due_pack(keys[4], args[3], limit)
end

-- When the look shall be that may find this row ended, which is alive now. Once a day in any case: options change.
local function look_after(rule, tier, birth, ttl)
  local ends = rule.now + DAY
  if ttl > 0 then
    ends = birth + ttl
  elseif rule.born[tier] > 0 then
    ends = birth + rule.now - rule.born[tier] + 1
  end
  return math.min(ends, rule.now + DAY)
end

-- How far rows may go: low, and the rows that are left out of it on the way, and when to look again. Rows above `cold`
-- stay when they are alive, those below when they are as young as `warm`.
local function trim_find(m, h, rule, cold, warm)
  local low, gone, look, lows = h.low, {}, nil, {}
  for tier = 0, 2 do lows[tier] = head_low(h, tier, rule.max[tier], rule.past) end
  while low < h.seq and low - h.low < TRIM_ROWS and not look do
    local seq = string.format('%d', low + 1)
    local v = redis.call('HGET', m, seq)
    if v then
      local tier, birth, ttl = string.byte(v, 3), struct.unpack('>I6I6', v, 18)
      if low >= lows[tier] and is_alive(rule, tier, birth, ttl) then
        if low >= cold then
          look = look_after(rule, tier, birth, ttl)
        elseif birth >= warm then
          look = math.min(look_after(rule, tier, birth, ttl), rule.now + birth - warm + 1)
        end
      end
      if not look then gone[#gone + 1] = seq end
    end
    if not look then low = low + 1 end
  end
  return low, gone, look
end

-- keys: m M e A c; conversation, rule, keep_vacant 0|1, then none or both of: hot, warm.
-- hot, warm: the newest `hot` rows stay, and those born since `warm`; others go once they are in the archive.
-- Removes rows from `low` upward that are past their time, beyond the count, or in the archive alone from now on: 64 at
-- most. A channel without rows and members goes then. Notes when to look again.
-- N low u48, seq u48, again u8 (there may be more to do now), gone u8 (the channel is no more), channels u32, version
-- u48 (of its members' changes);
-- X: there is no such conversation; W: it is being wiped.
local function trim(keys, args)
  local call, m, e, A, key = redis.call, keys[1], keys[3], keys[4], args[1]
  local h, rule, hot = head_get(m), rule_unpack(args[2]), tonumber(args[4] or '')
  if not h then
    call('ZREM', e, key)
    call('ZREM', A, key)
    return 'X'
  end
  if has(h.flags, WIPING) then return 'W' end
  local before = head_pack(h)
  local cold = hot and math.min(h.archived, h.seq - hot) or 0
  local low, gone, look = trim_find(m, h, rule, cold, tonumber(args[5] or '0'))
  local vacant = low == h.seq and h.kind == 1 and has(h.flags, MADE) and h.members == 0
  if vacant and args[3] ~= '1' then
    channel_go(m, keys[2], e, A, keys[5], h, key)
    return 'N' .. struct.pack('>I6I6BBI4I6', low, h.seq, 0, 1, tonumber(call('HGET', keys[5], 'n')), h.version)
  end
  local again = low < h.seq and not look
  if vacant then
    look = rule.now + DAY
  elseif again then
    look = rule.now
  elseif not look and h.kind == 2 and h.first > 0 and h.first <= low then
    look = rule.now + DAY -- rows end in the archive too
  end
  h.low = low
  local after = head_pack(h)
  if after ~= before then call('HSET', m, 'h', after) end
  if #gone > 0 then call('HDEL', m, unpack(gone)) end
  if low == h.seq then call('ZREM', A, key) end
  if look then call('ZADD', e, look, key) else call('ZREM', e, key) end
  return 'N' .. struct.pack('>I6I6BBI4I6', low, h.seq, again and 1 or 0, 0, 0, h.version)
end

-- keys: c, dedup windows from the oldest on (64 at most); the window that is the oldest then. N.
local function windows(keys, args)
  if #keys > 1 then redis.call('UNLINK', unpack(keys, 2)) end
  if tonumber(redis.call('HGET', keys[1], 'w') or 0) < tonumber(args[1]) then
    redis.call('HSET', keys[1], 'w', args[1])
  end
  return 'N'
end

register('sweep', {'no-writes'}, sweep)
register('trim', {'allow-oom'}, trim)
register('windows', {'allow-oom'}, windows)
