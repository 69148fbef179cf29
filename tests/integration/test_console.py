"""The console: its protocol, its commands, and what they do to clients."""

import json
import os
import socket
import stat
import time

from base import Test, embedded, one_process, smoke
from client import ANNOUNCEMENT, CHANNEL_MESSAGE, USER_MESSAGE
from console import UNIX, Console, ConsoleTest
from server import CLUSTER, PATIENCE, Server


class Protocol(ConsoleTest):
    abstract = False

    @smoke
    def test_replies(self):
        self.assertEqual(self.ask("version").split("\n")[0], "name: magpied")
        self.assertEqual(self.json("version")["name"], "magpied")
        status, body = self.console.raw("version 1 2")
        self.assertEqual((status, body), ("ERR bad_request usage: version", []))
        status, body = self.console.raw("json show user nobody")
        self.assertEqual(status, "ERR not_found there is no such user")
        self.assertEqual(json.loads("\n".join(body)),
                         {"error": {"code": "not_found", "message": "there is no such user"}})

    def test_many_lines_at_once(self):
        self.console.send("version\r\n\n  \nstatus\njson version\n")
        self.assertEqual([self.console.reply()[0] for _ in range(3)], ["OK"] * 3)

    def test_unknown_words(self):
        self.assertIn("did you mean list users?", self.denied("bad_request", "list usres"))
        self.assertIn("did you mean status?", self.denied("bad_request", "statsu"))
        self.denied("bad_request", "xyzzy")
        self.denied("not_found", "help xyzzy")

    def test_quotes(self):
        a = self.user("Ada")
        a.subscribe('two "words" here')
        a.subscribe("\u00fc\U0001f600")
        self.assertEqual(self.json(r'show channel "two \"words\" here"')["members"], 1)
        self.assertEqual(self.json(r'show channel "\u00fc\ud83d\ude00"')["members"], 1)
        for wrong in ('show channel "open', 'show channel a"b', r'show channel "\q"', r'show channel "\u12"',
                      r'show channel "\ud83d"', r'show channel "\u0000"',
                      'show channel "a"b'):
            self.denied("bad_request", wrong)

    def test_bad_lines(self):
        self.ask("version")  # a first line that is no text would end it
        for line in (b"ver\x00sion\n", b"\xff\xfe\n", b"version\x1b\n", b"\x16\x03\x01\x02\x00\n"):
            self.console.send(line)
            self.assertTrue(self.console.reply()[0].startswith("ERR bad_request "), line)
        self.console.send(b"x" * 70000 + b"\n")
        self.assertTrue(self.console.reply()[0].startswith("ERR too_large "))
        self.assertTrue(self.console.ended())

    def test_half_line_does_nothing(self):
        self.console.send("log deb")
        self.console.socket.shutdown(socket.SHUT_WR)
        self.assertTrue(self.console.ended())
        c = Console(self.server)
        c.send("version\nlog debug")
        c.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(c.reply()[0], "OK")
        self.assertTrue(c.ended())
        c.close()

    def test_http_closes(self):
        for first in ("POST / HTTP/1.1", "GET /x", "OPTIONS * HTTP/1.0", "get /x HTTP/1.1"):
            c = Console(self.server)
            c.send(first + "\r\nHost: x\r\n\r\nlog debug\nversion\n")
            self.assertEqual(c.file.read(), b"")
            c.close()

    def test_socket_is_ours_alone(self):
        mode = os.stat(os.path.join(self.server.folder, "console.sock")).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    def test_help_is_the_table(self):
        names = {c["name"] for c in self.json("help")}
        wanted = """help|version|auth|quit|status|top|list connections|list users|list channels|list plugins|list scripts|list hooks|list actions|list slow|
            show connection|show user|show channel|show config|show memory|show storage|show metrics|kick user|kick connection|ban user|ban ip|unban user|
            unban ip|mute user|unmute user|channel|announce|send user|send channel|history user|history channel|config check|config diff|config reload|
            user add|user token|user delete|recall channel|recall user|
            storage flush|storage compact|storage checkpoint|storage clock|trace user|trace connection|why|log|set|drain|shutdown"""
        self.assertEqual({n.strip() for n in wanted.split("|")} - names, set())
        self.assertIn("show user ID", self.ask("help show"))
        self.assertNotIn("list users", self.ask("help show"))

    def test_names_cannot_act(self):
        evil = "a\u202eb\u2028c\u200bd \ufeff"
        a = self.user(evil)
        for command in ("list users", "json list users", "list connections", "show user " + a.id,
                        "json show user " + a.id):
            text = self.ask(command)
            self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\u200b\ufeff]")
        self.assertEqual([u["name"] for u in self.json("list users %s" % a.id)], [evil])
        b = self.user("Bob")
        c = self.channel(a, b)
        a.say(c, "x\n.\nOK\n\x1b[2J.\u009b31m")
        text = self.ask("history channel %s" % c)
        self.assertEqual(len(text.split("\n")), 2)
        self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\x7f-\x9f]")
        self.assertEqual(self.json("history channel %s" % c)[0]["content"], "x\n.\nOK\n\x1b[2J.\u009b31m")

    @one_process("each node lists what it has")
    def test_lists(self):
        a, b = self.users("Ada", "Lovelace Bob")
        name = self.channel(a, b)
        mine = self.json("list connections %s" % a.id)
        self.assertEqual([(c["user"], c["name"], c["ip"], c["transport"]) for c in mine],
                         [(a.id, "Ada", "127.0.0.1", "tcp")])
        self.assertEqual(self.json("show connection " + mine[0]["connection"])["user"], a.id)
        self.assertEqual([u["user"] for u in self.json('list users "Lovelace Bob"')], [b.id])
        self.assertEqual(len(self.json("list users limit 1")), 1)
        self.assertEqual([(c["channel"], c["members"]) for c in self.json("list channels " + name)], [(name, 2)])
        self.assertEqual(self.json("list slow"), [])
        self.assertIn("send_channel", [r["name"] for r in self.json("list actions")])
        hooks = self.json("list hooks")
        self.assertIn("conversation", [r["event"] for r in hooks])
        self.assertEqual({r["owner"] for r in hooks} - {"magpied", "scripts"}, set())
        # Whose a hook is: each script's by its name, and it can be looked for.
        self.assertEqual({r["script"] for r in hooks if r["owner"] == "magpied"}, {None})
        self.assertEqual({r["script"] for r in hooks if r["owner"] == "scripts"}, {"merge_push", "tiered_expiry"})
        self.assertEqual({r["script"] for r in self.json("list hooks tiered_exp")}, {"tiered_expiry"})
        self.json("list plugins"), self.json("list scripts")
        self.denied("bad_request", "list users x limit y")
        self.denied("bad_request", "list users x limit 0")
        self.denied("not_found", "show connection 0.999999.1")
        self.denied("bad_request", "show connection x")

    def test_dump_waits_for_the_reader(self):
        clients = [self.connect() for _ in range(60)]
        for i, c in enumerate(clients):
            c.login("n%d" % i + "x" * 50)
        # Many dumps asked for at once by somebody who reads none of them, and nobody else waits.
        self.console.send("list connections\n" * 3000)
        other = Console(self.server)
        began = time.monotonic()
        for _ in range(20):
            self.assertEqual(other.raw("status")[0], "OK")
            clients[0].request(9)
        self.assertLess(time.monotonic() - began, 20 * PATIENCE)
        other.close()
        for _ in range(50):
            status, body = self.console.reply()
            self.assertEqual(status, "OK")
            self.assertGreaterEqual(len(body), 61)

    @one_process("one node's")
    def test_figures(self):
        a = self.user("Ada")
        memory = self.json("show memory")
        self.assertGreater(memory["rss"], memory["storage"])
        if not CLUSTER:  # whose memory is Redis's
            self.assertGreater(memory["storage"], 0)
        self.assertEqual(self.json("show storage")["state"], "good")
        metrics = {m["name"]: m for m in self.json("show metrics")}
        self.assertGreaterEqual(metrics["magpie_connections"]["value"], 1)
        self.assertEqual(metrics["magpie_connections"]["kind"], "gauge")
        self.assertGreaterEqual(metrics["magpie_requests_total"]["value"], 1)
        for name in metrics:
            self.assertRegex(name, "^[a-z][a-z0-9_]*$")
            self.assertEqual(metrics[name]["kind"] == "counter", name.endswith("_total"), name)
        turns = metrics["magpie_turn_cpu_seconds"]
        self.assertEqual(turns["kind"], "histogram")
        counts = [b["count"] for b in turns["buckets"]]
        self.assertEqual(counts, sorted(counts))
        self.assertLessEqual(counts[-1], turns["value"])
        self.assertGreater(turns["sum"], 0)
        before = metrics["magpie_requests_total"]["value"]
        a.request(9)
        self.assertGreater({m["name"]: m["value"] for m in self.json("show metrics")}["magpie_requests_total"], before)
        status = self.json("status")
        self.assertEqual((status["state"], status["shards"]), ("serving", 2))
        self.assertEqual(status["config"], os.path.realpath(self.server.config_path))
        self.assertEqual(status["data"], os.path.realpath(os.path.join(self.server.folder, "data")))
        self.assertEqual({"tcp:127.0.0.1:%d" % self.server.tcp, "websocket:127.0.0.1:%d" % self.server.websocket,
                          "console:unix:console.sock"} - set(status["listen"]), set())
        if not CLUSTER:
            fs = os.statvfs(status["data"])
            self.assertEqual(status["disk"]["size"], fs.f_blocks * fs.f_frsize)
            self.assertTrue(0 < status["disk"]["free"] < status["disk"]["size"])
        self.keys(self.json("top"), "uptime", "state", "connections", "users", "channels", "memory", "rates", "shards",
                  "storage", "scripts",
                  "slow_receivers", "slow", "hottest")
        self.assertAlmostEqual(status["startedAt"] / 1000 + status["uptime"], time.time(), delta=5)

    def test_dates(self):
        """People are told dates; programs the milliseconds."""
        a = self.user("Ada")
        self.ask("ban user %s 1000" % a.id)
        until = [b["until"] for b in self.json("list bans") if b["user"] == a.id][0]
        date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until // 1000))
        text = self.ask("list bans")
        self.assertIn(date, text)
        self.assertNotIn(str(until), text)
        self.ask("unban user " + a.id)
        b = self.user("Bob")
        name = self.channel(b)
        created = b.say(name, "hello")["createdAt"]
        text = self.ask("history channel " + name)
        self.assertIn(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created // 1000)), text)
        self.assertEqual(self.json("history channel " + name)[0]["createdAt"], created)
        self.assertRegex(self.ask("status"), r"startedAt: 2\d\d\d-\d\d-\d\dT")

    def test_hottest(self):
        a = self.user("Ada")
        c = self.channel(a)
        for i in range(20):
            a.say(c, "m%d" % i)
        hottest = self.json("top")["hottest"]
        self.assertIn(c, [h["channel"] for h in hottest])

    def test_orders_are_logged(self):
        a = self.user("Ada")
        self.ask("announce the secret plan")
        self.ask("kick user %s another secret" % a.id)
        self.server.wait_log("command=announce")
        self.server.wait_log('on=%s' % a.id)
        log = self.server.log()
        self.assertIn("who=\"unix uid %d" % os.getuid(), log)
        self.assertNotIn("secret plan", log)
        self.assertNotIn("another secret", log)


class Orders(ConsoleTest):
    abstract = False

    def test_kick(self):
        a = self.user("Ada")
        again = self.again(a)
        self.assertEqual(self.json("kick user %s go away" % a.id), {"connections": 2})
        self.assertEqual(a.closing(), {"reason": "kicked", "message": "go away"})
        self.assertEqual(again.closing()["reason"], "kicked")
        a = self.again(a)
        handle = self.json("list connections " + a.id)[0]["connection"]
        self.ask("kick connection %s" % handle)
        self.assertEqual(a.closing()["reason"], "kicked")
        self.eventually(lambda: self.console.raw("kick connection " + handle)[0].startswith("ERR not_found"))
        self.again(a)
        self.ask("kick user %s revoke" % a.id)
        self.refused("unauthorized", self.connect(), 1, token=a.token)
        self.denied("not_found", "kick user nobody")

    @smoke
    def test_ban_user(self):
        a, b = self.users("Ada", "Bob")
        b.tell(a, "before")
        self.assertEqual(self.json("ban user %s 0 no more" % a.id), {"connections": 1})
        self.assertEqual(a.closing(), {"reason": "kicked", "message": "no more"})
        e = self.refused("forbidden", self.connect(), 1, token=a.token)
        self.assertIn("no more", e.message)
        self.assertEqual([(r["kind"], r["user"], r["reason"]) for r in self.json("list bans " + a.id)],
                         [("ban user", a.id, "no more")])
        self.ask("unban user " + a.id)
        self.refused("unauthorized", self.connect(), 1, token=a.token)
        self.denied("not_found", "unban user " + a.id)
        self.denied("not_found", "ban user nobody")
        self.denied("bad_request", "ban user %s 10m" % b.id)

    def test_ban_ends(self):
        a = self.user("Ada")
        self.ask("mute user %s 1" % a.id)
        self.refused("forbidden", a, 2, receiverId=a.id, content="x")
        self.eventually(lambda: "error" not in a.ask(2, receiverId=a.id, content="x"))
        self.assertEqual(self.json("list bans " + a.id), [])

    def test_ban_ip(self):
        with Server(dict(UNIX, threads=3)) as s:
            console = Console(s)
            clients = [self.user("u%d" % i, server=s) for i in range(5)]
            self.assertEqual(console.json("ban ip 127.0.0.0/8"), {"connections": 5})
            for c in clients:
                self.assertEqual(c.closing()["reason"], "kicked")
            self.assertEqual(self.connect(server=s).closing()["reason"], "kicked")
            self.assertEqual(console.json("list bans")[0]["ip"], "127.0.0.0/8")
            console.ask("unban ip 127.0.0.1/8")
            self.user("again", server=s)
            console.ask("ban ip 192.0.2.7")
            console.ask("ban ip 2001:db8::/32")
            self.user("others", server=s)
            for wrong in ("x", "127.0.0.1/33", "127.0.0.1/", "1.2.3", "::/129", "/8"):
                self.assertTrue(console.raw("ban ip " + wrong)[0].startswith("ERR bad_request "), wrong)
            console.close()

    def test_mute(self):
        a, b = self.users("Ada", "Bob")
        other = self.again(a)
        c, d = self.channel(a, b), self.channel(a, b)
        other.drain()
        self.ask("mute user %s %s" % (a.id, c))
        for client in (a, other):
            self.refused("forbidden", client, 4, channel=c, content="x")
        a.say(d, "there"), a.tell(b, "you")
        self.assertEqual(a.history(c)["messages"], [])
        self.ask("mute user %s" % a.id)
        for body in ({"channel": d}, {"receiverId": b.id}):
            self.refused("forbidden", a, 4 if "channel" in body else 2, content="x", clientId="k", **body)
        b.say(c, "b may"), a.push(CHANNEL_MESSAGE)
        self.ask("unmute user %s" % a.id)
        a.say(d, "again")
        self.refused("forbidden", a, 4, channel=c, content="x")
        self.ask("unmute user %s %s" % (a.id, c))
        a.say(c, "again")
        self.denied("not_found", "unmute user " + a.id)

    def test_bans_outlive_a_restart(self):
        with Server(UNIX) as s:
            console = Console(s)
            a, b, c = [self.user(n, server=s) for n in ("Ada", "Bob", "Cyd")]
            a.subscribe("tea"), b.subscribe("tea"), c.subscribe("tea")
            console.ask("ban user " + a.id)
            console.ask("mute user %s tea" % b.id)
            console.ask("mute user %s 1" % c.id)
            console.ask("channel tea ban %s" % c.id)
            console.ask("channel tea tier large")
            console.close()
            time.sleep(1.1)
            s.restart()
            console = Console(s)
            self.assertEqual(sorted(r["kind"] for r in console.json("list bans")),
                             ["ban member", "ban user", "mute member"])
            self.refused("forbidden", self.connect(server=s), 1, token=a.token)
            b, c = self.again(b, server=s), self.again(c, server=s)
            self.refused("forbidden", b, 4, channel="tea", content="x")
            b.tell(c, "private is fine")
            self.refused("forbidden", c, 3, name="tea")
            self.refused("forbidden", c, 5, channel="tea")
            self.assertEqual(console.json("channel tea tier")["tier"], "large")
            self.assertEqual(b.subscribe("tea")["tier"], "large")
            console.close()

    def test_channel_ban(self):
        a, b = self.users("Ada", "Bob")
        second = self.again(a)
        c = self.channel(a, b)
        self.assertEqual(self.json("channel %s ban %s" % (c, a.id)), {"member": True})
        b.say(c, "not for Ada")
        a.quiet(CHANNEL_MESSAGE)
        for client in (a, second):
            self.refused("forbidden", client, 3, name=c)
            self.refused("forbidden", client, 4, channel=c, content="x")
            self.refused("forbidden", client, 5, channel=c)
        self.assertEqual([m["user"] for m in self.json("channel %s members" % c)], [b.id])
        self.ask("channel %s unban %s" % (c, a.id))
        a.subscribe(c)
        self.assertEqual(self.json("channel %s kick %s" % (c, a.id)), {"members": 1})
        self.denied("not_found", "channel %s kick %s" % (c, a.id))
        a.subscribe(c)

    def test_queued_pushes_go_with_the_ban(self):
        # A reader that does not read: what waits for it in its queue is taken back.
        with Server(dict(UNIX, threads=1, limits={"output_queue": 8 << 20, "content": 40000, "frame": 65536})) as s:
            console = Console(s)
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            a.subscribe("tea"), b.subscribe("tea")
            for i in range(300):
                a.say("tea", "%d-" % i + "x" * 30000)
            queued = console.json("list connections " + b.id)[0]["queued"]
            self.assertGreater(queued, 100000)
            console.ask("channel tea ban " + b.id)
            self.assertLess(console.json("list connections " + b.id)[0]["queued"], queued // 2)
            frames = [f for f in b.drain(1) if f[0] == CHANNEL_MESSAGE]
            self.assertLess(len(frames), 300)
            b.request(9)
            b.quiet(CHANNEL_MESSAGE)
            console.close()

    def test_channel_rules(self):
        a, b = self.users("Ada", "Bob")
        c = self.channel(a, b)
        self.assertEqual(self.json("channel %s tier large" % c)["tier"], "large")
        self.assertEqual(self.json("show channel " + c)["tier"], "large")
        self.assertEqual(a.subscribe(c)["tier"], "large")
        self.ask("channel %s tier auto" % c)
        self.assertEqual(a.subscribe(c)["tier"], "small")
        self.ask("channel %s push none" % c)
        self.assertEqual(a.subscribe(c)["push"], "none")
        a.say(c, "for nobody")
        b.quiet(CHANNEL_MESSAGE)
        self.ask("channel %s push auto" % c)
        self.ask("channel %s limit 1" % c)
        codes = [a.ask(4, channel=c, content="x").get("error", {}).get("code") for _ in range(4)]
        self.assertIn("rate_limited", codes)
        self.ask("channel %s limit 0" % c)
        for i in range(100):
            a.say(c, "x")
        self.assertEqual(self.json("channel %s close" % c), {"members": 2})
        self.refused("forbidden", a, 3, name=c)
        self.refused("forbidden", a, 4, channel=c, content="x")
        self.ask("channel %s open" % c)
        self.assertEqual(a.subscribe(c)["members"], 1)
        for wrong in ("tier huge", "push some", "limit x", "limit -1", "frob", "members 1", "kick"):
            self.denied("bad_request", "channel %s %s" % (c, wrong))

    def test_messages(self):
        a, b = self.users("Ada", "Bob")
        c = self.channel(a)
        self.ask("announce hello   all")
        self.assertEqual(a.push(ANNOUNCEMENT)["content"], "hello all")
        self.assertEqual(b.push(ANNOUNCEMENT)["content"], "hello all")
        sent = self.json('send channel %s "a text"' % c)
        push = a.push(CHANNEL_MESSAGE)
        self.assertEqual((push["id"], push["content"], push["sender"]["id"]), (sent["id"], "a text", "system"))
        self.ask("send user %s for you" % b.id)
        self.assertEqual(b.push(USER_MESSAGE)["content"], "for you")
        self.denied("not_found", "send user nobody x")
        self.denied("not_found", "send channel nothing x")
        for i in range(450):
            a.say(c, "m%d" % i)
        self.assertEqual([m["seq"] for m in self.json("history channel %s limit 430" % c)], list(range(22, 452)))
        self.assertEqual(len(self.json("history channel " + c)), 50)
        a.tell(b, "one")
        self.assertEqual([m["content"] for m in self.json("history user %s %s" % (b.id, a.id))], ["one"])
        self.denied("not_found", "history user %s %s" % (a.id, a.id))
        self.denied("not_found", "history channel nothing")

    def test_why(self):
        a, b, n, off = self.users("Ada", "Bob", "Nun", "Off")
        c = self.channel(a, b, off)
        n.subscribe(c, push="none")
        off.close()
        self.eventually(lambda: self.json("list connections " + off.id) == [])
        m = a.say(c, "x")["id"]
        b.push(CHANNEL_MESSAGE)
        w = self.json("why %s %s" % (b.id, m))
        self.assertEqual((w["conversation"], w["channel"], w["queued"], w["written"], w["skipped"]),
                         ("channel", c, True, True, False))
        self.assertEqual(w["slice"]["messages"], 1)
        self.assertIn("none", self.json("why %s %s" % (n.id, m))["verdict"])
        self.assertFalse(self.json("why %s %s" % (off.id, m))["queued"])
        d = a.tell(b, "dm")["id"]
        b.push(USER_MESSAGE)
        w = self.json("why %s %s" % (b.id, d))
        self.assertEqual((w["conversation"], w["queued"], w["inbox"], w["acknowledged"]),
                         ("private", True, "waiting", False))
        b.request(8, upTo=d)
        self.assertTrue(self.json("why %s %s" % (b.id, d))["acknowledged"])
        d = a.tell(off, "later")["id"]
        w = self.json("why %s %s" % (off.id, d))
        self.assertEqual((w["queued"], w["inbox"]), (False, "waiting"))
        self.assertIn("known", self.denied("not_found", "why %s 0000000000000000001" % a.id))
        self.denied("bad_request", "why %s 12" % a.id)

    def test_why_tells_what_a_slice_left_out(self):
        a, b = self.users("Ada", "Bob")
        c = self.channel(a)
        b.subscribe(c, push="merged")
        ids = [a.say(c, "m%d" % i)["id"] for i in range(60)]
        self.eventually(lambda: self.json("why %s %s" % (b.id, ids[-1]))["queued"])
        verdicts = [self.json("why %s %s" % (b.id, i)) for i in ids]
        self.assertTrue(any("left out" in w["verdict"] for w in verdicts))
        self.assertTrue(all(w["queued"] != ("left out" in w["verdict"]) for w in verdicts))

    def test_trace(self):
        a, b = self.users("Ada", "Bob")
        self.ask("trace user %s on" % a.id)
        a.tell(b, "planted content")
        first, second = self.console.event(), self.console.event()
        self.assertRegex(first, r"%s in action=2 send_user seq=\d+ bytes=\d+$" % a.id)
        self.assertRegex(second, r"%s out action=2 send_user seq=\d+ bytes=\d+ queued waiting=\d+$" % a.id)
        more = self.again(a)
        self.assertIn("login", self.console.event())
        self.assertIn("action=1 login", self.console.event())
        more.close()
        while "close" not in self.console.event():
            pass
        self.ask("trace user %s off" % a.id)
        handle = self.json("list connections " + b.id)[0]["connection"]
        self.console.raw("json trace connection %s on" % handle)
        a.request(9), b.request(9)
        event = json.loads(self.console.event())
        self.assertEqual((event["what"], event["action"], event["name"], event["user"]), ("in", 9, "ping", b.id))
        self.ask("trace connection %s off" % handle)
        self.console.events.clear()
        b.request(9)
        self.ask("status")
        self.assertEqual(self.console.events, [])
        self.denied("bad_request", "trace user %s maybe" % a.id)
        self.denied("not_found", "trace connection 0.999999.1 on")

    @embedded("a node on Redis refuses these, as tests/cluster/test_figures.py shows")
    def test_storage(self):
        a = self.user("Ada")
        a.subscribe("kept")
        a.say("kept", "in the copy")
        self.ask("storage flush")
        self.ask("storage compact")
        copy = os.path.join(self.server.folder, "copy")
        self.ask("storage checkpoint " + copy)
        self.denied("unavailable", "storage checkpoint " + copy)
        self.assertEqual(self.json("storage clock accept"), {"paused": False})
        self.denied("bad_request", "storage clock refuse")
        with Server(dict(UNIX, data=copy)) as s:
            console = Console(s)
            self.assertEqual([m["content"] for m in console.json("history channel kept")], ["in the copy"])
            console.close()

    @embedded("copies of RocksDB")
    def test_history_counts_messages(self):
        """Not seqs, which have gaps: a restored copy begins above what it has, so that no seq is given twice."""
        first = Server(UNIX)
        try:
            a = self.user("Ada", server=first)
            a.subscribe("gaps")
            for n in range(450):
                a.say("gaps", "old %d" % n)
            console = Console(first)
            copy = os.path.join(self.server.folder, "gaps")
            console.ask("storage checkpoint " + copy)
            console.close()
        finally:
            first.close()
        with Server(dict(UNIX, data=copy)) as s:
            b = self.user("Bob", server=s)
            b.subscribe("gaps")
            self.assertGreater(b.say("gaps", "new 0")["seq"], 460)
            console = Console(s)
            wanted = ["old %d" % n for n in range(450)] + ["new 0"]
            for limit in (1, 2, 3, 200, 201, 300, 401, 450, 451, 1000):
                with self.subTest(limit):
                    got = [m["content"] for m in console.json("history channel gaps limit %d" % limit)]
                    self.assertEqual(got, wanted[-limit:])
            console.close()


class Settings(ConsoleTest):
    abstract = False

    def test_config(self):
        self.assertEqual(self.json("show config push.max"), {"push.max": 20})
        self.assertIn("limits.frame: 65536", self.ask("show config limits"))
        self.assertIn("did you mean limits.frame?", self.denied("not_found", "show config limits.frme"))
        self.assertEqual(self.ask("config check"), "")
        self.assertEqual(self.json("config diff"), [])
        self.assertEqual(self.json("set push.max 7"), {"push.max": 7})
        self.assertEqual(self.json("set limits.content 4*KiB"), {"limits.content": 4096})
        a = self.user("Ada")
        self.refused("too_large", a, 2, receiverId=a.id, content="x" * 5000)
        self.assertEqual([(d["option"], d["now"], d["file"]) for d in self.json("config diff")],
                         [("limits.content", 4096, 16384), ("push.max", 7, 20)])
        self.ask("config reload")
        self.assertEqual(self.json("config diff"), [])
        a.tell(a, "x" * 5000)
        self.assertEqual(self.json("set origins https://a.example https://b.example"),
                         {"origins": ["https://a.example", "https://b.example"]})
        self.ask("config reload")
        for wrong in ("set push.max -1", "set push.max x", "set rate.policy nonsense", "set limits.content 10*MiB",
                      "set rate.user os.exit()"):
            self.denied("bad_request", wrong)
        self.denied("forbidden", "set threads 3")
        self.denied("forbidden", "set console.password planted-password")
        self.denied("not_found", "set push.mxa 3")
        self.assertNotIn("planted-password", self.server.log())

    def test_reload_tells_what_waits(self):
        self.server.rewrite({"node": 5, "push": {"max": 9}})
        self.assertEqual(self.json("config reload"), {"needs_restart": ["node"]})
        self.assertEqual(self.json("show config push.max"), {"push.max": 9})
        self.assertEqual([d["option"] for d in self.json("config diff")], ["node"])
        with open(self.server.config_path, "a") as f:
            f.write("nonsense")
        self.denied("bad_request", "config check")
        self.denied("bad_request", "config reload")
        self.server.rewrite({"node": 0, "push": {"max": 20}})
        self.assertEqual(self.json("config reload"), {"needs_restart": []})

    def test_log_level(self):
        self.ask("log error")
        before = self.server.log()
        self.user("Ada")
        self.ask("announce x")
        self.assertNotIn("command=announce", self.server.log()[len(before):])
        self.ask("log debug")
        self.denied("bad_request", "log loud")

    @one_process("one node's")
    def test_drain_and_shutdown(self):
        for order, within in (("drain", 15), ("drain 3", 15), ("shutdown", 10)):
            with Server(UNIX) as s:
                console = Console(s)
                a = self.user("Ada", server=s)
                self.assertTrue(console.raw("drain x")[0].startswith("ERR bad_request "))
                console.ask(order)
                self.assertEqual(a.closing()["reason"], "shutdown")
                a.close()
                self.assertEqual(s.process.wait(within * PATIENCE), 0)
                console.close()


class Password(Test):
    config = {"listen": {"console": "unix:console.sock"}, "console": {"password": "planted-open-sesame"}}

    def test_password(self):
        self.server.secrets.add("planted-open-sesame")
        c = Console(self.server)
        self.assertTrue(c.raw("status")[0].startswith("ERR unauthorized "))
        self.assertTrue(c.raw("shutdown")[0].startswith("ERR unauthorized "))
        self.assertTrue(c.raw("auth wrong-one")[0].startswith("ERR unauthorized "))
        self.assertEqual(c.raw("auth planted-open-sesame")[0], "OK")
        self.assertEqual(c.raw("status")[0], "OK")
        c.close()
        c = Console(self.server)
        c.send("x" * 2000)
        self.assertTrue(c.reply()[0].startswith("ERR too_large "))
        c.close()
        # Five wrong ones, on however many connections; then not even the right one.
        codes = []
        for i in range(7):
            c = Console(self.server)
            codes.append(c.raw("auth wrong-%d" % i)[0].split()[1])
            c.close()
        self.assertEqual(codes, ["unauthorized"] * 5 + ["rate_limited"] * 2)
        c = Console(self.server)
        self.assertTrue(c.raw("auth planted-open-sesame")[0].startswith("ERR rate_limited "))
        c.close()
        self.assertNotIn("wrong-one", self.server.log())

    def test_silence_is_closed(self):
        c = Console(self.server)
        began = time.monotonic()
        self.assertTrue(c.ended())
        self.assertLess(time.monotonic() - began, 14 * PATIENCE)
        c.close()
