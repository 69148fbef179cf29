"""Attacks by clients: frames, tokens, made-up senders, reading where one has no business any more, herds, what names do
to logs."""

import json
import os
import resource
import socket
import struct
import threading
import time
import unittest

from base import Test
from client import (CONVERSATIONS, HISTORY, LOGIN, MEMBERS, PING, PRESENCE, READ, RECALL, SEND_CHANNEL, SEND_USER,
                    SUBSCRIBE, UNSUBSCRIBE)
from server import PATIENCE, SANITIZED, Server
from wire import Closed, Stream, WsWire


def soon(seconds=20):
    return time.monotonic() + seconds * PATIENCE


def memory(server):
    """Bytes of the server that are resident."""
    with open("/proc/%d/status" % server.process.pid) as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1]) * 1024


def raise_descriptors(n):
    """So that n connections can be made from here; skips the test where the machine does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < n + 200:
        raise unittest.SkipTest("the machine allows %d descriptors" % hard)
    if soft < n + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Ordered(Test):
    """A server with a console, for orders to it."""

    abstract = True

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.config, start=False)
        cls.server.config = dict(cls.server.config,
                                 listen={"console": "unix:" + os.path.join(cls.server.folder, "console")})
        cls.server.start()

    def order(self, line):
        """The reply's body; the order must be carried out."""
        s = Stream(os.path.join(self.server.folder, "console"))
        try:
            s.write(line.encode() + b"\n")
            while b"\n.\n" not in s.buffer:
                s.fill(len(s.buffer) + 1, soon())
        finally:
            s.close()
        status, _, body = s.buffer[:-2].decode().partition("\n")
        self.assertEqual(status, "OK", "%s: %s" % (line, s.buffer.decode()))
        return body


