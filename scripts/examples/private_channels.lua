-- Channels named "staff/…" are for users whose login says that they are staff.
--
-- For auth.mode = "script": a token is "ID:ROLE:SIGNATURE" here, and `check` stands for whatever tells a good one from
-- a forged one (most likely you want the plugin auth_jwt instead, and a claim in its token).
local magpie = require "magpie"

local passwords = {ada = "correct horse", bob = "battery staple"}

local function check(id, role, signature)
    return passwords[id] == signature and (role == "staff" or role == "guest")
end

magpie.on("login", function(e)
    local id, role, signature = (e.token or ""):match("^(%w+):(%w+):(.+)$")
    if not id or not check(id, role, signature) then
        return magpie.reject("unauthorized", "wrong token")
    end
    -- Channels live on other shards than users do: what both must know goes into `shared`.
    magpie.shared.set("role:" .. id, role, 30 * 86400)
    return magpie.accept{id = id, name = e.name}
end)

local function staff(e)
    return magpie.shared.get("role:" .. e.user.id) == "staff"
end

-- At login too (e.restored): who is staff no more loses the channels.
magpie.on("subscribe", function(e)
    if not staff(e) then
        return magpie.reject("forbidden", "this channel is for the staff")
    end
end, {channel = "staff/*"})
