-- Users: their records, who is forgotten, who is deleted. A user's key and what stands in it: layout.h.
--
-- There is a user when it has a name (`n`). `f` says that it is being deleted, and `x` that it was.

local FORGET_STEP = 64 -- blocks that are lifted before a user goes, a call

-- The largest id of a millisecond since 1970, in whatever partition: 8 bytes.
local function id_end(ms)
  ms = ms - YEAR_2020
  return struct.pack('>I4I4', math.floor(ms / 1024), ms % 1024 * 4194304 + 4194303)
end

-- What the field `x` says: until which millisecond an id is the former user's. 0: there was none.
local function gone_until(x)
  if not x then return 0 end
  local hi, lo = struct.unpack('>I4I4', x)
  return hi * 1024 + math.floor(lo / 4194304) + YEAR_2020
end

-- Marks a user as deleted. Whatever clocks do, its messages are below that id, and those of the next user above it, for
-- whom `paired` tells the time from which on ids are given.
local GONE_AHEAD_MS = 1000
local function gone_pack(x, now)
  local before = gone_until(x)
  return id_end((before > now and before or now) + GONE_AHEAD_MS) .. '\1'
end

-- --- Saving ---

-- keys: u G p, and S for sessions; args: now, date, create (1: only where there is none), name, epoch, guest's time to
-- live ('': no guest), a number that no other call has.
-- N epoch u32, due u48, revoked u48, version u48, made u8, sessions; D: it is there; X: it was deleted; W: its deletion
-- is under way. An epoch never gets smaller. Who has private conversations is no guest, nor does who is none become
-- one.
local function user_save(keys, args)
  local u, guests = keys[1], keys[2]
  local now, create, epoch, ttl, version = tonumber(args[1]), args[3] == '1', tonumber(args[5]), args[6], args[7]
  local user = string.match(u, '}:(.*)$')
  local name, old, due, going, x, revoked, v = unpack(redis.call('HMGET', u, 'n', 'e', 'g', 'f', 'x', 't', 'v'))
  if name and create and v ~= version then return 'D' end -- the same version: it is a repeat
  if going then return create and 'W' or 'X' end
  if not name and is_gone(x) and not create then return 'X' end
  local repeated = create and name and v == version
  old = tonumber(old or 0)
  if old > epoch then epoch = old end
  revoked = tonumber(revoked or 0)
  if name and epoch > old then revoked = tonumber(args[2]) end
  -- Whoever is no guest is made none: it may have come back to another node, of which this caller does not know yet.
  if name and not repeated and (not due or due == '0') then ttl = '' end
  local due_now = 0
  if ttl ~= '' and redis.call('EXISTS', keys[3]) == 0 then due_now = now + tonumber(ttl) end
  if name and not repeated then version = user_changed(u) end
  local fields = {'n', args[4], 'e', epoch, 'v', version}
  local function add(field, value)
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
  if revoked > 0 then add('t', revoked) end
  if is_gone(x) then add('x', string.sub(x, 1, 8) .. '\0') end
  if due_now > 0 then
    add('g', due_now)
    redis.call('ZADD', guests, due_now, user)
  elseif due then
    redis.call('HDEL', u, 'g')
    redis.call('ZREM', guests, user)
  end
  redis.call('HSET', u, unpack(fields))
  local made = (not name or repeated) and 1 or 0
  return with_sessions('N' .. struct.pack('>I4I6I6I6B', epoch, due_now, revoked, tonumber(version), made), keys[4])
end

-- The one for who may not be there yet, the other for a change, which goes on when Redis is full.
register('user_put', {}, user_save)
register('user_set', {'allow-oom'}, user_save)

-- --- Loading ---

