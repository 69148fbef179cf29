"""GET /health and GET /ready on the WebSocket port."""

import http.client
import signal
import time

from base import Test, smoke
from server import PATIENCE, Server
from test_durability import Full
from wire import Closed, Stream, Timeout


def get(port, path, method="GET", headers=None):
    """(status, body, headers)."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=20 * PATIENCE)
    try:
        c.request(method, path, headers=headers or {})
        answer = c.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())
    finally:
        c.close()


class Health(Test):
    config = {"plugins": {"load": {"metrics": {"path": "/metrics"}}}}

    @smoke
    def test_health_and_ready(self):
        for path in ("/health", "/ready"):
            status, body, fields = get(self.server.websocket, path)
            self.assertEqual((status, body), (200, "ok\n"))
            self.assertEqual(fields["Cache-Control"], "no-store")
            self.assertEqual(get(self.server.websocket, path + "?probe=1")[:2], (200, "ok\n"))
            status, body, fields = get(self.server.websocket, path, "HEAD")
            self.assertEqual((status, body, fields["Content-Length"]), (200, "", "3"))
            status, _, fields = get(self.server.websocket, path, "POST")
            self.assertEqual((status, fields["Allow"]), (405, "GET, HEAD"))
            self.assertEqual(get(self.server.websocket, path + "/x")[0], 426)

    def test_any_name(self):
        """A proxy's or an orchestrator's probe asks by any name, and learns nothing but this."""
        self.assertEqual(get(self.server.websocket, "/ready", headers={"Host": "chat.example.org"})[0], 200)

    def test_the_paths_are_taken(self):
        s = Server({"plugins": {"load": {"metrics": {"path": "/health"}}}}, start=False)
        try:
            with self.assertRaisesRegex(AssertionError, "a route .*exists already"):
                s.start()
        finally:
            s.discard()


class Draining(Test):
    def test_draining(self):
        """Who had connected before the drain began is told that this server takes no clients any more."""
        server = Server({"timeouts": {"drain": 30}})
        self.addCleanup(server.close)
        s = Stream(("127.0.0.1", server.websocket))
        self.addCleanup(s.close)
        s.write(b"GET /ready HTTP/1.1\r\nHost: x\r\n")
        time.sleep(0.3)
        server.signal(signal.SIGTERM)
        server.wait_log("server.drain")
        s.write(b"\r\n")
        try:
            while True:
                s.fill(len(s.buffer) + 1, time.monotonic() + 20)
        except (Closed, Timeout):
            pass
        self.assertTrue(s.buffer.startswith(b"HTTP/1.1 503 "), bytes(s.buffer))
        for node in server.nodes:
            node.process.wait(30 * PATIENCE)


class NotReady(Full):
    """A store that refuses writes: the server lives, and should be sent nobody."""

    def test_full_and_space_again(self):
        a, b = self.users("Ada", "Bob")
        a.tell(b, "x")
        self.fill(True)
        try:
            self.refused("unavailable", a, 2, receiverId=b.id, content="y")
            self.eventually(lambda: get(self.server.websocket, "/ready")[:2] == (503, "the store refuses writes\n"))
            self.assertEqual(get(self.server.websocket, "/health")[:2], (200, "ok\n"))
        finally:
            self.fill(False)
        self.sends_again(a, b, "z")
        self.eventually(lambda: get(self.server.websocket, "/ready")[0] == 200)

    test_coming_back_while_full = test_a_guest_that_came_back_while_full_stays = test_stopping_while_full = None


del Full
