-- Who may make channels, and read their history. Needs channels = { create = "script" }: then a channel is made only
-- where a script accepts.
local magpie = require "magpie"

local makers = {ada = true, bob = true}

magpie.on("create", function(e)
    -- Everybody has a channel of their own; the makers make any.
    if makers[e.user.id] or e.channel == "home/" .. e.user.id then
        return magpie.accept()
    end
    return magpie.reject("forbidden", "ask ada or bob for a channel")
end)

-- What was said in "room/…" is for those who were there: newcomers see what comes, and no history.
magpie.on("history", function(e)
    if e.channel and not makers[e.user.id] then
        return magpie.reject("forbidden", "this channel has no history")
    end
end, {channel = "room/*"})
