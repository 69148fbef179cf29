local test = require "test"

local midnight = 1767225600000 -- 2026-01-01T00:00:00Z
local hour = 3600000

test.case("each is said once, at its time, every day", function()
    local s = test.load("announcements")
    s:set_time(midnight + 8 * hour)
    s:advance(hour - 1)
    test.equal(#s:did(), 0)
    s:advance(60000)
    local did = s:did()
    test.equal(#did, 1)
    test.equal({did[1].what, did[1].text}, {"announce", "Good morning!"})
    s:advance(12 * hour)
    test.equal(#s:did(), 0)
    s:advance(hour)
    test.equal(s:did()[1].text, "Quiet hours begin.")
    s:advance(24 * hour)
    test.equal(#s:did(), 2)
end)
