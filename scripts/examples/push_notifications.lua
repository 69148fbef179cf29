-- Push notifications: whoever has no connection when a message for it is stored is told to a service of your own, which
-- knows the phones. POST {"receivers": […], "title": …, "text": …, "channel" or "from": …, "id": …}, signed: the header
-- X-Signature is the HMAC-SHA256 of the body. List the service: scripts = { fetch = { "https://push.example.com/" } }.
local magpie = require "magpie"

local service = "https://push.example.com/v1/notify"
local key = "a secret that the service has too"

-- The first characters; never half a character.
local function beginning(text)
    if #text <= 120 then return text end
    return text:sub(1, 120):gsub("[\192-\255]?[\128-\191]*$", "") .. " …"
end

local function notify(body, attempt)
    magpie.fetch({url = service, body = body, headers = {["content-type"] = "application/json",
                                                         ["x-signature"] = magpie.hmac("sha256", key, body)}},
        function(err, result)
            if not err and result.status < 500 then
                magpie.metric("notifications_total")
            elseif attempt < 3 then
                -- It may be restarting. A reload ends this too: who wants every one uses the plugin webhook.
                magpie.after(attempt * 5000, function() notify(body, attempt + 1) end)
            else
                magpie.log("warn", "notify", {error = err or result.status})
                magpie.metric("notifications_lost_total")
            end
        end)
end

magpie.on("offline", function(e)
    local sender = e.message.sender
    notify(magpie.json.encode{
        receivers = e.receivers,
        title = e.channel and sender.name .. " in " .. e.channel or sender.name,
        text = beginning(e.message.content),
        channel = e.channel,
        from = not e.channel and sender.id or nil,
        id = e.message.id,
    }, 1)
end)
