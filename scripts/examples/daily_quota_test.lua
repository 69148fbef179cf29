local test = require "test"

local function say(s, user)
    local r = s:fire("message", {user = user, channel = "tea", content = "hi"})
    if r.verdict == "pass" then
        s:fire("delivered", {user = user, channel = "tea", content = "hi", seq = 1})
    end
    return r.code or "sent"
end

test.case("two hundred a day", function()
    local s = test.load("daily_quota")
    for _ = 1, 200 do test.equal(say(s, "ada"), "sent") end
    test.equal(say(s, "ada"), "quota")
    test.equal(say(s, "bob"), "sent")
    s:restart()                     -- still the same day
    test.equal(say(s, "ada"), "quota")
    s:advance(12 * 3600 * 1000)     -- the tests' clock begins at noon
    test.equal(say(s, "ada"), "sent")
end)

test.case("the server's own messages do not count", function()
    local s = test.load("daily_quota")
    for _ = 1, 300 do s:fire("delivered", {user = "system", channel = "tea", content = "hi"}) end
    test.equal(s:fire("message", {user = "system", channel = "tea", content = "hi"}).verdict, "pass")
end)
