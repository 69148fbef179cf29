"""Hooks of plugins that answer later, and plugins that do wrong: who answers twice, crashes, wants what others have."""

import os
import socket
import struct
import time
import unittest

from base import one_process, smoke
from plugin_base import TEST_PLUGINS, Console, PluginTest
from server import PATIENCE, Server


ALONE = {"listen": {"console": "127.0.0.1:0"}, "plugins": {"path": TEST_PLUGINS, "load": {"later": {}}}}


@one_process("what waits is counted by each node")
class Later(PluginTest):
    """tests/plugins/later.c answers from a worker; hooks.c stands behind it in the chain."""

    load = {"later": {}, "hooks": {}}
    config = {"threads": 2, "rate": {"user": 0, "channel": 0}}

    @smoke
    def test_a_message(self):
        a, b = self.users("Ada", "Bob")
        for wire in ("tcp", "text", "binary"):
            c = self.again(a, wire)
            self.assertTrue(c.tell(b, "later pass")["seq"])
            self.assertEqual(b.push(101)["content"], "later pass")
            self.assertTrue(c.tell(b, "later replace")["seq"])
            self.assertEqual(b.push(101)["content"], "replaced later")
            self.assertEqual(c.tell(b, "later drop")["seq"], 0)
            e = self.refused("rate_limited", c, 2, receiverId=b.id, content="later reject")
            self.assertEqual((e.message, e.retry_after), ("slowly, later", 777))
            self.assertTrue(c.tell(b, "later wrong")["seq"])
            self.assertEqual(b.push(101)["content"], "later wrong")
        b.quiet()

    def test_the_rest_of_the_chain(self):
        """A hook behind it sees what it let through."""
        a, b = self.users("Ada", "Bob")
        before = self.console("hooks seen")["message"]
        a.tell(b, "later pass")
        self.refused("rate_limited", a, 2, receiverId=b.id, content="later reject")
        self.assertEqual(self.console("hooks seen")["message"], before + 1)

    def test_order(self):
        """What comes behind a message that waits is sent behind it, into whatever conversation."""
        a, b = self.users("Ada", "Bob")
        channel = self.channel(a, b)
        seqs = []
        for i in range(40):
            text = ("m%d" % i) if i % 3 else "later pass"
            seqs.append((4, a.send(4, channel=channel, content=text)) if i % 2 else
                        (2, a.send(2, receiverId=b.id, content=text)))
        for action, seq in seqs:
            self.assertTrue(a.answer(action, seq)["seq"])
        got = [(b.push(102 if i % 2 else 101)["content"]) for i in range(40)]
        self.assertEqual(got, [("m%d" % i) if i % 3 else "later pass" for i in range(40)])

    def test_subscriptions(self):
        a, b = self.users("Ada", "Bob")
        self.assertEqual(a.subscribe("later pass")["members"], 1)
        self.assertEqual(b.subscribe("later pass")["members"], 2)
        self.refused("rate_limited", a, 3, name="later reject")
        self.refused("not_found", a, 4, channel="later reject", content="x")
        a.say("later pass", "hello")
        self.assertEqual(b.push(102)["content"], "hello")

    def test_logins(self):
        a = self.user("later pass")
        c = self.connect()
        self.refused("rate_limited", c, 1, name="later reject")
        c.login("later pass")  # the same connection may try again
        a.tell(c, "hello")
        self.assertEqual(c.push(101)["content"], "hello")

    def test_gone_meanwhile(self):
        """Who has gone when the answer comes has said nothing, logged in nowhere."""
        with Server(ALONE) as s:
            console = Console(s)
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            again = self.again(a)
            again.send(2, receiverId=b.id, content="later never")
            again.send(2, receiverId=b.id, content="behind it")
            c = self.connect(server=s)
            c.send(1, name="later never")
            self.eventually(lambda: console("later show")["waiting"] == 2)
            for client in (again, c):
                client.wire.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            time.sleep(0.2 * PATIENCE)
            console("later go")
            self.eventually(lambda: console("later show")["waiting"] == 0)
            a.tell(b, "the next")
            self.assertEqual(b.push(101)["content"], "the next")
            self.assertEqual(console("status")["connections"], 2)
            console.close()

    def test_unloaded_meanwhile(self):
        """What waits when the plugin goes is answered `unavailable`; then the connection goes on."""
        with Server(ALONE) as s:
            console = Console(s)
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            c, d = self.connect(server=s), self.user("Cid", server=s)
            first = a.send(2, receiverId=b.id, content="later never")
            second = a.send(2, receiverId=b.id, content="next")
            login, sub = c.send(1, name="later never"), d.send(3, name="later never")
            self.eventually(lambda: console("later show")["waiting"] == 3)
            self.assertEqual(console("plugin unload later"), "later is unloaded")
            for client, action, seq in ((a, 2, first), (c, 1, login), (d, 3, sub)):
                error = client.answer(action, seq)["error"]
                self.assertEqual((error["code"], error["message"]), ("unavailable", "the plugin was unloaded"))
            self.assertTrue(a.answer(2, second)["seq"])
            c.login("Cleo")
            console.close()

    def test_the_server_ends_meanwhile(self):
        with Server(dict(ALONE, timeouts={"drain": 1})) as s:
            console = Console(s)
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            a.send(2, receiverId=b.id, content="later never")
            self.eventually(lambda: console("later show")["waiting"] == 1)
            console.close()
            self.assertEqual(s.stop(), 0)
            s.process = None


