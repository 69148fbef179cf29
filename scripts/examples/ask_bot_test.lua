local test = require "test"

local config = {["scripts.fetch"] = {"https://weather.example.com/"}}

local function ask(s, content, user)
    s:fire("delivered", {user = user or "ada", channel = "tea", content = content, seq = 1})
    return s:did("fetch")[1]
end

test.case("asks and tells", function()
    local s = test.load("ask_bot", config)
    local call = ask(s, "!weather S\195\182rup & co")
    test.equal(call.target, "https://weather.example.com:443/v1/now?place=S%C3%B6rup%20%26%20co")
    test.equal(call.text, "GET ")
    s:answer(call, {status = 200, headers = {}, body = '{"text": "Rain."}'})
    local did = s:did("send_channel")
    test.equal({did[1].target, did[1].text}, {"tea", "Rain."})
end)

test.case("what goes wrong is said without details", function()
    local s = test.load("ask_bot", config)
    local function said(...)
        s:advance(10000)
        s:answer(ask(s, "!weather Oslo"), ...)
        return s:did("send_channel")[1].text
    end
    test.equal(said(nil, "timeout: no answer within 3000 ms"), "The weather service does not answer.")
    for _, body in ipairs{"", "nonsense", "[]", "3", '{"text": 7}', '{"text": "' .. ("x"):rep(2000) .. '"}'} do
        test.equal(said({status = 200, headers = {}, body = body}), "The weather service does not know.")
    end
    test.equal(said({status = 500, headers = {}, body = '{"text": "x"}'}), "The weather service does not know.")
end)

test.case("not too often, and not itself", function()
    local s = test.load("ask_bot", config)
    for _ = 1, 5 do s:fire("delivered", {user = "ada", channel = "tea", content = "!weather Oslo"}) end
    test.equal(#s:did("fetch"), 2)
    s:fire("delivered", {user = "system", channel = "tea", content = "!weather Oslo"})
    s:fire("delivered", {user = "bob", receiver = "ada", content = "!weather Oslo"})
    s:fire("delivered", {user = "bob", channel = "tea", content = "!weather"})
    test.equal(#s:did("fetch"), 0)
end)
