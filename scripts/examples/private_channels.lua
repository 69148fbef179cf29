-- Channels named "staff/…" are for users whose login says that they are staff: by a claim.
--
-- With the plugin auth_jwt the claim stands in the token (its option claims = { "role" }), and the login hook here
-- goes. With auth.mode = "script" a token is "ID:ROLE:SIGNATURE" here, and `check` stands for whatever tells a good one
-- from a forged one.
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
    return magpie.accept{id = id, name = e.name, claims = {role = role}}
end)

-- At login too (e.restored): who is staff no more loses the channels.
magpie.on("subscribe", function(e)
    if e.user.claims.role ~= "staff" then
        return magpie.reject("forbidden", "this channel is for the staff")
    end
end, {channel = "staff/*"})
