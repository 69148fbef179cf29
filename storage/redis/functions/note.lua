-- Notes: small things that layers above keep, all in one key. Its empty field counts the changes, so that a node knows
-- whether its copy is that of now.

-- keys: V; args: set or remove, key, value. N changes u48.
register('note', {'allow-oom'}, function(keys, args)
  if args[1] == 'remove' then
    redis.call('HDEL', keys[1], args[2])
  else
    redis.call('HSET', keys[1], args[2], args[3])
  end
  return 'N' .. struct.pack('>I6', redis.call('HINCRBY', keys[1], '', 1))
end)
