-- What all functions share: how heads of conversations and the rest are packed (layout.h has the same), and how a
-- function is made known.
--
-- `redis.call` and `struct` do not exist while the library is loaded: they are fetched inside functions. Numbers may be
-- given to redis.call as they are: it writes them with 17 digits. Ids are u64, which a number here does not hold; they
-- are carried as 8 bytes, or as a "place": milliseconds since 2020 * 4096 + counter, an id without its partition.

local MADE, WIPING, LOW_BLOCKS, HIGH_BLOCKS, TIER, OWN, FLOORS = 1, 2, 4, 8, 16, 64, 128
local YEAR_2020 = 1577836800000
local MAX_48 = 281474976710655

-- flags: a list, as FUNCTION LOAD knows them.
local function register(name, flags, callback)
  redis.register_function{function_name = 'm@_' .. name, callback = callback, flags = flags}
end

-- Whether a bit (a power of two) is set.
local function has(flags, bit)
  return flags % (2 * bit) >= bit
end

local function with(flags, bit)
  if has(flags, bit) then return flags end
  return flags + bit
end

local function without(flags, bit)
  if has(flags, bit) then return flags - bit end
  return flags
end

-- The place of an id, 8 bytes.
local function place_of(id)
  local hi, lo = struct.unpack('>I4I4', id)
  return (hi * 1024 + math.floor(lo / 4194304)) * 4096 + lo % 4096
end

local function id_of(place, part)
  local ms = math.floor(place / 4096)
  return struct.pack('>I4I4', math.floor(ms / 1024), ms % 1024 * 4194304 + part * 4096 + place % 4096)
end

-- --- Heads ---

-- A head that there is not yet. key: of the conversation.
local function head_new(key)
  local channel = string.byte(key) == 99 -- 'c'
  return {kind = channel and 1 or 2, flags = 0, tier = channel and 1 or 0, used = 0, seq = 0, low = 0,
          last = '\0\0\0\0\0\0\0\0', max = 0, edits = 0, members = 0, version = 0, archived = 0, first = 0, k_low = 0,
          k_high = 0, floors = ''}
end

local function head_unpack(v)
  local h = {}
  h.kind, h.flags, h.tier, h.used, h.seq, h.low, h.last, h.max, h.edits = struct.unpack('>BBBBI6I6c8I4I4', v)
  if h.kind == 1 then
    h.members, h.version = struct.unpack('>I4I6', v, 33)
    h.archived = 0
    h.floors = string.sub(v, 43)
  elseif h.kind == 2 then
    h.archived, h.first, h.k_low, h.k_high = struct.unpack('>I6I6I6I6', v, 33)
    h.members, h.version = 0, 0
    h.floors = string.sub(v, 57)
  else
    error('a head of an unknown kind')
  end
  return h
end

local function head_pack(h)
  local pack = struct.pack
  local v = pack('>BBBBI6I6c8I4I4', h.kind, h.flags, h.tier, h.used, h.seq, h.low, h.last, h.max, h.edits)
  if h.kind == 1 then return v .. pack('>I4I6', h.members, h.version) .. h.floors end
  return v .. pack('>I6I6I6I6', h.archived, h.first, h.k_low, h.k_high) .. h.floors
end

-- The head in m{t}:K; nil: there is none.
local function head_get(m)
  local v = redis.call('HGET', m, 'h')
  return v and head_unpack(v)
end

-- The head of a channel that was made; nil: there is none, or it is being deleted.
local function channel_get(m)
  local h = head_get(m)
  if h and h.flags % 4 == MADE then return h end
end

-- The count by which a tier's messages are hidden: the one in force, or a smaller one of before, if nothing was said
-- since. past: as a rule has them.
local function count_of(h, tier, max, past)
  local place = place_of(h.last)
  for i = 0, 2 do
    local till, count = struct.unpack('>I7I4', past, tier * 33 + i * 11 + 1)
    if count > 0 and place <= till and (max == 0 or count < max) then max = count end
  end
  return max