class Frames(Test):
    config = {"limits": {"frame": 512 << 20, "content": 2000}, "timeouts": {"login": 2}}

    def test_nothing_is_reserved_ahead(self):
        """A length costs nothing until the bytes have come."""
        known = self.user()
        before = memory(self.server)
        for n in range(60):
            c = self.again(known)
            c.wire.stream.write(struct.pack(">IHH", 512 << 20, PING, 1) + b"{")
            w = self.again(known, wire="binary")
            w.wire.stream.write(WsWire.frame(2, b"", length=500 << 20))
        known.request(PING)
        self.assertLess(memory(self.server) - before, 64 << 20)

    def test_before_login_a_frame_is_small(self):
        """Whoever is not logged in gets no more than 64 KiB."""
        for length in (8 + 70000, 512 << 20):
            c = self.connect()
            c.wire.stream.write(struct.pack(">IHH", length, LOGIN, 1) + b"{" + b" " * 69000)
            self.assertIn("too_large", [f[2].get("error", {}).get("code") for f in c.rest()])

    def test_lengths_of_all_ones(self):
        for wire_bytes in (b"\xff\xff\xff\xff\x00", b"\xff\xff\xff\xff\x00\x01\x00\x01{", b"\0\0\0\0",
                           b"\0\0\0\7\0\1\0\1"):
            c = self.connect()
            c.wire.stream.write(wire_bytes)
            frames = c.rest()
            self.assertEqual(frames[0][0], 0)
            self.assertIn(frames[0][2]["error"]["code"], ("bad_request", "too_large"))

    def test_a_byte_now_and_then(self):
        """Trickling puts off no deadline: neither in a frame, nor in a head, nor within a WebSocket message."""
        head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 1000
        opened = WsWire(self.server.websocket).stream
        for stream, data in ((Stream(("127.0.0.1", self.server.tcp)),
                              struct.pack(">IHH", 1000, LOGIN, 1) + b" " * 1000),
                             (Stream(("127.0.0.1", self.server.websocket)), head),
                             (opened, WsWire.frame(2, b"", length=1000) + b" " * 1000)):
            self.addCleanup(stream.close)
            stream.socket.setblocking(False)
            end, at = soon(15), 0
            while True:
                self.assertLess(time.monotonic(), end, "still open")
                try:
                    stream.socket.send(data[at:at + 1])
                    at += 1
                    while stream.socket.recv(4096):
                        pass
                    break
                except BlockingIOError:
                    time.sleep(0.05)
                except OSError:
                    break

    def test_thousands_in_one_packet(self):
        for wire in ("tcp", "binary", "text"):
            a = self.user(wire=wire)
            data, got = b"".join(a.wire.pack(PING, n % 65536, b"") for n in range(20000)), []
            writer = threading.Thread(target=a.wire.stream.write, args=(data,), daemon=True)
            writer.start()
            while len(got) < 20000:
                action, seq, body = a.receive(30)
                got.append(seq)
                self.assertEqual((action, list(body)), (PING, ["time"]))
            writer.join()
            self.assertEqual(got, [n % 65536 for n in range(20000)])

    def test_any_bytes_at_all(self):
        """Noise, seeded: the server stays."""
        import random
        noise = random.Random(7)
        for port in (self.server.tcp, self.server.websocket):
            for _ in range(200):
                s = socket.create_connection(("127.0.0.1", port))
                try:
                    s.sendall(noise.randbytes(noise.choice((1, 8, 9, 100, 5000))))
                except OSError:
                    pass
                s.close()
        self.user().request(PING)

    def test_bodies_that_are_no_requests(self):
        a = self.user()
        for body in (b"[" * 65536, b'{"a":' * 33 + b"1" + b"}" * 33, b'{"a":1}\0', b'{"a":1} {"b":2}', b'{"\xff":1}',
                     b'{"a":"\\u0000"}', b'{"a":1,"a":2}', b'{"a":"\\ud800"}', b'{"a":01}', b'{"a":+1}',
                     b'{"a":.5}', b'{"a":1.}', b'{"a":1e}', b'{"a":NaN}', b'{"a":Infinity}', b"{'a':1}", b'{"a":1,}',
                     b'{,}', b'{"a" 1}', b'{"a":"\t"}', b'{"a":"\\x"}', b"\xef\xbb\xbf{}", b"{}{}",
                     b'{"a":tru}', b"true", b"1", b'"x"', b"[]", b"null", b" ", b"{", b'{"a":"', b'{"a":"\\',
                     b'{"a":"\\u12'):
            with self.subTest(body=body[:20]):
                self.assertEqual(a.ask_raw(PING, body)["error"]["code"], "bad_request")
        for body in (b'{"channel":"x","after":9007199254740993}', b'{"channel":"x","after":1.5}',
                     b'{"channel":"x","after":-1}', b'{"channel":"x","after":1e400}', b'{"channel":"x","after":1e30}',
                     b'{"channel":"x","after":"1"}', b'{"channel":"x","limit":0}', b'{"channel":"x","limit":-5}',
                     b'{"channel":"x","limit":true}'):
            with self.subTest(body=body):
                self.assertEqual(a.ask_raw(HISTORY, body)["error"]["code"], "bad_request")


