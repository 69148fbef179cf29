-- append: a message gets its numbers and is kept.
--
-- keys: m M o g e A, and d of each window that a repeat may stand in, that of now first
-- args: 1 what is below, packed; 2 digest, empty: not to be known again; 3 texts; 4 K
-- reply: N|D id u64, seq u48, created u48, k u48, members u32, tier u8, version u48, pending u8; F B X; G: it is the
-- first message of a pair, whose users are to be looked at first (paired)

local ONLY_REPEAT, ARCHIVED, MEMBERS_ONLY, UNBLOCKED, FROM_HIGH, PAIRED, INBOX = 1, 2, 4, 8, 16, 32, 128

-- A repeat: `first` is what stands in its window. pending: the second halves may not be done yet.
local function append_again(first, o, pair)
  local intent = pair and redis.call('HGET', o, 'p' .. string.sub(first, 1, 8))
  local k = intent and struct.unpack('>I6', intent, 13) or 0
  return 'D' .. first .. struct.pack('>I6I4BI6B', k, 0, 0, 0, intent and 1 or 0)
end

-- Seqs that a count hid by `was` and would not hide by the head as it is now stay hidden.
local function floors_keep(h, was, maxes, past)
  local floors, any = {}, false
  for t = 0, 2 do
    floors[t] = has(h.flags, FLOORS) and struct.unpack('>I6', h.floors, t * 6 + 1) or 0
    if has(h.used, 2 ^ t) then
      local low = head_low(was, t, maxes[t], past)
      if low > head_low(h, t, maxes[t], '') then floors[t] = low end
    end
    any = any or floors[t] > h.low
  end
  h.flags = any and with(h.flags, FLOORS) or without(h.flags, FLOORS)
  h.floors = any and struct.pack('>I6I6I6', floors[0], floors[1], floors[2]) or ''
end

-- Puts the newest message into the head: its seq, id, tier and the count by which it came. own: the conversation's own
-- count, in place of all its tiers'; 0: it has none.
local function head_advance(h, seq, id, tier, own, maxes, past)
  local was = {flags = h.flags, max = h.max, seq = h.seq, low = h.low, last = h.last, floors = h.floors}
  local max, hid = own > 0 and own or maxes[tier], h.max > 0
  h.seq, h.last, h.max = seq, id, max
  h.used = with(h.used, 2 ^ tier)
  h.flags = h.flags % 16 + TIER * tier + (own > 0 and OWN or 0) + (has(was.flags, FLOORS) and FLOORS or 0)
  if past ~= '' or h.flags ~= was.flags or (hid and max == 0) or max > was.max then
    floors_keep(h, was, maxes, past)
  end
end

-- Rows that no count keeps go, 64 at a time.
local function append_trim(m, h, maxes, archived)
  local keep, to = 0, h.low + 64
  for t = 0, 2 do
    if has(h.used, 2 ^ t) then
      if maxes[t] == 0 then return end
      if maxes[t] > keep then keep = maxes[t] end
    end
  end
  if h.seq - keep < to or (archived and h.archived < to) then return end
  local gone = {}
  for i = 1, 64 do gone[i] = h.low + i end
  redis.call('HDEL', m, unpack(gone))
  h.low = to
end

-- now u48, part u16, bits u8, tier u8, ttl u48 (its own), max u32 by tier, least u48, border u56 (the place of the last
-- message of those who had the users' ids before), due u48 (when to look whether it has ended; 0: never), window u48
-- (repeats were sent since then), place u56 (the id's is not below this one), own u32 (a count of its own; 0: none);
-- then the counts of before, as in a rule, or nothing
local function append(keys, args)
  local call, pack = redis.call, struct.pack
  local now, part, bits, tier, ttl, max0, max1, max2, least, border, due, window, from, own, at =
    struct.unpack('>I6I2BBI6I4I4I4I6I7I6I6I7I4', args[1])
  local past = string.sub(args[1], at)
  local m, o, digest, key = keys[1], keys[3], args[2], args[4]
  local pair = string.byte(key) == 112 -- 'p'
  if digest ~= '' then
    for i = 7, #keys do
      local first = call('HGET', keys[i], digest)
      if first and place_of(first) > border and struct.unpack('>I6', first, 15) >= window then
        return append_again(first, o, pair)
      end
    end
  end
  if has(bits, ONLY_REPEAT) then return 'X' end
  local h, from_high = head_get(m), has(bits, FROM_HIGH)
  if pair then
    h = h or head_new(key)
    if h.seq == 0 and not has(bits, PAIRED) then return 'G' end
    if has(bits, UNBLOCKED) and has(h.flags, from_high and LOW_BLOCKS or HIGH_BLOCKS) then return 'B' end
  else
    if not h or h.flags % 4 ~= MADE then return 'X' end
    if has(bits, MEMBERS_ONLY) and not call('ZSCORE', keys[2], string.sub(args[3], 3, 2 + string.byte(args[3]))) then
      return 'F'
    end
  end
  local empty, waits, k = h.seq == h.low, h.archived < h.seq, 0
  local seq = (h.seq > least and h.seq or least) + 1
  local place = call('INCR', keys[4])
  if border >= from then from = border + 1 end
  if place < from then
    place = from
    call('SET', keys[4], place)
  end
  local id, maxes = id_of(place, part), {[0] = max0, [1] = max1, [2] = max2}
  head_advance(h, seq, id, tier, own, maxes, past)
  append_trim(m, h, own > 0 and {[0] = own, [1] = own, [2] = own} or maxes, has(bits, ARCHIVED) and pair)
  if pair then
    if has(bits, INBOX) then
      k = (from_high and h.k_high or h.k_low) + 1
      if from_high then h.k_high = k else h.k_low = k end
    end
    call('HSET', o, 'p' .. id, pack('>I6I6I6I6B', now, seq, k, ttl, from_high and 1 or 0) .. key)
    if has(bits, ARCHIVED) and not waits then call('ZADD', keys[6], now, key) end
  end
  if due > 0 and (empty or ttl > 0) then call('ZADD', keys[5], 'LT', due, key) end
  call('HSET', m, 'h', head_pack(h), seq, pack('>BBBc8I6I6I6I2I6', 1, 0, tier, id, now, now, ttl, 0, 0) .. args[3])
  local first = id .. pack('>I6I6', seq, now)
  if digest ~= '' then call('HSET', keys[7], digest, first) end
  return 'N' .. first .. pack('>I6I4BI6B', k, h.members, h.tier, h.version, pair and 1 or 0)
end

register('append', {}, append)
