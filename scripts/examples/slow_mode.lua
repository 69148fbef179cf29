-- Slow mode: in a channel for which an operator has set it, everybody may send once in so many seconds.
-- At the console: `slow CHANNEL SECONDS`; 0 ends it.
local magpie = require "magpie"

-- In magpie.store: an operator sets it once, and not after each restart.
magpie.command("slow", "slow mode of a channel: CHANNEL SECONDS (0: none)", function(words)
    local channel, seconds = words[1], tonumber(words[2])
    if not channel or not seconds or seconds < 0 or seconds > 86400 then
        error("expected a channel and a number of seconds from 0 to 86400", 0)
    end
    magpie.store.set("seconds " .. channel, seconds > 0 and seconds or nil)
    return seconds > 0 and channel .. ": one message in " .. seconds .. " s" or channel .. ": no slow mode"
end)

magpie.on("message", function(e)
    if not e.channel or e.edit then return end
    local seconds = magpie.store.get("seconds " .. e.channel)
    if not seconds then return end
    local ok, wait = magpie.bucket(e.channel .. " " .. e.user.id, 1 / seconds, 1)
    if not ok then
        return magpie.reject("rate_limited", "slow mode: one message in " .. seconds .. " s", wait)
    end
end)
