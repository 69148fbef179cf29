"""Scripts in the real server: events, actions, sending, timers, reload, what a bad one may not do."""

import os
import shutil
import signal
import tempfile
import time

from base import Test, one_process, smoke, variants
from client import (ANNOUNCEMENT, CHANNEL_MESSAGE, EDIT, LOGIN, MERGED, PRESENCE, SEND_CHANNEL, SEND_USER, SUBSCRIBE,
                    USER_MESSAGE)
from plugin_base import Console

HEAD = 'local magpie = require "magpie"\n'


class Scripted(Test):
    """A server whose scripts are the class's `files` (name → text), loaded in their order."""

    abstract = True
    files = {}
    shipped = ()

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="magpie-scripts-")
        for name, text in cls.files.items():
            cls.write(name, text)
        cls.config = dict(cls.config, scripts=dict({"path": cls.folder, "load": list(cls.shipped) + list(cls.files)},
                                                   **cls.config.get("scripts", {})))
        cls.config["listen"] = {"console": "127.0.0.1:0"}
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        try:
            super().tearDownClass()
        finally:
            shutil.rmtree(cls.folder, ignore_errors=True)

    @classmethod
    def write(cls, name, text):
        """At once, so that no reload reads a half of it."""
        path = os.path.join(cls.folder, name + ".lua")
        with open(path + ".new", "w") as f:
            f.write(HEAD + text)
        os.replace(path + ".new", path)


EVENTS = """
magpie.on("message", function(e)
    if e.content == "rude" then return magpie.reject("forbidden", "be nice") end
    if e.content == "lost" then return magpie.drop() end
    if e.content == "slow" then return magpie.reject("rate_limited", "slow down", 700) end
    if e.content == "shout" then e.content = e.user.name:upper() .. " SHOUTS" end
end)
magpie.on("conversation", function(e)
    if e.content == "nobody sees" then return magpie.push{mode = "none"} end
    if e.content == "vanish" then return magpie.drop() end
    if e.content == "refused there" then return magpie.reject("unavailable", "not now") end
    if e.content == "short life" then return magpie.keep{ttl = 1} end
    if e.content == "fifty" then return magpie.keep{max = 50} end
end)
magpie.on("create", function(e) if e.channel:find("^no") then return magpie.reject("forbidden", "no such channels") end end)
magpie.on("subscribe", function(e) if e.channel == "vip" and e.user.name ~= "Ada" then return magpie.reject("forbidden", "vip only") end end)
magpie.on("history", function(e) if e.channel == "secret" then return magpie.reject("forbidden", "no history") end end)
magpie.on("presence", function(e) if e.user.name == "Nosy" then return magpie.reject("forbidden", "none of your business") end end)
magpie.on("login", function(e) if e.name == "Mallory" then return magpie.reject("forbidden", "go away") end end)
magpie.on("delivered", function(e)
    if e.content == "count me" then magpie.send_user(e.user.id, "seq " .. e.seq .. " of " .. e.channel .. ", " .. #e.id) end
end)
"""

ACTIONS = """
magpie.action(200, function(e) return {you = e.user, got = e.body, seq = e.seq} end)
magpie.action(201, function(e) magpie.push(e.body.to, 201, {from = e.user.id, n = 1}) end)
magpie.action(202, function(e) return {n = magpie.shared.incr("all"), here = magpie.kv.incr("here")} end)
magpie.action(203, function(e) magpie.kick(e.body.who, "because") return {} end)
magpie.action(204, function(e) magpie.announce(e.body.text) end)
magpie.action(205, function(e) return magpie.reject("quota", "enough") end)
magpie.action(206, function(e) error("oh no") end)
magpie.action(207, function(e) while true do end end)
magpie.action(208, function(e) local t = {} while true do t[#t + 1] = ("x"):rep(10000) .. #t end end)
magpie.action(209, function(e) return {empty = magpie.json.array{}, none = magpie.json.null, list = {1, 2}, map = {}} end)
magpie.action(210, function(e) while true do pcall(function() while true do end end) end end)
magpie.action(211, function(e) return {found = string.find(("a"):rep(50000), ".-.-.-.-b")} end)
magpie.action(212, function(e) magpie.after(50, function() magpie.push(e.user.id, 212, {late = true}) end) end)
magpie.action(213, function(e) magpie.metric("tea_cups_total", 3) return {} end)
magpie.action(214, function(e) magpie.send_channel(e.body.channel, "from the server") return {} end)
"""


