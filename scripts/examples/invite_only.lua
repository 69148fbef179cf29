-- Channels that one enters by invitation, with an owner who stays the owner over restarts: whoever makes a channel
-- named "club/…" owns it. Action 210: {channel, userId} invites, action 211 takes an invitation back; the owner alone
-- may.
local magpie = require "magpie"

-- Kept in magpie.store: it is there again after a restart, and the same on every shard.
local function owner_key(channel) return "owner " .. channel end
local function guest_key(channel, user) return channel .. " " .. user end

local function is_user_id(id)
    return type(id) == "string" and #id <= 64 and id:find("^[%w_.:-]+$") ~= nil
end

magpie.on("create", function(e)
    -- What cannot be kept is not begun: the store may be full.
    local ok, why = magpie.store.set(owner_key(e.channel), e.user.id)
    if not ok then
        return magpie.reject("unavailable", "no new clubs now: " .. why)
    end
end, {channel = "club/*"})

local function may_enter(channel, user)
    return magpie.store.get(owner_key(channel)) == user or magpie.store.get(guest_key(channel, user))
end

-- At login too (e.restored), so that somebody whose invitation was taken back is out for good.
magpie.on("subscribe", function(e)
    if not may_enter(e.channel, e.user.id) then
        return magpie.reject("forbidden", "by invitation only")
    end
end, {channel = "club/*"})

-- The channel and the user that an owner's request is about, or a refusal.
local function check(e)
    local channel, user = e.body.channel, e.body.userId
    if type(channel) ~= "string" or not magpie.text.starts(channel, "club/") or #channel > 64 then
        return nil, magpie.reject("bad_request", "channel: expected a name that begins with club/")
    end
    if not is_user_id(user) then
        return nil, magpie.reject("bad_request", "userId: expected a user's id")
    end
    if magpie.store.get(owner_key(channel)) ~= e.user.id then
        return nil, magpie.reject("forbidden", "the owner invites")
    end
    return channel, user
end

magpie.action(210, function(e)
    local channel, user = check(e)
    if not channel then return user end
    local ok, why = magpie.store.set(guest_key(channel, user), true)
    if not ok then
        return magpie.reject("unavailable", why)
    end
    magpie.push(user, 210, {channel = channel, from = e.user}, e.user.id)
    return {}
end)

magpie.action(211, function(e)
    local channel, user = check(e)
    if not channel then return user end
    magpie.store.del(guest_key(channel, user))
    return {}
end)
