-- Channels and their members: the half at the channel, the half at the user, and channels that go.

-- Rows from the newest down that are looked at to find one that is visible. More than so many dead ones: the channel
-- stays until the sweep has taken them.
local LOOK_ROWS = 64

-- Of a channel that is gone its newest seq stays with its name, for no seq is given twice: the head, and in `c` the
-- field `g`K, the n-th of those that went (`z`). The sweep drops those that went first (`names_drop`). Then the seq
-- raises two floors (`f`NUMBER), which a name's hash picks; who makes a channel of an unknown name begins above the
-- smaller of its two. So no seq is given twice, and nearly all new names begin at 1, until very many were dropped.
local NAME_FLOORS = 64

local function floor_fields(key)
  local hash = redis.sha1hex(key)
  return 'f' .. tonumber(string.sub(hash, 1, 4), 16) % NAME_FLOORS,
         'f' .. tonumber(string.sub(hash, 5, 8), 16) % NAME_FLOORS
end

-- The number of a channel's members' changes never gets smaller under one name, even when nothing else is kept of it:
-- `c` has the largest of those that are gone (m), and how many channels there are (n).
local function channel_make(c, h, key)
  local one, two = floor_fields(key)
  local left = redis.call('HMGET', c, 'm', one, two)
  local floor = tonumber(left[1] or 0)
  if h.version < floor then h.version = floor end
  if h.seq == 0 then
    h.seq = math.min(tonumber(left[2] or 0), tonumber(left[3] or 0))
    h.low = h.seq
  else
    redis.call('HDEL', c, 'g' .. key)
  end
  h.flags, h.tier, h.members = with(h.flags, MADE), 1, 0
  return redis.call('HINCRBY', c, 'n', 1)
end

