"""Allocations that fail: whichever of Magpie's own it is, the request fails and nothing else does (failalloc.c says
how)."""

import mmap
import os
import struct
import time
import unittest

from base import Test, one_process
from client import Client
from server import MAGPIED, SANITIZED, Server
from test_attacks_console import Console
from wire import Closed, Refused, Stream, Timeout

LIBRARY = os.path.join(os.path.dirname(MAGPIED), "tests", "failalloc.so")
SCRIPT = """
local magpie = require "magpie"
magpie.action(200, function(e) magpie.kv.set("k", e.user.id) return {x = e.body.x, y = {1, 2}} end)
magpie.on("message", function(e) magpie.shared.incr("n") if e.content == "change" then e.content = "changed" end end)
"""


class Control:
    """The struct control of failalloc.c."""

    def __init__(self, path):
        with open(path, "wb") as f:
            f.write(bytes(32 + 8 * 1024))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 32 + 8 * 1024)

    def get(self, form, at):
        return struct.unpack_from("<" + form, self.map, at)[0]

    def fail(self, site, skip, times):
        struct.pack_into("<IIIIQ", self.map, 0, 1, skip, times, 0, site)

    def stop(self):
        struct.pack_into("<IIIIQ", self.map, 0, 0, 0, 0, 0, 0)

    def fired(self):
        return self.get("I", 24)

    def sites(self):
        return [self.get("Q", 32 + 8 * i) for i in range(min(1024, self.get("I", 28)))]