class Identity(Test):
    def test_a_sender_cannot_be_claimed(self):
        a, b = self.user("Ada"), self.user("Bob")
        name = self.channel(a, b)
        claim = {"sender": {"id": "system", "name": "system"}, "senderId": b.id, "from": b.id, "user": b.id, "id": b.id,
                 "userId": b.id, "seq": 99, "createdAt": 1}
        a.tell(b, "x", **claim)
        self.assertEqual(b.push(101)["sender"], {"id": a.id, "name": "Ada"})
        sent = a.say(name, "x", **claim)
        push = b.push(102)
        self.assertEqual((push["sender"], push["seq"], push["id"]), ({"id": a.id, "name": "Ada"}, 1, sent["id"]))

    def test_an_id_cannot_be_claimed(self):
        b = self.user("Bob")
        for claim in ({"id": b.id}, {"id": "system"}, {"userId": b.id}, {"sub": b.id}, {"user": {"id": b.id}}):
            c = self.connect()
            got = c.login("Eve", **claim)
            self.assertNotIn(got["id"], (b.id, "system"))

    def test_system_is_nobody(self):
        a = self.user()
        self.refused("not_found", a, SEND_USER, receiverId="system", content="x")
        for name in ("system", "SYSTEM", "System", " system", "system ", "sys tem", "s\u200bystem", "\ufeffsystem",
                     "system\u00a0", "ｓｙｓｔｅｍ", "\u017fystem"):
            with self.subTest(name=name):
                error = self.refused("bad_request", self.connect(), LOGIN, name=name)
                self.assertIn("name:", error.message)
                self.refused("bad_request", self.connect(), LOGIN, name=name, token=a.token)
        for name in ("systemd", "the system", "sys", "system2"):
            self.assertEqual(self.connect().login(name)["name"], name)
        self.assertEqual(self.connect().login(token=a.token)["name"], a.name)

    def test_names_like_patterns(self):
        """Nothing is a wildcard, a path or a command."""
        a, b = self.user("Ada"), self.user("Bob")
        for name in ("#", "+", "*", "../../etc/passwd", "$share/x", "a/#", "?", "[a-z]", "%s%n", "'; DROP TABLE x; --",
                     "..", ".", "-", "${x}", "$(x)", "\\", "systems", "\u202ex", "é", "e\u0301"):
            with self.subTest(name=name):
                self.assertEqual(self.connect().login(name)["name"], name)
                a.subscribe(name)
                self.refused("forbidden", b, HISTORY, channel=name)
                a.say(name, "only here")
                self.assertEqual(a.push(102)["channel"], name)
        b.quiet(102)

    def test_tokens_of_another_server(self):
        a = self.user("Ada")
        with Server({"threads": 1}) as other:
            self.refused("unauthorized", self.connect(server=other), LOGIN, token=a.token)

    def test_every_byte_of_a_token_counts(self):
        t = self.user("Ada").token
        for at in range(len(t)):
            for changed in (t[at].swapcase(), "A" if t[at] != "A" else "B", ""):
                forged = t[:at] + changed + t[at + 1:]
                if forged != t:
                    self.refused("unauthorized", self.connect(), LOGIN, token=forged)

    def test_a_token_of_one_user_is_of_that_user(self):
        """Its id cannot be exchanged: parts of two good tokens make none."""
        a, b = self.user("Ada").token, self.user("Bob").token
        for cut in range(1, min(len(a), len(b))):
            mixed = a[:cut] + b[cut:]
            if mixed not in (a, b):
                self.refused("unauthorized", self.connect(), LOGIN, token=mixed)

    def test_somebody_elses_device(self):
        """A device is the user's own: the same name elsewhere replaces nobody."""
        a = self.user("Ada", device="phone")
        self.user("Eve", device="phone")
        a.request(PING)


