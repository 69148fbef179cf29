"""Attacks on WebSocket: the core cases of a conformance suite (sizes, fragments, control frames between them, reserved
bits and opcodes, UTF-8, closing), each through the chat's own path and through the plugin echo's; and HTTP heads made
to be read in two ways."""

import json
import os
import struct
import time

from base import Test
from client import LOGIN, PING
from server import PATIENCE
from wire import BINARY, CLOSE, CONTINUATION, PING as WS_PING, PONG, TEXT, Closed, Stream, WsWire


def soon(seconds=20):
    return time.monotonic() + seconds * PATIENCE


def frame(*arguments, **options):
    return WsWire.frame(*arguments, **options)


def close(code, text=b""):
    return frame(CLOSE, struct.pack(">H", code) + text)


def fragments(opcode, *parts, between=b""):
    """One message in so many fragments, with these bytes between them."""
    last = len(parts) - 1
    return between.join(frame(CONTINUATION if i else opcode, part, fin=i == last) for i, part in enumerate(parts))


GOOD_TEXT = [
    "Hällö-µ@ßöäüàá-UTF-8!!", "κόσμε", "\u0001", "\u0080", "\u0800", "\U00010000", "\u007f", "\u07ff", "\uffff",
    "\ud7ff", "\ue000", "\ufffd", "\U0010ffff", "\ufdd0",
    "\ufffe", "\U0001fffe", "\U0010fffe", "\u200b\u202e",
]

BAD_TEXT = [
    b"\x80", b"\xbf", b"\x80\xbf" * 3, b"\xc0 ", b"\xdf ", b"\xe0 ", b"\xef ", b"\xf0 ", b"\xf7 ", b"\xfb ", b"\xfd ",
    b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf",
    b"\xfe", b"\xff", b"\xfe\xfe\xff\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf",
    b"\xfc\x80\x80\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
    "κόσμε".encode() + b"\xed\xa0\x80edited",
]


