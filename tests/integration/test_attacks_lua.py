"""Attacks by scripts: what must be stopped, what must not be there, what must not be poisoned, and numbers that C could
stumble over.

Each attack is a script of its own with one action. While it runs a bystander on the same (the only) shard asks for
something; afterwards a second script finds its world as it was.
"""

import os
import time

from base import Test
from client import PING, SEND_CHANNEL
from server import PATIENCE, SANITIZED, Server

# What runs for ever or eats everything: it must be stopped, and the request answered `internal`.
STOPPED = {
    "loop": "while true do end",
    "loop in pcall": "while true do pcall(function() while true do end end) end",
    "pcall of pcall": "local function f() pcall(f) return f() end f()",
    "loop in xpcall and its handler": "while true do xpcall(function() while true do end end, function() while true do "
                                      "end end) end",
    "handler that fails": "xpcall(error, function() while true do end end) while true do end",
    "loop in a coroutine": "while true do coroutine.wrap(function() while true do end end)() end",
    "coroutines without end": "local function f() coroutine.wrap(f)() end while true do pcall(f) end",
    "resume of the dead": "local c = coroutine.create(function() while true do end end) while true do "
                          "coroutine.resume(c) end",
    "yield for ever": "local c = coroutine.wrap(function() while true do coroutine.yield() end end) while true do c() "
                      "end",
    "recursion": "local function f() return 1 + f() end f()",
    "tail calls": "local function f() return f() end f()",
    "index loop": "local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) while true do end end "
                  "return t.x",
    "call loop": "local t = setmetatable({}, {__call = function(t) return t() end}) t()",
    "concat metamethod": "local t = setmetatable({}, {__concat = function() while true do end end}) return t .. 'x'",
    "eq metamethod": "local m = {__eq = function() while true do end end} return setmetatable({}, m) == "
                     "setmetatable({}, m)",
    "tostring metamethod": "tostring(setmetatable({}, {__tostring = function() while true do end end}))",
    "error object": "error(setmetatable({}, {__tostring = function() while true do end end}))",
    "answer with metamethods": "return setmetatable({}, {__index = function() while true do end end, __pairs = "
                               "function() while true do end end, __len = function() while true do end end, x = 1}), "
                               "1, error('no')",
    "rep": "return {x = ('x'):rep(1e9)}",
    "rep beyond int": "return {x = ('x'):rep(2^31)}",
    "rep of nothing": "return {x = (''):rep(1e15), y = ('x'):rep(1e15)}",
    "doubling": "local s = 'x' while true do s = s .. s end",
    "hoard": "local t = {} while true do t[#t + 1] = {} end",
    "hoard in pcall": "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(1e6) end) end",
    "hoard of coroutines": "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
    "hoard of closures": "local t = {} while true do t[#t + 1] = function() return t end end",
    "concat bomb": "local t = {} for i = 1, 1e5 do t[i] = ('x'):rep(1000) end while true do table.concat(t) end",
    "concat of a far range": "return {x = table.concat(setmetatable({}, {__index = function() return 'x' end}), '', 1, "
                             "2^30)}",
    "format width": "while true do string.format('%99d', 1) end",
    "format of long strings": "local s = ('x'):rep(1e6) while true do string.format('%s%s%s%s', s, s, s, s) end",
    "pattern": "return {x = (('a'):rep(3000)):find(('a*'):rep(30) .. 'b')}",
    "pattern of optionals": "return {x = (('a'):rep(30)):find(('a?'):rep(30) .. ('a'):rep(30) .. ('x?'):rep(20) .. "
                            "'z')}",
    "pattern minus": "return {x = (('a'):rep(50000)):find('.-.-.-.-b')}",
    "pattern of balances": "return {x = (('('):rep(100000)):find('%b()')}, error('slow or not')",
    "gsub without end": "local s = ('x'):rep(1000) while true do s = s:gsub('x', 'xx') end",
    "gsub with a loop": "('abc'):gsub('.', function() while true do end end)",
    "gmatch": "for _ in (('a'):rep(100000)):gmatch('(a*)(a*)(a*)b') do end while true do end",
    "sort with a loop": "table.sort({3, 2, 1}, function() while true do end end)",
    "sort with a liar": "local t = {} for i = 1, 1e5 do t[i] = i end while true do pcall(table.sort, t, function() "
                        "return true end) end",
    "insert far away": "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.insert(t, 1, 0) end",
    "remove at the front": "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.remove(t, 1) t[#t + 1] = 1 "
                           "end",
    "unpack": "local function n(...) return select('#', ...) end while true do pcall(n, unpack({}, 1, 7000)) end",
    "next": "local t = {} for i = 1, 1e5 do t[i] = i end while true do for _ in pairs(t) do end end",
    "json bomb": "while true do magpie.json.encode({x = ('\\1'):rep(1e5)}) end",
    "json deep": "while true do magpie.json.decode(('['):rep(1e5)) end",
    "split bomb": "local s = (','):rep(1e5) while true do magpie.text.split(s, ',') end",
    "split by nothing": "while true do magpie.text.split('abc', 'c') end",
    "contains": "local s = ('a'):rep(1e6) while true do magpie.text.contains(s, ('a'):rep(5e5) .. 'b') end",
    "logging": "while true do magpie.log('info', 'flood', {x = 'y'}) end",
    "printing": "while true do print('flood') end",
    "metrics": "local n = 0 while true do n = n + 1 magpie.metric('m' .. n) end",
    "buckets": "local n = 0 while true do n = n + 1 magpie.bucket('b' .. n, 1, 1) end",
    "keeping": "local n = 0 while true do n = n + 1 magpie.kv.set('k' .. n, ('x'):rep(10000)) end",
    "sharing": "local n = 0 while true do n = n + 1 magpie.shared.set('k' .. n, ('x'):rep(10000)) end",
    "timers": "while true do magpie.after(1, function() end) end",
    "sending": "while true do magpie.send_channel('flood', 'x') end",
    "cyclic answer": "local t = {} t.t = t return t",
    "deep answer": "local t = {} for i = 1, 1e5 do t = {t} end return t",
    "answer that is a function": "return {f = function() end}",
    "answer that is no number": "return {x = 0/0}",
    "answer that is no text": "return {x = '\\255\\254'}",
    "answer with mixed keys": "return {1, 2, x = 3}",
    "answer of the wrong kind": "return 'text'",
    "error without a word": "error()",
    "error nil": "error(nil, 5)",
    "error of a table": "error({})",
    "error of a function": "error(error)",
    "error in C": "string.rep()",
    "error with escapes": "error('\\27[2J\\n20 fake line')",
}

