-- The user's half of private messages: what enters the inbox, what was sent; peeks, acknowledgements. And read marks.

local function is_larger(id, than)
  local hi, lo = struct.unpack('>I4I4', id)
  local than_hi, than_lo = struct.unpack('>I4I4', than)
  return hi > than_hi or hi == than_hi and lo > than_lo
end

local EARLY_MAX = 1024 -- k that came before the one below them; beyond, the gap is passed

-- What stands of a peer: read, put, newest id, early.
local function peer_unpack(v)
  if not v then return 0, 0, '\0\0\0\0\0\0\0\0', '' end
  local read = struct.unpack('>I6', v)
  if #v == 6 then return read, 0, '\0\0\0\0\0\0\0\0', '' end
  local put, newest = struct.unpack('>I6c8', v, 7)
  return read, put, newest, string.sub(v, 21)
end

-- Moves `put` on over what is contiguous.
local function early_take(put, early)
  local at = 1
  while at < #early and struct.unpack('>I6', early, at) == put + 1 do
    put = put + 1
    at = at + 6
  end
  return put, string.sub(early, at)
end

-- Adds k; false: it has come before.
local function early_add(put, early, k)
  if k == put + 1 then
    return early_take(k, early)
  end
  local at = 1
  while at < #early do
    local other = struct.unpack('>I6', early, at)
    if other == k then return false end
    if other > k then break end
    at = at + 6
  end
  early = string.sub(early, 1, at - 1) .. struct.pack('>I6', k) .. string.sub(early, at)
  if #early > 6 * EARLY_MAX then put, early = early_take(struct.unpack('>I6', early) - 1, early) end
  return put, early
end

-- The oldest entries of an inbox go until so many are left.
local function inbox_cut(order, entries, max)
  local over = redis.call('ZCARD', order) - max
  if over <= 0 then return end
  local out, ids = redis.call('ZPOPMIN', order, over < 64 and over or 64), {}
  for i = 1, #out, 2 do ids[#ids + 1] = out[i] end
  redis.call('HDEL', entries, unpack(ids))
end

-- A message's second half at its receiver: in the inbox once, ever, whoever repeats it.
--
-- keys: u i I p r, and S for sessions
-- args: 1 packed: seq u48, k u48, birth u48, ttl u48, max u32; 2 id; 3 peer
-- reply: N|D place u48 (0: it is there no more), arrivals u48, sessions; X: the user was deleted
local function inbox_put(keys, args)
  local call, pack = redis.call, struct.pack
  local seq, k, birth, ttl, max = struct.unpack('>I6I6I6I6I4', args[1])
  local u, order, id, peer = keys[1], keys[2], args[2], args[3]
  local x, n, going = unpack(call('HMGET', u, 'x', 'i', 'f'))
  local read, put, newest, early = peer_unpack(call('HGET', keys[5], peer))
  local later = place_of(id) > place_of(newest)
  if k <= put then
    -- Above the newest one all the same: a double fault took the pair back.
    if not later then return with_sessions('D' .. pack('>I6I6', call('ZSCORE', order, id) or 0, n or 0), keys[6]) end
  else
    local to, rest = early_add(put, early, k)
    if not to then return with_sessions('D' .. pack('>I6I6', call('ZSCORE', order, id) or 0, n or 0), keys[6]) end
    put, early = to, rest
  end
  if later then newest = id end
  if going or is_gone(x) then -- counted all the same: the next one of that id begins behind it
    call('HSET', keys[5], peer, pack('>I6I6c8', read, put, newest) .. early)
    return 'X'
  end
  n = call('HINCRBY', u, 'i', 1)
  call('ZADD', order, n, id)
  call('HSET', keys[3], id, pack('>I6I6I6', seq, birth, ttl) .. peer)
  if max > 0 and n > max then inbox_cut(order, keys[3], max) end
  -- Who has the id of a deleted user has the pair from now on, and none of what was before.
  if call('ZADD', keys[4], 'GT', place_of(id), peer) == 1 and x and seq > read then read = seq - 1 end
  call('HSET', keys[5], peer, pack('>I6I6c8', read, put, newest) .. early)
  return with_sessions('N' .. pack('>I6I6', n, n), keys[6])
end

-- A message's second half at its sender, who has read it. keys: u p r, and S for sessions; args: 1 seq; 2 id; 3 peer.
-- reply: N sessions; X
local function sent(keys, args)
  local seq, peer = tonumber(args[1]), args[3]
  local x, going = unpack(redis.call('HMGET', keys[1], 'x', 'f'))
  if going or is_gone(x) then return 'X' end
  redis.call('ZADD', keys[2], 'GT', place_of(args[2]), peer)
  local v = redis.call('HGET', keys[3], peer)
  if not v or struct.unpack('>I6', v) < seq then
    redis.call('HSET', keys[3], peer, struct.pack('>I6', seq) .. (v and string.sub(v, 7) or ''))
  end
  return with_sessions('N', keys[4])
end