@one_process("plugins are loaded and unloaded in one process")
class Twice(PluginTest):
    load = {"wrong_twice": {}}
    config = {"threads": 2, "auth": {"mode": "twice"}}

    def test_twice(self):
        a = self.connect()
        a.login(token="ada")
        for _ in range(3):
            self.assertEqual(a.request(1501), {"first": True})
        self.assertEqual(self.http("GET", "/twice?q=1")[2], b"first")
        self.assertEqual(self.console("twice"), "first")
        b = self.connect()
        b.login(token="both")
        self.assertEqual(b.id, "both")
        for what in ("an action", "an HTTP request", "a command", "a login"):
            self.server.wait_log('plugin.answered_twice plugin=wrong_twice what="%s"' % what)
        self.assertEqual(self.console("plugin unload wrong_twice"), "wrong_twice is unloaded")

    def test_a_hook(self):
        self.console("plugin load later")
        a = self.connect()
        a.login(token="ada")
        self.assertTrue(a.request(2, receiverId="ada", content="later twice")["seq"])
        self.server.wait_log('plugin.answered_twice plugin=later what="a hook"')
        self.console("plugin unload later")


class Taken(PluginTest):
    load = {"wrong_twice": {}}
    config = {"auth": {"mode": "twice"}}

    def test_init_says_which_call(self):
        for what, why in (("action", "action(1501): taken by plugin wrong_twice"),
                          ("number", "action(99): a plugin's actions are 1000 to 1999"),
                          ("route", 'route("/twice"): taken by plugin wrong_twice'),
                          ("command", 'command("twice"): taken by plugin wrong_twice'),
                          ("status", 'command("status"): taken by the server'),
                          ("metric", 'metric("magpie_messages_total"): taken by the server'),
                          ("hook", "hook(1000): there is no such event")):
            self.server.rewrite({"plugins": {"load": {"wrong_twice": {}, "wrong_taken": {"what": what}}}})
            self.console("config reload")
            self.server.wait_log("init() failed with -%d: %s" % (4 if "taken" in why else 2, why.replace('"', '\\"')))
            self.eventually(lambda: "wrong_taken" not in [p["name"] for p in self.console("plugin list")
                                                          if p["state"] != "not loaded"])


@one_process("one process ends")
class Crash(unittest.TestCase):
    """The last line of the log names the plugin and where it was."""

    def crash(self, act, line, format="text"):
        s = Server({"listen": {"console": "127.0.0.1:0"}, "threads": 1, "log": {"format": format},
                    "plugins": {"path": TEST_PLUGINS, "load": {"wrong_crash": {}}}})
        self.addCleanup(s.discard)
        console = Console(s)
        act(s, console)
        self.assertLess(s.process.wait(30 * PATIENCE), 0)
        self.assertEqual(s.log().count("server.crash"), 1, s.tail())
        self.assertRegex(s.log(), line)

    def message(self, text):
        from client import Client

        def act(server, console):
            c = Client(server, "tcp")
            c.login("Ada")
            c.send(2, receiverId=c.id, content=text)
        return act

    def sanitized(self):
        return bool(os.environ.get("ASAN_OPTIONS") or os.environ.get("TSAN_OPTIONS"))

    def test_a_hook(self):
        self.crash(self.message("abort"),
                   r"error server\.crash signal=SIGABRT thread=shard-0 plugin=wrong_crash in=message\n")

    def test_json(self):
        self.crash(self.message("abort"),
                   r'"event":"server\.crash","signal":"SIGABRT","thread":"shard-0","plugin":"wrong_crash",'
                   r'"in":"message"}', "json")

    def test_a_wrong_address(self):
        if not self.sanitized():  # which has a handler of its own
            self.crash(self.message("segv"), "signal=SIGSEGV thread=shard-0 plugin=wrong_crash in=message")

    def test_the_stack_is_full(self):
        if not self.sanitized():
            self.crash(self.message("stack"), "signal=SIG(SEGV|BUS) thread=shard-0 plugin=wrong_crash in=message")

    def test_a_command_and_work(self):
        def command(server, console):
            console.file.write(b"crash abort\n")
            console.file.flush()

        def work(server, console):
            console.file.write(b"crash work\n")
            console.file.flush()
        self.crash(command, 'signal=SIGABRT thread=\\S+ plugin=wrong_crash in="a command"')
        self.crash(work, "signal=SIGABRT thread=plugin-work plugin=wrong_crash in=work")
