"""WebSocket: the upgrade, messages in both forms, what breaks the protocol."""

import json
import os
import socket
import struct
import time

from base import Test, one_process, smoke
from client import Client, LOGIN, PING
from wire import BINARY, CLOSE, CONTINUATION, PING as WS_PING, PONG, TEXT, Closed, Refused, Stream, Timeout, WsWire


def soon(seconds=10):
    from server import PATIENCE
    return time.monotonic() + seconds * PATIENCE


class WebSocket(Test):
    wire = "binary"
    config = {"limits": {"frame": 4096, "content": 2000}, "timeouts": {"login": 30}}

    def raw(self, **options):
        w = WsWire(self.server.websocket, **options)
        self.addCleanup(w.close)
        return w

    def http(self, head):
        """The status line's code of the answer to this head, and the whole answer."""
        s = Stream(("127.0.0.1", self.server.websocket))
        self.addCleanup(s.close)
        s.write(head)
        try:
            while not s.buffer.startswith(b"HTTP/1.1 101") or b"\r\n\r\n" not in s.buffer:
                s.fill(len(s.buffer) + 1, soon())
        except (Closed, Timeout):
            pass
        return int(bytes(s.buffer).split()[1]) if s.buffer else None, bytes(s.buffer)

    def breaks(self, data, code, login=False):
        """After these bytes the server closes with this code."""
        w = self.raw()
        if login:
            w.send(LOGIN, 1, b'{"name":"Ada"}')
            w.receive(soon())
        w.stream.write(data)
        try:
            while True:
                w.receive_message(soon())
        except Closed:
            pass
        if code is not None:
            self.assertEqual(w.close_code, code)

    HEAD = ("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n")

    @smoke
    def test_any_path(self):
        for path in ("/", "/ws", "/a/b?c=d&e", "/%20", "*"):
            c = self.connect(path=path) if path.startswith("/") else None
            if c:
                c.login("Ada")
                c.request(PING)

    def test_the_accept_key(self):
        status, answer = self.http((self.HEAD % ("/", "")).encode())
        self.assertEqual(status, 101)
        self.assertIn(b"s3pplmbitxaq9kygzzhzrbk+xoo=", answer.lower())

    def test_headers_in_any_case_and_place(self):
        head = ("GET / HTTP/1.1\r\nhost: 127.0.0.1:1\r\nUPGRADE: WebSocket\r\ncOnnection: keep-alive, "
                "upGrade\r\nsec-websocket-key:   dGhlIHNhbXBsZSBub25jZQ==  \r\n"
                "sec-websocket-VERSION: 13\r\nCookie: a=b\r\nX-Empty:\r\n\r\n")
        self.assertEqual(self.http(head.encode())[0], 101)

    def test_no_upgrades(self):
        for head, status in [
                ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404, 426)),
                ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", (400, 404, 405, 426)),
                ((self.HEAD % ("/", "")).replace("GET", "POST"), (400, 405)),
                ((self.HEAD % ("/", "")).replace("Version: 13", "Version: 8"), (400, 426)),
                ((self.HEAD % ("/", "")).replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), (400, 426)),
                ((self.HEAD % ("/", "")).replace("dGhlIHNhbXBsZSBub25jZQ==", "short"), (400,)),
                ((self.HEAD % ("/", "")).replace("HTTP/1.1", "HTTP/1.0"), (400, 426, 505)),
                ((self.HEAD % ("/", "")).replace("Host: 127.0.0.1\r\n", ""), (400,)),
                ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400, None)),
                ("GET\r\n\r\n", (400, None)), ("\r\n\r\n\r\n\r\n", (400, None))]:
            with self.subTest(head=head[:60]):
                got, answer = self.http(head.encode("latin-1"))
                self.assertIn(got, status, answer)
        if True:
            got, answer = self.http((self.HEAD % ("/", "")).replace("Version: 13", "Version: 8").encode())
            if got == 426:
                self.assertIn(b"sec-websocket-version: 13", answer.lower())

    def test_long_heads(self):
        for extra in ("X: %s\r\n" % ("a" * 17000), "".join("X-%d: y\r\n" % n for n in range(10000)),
                      "".join("X-%d: y\r\n" % n for n in range(96))):
            status, answer = self.http((self.HEAD % ("/", extra)).encode())
            self.assertIn(status, (431, 400, 413, None))

    def test_heads_with_many_cookies(self):
        """What a site's cookies, proxies and tracing come to is no reason to refuse an upgrade."""
        for extra in ("Cookie: %s\r\n" % ("c" * 4000), "Cookie: %s\r\n" % ("c" * 16000),
                      "".join("X-%d: %s\r\n" % (n, "y" * 100) for n in range(95))):
            self.assertEqual(self.http((self.HEAD % ("/", extra)).encode())[0], 101, extra[:20])
        head = (self.HEAD % ("/", "Cookie: %s\r\n" % ("c" * 9000))).encode()
        s = Stream(("127.0.0.1", self.server.websocket))
        self.addCleanup(s.close)
        for at in range(0, len(head), 700):
            s.write(head[at:at + 700])
            time.sleep(0.002)
        s.fill(12, soon())
        self.assertEqual(bytes(s.buffer[:12]), b"HTTP/1.1 101")

    def test_an_empty_line_before_the_request(self):
        """RFC 9112 section 2.2."""
        for before in (b"\r\n", b"\r\n\r\n"):
            self.assertEqual(self.http(before + (self.HEAD % ("/", "")).encode())[0], 101)
            self.assertEqual(self.http(before + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")[0], 426)
        self.assertEqual(self.http(b"\n" + (self.HEAD % ("/", "")).encode())[0], 400)

    def test_pages_under_a_name_of_their_own(self):
        """DNS rebinding: a page's name that was made to point to this machine is "the same host"."""
        port = self.server.websocket
        head = ("GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
                "dGhlIHNhbXBsZSBub25jZQ==\r\n"
                "Sec-WebSocket-Version: 13\r\n%s\r\n")
        for host, origin, status in [("evil.example:%d" % port, "http://evil.example:%d" % port, 403),
                                     ("evil.example", "http://evil.example", 403),
                                     ("evil.example", "http://localhost", 403),
                                     ("127.0.0.1.evil.example", "http://127.0.0.1.evil.example", 403),
                                     ("localhost:%d" % port, "http://localhost:%d" % port, 101),
                                     ("127.0.0.1:%d" % port, "http://127.0.0.1:%d" % port, 101),
                                     ("chat.localhost", "http://chat.localhost", 101), ("evil.example", None, 101)]:
            with self.subTest(host=host, origin=origin):
                for path in ("/", "/anything"):
                    got, answer = self.http((head % (path, host, "Origin: %s\r\n" % origin if origin else "")).encode())
                    self.assertEqual(got, status, answer)
                    if status == 403:
                        self.assertIn(b"origins", answer)

    def test_foreign_origins(self):
        port = self.server.websocket
        for origin, good in [("http://127.0.0.1:%d" % port, True), ("http://localhost", True),
                             ("http://127.0.0.1", True), ("http://[::1]:99", True),
                             ("http://evil.example", False), ("null", False), ("http://127.0.0.1.evil.example", False),
                             ("http://localhost.evil.example", False),
                             ("https://evil.example/http://localhost", False), ("file://", False)]:
            with self.subTest(origin=origin):
                if good:
                    self.raw(headers=[("Origin", origin)])
                else:
                    with self.assertRaises(Refused) as e:
                        self.raw(headers=[("Origin", origin)])
                    self.assertEqual(e.exception.status, 403)

    def test_bytes_after_the_upgrade(self):
        """Frames that come with the head in one packet are taken as frames."""
        s = Stream(("127.0.0.1", self.server.websocket))
        self.addCleanup(s.close)
        s.write((self.HEAD % ("/", "")).encode() + WsWire.frame(TEXT, b'{"action":9,"seq":3}'))
        deadline = soon()
        while b'"time"' not in s.buffer:
            s.fill(len(s.buffer) + 1, deadline)

    @smoke
    def test_the_first_message_decides_the_form(self):
        w = self.raw()
        w.send_frame(TEXT, b'{"action":9,"seq":1}')
        self.assertEqual(w.receive_message(soon())[0], TEXT)
        w.send_frame(BINARY, struct.pack(">HH", 9, 2))
        kind, payload = w.receive_message(soon())
        self.assertEqual((kind, json.loads(payload)["seq"]), (TEXT, 2))
        w = self.raw()
        w.send_frame(BINARY, struct.pack(">HH", 9, 1))
        self.assertEqual(w.receive_message(soon())[0], BINARY)
        w.send_frame(TEXT, b'{"action":9,"seq":2}')
        kind, payload = w.receive_message(soon())
        self.assertEqual((kind, payload[:4]), (BINARY, struct.pack(">HH", 9, 2)))

    @smoke
    def test_text_messages(self):
        w = self.raw()

        def ask(text):
            w.send_frame(TEXT, text)
            kind, payload = w.receive_message(soon())
            message = json.loads(payload)
            self.assertEqual(set(message), {"action", "seq", "body"})
            return message

        got = ask(b'{"action":1,"seq":7,"body":{"name":"Ada"}}')
        self.assertEqual((got["action"], got["seq"], got["body"]["name"]), (1, 7, "Ada"))
        self.server.secrets.add(got["body"]["token"])
        for text in (b'{"action":9}', b'{"action":9,"seq":0}', b' {"seq":0,"body":{},"action":9} ',
                     b'{"action":9,"body":null,"seq":null}', b'{"action":9,"more":[1]}',
                     b'{"action":9.0}', b'{"action":9e0}'):
            got = ask(text)
            self.assertEqual((got["action"], got["seq"]), (9, 0), text)
            self.assertIn("time", got["body"])
        # No such object: action 0, its seq if readable, and the connection is kept.
        for text, seq in [(b"", 0), (b"hello", 0), (b"[]", 0), (b"5", 0), (b"null", 0), (b"{}", 0), (b'{"seq":5}', 5),
                          (b'{"action":"9","seq":6}', 6), (b'{"action":-1,"seq":6}', 6),
                          (b'{"action":65536,"seq":6}', 6), (b'{"action":9.5,"seq":8}', 8),
                          (b'{"action":9,"seq":9,"body":[]}', 9), (b'{"action":9,"seq":9,"body":"x"}', 9),
                          (b'{"action":9,"seq":-1}', 0), (b'{"action":9,"seq":65536}', 0),
                          (b'{"action":9,"seq":"1"}', 0), (b'{"action":9}x', 0), (b'{"action":9,"action":9}', 0),
                          (b"[" * 4000, 0)]:
            with self.subTest(text=text[:40]):
                got = ask(text)
                self.assertEqual((got["action"], got["seq"], got["body"]["error"]["code"]), (0, seq, "bad_request"))
        # Depth counts within the body as it does in the binary form, or one more for the wrapping; errors inside of it
        # are the action's.
        self.assertIn("time", ask(b'{"action":9,"body":{"a":' + b"[" * 30 + b"]" * 30 + b"}}")["body"])
        got = ask(b'{"action":9999,"seq":3,"body":{}}')
        self.assertEqual((got["action"], got["seq"], got["body"]["error"]["code"]), (9999, 3, "unknown_action"))
        self.assertIn("time", ask(b'{"action":9}')["body"])

    def test_depth_in_text(self):
        """32 levels in a body are 32 levels, whatever it is wrapped in."""
        w = self.raw()
        for levels, good in ((32, True), (33, False)):
            w.send_frame(TEXT, b'{"action":9,"body":' + b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1) + b"}")
            got = json.loads(w.receive_message(soon())[1])
            self.assertEqual("time" in got["body"], good, levels)

    def test_text_that_is_refused_is_answered_under_its_seq(self):
        """JSON that our rules refuse: who waits for the seq is answered, under its action."""
        w = self.raw()

        def ask(text):
            w.send_frame(TEXT, text)
            got = json.loads(w.receive_message(soon())[1])
            return got["action"], got["seq"], got["body"].get("error", {}).get("code")

        refused = (b'"\\ud83d"', b'"x\\u0000"', b"1e400", b"[" * 40 + b"]" * 40, b'{"b":1,"b":2}', b'"\\udc00\\ud83d"')
        for value in refused:  # before login that is what it hears first
            self.assertEqual(ask(b'{"action":4,"seq":7,"body":{"content":%s}}' % value), (4, 7, "unauthorized"), value)
        self.assertEqual(ask(b'{"action":1,"seq":1,"body":{"name":"\\ud83d"}}'), (1, 1, "bad_request"))
        self.assertEqual(ask(b'{"action":1,"seq":2,"body":{"name":"Ada"}}'), (1, 2, None))
        for value in refused:
            for text in (b'{"action":4,"seq":7,"body":{"channel":"x","content":%s}}',
                         b'{"body":{"channel":"x","content":%s},"seq":7,"action":4}',
                         b'{"seq":7,"more":%s,"action":4,"body":{"seq":3,"action":9}}'):
                self.assertEqual(ask(text % value), (4, 7, "bad_request"), text % value)
        # A key of the wrapping twice: nobody can tell which one counts.
        self.assertEqual(ask(b'{"action":9,"seq":7,"seq":8}'), (9, 0, "bad_request"))
        self.assertEqual(ask(b'{"action":9,"action":9,"seq":8}'), (0, 8, "bad_request"))
        # No JSON: action 0, and its seq if it is readable.
        for text, seq in ((b'{"action":9,"seq":7,"body":{"a":01}}', 7), (b'{"action":9,"body":{a:1},"seq":7}', 7),
                          (b'{"action":9,"seq":7', 0), (b'{"action":9,"seq":7,}', 7)):
            self.assertEqual(ask(text), (0, seq, "bad_request"), text)
        # Known fields are refused by their names, unknown ones are nobody's concern.
        for n in (b"9223372036854775807", b"-9007199254740992"):
            self.assertEqual(ask(b'{"action":9,"seq":7,"trace":%s,"body":{"snowflake":%s,"x":[{"y":%s}]}}' % (n, n, n)),
                             (9, 7, None))
            self.assertEqual(ask(b'{"action":5,"seq":7,"body":{"channel":"x","after":%s}}' % n), (5, 7, "bad_request"))
            self.assertEqual(ask(b'{"action":9,"seq":%s}' % n), (0, 0, "bad_request"))

    def test_short_binary_messages_close(self):
        for payload in (b"", b"x", b"xyz"):
            self.breaks(WsWire.frame(BINARY, payload), 1002)
            self.breaks(WsWire.frame(BINARY, payload), 1002, login=True)

    def test_protocol_errors(self):
        ping = struct.pack(">HH", 9, 1)
        for data in (WsWire.frame(BINARY, ping, mask=False), WsWire.frame(BINARY, ping, reserved=4),
                     WsWire.frame(BINARY, ping, reserved=2), WsWire.frame(3, ping),
                     WsWire.frame(11, b""), WsWire.frame(CONTINUATION, ping), WsWire.frame(WS_PING, b"x", fin=False),
                     WsWire.frame(WS_PING, b"x" * 126),
                     WsWire.frame(BINARY, b"x", fin=False) + WsWire.frame(BINARY, b"x"), WsWire.frame(CLOSE, b"x"),
                     WsWire.frame(CLOSE, struct.pack(">H", 1005)),
                     WsWire.frame(CLOSE, struct.pack(">H", 999)), WsWire.frame(CLOSE, struct.pack(">H", 2999))):
            with self.subTest(data=data[:8]):
                self.breaks(data, 1002)
                self.breaks(data, 1002, login=True)

    def test_lengths_that_cannot_be(self):
        for n in (1 << 63, (1 << 64) - 1):
            self.breaks(struct.pack(">BBQ", 0x82, 0x80 | 127, n) + b"mask", None)
        for n in (4101, 70000, 1 << 31, 1 << 40):
            self.breaks(WsWire.frame(BINARY, b"", length=n), 1009)
        # The sum of fragments counts.
        self.breaks(WsWire.frame(BINARY, b"x" * 3000, fin=False) + WsWire.frame(CONTINUATION, b"x" * 3000), 1009)

    @smoke
    def test_bad_utf8_closes(self):
        for text in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"{\"action\":9,\"x\":\"\xe2\x82\"}"):
            self.breaks(WsWire.frame(TEXT, text), 1007)
        self.breaks(WsWire.frame(TEXT, b"\xe2\x82", fin=False) + WsWire.frame(CONTINUATION, b"\x41"), 1007)
        self.breaks(WsWire.frame(CLOSE, struct.pack(">H", 1000) + b"\xff"), 1007)

    def test_fragments(self):
        c = self.connect()
        text = struct.pack(">HH", LOGIN, 9) + '{"name":"Ädä"}'.encode()
        for i, byte in enumerate(text):
            c.wire.send_frame(BINARY if i == 0 else CONTINUATION, bytes([byte]), fin=i == len(text) - 1)
            if i % 5 == 0:
                c.wire.send_frame(WS_PING, b"between")
                c.wire.send_frame(CONTINUATION, b"", fin=False)
        self.assertEqual(c.answer(LOGIN, 9)["name"], "Ädä")

    def test_ping_and_pong(self):
        w = self.raw()
        for payload in (b"", b"x", b"y" * 125):
            w.send_frame(WS_PING, payload)
            self.assertEqual(w.receive_frame(soon()), (PONG, True, payload))
        w.send_frame(PONG, b"unasked")
        w.send(PING, 1, b"")
        self.assertEqual(w.receive(soon())[:2], (PING, 1))

    def test_close(self):
        for payload in (b"", struct.pack(">H", 1000), struct.pack(">H", 1001) + b"bye", struct.pack(">H", 3000),
                        struct.pack(">H", 4999)):
            w = self.raw()
            w.send_frame(CLOSE, payload)
            opcode, _, answer = w.receive_frame(soon())
            self.assertEqual((opcode, answer[:2]), (CLOSE, payload[:2]))
            with self.assertRaises(Closed):
                w.stream.fill(1000, soon())

    def test_byte_by_byte(self):
        c = self.connect()
        for byte in c.wire.pack(LOGIN, 5, b'{"name":"Ada"}') + c.wire.pack(PING, 6, b""):
            c.wire.stream.write(bytes([byte]))
        self.assertEqual([c.receive()[:2] for _ in range(2)], [(LOGIN, 5), (PING, 6)])

    def test_the_handshake_byte_by_byte(self):
        s = Stream(("127.0.0.1", self.server.websocket))
        self.addCleanup(s.close)
        for byte in (self.HEAD % ("/", "")).encode():
            s.write(bytes([byte]))
        s.fill(12, soon())
        self.assertEqual(bytes(s.buffer[:12]), b"HTTP/1.1 101")

    def test_the_largest_message(self):
        c = self.user()
        body = b'{"x":"' + b"a" * 4080 + b'"}'
        self.assertIn("time", c.ask_raw(PING, body))

    def test_empty_continuations_without_end(self):
        w = self.raw()
        w.send_frame(BINARY, b"", fin=False)
        try:
            for _ in range(3000):
                w.stream.write(WsWire.frame(CONTINUATION, b"", fin=False) * 10)
        except (Closed, OSError):
            pass
        a = self.user()
        a.request(PING)

    def test_both_transports_together(self):
        a, b, c = self.user("Ada", wire="tcp"), self.user("Bob", wire="binary"), self.user("Cy", wire="text")
        name = self.channel(a, b, c)
        for sender in (a, b, c):
            sent = sender.say(name, "from %s: ü😀\u0001" % sender.name)
            pushes = [x.push(102) for x in (a, b, c)]
            self.assertEqual(pushes[0], pushes[1])
            self.assertEqual(pushes[0], pushes[2])
            self.assertEqual(pushes[0]["id"], sent["id"])


