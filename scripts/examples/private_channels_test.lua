local test = require "test"

local function login(s, token)
    return s:fire("login", {token = token, name = "Ada", ip = "127.0.0.1"})
end

local function enter(s, user, channel, restored)
    return s:fire("subscribe", {user = user, channel = channel, members = 3, restored = restored}).verdict
end

test.case("the claim decides", function()
    local s = test.load("private_channels")
    local r = login(s, "ada:staff:correct horse")
    test.equal({r.verdict, r.id, r.name}, {"accept", "ada", "Ada"})
    test.equal(login(s, "bob:guest:battery staple").verdict, "accept")
    test.equal(enter(s, "ada", "staff/kitchen"), "pass")
    test.equal(enter(s, "bob", "staff/kitchen"), "reject")
    test.equal(enter(s, "bob", "lobby"), "pass")
    test.equal(enter(s, "stranger", "staff/kitchen"), "reject")
end)

test.case("forged tokens are refused", function()
    local s = test.load("private_channels")
    for _, token in ipairs{"", "ada", "ada:staff:wrong", "ada:root:correct horse", "eve:staff:x"} do
        test.equal(login(s, token).code, "unauthorized")
    end
end)

test.case("who is staff no more is kept out at the next login", function()
    local s = test.load("private_channels")
    login(s, "ada:staff:correct horse")
    test.equal(enter(s, "ada", "staff/kitchen", true), "pass")
    login(s, "ada:guest:correct horse")
    test.equal(enter(s, "ada", "staff/kitchen", true), "reject")
end)
