local test = require "test"

local function say(s, user, channel, more)
    local fields = {user = user, channel = channel, content = "hi"}
    for k, v in pairs(more or {}) do fields[k] = v end
    return s:fire("message", fields)
end

test.case("one message in so many seconds", function()
    local s = test.load("slow_mode")
    test.equal(s:command("slow", "tea", "30"), "tea: one message in 30 s")
    test.equal(say(s, "ada", "tea").verdict, "pass")
    local r = say(s, "ada", "tea")
    test.equal({r.verdict, r.code, r.retryAfter}, {"reject", "rate_limited", 30000})
    test.equal(say(s, "bob", "tea").verdict, "pass")
    test.equal(say(s, "ada", "coffee").verdict, "pass")
    test.equal(say(s, "ada", "coffee").verdict, "pass")
    test.equal(s:fire("message", {user = "ada", receiver = "bob", content = "hi"}).verdict, "pass")
    s:advance(30000)
    test.equal(say(s, "ada", "tea").verdict, "pass")
end)

test.case("a repeat costs nothing, and a restart changes nothing", function()
    local s = test.load("slow_mode")
    s:command("slow", "tea", "30")
    s:restart()
    test.equal(say(s, "ada", "tea").verdict, "pass")
    test.equal(say(s, "ada", "tea").verdict, "reject")
    s:command("slow", "tea", "0")
    test.equal(say(s, "ada", "tea").verdict, "pass")
end)

test.case("nonsense at the console", function()
    local s = test.load("slow_mode")
    for _, seconds in ipairs{"", "-1", "x", "86401"} do
        local answer, why = s:command("slow", "tea", seconds)
        test.equal(answer, nil)
        test.equal(why, "expected a channel and a number of seconds from 0 to 86400")
    end
end)
