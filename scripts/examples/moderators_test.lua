local test = require "test"

local mod = {id = "ada", name = "Ada", claims = {role = "moderator"}}
local of_tea = {id = "bob", name = "Bob", claims = {moderates = {"news", "tea"}}}

local function ask(s, user, action, body)
    local r = s:act(action, {user = user, body = body})
    return r.error and r.error.code or "done", s:did()[1]
end

test.case("takes a message back", function()
    local s = test.load("moderators")
    for _, user in ipairs{mod, of_tea} do
        local code, did = ask(s, user, 220, {channel = "tea", seq = 7})
        test.equal({code, did.what, did.target, did.n}, {"done", "recall", "tea", 7})
    end
end)

test.case("mutes for a while", function()
    local s = test.load("moderators")
    local code, did = ask(s, of_tea, 221, {channel = "tea", userId = "eve", minutes = 30})
    test.equal({code, did.what, did.target, did.text, did.n}, {"done", "mute", "eve", "tea", 1800})
    code, did = ask(s, mod, 221, {channel = "tea", userId = "eve", minutes = 0})
    test.equal({code, did.what, did.target, did.text}, {"done", "unmute", "eve", "tea"})
end)

test.case("nobody else may, and nowhere else", function()
    local s = test.load("moderators")
    local others = {"eve", {id = "eve", claims = {role = "Moderator"}}, {id = "eve", claims = {moderates = "tea"}},
                    {id = "eve", claims = {moderates = {"teapot"}}}}
    for _, user in ipairs(others) do
        test.equal(ask(s, user, 220, {channel = "tea", seq = 7}), "forbidden")
        test.equal(ask(s, user, 221, {channel = "tea", userId = "bob"}), "forbidden")
    end
    test.equal(ask(s, of_tea, 220, {channel = "hall", seq = 7}), "forbidden")
end)

test.case("nonsense is refused", function()
    local s = test.load("moderators")
    for _, body in ipairs{{}, {channel = "tea"}, {channel = 3, seq = 1}, {channel = "tea", seq = "x"},
                          {channel = "tea", seq = 0}, {channel = "tea", seq = 1.5}} do
        test.equal(ask(s, mod, 220, body), "bad_request")
    end
    for _, body in ipairs{{channel = "tea"}, {channel = "tea", userId = "a b"},
                          {channel = "tea", userId = "eve", minutes = -1},
                          {channel = "tea", userId = "eve", minutes = 99999}} do
        test.equal(ask(s, mod, 221, body), "bad_request")
    end
end)