@unittest.skipIf(SANITIZED, "sanitizers have an allocator of their own")
@one_process("one process has no memory")
class Memory(Test):
    weight = 50

    @classmethod
    def setUpClass(cls):
        s = cls.server = Server(start=False)
        folder = os.path.join(s.folder, "scripts")
        os.mkdir(folder)
        with open(os.path.join(folder, "own.lua"), "w") as f:
            f.write(SCRIPT)
        cls.control = Control(os.path.join(s.folder, "control"))
        cls.console = os.path.join(s.folder, "console")
        s.config = {"listen": {"console": "unix:" + cls.console}, "scripts": {"path": folder, "load": ["own"]},
                    "log": {"level": "info"}, "limits": {"connections_per_ip": 10000},
                    "tiers": {"dm": {"durability": "commit"}}}
        s.environment = {"LD_PRELOAD": LIBRARY, "FAILALLOC": os.path.join(s.folder, "control")}
        s.start()

    def ask(self, c, action, strict, **body):
        """An answer, an error, or the end of the connection; never silence."""
        if c.closed_by_server:
            return {}
        try:
            answer = c.ask(action, **body)
        except Closed:
            self.assertFalse(strict, "closed at action %d" % action)
            c.closed_by_server = True
            return {}
        if "error" in answer:
            self.assertFalse(strict, "action %d: %s" % (action, answer))
            self.assertIn(answer["error"]["code"],
                          ("internal", "unavailable", "forbidden", "not_found", "unauthorized", "bad_request",
                           "too_large"))
        return answer

    def person(self, wire, strict, **login):
        try:
            c = Client(self.server, wire)
        except (Closed, Refused, OSError) as e:
            self.assertFalse(strict, "no connection: %s" % e)
            return None
        self.clients.append(c)
        answer = self.ask(c, 1, strict, **login)
        c.id, c.token = answer.get("id"), answer.get("token")
        return c if c.id else None

    def everything(self, strict, room="everything"):
        """What a server does for its people, once over."""
        a, b = self.person("tcp", strict, name="Ada"), self.person("binary", strict, name="Bob", device="phone")
        t = self.person("text", strict, token=b.token, accept=["merge"]) if b else None
        for c in (a, b, t):
            if not c:
                continue
            for action, body in ((3, {"name": room}), (4, {"channel": room, "content": "x" * 300, "clientId": "c"}),
                                 (4, {"channel": room, "content": "change"}), (5, {"channel": room, "limit": 5}),
                                 (3, {"name": room, "push": "merged"}), (13, {"name": room, "limit": 3}),
                                 (2, {"receiverId": c.id, "content": "to myself"}), (9, {}), (200, {"x": "y"}),
                                 (12, {"ids": [c.id]}), (10, {"limit": 2}), (3, {"name": "own-" + c.id}),
                                 (6, {"name": "own-" + c.id})):
                answer = self.ask(c, action, strict, **body)
                if action == 4 and answer.get("seq") and body["content"] == "change":
                    self.ask(c, 14, False, channel=room, seq=answer["seq"])
                    self.ask(c, 11, strict, channel=room, seq=answer["seq"])
            other = b if c is a else a
            if other:
                sent = self.ask(c, 2, False, receiverId=other.id, content="hello", clientId="d")
                self.ask(other, 7, strict, limit=3)
                if sent.get("id"):
                    self.ask(other, 8, strict, ids=[sent["id"]])
                self.ask(c, 5, strict, peerId=other.id)
                self.ask(other, 15, strict, id=c.id, blocked=True)
                self.ask(other, 15, strict, id=c.id, blocked=False)
        for c in (a, b, t):
            if c:
                self.ask(c, 6, strict, name=room)
        try:
            console = Console(self.console)
            for line in ("status", "json list users limit 3", "list channels limit 3", "show config limits",
                         "show metrics", "bogus", "help"):
                status, _ = console.ask(line)
                self.assertTrue(not strict or line == "bogus" or status == "OK", "%s: %s" % (line, status))
            console.close()
        except (Closed, OSError) as e:
            self.assertFalse(strict, str(e))
        try:
            s = Stream(("127.0.0.1", self.server.websocket))
            s.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
            s.fill(1 << 20, time.monotonic() + 10)
        except (Closed, OSError):
            pass
        if a:
            self.ask(a, 16, False)
        for c in self.clients:
            c.close()
        self.clients.clear()

    def test_each_call_site(self):
        self.assertTrue(os.path.exists(LIBRARY), LIBRARY)
        bystander = Client(self.server)
        self.addCleanup(bystander.close)
        bystander.login("Bystander")
        bystander.subscribe("calm")
        self.everything(True)
        self.control.fail(0, 0, 0)
        for _ in range(3):
            self.everything(True)
        done, said, silent, often = set(), 0, [], set()
        for skip, times in ((0, 1), (1, 1), (2, 1), (0, 2), (3, 1), (4, 3), (6, 1), (9, 1), (8, 4), (13, 1), (18, 6),
                            (25, 1), (33, 2), (47, 8)):
            for site in self.control.sites():
                if skip > 4 and site not in often:
                    continue
                before = self.control.fired()
                self.control.fail(site, skip, times)
                try:
                    self.everything(False, "room %d" % said)
                except Timeout as e:
                    silent.append("site %#x, call %d: %s" % (site, skip + 1, e))
                    for c in self.clients:
                        c.close()
                    self.clients.clear()
                self.control.stop()
                self.assertIsNone(self.server.process.poll(), "site %#x, call %d: the server ended" % (site, skip + 1))
                if self.control.fired() > before:
                    done.add(site)
                    if skip == 4:
                        often.add(site)
                # Nobody else noticed.
                self.assertEqual(bystander.say("calm", "still here")["seq"], said + 1)
                said += 1
                if bystander.closed_by_server:
                    self.fail("site %#x: the bystander was closed" % site)
            if self.control.fired() >= 500:
                break
        self.assertEqual(silent, [])
        self.everything(True)
        self.assertEqual([m["seq"] for m in bystander.history("calm", limit=100)["messages"]],
                         list(range(max(1, said - 99), said + 1)))
        if os.environ.get("MAGPIE_TIMES"):
            print("  %d failed at %d call sites, %d rounds" % (self.control.fired(), len(done), said))
        self.assertGreater(len(done), 25)
        self.assertGreaterEqual(self.control.fired(), 200)
