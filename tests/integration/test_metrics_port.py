"""Who may read the metrics: listen.metrics, this machine, and who shows the bearer; not the world through a proxy."""

import os
import socket
import time

from base import Test, one_process, smoke
from server import PATIENCE, Server, free_port
from test_health import get
from test_proxy import v1, v2
from wire import Closed, Stream

BEARER = "0123456789abcdefghij"


def config(bearer=None, origins=(), **listen):
    return {"plugins": {"load": {"metrics": {"bearer": bearer} if bearer else {"path": "/metrics"}}},
            "origins": list(origins), "listen": listen}


@one_process("one process's port")
class MetricsTest(Test):
    abstract = True

    def raw(self, head, first=b"", source=None, port=None):
        """The status of the answer to this head."""
        s = Stream(("127.0.0.1", port or self.server.websocket), source=source, first=first)
        self.addCleanup(s.close)
        s.write(head.encode())
        try:
            while True:
                s.fill(len(s.buffer) + 1, time.monotonic() + 20 * PATIENCE)
        except (Closed, ConnectionResetError):
            pass
        self.assertTrue(s.buffer.startswith(b"HTTP/1.1 "), bytes(s.buffer))
        status = int(s.buffer[9:12])
        self.assertEqual(b"magpie_connections" in s.buffer, status == 200)
        return status

    def ask(self, *fields, version="1.1", host="127.0.0.1", **more):
        lines = ["GET /metrics HTTP/" + version] + (["Host: " + host] if host else []) + \
            ["Connection: close", *fields]
        return self.raw("\r\n".join(lines) + "\r\n\r\n", **more)


