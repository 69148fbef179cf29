"""What plugins do with the server: hooks, providers, actions, routes, sockets, moderation, what they ask of it."""

import os
import socket
import time

from base import one_process, smoke
from plugin_base import PluginTest
from server import CLUSTER, PATIENCE
from wire import TEXT, Closed, WsWire


@one_process("what one process has loaded")
class Hooks(PluginTest):
    load = {"hooks": {}}

    @smoke
    def test_verdicts(self):
        a, b = self.users("Ada", "Bob")
        channel = self.channel(a, b)
        a.say(channel, "replace")
        self.assertEqual(b.push(102)["content"], "replaced")
        self.assertEqual(a.history(channel)["messages"][0]["content"], "replaced")
        e = self.refused("rate_limited", a, 4, channel=channel, content="reject")
        self.assertEqual((e.message, e.retry_after), ("slowly", 1234))
        self.assertTrue(self.refused("internal", a, 4, channel=channel, content="silent"))
        dropped = a.say(channel, "drop")
        self.assertEqual(dropped["seq"], 0)
        a.say(channel, "empty")
        self.assertEqual(b.push(102)["content"], "empty")
        a.tell(b, "replace")
        self.assertEqual(b.push(101)["content"], "replaced")
        a.say(channel, "large")
        self.assertEqual(a.subscribe(channel)["tier"], "large")

    def test_who_missed_a_message(self):
        a, b, c = self.users("Ada", "Bob", "Cat")
        channel = self.channel(a, b, c)
        b.close()
        self.eventually(lambda: not a.request(12, ids=[b.id])["online"])
        a.say(channel, "hello?")
        self.eventually(lambda: self.console("hooks missed") == "%s %s hello?: %s" % (a.id, channel, b.id))
        a.tell(b, "psst")
        self.eventually(lambda: self.console("hooks missed") == "%s %s psst: %s" % (a.id, b.id, b.id))

    def test_login_create_history(self):
        self.refused("forbidden", self.connect(), 1, name="Mallory")
        a = self.user("Ada")
        self.refused("forbidden", a, 3, name="never")
        a.subscribe("secret")
        self.refused("forbidden", a, 5, channel="secret")

    def test_every_event(self):
        a, b = self.users("Ada", "Bob")
        channel = self.channel(a, b)
        seq = a.say(channel, "hello")["seq"]
        a.request(17, channel=channel, seq=seq, content="hello again")
        a.request(14, channel=channel, seq=seq)
        a.history(channel)
        a.request(12, ids=[b.id])
        b.close()
        self.eventually(lambda: a.request(12, ids=[b.id])["online"] == [])
        a.tell(b, "are you there?")
        a.request(6, name=channel)
        a.close()
        self.eventually(lambda: all(self.console("hooks seen").values()))


@one_process("what one process has loaded")
class Provider(PluginTest):
    load = {"provider": {}}
    config = {"auth": {"mode": "test"}}

    @smoke
    def test_logins(self):
        a = self.connect()
        a.login("Ada", token="now:ada")
        self.assertEqual((a.id, a.name), ("ada", "Ada"))
        b = self.connect()
        b.login(token="later:bob")
        self.assertEqual((b.id, b.name), ("bob", "Later"))
        a.tell(b, "hello")
        self.assertEqual(b.push(101)["content"], "hello")
        e = self.refused("unauthorized", self.connect(), 1, token="else")
        self.assertIn("now:ID", e.message)
        self.refused("internal", self.connect(), 1, token="bad")
        self.refused("unauthorized", self.connect(), 1, name="Ada")

    def test_many_at_once(self):
        clients = [self.connect() for _ in range(50)]
        seqs = [c.send(1, token="later:u%d" % i) for i, c in enumerate(clients)]
        for i, c in enumerate(clients):
            self.assertEqual(c.answer(1, seqs[i])["id"], "u%d" % i)

    def test_without_its_provider(self):
        """While it is away, nobody can log in; when it is back, everybody can."""
        self.console("plugin unload provider")
        self.refused("unavailable", self.connect(), 1, token="now:eve")
        self.console("plugin load provider")
        self.connect().login("Eve", token="now:eve")