@variants(("tcp", 1), ("text", 2))
class Events(Scripted):
    abstract = False
    files = {"events": EVENTS, "actions": ACTIONS}

    @smoke
    def test_messages(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        self.refused("forbidden", a, SEND_CHANNEL, channel=name, content="rude")
        e = self.refused("rate_limited", a, SEND_USER, receiverId=b.id, content="slow")
        self.assertEqual(e.retry_after, 700)
        for lost in ("lost", "vanish"):
            answer = a.say(name, lost)
            self.assertEqual((answer["seq"], len(answer["id"])), (0, 19))
        self.refused("unavailable", a, SEND_CHANNEL, channel=name, content="refused there")
        a.say(name, "shout")
        self.assertEqual(b.push(CHANNEL_MESSAGE)["content"], "ADA SHOUTS")
        self.assertEqual([m["content"] for m in b.history(name)["messages"]], ["ADA SHOUTS"])
        b.quiet(CHANNEL_MESSAGE)

    def test_push_and_keep(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a.say(name, "nobody sees")
        b.quiet(CHANNEL_MESSAGE)
        a.say(name, "everybody sees")
        self.assertEqual(b.push(CHANNEL_MESSAGE)["seq"], 2)
        a.say(name, "short life")
        self.assertEqual([m["seq"] for m in a.history(name)["messages"]], [1, 2, 3])
        self.eventually(lambda: [m["seq"] for m in a.history(name)["messages"]] == [1, 2])

    def test_what_was_hidden_stays_hidden(self):
        """A count that a script gives with some messages and not with others, a tier's that is lowered and raised, and
        restarts."""
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)

        def kept(first, last):
            self.assertEqual([m["seq"] for m in a.history(name, after=0, limit=200)["messages"]],
                             list(range(first, last + 1)))
            answer = b.history(name, limit=1)
            self.assertEqual((answer["first"], answer["last"], answer["more"]), (first, last, first < last))
            self.assertEqual([c["unread"] for c in b.request(10)["conversations"]], [last - first + 1])
            answer = b.subscribe(name)
            self.assertEqual((answer["first"], answer["seq"]), (first, last))

        for n in range(77):
            a.say(name, "fifty")
        kept(28, 77)
        a.say(name, "all")
        kept(28, 78)
        for n in range(10):
            a.say(name, "all" if n % 2 else "fifty")
        kept(38, 88)
        for most in (20, 60):
            self.server.rewrite({"tiers": {"small": {"max": most}}})
            self.server.reload()
            kept(69, 88)
        a.say(name, "all")
        kept(69, 89)
        for most in (10, 100):
            self.server.config = dict(self.server.config, tiers={"small": {"max": most}})
            self.server.restart()
            for c in (a, b):
                token = c.token
                c.close()
                c.__init__(self.server, self.wire)
                c.login(token=token)
            kept(80, 89)
        a.say(name, "fifty")
        kept(80, 90)

    def test_access(self):
        a, b = self.users("Ada", "Bob")
        self.refused("forbidden", a, SUBSCRIBE, name="nothing")
        a.subscribe("vip")
        self.assertIn("vip only", self.refused("forbidden", b, SUBSCRIBE, name="vip").message)
        a.subscribe("secret")
        self.refused("forbidden", a, 5, channel="secret")
        nosy = self.user("Nosy")
        self.refused("forbidden", nosy, PRESENCE, ids=[a.id])
        self.assertEqual(self.connect().error(LOGIN, name="Mallory").code, "forbidden")

    def test_delivered(self):
        a = self.user()
        name = self.channel(a)
        a.say(name, "count me")
        m = a.push(USER_MESSAGE)
        self.assertEqual((m["content"], m["sender"]["id"]), ("seq 1 of %s, 19" % name, "system"))

    def test_actions(self):
        a, b = self.users("Ada", "Bob")
        answer = a.request(200, x=[1, {"y": None}], s="é")
        self.assertEqual(answer["you"], {"id": a.id, "name": "Ada"})
        self.assertEqual(answer["got"], {"x": [1, {}], "s": "é"})
        a.request(201, to=b.id)
        self.assertEqual(b.push(201), {"from": a.id, "n": 1})
        # A script takes the whole body, and its numbers are doubles: none may be another than was sent.
        self.assertIn("out of range", self.refused("bad_request", a, 200, x=[9007199254740993]).message)
        self.assertEqual(a.request(200, x=9007199254740991)["got"], {"x": 9007199254740991})
        self.refused("quota", a, 205)
        self.refused("unknown_action", a, 299)
        self.assertEqual(a.request(209), {"empty": [], "none": None, "list": [1, 2], "map": {}})
        self.assertEqual(a.request(212), {})
        self.assertEqual(a.push(212), {"late": True})
        self.assertEqual(self.connect().error(200).code, "unauthorized")

    def test_what_a_bad_one_costs(self):
        """The request, and nothing else."""
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        for action, said in ((206, "actions.lua:9: oh no"), (207, "over its CPU budget"), (208, "action 208"),
                             (210, "over its CPU budget"), (211, "over its CPU budget")):
            began = time.monotonic()
            self.refused("internal", a, action)
            self.assertLess(time.monotonic() - began, 5)
            self.server.wait_log(said)
            a.say(name, "still here")
            self.assertEqual(b.push(CHANNEL_MESSAGE)["content"], "still here")

    @one_process("magpie.shared is of one node")
    def test_shared_is_one_for_all_shards(self):
        users = [self.user("U%d" % i) for i in range(8)]
        before = users[0].request(202)["n"]
        for u in users:
            answer = u.request(202)
        self.assertEqual(answer["n"], before + 8)

    def test_kick_and_announce(self):
        a, b = self.users("Ada", "Bob")
        a.request(204, text="hear, hear")
        for c in (a, b):
            self.assertEqual(c.push(ANNOUNCEMENT)["content"], "hear, hear")
        a.request(203, who=b.id)
        self.assertEqual(b.closing(), dict(reason="kicked", message="because"))

    def test_send_channel(self):
        a = self.user()
        name = self.channel(a)
        a.request(214, channel=name)
        m = a.push(CHANNEL_MESSAGE)
        self.assertEqual((m["content"], m["sender"]["id"], m["seq"]), ("from the server", "system", 1))


@one_process("scripts of one process")
class Commands(Scripted):
    abstract = False
    files = {"one": 'magpie.action(200, function() magpie.metric("cups_total", 3) return {n = 1} end)\n'
                    'magpie.command("greet", "says hello", function(args) if args[1] == "bad" then error("oh") end '
                    'return {hello = args[1] or "world"} end)\n'}
    shipped = ("ratelimit",)

    def setUp(self):
        super().setUp()
        self.console = Console(self.server)

    def tearDown(self):
        self.console.close()
        super().tearDown()

    def test_list(self):
        a = self.user()
        a.request(200)
        rows = {r["name"]: r for r in self.console("script list")}
        self.assertEqual(sorted(rows), ["one", "ratelimit"])
        self.assertEqual((rows["one"]["state"], rows["one"]["actions"], rows["one"]["commands"], rows["one"]["errors"]),
                         ("loaded", 1, 1, rows["one"]["errors"]))
        self.assertGreater(rows["one"]["calls"], 0)
        self.assertGreater(rows["one"]["memory"], 10000)

    def test_command(self):
        self.assertEqual(self.console("greet Ada"), {"hello": "Ada"})
        self.assertEqual(self.console("greet"), {"hello": "world"})
        with self.assertRaises(AssertionError) as caught:
            self.console("greet bad")
        self.assertIn("oh", str(caught.exception))
        self.assertEqual(self.console("greet again"), {"hello": "again"})

    def test_figures_of_few_calls(self):
        """The time that is told is at most what the server has used: a call counts once."""
        self.write("one", 'magpie.on("message", function(e) while e.content == "go" do end end)')
        self.console("script reload")
        a, b = self.users("Ada", "Bob")
        with open("/proc/%d/stat" % self.server.process.pid) as f:
            before = sum(int(n) for n in f.read().split()[13:15])
        was = {r["name"]: r for r in self.console("script list")}["one"]
        for _ in range(6):
            a.tell(b, "go")
        row = {r["name"]: r for r in self.console("script list")}["one"]
        with open("/proc/%d/stat" % self.server.process.pid) as f:
            used_ms = (sum(int(n) for n in f.read().split()[13:15]) - before) * 1000 / os.sysconf("SC_CLK_TCK")
        self.assertEqual((row["calls"] - was["calls"], row["kills"] - was["kills"]), (6, 6))
        self.assertLessEqual(row["cpu_ms"] - was["cpu_ms"], used_ms + 20)
        self.assertGreaterEqual(row["cpu_ms"] - was["cpu_ms"], 6 * 5)
        self.write("one", self.files["one"])
        self.console("script reload")

    def test_commands_take_nothing_away(self):
        """A script's command does not stand before a built-in one; it is told in the log, and the rest of the script
        works."""
        self.write("one", self.files["one"] +
                   'for _, name in ipairs{"shutdown now", "status", "list users", "kick user", "log all"} do\n'
                   'magpie.command(name, "mine", function() return "mine" end) end')
        self.console("script reload")
        for command in ("status", "list users", "log info"):
            self.assertNotEqual(self.console(command), "mine")
        log = self.server.log()
        for name in ("shutdown now", "status", "list users", "kick user", "log all"):
            self.assertRegex(log, "script.command .*%s" % name)
        self.assertNotIn("mine", " ".join(self.console.line("help")[1]))
        self.assertEqual(self.console("greet"), {"hello": "world"})
        self.console.refused("shutdown now")
        self.write("one", self.files["one"])
        self.console("script reload")

    def test_names_of_metrics(self):
        self.write("one", 'magpie.action(200, function(e) return {ok = pcall(magpie.metric, e.body.name, e.body.by)} '
                          'end)')
        self.console("script reload")
        a = self.user()
        for name in ("magpie_messages_total", "magpie_anything", "Bad", "1st", ""):
            self.assertEqual(a.request(200, name=name, by=1), {"ok": False})
        for _ in range(4):
            self.assertEqual(a.request(200, name="litres_total", by=0.25), {"ok": True})
        self.eventually(lambda: {m["name"]: m["value"] for m in self.console("show metrics")}.get("litres_total") == 1)
        self.write("one", self.files["one"])
        self.console("script reload")

    def test_metrics(self):
        a = self.user()
        a.request(200)
        self.eventually(lambda: "cups_total" in str(self.console("show metrics")))
        rows = {(m["name"], m["labels"]) for m in self.console("show metrics")}
        self.assertIn(("magpie_script_calls_total", 'script="one"'), rows)

    def test_reload_check_disable(self):
        a = self.user()
        self.assertEqual(self.console("script check"), "good")
        for _ in range(10):
            self.assertEqual(self.console("script reload"), "reloaded")
        self.write("one", "magpie.action(200, function() return {n = 2} end)\nlocal = 3")
        for command in ("script check", "script reload"):
            with self.assertRaises(AssertionError) as caught:
                self.console(command)
            self.assertIn("one.lua:3:", str(caught.exception))
        self.assertEqual(a.request(200)["n"], 1)
        self.write("one", "magpie.action(200, function() return {n = 2} end)")
        self.assertEqual(self.console("script reload"), "reloaded")
        self.assertEqual(a.request(200)["n"], 2, "what is answered is in force")
        self.assertEqual(self.console("script disable one"), "disabled")
        self.refused("unknown_action", a, 200)
        self.assertEqual({r["name"]: r["state"] for r in self.console("script list")}["one"], "disabled")
        self.assertEqual(self.console("script enable one"), "enabled")
        self.assertEqual(a.request(200)["n"], 2)
        with self.assertRaises(AssertionError):
            self.console("script disable nothing")
        self.write("one", self.files["one"])
        self.console("script reload")
        self.eventually(lambda: a.request(200)["n"] == 1)


class BadInput(Scripted):
    """A filter that does not bear some input: it stays on for everybody, whoever sends what."""

    abstract = False
    files = {"filter": """
magpie.on("message", function(e)
    if e.content == "bad" then error("did not expect that") end
    while e.content == "costly" do end
    if e.content:find("rude") then return magpie.reject("forbidden", "be nice") end
end)
magpie.action(200, function(e) if e.body.bad then error("did not expect that") end while e.body.costly do end return {n = 1} end)
"""}

    def test_errors(self):
        a, b = self.users("Ada", "Bob")
        for _ in range(50):
            a.tell(b, "bad")
        for client in (b, a):
            self.refused("forbidden", client, SEND_USER, receiverId=b.id, content="so rude")
        for _ in range(50):
            self.assertEqual(a.ask(200, bad=True)["error"]["code"], "internal")
        self.assertEqual((a.request(200), b.request(200)), ({"n": 1}, {"n": 1}))
        self.assertNotIn("caller=%s" % a.id, self.server.log())

    def test_costly(self):
        """Who holds the shard up again and again is refused, for a while; the filter stays on for others."""
        a, b = self.users("Ada", "Bob")
        for _ in range(10):
            a.tell(b, "costly")
        self.refused("forbidden", b, SEND_USER, receiverId=a.id, content="so rude")
        self.refused("internal", a, SEND_USER, receiverId=b.id, content="so rude")
        for _ in range(12):
            self.assertEqual(a.ask(200, costly=True)["error"]["code"], "internal")
        self.assertEqual(b.request(200), {"n": 1})
        self.assertRegex(self.server.log(), r"script\.breaker .*caller=%s" % a.id)


class CostlyTimers(Scripted):
    """Timers that fire once and never come to an end: they are switched off together, and others get their turns."""

    abstract = False
    files = {"policy": """
magpie.action(200, function()
    for _ = 1, 50 do magpie.after(1, function() while true do end end) end
    return {}
end)
"""}

    def test_once(self):
        a, b = self.users("Ada", "Bob")
        a.request(200)
        stopped = lambda: self.server.log().count("script.error script=policy in=timer")
        self.eventually(lambda: stopped() > 0)
        b.request(9)
        self.assertLess(stopped(), 50, "the ping was answered before all timers had run")
        self.server.wait_log("script.breaker script=policy in=timer")
        self.assertLess(stopped(), 20)
        b.request(9)


@one_process("scripts of one process")
class Reload(Scripted):
    abstract = False
    files = {"policy": 'local version = 1\nmagpie.action(200, function() return {version = version, calls = '
                       'magpie.kv.incr("calls"), all = magpie.shared.incr("all")} end)\n'
                       'magpie.every(50, function() magpie.shared.incr("ticks1") end)\n'
                       'magpie.action(201, function() return {one = magpie.shared.get("ticks1") or 0, two = '
                       'magpie.shared.get("ticks2") or 0} end)\n'}

    def test_hup(self):
        a, b = self.users("Ada", "Bob")
        first = a.request(200)
        self.assertEqual(first["version"], 1)
        # A mistake changes nothing, and is told with its line.
        self.write("policy", 'magpie.action(200, function() return {version = 9} end)\nmagpie.on("mesage", function() '
                             'end)')
        self.server.reload()
        self.server.wait_log("policy.lua:3: magpie.on: there is no event")
        self.assertEqual(a.request(200)["version"], 1)
        self.eventually(lambda: a.request(201)["one"] > 2)
        text = self.files["policy"].replace("version = 1", "version = 2").replace("ticks1\") end)\nm",
                                                                                  "ticks2\") end)\nm")
        self.write("policy", text)
        self.server.reload()
        self.eventually(lambda: a.request(200)["version"] == 2)
        after = a.request(200)
        self.assertGreater(after["all"], first["all"])
        self.assertGreater(after["calls"], first["calls"])
        # The old timers have ended, the new ones run: on one shard, so that there are some twenty ticks a second.
        self.eventually(lambda: a.request(201)["two"] > 2)
        ticks = a.request(201)
        time.sleep(0.3)
        self.assertEqual(a.request(201)["one"], ticks["one"])
        a.tell(b, "nobody noticed")
        self.assertEqual(b.push(USER_MESSAGE)["content"], "nobody noticed")

    def test_hups_in_a_row(self):
        """The last one counts, whatever was under way."""
        a = self.user()
        before = self.server.log().count("config.reload_failed")
        for version in range(10, 20):
            self.write("policy", self.files["policy"].replace("version = 1", "version = %d" % version))
            self.server.signal(signal.SIGHUP)
            time.sleep(0.001 * (version % 3))
        self.eventually(lambda: a.request(200)["version"] == 19)
        self.assertEqual(self.server.log().count("config.reload_failed"), before)
        self.write("policy", self.files["policy"])
        self.server.reload()
        self.eventually(lambda: a.request(200)["version"] == 1)

    def test_under_load(self):
        """Reloads while messages run lose and double nothing."""
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        for round in range(5):
            seqs = a.send_all([(SEND_CHANNEL, {"channel": name, "content": "%d-%d" % (round, i)}) for i in range(100)])
            self.server.reload()
            for seq in seqs:
                self.assertNotIn("error", a.answer(SEND_CHANNEL, seq))
        self.assertEqual([m["seq"] for m in b.pushes(CHANNEL_MESSAGE, 500)], list(range(1, 501)))


class LoginScript(Scripted):
    abstract = False
    config = {"auth": {"mode": "script"}}
    files = {"door": 'magpie.on("login", function(e)\n'
                     '  local id, role = (e.token or ""):match("^(%w+):(%w+)$")\n'
                     '  if not id then return magpie.reject("unauthorized", "no token of mine") end\n'
                     '  magpie.shared.set("role:" .. id, role)\n'
                     '  return magpie.accept{id = id, name = e.name or id}\n'
                     'end)\n'
                     'magpie.on("subscribe", function(e)\n'
                     '  if magpie.shared.get("role:" .. e.user.id) ~= "staff" then return magpie.reject("forbidden", '
                     '"staff only") end\n'
                     'end, {channel = "staff/*"})\n'}

    def enter(self, token, **body):
        c = self.connect()
        return c, c.request(LOGIN, token=token, **body)

    def test_claims(self):
        a, answer = self.enter("ada:staff", name="Ada")
        self.assertEqual((answer["id"], answer["name"]), ("ada", "Ada"))
        b, answer = self.enter("bob:guest")
        self.assertEqual((answer["id"], answer["name"]), ("bob", "bob"))
        self.assertEqual(self.connect().error(LOGIN, token="nonsense").code, "unauthorized")
        self.assertEqual(self.connect().error(LOGIN, name="Eve").code, "unauthorized")
        # the id is the name, and that is the server's own
        self.assertEqual(self.connect().error(LOGIN, token="System:guest").code, "forbidden")
        a.subscribe("staff/kitchen")
        self.refused("forbidden", b, SUBSCRIBE, name="staff/kitchen")
        a.say("staff/kitchen", "soup")
        a.tell("bob", "hello")
        self.assertEqual(b.push(USER_MESSAGE)["sender"], {"id": "ada", "name": "Ada"})

    def test_restored(self):
        """A stored subscription passes the hook at login: who is staff no more is out, and in again later."""
        a, _ = self.enter("cleo:staff")
        a.subscribe("staff/garden")
        a.close()

        def login(role):
            c, _ = self.enter("cleo:" + role)
            return c, "error" not in c.ask(SEND_CHANNEL, channel="staff/garden", content="x")

        def back_as(role, expected):
            c, may = login(role)
            c.close()
            return may == expected

        self.eventually(lambda: back_as("guest", False), every=0.3)
        self.eventually(lambda: back_as("staff", True), every=0.3)


class Merge(Scripted):
    """The shipped policies decide, by their own numbers."""

    abstract = False
    config = {"rate": {"user": 0, "channel": 5, "policy": "complete"}, "push": {"slice_ms": 300, "max": 3},
              "tiers": {"large": {"members": 3}}}
    shipped = ("ratelimit", "merge_push", "tiered_expiry")

    def test_complete(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        seqs = a.send_all([(SEND_CHANNEL, {"channel": name, "content": str(i)}) for i in range(40)])
        for seq in seqs:
            self.assertNotIn("error", a.answer(SEND_CHANNEL, seq))
        got = [m["seq"] for m in (f[2] for f in b.drain(1.0)) if "seq" in m]
        self.assertLess(len(got), 25)
        self.assertEqual(got[-1], 40)
        self.assertEqual(got, sorted(set(got)))

    def test_large(self):
        users = [self.user("U%d" % i, accept=["merge"]) for i in range(3)]
        name = self.channel(*users)
        self.assertEqual(users[0].subscribe(name)["tier"], "large")
        users[0].say(name, "one")
        users[0].say(name, "two")
        m = users[1].push(MERGED)
        self.assertEqual([x["content"] for x in m["messages"]][:1], ["one"])


class NotThere(Test):
    """Started where there are no scripts, with the default config: the shipped ones are in the binary."""

    config = {"scripts": {"path": "nowhere"}}

    def test_works(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a.say(name, "hello")
        self.assertEqual(b.push(CHANNEL_MESSAGE)["content"], "hello")
        self.assertIn("script.shipped", self.server.log())


CLAIMS = """
magpie.on("login", function(e)
    return magpie.accept{id = e.name:lower(), name = e.name, claims = e.name == "Mod" and {role = "mod", of = {"tea"}} or nil}
end)
local function role(e) return e.user.claims.role or "none" end
magpie.action(200, function(e) return {role = role(e), of = e.user.claims.of} end)
magpie.on("message", function(e) if e.content:find("^!") and role(e) ~= "mod" then return magpie.reject("forbidden", role(e)) end end)
magpie.on("conversation", function(e) if e.content == "?" then return magpie.reject("forbidden", "conversation " .. role(e)) end end)
magpie.on("subscribe", function(e) if e.channel == "mods" and role(e) ~= "mod" then return magpie.reject("forbidden", role(e)) end end)
magpie.on("history", function(e) return magpie.reject("forbidden", "history " .. role(e)) end)
magpie.on("delivered", function(e) if e.content == "tell" then magpie.push(e.user.id, 201, {role = role(e)}) end end)
magpie.on("offline", function(e) magpie.push(e.user.id, 203, {role = role(e)}) end)
magpie.on("edited", function(e) magpie.push(e.user.id, 204, {role = role(e)}) end)
magpie.on("edit", function(e) if e.content == "?" then return magpie.reject("forbidden", "edit " .. role(e)) end end)
magpie.on("logged_in", function(e) magpie.push(e.user.id, 202, {role = role(e)}) end)
"""


@variants(("tcp", 2), ("text", 3))
class Claims(Scripted):
    abstract = False
    files = {"claims": CLAIMS}
    config = {"auth": {"mode": "script"}}

    def test_wherever_there_is_a_user(self):
        mod, user = self.users("Mod", "User", token="whatever it is")
        gone = self.user("Gone", token="whatever it is")
        self.channel(mod, gone)
        gone.close()
        self.eventually(lambda: not mod.request(PRESENCE, ids=[gone.id])["online"])
        for c, role in ((mod, "mod"), (user, "none")):
            self.assertEqual(c.push(202), {"role": role})
            self.assertEqual(c.request(200).get("role"), role)
            name = self.channel(c)
            c.say(name, "tell")
            self.assertEqual(c.push(201), {"role": role})
            self.assertEqual(self.refused("forbidden", c, SEND_CHANNEL, channel=name, content="?").message,
                             "conversation " + role)
            self.assertEqual(self.refused("forbidden", c, 5, channel=name).message, "history " + role)
            self.assertEqual(self.refused("forbidden", c, EDIT, channel=name, seq=1, content="?").message,
                             "edit " + role)
            c.request(EDIT, channel=name, seq=1, content="edited")
            self.assertEqual(c.push(204), {"role": role})
            c.tell(gone, "anybody there?")
            self.assertEqual(c.push(203), {"role": role})
        self.assertEqual(mod.request(200)["of"], ["tea"])
        mod.say(self.channel(mod), "!order")
        self.refused("forbidden", user, SEND_CHANNEL, channel=self.channel(user), content="!order")
        mod.subscribe("mods")
        self.refused("forbidden", user, SUBSCRIBE, name="mods")
        self.server.restart()  # restored at login, by the claims of that login
        again = self.user("Mod", token="whatever it is")
        again.say("mods", "still here")
