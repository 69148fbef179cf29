-- At night (UTC) only private messages; channels are silent, but for those in `loud`.
local magpie = require "magpie"

local from, to = 22, 7 -- hours
local loud = {emergency = true}

local function night()
    local hour = magpie.time() / 3600000 % 24
    if from > to then return hour >= from or hour < to end
    return hour >= from and hour < to
end

magpie.on("message", function(e)
    if e.channel and not loud[e.channel] and night() then
        return magpie.reject("forbidden", "quiet hours are from " .. from .. " to " .. to)
    end
end)