@one_process("what one process has loaded")
class Actions(PluginTest):
    load = {"actions": {}}

    @smoke
    def test_answers(self):
        c = self.connect()
        self.refused("unauthorized", c, 1000, text="x")
        self.assertEqual(c.request(1002), {"known": False})
        c.login("Ada")
        self.assertEqual(c.request(1000, text='a"ä'), {"user": c.id, "name": "Ada", "text": 'a"ä', "action": 1000})
        self.refused("bad_request", c, 1000, text=5)
        self.assertEqual(c.request(1001), {"from": "worker"})
        self.assertEqual(c.request(1002), {"known": True})
        self.refused("internal", c, 1005)
        self.refused("unknown_action", c, 1010)

    def test_pushes(self):
        a = self.user("Ada")
        other = self.again(a)
        a.request(1004)
        self.assertEqual(a.push(1500), {"to": "user"})
        self.assertEqual(other.push(1500), {"to": "user"})
        self.assertEqual(a.push(1501), {"to": "connection"})
        other.quiet(1501)

    def test_never_answered(self):
        a = self.user("Ada")
        seq = a.send(1003)
        gone = self.user("Bob")
        gone.send(1003)
        gone.close()
        time.sleep(0.2)
        self.console("plugin unload actions")
        self.assertEqual(a.answer(1003, seq)["error"]["code"], "unavailable")
        self.refused("unknown_action", a, 1000)
        self.console("plugin load actions")
        self.assertEqual(a.request(1001), {"from": "worker"})


@one_process("what one process has loaded")
class Routes(PluginTest):
    load = {"http": {}}

    def raw_head(self, path):
        with socket.create_connection(("127.0.0.1", self.server.websocket), 20 * PATIENCE) as s:
            s.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
            return s.makefile("rb").read().decode().partition("\r\n\r\n")[0].lower()

    @smoke
    def test_requests(self):
        status, headers, body = self.http("GET", "/t/hello")
        self.assertEqual((status, body, headers["x-test"], headers["content-type"]), (200, b"hello", "yes", "text/own"))
        raw = self.raw_head("/t/hello")  # a header that the plugin gives is not given by the server too
        self.assertEqual((raw.count("x-content-type-options:"), raw.count("content-type:")), (1, 1))
        self.assertEqual(self.http("HEAD", "/t/hello")[::2], (200, b""))
        self.assertEqual(self.http("GET", "/t/later")[::2], (200, b"later"))
        status, headers, _ = self.http("POST", "/t/hello", b"x")
        self.assertEqual((status, headers["allow"]), (405, "GET, HEAD"))
        self.assertEqual(self.http("GET", "/t/hell")[0], 426)
        # a route need not look at the name itself
        status, _, body = self.http("GET", "/t/hello", headers={"Host": "evil.example"})
        self.assertEqual((status, b"localhost" in body), (403, True))
        self.assertEqual(self.http("GET", "/t/bad")[0], 500)

    def test_what_a_route_sees(self):
        status, _, body = self.http("POST", "/t/body/a%20b?p=1&q=x+%C3%A4&q=2", b"payload",
                                    {"Authorization": "Bearer tok", "X-Header": "v w"})
        self.assertEqual((status, body.decode()),
                         (201, "POST /t/body/a%20b rest=/a b bearer=tok q=x ä header=v w body=7:payload"))
        self.assertNotIn(b"bearer=x", self.http("POST", "/t/body", b"", {"Authorization": "Basic x"})[2])

    def test_bodies(self):
        big = os.urandom(1500000)
        status, _, body = self.http("POST", "/t/body", big)
        self.assertEqual(status, 201)
        self.assertEqual(body.split(b":", 1)[1], big)
        self.assertEqual(self.http("POST", "/t/body", b"x" * 2000001)[0], 413)

    def test_many_at_once(self):
        waiting = [self.in_background(self.http, "GET", "/t/later") for _ in range(40)]
        for w in waiting:
            self.assertEqual(w()[0], 200)

    def test_never_answered(self):
        waiting = self.in_background(self.http, "GET", "/t/never")
        time.sleep(0.3)
        self.console("plugin unload http")
        self.assertEqual(waiting()[0], 503)
        self.assertEqual(self.http("GET", "/t/hello")[0], 426)
        self.console("plugin load http")
        self.assertEqual(self.http("GET", "/t/hello")[0], 200)


