local test = require "test"

local midnight = 1767225600000 -- 2026-01-01T00:00:00Z

local function say(s, hour, fields)
    s:set_time(midnight + hour * 3600000)
    fields.user, fields.content = "ada", "hi"
    return s:fire("message", fields).verdict
end

test.case("channels are silent at night", function()
    local s = test.load("quiet_hours")
    test.equal(say(s, 12, {channel = "tea"}), "pass")
    test.equal(say(s, 21.9, {channel = "tea"}), "pass")
    test.equal(say(s, 22, {channel = "tea"}), "reject")
    test.equal(say(s, 6.9, {channel = "tea"}), "reject")
    test.equal(say(s, 7, {channel = "tea"}), "pass")
    test.equal(say(s, 23, {channel = "emergency"}), "pass")
    test.equal(say(s, 23, {receiver = "bob"}), "pass")
end)
