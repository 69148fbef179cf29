-- Moderators by a claim of their token: {"role": "moderator"}, or {"moderates": ["tea", "news"]} for some channels
-- alone (auth_jwt: claims = { "role", "moderates" }). They take messages back (action 220: {channel, seq}), and mute
-- for a while (action 221: {channel, userId, minutes}; 0 minutes ends it). Each act is in the log, with who did it.
local magpie = require "magpie"

local function moderates(user, channel)
    if user.claims.role == "moderator" then return true end
    local list = user.claims.moderates
    if type(list) ~= "table" then return false end
    for _, name in ipairs(list) do
        if name == channel then return true end
    end
    return false
end

local function whole(n, least, most)
    return type(n) == "number" and n % 1 == 0 and n >= least and n <= most
end

-- The channel that a moderator's request is about, or a refusal.
local function check(e)
    local channel = e.body.channel
    if type(channel) ~= "string" or channel == "" or #channel > 64 then
        return nil, magpie.reject("bad_request", "channel: expected a channel's name")
    end
    if not moderates(e.user, channel) then
        return nil, magpie.reject("forbidden", "you do not moderate this channel")
    end
    return channel
end

magpie.action(220, function(e)
    local channel, refusal = check(e)
    if not channel then return refusal end
    local seq = e.body.seq
    if not whole(seq, 1, 2^53) then
        return magpie.reject("bad_request", "seq: expected a whole number of 1 or more")
    end
    magpie.recall(channel, seq)
    magpie.log("info", "recalled", {by = e.user.id, channel = channel, seq = seq})
    return {}
end)

magpie.action(221, function(e)
    local channel, refusal = check(e)
    if not channel then return refusal end
    local user, minutes = e.body.userId, e.body.minutes or 10
    if type(user) ~= "string" or #user > 64 or not user:find("^[%w_.:-]+$") then
        return magpie.reject("bad_request", "userId: expected a user's id")
    end
    if not whole(minutes, 0, 7 * 1440) then
        return magpie.reject("bad_request", "minutes: expected a whole number up to a week")
    end
    if minutes == 0 then
        magpie.unmute(user, channel)
    else
        magpie.mute(user, channel, minutes * 60)
    end
    magpie.log("info", "muted", {by = e.user.id, channel = channel, user = user, minutes = minutes})
    return {}
end)