@one_process("what one process has loaded")
class Sockets(PluginTest):
    load = {"sockets": {}}

    def open(self):
        w = WsWire(self.server.websocket, path="/sockets")
        self.addCleanup(w.close)
        self.assertEqual(self.next(w), (TEXT, b"hello"))
        return w

    def next(self, w):
        return w.receive_message(time.monotonic() + 20 * PATIENCE)

    @smoke
    def test_messages(self):
        w = self.open()
        w.send_frame(TEXT, "ä".encode() * 10)
        self.assertEqual(self.next(w), (TEXT, b"text 20"))
        w.send_frame(2, b"\0")
        self.assertEqual(self.next(w), (TEXT, b"binary 1"))
        w.send_frame(TEXT, b"time")
        self.assertEqual(self.next(w), (TEXT, b"from main"))
        w.send_frame(TEXT, b"burst")
        self.assertEqual([self.next(w) for _ in range(100)], [(2, b"0123456789")] * 100)
        self.assertEqual(self.console("sockets open"), 1)
        w.send_frame(TEXT, b"bye")
        self.assertRaises(Closed, self.next, w)
        self.assertEqual((w.close_code, w.close_text), (4001, b"as you wish"))
        self.eventually(lambda: self.console("sockets open") == 0)

    def test_too_large_and_not_utf8(self):
        for data, code in ((b"x" * 1001, 1009), (b"\xff", 1007)):
            w = self.open()
            w.send_frame(TEXT, data)
            self.assertRaises(Closed, self.next, w)
            self.assertEqual(w.close_code, code)

    def test_announcements_do_not_reach_it(self):
        w, a = self.open(), self.user("Ada")
        self.console("plugin load operations")
        self.console('op announce "to all"')
        self.assertEqual(a.push(106)["content"], "to all")
        w.send_frame(TEXT, b"x")
        self.assertEqual(self.next(w), (TEXT, b"text 1"))
        self.console("plugin unload operations")

    def test_unload_closes(self):
        w = [self.open() for _ in range(5)]
        self.console("plugin unload sockets")
        for each in w:
            self.assertRaises(Closed, self.next, each)
            self.assertEqual(each.close_code, 1001)
        # The path is ours again.
        c = WsWire(self.server.websocket, path="/sockets")
        c.send(9, 1, b"")
        self.assertEqual(c.receive(time.monotonic() + 20 * PATIENCE)[:2], (9, 1))
        c.close()
        self.console("plugin load sockets")
        self.open()


class Threads(PluginTest):
    load = {"threads": {}}
    config = {"threads": 3}

    def test_round(self):
        for _ in range(20):
            self.assertEqual(self.console("threads round"), {"threads": 4, "worked": True})


