-- How a channel's messages reach those who asked for no mode of their own: one by one in small channels, merged in
-- large ones (config: push.slice_ms, push.max). e.tier says how large the channel is.
local magpie = require "magpie"

local each = magpie.push{mode = "all"}
local merged = magpie.push{mode = "merged", slice_ms = magpie.config("push.slice_ms"), max = magpie.config("push.max")}

magpie.on("conversation", function(e)
    local tier = e.tier
    if tier == "small" then return each end
    if tier == "large" then return merged end -- a private conversation is "dm": it is always pushed at once
end)
