local test = require "test"
local magpie = require "magpie"

local function typing(s, to)
    return s:act(200, {user = {id = "ada", name = "Ada"}, body = {receiverId = to}})
end

test.case("the receiver is told, not too often", function()
    local s = test.load("typing")
    test.equal(typing(s, "bob"), {body = {}})
    typing(s, "bob")
    local did = s:did()
    test.equal(#did, 1)
    test.equal({did[1].what, did[1].target, did[1].n}, {"push", "bob", 200})
    test.equal(magpie.json.decode(did[1].text), {from = {id = "ada", name = "Ada"}})
    s:advance(2000)
    typing(s, "bob")
    test.equal(#s:did(), 1)
end)

test.case("nonsense is refused", function()
    local s = test.load("typing")
    test.equal(typing(s, 7).error.code, "bad_request")
    test.equal(typing(s, nil).error.code, "bad_request")
    for _, id in ipairs{"", "a b", "ada/bob", ("x"):rep(65), "ada\n", "é", {}, true} do
        test.equal(typing(s, id).error.code, "bad_request")
    end
    -- However often: the next one is served.
    for _ = 1, 20 do typing(s, "no such id") end
    test.equal(typing(s, "bob"), {body = {}})
    test.equal(#s:did("push"), 1)
end)
