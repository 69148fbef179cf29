local test = require "test"
local magpie = require "magpie"

local config = {["scripts.fetch"] = {"https://push.example.com/v1/"}}

local function miss(s, fields)
    fields.user = {id = "ada", name = "Ada"}
    fields.receivers = {"bob", "cat"}
    s:fire("offline", fields)
    return s:did("fetch")[1]
end

local function body(call)
    return magpie.json.decode(call.text:sub(6))     -- behind "POST "
end

test.case("tells the service", function()
    local s = test.load("push_notifications", config)
    local call = miss(s, {channel = "tea", message = {id = "7", content = "hi"}})
    test.equal(call.target, "https://push.example.com:443/v1/notify")
    test.equal(body(call), {receivers = {"bob", "cat"}, title = "Ada in tea", text = "hi", channel = "tea",
                            id = "0000000000000000007"})
    s:answer(call, {status = 202, headers = {}, body = ""})
    test.equal(s:did("metric")[1].target, "notifications_total")
    call = miss(s, {peer = "bob", message = {content = "psst"}})
    test.equal({body(call).title, body(call).from, body(call).channel}, {"Ada", "ada", nil})
end)

test.case("long texts are cut between characters", function()
    local s = test.load("push_notifications", config)
    for _, shift in ipairs{0, 1} do
        local text = body(miss(s, {channel = "tea", message = {content = ("x"):rep(shift) .. ("é"):rep(100)}})).text
        if #text > 126 or not text:find(" …$") then error(text) end
        test.equal(magpie.json.decode(magpie.json.encode(text)), text)
    end
end)

test.case("it tries three times", function()
    local s = test.load("push_notifications", config)
    local call = miss(s, {channel = "tea", message = {content = "hi"}})
    s:answer(call, nil, "unreachable: …")
    s:advance(5000)
    s:answer(s:did("fetch")[1], {status = 503, headers = {}, body = ""})
    s:advance(10000)
    s:answer(s:did("fetch")[1], nil, "timeout")
    s:advance(60000)
    test.equal(#s:did("fetch"), 0)
end)