# What must not be there: each must be true.
ABSENT = {
    "globals": """for _, n in ipairs{'io', 'os', 'debug', 'ffi', 'package', 'load', 'loadstring', 'loadfile', 'dofile', 'module', 'newproxy', 'getfenv', 'setfenv', 'collectgarbage', 'gcinfo',
                  'jit', 'arg', '_VERSION_', 'rawlen'} do if _G[n] ~= nil then return {no = n} end end return {good = true}""",
    "string.dump": "return {good = string.dump == nil and ('').dump == nil}",
    "modules": "for _, n in ipairs{'os', 'io', 'debug', 'ffi', 'package', 'jit', 'jit.util', 'jit.opt', 'table.new', "
               "'string.buffer', 'socket', './x', '/etc/passwd', ''} do "
               "if pcall(require, n) then return {no = n} end end return {good = true}",
    "the string metatable": """local m = getmetatable('') if m == nil or type(m) ~= 'table' then return {good = true} end
                               local was = m.__index local bad = pcall(function() m.__index = function() return 'poison' end end) local p = ('x').foo if bad then pcall(function() m.__index = was end) end
                               return {good = p == nil}""",
    "setmetatable on texts": "return {good = not pcall(setmetatable, '', {})}",
    "finalisers": "setmetatable({}, {__gc = function() while true do end end}) local t = {} for i = 1, 20000 do t = {} "
                  "end return {good = true}",
    "environments of functions": "return {good = _G.getfenv == nil and _G.setfenv == nil and debug == nil}",
    "bytecode by string": "return {good = not pcall(require, '\\27LJ\\2') }",
    "coroutines do not escape": "return {good = coroutine.running() == nil or type(coroutine.running()) == 'thread'}",
    "secrets": "for _, p in ipairs{'auth.secret', 'console.password', 'auth', 'console', '', 'plugins'} do local ok, v "
               "= pcall(magpie.config, p) "
               "if ok and type(v) == 'string' and #v > 0 then return {no = p} end if ok and type(v) == 'table' and "
               "(v.secret or v.password or (v.auth and v.auth.secret)) then return {no = p} end end return {good = "
               "true}",
}

