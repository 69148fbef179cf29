-- Lists: a user's private conversations, whom it knows, and the messages of one sender.

-- keys: p r; args: newest place wanted, how many.
-- N, and for each peer, the most active first: n u8, id, read u48. What r has of a peer begins with the read mark.
register('convs', {'no-writes'}, function(keys, args)
  local peers = redis.call('ZREVRANGEBYSCORE', keys[1], args[1], '-inf', 'LIMIT', 0, args[2])
  if #peers == 0 then return 'N' end
  local out = {'N'}
  for i, v in ipairs(redis.call('HMGET', keys[2], unpack(peers))) do
    out[i + 1] = struct.pack('>B', #peers[i]) .. peers[i] .. (v and string.sub(v, 1, 6) or '\0\0\0\0\0\0')
  end
  return table.concat(out)
end)

-- Whether a user is in one of these channels. keys: u; args: K of each. N shares u8.
register('shares', {'no-writes'}, function(keys, args)
  for i = 1, #args, 500 do
    for _, v in ipairs(redis.call('HMGET', keys[1], unpack(args, i, math.min(i + 499, #args)))) do
      if v and string.byte(v) == 1 then return 'N\1' end
    end
  end
  return 'N\0'
end)

-- Messages of one sender in a conversation, recalled ones excepted. keys: m; args: the seq to begin at, rows to look
-- at, messages wanted, sender, largest id (8 bytes).
-- N next u48 (0: that was all), looked at u32, and the seq u48 of each.
register('sent_in', {'no-writes'}, function(keys, args)
  local from, look, want, sender = tonumber(args[1]), tonumber(args[2]), tonumber(args[3]), args[4]
  local h = head_get(keys[1])
  if not h then return 'N' .. struct.pack('>I6I4', 0, 0) end
  if from <= h.low then from = h.low + 1 end
  local out, looked, after = {}, 0, 40 + #sender
  local top = place_of(args[5])
  while from <= h.seq and looked < look and #out < want do
    local seqs = {}
    for seq = from, math.min(h.seq, from + 31) do seqs[#seqs + 1] = seq end
    for i, row in ipairs(redis.call('HMGET', keys[1], unpack(seqs))) do
      if #out == want then break end
      from, looked = seqs[i] + 1, looked + 1
      if row and string.byte(row, 38) == #sender and string.sub(row, 40, after - 1) == sender and
         string.byte(row, 2) % 2 == 0 then
        if place_of(string.sub(row, 4, 11)) <= top then out[#out + 1] = struct.pack('>I6', seqs[i]) end
      end
    end
  end
  return 'N' .. struct.pack('>I6I4', from <= h.seq and from or 0, looked) .. table.concat(out)
end)
