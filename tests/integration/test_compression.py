"""gzip on TCP and permessage-deflate on WebSocket: what is agreed upon, what is sent and taken, what is refused."""

import json
import os
import random
import struct
import time
import zlib

from base import Test, one_process, smoke, variants
from client import CHANNEL_MESSAGE, CLOSING, HISTORY, INBOX, LOGIN, MERGED, PING, SEND_CHANNEL, USER_MESSAGE
from plugin_base import SHIPPED_PLUGINS, Console, PluginTest
from server import PATIENCE, Server
from wire import BINARY, CLOSE, CONTINUATION, TEXT, WIRES, Closed, Deflated, DeflateWire, Refused, TcpWire, WsWire

FORMS = ("tcp", "binary", "text", "gzip", "deflate", "deflate-text")
PACKED = FORMS[3:]
NARROW = "; server_max_window_bits=10; client_max_window_bits"
WORDS = ("the magpie collects spoons tea wagon window der Elster sammelt Löffel Fenster la pie ramasse cuillères "
         "fenêtre сорока собирает ложки окно かささぎ は 匙 を 集める 喜鹊 收集 勺子 العقعق يجمع الملاعق").split()


def chat(n, seed=1):
    """Some n bytes of words in several languages, always the same ones."""
    chance, out = random.Random(seed), []
    while sum(len(w.encode()) + 1 for w in out) < n:
        out.append(chance.choice(WORDS))
    return " ".join(out)


def opened(s, **options):
    return DeflateWire(s.websocket, **options)


@variants(("tcp", 1), ("tcp", 3))
class Mixed(Test):
    """Receivers of every form in one channel get the same."""

    def members(self, *forms, **login):
        """A member of each form, and those with a small window."""
        out = [self.user("U" + f, wire=f, **login) for f in forms]
        for form, offer in (("deflate", NARROW), ("deflate-text", "; server_max_window_bits=8")):
            c = self.connect(form, offer=offer)
            c.login("Narrow", **login)
            out.append(c)
        return out

    @smoke
    def test_long_pushes_are_compressed_and_short_ones_are_not(self):
        members = self.members(*FORMS)
        name = self.channel(*members)
        long, short = chat(3000), "short"
        for c in members:
            c.wire.packed = c.wire.plain = 0
        for i in range(10):
            members[i % len(members)].say(name, long if i % 2 else short)
        for c in members:
            got = [m["content"] for m in c.pushes(CHANNEL_MESSAGE, 10)]
            self.assertEqual(got, [short, long] * 5)
            if c.wire.form in ("tcp", "binary", "text") and not isinstance(c.wire, Deflated):
                continue
            self.assertGreater(c.wire.packed, 5 * 500)
            self.assertLess(c.wire.packed, 5 * 2000)  # of 15,000
            self.assertGreater(c.wire.plain, 5 * 40)

    def test_private_messages(self):
        a, b = self.user(wire="deflate"), self.user("Bob", wire="gzip")
        b2, text = self.again(b, wire="deflate-text"), chat(2000)
        a.tell(b, text)
        for c in (b, b2):
            self.assertEqual(c.push(USER_MESSAGE)["content"], text)
            self.assertGreater(c.wire.packed, 300)

    def test_pages(self):
        """Pages of history and inbox go compressed, and say what they say to others."""
        a = self.user()
        name, lines = self.channel(a), [chat(150, i) for i in range(60)]
        readers = self.members(*FORMS)
        for c in readers:
            c.subscribe(name, push="none")
        for line in lines:
            a.say(name, line)
        b = self.user("Bob")
        for line in lines:
            a.tell(b, line)
        for c in readers:
            c.wire.packed = c.wire.plain = 0
            page = c.history(name, limit=50)
            self.assertEqual([m["content"] for m in page["messages"]], lines[10:])
            if isinstance(c.wire, Deflated) or c.wire.form == "gzip":
                whole = len(json.dumps(page, ensure_ascii=False).encode())
                # A small window sees only what stands close by.
                narrow = getattr(c.wire, "bits", 15) < 15
                self.assertLess(c.wire.packed, whole * (.75 if narrow else .4))
        for form in PACKED:
            c = self.again(b, wire=form)
            c.wire.packed = 0
            self.assertEqual([m["content"] for m in c.request(INBOX, limit=60)["messages"]], lines)
            self.assertGreater(c.wire.packed, 0)

    def test_slices(self):
        members = self.members(*PACKED, accept=["merge"])
        name = self.channel(*members, push="merged")
        a = self.user()
        a.subscribe(name, push="none")
        lines = [chat(200, i) for i in range(10)]
        for c in members:
            c.wire.packed = 0
        for line in lines:
            a.say(name, line)
        for c in members:
            got = []
            while len(got) < 10:
                got += [m["content"] for m in c.push(MERGED)["messages"]]
            self.assertEqual(got, lines)
            self.assertGreater(c.wire.packed, 0)

    def test_what_overtakes(self):
        """Many messages at once, to receivers that get them joined: each of them whole, in order."""
        members = self.members(*FORMS) + self.users("A", "B", "C", "D", wire="deflate")
        name = self.channel(*members)
        chance = random.Random(4)
        texts = [chat(chance.choice((20, 100, 600, 3000)), i) for i in range(200)]
        members[0].send_all([(SEND_CHANNEL, {"channel": name, "content": t}) for t in texts])
        for c in members:
            self.assertEqual([m["content"] for m in c.pushes(CHANNEL_MESSAGE, 200, 60)], texts)


