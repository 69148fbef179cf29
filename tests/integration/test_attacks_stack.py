"""Scripts that use up the C stack: Lua that calls C that calls Lua, through every function and metamethod that can, in
coroutines, in pcall, in hooks, actions, timers, commands, at the top of a file, at a reload, in tests of scripts.
Whatever they do, the server is there afterwards, and soon."""

import os
import shutil
import subprocess
import tempfile
import time
import unittest

from base import Test, embedded, one_process
from client import PING, SEND_CHANNEL
from plugin_base import Console
from server import MAGPIED, PATIENCE, SANITIZED

# Each calls f by way of a function or a metamethod.
CALLS = {
    "pcall": "pcall(f)",
    "xpcall": "xpcall(f, error)",
    "handler": "xpcall(error, f)",
    "tostring": "tostring(shown(f))",
    "format": "string.format('%s', shown(f))",
    "format of many": "string.format('%s%s%s', 1, shown(f), shown(f))",
    "print": "print(shown(f))",
    "gsub": "string.gsub('a', 'a', f)",
    "gsub of a table": "string.gsub('a', 'a', indexed(f))",
    "sort": "table.sort({2, 1}, f)",
    "sort by __lt": "local m = {__lt = f} table.sort({setmetatable({}, m), setmetatable({}, m)})",
    "resume": "coroutine.resume(coroutine.create(f))",
    "wrap": "coroutine.wrap(f)()",
    "__index": "return indexed(f).x",
    "__newindex": "with('__newindex', f).x = 1",
    "__call": "with('__call', f)()",
    "__concat": "return with('__concat', f) .. 'x'",
    "__eq": "local m = {__eq = f} return setmetatable({}, m) == setmetatable({}, m)",
    "__le": "return with('__le', f) <= 1",
    "__unm": "return -with('__unm', f)",
    "iterator": "for _ in f do break end",
    "push": "magpie.push(indexed(f))",
    "keep": "magpie.keep(indexed(f))",
    "accept": "magpie.accept(indexed(f))",
    "after": "magpie.cancel(magpie.after(1, f, indexed(f)))",
    "every": "magpie.cancel(magpie.every(10, f, indexed(f)))",
    "log": "magpie.log('debug', 'x', {x = shown(f), y = indexed(f)})",
    "encode": "magpie.json.encode(setmetatable({1}, {__index = f, __len = f, __pairs = f, __tostring = f}))",
    "error": "error(shown(f))",
}
WAYS = {
    "plain": "local function f() call(f) return 'x' end f()",
    "coroutines": "local function f() coroutine.wrap(function() call(f) end)() return 'x' end f()",
    "coroutines now and then": "local n = 0 local function f() n = n + 1 if n % 100 > 0 then call(f) else "
                               "coroutine.wrap(call)(f) end return 'x' end f()",
    "pcall": "local function f() pcall(call, f) pcall(call, f) return 'x' end while true do f() end",
}
# The way that only ends when the budget does: a second each while scripts load.
SLOW = "pcall"

HEAD = """local magpie = require 'magpie'
local function with(name, f) return setmetatable({}, {[name] = f}) end
local function shown(f) return with('__tostring', function() f() return 'x' end) end
local function indexed(f) return with('__index', function() return f() end) end
"""


def attack(call, way):
    return "local function call(f) %s end %s" % (CALLS[call], WAYS[way])


TABLE = HEAD + "local attacks = {\n" + "".join(
    "[%d] = function() %s end,\n" % (n, attack(call, way)) for n, (call, way) in enumerate((c, w) for c in CALLS for w in WAYS)) + """}
magpie.action(200, function(e) attacks[e.body.n]() return {} end)
magpie.on("message", function(e) local n = tonumber(e.content) if n then attacks[n]() end end)
magpie.on("delivered", function(e) local n = tonumber(e.content) if n then magpie.after(0, attacks[n]) end end)
magpie.command("attack", "one of them", function(words) attacks[tonumber(words[1])]() return "survived" end)
"""


@unittest.skipIf(SANITIZED == "tsan", "it takes C functions that an error leaves for ones that still run, and has room "
                                      "for 65536 a thread")
