-- Announcements at a time of day (UTC), to everybody. Timers that a script sets while it loads run on one shard only,
-- so each is said once.
local magpie = require "magpie"

local timetable = {
    ["09:00"] = "Good morning!",
    ["22:00"] = "Quiet hours begin.",
}

local function minute_of_day()
    local minutes = math.floor(magpie.time() / 60000) % (24 * 60)
    return string.format("%02d:%02d", math.floor(minutes / 60), minutes % 60)
end

local last
magpie.every(10000, function()
    local now = minute_of_day()
    if now ~= last and timetable[now] then
        magpie.announce(timetable[now])
    end
    last = now
end)