@variants(("gzip", 2), ("deflate", 1), ("deflate-text", 2))
class Everything(Test):
    """threshold = 0: all that becomes smaller is compressed, but never a token."""

    config = {"compression": {"threshold": 0}}

    def test_logins_are_plain(self):
        c = self.connect()
        answer = c.login("Ada" * 20)
        plain, whole = c.wire.plain, len(json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode())
        self.assertEqual(c.wire.packed, 0)
        self.assertGreaterEqual(plain, whole)
        other = self.again(c)
        self.assertEqual(other.wire.packed, 0)
        # A later answer under the same action holds none.
        self.assertEqual(c.error(LOGIN, name="x" * 64).code, "forbidden")
        c.request(HISTORY, peerId=c.id)
        c.subscribe("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        self.assertGreater(c.wire.packed, 0)

    def test_a_conversation(self):
        a, b = self.user(), self.user("Bob")
        name = self.channel(a, b)
        for text in ("x", "hello hello hello hello", chat(15000), "\u0001\"\\", os.urandom(3000).hex()):
            a.say(name, text)
            for c in (a, b):
                self.assertEqual(c.push(CHANNEL_MESSAGE)["content"], text)
        self.refused("bad_request", a, SEND_CHANNEL, channel=name, content=5)
        self.refused("not_found", a, SEND_CHANNEL, channel="n" * 60, content="x")
        self.assertEqual(len(b.history(name)["messages"]), 5)

    def test_the_last_words(self):
        a = self.user()
        b = self.again(a, device="d")
        self.again(a, device="d")
        self.assertEqual(b.closing()["reason"], "replaced")


class Gzip(Test):
    config = {"limits": {"frame": 20000}}

    def frame(self, action, seq, body):
        return TcpWire.pack(action | 0x8000, seq, body)

    def ask(self, c, action, body):
        seq = c.next_seq()
        c.wire.stream.write(self.frame(action, seq, body))
        return c.answer(action, seq)

    def test_plain_and_compressed_requests(self):
        a = self.user(wire="gzip")
        name = self.channel(a)
        body = json.dumps({"channel": name, "content": "packed"}).encode()
        for level in (0, 1, 9):
            answer = self.ask(a, SEND_CHANNEL, zlib.compress(body, level, 31))
            self.assertIn("seq", answer)
        a.wire.agreed = False
        a.say(name, "plain")
        a.wire.agreed = True
        self.assertEqual([m["content"] for m in a.pushes(CHANNEL_MESSAGE, 4)], ["packed"] * 3 + ["plain"])
        # Several members, as RFC 1952 2.2 has it; and a body of nothing, which means {}.
        two = zlib.compress(body[:10], 6, 31) + zlib.compress(body[10:], 6, 31)
        self.assertIn("seq", self.ask(a, SEND_CHANNEL, two))
        self.assertIn("time", self.ask(a, PING, zlib.compress(b"", 6, 31)))

    def test_no_gzip(self):
        a = self.user(wire="gzip")
        good = zlib.compress(b"{}", 6, 31)
        wrong = bytearray(good)
        wrong[-5] ^= 1
        for body in (b"", b"{}", good[:-1], good[:5], bytes(wrong), good + b"x", zlib.compress(b"{}"),
                     Deflated.squeeze(b"{}"), b"\x1f\x8b" + bytes(20)):
            for action in (PING, SEND_CHANNEL, 5000):
                answer = self.ask(a, action, body)
                self.assertEqual(answer["error"]["code"], "bad_request", (action, body))
                self.assertIn("gzip", answer["error"]["message"])
        self.assertEqual(self.ask(a, 5000, good)["error"]["code"], "unknown_action")
        self.assertEqual(self.ask(a, SEND_CHANNEL, zlib.compress(b"no json", 6, 31))["error"]["code"], "bad_request")
        self.assertIn("time", a.request(PING))

    def test_from_others(self):
        for wire in ("tcp", "binary", "text", "deflate"):
            c = self.connect(wire)
            packed = zlib.compress(b"{}", 6, 31)
            for code in ("unauthorized", "bad_request"):
                for action in (PING, LOGIN, SEND_CHANNEL):
                    seq = c.send_raw(action | 0x8000, b"{}" if wire == "text" else packed)
                    got = c.receive()
                    self.assertEqual((got[0] & 0x7FFF, got[1], got[2]["error"]["code"]), (action, seq, code))
                # Over WebSocket "gzip" says nothing.
                if code == "unauthorized":
                    c.login("Ada", accept=["merge"] if wire == "tcp" else ["gzip", "merge"])

    def test_before_its_answer(self):
        """What is pipelined behind the login is agreed upon already; before it nothing is."""
        w = TcpWire(self.server.tcp)
        packed = self.frame(PING, 3, zlib.compress(b"{}", 6, 31))
        w.stream.write(packed + TcpWire.pack(LOGIN, 4, b'{"name":"Ada","accept":["gzip"]}') + packed)
        deadline = time.monotonic() + 20 * PATIENCE
        got = [w.receive(deadline) for _ in range(3)]
        self.assertEqual([f[:2] for f in got], [(PING | 0x8000, 3), (LOGIN, 4), (PING, 3)])
        self.assertIn(b"unauthorized", got[0][2])
        self.assertIn(b"time", got[2][2])
        w.close()

    def test_bombs(self):
        for size in (20001, 1 << 20, 1 << 30):
            a = self.user(wire="gzip")
            packer, body = zlib.compressobj(9, zlib.DEFLATED, 31), b""
            for at in range(0, size, 1 << 20):
                body += packer.compress(bytes(min(1 << 20, size - at)))
                if len(body) > 19000:
                    break
            body += packer.flush()
            a.wire.stream.write(self.frame(PING, 7, body[:19900]))
            frames = a.rest()
            self.assertEqual([(f[0], f[1]) for f in frames], [(0, 0), (CLOSING, 0)])
            self.assertEqual(frames[0][2]["error"]["code"], "too_large")
            self.assertEqual(frames[1][2]["reason"], "protocol")
        a = self.user(wire="gzip")
        self.assertIn("time", self.ask(a, PING, zlib.compress(b"{" + b" " * 19998 + b"}", 9, 31)))

    def test_many_at_once(self):
        """Compressed frames in one packet, and one byte by byte."""
        a = self.user(wire="gzip")
        name = self.channel(a)
        a.send_all([(SEND_CHANNEL, {"channel": name, "content": chat(50, i)}) for i in range(100)])
        self.assertEqual([m["content"] for m in a.pushes(CHANNEL_MESSAGE, 100)], [chat(50, i) for i in range(100)])
        for b in a.wire.pack(PING, 77, b"{}"):
            a.wire.stream.write(bytes([b]))
        self.assertIn("time", a.answer(PING, 77))


class Deflate(Test):
    config = {"limits": {"frame": 200000}}

    def fails(self, w, code):
        """The server closes with this code."""
        with self.assertRaises(Closed):
            while True:
                w.receive_message(time.monotonic() + 20 * PATIENCE)
        self.assertEqual(w.close_code, code)
        w.close()

    def open(self, login=False, **options):
        w = opened(self.server, **options)
        self.addCleanup(w.close)
        if login:
            w.send(LOGIN, 1, b'{"name":"Ada"}')
            self.assertEqual(self.next(w)[:2], (LOGIN, 1))
        return w

    def next(self, w):
        return w.receive(time.monotonic() + 20 * PATIENCE)

    def alive(self, w):
        w.send(PING, 99, b"{}")
        self.assertEqual(self.next(w)[:2], (PING, 99))

    # --- The handshake

    def test_offers(self):
        base = "permessage-deflate"
        yes = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        for offers, answer in (
                ([base], yes), ([base + "; client_max_window_bits"], yes), ([base + ";client_max_window_bits=9"], yes),
                ([base + "; server_no_context_takeover; client_no_context_takeover"], yes),
                ([base + "; server_max_window_bits=15"], yes + "; server_max_window_bits=15"),
                ([base + "; server_max_window_bits=10"], yes + "; server_max_window_bits=9"),
                ([base + "; server_max_window_bits=8"], yes + "; server_max_window_bits=8"),
                ([base + "; server_max_window_bits=7"], None), ([base + "; server_max_window_bits"], None),
                ([base + "; client_max_window_bits=16"], None), ([base + "; unknown"], None),
                ([base + "; client_no_context_takeover=1"], None),
                ([base + "; server_max_window_bits=9; server_max_window_bits=9"], None),
                ([base + "; unknown, " + base], yes), ([base + "; unknown", "x-other", base], yes),
                (["x-webkit-deflate-frame"], None), ([], None), ([""], None),
                ([base + ";"], 400), ([base + "; a="], 400), ([base + " b"], 400), ([base, "="], 400)):
            headers = [("Sec-WebSocket-Extensions", o) for o in offers]
            with self.subTest(offers=offers):
                if answer == 400:
                    with self.assertRaises(Refused) as refused:
                        WsWire(self.server.websocket, headers=headers)
                    self.assertEqual(refused.exception.status, 400)
                    continue
                w = WsWire(self.server.websocket, headers=headers)
                self.assertEqual(w.fields().get("sec-websocket-extensions"), answer)
                self.assertEqual(w.head.lower().count("sec-websocket-extensions"), 1 if answer else 0)
                w.close()

    def test_not_agreed(self):
        w = WsWire(self.server.websocket)
        w.send_frame(BINARY, Deflated.squeeze(b"\0\x09\0\1{}"), reserved=4)
        self.fails(w, 1002)

    # --- Messages

    @smoke
    def test_ways_to_compress(self):
        """Levels, windows, blocks of every kind, and how RFC 7692 7.2.3 lets them end."""
        w, message = self.open(), struct.pack(">HH", PING, 5) + b'{"a":"%s"}' % chat(5000).encode()
        packed = [Deflated.squeeze(message, level, bits) for level in (0, 1, 6, 9) for bits in (9, 12, 15)]
        packed += [Deflated.squeeze(message, 6, 15, zlib.Z_FULL_FLUSH)[:-4],
                   Deflated.squeeze(message, 6, 15, zlib.Z_FINISH) + b"\0",  # marked as the last block
                   Deflated.squeeze(message, 6, 15, zlib.Z_FINISH)]
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)  # flushed again and again
        packed.append(b"".join(packer.compress(message[i:i + 100]) + packer.flush(zlib.Z_SYNC_FLUSH)
                               for i in range(0, len(message), 100))[:-4])
        packed.append(b"".join(Deflated.squeeze(message[i:i + 100], 6, 15, zlib.Z_FINISH)
                               for i in range(0, len(message), 100)) + b"\0")  # a last block behind a last block
        for p in packed:
            w.send_frame(BINARY, p, reserved=4)
            self.assertEqual(self.next(w)[:2], (PING, 5))
            w.send_frame(BINARY, message)  # and one that is not compressed
            self.assertEqual(self.next(w)[:2], (PING, 5))

    def test_text(self):
        w = WIRES["deflate-text"](self.server.websocket)
        self.addCleanup(w.close)
        w.send(PING, 6, b"{}")
        self.assertEqual(w.receive(time.monotonic() + 20 * PATIENCE)[:2], (PING, 6))
        # Not UTF-8 once it is inflated, although each byte of it would be before.
        for bad in (b'{"action":9,"a":"\xff"}', b'{"action":9,"a":"\xc3', b"\xed\xa0\x80"):
            w = self.open()
            w.send_frame(TEXT, Deflated.squeeze(bad), reserved=4)
            self.fails(w, 1007)

    def test_each_message_for_itself(self):
        """Context takeover, which nobody has agreed upon, is an error and no other message's text."""
        w, packer = self.open(), zlib.compressobj(9, zlib.DEFLATED, -15)
        message = struct.pack(">HH", PING, 5) + b'{"a":"%s"}' % chat(300).encode()
        for i in range(2):
            w.send_frame(BINARY, (packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4], reserved=4)
            if i == 0:
                self.assertEqual(self.next(w)[:2], (PING, 5))
        self.fails(w, 1002)

    def test_fragments(self):
        w = self.open()
        message = struct.pack(">HH", PING, 5) + b'{"a":"%s"}' % chat(3000).encode()
        packed = Deflated.squeeze(message)
        for size in (1, 2, 7, 100, len(packed) - 1):
            parts = [packed[i:i + size] for i in range(0, len(packed), size)] + [b""]
            data = b""
            for i, p in enumerate(parts):
                first = {"reserved": 4} if i == 0 else {}
                data += WsWire.frame(CONTINUATION if i else BINARY, p, fin=i == len(parts) - 1, **first)
                if i % 50 == 1:
                    data += WsWire.frame(9, b"ping")
            w.stream.write(data)
            opcode = 10
            while opcode == 10:
                opcode, fin, payload = w.receive_frame(time.monotonic() + 20 * PATIENCE)
            self.assertEqual((opcode, payload[:4]), (BINARY, message[:4]))

    def test_reserved_bits(self):
        packed = Deflated.squeeze(b"\0\x09\0\1{}")
        for frames in (((9, b"x", {"reserved": 4}),), ((CLOSE, b"\x03\xe8", {"reserved": 4}),),
                       ((BINARY, packed, {"reserved": 6}),), ((BINARY, packed, {"reserved": 2}),),
                       ((BINARY, packed, {"reserved": 1}),),
                       ((BINARY, packed[:3], {"reserved": 4, "fin": False}),
                        (CONTINUATION, packed[3:], {"reserved": 4})),
                       ((BINARY, packed[:3], {"fin": False}), (CONTINUATION, packed[3:], {"reserved": 4})),
                       ((CONTINUATION, packed, {"reserved": 4}),)):
            w = self.open()
            for opcode, data, options in frames:
                w.send_frame(opcode, data, **dict({"fin": True}, **options))
            self.fails(w, 1002)

    def test_damaged(self):
        """Bits turned over, pieces cut off: an error with 1002 or 1007, or a message like any other; never a hang."""
        chance = random.Random(11)
        message = struct.pack(">HH", PING, 5) + b'{"a":"%s"}' % chat(400).encode()
        for i in range(150):
            packed = bytearray(Deflated.squeeze(message, chance.choice((1, 6, 9))))
            if i % 3 == 0:
                packed = packed[:chance.randrange(len(packed))]
            else:
                for _ in range(chance.randrange(1, 4)):
                    packed[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
            w = self.open()
            w.send_frame(TEXT if i % 2 else BINARY, bytes(packed), reserved=4)
            w.send_frame(BINARY, struct.pack(">HH", PING, 6))
            try:
                while b'"time"' not in w.receive_message(time.monotonic() + 20 * PATIENCE)[1]:
                    pass
            except Closed:
                self.assertIn(w.close_code, (1002, 1007))
            w.close()

    # --- Bombs

    def bomb(self, size):
        packer, out = zlib.compressobj(9, zlib.DEFLATED, -15), b""
        for at in range(0, size, 1 << 20):
            out += packer.compress(bytes(min(1 << 20, size - at)))
        return (out + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def test_bombs(self):
        for login, limit in ((False, 65536), (True, 200000)):
            for size in (limit + 1, 30 << 20):
                packed = self.bomb(size)
                for pieces in (1, 3, min(len(packed), 2000)):
                    w = self.open(login)
                    step = -(-len(packed) // pieces)
                    data = b""
                    for i in range(pieces):
                        data += WsWire.frame(CONTINUATION if i else BINARY, packed[i * step:i * step + step],
                                             fin=i == pieces - 1, **({} if i else {"reserved": 4}))
                    w.stream.write(data)
                    self.fails(w, 1009)
            w = self.open(login)
            w.send_frame(BINARY, Deflated.squeeze(struct.pack(">HH", PING, 3) + b"{" + b" " * (limit - 6) + b"}"),
                         reserved=4)
            self.assertEqual(self.next(w)[:2], (PING, 3))

    def test_bombs_cost_no_memory(self):
        """A hundred bombs of 190 MB each, before login: none is blown up, and who comes after is served."""
        def resident():
            with open("/proc/%d/statm" % self.server.process.pid) as f:
                return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")
        packed, before = self.bomb(190 << 20)[:64000], resident()
        wires = [self.open() for _ in range(100)]
        for w in wires:
            w.send_frame(BINARY, packed, reserved=4)
        for w in wires:
            self.fails(w, 1009)
        self.assertLess(resident() - before, 40 << 20)
        self.alive(self.open())

    @one_process("counts of one process")
    def test_unfinished_ones_are_counted(self):
        """What waits for its last fragment before login is what came, not what it would be; and it is bounded."""
        with Server({"limits": {"before_login_per_ip": 200000}}) as s:
            packed = os.urandom(30000)
            wires, refused = [opened(s) for _ in range(10)], 0
            for w in wires:
                w.send_frame(BINARY, packed, fin=False, reserved=4)
            for w in wires:
                try:
                    w.send_frame(9, b"here")
                    while True:
                        opcode, _, payload = w.receive_frame(time.monotonic() + 20 * PATIENCE)
                        if opcode == 10:
                            break
                        if opcode == CLOSE:
                            refused += 1
                            break
                except Closed:
                    refused += 1
            self.assertIn(refused, range(3, 8))
            for w in wires:
                w.close()


@one_process("one process's figures")
class Settings(PluginTest):
    """What is configured, reloaded and shown."""

    load = {"metrics": {}}
    path = SHIPPED_PLUGINS

    def pushed(self, *clients):
        """Whether a push of some 2000 bytes came compressed."""
        name = self.channel(*clients)
        for c in clients:
            c.wire.packed = c.wire.plain = 0
        clients[0].say(name, chat(2000))
        for c in clients:
            c.push(CHANNEL_MESSAGE)
        packed = {c.wire.packed > 0 for c in clients}
        self.assertEqual(len(packed), 1)
        return packed.pop()

    def test_reload(self):
        a, b = self.user(wire="deflate"), self.user(wire="gzip")
        console = Console(self.server)
        self.addCleanup(console.close)
        self.assertTrue(self.pushed(a, b))
        for settings, packed in (({"threshold": 5000}, False), ({"threshold": 100}, True), ({"level": 0}, False),
                                 ({"level": 9}, True), ({"level": 1, "threshold": 0}, True)):
            self.server.rewrite({"compression": settings})
            console("config reload")
            self.assertEqual(self.pushed(a, b), packed, settings)
            # Who comes while it is off gets no permessage-deflate.
            w = WsWire(self.server.websocket, headers=[("Sec-WebSocket-Extensions", "permessage-deflate")])
            self.assertEqual("sec-websocket-extensions" in w.fields(), settings.get("level") != 0)
            w.close()
        for over, what in (({"level": 10}, "level"), ({"threshold": -1}, "threshold"), ({"level": "x"}, "level")):
            self.server.rewrite({"compression": over})
            self.assertIn(what, str(console.line("config reload")))
            self.server.rewrite({"compression": {"level": 6, "threshold": 512}})
        console("config reload")

    def test_console(self):
        console = Console(self.server)
        self.addCleanup(console.close)
        for wire, name, form in (("tcp", "none", "tcp"), ("gzip", "gzip", "tcp"), ("binary", "none", "binary"),
                                 ("deflate", "deflate", "binary"), ("deflate-text", "deflate", "text")):
            c = self.user(wire=wire)
            listed = console("list connections " + c.id)
            self.assertEqual([k["compression"] for k in listed], [name])
            shown = console("show connection " + listed[0]["connection"])
            self.assertEqual((shown["compression"], shown["form"]), (name, form))

    def test_metrics(self):
        def figures():
            text = self.http("GET", "/metrics")[2].decode()
            return {line.split()[0]: float(line.split()[1]) for line in text.splitlines()
                    if "flate_" in line and line[0] != "#"}
        a = self.user(wire="gzip")
        self.pushed(a, self.user(wire="deflate"))
        got = self.eventually(lambda: figures() if figures()["magpie_deflate_in_bytes_total"] > 4000 else None)
        self.assertLess(got["magpie_deflate_out_bytes_total"], got["magpie_deflate_in_bytes_total"] * .7)
        self.assertGreater(got["magpie_inflate_in_bytes_total"], 0)
        self.assertGreater(got["magpie_inflate_out_bytes_total"], 2000)


class Shared(PluginTest):
    """However many receive it, a push is compressed once for each form that somebody has."""

    load = {"metrics": {}}
    path = SHIPPED_PLUGINS
    config = {"threads": 1}

    def deflated(self):
        text = self.http("GET", "/metrics")[2].decode()
        return int([line.split()[1] for line in text.splitlines()
                    if line.startswith("magpie_deflate_in_bytes_total ")][0])

    def test_once(self):
        members = [self.user(wire=w) for w in FORMS for _ in range(6)]
        name = self.channel(*members)
        settled = -1
        while settled != self.deflated():  # the figures are a little old
            settled = self.deflated()
            time.sleep(1.2)
        content = chat(4000)
        members[0].say(name, content)
        for c in members:
            self.assertEqual(c.push(CHANNEL_MESSAGE)["content"], content)
        time.sleep(1.2)
        made = self.eventually(lambda: self.deflated() - settled)
        time.sleep(1.2)
        made = self.deflated() - settled
        # gzip, binary and text: three forms of some 4,100 bytes for 18 receivers.
        self.assertTrue(3 * 4000 < made < 3 * 4500, made)


class Echo(PluginTest):
    """In small what conformance suites do to compression: messages of many sizes, by windows and fragments, come back
    as they were (threshold = 0)."""

    load = {"echo": {}}
    path = SHIPPED_PLUGINS
    config = {"compression": {"threshold": 0}}
    OFFERS = ("", "; client_max_window_bits", "; server_no_context_takeover; client_no_context_takeover",
              "; server_max_window_bits=9", "; server_max_window_bits=8; client_max_window_bits=9",
              "; server_max_window_bits=15; client_max_window_bits",
              "; server_max_window_bits=12; server_no_context_takeover")

    def texts(self, size):
        """JSON-like text, text of many alphabets, and what cannot be made smaller."""
        lines = json.dumps([{"id": i, "sender": {"id": "u%d" % (i % 9)}, "content": chat(80, i)}
                            for i in range(size // 100 + 1)], ensure_ascii=False)
        yield TEXT, lines.encode()[:size].decode(errors="ignore").encode()
        yield TEXT, ("%x" % random.Random(size).getrandbits(size * 4 + 4)).encode()[:size]
        yield BINARY, random.Random(size).randbytes(size)
        yield BINARY, bytes(size)

    def test_sizes(self):
        for offer in self.OFFERS:
            w = DeflateWire(self.server.websocket, path="/echo", offer=offer)
            self.addCleanup(w.close)
            for size in (0, 1, 2, 16, 64, 125, 126, 256, 1000, 1024, 4096, 8192, 8193, 16384, 65535, 65536, 131072):
                for opcode, data in self.texts(size):
                    packed = Deflated.squeeze(data, bits=9 if "client_max_window_bits=9" in offer else 15)
                    w.send_frame(opcode, packed, reserved=4)
                    self.assertEqual(w.receive_message(time.monotonic() + 30 * PATIENCE), (opcode, data))
            self.assertGreater(w.packed, 0)

    def test_fragments(self):
        w = DeflateWire(self.server.websocket, path="/echo", offer="; client_max_window_bits")
        self.addCleanup(w.close)
        opcode, data = next(self.texts(131072))
        packed = Deflated.squeeze(data)
        for size in (256, 1024, 4096, 32768):
            for _ in range(3):
                frames = [WsWire.frame(CONTINUATION if i else opcode, packed[i:i + size], fin=i + size >= len(packed),
                                       **({} if i else {"reserved": 4})) for i in range(0, len(packed), size)]
                w.stream.write(b"".join(frames))
                self.assertEqual(w.receive_message(time.monotonic() + 30 * PATIENCE), (opcode, data))

    def test_a_thousand_messages(self):
        """Sent without waiting, as a suite does."""
        for offer in ("", "; server_max_window_bits=9"):
            w = DeflateWire(self.server.websocket, path="/echo", offer=offer)
            self.addCleanup(w.close)
            opcode, data = next(self.texts(1024))
            for _ in range(10):
                w.stream.write(w.frame(opcode, data) * 100)
                for _ in range(100):
                    self.assertEqual(w.receive_message(time.monotonic() + 30 * PATIENCE), (opcode, data))
            self.assertEqual(w.plain, 0)

    def test_sixteen_mebibytes(self):
        w = DeflateWire(self.server.websocket, path="/echo")
        self.addCleanup(w.close)
        size = 16 << 20
        for data in (bytes(size), random.Random(1).randbytes(size)):
            w.send_frame(BINARY, data)
            self.assertEqual(w.receive_message(time.monotonic() + 120 * PATIENCE), (BINARY, data))
        w.send_frame(BINARY, Deflated.squeeze(bytes(size + 1)), reserved=4)
        self.assertRaises(Closed, w.receive_message, time.monotonic() + 60 * PATIENCE)
        self.assertEqual(w.close_code, 1009)
