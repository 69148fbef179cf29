local test = require "test"

local function send(s, user, channel)
    return s:fire("message", {user = user, channel = channel or "tea", content = "hi"})
end

local function arrive(s, fields)
    fields.user = fields.user or "ada"
    return s:fire("conversation", fields)
end

test.case("a second's worth may come at once, then one by one", function()
    local s = test.load("ratelimit", {["rate.user"] = 2})
    test.equal(send(s, "ada").verdict, "pass")
    test.equal(send(s, "ada").verdict, "pass")
    local r = send(s, "ada")
    test.equal(r.code, "rate_limited")
    test.equal(r.retryAfter, 500)
    test.equal(send(s, "bob").verdict, "pass")
    s:advance(499)
    test.equal(send(s, "ada").verdict, "reject")
    s:advance(1)
    test.equal(send(s, "ada").verdict, "pass")
    test.equal(send(s, "ada").verdict, "reject")
end)

test.case("a conversation has a limit of its own", function()
    local s = test.load("ratelimit", {["rate.channel"] = 1})
    test.equal(arrive(s, {channel = "tea"}).verdict, "pass")
    test.equal(arrive(s, {channel = "tea", user = "bob"}).code, "rate_limited")
    test.equal(arrive(s, {channel = "coffee"}).verdict, "pass")
    test.equal(arrive(s, {peer = "bob"}).verdict, "pass")
    test.equal(arrive(s, {user = "bob", peer = "ada"}).code, "rate_limited")
    test.equal(arrive(s, {user = "ada", peer = "eve"}).verdict, "pass")
end)

test.case("policy complete takes every message and pushes the newest of a slice", function()
    local s = test.load("ratelimit", {["rate.channel"] = 1, ["rate.policy"] = "complete", ["push.slice_ms"] = 300,
        ["push.max"] = 7})
    test.equal(arrive(s, {channel = "tea"}), {verdict = "pass"})
    test.equal(arrive(s, {channel = "tea"}), {verdict = "pass", push = {slice_ms = 300, max = 7}})
    -- Private messages follow drop.
    arrive(s, {peer = "bob"})
    test.equal(arrive(s, {peer = "bob"}).code, "rate_limited")
end)

test.case("0 is no limit, and the server itself has none", function()
    local s = test.load("ratelimit", {["rate.user"] = 0, ["rate.channel"] = 0})
    for _ = 1, 1000 do
        test.equal(send(s, "ada").verdict, "pass")
        test.equal(arrive(s, {channel = "tea"}).verdict, "pass")
    end
    s = test.load("ratelimit", {["rate.channel"] = 1})
    for _ = 1, 10 do
        test.equal(arrive(s, {user = "system", channel = "tea"}).verdict, "pass")
    end
end)
