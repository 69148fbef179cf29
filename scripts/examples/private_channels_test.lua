local test = require "test"

local function login(s, token)
    local r = s:fire("login", {name = "N", token = token})
    return r.verdict, r.claims
end

local function enter(s, role, channel, restored)
    return s:fire("subscribe", {user = {id = "ada", claims = {role = role}}, channel = channel, members = 3,
                                restored = restored}).verdict
end

test.case("logs in with a good token, and a claim", function()
    local s = test.load("private_channels")
    local verdict, claims = login(s, "ada:staff:correct horse")
    test.equal({verdict, claims}, {"accept", {role = "staff"}})
    for _, token in ipairs{"", "ada", "ada:staff:wrong", "ada:boss:correct horse", "eve:staff:correct horse"} do
        test.equal(login(s, token), "reject", token)
    end
    test.equal(s:fire("login", {name = "N"}).code, "unauthorized")
end)

test.case("staff channels are for the staff", function()
    local s = test.load("private_channels")
    test.equal(enter(s, "staff", "staff/plans"), "pass")
    test.equal(enter(s, "guest", "staff/plans"), "reject")
    test.equal(enter(s, "guest", "staff/plans", true), "reject")
    test.equal(enter(s, "guest", "hall"), "pass")
    test.equal(s:fire("subscribe", {user = "eve", channel = "staff/plans", members = 3}).verdict, "reject")
end)
