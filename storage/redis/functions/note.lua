-- Notes: small things that layers above keep, all in V{z}, and their log, L{z}: each change in the order in which all
-- nodes take it. The field '' of V is the place of the newest change. In L, a place → the change as log_pack() has it,
-- and `d` with incarnation and number of whoever made it → its place, so that a repeat is known.

local LOG_MAX = 10000
local REMOVE, PASSING, ADD = 1, 2, 4 -- flags of a change

-- Version u8, flags u8, incarnation u48, number u48, bytes of the key u16, key, value.
local function log_pack(flags, inc, number, key, value)
  return struct.pack('>BBI6I6I2', 1, flags, inc, number, #key) .. key .. value
end

-- keys: V L; args: op (set, remove, add, pass), key, value, incarnation and number (together they name the change), the
-- newest place that the caller knows of, now.
-- `remove` with a value: only a note that begins with it; else nothing changes, and the newest place is answered.
-- N place u48, value; D: nothing has changed, it is a repeat; it stands at that place u48
register('note', {'allow-oom'}, function(keys, args)
  local call, notes, log, op, key, value = redis.call, keys[1], keys[2], args[1], args[2], args[3]
  local inc, number = tonumber(args[4]), tonumber(args[5])
  local digest = 'd' .. struct.pack('>I6I6', inc, number)
  local before = call('HGET', log, digest)
  if before then return 'D' .. struct.pack('>I6', tonumber(before)) end
  if op == 'remove' and value ~= '' then
    local now = call('HGET', notes, key)
    if not now or string.sub(now, 1, #value) ~= value then
      return 'D' .. struct.pack('>I6', tonumber(call('HGET', notes, '') or 0))
    end
    value = ''
  end
  local flags = op == 'remove' and REMOVE or op == 'pass' and PASSING or 0
  if op == 'add' then
    flags = ADD
    value = note_added(call('HGET', notes, key), value, tonumber(args[7]))
  end
  local place = math.max(tonumber(call('HGET', notes, '') or 0), tonumber(args[6])) + 1
  if op == 'remove' then
    call('HDEL', notes, key)
    call('HSET', notes, '', place)
  elseif op == 'pass' then
    call('HSET', notes, '', place)
  else
    call('HSET', notes, key, value, '', place)
  end
  call('HSET', log, place, log_pack(flags, inc, number, key, value), digest, place)
  local old = call('HGET', log, place - LOG_MAX)
  if old then call('HDEL', log, place - LOG_MAX, 'd' .. string.sub(old, 3, 14)) end
  return 'N' .. struct.pack('>I6', place) .. value
end)