# What a script does to its own world must stay in it: run, then the victim looks.
POISON = {
    "globals": "_G.string = nil _G.pairs = nil _G.magpie_was_here = 1 magpie.on = nil magpie.json = nil "
               "magpie.kv = nil",
    "all of _G": "for k in pairs(_G) do if k ~= '_G' then _G[k] = nil end end",
    "library tables": "string.format = function() return 'poison' end table.concat = string.format math.floor = "
                      "string.format string.find = nil",
    "the metatable of _G": "setmetatable(_G, {__index = function() return 'poison' end, __newindex = function() "
                           "error('poison') end})",
    "the module": "for k in pairs(magpie) do pcall(rawset, magpie, k, 'poison') end pcall(setmetatable, magpie, "
                  "{__index = error})",
    "the event": "e.user.id = 'system' e.user.name = 'root' pcall(setmetatable, e, nil) pcall(rawset, e, 'user', {id = "
                 "'system'})",
    "the string metatable": "local m = getmetatable('') if type(m) == 'table' then pcall(function() m.__index = nil "
                            "end) end pcall(function() m.__metatable = nil end)",
}

VICTIM = """
local magpie = require "magpie"
magpie.action(999, function(e)
    assert(magpie_was_here == nil and undefined_name == nil)
    assert(string.format("%d-%s", 7, ("abc"):upper()) == "7-ABC" and table.concat({1, 2}, ",") == "1,2" and math.floor(1.5) == 1)
    assert(("x"):find("x") == 1 and #magpie.json.encode({}) == 2)
    return {user = e.user.id}
end)
"""

# Numbers and values that C might take for something else: each call in pcall; the shard must live, and the sum must
# come out.
EXTREMES = """
local huge = {0, -1, 1, 2^31 - 1, 2^31, -2^31, -2^31 - 1, 2^32, 2^53, -2^53, 2^63, -2^63, 2^64, 1e300, -1e300, 1/0, -1/0, 0/0, 0.5, "1", "x", "", {}, true}
local s, t, n = "abc", {1, 2, 3}, 0
local calls = {
    function(a, b) return s:sub(a, b) end, function(a, b) return s:byte(a, b) end, function(a, b) return s:find("b", a, b) end, function(a, b) return s:match("b", a) end,
    function(a, b) return string.char(a, b) end, function(a, b) return s:gsub("b", "x", a) end, function(a) return (""):rep(a) end, function(a, b) return string.format("%d %x %c %5.2f %s", a, a, a, a, a) end,
    function(a, b) return string.format("%" .. tostring(a) .. "d", b) end, function(a, b) return string.format("%." .. tostring(a) .. "f", b) end, function(a, b) return string.format("%q", a) end,
    function(a, b) return table.concat({1, 2, 3}, "", a, b) end, function(a, b) return table.insert({1, 2, 3}, a, b) end, function(a) return table.remove({1, 2, 3}, a) end,
    function(a, b) return unpack({1, 2, 3}, a, b) end, function(a, b) return select(a, 1, 2, 3) end, function(a, b) return tonumber(a, b) end, function(a, b) return tonumber("z", b) end,
    function(a, b) return math.random(a, b) end, function(a, b) return math.random(a) end, function(a, b) return math.floor(a), math.fmod(a, b), math.ldexp(a, b), math.pow(a, b) end,
    function(a, b) return bit.lshift(a, b), bit.tobit(a), bit.rol(a, b), bit.tohex(a, b) end, function(a, b) return bit.tohex(1, a) end, function(a, b) return rawset({}, a, b) end, function(a, b) return ({})[a] end,
    function(a, b) return magpie.bucket("k", a, b) end, function(a, b) return magpie.bucket("k2", 1, 1, a) end, function(a, b) return magpie.bucket(a, b, 1) end,
    function(a, b) return magpie.kv.set("k", a, b) end, function(a, b) return magpie.kv.incr("n", a, b) end, function(a, b) return magpie.kv.get(a) end, function(a, b) return magpie.kv.del(a) end,
    function(a, b) return magpie.shared.set(a, b) end, function(a, b) return magpie.shared.incr("n", a, b) end, function(a, b) return magpie.cancel(a) end, function(a, b) return magpie.cancel(magpie.after(a, function() end)) end,
    function(a, b) return magpie.cancel(magpie.every(a, function() end)) end, function(a, b) return magpie.metric("m", a) end, function(a, b) return magpie.metric(a, b) end,
    function(a, b) return magpie.log(a, b) end, function(a, b) return magpie.log("debug", "x", {[a] = b}) end, function(a, b) return magpie.log("debug", a, b) end, function(a, b) return magpie.json.encode(a) end, function(a, b) return magpie.json.encode({[a] = b}) end,
    function(a, b) return magpie.json.decode(a) end, function(a, b) return magpie.text.split(a, b) end, function(a, b) return magpie.text.split("a,b", ",", a) end, function(a, b) return magpie.text.starts(a, b) end,
    function(a, b) return magpie.text.contains("abc", a) end, function(a, b) return magpie.reject(a, b, a) end, function(a, b) return magpie.reject("rate_limited", "x", a) end, function(a, b) return magpie.push{mode = a, slice_ms = b, max = a} end,
    function(a, b) return magpie.push{mode = "all", slice_ms = a, max = b} end, function(a, b) return magpie.keep{ttl = a, max = b} end, function(a, b) return magpie.tier(a) end, function(a, b) return magpie.accept(a) end,
    function(a, b) return magpie.accept{id = a, name = b} end, function(a, b) return magpie.config(a) end, function(a, b) return magpie.send_user(a, b) end, function(a, b) return magpie.send_channel(a, b) end,
    function(a, b) return magpie.push(a, b, {}) end, function(a, b) return magpie.push(e.user.id, a, b) end, function(a, b) return magpie.kick(a, b) end, function(a, b) return magpie.announce(a) end,
    function(a, b) return magpie.action(a, b) end, function(a, b) return magpie.on(a, b) end, function(a, b) return magpie.command(a, b, error) end, function(a, b) return magpie.after(a, b) end,
}
local c = calls[e.body.n]
if not c then return {done = true} end
for _, a in ipairs(huge) do for _, b in ipairs(huge) do pcall(c, a, b) end end
return {done = false}
"""


