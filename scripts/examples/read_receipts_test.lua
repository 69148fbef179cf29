local test = require "test"
local magpie = require "magpie"

local function read(s, user, peer, seq)
    return s:act(201, {user = user, body = {peerId = peer, seq = seq}})
end

test.case("the writer is told once, and can ask", function()
    local s = test.load("read_receipts")
    test.equal(read(s, "bob", "ada", 5), {body = {}})
    test.equal(read(s, "bob", "ada", 5), {body = {}})
    test.equal(read(s, "bob", "ada", 3), {body = {}})
    local did = s:did("push")
    test.equal(#did, 1)
    test.equal({did[1].target, did[1].n}, {"ada", 201})
    test.equal(magpie.json.decode(did[1].text), {by = "bob", seq = 5})
    test.equal(s:act(202, {user = "ada", body = {peerId = "bob"}}), {body = {seq = 5}})
    test.equal(s:act(202, {user = "bob", body = {peerId = "ada"}}), {body = {seq = 0}})
end)

test.case("nonsense is refused", function()
    local s = test.load("read_receipts")
    test.equal(read(s, "bob", nil, 5).error.code, "bad_request")
    test.equal(read(s, "bob", "ada", "x").error.code, "bad_request")
    test.equal(read(s, "bob", "ada", 0).error.code, "bad_request")
    test.equal(read(s, "bob", "ada", 1.5).error.code, "bad_request")
    for _, id in ipairs{"", "a b", ("x"):rep(300), "ada\n", {}, true} do
        test.equal(read(s, "bob", id, 5).error.code, "bad_request")
        test.equal(s:act(202, {user = "bob", body = {peerId = id}}).error.code, "bad_request")
    end
    -- However often: the next one is served.
    for _ = 1, 20 do read(s, "bob", "no such id", 5) end
    test.equal(read(s, "bob", "ada", 5), {body = {}})
end)
