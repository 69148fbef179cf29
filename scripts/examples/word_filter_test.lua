local test = require "test"

local function say(s, content, user)
    return s:fire("message", {user = user or "ada", channel = "tea", content = content})
end

test.case("forbidden words become asterisks", function()
    local s = test.load("word_filter")
    test.equal(say(s, "Darn, what the heck is hecker?").content, "****, what the **** is hecker?")
    test.equal(say(s, "all is well").content, "all is well")
end)

test.case("too many of them are refused", function()
    local s = test.load("word_filter")
    test.equal(say(s, "darn darn darn").verdict, "pass")
    test.equal(say(s, "heck").code, "forbidden")
    test.equal(say(s, "good day").verdict, "pass")
    test.equal(say(s, "heck", "bob").verdict, "pass")
    s:advance(20000)
    test.equal(say(s, "heck").verdict, "pass")
end)