@one_process("one interpreter's stack")
class Stack(Test):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="magpie-stack-")
        cls.write("attacks", TABLE)
        cls.write("target", "require('magpie').action(300, function() return {generation = 1} end)")
        cls.config = {"threads": 1, "listen": {"console": "127.0.0.1:0"},
                      "scripts": {"path": cls.folder, "load": ["attacks", "target"], "budget_ms": 5,
                                  "memory": 24 << 20}}
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        try:
            super().tearDownClass()
        finally:
            shutil.rmtree(cls.folder, ignore_errors=True)

    @classmethod
    def write(cls, name, text):
        with open(os.path.join(cls.folder, name + ".lua.new"), "w") as f:
            f.write(text)
        os.replace(os.path.join(cls.folder, name + ".lua.new"), os.path.join(cls.folder, name + ".lua"))

    def test_actions(self):
        """Each by each, while somebody else waits for the same shard."""
        bystander = self.user("Bob")
        for n in range(len(CALLS) * len(WAYS)):
            if n % 8 == 0:
                a = self.user("Ada")        # who is stopped ten times is not served for a while
            seq, asked, began = a.send(200, n=n), bystander.send(PING), time.monotonic()
            bystander.answer(PING, asked)
            self.assertLess(time.monotonic() - began, 3 * PATIENCE)
            self.assertIn(a.answer(200, seq).get("error", {}).get("code"), (None, "internal"))
        self.assertEqual(a.request(300), {"generation": 1})

    def test_hooks_and_timers(self):
        room = self.channel(self.user("Eve"))
        for call in ("format", "gsub of a table", "sort by __lt", "handler", "push", "__index"):
            a = self.user("Ada")
            a.subscribe(room)
            for way in range(len(WAYS)):
                a.request(SEND_CHANNEL, channel=room, content=str(list(CALLS).index(call) * len(WAYS) + way))
                a.request(PING)
        self.assertEqual(a.request(300), {"generation": 1})

    def test_commands(self):
        console = Console(self.server)
        for n in range(0, len(CALLS) * len(WAYS), 3):
            console.line("attack %d" % n)
        self.assertIn("OK", console.line("status")[0])
        console.close()

    def test_reload(self):
        """What a file does at its top while the server runs on."""
        a = self.user("Ada")
        for call, way in (("format", "coroutines now and then"), ("push", "coroutines"), ("gsub", "plain"),
                          ("format", SLOW)):
            self.write("target", HEAD + attack(call, way) + " error('survived')")
            self.server.reload()
            self.assertEqual(a.request(300), {"generation": 1}, "the old one stays")
        self.write("target", "require('magpie').action(300, function() return {generation = 2} end)")
        self.server.reload()
        self.eventually(lambda: a.request(300) == {"generation": 2})
        self.write("target", "require('magpie').action(300, function() return {generation = 1} end)")
        self.server.reload()
        self.eventually(lambda: a.request(300) == {"generation": 1})


@embedded("runs no server")
class TopOfTheFile(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="magpie-stack-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def magpied(self, *arguments, shell=""):
        command = [MAGPIED, *arguments] if not shell else ["bash", "-c", "%s && exec \"$0\" \"$@\"" % shell, MAGPIED,
                                                           *arguments]
        r = subprocess.run(command, capture_output=True, text=True, timeout=120 * PATIENCE, cwd=self.folder)
        return r.returncode, r.stdout + r.stderr

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w") as f:
            f.write(text)

    def check(self, files, shell=""):
        for name, text in files.items():
            self.write(name + ".lua", text)
        self.write("c.lua", "return { scripts = { path = '.', load = { %s } } }" % ", ".join("'%s'" % n for n in files))
        return self.magpied("-t", "-c", "c.lua", shell=shell)

    def test_check(self):
        pairs = [(c, w) for c in CALLS for w in WAYS if w != SLOW] + [("format", SLOW), ("gsub", SLOW)]
        for part in range(0, len(pairs), 30):
            files = {"s%d" % n: HEAD + attack(*pair) + " error('survived')"
                     for n, pair in enumerate(pairs[part:part + 30])}
            status, output = self.check(files)
            self.assertEqual(status, 1, output)
            for name in files:
                self.assertRegex(output, r"\b%s\.lua:|\b%s:" % (name, name))

    def test_little_stack(self):
        """As much as `ulimit -s` leaves: an error, never a crash."""
        files = {"s": HEAD + attack("format", "coroutines") + " error('survived')"}
        for size in (8192, 1024, 512, 256):
            status, output = self.check(files, shell="ulimit -s %d" % size)
            self.assertEqual(status, 1, output)
            self.assertRegex(output, "s.lua:.*(too many functions|too little stack)")

    def test_tests_of_scripts(self):
        for call in CALLS:
            self.write("s.lua", HEAD + "magpie.on('message', function(e) %s end)" % attack(call, "coroutines"))
            self.write("s_test.lua", HEAD + "local test = require 'test'\ntest.case('x', function()\n"
                       "for _ = 1, 5 do test.load('s'):fire('message', {user = 'ada', channel = 'tea', content = 'x'}) "
                       "end\n"
                       "%s end)" % attack(call, "coroutines now and then"))
            status, output = self.magpied("--run-script-tests", self.folder)
            self.assertIn(status, (0, 1), "%s: %s" % (call, output))
            self.assertRegex(output, r"\d passed, \d failed")
