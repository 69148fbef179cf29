local test = require "test"

local function say(s, content, fields)
    fields = fields or {channel = "tea"}
    fields.user, fields.content = fields.user or "ada", content
    s:fire("delivered", fields)
    return s:did()
end

test.case("commands are answered where they were given", function()
    local s = test.load("bot")
    local did = say(s, "!help")
    test.equal({did[1].what, did[1].target, did[1].text}, {"send_channel", "tea", "I know !dice, !help, !time"})
    did = say(s, "!TIME", {receiver = "bob"})
    test.equal({did[1].what, did[1].target, did[1].text}, {"send_user", "ada", "It is 12:00 UTC"})
end)

test.case("dice", function()
    local s = test.load("bot")
    for _ = 1, 50 do
        local sum = tonumber(say(s, "!dice 2d6")[1].text:match("^2d6: (%d+)$"))
        if not sum or sum < 2 or sum > 12 then error("2d6 gave " .. tostring(sum)) end
    end
    test.equal(say(s, "!dice 100d6")[1].text, "I throw 1d2 to 20d1000")
end)

test.case("other messages, and its own, are left alone", function()
    local s = test.load("bot")
    test.equal(#say(s, "help!"), 0)
    test.equal(#say(s, "!nothing"), 0)
    test.equal(#say(s, "!help", {user = "system", channel = "tea"}), 0)
end)
