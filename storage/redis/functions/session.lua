-- Sessions: to which nodes a user is connected, and which nodes watch whether it is.
--
-- S: a field for each node, its incarnation; `d`DEVICE → INC.SHARD.CONN.GEN of the newest connection with that device
-- (empty: it has gone), and, each after a blank, those of other nodes that may have it still. W: a field for each node
-- that watches.
-- `s` of the user numbers the changes of its nodes. It never gets smaller, even when the user was forgotten meanwhile.
-- Both outlive a deletion: its nodes take themselves out, which the watchers are told, and who has the id next is
-- watched too.

local DEVICES_MAX = 256 -- of one user that are known; beyond, some are forgotten
local FORMER_MAX = 2 -- connections of one device to other nodes that are known beside the newest

local function watchers_pack(W)
  local out = redis.call('HKEYS', W)
  for i = 1, #out do out[i] = struct.pack('>I6', tonumber(out[i])) end
  return struct.pack('>I2', #out) .. table.concat(out)
end

-- The nodes of a user have changed, or not. The number of the newest change.
local function sessions_count(u, changed, now)
  local s, name, x = unpack(redis.call('HMGET', u, 's', 'n', 'x'))
  s = tonumber(s or 0)
  if not changed then return s end
  s = s < now and now or s + 1
  if name or x then redis.call('HSET', u, 's', s) end
  return s
end

-- Which incarnation a connection's handle begins with.
local function handle_inc(handle)
  return tonumber(string.match(handle, '^%d+'))
end

-- Whether the incarnation may live: it is in the list (u48 each), or newer than the newest that who lists them knows.
local function may_live(inc, living, newest)
  if inc > newest then return true end
  for i = 1, #living, 6 do
    if struct.unpack('>I6', living, i) == inc then return true end
  end
  return false
end

-- Of a device's handles, newest first, those of other nodes where the user is and which may live. A login that came
-- later may have failed, or its node died, before it told them: whoever comes next does.
local function former(S, handles, inc, living, newest_inc)
  local out = {}
  for handle in string.gmatch(handles, '%S+') do
    local other = handle_inc(handle)
    if #out < FORMER_MAX and other ~= inc and redis.call('HEXISTS', S, other) == 1 and
       (not living or may_live(other, living, newest_inc)) then
      out[#out + 1] = handle
    end
  end
  return table.concat(out, ' ')
end

-- What a device's connection takes it from: those of other nodes. '': none. device: its field; mine: the handle that is
-- put. The same handle again is a repeat, and is told the same.
local function device_put(S, device, mine, living, newest_inc)
  local v = redis.call('HGET', S, device) or ''
  local newest, before = string.match(v, '^(%S*) ?(.*)$')
  if newest == mine then return before end
  before = former(S, v, handle_inc(mine), living, newest_inc)
  redis.call('HSET', S, device, before == '' and mine or mine .. ' ' .. before)
  return before
end

-- Forgets some devices, where too many are known. device: the field of one that stays.
local function devices_cut(S, device)
  if redis.call('HLEN', S) <= DEVICES_MAX then return end
  local others = {}
  for _, field in ipairs(redis.call('HKEYS', S)) do
    if string.byte(field) == 100 and field ~= device then others[#others + 1] = field end
  end
  for i = DEVICES_MAX, #others do redis.call('HDEL', S, others[i]) end
end

-- The user is connected to the node. keys: u S W
-- args: inc, now, device, handle (INC.SHARD.CONN.GEN), restore (1: takes no device from a node that lives), the newest
-- incarnation that the caller knows, those that live (u48 each).
-- N: it was not before, D: it was; then version u48, epoch u32, arrivals u48, s u48, n u8 and the device's handles
-- before on other nodes, each but the first after a blank, sessions, watchers. X: there is no such user; P: a node that
-- lives has the device.
register('session_put', {'allow-oom'}, function(keys, args)
  local u, S, device = keys[1], keys[2], args[3] ~= '' and 'd' .. args[3]
  local name, epoch, going, version, arrivals = unpack(redis.call('HMGET', u, 'n', 'e', 'f', 'v', 'i'))
  if not name or going then return 'X' end
  local before = ''
  if device and args[5] == '1' then
    local v = redis.call('HGET', S, device)
    local inc = v and handle_inc(v) -- none: the newest has gone
    if inc and inc ~= tonumber(args[1]) and may_live(inc, args[7], tonumber(args[6])) then return 'P' end
  end
  local new = redis.call('HSET', S, args[1], 1) == 1
  if device then
    before = device_put(S, device, args[4], args[7], tonumber(args[6]))
    devices_cut(S, device)
  end
  return (new and 'N' or 'D') ..
    struct.pack('>I6I4I6I6B', tonumber(version or 0), tonumber(epoch or 0), tonumber(arrivals or 0),
                sessions_count(u, new, tonumber(args[2])), #before) .. before .. sessions_pack(S) ..
    watchers_pack(keys[3])
end)

-- The user is connected to the node no more, or the node lives no more, which then watches nobody. keys: u S W; args:
-- inc, now, dead (1 or 0). N: it was, D: it was not; then s u48, sessions, watchers.
register('session_del', {'allow-oom'}, function(keys, args)
  local S, inc = keys[2], tonumber(args[1])
  local was = redis.call('HDEL', S, args[1]) == 1
  local all = redis.call('HGETALL', S)
  for i = 1, #all, 2 do
    if string.byte(all[i]) == 100 then
      local newest, before = string.match(all[i + 1], '^(%S*) ?(.*)$')
      if newest == '' or handle_inc(newest) == inc then
        before = former(S, before, inc)
        if before == '' then
          redis.call('HDEL', S, all[i])
        else
          redis.call('HSET', S, all[i], ' ' .. before)
        end
      end
    end
  end
  if args[3] == '1' then redis.call('HDEL', keys[3], args[1]) end
  return (was and 'N' or 'D') .. struct.pack('>I6', sessions_count(keys[1], was, tonumber(args[2]))) ..
    sessions_pack(S) .. watchers_pack(keys[3])
end)

-- keys: u S; args: K of channels. N shares u8 (it is in one of them), sessions.
register('presence', {'no-writes'}, function(keys, args)
  local shares = 0
  for i = 1, #args, 500 do
    for _, v in ipairs(redis.call('HMGET', keys[1], unpack(args, i, math.min(i + 499, #args)))) do
      if v and string.byte(v) == 1 then shares = 1 end
    end
  end
  return 'N' .. struct.pack('>B', shares) .. sessions_pack(keys[2])
end)

-- The node watches the user, or does no more. keys: u S W; args: inc, on (1 or 0). N s u48, sessions.
register('watch', {'allow-oom'}, function(keys, args)
  if args[2] == '1' then
    redis.call('HSET', keys[3], args[1], 1)
  else
    redis.call('HDEL', keys[3], args[1])
  end
  return 'N' .. struct.pack('>I6', tonumber(redis.call('HGET', keys[1], 's') or 0)) .. sessions_pack(keys[2])
end)

-- What a node compares its copy of a user with. keys: u. N version u48, epoch u32, arrivals u48; X: there is none.
register('user_look', {'no-writes'}, function(keys, args)
  local name, epoch, version, arrivals = unpack(redis.call('HMGET', keys[1], 'n', 'e', 'v', 'i'))
  if not name then return 'X' end
  return 'N' .. struct.pack('>I6I4I6', tonumber(version or 0), tonumber(epoch or 0), tonumber(arrivals or 0))
end)
