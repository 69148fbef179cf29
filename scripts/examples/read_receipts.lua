-- Read receipts, as action 201: {peerId, seq}: "I have read up to this message". The writer's connections get push 201:
-- {by, seq}, but from somebody they have blocked; action 202: {peerId} asks how far the peer has read.
local magpie = require "magpie"

local week = 7 * 86400

-- What magpie.push() takes. For anything else it raises an error, and that would be the script's failure, not the
-- client's.
local function is_user_id(id)
    return type(id) == "string" and #id <= 64 and id:find("^[%w_.:-]+$") ~= nil
end

local function check(e)
    local peer, seq = e.body.peerId, e.body.seq
    if not is_user_id(peer) then
        return nil, magpie.reject("bad_request", "peerId: expected a user's id")
    end
    return peer, seq
end

magpie.action(201, function(e)
    local peer, seq = check(e)
    if not peer then return seq end
    if type(seq) ~= "number" or seq < 1 or seq % 1 ~= 0 then
        return magpie.reject("bad_request", "seq: expected a whole number of 1 or more")
    end
    -- Reader and writer may be on different shards.
    local key = "read:" .. e.user.id .. ":" .. peer
    if seq > (magpie.shared.get(key) or 0) then
        magpie.shared.set(key, seq, week)
        magpie.push(peer, 201, {by = e.user.id, seq = seq}, e.user.id)
    end
    return {}
end)

magpie.action(202, function(e)
    local peer, refusal = check(e)
    if not peer then return refusal end
    return {seq = magpie.shared.get("read:" .. peer .. ":" .. e.user.id) or 0}
end)