class Cases(Test):
    """What both paths have in common. `path`, and what to send for a sign of life."""

    abstract = True
    path = "/"

    def open(self):
        w = WsWire(self.server.websocket, path=self.path)
        self.addCleanup(w.close)
        return w

    def alive(self, w):
        """The connection works."""
        raise NotImplementedError

    def closes(self, code, data, after=False):
        """These bytes close the connection with this code, at the beginning or after it was used."""
        w = self.open()
        if after:
            self.alive(w)
        w.stream.write(data)
        frames = []
        try:
            while True:
                opcode, _, payload = w.receive_frame(soon())
                frames.append((opcode, payload))
                if opcode == CLOSE:
                    break
        except Closed:
            pass
        self.assertTrue(frames and frames[-1][0] == CLOSE, "no close frame but %.200r" % frames)
        self.assertEqual(struct.unpack(">H", frames[-1][1][:2])[0], code)
        with self.assertRaises(Closed):
            w.send_frame(CLOSE, frames[-1][1][:2])
            w.stream.fill(1, soon())
        return frames

    def test_reserved_bits(self):
        for bits in range(1, 8):
            for data in (frame(TEXT, b"x", reserved=bits), frame(BINARY, b"xxxx", reserved=bits),
                         frame(WS_PING, b"x", reserved=bits), frame(CLOSE, struct.pack(">H", 1000), reserved=bits),
                         frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", reserved=bits)):
                with self.subTest(bits=bits, data=data[:2]):
                    self.closes(1002, data, after=bits == 4)

    def test_reserved_opcodes(self):
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
            with self.subTest(opcode=opcode):
                self.closes(1002, frame(opcode, b"x" * (opcode % 3)), after=opcode % 2)
                self.closes(1002, frame(TEXT, b"x", fin=False) + frame(opcode, b""))

    def test_fragments_out_of_place(self):
        for data in (frame(CONTINUATION, b"x"), frame(CONTINUATION, b"x", fin=False), frame(CONTINUATION, b""),
                     frame(WS_PING, b"x", fin=False), frame(PONG, b"x", fin=False),
                     frame(CLOSE, b"", fin=False), frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"),
                     frame(BINARY, b"x", fin=False) + frame(BINARY, b"x", fin=False),
                     frame(TEXT, b"x", fin=False) + frame(WS_PING, b"", fin=False)):
            with self.subTest(data=data):
                self.closes(1002, data)
                self.closes(1002, data, after=True)

    def test_control_frames_that_are_too_long(self):
        for opcode in (WS_PING, PONG, CLOSE):
            for n in (126, 65536):
                self.closes(1002, frame(opcode, b"\x03\xe8" + b"a" * (n - 2)))
            self.closes(1002, frame(opcode, b"", length=(1 << 63) - 1))

    def test_unmasked_frames(self):
        for opcode in (TEXT, BINARY, WS_PING, CLOSE):
            self.closes(1002, frame(opcode, b"", mask=False))

    def test_lengths_written_too_long(self):
        """Not the fewest bytes: RFC 6455 5.2 forbids it."""
        for head in (struct.pack(">BBH", 0x82, 0xFE, 5), struct.pack(">BBQ", 0x82, 0xFF, 5),
                     struct.pack(">BBQ", 0x82, 0xFF, 65535), struct.pack(">BBQ", 0x82, 0xFF, 1 << 63),
                     struct.pack(">BBQ", 0x82, 0xFF, (1 << 64) - 1)):
            with self.subTest(head=head):
                self.closes(1002, head + b"mask" + b"hello")

    def test_pings(self):
        w = self.open()
        for payload in (b"", b"x", b"\x00\xff\xfe", b"y" * 125):
            w.send_frame(WS_PING, payload)
            self.assertEqual(w.receive_frame(soon()), (PONG, True, payload))
        w.send_frame(PONG, b"nobody asked")
        w.stream.write(b"".join(frame(WS_PING, b"%d" % i) for i in range(10)))
        # Pongs may be left out but for the last (RFC 6455 5.5.3).
        got = [b""]
        while got[-1] != b"9":
            opcode, _, payload = w.receive_frame(soon())
            self.assertEqual(opcode, PONG)
            self.assertGreater(payload, got[-1])
            got.append(payload)
        for byte in frame(WS_PING, b"in pieces"):
            w.stream.write(bytes([byte]))
        self.assertEqual(w.receive_frame(soon()), (PONG, True, b"in pieces"))
        self.alive(w)

    def test_a_flood_of_pings_unread(self):
        """Whoever never reads its pongs costs what is bounded, and holds up nobody."""
        w = self.open()
        w.stream.socket.setblocking(False)
        data, sent = frame(WS_PING, b"p" * 125) * 500, 0
        end = time.monotonic() + 2
        while sent < 16 << 20 and time.monotonic() < end:
            try:
                sent += w.stream.socket.send(data)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        self.alive(self.open())

    def test_bad_utf8(self):
        for text in BAD_TEXT:
            with self.subTest(text=text):
                self.closes(1007, frame(TEXT, text))
        for text in BAD_TEXT[::5]:
            self.closes(1007, fragments(TEXT, *[bytes([b]) for b in text]), after=True)

    def test_bad_utf8_is_known_at_once(self):
        """The close comes before the message has ended."""
        self.closes(1007, frame(TEXT, "κόσμε".encode() + b"\xf4\x90", fin=False))
        self.closes(1007, frame(TEXT, b"ok", fin=False) + frame(CONTINUATION, b"\xff", fin=False))
        self.closes(1007, struct.pack(">BBH", 0x81, 0xFE, 1000) + b"\0\0\0\0" + b"abc\xff")

    def test_a_character_cut_in_two(self):
        self.closes(1007, fragments(TEXT, b"\xce", b"a"))
        self.closes(1007, fragments(TEXT, b"abc", b"\xf4\x8f\xbf"))

    def test_close_codes(self):
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
            with self.subTest(code=code):
                self.closes(code, close(code))
                self.closes(code, close(code, "grüße".encode()), after=True)
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
            with self.subTest(code=code):
                self.closes(1002, close(code))
        self.closes(1002, frame(CLOSE, b"\x03"))
        self.closes(1000, close(1000, b"a" * 123))
        for text in BAD_TEXT[::7]:
            self.closes(1007, close(1000, text))

    def test_an_empty_close(self):
        w = self.open()
        w.send_frame(CLOSE, b"")
        self.assertEqual(w.receive_frame(soon()), (CLOSE, True, b""))
        with self.assertRaises(Closed):
            w.stream.fill(1, soon())

    def test_nothing_counts_after_a_close(self):
        frames = self.closes(1000, close(1000) + frame(WS_PING, b"x") + frame(TEXT, b"{}") + close(1001) +
                             frame(15, b"junk") + b"\xff" * 100)
        self.assertEqual([f[0] for f in frames], [CLOSE])

    def test_a_close_within_a_message(self):
        self.closes(1000, frame(TEXT, b"half of a ", fin=False) + close(1000))


class Chat(Cases):
    """The chat's own path: messages are requests."""

    abstract = False

    def alive(self, w):
        w.send_frame(TEXT, b'{"action":9,"seq":77}')
        kind, payload = w.receive_message(soon())
        body = json.loads(payload[4:] if kind == BINARY else payload)
        self.assertIn("time", body if kind == BINARY else body["body"])

    def test_pieces_with_pings_between(self):
        message = '{"action":9,"seq":5,"body":{"x":"κόσμε"}}'.encode()
        for data in (fragments(TEXT, *[bytes([b]) for b in message]), fragments(TEXT, b"", b"", message, b""),
                     fragments(TEXT, message[:20], message[20:], between=frame(WS_PING, b"1"))):
            w = self.open()
            w.stream.write(data)
            kind, payload = w.receive_message(soon())
            self.assertEqual((kind, json.loads(payload)["seq"]), (TEXT, 5))

    def test_texts_that_are_good(self):
        w = self.open()
        for text in GOOD_TEXT:
            w.send_frame(TEXT, json.dumps({"action": 9, "seq": 3, "body": {"x": text}}, ensure_ascii=False).encode())
            self.assertIn("time", json.loads(w.receive_message(soon())[1])["body"], text)
        w.send_frame(TEXT, "\ufeff{}".encode())  # a byte order mark is no JSON, and valid UTF-8
        self.assertEqual(json.loads(w.receive_message(soon())[1])["action"], 0)

    def test_beyond_the_limit(self):
        limit = 64 * 1024
        self.closes(1009, frame(BINARY, b"x" * (limit + 1)))
        self.closes(1009, frame(TEXT, b"x" * limit * 2))
        self.closes(1009, frame(BINARY, b"", length=1 << 40))
        self.closes(1009, fragments(BINARY, *[b"x" * 1024] * 66), after=True)

    def test_fragments_of_nothing(self):
        """65,536 of them are one message."""
        w = self.open()
        message = b'{"action":9,"seq":6}'
        w.stream.write(frame(TEXT, message[:5], fin=False) + frame(CONTINUATION, b"", fin=False) * 65536 +
                       frame(CONTINUATION, message[5:]))
        self.assertEqual(json.loads(w.receive_message(soon())[1])["seq"], 6)


class Echo(Cases):
    """The path of the plugin echo, which sends back what it gets."""

    abstract = False
    path = "/echo"
    config = {"plugins": {"load": {"echo": {}}}, "limits": {"output_queue": 4 << 20}}

    def alive(self, w):
        self.comes_back(w, TEXT, b"alive?")

    def comes_back(self, w, opcode, payload, data=None):
        w.stream.write(frame(opcode, payload) if data is None else data)
        kind, got = w.receive_message(soon(60))
        self.assertEqual(kind, opcode)
        self.assertTrue(got == payload, "%d bytes came back as %d others: %.60r" % (len(payload), len(got), got))

    def test_sizes(self):
        w = self.open()
        for n in (0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20):
            self.comes_back(w, TEXT, b"*" * n)
            self.comes_back(w, BINARY, os.urandom(n))

    def test_in_small_writes(self):
        w, payload = self.open(), os.urandom(65536)
        data = frame(BINARY, payload)
        for i in range(0, len(data), 997):
            w.stream.write(data[i:i + 997])
        self.comes_back(w, BINARY, payload, b"")

    def test_texts(self):
        w = self.open()
        for text in GOOD_TEXT:
            text = text.encode()
            self.comes_back(w, TEXT, text)
            self.comes_back(w, TEXT, text, fragments(TEXT, *[bytes([b]) for b in text]))
        for text in BAD_TEXT:
            self.comes_back(w, BINARY, text)

    def test_fragments(self):
        w = self.open()
        self.comes_back(w, TEXT, b"", fragments(TEXT, b"", b"", b""))
        self.comes_back(w, TEXT, b"middle", fragments(TEXT, b"", b"middle", b""))
        self.comes_back(w, BINARY, b"abc", fragments(BINARY, b"a", b"b", b"c"))
        # Control frames are answered while the message is under way.
        w.stream.write(frame(TEXT, b"fragment1", fin=False) + frame(WS_PING, b"now"))
        self.assertEqual(w.receive_frame(soon()), (PONG, True, b"now"))
        w.stream.write(frame(CONTINUATION, b"fragment2", fin=False) + frame(WS_PING, b"and now") + frame(PONG, b""))
        self.assertEqual(w.receive_frame(soon()), (PONG, True, b"and now"))
        self.comes_back(w, TEXT, b"fragment1fragment2fragment3", frame(CONTINUATION, b"fragment3"))

    def test_many_fragments(self):
        w, payload = self.open(), os.urandom(65536)
        self.comes_back(w, BINARY, payload, fragments(BINARY, *[payload[i:i + 1] for i in range(65536)]))
        self.comes_back(w, BINARY, payload,
                        frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 65536 +
                        frame(CONTINUATION, payload))

    def test_the_largest(self):
        w, payload = self.open(), os.urandom(16 << 20)
        self.comes_back(w, BINARY, payload)
        self.comes_back(w, BINARY, payload,
                        fragments(BINARY, *[payload[i:i + (1 << 16)] for i in range(0, len(payload), 1 << 16)]))
        self.closes(1009, frame(BINARY, b"x", length=(16 << 20) + 1))
        self.closes(1009, frame(BINARY, b"", length=1 << 62))

    def test_many_in_one_write(self):
        w = self.open()
        w.stream.write(b"".join(frame(BINARY, b"%d" % i) for i in range(2000)))
        for i in range(2000):
            self.assertEqual(w.receive_message(soon()), (BINARY, b"%d" % i))


class Heads(Test):
    """HTTP heads."""

    HEAD = ("GET / HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")

    def answer(self, data):
        """Everything the server says to these bytes until it closes, or upgrades."""
        s = Stream(("127.0.0.1", self.server.websocket))
        self.addCleanup(s.close)
        try:
            s.write(data)
            while not s.buffer.startswith(b"HTTP/1.1 101") or b"\r\n\r\n" not in s.buffer:
                s.fill(len(s.buffer) + 1, soon())
        except Closed:
            pass
        return bytes(s.buffer)

    def status(self, *lines, end="\r\n"):
        answer = self.answer((end.join(lines) + end + end).encode("latin-1"))
        return int(answer.split()[1]) if answer else None

    def with_line(self, line, at=None):
        lines = list(self.HEAD)
        if at is None:
            lines.append(line)
        else:
            lines[at] = line
        return self.status(*lines)

    def test_the_head_is_good(self):
        self.assertEqual(self.status(*self.HEAD), 101)

    def test_what_can_be_read_in_two_ways(self):
        for line in ("X : y", " X: y", "X: y\r\n folded", "X: y\r\n\tfolded", ": y", "X", "X y: z", "X: a\x00b",
                     "X: a\rb", "X\x00: y", "Host: other", "Host : other", "X: a\x0bb", "X: \x7f",
                     "Content-Length: 5", "Content-Length: 0\r\nContent-Length: 5", "Transfer-Encoding: chunked",
                     "Content-Length: -1", "Content-Length: 0x5", "Content-Length: 99999999999999999999",
                     "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 8"):
            with self.subTest(line=line):
                self.assertIn(self.with_line(line), (400, 413, 426, 501))
        self.assertEqual(self.status(*self.HEAD, end="\n"), 400)
        self.assertEqual(self.answer(b"GET / HTTP/1.1\nHost: x\r\n\r\n")[9:12], b"400")

    def test_requests_that_are_none(self):
        for first in ("GET", "GET /", "GET / HTTP/1.1 x", "GET  / HTTP/1.1", "GET /a b HTTP/1.1", " GET / HTTP/1.1",
                      "GET / http/1.1", "GET / HTTP/1.10", "GET / HTTP/11", "GET / FTP/1.1",
                      "G\x00T / HTTP/1.1", "GET /\x00 HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /\xff HTTP/1.1",
                      "GET a HTTP/1.1", "(GET) / HTTP/1.1", "GET\t/\tHTTP/1.1"):
            with self.subTest(first=first):
                self.assertEqual(self.with_line(first, at=0), 400)
        for first, status in (("GET / HTTP/2.0", (400, 505)), ("GET / HTTP/0.9", (400, 505)),
                              ("GET / HTTP/1.0", (400, 426)), ("PRI * HTTP/2.0", (400, 505)),
                              ("CONNECT x:1 HTTP/1.1", (400, 405)),
                              ("GET http://elsewhere.example/ HTTP/1.1", (101, 400)),
                              ("GET " + "/" * 20000 + " HTTP/1.1", (414, 431))):
            with self.subTest(first=first[:40]):
                self.assertIn(self.with_line(first, at=0), status)

    def test_keys(self):
        for key in ("", "=", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ= ", "dGhlIHNhbXBsZSBub25jZ===",
                    "dGhlIHNhbXBsZSBub25jZQ==x", "!!hlIHNhbXBsZSBub25jZQ==", "A" * 3000):
            self.assertEqual(self.with_line("Sec-WebSocket-Key: " + key, at=4), 400, key)

    def test_heads_without_end(self):
        self.assertIn(self.answer(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10000)[9:12], (b"431", b""))
        self.assertIn(self.answer(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100000)[9:12], (b"431", b""))
        self.assertIn(self.answer(b"A" * 100000)[9:12], (b"400", b"431", b""))

    def test_a_second_request_is_no_request(self):
        """Whatever comes behind the head of an upgrade is frames."""
        answer = self.answer("\r\n".join(self.HEAD).encode() + b"\r\n\r\n" +
                             b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(answer.count(b"HTTP/1.1"), 1)
        # And behind a refused one is nothing at all.
        answer = self.answer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + "\r\n".join(self.HEAD).encode() + b"\r\n\r\n")
        self.assertEqual(answer.count(b"HTTP/1.1"), 1)
        self.assertNotIn(b" 101 ", answer)

    def test_compression_parameters(self):
        """Whatever is offered, the answer is none or a good one (RFC 7692)."""
        for offer in ("permessage-deflate; server_max_window_bits=7", "permessage-deflate; client_max_window_bits=16",
                      "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
                      "permessage-deflate; client_max_window_bits=\"x\"", "permessage-deflate; unknown=1",
                      "permessage-deflate; server_no_context_takeover=1", "permessage-deflate;;;", ",,,", "x; y=\"",
                      "permessage-deflate, " * 100 + "x"):
            with self.subTest(offer=offer[:60]):
                lines = self.HEAD + ("Sec-WebSocket-Extensions: " + offer,)
                answer = self.answer(("\r\n".join(lines) + "\r\n\r\n").encode())
                self.assertIn(answer[9:12], (b"101", b"400"))
                self.assertNotIn(b"unknown", answer)

    def test_a_head_is_not_told_back(self):
        """Nothing of a request comes back in an answer: no script for a browser, no split header."""
        mark = "q7zXq"
        for lines in (("GET /%s<script> HTTP/1.1" % mark, "Host: x"), ("GET / HTTP/1.1", "Host: %s" % mark),
                      ("%s / HTTP/1.1" % mark, "Host: x"), self.HEAD + ("Origin: http://%s.example" % mark,),
                      self.HEAD + ("Sec-WebSocket-Protocol: %s" % mark,)):
            answer = self.answer(("\r\n".join(lines) + "\r\n\r\n").encode())
            self.assertNotIn(mark.encode(), answer)

    def test_the_server_goes_on(self):
        a = self.user(wire="binary")
        a.request(PING)
        self.assertEqual(a.error(LOGIN, name="x").code, "forbidden")
