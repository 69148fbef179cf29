-- settle: intents whose second halves are done are forgotten.
--
-- keys: o
-- args: field and version, in turn, 32 times at most; version: u48 of a membership, in force only if the intent is
--       still of that one; empty: any. reply: N, how many u32
local function settle(keys, args)
  local gone = {}
  for i = 1, #args, 2 do
    if args[i + 1] == '' then
      gone[#gone + 1] = args[i]
    else
      local v = redis.call('HGET', keys[1], args[i])
      if v and string.sub(v, 7, 12) == args[i + 1] then gone[#gone + 1] = args[i] end
    end
  end
  local n = #gone > 0 and redis.call('HDEL', keys[1], unpack(gone)) or 0
  return 'N' .. struct.pack('>I4', n)
end

register('settle', {'allow-oom'}, settle)
