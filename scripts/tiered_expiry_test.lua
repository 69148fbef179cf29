local test = require "test"

local function tier(s, members, now)
    return s:fire("conversation", {user = "ada", channel = "tea", members = members, tier = now or "small"}).tier
end

test.case("large from tiers.large.members on, small again below 80 %", function()
    local s = test.load("tiered_expiry", {["tiers.large.members"] = 10})
    test.equal(tier(s, 9), "small")
    test.equal(tier(s, 10), "large")
    test.equal(tier(s, 9, "large"), "large")
    test.equal(tier(s, 8, "large"), "large")
    test.equal(tier(s, 7, "large"), "small")
end)

test.case("0 members: never large", function()
    local s = test.load("tiered_expiry", {["tiers.large.members"] = 0})
    test.equal(tier(s, 1000000, "large"), "small")
end)

test.case("private conversations are left alone", function()
    local s = test.load("tiered_expiry")
    test.equal(s:fire("conversation", {user = "ada", peer = "bob"}), {verdict = "pass"})
end)
