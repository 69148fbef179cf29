-- Which tier a channel's messages are stored in, and so how long they live (config: tiers.small, tiers.large): a
-- channel is large from tiers.large.members on, and small again below 80 % of that, so that one that wavers does not
-- change with every member.
local magpie = require "magpie"

local large = magpie.config("tiers.large.members")
local to_small, to_large = magpie.tier("small"), magpie.tier("large")

magpie.on("conversation", function(e)
    local tier = e.tier
    if tier == "dm" then return end
    if large == 0 or e.members < large * 0.8 then return to_small end
    if e.members >= large or tier == "large" then return to_large end
    return to_small
end)