-- Whether nothing of it is visible. Bounded: false, if that cannot be told soon.
local function channel_is_empty(m, h, rule)
  local low, seqs = h.seq, {}
  for tier = 0, 2 do
    if has(h.used, 2 ^ tier) then low = math.min(low, head_low(h, tier, rule.max[tier], rule.past)) end
  end
  for seq = h.seq, math.max(low, h.seq - LOOK_ROWS) + 1, -1 do seqs[#seqs + 1] = seq end
  if #seqs == 0 then return true end
  for i, row in ipairs(redis.call('HMGET', m, unpack(seqs))) do
    if row then
      local tier, birth, ttl = string.byte(row, 3), struct.unpack('>I6I6', row, 18)
      local hidden = head_low(h, tier, rule.max[tier], rule.past)
      if seqs[i] > hidden and is_alive(rule, tier, birth, ttl) then return false end
    end
  end
  return low >= h.seq - LOOK_ROWS
end

-- It goes, with all its rows; its newest seq stays with its name. keys: m M e A c.
local function channel_go(m, M, e, A, c, h, key)
  redis.call('UNLINK', m, M)
  redis.call('ZREM', e, key)
  redis.call('ZREM', A, key)
  redis.call('HINCRBY', c, 'n', -1)
  if h.seq == 0 then
    if h.version > tonumber(redis.call('HGET', c, 'm') or 0) then redis.call('HSET', c, 'm', h.version) end
    return
  end
  local left = head_new(key)
  left.seq, left.low, left.version = h.seq, h.seq, h.version
  redis.call('HSET', m, 'h', head_pack(left))
  redis.call('HSET', c, 'g' .. key, redis.call('HINCRBY', c, 'z', 1))
end

-- A second half is to be done: the newest stands for those before it. what: 1 put, 0 del.
local function intent_put(o, key, user, now, version, what, push, events, set, seq)
  redis.call('HSET', o, 'j' .. key .. '\0' .. user,
             struct.pack('>I6I6BBBBI6', now, version, what, push, events, set, seq))
end

-- keys: m M o c; args: K, now, user, push, events, set (1: push, 2: events, 3: both), may create.
-- N created u8, existed u8, members u32, seq u48, low u48, tier u8, version u48, channels of the partition u32;
-- X: there is no such channel; W: it is being deleted.
register('join', {}, function(keys, args)
  local m, key, now, user = keys[1], args[1], tonumber(args[2]), args[3]
  local push, events, set = tonumber(args[4]), tonumber(args[5]), tonumber(args[6])
  local h = head_get(m) or head_new(key)
  local created = not has(h.flags, MADE)
  if has(h.flags, WIPING) then return 'W' end
  if created and args[7] ~= '1' then return 'X' end
  local channels = 0
  if created then channels = channel_make(keys[4], h, key) end
  local new = redis.call('ZADD', keys[2], 0, user) == 1
  if new or set > 0 then
    if new then h.members = h.members + 1 end
    h.version = h.version + 1
    redis.call('HSET', m, 'h', head_pack(h))
    intent_put(keys[3], key, user, now, h.version, 1, push, events, set, h.seq)
  end
  return 'N' .. struct.pack('>BBI4I6I6BI6I4', created and 1 or 0, new and 0 or 1, h.members, h.seq, h.low, h.tier,
                            h.version, channels)
end)

-- keys: m M o e A c; args: K, now, user, keep vacant, rule.
-- N existed u8, gone u8, members u32, tier u8, version u48 (0: no second half is to be done), channels u32 (gone);
-- X: there is no such channel.
register('leave', {'allow-oom'}, function(keys, args)
  local m, key, now, user = keys[1], args[1], tonumber(args[2]), args[3]
  local pack, field = struct.pack, 'j' .. args[1] .. '\0' .. args[3]
  local h = head_get(m)
  local version, gone, channels = 0, 0, 0
  local existed = h and redis.call('ZREM', keys[2], user) == 1
  if existed then
    h.members, h.version = h.members - 1, h.version + 1
    version = h.version
    intent_put(keys[3], key, user, now, version, 0, 0, 0, 0, 0)
    if h.members == 0 and not has(h.flags, WIPING) and args[4] ~= '1' and
       channel_is_empty(m, h, rule_unpack(args[5])) then
      gone = 1
      channel_go(m, keys[2], keys[4], keys[5], keys[6], h, key)
      channels = tonumber(redis.call('HGET', keys[6], 'n'))
    else
      redis.call('HSET', m, 'h', head_pack(h))
      if h.members == 0 then redis.call('ZADD', keys[4], 'LT', now, key) end -- the sweep looks at it
    end
  else -- a repeat may have to do the second half of the first one
    local intent = redis.call('HGET', keys[3], field)
    if intent and string.byte(intent, 13) == 0 then
      version = struct.unpack('>I6', intent, 7)
    elseif not h or not has(h.flags, MADE) then
      return 'X'
    end
  end
  return 'N' .. pack('>BBI4BI6I4', existed and 1 or 0, gone, h and h.members or 0, h and h.tier or 1, version, channels)
end)

-- A channel without members goes, when nothing is visible any more. keys: m M e A c; args: K, rule.
-- N gone u8, channels u32.
register('vacate', {'allow-oom'}, function(keys, args)
  local h = channel_get(keys[1])
  if not h or h.members > 0 or not channel_is_empty(keys[1], h, rule_unpack(args[2])) then
    return 'N' .. struct.pack('>BI4', 0, 0)
  end
  channel_go(keys[1], keys[2], keys[3], keys[4], keys[5], h, args[1])
  return 'N' .. struct.pack('>BI4', 1, tonumber(redis.call('HGET', keys[5], 'n')))
end)

-- keys: m M; args: going (1: of one that is being deleted as well), the last id of the page before, how many.
-- N more u8, and n u8 and id of each; X: there is no such channel.
register('members', {'no-writes'}, function(keys, args)
  local h = head_get(keys[1])
  if not h or not has(h.flags, MADE) or (has(h.flags, WIPING) and args[1] ~= '1') then return 'X' end
  local limit = tonumber(args[3])
  local ids = redis.call('ZRANGEBYLEX', keys[2], args[2] == '' and '-' or '(' .. args[2], '+', 'LIMIT', 0, limit + 1)
  local more = #ids > limit
  local out = {'N' .. struct.pack('>B', more and 1 or 0)}
  for i = 1, more and limit or #ids do out[i + 1] = struct.pack('>B', #ids[i]) .. ids[i] end
  return table.concat(out)
end)

-- --- Deletion ---

-- keys: m e; args: K. N members u32, version u48; X: there is no such channel.
register('close', {'allow-oom'}, function(keys, args)
  local h = head_get(keys[1])
  if not h or not has(h.flags, MADE) then return 'X' end
  if not has(h.flags, WIPING) then
    h.flags = with(h.flags, WIPING)
    redis.call('HSET', keys[1], 'h', head_pack(h))
    redis.call('ZADD', keys[2], 0, args[1])
  end
  return 'N' .. struct.pack('>I4I6', h.members, h.version)
end)

-- keys: m M e A c; args: K. N channels u32, version u48; P members u32: they are to be put out first; X: it is not
-- being deleted.
register('wipe', {'allow-oom'}, function(keys, args)
  local h = head_get(keys[1])
  if not h or not has(h.flags, WIPING) then return 'X' end
  if h.members > 0 then return 'P' .. struct.pack('>I4', h.members) end
  channel_go(keys[1], keys[2], keys[3], keys[4], keys[5], h, args[1])
  return 'N' .. struct.pack('>I4I6', tonumber(redis.call('HGET', keys[5], 'n')), h.version)
end)

-- --- Names of channels that are gone ---

-- Names that one look passes, at most: where more of them wait to be dropped, any of them will do.
local NAMES_LOOKED = 1024

-- keys: c; args: how many. N n u16, and n u8 and K of each: names of channels that are gone, those that went first.
register('names', {'no-writes'}, function(keys, args)
  local page, found = redis.call('HSCAN', keys[1], 0, 'MATCH', 'g*', 'COUNT', NAMES_LOOKED)[2], {}
  for i = 1, #page, 2 do found[#found + 1] = {tonumber(page[i + 1]), string.sub(page[i], 2)} end
  table.sort(found, function(a, b) return a[1] < b[1] end)
  local out, n = {}, math.min(#found, tonumber(args[1]))
  for i = 1, n do out[i] = struct.pack('>B', #found[i][2]) .. found[i][2] end
  return 'N' .. struct.pack('>I2', n) .. table.concat(out)
end)

-- Drops names, 48 at most, but those of channels that were made again. keys: c, m of each; args: K of each. N.
register('names_drop', {'allow-oom'}, function(keys, args)
  local c, raised, fields = keys[1], {}, {}
  local version = tonumber(redis.call('HGET', c, 'm') or 0)
  for i, key in ipairs(args) do
    local h = head_get(keys[i + 1])
    if h and h.flags % 4 == 0 then
      for _, floor in ipairs({floor_fields(key)}) do
        raised[floor] = math.max(raised[floor] or tonumber(redis.call('HGET', c, floor) or 0), h.seq)
      end
      version = math.max(version, h.version)
      redis.call('UNLINK', keys[i + 1])
    end
    fields[i] = 'g' .. key
  end
  local put = {'m', version}
  for floor, seq in pairs(raised) do
    put[#put + 1] = floor
    put[#put + 1] = seq
  end
  redis.call('HDEL', c, unpack(fields))
  redis.call('HSET', c, unpack(put))
  return 'N'
end)

-- --- The user's half ---

-- What stands of a subscription: member, version, push, events, read mark.
local function sub_look(v)
  if not v then return false, 0, 0, 0, 0 end
  local push, events, read, version = sub_unpack(v)
  if push then return true, version, push, events, read end
  return false, events, 0, 0, 0 -- it has left
end

-- keys: u, and S for sessions; args: K, push, events, set, seq, version, strict (1: the user must be there).
-- N, or D: a newer one stands; then member u8, push u8, events u8, changed u8, version of the user u48, sessions. X:
-- the user is gone. A new member has read up to seq. What is not set stays. set 4: it was a member before; nothing but
-- what is missing is written.
register('sub_put', {'allow-oom'}, function(keys, args)
  local u, field, set, version = keys[1], args[1], tonumber(args[4]), tonumber(args[6])
  local v, name, going, x, count = unpack(redis.call('HMGET', u, field, 'n', 'f', 'x', 'v'))
  if going or is_gone(x) or (args[7] == '1' and not name) then return 'X' end
  count = tonumber(count or 0)
  local member, stands, push, events, read = sub_look(v)
  if stands > version or (member and set == 4) then
    local code = stands > version and 'D' or 'N'
    return with_sessions(code .. struct.pack('>BBBBI6', member and 1 or 0, push, events, 0, count), keys[2])
  end
  if not member then read = tonumber(args[5]) end
  local new_push = has(set, 1) and tonumber(args[2]) or push
  local new_events = has(set, 2) and tonumber(args[3]) or events
  local changed = not member or new_push ~= push or new_events ~= events
  -- Even if nothing changes: what is late of before is older than this.
  if changed or version > stands then redis.call('HSET', u, field, sub_pack(new_push, new_events, read, version)) end
  if changed and name then count = user_changed(u) end
  return with_sessions('N' .. struct.pack('>BBBBI6', 1, new_push, new_events, changed and 1 or 0, count), keys[2])
end)

-- keys: u, and S for sessions; args: K, now, version. N changed u8, version of the user u48, sessions; D: a newer one
-- stands.
register('sub_del', {'allow-oom'}, function(keys, args)
  local u, field, version = keys[1], args[1], tonumber(args[3])
  local v, name, count = unpack(redis.call('HMGET', u, field, 'n', 'v'))
  local member, stands = sub_look(v)
  count = tonumber(count or 0)
  if stands > version then return with_sessions('D' .. struct.pack('>BI6', 0, count), keys[2]) end
  if v or redis.call('EXISTS', u) == 1 then -- a user that was forgotten stays so
    redis.call('HSET', u, field, left_pack(tonumber(args[2]), version))
    if member and name then count = user_changed(u) end
  end
  return with_sessions('N' .. struct.pack('>BI6', member and 1 or 0, count), keys[2])
end)
