-- Nodes of the cluster, in N{z}: field `#` is the newest incarnation ever taken, `clock` the largest time ever told,
-- `time` the record of cluster_clock.h, whose bytes 2 to 5 are its version, 7 to 10 its era; and for each living node
-- `i`INC → number u16, beat u48, token (8 bytes), and what it says of itself, which nodes alone read (nodes.h).

-- The table as nodes read it. Nodes are in no order.
local function nodes_pack(inc, number, rows, clock, log, record)
  local pack, t = struct.pack, redis.call('TIME')
  local out, n = {}, 0
  for field, v in pairs(rows) do
    local about = string.sub(v, 17)
    n = n + 1
    out[n] = pack('>I6', tonumber(string.sub(field, 2))) .. string.sub(v, 1, 8) .. pack('>I2', #about) .. about
  end
  return 'N' .. pack('>I6I2I6c16I6I6I2', inc, number, tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000),
    string.sub(redis.call('CLUSTER', 'MYID'), 1, 16), clock, log, #record) .. record .. pack('>I2', n) ..
    table.concat(out)
end

-- A free number: the one that is wanted, or the smallest. nil, and who has it: it is taken.
local function number_find(rows, want)
  local taken = {}
  for field, v in pairs(rows) do
    taken[struct.unpack('>I2', v)] = struct.pack('>I6', tonumber(string.sub(field, 2))) .. v
  end
  if want > 0 then return not taken[want] and want, taken[want] end
  for number = 1, 1023 do
    if not taken[number] then return number end
  end
  return nil, ''
end

-- keys: N V; inc (0: takes an incarnation), number, token, beat, clock, record (empty, or one that follows the version
-- that stands), about, and the highest incarnation that the caller has seen: should N be lost, none is given twice.
-- N inc number TIME master clock log record nodes (log: the place of the newest note); P: this incarnation was buried;
-- D: the number is taken, with inc, number, beat, token and about of who has it, or with nothing: no number is free.
-- A repeat of taking is known by its token.
local function beat(keys, args)
  local pack, unpack, key = struct.pack, struct.unpack, keys[1]
  local inc, number, token = tonumber(args[1]), tonumber(args[2]), args[3]
  local clock, record, rows = 0, '', {}
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local field, v = all[i], all[i + 1]
    if field == 'clock' then
      clock = tonumber(v)
    elseif field == 'time' then
      record = v
    elseif string.byte(field) == 105 then -- 'i'
      rows[field] = v
      if string.sub(v, 9, 16) == token then inc, number = tonumber(string.sub(field, 2)), unpack('>I2', v) end
    end
  end
  if inc == 0 then
    local free, who = number_find(rows, number)
    if not free then return 'D' .. who end
    inc, number = redis.call('HINCRBY', key, '#', 1), free
    if inc <= tonumber(args[8]) then
      inc = tonumber(args[8]) + 1
      redis.call('HSET', key, '#', inc)
    end
  elseif not rows['i' .. inc] then
    return 'P'
  end
  local told = tonumber(args[5])
  if #args[6] > 0 and unpack('>I4', args[6], 2) == (#record > 0 and unpack('>I4', record, 2) or 0) + 1 then
    if #record > 0 and unpack('>I4', args[6], 7) ~= unpack('>I4', record, 7) then clock = 0 end -- another era
    record = args[6]
    redis.call('HSET', key, 'time', record)
  end
  if told > clock then clock = told end
  rows['i' .. inc] = pack('>I2I6c8', number, tonumber(args[4]), token) .. args[7]
  redis.call('HSET', key, 'i' .. inc, rows['i' .. inc], 'clock', clock)
  return nodes_pack(inc, number, rows, clock, tonumber(redis.call('HGET', keys[2], '') or 0), record)
end

-- keys: N; inc, beat (empty: whichever, for a node itself), its clock then (else 0).
-- N: that incarnation is over for good; P: it has beaten since.
local function bury(keys, args)
  local field = 'i' .. args[1]
  local v = redis.call('HGET', keys[1], field)
  if not v then return 'N' end
  if args[2] ~= '' and select(2, struct.unpack('>I2I6', v)) ~= tonumber(args[2]) then return 'P' end
  redis.call('HDEL', keys[1], field)
  if tonumber(args[3]) > tonumber(redis.call('HGET', keys[1], 'clock') or 0) then
    redis.call('HSET', keys[1], 'clock', args[3])
  end
  return 'N'
end

-- keys: C; field, value (empty: asks only). The value that stands, which is this one where there was none.
local function once(keys, args)
  if args[2] ~= '' then redis.call('HSETNX', keys[1], args[1], args[2]) end
  local v = redis.call('HGET', keys[1], args[1])
  return v and 'N' .. v or 'X'
end

register('beat', {'allow-oom'}, beat)
register('bury', {'allow-oom'}, bury)
register('once', {'allow-oom'}, once)