-- keys: u i I; args: where to go on: 0, or what the page before said; rule.
-- N: it is there; W: its deletion is under way; X: there is none; and then was a guest u8 (`paired`), where to go on
-- u48 (0: that was all), epoch u32, due u48, revoked u48, version u48, arrivals u48, inbox u32, until u48, n u8, name,
-- and for each field of a channel n u8, K, n u8, what stands there. A page may have what another had.
register('user_get', {'no-writes'}, function(keys, args)
  local pack = struct.pack
  local name, epoch, due, going, x, revoked, v, arrivals =
    unpack(redis.call('HMGET', keys[1], 'n', 'e', 'g', 'f', 'x', 't', 'v', 'i'))
  local page = redis.call('HSCAN', keys[1], args[1], 'COUNT', 1000)
  local out, n, fields = {}, 1, page[2]
  for i = 1, #fields, 2 do
    if #fields[i] > 1 and string.byte(fields[i]) == 99 then -- 'c'
      n = n + 1
      out[n] = pack('>B', #fields[i]) .. fields[i] .. pack('>B', #fields[i + 1]) .. fields[i + 1]
    end
  end
  out[1] = (name and 'N' or going and 'W' or 'X') ..
    pack('>BI6I4I6I6I6I6I4I6B', due == '0' and 1 or 0, tonumber(page[1]), tonumber(epoch or 0), tonumber(due or 0),
         tonumber(revoked or 0), tonumber(v or 0), tonumber(arrivals or 0),
         inbox_count(keys[2], keys[3], rule_unpack(args[2])), gone_until(x), #(name or '')) .. (name or '')
  return table.concat(out)
end)

-- keys: u; args: before (when), channels. Forgets with which version a user left channels long ago, and that it was a
-- guest. N how many.
register('user_tidy', {'allow-oom'}, function(keys, args)
  local before, old = tonumber(args[1]), {}
  for i = 2, #args do
    local v = redis.call('HGET', keys[1], args[i])
    if v and string.byte(v) == 0 and struct.unpack('>I6', v, 2) < before then old[#old + 1] = args[i] end
  end
  if redis.call('HGET', keys[1], 'g') == '0' then old[#old + 1] = 'g' end
  if #old > 0 then redis.call('HDEL', keys[1], unpack(old)) end
  return 'N' .. struct.pack('>I4', #old)
end)

-- --- Guests ---

-- Who has a private conversation is no guest any more. `g` is 0 then, until it is loaded or saved: who was about to
-- forget the guest does not know yet. keys: u G.
-- N there u8, until u48: messages get ids of a later time; X: it was deleted.
register('paired', {'allow-oom'}, function(keys, args)
  local name, due, going, x = unpack(redis.call('HMGET', keys[1], 'n', 'g', 'f', 'x'))
  if going or is_gone(x) then return 'X' end
  if due and due ~= '0' then
    redis.call('HSET', keys[1], 'g', 0)
    user_changed(keys[1])
    redis.call('ZREM', keys[2], string.match(keys[1], '}:(.*)$'))
  end
  return 'N' .. struct.pack('>BI6', name and 1 or 0, gone_until(x))
end)

-- --- Forgetting ---

-- Whom a user blocks is known at the pairs: those are lifted first, by who calls. Some of them; nil: there are none.
local function blocks_left(u)
  if redis.call('HLEN', u) == 0 then return nil end
  local out, at = {}, '0'
  repeat
    local page = redis.call('HSCAN', u, at, 'MATCH', 'b?*', 'COUNT', 256)
    for i = 1, #page[2], 2 do
      out[#out + 1] = struct.pack('>B', #page[2][i] - 1) .. string.sub(page[2][i], 2)
    end
    at = page[1]
  until at == '0' or #out >= FORGET_STEP
  return #out > 0 and table.concat(out) or nil
end

-- All but what outlives a user. Versions that it left channels with stand for an hour all the same.
local function user_clear(u)
  local gone = {}
  for _, field in ipairs(redis.call('HKEYS', u)) do
    local keep = field == 'e' or field == 'x' or field == 's'
    if #field > 1 and string.byte(field) == 99 then keep = string.byte(redis.call('HGET', u, field)) == 0 end
    if not keep then gone[#gone + 1] = field end
  end
  for i = 1, #gone, 1000 do redis.call('HDEL', u, unpack(gone, i, math.min(i + 999, #gone))) end
end

-- Whether the user is connected to a node. living, newest: as may_live() has them.
local function has_sessions(S, living, newest)
  for _, field in ipairs(redis.call('HKEYS', S)) do
    local inc = tonumber(field)
    if inc and may_live(inc, living, newest) then return true end
  end
  return false
end

-- Takes nodes that live no more out of S or W.
local function nodes_cut(key, living, newest)
  local all, gone = redis.call('HGETALL', key), {}
  for i = 1, #all, 2 do
    local inc = string.byte(all[i]) == 100 and handle_inc(all[i + 1]) or tonumber(all[i])
    if not inc or not may_live(inc, living, newest) then gone[#gone + 1] = all[i] end
  end
  for i = 1, #gone, 1000 do redis.call('HDEL', key, unpack(gone, i, math.min(i + 999, #gone))) end
end

-- A guest whose time has come, or whoever else is to be forgotten without a trace.
local function forget_guest(keys, now, living, newest)
  local u, user = keys[1], string.match(keys[1], '}:(.*)$')
  local name, due, going, x = unpack(redis.call('HMGET', u, 'n', 'g', 'f', 'x'))
  if going or not name then return 'N' end
  local paired = redis.call('EXISTS', keys[2]) == 1
  if due and due ~= '0' and paired then
    redis.call('HSET', u, 'g', 0)
    redis.call('ZREM', keys[8], user)
    user_changed(u)
  end
  if due and (paired or due == '0' or tonumber(due) > now) or has_sessions(keys[6], living, newest) then return 'P' end
  local blocks = blocks_left(u)
  if blocks then return 'B' .. blocks end
  redis.call('ZREM', keys[8], user)
  redis.call('UNLINK', keys[2], keys[4], keys[5], keys[6], keys[7])
  if not paired then redis.call('UNLINK', keys[3]) end -- else it says what has entered its inbox, for the next one
  if x then
    user_clear(u)
  else
    redis.call('UNLINK', u)
  end
  return 'N'
end

local function forget_begin(keys, now, recall)
  local u = keys[1]
  local name, epoch, going, x, version = unpack(redis.call('HMGET', u, 'n', 'e', 'f', 'x', 'v'))
  if going then
    if recall and going == '1' then redis.call('HSET', u, 'f', 2) end
    local recalls = (recall or going == '2') and 1 or 0
    return with_sessions('N' .. struct.pack('>BI4I6', recalls, tonumber(epoch), tonumber(version or 0)), keys[6])
  end
  if not name then return 'X' end
  epoch = tonumber(epoch or 0) + 1
  redis.call('HSET', u, 'f', recall and 2 or 1, 'e', epoch, 'x', gone_pack(x, now))
  redis.call('HDEL', u, 'n', 'g', 't')
  redis.call('ZADD', keys[8], 0, string.match(u, '}:(.*)$'))
  return with_sessions('N' .. struct.pack('>BI4I6', recall and 1 or 0, epoch, user_changed(u)), keys[6])
end

local function forget_end(keys, now, living, newest)
  local u = keys[1]
  local going, x = unpack(redis.call('HMGET', u, 'f', 'x'))
  if not going then return 'N' end
  local blocks = blocks_left(u)
  if blocks then return 'B' .. blocks end
  redis.call('UNLINK', keys[2], keys[4], keys[5])
  nodes_cut(keys[6], living, newest)
  nodes_cut(keys[7], living, newest)
  user_clear(u)
  redis.call('HSET', u, 'x', gone_pack(x, now))
  redis.call('ZREM', keys[8], string.match(u, '}:(.*)$'))
  return 'N'
end

-- keys: u p r i I S W G; args: step (guest, keep, recall: begin; end), now; guest, end: the newest incarnation that the
-- caller knows, those that live (u48 each).
-- N, and for keep and recall: recall u8, what it is, epoch u32, version u48, sessions; X: there is no such user; P: it
-- has private conversations, a session, or time left; B and peers, n u8 and id: their blocks are to be lifted first
-- (`block`, `unblocked`).
register('forget', {'allow-oom'}, function(keys, args)
  local step, now = args[1], tonumber(args[2])
  local newest, living = tonumber(args[3] or 0), args[4] or ''
  if step == 'guest' then return forget_guest(keys, now, living, newest) end
  if step == 'end' then return forget_end(keys, now, living, newest) end
  return forget_begin(keys, now, step == 'recall')
end)

-- keys: u; args: peers whose blocks were lifted.
register('unblocked', {'allow-oom'}, function(keys, args)
  local fields = {}
  for i = 1, #args do fields[i] = 'b' .. args[i] end
  return 'N' .. struct.pack('>I4', redis.call('HDEL', keys[1], unpack(fields)))
end)