@one_process("what may be held before login is a process's")
class Heads(Test):
    """limits.http_head, limits.http_fields and what may be held before login."""
    config = {"limits": {"http_head": 2048, "http_fields": 20, "before_login": 400000, "before_login_per_ip": 100000},
              "timeouts": {"login": 30}}

    def status(self, head):
        try:
            WsWire(self.server.websocket, headers=head).close()
            return 101
        except Refused as e:
            return e.status

    def test_options(self):
        self.assertEqual(self.status([("Cookie", "c" * 1500)]), 101)
        self.assertEqual(self.status([("Cookie", "c" * 2500)]), 431)
        self.assertEqual(self.status([("X-%d" % n, "y") for n in range(15)]), 101)
        self.assertEqual(self.status([("X-%d" % n, "y") for n in range(16)]), 431)
        self.server.rewrite({"limits": {"http_head": 4096, "http_fields": 40}})
        self.server.reload()
        self.eventually(lambda: self.status([("Cookie", "c" * 2500)]) == 101)
        self.assertEqual(self.status([("X-%d" % n, "y") for n in range(16)]), 101)

    def test_unfinished_messages_before_login(self):
        """Who holds more than an address may is told to go, and nobody else is: other addresses, and those who ask in
        one go."""
        def hold(address):
            c = socket.create_connection(("127.0.0.1", self.server.tcp), 10, (address, 0))
            self.addCleanup(c.close)
            c.sendall(struct.pack(">IHH", 9000, LOGIN, 1) + b" " * 8000)
            return c

        held = [hold("127.0.0.9") for _ in range(20)]

        def gone():
            n = 0
            for c in held:
                c.settimeout(0.01)
                try:
                    n += b'"slow"' in c.recv(4096, socket.MSG_PEEK)
                except (TimeoutError, socket.timeout):
                    pass
            return n
        self.eventually(lambda: gone() == 8)  # 12 times 8008 bytes fit
        others = [hold("127.0.0.8") for _ in range(10)]
        self.user("Ada").request(PING)
        c = socket.create_connection(("127.0.0.1", self.server.tcp), 10, ("127.0.0.9", 0))
        self.addCleanup(c.close)
        body = b'{"name":"Bob"}'
        c.sendall(struct.pack(">IHH", 8 + len(body), LOGIN, 1) + body)
        self.assertIn(b'"token"', c.recv(4096))
        for c in others:
            c.sendall(b" " * 992)
            self.assertIn(b'"bad_request"', c.recv(4096))


class Origins(Test):
    config = {"origins": ["https://chat.example", "http://other.example:8080"]}

    def test_the_list(self):
        for origin, good in [("https://chat.example", True), ("http://other.example:8080", True),
                             ("http://chat.example", False), ("https://chat.example:443", False),
                             ("https://chat.example.evil", False), ("https://xchat.example", False),
                             ("http://127.0.0.1", False), ("null", False), ("", False), (None, True)]:
            with self.subTest(origin=origin):
                headers = [] if origin is None else [("Origin", origin)]
                if good:
                    WsWire(self.server.websocket, headers=headers).close()
                else:
                    with self.assertRaises(Refused) as e:
                        WsWire(self.server.websocket, headers=headers)
                    self.assertEqual(e.exception.status, 403)
