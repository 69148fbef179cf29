"""The plugin http_api: which names of the host it answers to, and where it listens."""

import os
import socket

from base import Test, one_process
from server import Raw, Server, free_port, merged
from test_plugin_http_api import KEY, Http


class Hosts(Http):
    """A web page whose name was made to point to this machine (DNS rebinding) is of one origin with the server: it can
    ask and read. It is told by the Host."""

    config = {"plugins": {"load": {"metrics": {}, "http_api": {"keys": [KEY]}}}}

    FOREIGN = ("evil.example", "evil.example:%d", "localhost.evil.example", "127.0.0.1.evil.example:80", "chat.example")

    def asked(self, host, path="/metrics", key=None, method="GET"):
        """The status for a request that names the host."""
        status, headers, text = self.http(method, path, key=key, headers={"Host": host})
        if status == 403:
            self.assertEqual(headers["Content-Type"], "text/plain; charset=utf-8")
            if method != "HEAD":
                self.assertIn("localhost", text)
                self.assertIn("listen.metrics", text)
            self.assertNotIn("magpie_", text)
        return status

    def names(self):
        return [name % self.server.websocket if "%" in name else name for name in self.FOREIGN]

    def test_own_names(self):
        port = self.server.websocket
        for host in ("127.0.0.1", "127.0.0.1:%d" % port, "localhost", "LOCALHOST:%d" % port, "chat.localhost:1",
                     "[::1]:%d" % port, "192.168.1.2:80", "myhost"):
            self.assertEqual(self.asked(host), 200, host)

    def test_names_of_others(self):
        for host in self.names():
            self.assertEqual(self.asked(host), 403, host)
            self.assertEqual(self.asked(host, method="HEAD"), 403, host)
            self.assertEqual(self.asked(host, key="whatever"), 403, host)

    def test_a_key_is_enough(self):
        for host in self.names():
            self.assertEqual(self.asked(host, "/api/v1/users/x", KEY), 404, host)
            self.assertEqual(self.asked(host, "/api/v1/users/x"), 401, host)

    def test_reload(self):
        """A proxy on this machine that hands the name on: `origins` has it for its pages, and the world does not get
        the figures by that."""
        self.server.rewrite({"origins": ["https://chat.example"]})
        self.server.reload()
        for host in ("chat.example", "Chat.Example:8082", "evil.example"):
            self.assertEqual(self.asked(host), 403)
        self.assertEqual(self.asked("localhost"), 200)
        self.server.rewrite({"plugins": {"load": {"metrics": {"bearer": KEY}}}})
        self.server.reload()
        self.eventually(lambda: self.asked("localhost") == 401)
        self.assertEqual(self.asked("evil.example"), 401)
        self.assertEqual(self.asked("evil.example", key=KEY), 200)
        self.server.rewrite({"origins": [], "plugins": {"load": {"metrics": Raw("{}")}}})
        self.server.reload()
        self.eventually(lambda: self.asked("evil.example") == 403)


@one_process("a port, and a socket, of one node")
class HostsElsewhere(Test):
    """Where no browser's page can come by a name of its own, any name is served (on listen.metrics: elsewhere the
    figures are for this machine alone)."""

    config = {"plugins": {"load": {"metrics": {}}}, "auth": {"allow_open": True}}

    def status(self, s):
        with s:
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: chat.example\r\n\r\n")
            return s.makefile("rb").readline().split()[1]

    def test_unix_socket(self):
        path = os.path.join(self.server.folder, "ws.sock")
        with Server(merged(self.config, {"listen": {"metrics": "unix:" + path}})) as server:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(30)
            s.connect(path)
            self.assertEqual(self.status(s), b"200")
            self.assertTrue(server.process)

    def test_public_address(self):
        """Of this machine's own, when it has one."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                s.connect(("192.0.2.1", 9))  # sends nothing
            except OSError:
                self.skipTest("no address but loopback")
            address = s.getsockname()[0]
        port = free_port()
        with Server(merged(self.config, {"listen": {"metrics": "0.0.0.0:%d" % port}})):
            self.assertEqual(self.status(socket.create_connection((address, port), 30)), b"200")
            self.assertEqual(self.status(socket.create_connection(("127.0.0.1", port), 30)), b"403")