class Moderation(PluginTest):
    load = {"moderation": {}}

    def test_messages(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a.say(name, "x")
        a.tell(b.id, "x")
        self.assertIs(self.console("mod edit %s %s 1" % (a.id, name)), True)
        self.assertEqual(b.push(110)["content"], "edited")
        self.assertIn("4 only the sender", self.console.refused("mod edit %s %s 1" % (b.id, name)))
        self.assertIn("5 no such sender", self.console.refused("mod edit nobody %s 1" % name))
        self.console("mod recall %s 1" % name)
        self.console("mod recall2 %s %s 1" % (a.id, b.id))
        self.in_order([p.get("channel") for p in b.pushes(109, 2)], [name, None])
        self.assertIn("5 ", self.console.refused("mod recall %s 2" % name))
        self.assertIn("1 ", self.console.refused("mod recall %s 0" % name))

    def test_accounts(self):
        b = self.user("Bob")
        self.console("mod add plug.1 Anna")
        self.assertIn("4 ", self.console.refused("mod add plug.1 Anna"))
        self.assertIn("1 ", self.console.refused("mod add system X"))
        c = self.connect()
        c.request(1, token=self.console("mod token plug.1"))
        name = self.channel(b, c)
        c.say(name, "x")
        self.assertEqual(self.console("mod delete plug.1 recall"), [1, 1, 1])
        self.assertIn("5 ", self.console.refused("mod delete plug.1 keep"))
        self.assertIn("5 ", self.console.refused("mod token plug.1"))
        self.assertEqual(b.push(109)["channel"], name)
        self.assertEqual(self.console("mod remove " + name), [0, 1, 0])
        self.assertIn("5 ", self.console.refused("mod remove " + name))

    def test_bans_and_rules(self):
        a = self.user("Ada")
        name = self.channel(a)
        self.assertEqual(self.console("mod mute %s %s 60" % (a.id, name)), [0, 0])
        self.assertIn("you are muted until", a.error(4, channel=name, content="x").message)
        self.assertEqual([x for x in self.console("mod bans") if x["user"] == a.id],
                         [{"kind": 4, "for_ever": False, "user": a.id}])
        self.console("mod unmute %s %s" % (a.id, name))
        self.assertIn("5 ", self.console.refused("mod unmute %s %s" % (a.id, name)))
        self.assertEqual(self.console("mod close " + name), [0, 0, 1, 7, 1])
        self.assertEqual(self.console("mod rule " + name), [0, 0, 1, 7, 1])
        self.assertEqual(self.user("Bob").error(3, name=name).code, "forbidden")

    def pages(self, what):
        page = self.console('mod %s ""' % what)
        found = [page["ids"]]
        while page["more"]:
            page = self.console("mod %s %s" % (what, page["next"]))
            found.append(page["ids"])
        self.assertEqual(page["next"], "")
        return found

    def test_lists(self):
        for i in range(3):
            self.console("mod add scan.%d N" % i)
        pages = self.pages("users scan.")
        if CLUSTER:  # whose lists have no order, and pages with nothing on them
            self.assertEqual(sorted(sum(pages, [])), ["scan.0", "scan.1", "scan.2"])
            self.assertLessEqual(max(map(len, pages)), 2)
        else:
            self.assertEqual(pages, [["scan.0", "scan.1"], ["scan.2"]])
        name = self.channel(self.user("Ada"))
        self.assertEqual(sum(self.pages("channels " + name), []), [name])

    def test_what_cannot_be(self):
        for n in range(5):
            self.assertIn("error -2", self.console.refused("mod wrong %d" % n))
        self.assertEqual(self.console('mod keys "{\\"b\\":1,\\"a\\":null}"'), ["b", "a"])
        self.assertEqual(self.console("mod keys [1]"), [])


class Operations(PluginTest):
    load = {"operations": {}}

    @smoke
    def test_send(self):
        a, b = self.users("Ada", "Bob")
        channel = self.channel(a)
        sent = self.console('op send %s #%s "from Ada"' % (a.id, channel))
        self.assertEqual(sent["seq"], 1)
        push = a.push(102)
        self.assertEqual((push["content"], push["id"], push["sender"]),
                         ("from Ada", sent["id"], {"id": a.id, "name": "Ada"}))
        self.console('op send - %s "from system"' % b.id)
        self.assertEqual(b.push(101)["sender"]["id"], "system")
        # As a user every rule holds; system goes past them.
        self.assertIn("4 ", self.console.refused("op send %s #%s x" % (b.id, channel)))
        b.request(15, id=a.id, blocked=True)
        self.assertIn("4 ", self.console.refused("op send %s %s x" % (a.id, b.id)))
        self.console("op send - #%s x" % channel)
        for wrong in ("op send nobody %s x" % a.id, "op send - nobody x", "op send - #nowhere x",
                      "op send - %s %s" % (a.id, "x" * 20000),
                      "op send - - x"):
            self.console.refused(wrong)

    def test_members(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        self.assertEqual(self.console("op join %s %s" % (b.id, name)), {"members": 2, "existed": False})
        self.assertEqual(sorted(self.console("op members " + name)), ["Ada", "Bob"])
        a.say(name, "to both")
        self.assertEqual(b.push(102)["content"], "to both")
        self.assertEqual(self.console("op channel " + name), {"members": 2, "last": 1, "tier": 1})
        self.assertEqual(self.console("op history " + name), {"last": 1, "messages": ["to both"]})
        self.assertEqual(self.console("op leave %s %s" % (b.id, name)), {"members": 1, "existed": True})
        a.say(name, "alone")
        b.quiet(102)
        self.console.refused("op join nobody " + name)
        self.console.refused("op members nowhere")
        self.console.refused("op channel nowhere")
        self.console("op join %s %s-made" % (b.id, name))
        self.assertEqual(self.console("op members %s-made" % name), ["Bob"])

    @one_process("connections are of one node")
    def test_users(self):
        a = self.user("Ada")
        self.again(a)
        name = self.channel(a)
        self.assertEqual(self.console("op user " + a.id),
                         {"name": "Ada", "connections": 2, "inbox": 0, "channels": [name]})
        self.console.refused("op user nobody")
        self.assertEqual(self.console("op kick " + a.id), {"connections": 2})
        self.assertEqual(a.closing(), {"reason": "kicked", "message": "by a plugin"})
        self.eventually(lambda: self.console("op user " + a.id)["connections"] == 0)
