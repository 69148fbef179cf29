"""The plugin echo: what conformance suites need of it."""

import os
import random
import re
import time

from base import one_process, smoke
from plugin_base import SHIPPED_PLUGINS, PluginTest, check
from server import PATIENCE, SANITIZED, Server
from wire import BINARY, CONTINUATION, TEXT, Closed, WsWire


class Echo(PluginTest):
    load = {"echo": {}, "metrics": {}}
    path = SHIPPED_PLUGINS
    config = {"timeouts": {"login": 1}}

    def open(self, path="/echo"):
        w = WsWire(self.server.websocket, path=path)
        self.addCleanup(w.close)
        return w

    def next(self, w, timeout=60):
        return w.receive_message(time.monotonic() + timeout * PATIENCE)

    @smoke
    def test_same_opcode_and_bytes(self):
        w = self.open()
        for opcode, data in ((TEXT, b""), (TEXT, "ä€😀".encode()), (BINARY, b""), (BINARY, b"\0"),
                             (BINARY, bytes(range(256)) * 300), (TEXT, b"{}"),
                             (TEXT, b'{"action":1,"body":{"name":"x"}}')):
            w.send_frame(opcode, data)
            self.assertEqual(self.next(w), (opcode, data))

    def test_no_login_is_awaited(self):
        w = self.open()
        time.sleep(3)
        w.send_frame(TEXT, b"still here")
        self.assertEqual(self.next(w), (TEXT, b"still here"))

    def test_sixteen_mebibytes(self):
        w, data = self.open(), os.urandom(16 << 20)
        for _ in range(2):
            w.send_frame(BINARY, data)
            self.assertEqual(self.next(w, 120), (BINARY, data))
        w.send_frame(BINARY, data + b"x")
        self.assertRaises(Closed, self.next, w, 120)
        self.assertEqual(w.close_code, 1009)

    def test_what_strangers_hold_is_bounded(self):
        """Twelve clients of one address, who never log in, each with all but the last byte of 16 MiB: most are closed,
        and others are served."""
        start = self.resident()
        head, almost = WsWire.frame(BINARY, b"", length=16 << 20), bytes((16 << 20) - 1)
        clients, refused = [self.open() for _ in range(12)], 0
        for w in clients:
            try:
                w.stream.write(head + almost)
            except OSError:
                pass
        other = self.open()
        other.send_frame(TEXT, b"small")
        self.assertEqual(self.next(other), (TEXT, b"small"))
        if not SANITIZED:  # they keep what was freed
            self.eventually(lambda: self.resident() - start < 100 << 20)
        for w in clients:
            try:
                w.stream.write(b"\0")
                self.next(w)
            except (Closed, OSError):
                refused += 1
        self.assertGreaterEqual(refused, 9)
        # When they are gone there is room again.
        for w in clients:
            w.close()
        self.test_sixteen_mebibytes()

    def resident(self):
        """Bytes of memory of the server."""
        with open("/proc/%d/status" % self.server.process.pid) as f:
            return 1024 * int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def test_65536_fragments(self):
        w, data = self.open(), os.urandom(1 << 20)
        frames = [w.frame(BINARY if i == 0 else CONTINUATION, data[i * 16:i * 16 + 16], fin=i == 65535)
                  for i in range(65536)]
        w.stream.write(b"".join(frames))
        self.assertEqual(self.next(w, 120), (BINARY, data))

    def test_many_messages_in_one_write(self):
        w = self.open()
        numbers = [str(random.random()).encode() for _ in range(2000)]
        w.stream.write(b"".join(w.frame(TEXT, n) for n in numbers))
        self.assertEqual([self.next(w)[1] for _ in numbers], numbers)

    def test_errors(self):
        for frames, code in ((((TEXT, b"\xff", {}),), 1007), (((CONTINUATION, b"x", {}),), 1002),
                             (((3, b"x", {}),), 1002),
                             (((TEXT, b"x", {"reserved": 4}),), 1002),
                             (((TEXT, b"x", {"fin": False}), (TEXT, b"y", {})), 1002)):
            w = self.open()
            for opcode, data, options in frames:
                w.send_frame(opcode, data, **options)
            self.assertRaises(Closed, self.next, w)
            self.assertEqual(w.close_code, code)
        w = self.open()
        w.send_frame(8, b"\x0b\xb8bye")
        self.assertRaises(Closed, self.next, w)
        self.assertEqual(w.close_code, 3000)

    def test_one_that_does_not_read(self):
        """It is bounded: not read from while its answers wait, and nobody else is delayed."""
        w, other = self.open(), self.open()
        w.stream.socket.settimeout(0.5)
        data = w.frame(BINARY, os.urandom(1 << 20))
        try:
            for _ in range(100):
                w.stream.socket.sendall(data)
            self.fail("a hundred MiB went somewhere")
        except OSError:
            pass
        other.send_frame(TEXT, b"here")
        self.assertEqual(self.next(other), (TEXT, b"here"))

    def test_other_paths_are_chat(self):
        w = self.open("/")
        w.send(9, 7, b"")
        self.assertEqual(w.receive(time.monotonic() + 20 * PATIENCE)[:2], (9, 7))

    @one_process("one process counts and drains")
    def test_counted(self):
        w = self.open()
        w.send_frame(TEXT, b"12345")
        self.next(w)
        figures = self.http("GET", "/metrics")[2].decode()
        self.assertRegex(figures, r"\nmagpie_echo_messages_total [1-9]")
        self.assertRegex(figures, r"# TYPE magpie_echo_bytes_total counter\nmagpie_echo_bytes_total [1-9]")

    @one_process("one process counts and drains")
    def test_drain(self):
        with Server({"plugins": {"path": SHIPPED_PLUGINS, "load": {"echo": {}}}}) as s:
            w = WsWire(s.websocket, path="/echo")
            s.signal(15)
            self.assertRaises(Closed, w.receive_message, time.monotonic() + 20 * PATIENCE)
            self.assertEqual(w.close_code, 1001)
            w.close()
            self.assertEqual(s.process.wait(30 * PATIENCE), 0)

    def test_options(self):
        s = Server({"plugins": {"path": SHIPPED_PLUGINS, "load": {"echo": {"path": "no slash"}}}}, start=False)
        self.addCleanup(s.discard)
        status, text = check(s)
        self.assertEqual(status, 1)
        self.assertIn("plugins.load.echo.path: expected a path that begins with /", text)
        with Server({"plugins": {"path": SHIPPED_PLUGINS, "load": {"echo": {"path": "/e", "message_max": 10}}}}) as s:
            w = WsWire(s.websocket, path="/e")
            w.send_frame(TEXT, b"x" * 11)
            self.assertRaises(Closed, w.receive_message, time.monotonic() + 20 * PATIENCE)
            self.assertEqual(w.close_code, 1009)
            w.close()