class Access(Ordered):
    """Nobody reads or says anything where it has no business any more, on any connection, by any request."""

    abstract = False
    config = {"limits": {"output_queue": 1 << 20}, "threads": 2}

    def shut_out(self, c, name, subscribe):
        """Every request about the channel is refused."""
        for action, body in ((HISTORY, {}), (SEND_CHANNEL, {"content": "x"}), (READ, {"seq": 1}), (RECALL, {"seq": 1})):
            self.refused("forbidden", c, action, channel=name, **body)
        self.refused("forbidden", c, MEMBERS, name=name)
        if subscribe:
            self.refused("forbidden", c, SUBSCRIBE, name=name)
        self.assertNotIn(name, [x.get("channel") for x in c.request(CONVERSATIONS)["conversations"]])

    def test_after_leaving(self):
        a, b = self.user("Ada"), self.user("Bob")
        b2 = self.again(b)
        name = self.channel(a, b)
        b.say(name, "mine")
        b.request(UNSUBSCRIBE, name=name)
        for c in (b, b2):
            self.shut_out(c, name, False)
        a.say(name, "after")
        b.drain(0.2), b2.drain(0.1)
        a.say(name, "later")
        b.quiet(102)
        b2.quiet(102)

    def test_after_a_kick(self):
        a, b = self.user("Ada"), self.user("Bob")
        b2, name = self.again(b), self.channel(a, b)
        b.say(name, "mine")
        self.order("channel %s kick %s" % (name, b.id))
        for c in (b, b2):
            c.drain(0.2)
            self.shut_out(c, name, False)
        a.say(name, "after")
        b.quiet(102)
        b2.quiet(102)

    def test_after_a_ban_from_the_channel(self):
        a, b = self.user("Ada"), self.user("Bob")
        b2, name = self.again(b), self.channel(a, b)
        b.say(name, "mine")
        self.order("channel %s ban %s" % (name, b.id))
        for c in (b, b2):
            c.drain(0.2)
            self.shut_out(c, name, True)
        b3 = self.again(b)
        self.shut_out(b3, name, True)
        a.say(name, "after")
        for c in (b, b2, b3):
            c.quiet(102)
        self.order("channel %s unban %s" % (name, b.id))
        b3.subscribe(name)
        self.assertEqual(len(b3.history(name)["messages"]), 2)

    def test_while_muted(self):
        a, b = self.user("Ada"), self.user("Bob")
        name, other = self.channel(a, b), self.channel(a, b)
        sent = b.say(name, "before")
        self.order("mute user %s %s" % (b.id, name))
        for c in (b, self.again(b)):
            self.refused("forbidden", c, SEND_CHANNEL, channel=name, content="x")
            self.assertEqual(len(c.history(name)["messages"]), 1)
        b.say(other, "elsewhere")
        self.order("mute user %s" % b.id)
        self.refused("forbidden", b, SEND_CHANNEL, channel=other, content="x")
        self.refused("forbidden", b, SEND_USER, receiverId=a.id, content="x")
        self.order("unmute user %s" % b.id)
        self.order("unmute user %s %s" % (b.id, name))
        self.assertEqual(b.say(name, "x")["seq"], sent["seq"] + 1, "what was refused took no seq")

    def test_a_banned_user(self):
        a, b = self.user("Ada"), self.user("Bob")
        b2, name = self.again(b, wire="binary"), self.channel(a, b)
        token = b.token
        self.order('ban user %s 600 "enough is enough"' % b.id)
        self.assertEqual({k: v for k, v in b.closing().items() if k != "retryAfter"},
                         {"reason": "kicked", "message": "enough is enough"})
        self.assertEqual(b2.closing()["reason"], "kicked")
        self.assertEqual(b2.wire.close_code, 1008)
        self.assertEqual(self.refused("forbidden", self.connect(), LOGIN, token=token).code, "forbidden")
        a.say(name, "without Bob")
        self.order("unban user %s" % b.id)
        # The ban ended every token.
        self.refused("unauthorized", self.connect(), LOGIN, token=token)

    def test_a_kick_that_revokes(self):
        b = self.user("Bob")
        self.order("kick user %s revoke" % b.id)
        self.assertEqual(b.closing()["reason"], "kicked")
        self.refused("unauthorized", self.connect(), LOGIN, token=b.token)

    def test_a_kick_that_does_not(self):
        b = self.user("Bob")
        self.order("kick user %s" % b.id)
        self.assertEqual(b.closing()["reason"], "kicked")
        self.assertEqual(self.again(b).id, b.id)

    def slow(self, name, wire):
        c = self.connect(wire=wire, receive_buffer=4096)
        c.login(name)
        return c

    def test_what_was_queued_for_somebody_banned(self):
        """Of three who do not read, one is banned from the channel, one altogether: neither gets what was queued, the
        third does."""
        for wire in ("tcp", "binary"):
            a, out, banned, control = self.user("Ada"), self.slow("Out", wire), self.slow("Banned",
                                                                                          wire), self.slow("Control",
                                                                                                           wire)
            name = self.channel(a, out, banned, control, push="all")
            for n in range(300):  # nearly 5 MB: more than sockets take, and less than skips everything
                a.say(name, "%d:" % n + "q" * 16000)
            self.order("channel %s ban %s" % (name, out.id))
            self.order("ban user %s" % banned.id)
            a.say(name, "after the ban")
            counts = {}
            for c in (control, out, banned):
                frames = c.drain(1)
                counts[c.name] = len([f for f in frames if f[0] in (102, 104)])
                if c is not control:
                    self.assertNotIn("after the ban", [f[2].get("content") for f in frames])
                    self.assertNotIn(107, [f[0] for f in frames])
            self.assertGreater(counts["Control"], counts["Out"] + 3, counts)
            self.assertGreater(counts["Control"], counts["Banned"] + 3, counts)

    def test_a_pair_is_for_two(self):
        a, b, eve = self.user("Ada"), self.user("Bob"), self.user("Eve")
        sent = a.tell(b, "secret")
        self.assertEqual(eve.history(peer=a)["messages"], [])
        self.assertEqual(eve.history(peer=b)["messages"], [])
        self.assertEqual(eve.ask(PRESENCE, ids=[a.id, b.id]), {"online": []})
        for peer in (a.id, b.id):
            self.assertIn(eve.ask(RECALL, peerId=peer, seq=sent["seq"])["error"]["code"], ("forbidden", "not_found"))
            eve.ask(READ, peerId=peer, seq=1)
        self.assertEqual(eve.request(8, ids=[sent["id"]])["removed"], 0)
        self.assertEqual(b.request(7)["messages"][0]["content"], "secret")


