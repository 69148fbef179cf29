local test = require "test"

local function make(s, user, channel) return s:fire("create", {user = user, channel = channel}).verdict end
local function read(s, user, channel) return s:fire("history", {user = user, channel = channel}).verdict end

test.case("who may make channels", function()
    local s = test.load("channel_rights")
    test.equal(make(s, "ada", "tea"), "accept")
    test.equal(make(s, "eve", "tea"), "reject")
    test.equal(make(s, "eve", "home/eve"), "accept")
    test.equal(make(s, "eve", "home/ada"), "reject")
end)

test.case("who may read history", function()
    local s = test.load("channel_rights")
    test.equal(read(s, "eve", "tea"), "pass")
    test.equal(read(s, "eve", "room/12"), "reject")
    test.equal(read(s, "ada", "room/12"), "pass")
    test.equal(s:fire("history", {user = "eve", peer = "ada"}).verdict, "pass")
end)
