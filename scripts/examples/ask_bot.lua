-- A bot that asks a web service: "!weather Oslo" in a channel is answered there. The service is asked with GET, and its
-- answer is {"text": "…"}. It must be listed: scripts = { fetch = { "https://weather.example.com/" } }.
local magpie = require "magpie"

local service = "https://weather.example.com/v1/now?place="

-- For the query of a URL: everything but letters and digits as %XX.
local function escape(text)
    return (text:gsub("[^%w]", function(c) return string.format("%%%02X", c:byte()) end))
end

-- What the answer says, or why there is none: people see no more than that.
local function read(err, result)
    if err then
        magpie.log("warn", "weather", {error = err})
        return "The weather service does not answer."
    end
    local body = result.status == 200 and magpie.json.decode(result.body)
    if type(body) ~= "table" or type(body.text) ~= "string" or #body.text > 1000 then
        return "The weather service does not know."
    end
    return body.text
end

magpie.on("delivered", function(e)
    if e.system or not e.channel then return end
    local place = e.content:match("^!weather%s+(.+)$")
    if not place or #place > 100 then return end
    -- One question in ten seconds and user: whoever asks more often is not heard.
    if not magpie.bucket(e.user.id, 0.1, 2) then return end
    local channel = e.channel        -- the event is over when the answer comes
    magpie.fetch({url = service .. escape(place), timeout_ms = 3000}, function(err, result)
        magpie.send_channel(channel, read(err, result))
    end)
end)