class BansOverRestart(Ordered):
    abstract = False

    def test_bans_are_kept(self):
        a, b, c, m = self.user("Ada"), self.user("Bob"), self.user("Cy"), self.user("Max")
        name = self.channel(a, b, c, m)
        self.order("ban user %s" % b.id)
        self.order("channel %s ban %s" % (name, c.id))
        self.order("mute user %s" % m.id)
        self.server.restart()
        self.refused("forbidden", self.connect(), LOGIN, token=b.token)
        c2, m2 = self.again(c), self.again(m)
        self.refused("forbidden", c2, HISTORY, channel=name)
        self.refused("forbidden", c2, SUBSCRIBE, name=name)
        self.refused("forbidden", m2, SEND_CHANNEL, channel=name, content="x")
        self.assertEqual(m2.history(name)["messages"], [])


HERD = int(os.environ.get("MAGPIE_HERD", "500"))  # how many come at once; ./dev soak has 10,000


class Herds(Test):
    """Crowds that come at once."""

    config = {"threads": 2}

    def test_reconnects(self):
        """The same users come back again and again, all at once, and leave without a word: memory is bounded, everybody
        gets in."""
        tokens = []
        for n in range(50):
            tokens.append(self.user("U%d" % n).token)
        for c in self.clients:
            c.close()
        self.clients = []

        def round_of(n):
            sockets = []
            for k in range(n):
                s = socket.create_connection(("127.0.0.1", self.server.tcp))
                body = json.dumps({"token": tokens[k % 50]}).encode()
                s.sendall(struct.pack(">IHH", 8 + len(body), LOGIN, 1) + body)
                sockets.append(s)
            for s in sockets[::10]:
                s.settimeout(30 * PATIENCE)
                self.assertEqual(struct.unpack(">IHH", s.recv(8, socket.MSG_WAITALL))[1:], (LOGIN, 1))
            for s in sockets:
                s.close()

        raise_descriptors(HERD)
        round_of(HERD), round_of(HERD)
        before = memory(self.server)
        rounds = 4 if SANITIZED else 20
        for _ in range(rounds):
            round_of(HERD)
        if not SANITIZED:
            self.assertLess(memory(self.server) - before, 24 << 20 if HERD <= 500 else before // 4)
        c = self.connect()
        c.login(token=tokens[0])

    def test_a_join_storm(self):
        """Many subscribe to one channel in the same moment: each gets one answer, seqs stay whole, and everybody hears
        what comes next."""
        n = 100 if SANITIZED else 400
        crowd = [self.user("J%d" % k) for k in range(n)]
        name = "storm"
        seqs = [(c, c.send(SUBSCRIBE, name=name, push="all")) for c in crowd]
        members = [c.answer(SUBSCRIBE, seq, timeout=30)["members"] for c, seq in seqs]
        self.assertEqual(max(members), n)
        sent = crowd[0].say(name, "all here?")
        self.assertEqual(sent["seq"], 1)
        for c in crowd:
            self.assertEqual(c.push(102, timeout=30)["content"], "all here?")
        # In and out all at once: nothing is counted twice.
        for _ in range(3):
            for c in crowd[1:]:
                c.send(UNSUBSCRIBE, name=name)
                c.send(SUBSCRIBE, name=name)
        for c in crowd[1:]:
            c.request(PING)
        self.eventually(lambda: crowd[0].subscribe(name)["members"] == n)

    def test_presence_is_bounded(self):
        a = self.user()
        self.refused("bad_request", a, PRESENCE, ids=[a.id] * 101)
        self.refused("bad_request", a, PRESENCE, ids=["x"] * 10000)
        self.assertEqual(set(a.request(PRESENCE, ids=[a.id] * 100)["online"]), {a.id})

    def test_half_open_crowds(self):
        """Hundreds that never finish saying hello disturb nobody."""
        a, b = self.user("Ada"), self.user("Bob")
        sockets = []
        try:
            for n in range(600):
                s = socket.create_connection(("127.0.0.1", (self.server.websocket, self.server.tcp)[n % 2]))
                s.sendall(b"GET / HTTP/1.1\r\nX: " if n % 2 == 0 else b"\0\0\1\0")
                sockets.append(s)
            for n in range(20):
                a.tell(b, "through %d" % n)
                self.assertEqual(b.push(101)["content"], "through %d" % n)
        finally:
            for s in sockets:
                s.close()


class LogInjection(Test):
    """What a client says cannot make a log line, break one, or act on a terminal."""

    SAID = ['"', "\\", "=", "a=b c=d", '" level=error', "}{", '","x":"', "\u202eevil", "\u2028line", "'", "\\n", "%n%s",
            "<b>", "\ufeff"]

    def say_it(self, s):
        for text in self.SAID:
            c = self.connect(server=s)
            c.login(text)
            c.subscribe(text)
            c.say(text, "CONTENT-" + text)
            c.ask(99, x=text)
            c.ask(LOGIN, token=text)
        for line in ("GET /\x1b[31m HTTP/1.1\r\nHost: \x1b]0;x\x07\r\n\r\n", "\x1b[2J\r\n\r\n",
                     "GET / HTTP/1.1\r\nOrigin: \x9b31m\r\n\r\n"):
            c = Stream(("127.0.0.1", s.websocket))
            c.write(line.encode("latin-1"))
            try:
                c.fill(1 << 20, soon())
            except Closed:
                pass
            c.close()
        self.user("Last", server=s).request(PING)

    def test_json(self):
        with Server({"log": {"level": "debug", "format": "json"}}) as s:
            self.say_it(s)
            s.stop()
            lines = s.whole_log().rstrip("\n").split("\n")
            for line in lines:
                self.assertIn("event", json.loads(line), line)
            self.check(s)

    def test_text(self):
        with Server({"log": {"level": "debug"}}) as s:
            self.say_it(s)
            s.stop()
            for line in s.whole_log().rstrip("\n").split("\n"):
                self.assertRegex(line, r"^20\d\d-\d\d-\d\dT[0-9:.]+Z (debug|info|warn|error) [a-z_]+\.[a-z0-9_.]+( |$)")
            self.check(s)

    def check(self, s):
        with open(s.log_path, "rb") as f:
            log = f.read()
        self.assertFalse(any(b < 32 and b != 10 or b == 127 for b in log), "a control character")
        for bad in ("\u202e", "\u2028", "\x9b"):
            self.assertNotIn(bad.encode(), log)
        self.assertNotIn(b"CONTENT-", log)
