local test = require "test"

local function enter(s, user, channel)
    return s:fire("subscribe", {user = user, channel = channel or "club/chess", members = 1}).verdict
end

local function invite(s, user, guest, action)
    return s:act(action or 210, {user = user, body = {channel = "club/chess", userId = guest}})
end

local function club(config)
    local s = test.load("invite_only", config)
    test.equal(s:fire("create", {user = "ada", channel = "club/chess"}).verdict, "pass")
    return s
end

test.case("the owner comes in, and whoever is invited", function()
    local s = club()
    test.equal(enter(s, "ada"), "pass")
    test.equal(enter(s, "bob"), "reject")
    test.equal(invite(s, "ada", "bob"), {body = {}})
    test.equal(s:did("push")[1].target, "bob")
    test.equal(enter(s, "bob"), "pass")
    test.equal(enter(s, "bob", "club/other"), "reject")
    test.equal(enter(s, "bob", "hall"), "pass")
end)

test.case("it is so after a reload and after a restart", function()
    local s = club()
    invite(s, "ada", "bob")
    for _ = 1, 2 do
        s:reload()
        s:restart()
        test.equal({enter(s, "ada"), enter(s, "bob"), enter(s, "cat")}, {"pass", "pass", "reject"})
        test.equal(invite(s, "bob", "cat").error.code, "forbidden")
    end
end)

test.case("the owner alone invites", function()
    local s = club()
    invite(s, "ada", "bob")
    test.equal(invite(s, "bob", "cat").error.code, "forbidden")
    test.equal(invite(s, "ada", "bob", 211), {body = {}})
    test.equal(enter(s, "bob"), "reject")
    test.equal(invite(s, "ada", "no id!").error.code, "bad_request")
    test.equal(s:act(210, {user = "ada", body = {channel = "hall", userId = "bob"}}).error.code, "bad_request")
    test.equal(s:act(210, {user = "ada", body = {channel = "club/none", userId = "bob"}}).error.code, "forbidden")
end)
