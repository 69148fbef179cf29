-- Messages a second, of one user and in one conversation (config: rate.user, rate.channel, rate.policy); a second's
-- worth may come at once.
local magpie = require "magpie"

local user, channel = magpie.config("rate.user"), magpie.config("rate.channel")

-- Policy "complete": a channel over its limit takes every message; of each slice the newest are pushed.
local complete = magpie.config("rate.policy") == "complete"
local slice = magpie.push{slice_ms = magpie.config("push.slice_ms"), max = magpie.config("push.max")}

if user > 0 then
    magpie.on("message", function(e)
        local ok, wait = magpie.bucket("user:" .. e.user.id, user, user)
        if not ok then
            return magpie.reject("rate_limited", "you send too many messages", wait)
        end
    end)
end

if channel > 0 then
    magpie.on("conversation", function(e)
        if e.system then return end
        local name = e.channel
        local ok, wait = magpie.bucket("conversation:" .. (name or e.pair), channel, channel)
        if ok then return end
        if complete and name then return slice end
        return magpie.reject("rate_limited", "too many messages in this conversation", wait)
    end)
end