def script(number, code):
    return 'local magpie = require "magpie"\nmagpie.action(%d, function(e)\n%s\nend)\n' % (number, code)


class Attacks(Test):
    abstract = True
    scripts = {}
    victim = VICTIM

    @classmethod
    def setUpClass(cls):
        cls.server = Server(start=False)
        folder = os.path.join(cls.server.folder, "scripts")
        os.mkdir(folder)
        cls.number, load = {}, ["victim"]
        with open(os.path.join(folder, "victim.lua"), "w") as f:
            f.write(cls.victim)
        for i, (name, code) in enumerate(cls.scripts.items()):
            cls.number[name] = 200 + i
            load.append("a%d" % i)
            with open(os.path.join(folder, "a%d.lua" % i), "w") as f:
                f.write(script(200 + i, code))
        cls.server.config = {"threads": 1,
                             "scripts": {"path": folder, "load": load, "budget_ms": 5, "memory": 64 << 20},
                             "console": {"password": "plant-the-password"}}
        cls.server.start()

    def victim_is_well(self, a):
        self.assertEqual(a.request(999), {"user": a.id})


class Stopped(Attacks):
    """At most 31 of them a server, and one victim."""

    abstract = True

    def test_each(self):
        a, bystander = self.user("Ada"), self.user("Bob")
        for name, number in self.number.items():
            with self.subTest(attack=name):
                seq = a.send(number)
                asked, before = bystander.send(PING), time.monotonic()
                bystander.answer(PING, asked)
                answer = a.answer(number, seq)
                took = time.monotonic() - before
                self.assertEqual(answer.get("error", {}).get("code"), "internal", str(answer)[:200])
                self.assertNotIn("lua", answer["error"]["message"], "no insides for clients")
                self.assertLess(took, 3 * PATIENCE)
                self.victim_is_well(a)
        room = self.channel(a, bystander)
        a.say(room, "all is well")
        self.assertEqual(bystander.push(102)["content"], "all is well")
        log = self.server.log()
        self.assertRegex(log, r"script.error .*a\d+\.lua:\d")
        self.assertNotIn("\x1b", log)
        self.assertNotIn("\n20 fake", log)


