-- change, block, tier: what becomes of single messages, and of what a head says.

-- A recalled or edited message. keys: m A
-- args: 1 packed: now u48, seq u48, window u48 (0: no limit), edit u8, border u56, rule; 2 sender, empty: whoever;
--       3 content; 4 K
-- reply: N|D id u64, created u48, edited u48, rev u16, name; X cold u8 (1: it has left Redis); P T
local function change(keys, args)
  local m, sender, content, key = keys[1], args[2], args[3], args[4]
  local now, seq, window, edit, border, at = struct.unpack('>I6I6I6BI7', args[1])
  local rule, h = rule_unpack(string.sub(args[1], at)), head_get(m)
  if not h or seq == 0 or seq > h.seq or has(h.flags, WIPING) then return 'X\0' end
  local row = redis.call('HGET', m, seq)
  if not row then return seq <= h.low and 'X\1' or 'X\0' end
  local version, flags, tier, id, created, birth, ttl, rev, edited, n_sender, n_name =
    struct.unpack('>BBBc8I6I6I6I2I6BB', row)
  if version ~= 1 then error('a record of an unknown version') end
  if seq <= head_low(h, tier, rule.max[tier], rule.past) or not is_alive(rule, tier, birth, ttl) then return 'X\0' end
  if sender ~= '' and (sender ~= string.sub(row, 40, 39 + n_sender) or place_of(id) <= border) then return 'P' end
  local name = string.sub(row, 40 + n_sender, 39 + n_sender + n_name)
  local function reply(code)
    return code .. id .. struct.pack('>I6I6I2', created, edited, rev) .. name
  end
  if has(flags, 1) then return edit == 1 and 'X\0' or reply('D') end
  if window > 0 and now > birth and now - birth > window then return 'T' end
  if edit == 1 then
    -- The same call once more: its time and content are there already.
    if edited >= now and string.sub(row, 40 + n_sender + n_name) == content then return reply('D') end
    local after = edited > 0 and edited + 1 or created
    edited = now > after and now or after
  else
    flags, edited, content = flags + 1, 0, ''
  end
  rev = rev < 65535 and rev + 1 or rev
  h.edits = (h.edits + 1) % 4294967296
  if h.archived >= seq then
    h.archived = seq - 1
    redis.call('ZADD', keys[2], 'LT', birth, key)
  end
  redis.call('HSET', m, 'h', head_pack(h), seq,
    struct.pack('>BBBc8I6I6I6I2I6BB', 1, flags, tier, id, created, birth, ttl, rev, edited, n_sender, n_name) ..
    string.sub(row, 40, 39 + n_sender + n_name) .. content)
  return reply('N')
end

-- keys: m; args: 1 high u8 (1: the higher id blocks), blocked u8; 2 K. reply: N
local function block(keys, args)
  local high, blocked = string.byte(args[1], 1, 2)
  local h = head_get(keys[1])
  if not h and blocked == 0 then return 'N' end
  h = h or head_new(args[2])
  local bit = high == 1 and HIGH_BLOCKS or LOW_BLOCKS
  h.flags = blocked == 1 and with(h.flags, bit) or without(h.flags, bit)
  redis.call('HSET', keys[1], 'h', head_pack(h))
  return 'N'
end

-- keys: m; args: 1 tier. reply: N members u32, version u48 (of its members' changes); X: there is no such channel
local function tier(keys, args)
  local h = head_get(keys[1])
  if not h or not has(h.flags, MADE) then return 'X' end
  h.tier = tonumber(args[1])
  redis.call('HSET', keys[1], 'h', head_pack(h))
  return 'N' .. struct.pack('>I4I6', h.members, h.version)
end

register('change', {'allow-oom'}, change)
register('block', {}, block)
register('tier', {'allow-oom'}, tier)
