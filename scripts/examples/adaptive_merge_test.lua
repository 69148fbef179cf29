local test = require "test"

local function push(s, members, rate)
    return s:fire("conversation", {user = "ada", channel = "tea", members = members, rate = rate}).push
end

test.case("quiet or small channels are pushed at once", function()
    local s = test.load("adaptive_merge")
    test.equal(push(s, 10, 50).mode, "all")
    test.equal(push(s, 10000, 1).mode, "all")
end)

test.case("the slice stretches with rate and members", function()
    local s = test.load("adaptive_merge", {["push.max"] = 9})
    test.equal(push(s, 1000, 50), {mode = "merged", slice_ms = 100, max = 9})
    test.equal(push(s, 10000, 50).slice_ms, 500)
    test.equal(push(s, 100000, 50).slice_ms, 2000)
end)

test.case("private conversations are left alone", function()
    local s = test.load("adaptive_merge")
    test.equal(s:fire("conversation", {user = "ada", peer = "bob", rate = 1000}), {verdict = "pass"})
end)