@one_process("one process's port")
class Closing(MetricsTest):
    """Without listen.metrics, and with `origins`, by which a proxy used to publish them."""

    abstract = False
    config = config(origins=["https://chat.example.org"], proxy=["127.0.0.3"])

    @smoke
    def test_this_machine(self):
        for host in ("127.0.0.1", "localhost:8082", "[::1]", "myhost"):
            self.assertEqual(self.ask(host=host), 200)
        self.assertEqual(self.ask("Connection: close", "Accept: text/plain"), 200)
        self.assertEqual(self.ask(source="127.0.0.2"), 200, "all of 127.0.0.0/8 is this machine")

    def test_through_a_proxy(self):
        """nginx and HAProxy on this machine that nobody has told us of."""
        for case in ({"host": "chat.example.org"},  # proxy_set_header Host $host, and HAProxy
                     {"version": "1.0"}, {"version": "1.0", "host": ""},  # nginx as it is
                     {"fields": ["Connection: upgrade"]},  # nginx as in all examples for WebSockets
                     {"fields": ["X-Forwarded-For: 192.0.2.1"]}, {"fields": ["X-Real-IP: 192.0.2.1"]},
                     {"fields": ["X-Forwarded-Proto: https"]}, {"fields": ["Forwarded: for=192.0.2.1"]},
                     {"fields": ["Via: 1.1 vegur"]}, {"host": "evil.example"}):
            self.assertEqual(self.ask(*case.pop("fields", ()), **case), 403, case)

    def test_through_one_that_is_listed(self):
        """It speaks for others, even where it says nothing."""
        self.assertEqual(self.ask(source="127.0.0.3"), 403)
        self.assertEqual(self.ask("X-Forwarded-For: 127.0.0.1", source="127.0.0.3"), 403)
        for first in (v1("192.0.2.1"), v2("192.0.2.1"), v1("127.0.0.1"), v2("127.0.0.1"), v2("1.1.1.1", 0x20)):
            self.assertEqual(self.ask(source="127.0.0.3", first=first), 403, first)

    def test_from_elsewhere(self):
        """Of this machine's own addresses, when it has one that is not loopback."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                s.connect(("192.0.2.1", 9))  # sends nothing
            except OSError:
                self.skipTest("no address but loopback")
            address = s.getsockname()[0]
        port = free_port()
        with Server(dict(self.config, listen={"websocket": "0.0.0.0:%d" % port}, auth={"allow_open": True})):
            s = Stream((address, port), first=b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.addCleanup(s.close)
            s.fill(12, time.monotonic() + 20)
            self.assertEqual(bytes(s.buffer[:12]), b"HTTP/1.1 403")

    def test_other_paths_are_as_they_were(self):
        self.assertEqual(get(self.server.websocket, "/ready", headers={"Host": "chat.example.org"})[0], 200)


@one_process("one process's port")
class WithBearer(MetricsTest):
    abstract = False
    config = config(BEARER, proxy=["127.0.0.3"])

    def test_bearer(self):
        good = "Authorization: Bearer " + BEARER
        self.assertEqual(self.ask(), 401)
        self.assertEqual(self.ask("Authorization: Bearer nonsense"), 401)
        self.assertEqual(self.ask(good), 200)
        for more in ({"host": "chat.example.org"}, {"source": "127.0.0.3"}, {"version": "1.0"},
                     {"first": v1("192.0.2.1"), "source": "127.0.0.3"}):
            self.assertEqual(self.ask(good, **more), 200, more)
            self.assertEqual(self.ask(**more), 401, more)


@one_process("one process's port")
class OverUnixSockets(MetricsTest):
    abstract = False
    config = config(websocket=["127.0.0.1:0", "unix:ws.sock"])

    def test_who_speaks_there_is_a_proxy(self):
        s = Stream(os.path.join(self.server.folder, "ws.sock"),
                   first=b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.addCleanup(s.close)
        s.fill(12, time.monotonic() + 20)
        self.assertEqual(bytes(s.buffer[:12]), b"HTTP/1.1 403")


@one_process("one process's port")
class PortOfTheirOwn(MetricsTest):
    abstract = False
    config = dict(config(metrics="127.0.0.1:0"), limits={"connections": 2, "connections_per_ip": 2})

    def test_there_and_nowhere_else(self):
        port = self.server.metrics
        self.assertNotEqual(port, 0)
        status, body, _ = get(port, "/metrics")
        self.assertEqual(status, 200)
        self.assertIn("magpie_connections", body)
        self.assertEqual(get(self.server.websocket, "/metrics")[0], 426, "no such page there any more")
        for path, wanted in (("/health", 200), ("/ready", 200), ("/", 404), ("/api/v1/x", 404)):
            self.assertEqual(get(port, path)[0], wanted, path)
        self.assertEqual(get(port, "/metrics", "POST")[0], 405)
        self.assertEqual(self.ask(port=port, host="evil.example"), 403, "a name that was made to point here")
        self.assertEqual(self.ask("X-Forwarded-For: 192.0.2.1", version="1.0", port=port), 200)

    def test_origins_make_names_known(self):
        with Server(dict(self.config, origins=["https://chat.example.org"])) as s:
            for host, wanted in (("chat.example.org", 200), ("chat.example.org:9464", 200), ("evil.example", 403)):
                self.assertEqual(self.ask(port=s.metrics, host=host), wanted, host)

    def test_no_chat_there(self):
        self.assertEqual(self.raw("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                                  port=self.server.metrics), 404)

    def test_a_full_server_is_watched(self):
        a, b = self.users("Ada", "Bob")
        self.assertEqual(get(self.server.websocket, "/ready")[0], 503)
        self.assertEqual(get(self.server.metrics, "/ready")[0], 200)
        self.assertEqual(get(self.server.metrics, "/metrics")[0], 200)
        self.assertIn("time", a.request(9))
        self.assertIn("time", b.request(9))


@one_process("one process's port")
class PortAndBearer(MetricsTest):
    abstract = False
    config = config(BEARER, metrics="127.0.0.1:0")

    def test_bearer(self):
        self.assertEqual(self.ask(port=self.server.metrics), 401)
        self.assertEqual(self.ask("Authorization: Bearer " + BEARER, port=self.server.metrics), 200)


@one_process("one process's port")
class Config(Test):
    def test_doubt(self):
        with Server({"listen": {"metrics": "127.0.0.1:0"}}) as s:
            self.assertIn("listen.metrics has an address", s.log())
            self.assertEqual(get(s.metrics, "/metrics")[0], 404)
            self.assertEqual(get(s.metrics, "/health")[:2], (200, "ok\n"))
