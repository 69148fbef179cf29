-- So many messages a day and user, counted over restarts. The day is UTC's. What counts is what was stored: refused
-- messages and repeats do not.
local magpie = require "magpie"

local per_day = 200
local day_ms = 86400000

local function key(user)
    return user .. " " .. math.floor(magpie.time() / day_ms)
end

magpie.on("message", function(e)
    if e.edit then return end
    if (magpie.store.get(key(e.user.id)) or 0) >= per_day then
        return magpie.reject("quota", "that was today's last message")
    end
end)

magpie.on("delivered", function(e)
    if e.system then return end
    magpie.store.incr(key(e.user.id), 1, 2 * day_ms / 1000)    -- the key goes by itself, two days later
end)