end

-- Below which seq nothing of a tier is visible, as far as the head tells: what has left Redis, what a count hid for
-- good, and what is beyond the count. max: the one in force; past: those of before, empty if there
-- are none.
local function head_low(h, tier, max, past)
  local low = h.low
  if past ~= '' then max = count_of(h, tier, max, past) end
  if has(h.flags, FLOORS) then
    local floor = struct.unpack('>I6', h.floors, tier * 6 + 1)
    if floor > low then low = floor end
  end
  if has(h.flags, OWN) or (h.max > 0 and math.floor(h.flags / TIER) % 4 == tier and (max == 0 or h.max < max)) then
    max = h.max
  end
  if max > 0 and h.seq - max > low then low = h.seq - max end
  return low
end

-- --- Rules and rows ---

-- The rule of layout.h: now, born by tier, max by tier.
local function rule_unpack(v)
  local now, b0, b1, b2, m0, m1, m2 = struct.unpack('>I6I6I6I6I4I4I4', v)
  return {now = now, born = {[0] = b0, [1] = b1, [2] = b2}, max = {[0] = m0, [1] = m1, [2] = m2},
          past = string.find(v, '[^%z]', 37) and string.sub(v, 37) or ''}
end

-- Whether a row of the tier has not ended. ttl: its own, 0 if it has none.
local function is_alive(rule, tier, birth, ttl)
  if ttl > 0 then return rule.now < birth + ttl end
  return birth >= rule.born[tier]
end

-- --- Users ---

-- A subscription: push, events, read, version; or nil, and the version that a user left with.
local function sub_unpack(v)
  if string.byte(v) == 0 then return nil, select(2, struct.unpack('>I6I6', v, 2)) end
  return struct.unpack('>BBI6I6', v, 2)
end

local function sub_pack(push, events, read, version)
  return struct.pack('>BBBI6I6', 1, push, events, read, version)
end

local function left_pack(now, version)
  return struct.pack('>BI6I6', 0, now, version)
end

-- A user's changes that a node's copy shows are counted. One that has no name has no copy.
local function user_changed(u)
  return redis.call('HINCRBY', u, 'v', 1)
end

-- Whether the field `x` of a user says that there is no such user now.
local function is_gone(x)
  return x and string.byte(x, 9) == 1 or false
end

-- Whether an inbox entry has not ended. One that is missing, or cannot be read, has not: whoever looks at it sees.
local function entry_alive(rule, entry)
  return not entry or #entry < 18 or is_alive(rule, 0, struct.unpack('>I6I6', entry, 7))
end

-- Entries of an inbox that have not ended: all but those in front that have, which others take away.
local function inbox_count(order, entries, rule)
  local n, at, step = redis.call('ZCARD', order), 0, 0
  while at < n do
    local ids = redis.call('ZRANGE', order, at, at + step)
    local found = redis.call('HMGET', entries, unpack(ids))
    for i = 1, #ids do
      if entry_alive(rule, found[i]) then return n - at end
      at = at + 1
    end
    step = 63
  end
  return 0
end

-- --- Sessions ---

-- S of a user: a field for each node that the user is connected to, its incarnation; and `d`DEVICE for devices
-- (session.lua). As replies have the nodes: n u16, and inc u48 of each. Some may have died: who reads it looks.
local function sessions_pack(S)
  local out, n = {}, 0
  for _, field in ipairs(redis.call('HKEYS', S)) do
    if string.byte(field) ~= 100 then -- 'd'
      n = n + 1
      out[n] = struct.pack('>I6', tonumber(field))
    end
  end
  return struct.pack('>I2', n) .. table.concat(out)
end

-- The same behind a reply, if its caller wants to tell those nodes and has named the key. S: nil, if not.
local function with_sessions(reply, S)
  return S and reply .. sessions_pack(S) or reply
end