for part in range(0, len(STOPPED), 31):
    name = "Stopped_%d" % (part // 31 + 1)
    globals()[name] = type(name, (Stopped,),
                           {"abstract": False, "__module__": __name__,
                            "scripts": dict(list(STOPPED.items())[part:part + 31])})


class Again(Attacks):
    abstract = False
    scripts = {"loop": "while true do end"}

    def test_again_and_again(self):
        """One that always fails is left out for a while, and the others go on."""
        a = self.user("Ada")
        for _ in range(30):
            self.assertEqual(a.ask(self.number["loop"])["error"]["code"], "internal")
        self.assertIn("script.breaker", self.server.log())
        self.victim_is_well(a)


class Absent(Attacks):
    abstract = False
    scripts = ABSENT

    def test_each(self):
        a = self.user("Ada")
        for name, number in self.number.items():
            with self.subTest(attack=name):
                self.assertEqual(a.request(number), {"good": True})


class Poison(Attacks):
    abstract = False
    scripts = POISON

    def test_each(self):
        a = self.user("Ada")
        for name, number in self.number.items():
            with self.subTest(attack=name):
                for _ in range(2):
                    a.ask(number)
                self.victim_is_well(a)
                self.assertEqual(a.ask(number).get("error", {}).get("code", "internal"), "internal")
        b = self.user("Bob")
        room = self.channel(a, b)
        a.say(room, "still me")
        self.assertEqual(b.push(102)["sender"]["id"], a.id)


class Extremes(Attacks):
    abstract = False
    scripts = {"extremes": EXTREMES}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.rewrite({"scripts": {"budget_ms": 2000 if SANITIZED else 500}})
        cls.server.reload()

    def test_each(self):
        a, n = self.user("Ada"), 1
        while True:
            answer = a.ask(200, n=n)
            if answer.get("done"):
                break
            if "error" in answer:
                self.assertEqual(answer["error"]["code"], "internal", "call %d: %s" % (n, answer))
            n += 1
            self.victim_is_well(a)
        self.assertGreater(n, 60)


class Hooks(Test):
    """Hooks that return, set and do what they should not."""

    SCRIPT = """
local magpie = require "magpie"
local act = {
    number = function(e) e.content = 5 end, empty = function(e) e.content = "" end, bad = function(e) e.content = "\\255" end, long = function(e) e.content = ("x"):rep(1e6) end,
    zero = function(e) e.content = "a\\0b" end, gone = function(e) e.content = nil end, code = function() return magpie.reject("no_such_code") end, text = function() return "text" end,
    yes = function() return true end, table = function() return {} end, fun = function() return print end, message = function() return magpie.reject("forbidden", "\\27[2J\\255") end,
    endless = function() while true do end end, oops = function() error("oops") end, many = function() return 1, 2, 3, 4, 5 end, yield = function() coroutine.yield() end,
    fake = function() return setmetatable({}, getmetatable(magpie.drop())) end, user = function(e) e.user = {id = "system", name = "system"} end, channel = function(e) e.channel = "elsewhere" end,
}
magpie.on("message", function(e)
    local f = act[e.content]
    if f then return f(e) end
end, {channel = "open*", fail = "open"})
magpie.on("message", function(e)
    local f = act[e.content]
    if f then return f(e) end
end, {channel = "closed*", fail = "closed"})
magpie.on("conversation", function(e)
    if e.content == "advice" then return magpie.push{mode = "all", slice_ms = 60000, max = 0}, magpie.keep{ttl = 1e9, max = 1}, magpie.tier("large") end
end)
magpie.on("delivered", function(e)
    if e.channel == "echo" then magpie.send_channel("echo", "again " .. e.content) end
end)
"""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(start=False)
        folder = os.path.join(cls.server.folder, "scripts")
        os.mkdir(folder)
        with open(os.path.join(folder, "hooks.lua"), "w") as f:
            f.write(cls.SCRIPT)
        cls.server.config = {"scripts": {"path": folder, "load": ["hooks"], "budget_ms": 5}}
        cls.server.start()

    NAMES = ("number empty bad long zero gone code text yes table fun message endless oops many yield fake user "
             "channel").split()

    def test_verdicts(self):
        for kind in ("open", "closed"):
            for name in self.NAMES:
                with self.subTest(kind=kind, name=name):
                    a, b = self.users("Ada", "Bob")
                    room = "%s-%s" % (kind, name)
                    a.subscribe(room), b.subscribe(room)
                    answer = a.ask(SEND_CHANNEL, channel=room, content=name)
                    code = answer.get("error", {}).get("code")
                    self.assertIn(code, (None, "internal", "forbidden", "too_large", "bad_request"))
                    if name in ("endless", "oops", "text", "yield", "code"):
                        self.assertEqual(code, None if kind == "open" else "internal")
                    if code is None and answer["seq"]:
                        push = b.push(102)
                        self.assertEqual((push["channel"], push["sender"]["id"]), (room, a.id))
                        self.assertTrue(1 <= len(push["content"].encode()) <= 16384)
                    b.request(PING)

    def test_advice_without_reason(self):
        a, b = self.users("Ada", "Bob")
        room = self.channel(a, b)
        a.say(room, "before")
        a.say(room, "advice")
        b.push(102)
        b.request(PING)

    def test_a_hook_that_answers_itself(self):
        """A script that sends whenever something was sent does not end; the server goes on beside it, and it is bounded
        by the script's own limit."""
        a, b = self.users("Ada", "Bob")
        a.subscribe("echo", push="none")
        a.say("echo", "begin")
        time.sleep(1)
        for n in range(20):
            a.tell(b, str(n))
            self.assertEqual(b.push(101)["content"], str(n))
        first = a.history("echo", limit=1)["last"]
        time.sleep(1)
        self.assertLess(a.history("echo", limit=1)["last"] - first, 5000 * PATIENCE)