-- keys: i I
-- args: 1 place u48: entries behind it (0: from the oldest), limit u16; 2 id: behind that one, too, and if it is not
--       there, those with a larger id; empty: whatever id
-- reply: N, more u8, place u48 of the last one looked at · place u48, id, entry of each
local function inbox_peek(keys, args)
  local after, limit = struct.unpack('>I6I2', args[1])
  local larger
  if args[2] ~= '' then
    local place = redis.call('ZSCORE', keys[1], args[2])
    if not place then
      larger = args[2]
    elseif tonumber(place) > after then
      after = place
    end
  end
  local found = redis.call('ZRANGEBYSCORE', keys[1], '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, limit + 1)
  local more, ids = #found > 2 * limit, {}
  for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
  if more then ids[limit + 1] = nil end
  local last = #ids > 0 and found[2 * #ids] or after
  local list = {'N' .. struct.pack('>BI6', more and 1 or 0, tonumber(last))}
  if #ids == 0 then return list end
  local entries = redis.call('HMGET', keys[2], unpack(ids))
  for i = 1, #ids do
    if entries[i] and (not larger or is_larger(ids[i], larger)) then
      list[#list + 1] = struct.pack('>I6', tonumber(found[2 * i])) .. ids[i] .. entries[i]
    end
  end
  return list
end

-- keys: i I, and S for sessions
-- args: 1 rule; 2 id: that one and all that came before it (one larger than all: all); empty: 3 ids, 64 at most
-- reply: N more u8 (there are others up to it: again), removed u32, remaining u32, sessions
local function inbox_ack(keys, args)
  local rule, ids, more = rule_unpack(args[1]), {}, 0
  if args[2] == '\255\255\255\255\255\255\255\255' then
    ids = redis.call('ZRANGE', keys[1], 0, 64)
  elseif args[2] ~= '' then
    local place = redis.call('ZSCORE', keys[1], args[2])
    if place then ids = redis.call('ZRANGEBYSCORE', keys[1], '-inf', place, 'LIMIT', 0, 65) end
  else
    for i = 1, #args[3], 8 do ids[#ids + 1] = string.sub(args[3], i, i + 7) end
  end
  if #ids > 64 then
    ids[65] = nil
    more = 1
  end
  local removed = 0
  if #ids > 0 then
    local entries = redis.call('HMGET', keys[2], unpack(ids))
    local seen = {}
    for i = 1, #ids do
      if entries[i] and not seen[ids[i]] and entry_alive(rule, entries[i]) then
        removed = removed + 1
        seen[ids[i]] = true
      end
    end
    if redis.call('ZREM', keys[1], unpack(ids)) > 0 then redis.call('HDEL', keys[2], unpack(ids)) end
  end
  return with_sessions('N' .. struct.pack('>BI4I4', more, removed, inbox_count(keys[1], keys[2], rule)), keys[3])
end

-- --- Users and marks ---

-- What is known of a user before something is done to it or for it.
-- keys: u; reply: N|X (it was deleted) bits u8 (1: it is there, 2: as a guest), until u48: up to when messages are of
-- who had the id before (0: nobody)
local function there(keys, args)
  local name, guest, going, x = unpack(redis.call('HMGET', keys[1], 'n', 'g', 'f', 'x'))
  local hi, lo = struct.unpack('>I4I4', x or '\0\0\0\0\0\0\0\0')
  local till = x and hi * 1024 + math.floor(lo / 4194304) + YEAR_2020 or 0
  return ((going or is_gone(x)) and 'X' or 'N') .. struct.pack('>BI6', (name and 1 or 0) + (guest and 2 or 0), till)
end

-- A read mark. keys: u r, and S for sessions; args: 1 seq; 2 K, of a channel; 3 peer, of a pair
-- reply: N read u48, moved u8, sessions; X: the user was deleted
local function mark(keys, args)
  local seq, key = tonumber(args[1]), args[2]
  local x, going, sub = unpack(redis.call('HMGET', keys[1], 'x', 'f', key ~= '' and key or 'x'))
  if going or is_gone(x) then return 'X' end
  local read, moved = 0, 0
  if key ~= '' then
    local push, events, at, version = nil, nil, 0, nil
    if sub then push, events, at, version = sub_unpack(sub) end
    if push then
      read = at
      if seq > read then
        read, moved = seq, 1
        redis.call('HSET', keys[1], key, sub_pack(push, events, read, version))
      end
    end
  else
    local v = redis.call('HGET', keys[2], args[3])
    read = v and struct.unpack('>I6', v) or 0
    if seq > read then
      read, moved = seq, 1
      redis.call('HSET', keys[2], args[3], struct.pack('>I6', read) .. (v and string.sub(v, 7) or ''))
    end
  end
  return with_sessions('N' .. struct.pack('>I6B', read, moved), keys[3])
end

-- Whom a user blocks, so that it can be forgotten. keys: u; args: 1 peer; 2 blocked (1 or 0). reply: N; X
local function blocks(keys, args)
  local x, going = unpack(redis.call('HMGET', keys[1], 'x', 'f'))
  if going or is_gone(x) then return 'X' end
  if args[2] == '1' then
    redis.call('HSET', keys[1], 'b' .. args[1], 1)
  else
    redis.call('HDEL', keys[1], 'b' .. args[1])
  end
  return 'N'
end

-- Users of whom one was deleted at any time, in the order in which that began. Nodes know them by bits (gone.h).
-- keys: D; args: 1 user. reply: N
local function gone_put(keys, args)
  if not redis.call('ZSCORE', keys[1], args[1]) then
    redis.call('ZADD', keys[1], redis.call('ZCARD', keys[1]) + 1, args[1])
  end
  return 'N'
end

-- keys: D; args: 1 how many are known; 2 limit. reply: N and n u8 and id of each
local function gone_list(keys, args)
  local list = redis.call('ZRANGEBYSCORE', keys[1], '(' .. args[1], '+inf', 'LIMIT', 0, args[2])
  for i = 1, #list do list[i] = struct.pack('>B', #list[i]) .. list[i] end
  return 'N' .. table.concat(list)
end

register('inbox_put', {'allow-oom'}, inbox_put)
register('sent', {'allow-oom'}, sent)
register('inbox_peek', {'no-writes'}, inbox_peek)
register('inbox_ack', {'allow-oom'}, inbox_ack)
register('there', {'no-writes'}, there)
register('mark', {'allow-oom'}, mark)
register('blocks', {}, blocks)
register('gone_put', {'allow-oom'}, gone_put)
register('gone_list', {'no-writes'}, gone_list)
