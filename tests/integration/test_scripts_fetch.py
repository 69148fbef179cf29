"""magpie.fetch in the real server: what comes back, what may not be reached, bounds, reloads meanwhile."""

import http.server
import json
import socket
import threading
import time

from base import one_process, smoke, variants
from client import PING
from plugin_base import Console
from test_scripts import Scripted

FETCHING = """
magpie.action(200, function(e)
    local user = e.user.id
    magpie.fetch(e.body, function(err, r)
        if r and #r.body > 100000 then r.body = #r.body end
        magpie.push(user, 200, {err = err, result = r})
    end)
end)
magpie.action(201, function(e)
    local ok, why = pcall(magpie.fetch, e.body, print)
    return {ok = ok, why = tostring(why)}
end)
magpie.action(202, function(e) magpie.fetch(e.body, function(err, r) while true do end end) end)
local version = 1
magpie.action(203, function(e) return {version = version} end)
"""


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # a hundred connect at once; what does not fit waits for a repeated SYN, for seconds
    daemon_threads = True

    def handle_error(self, *_):
        """Whoever hangs up early is part of these tests."""


class Backend(http.server.BaseHTTPRequestHandler):
    """A web service whose paths say what it does."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do(self):
        self.server.seen.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        if path == "/api/slow":
            self.server.release.wait(20)
        if path == "/api/redirect":
            return self.answer(302, Location="http://127.0.0.1:%d/secret" % self.server.server_port)
        if path == "/api/big":
            return self.answer(200, b"x" * (300 << 10))
        if path == "/api/full":
            return self.answer(200, b"x" * (256 << 10))
        if path == "/api/heads":
            return self.answer(200, **{"X_%d" % i: "y" * 1000 for i in range(40)})
        if path == "/api/twice":
            self.send_response(200)
            self.send_header("Set-Cookie", "a")
            self.send_header("Set-Cookie", "b")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if path == "/api/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
            return None
        echo = {"method": self.command, "path": self.path, "body": body.decode(),
                "headers": {k.lower(): v for k, v in self.headers.items()}}
        return self.answer(404 if path == "/api/missing" else 200, json.dumps(echo).encode(),
                           Content_Type="application/json")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do


class Fetched(Scripted):
    """With a web service on loopback, of which a part may be fetched."""

    abstract = True
    files = {"fetching": FETCHING}

    @classmethod
    def setUpClass(cls):
        cls.backend = Server(("127.0.0.1", 0), Backend)
        cls.backend.seen, cls.backend.release = [], threading.Event()
        threading.Thread(target=cls.backend.serve_forever, daemon=True).start()
        cls.port = cls.backend.server_port
        cls.there = "http://127.0.0.1:%d" % cls.port
        cls.config = dict(cls.config, scripts={"fetch": [cls.there + "/api", "http://localhost:%d" % cls.port,
                                                         "http://[::1]:%d" % cls.port, "http://127.0.0.1:1/"]})
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        cls.backend.release.set()
        try:
            super().tearDownClass()
        finally:
            cls.backend.shutdown()
            cls.backend.server_close()

    def setUp(self):
        super().setUp()
        self.backend.release.clear()
        del self.backend.seen[:]

    def fetch(self, client, **request):
        client.request(200, **request)
        return client.push(200, timeout=20)


@variants(("tcp", 2))
class Fetching(Fetched):
    abstract = False

    @smoke
    def test_answers(self):
        a = self.user()
        r = self.fetch(a, url=self.there + "/api/x?y=1&z=%2F")["result"]
        self.assertEqual(r["status"], 200)
        self.assertEqual(r["headers"]["content-type"], "application/json")
        echo = json.loads(r["body"])
        self.assertEqual((echo["method"], echo["path"], echo["body"]), ("GET", "/api/x?y=1&z=%2F", ""))
        self.assertEqual(echo["headers"]["host"], "127.0.0.1:%d" % self.port)
        self.assertTrue(echo["headers"]["user-agent"].startswith("magpie/"))
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            r = self.fetch(a, url=self.there + "/api/x", method=method, body='{"a":1}',
                           headers={"Content-Type": "application/json", "X-Empty": "", "Authorization": "Bearer t"})
            echo = json.loads(r["result"]["body"])
            self.assertEqual((echo["method"], echo["body"]), (method, '{"a":1}'))
            self.assertEqual([echo["headers"][h] for h in ("content-type", "x-empty", "authorization")],
                             ["application/json", "", "Bearer t"])
            self.assertNotIn("expect", echo["headers"])
        self.assertEqual(json.loads(self.fetch(a, url=self.there + "/api", body="x")["result"]["body"])["method"],
                         "POST")
        r = self.fetch(a, url=self.there + "/api/x", method="HEAD")["result"]
        self.assertEqual((r["status"], r["body"]), (200, ""))
        r = self.fetch(a, url=self.there + "/api/x", method="POST")["result"]
        self.assertEqual(json.loads(r["body"])["headers"]["content-length"], "0")
        self.assertEqual(self.fetch(a, url=self.there + "/api/missing")["result"]["status"], 404)
        self.assertEqual(self.fetch(a, url=self.there + "/api/twice")["result"]["headers"]["set-cookie"], "a, b")
        self.assertEqual(self.fetch(a, url=self.there + "/api/full", timeout_ms=20000)["result"]["body"], 262144)

    def test_errors(self):
        a = self.user()
        for path, expected in (("/api/big", "too_large: "), ("/api/heads", "too_large: "),
                               ("/api/cut", "unreachable: ")):
            got = self.fetch(a, url=self.there + path)
            self.assertTrue(got["err"].startswith(expected), (path, got))
        self.assertTrue(self.fetch(a, url="http://127.0.0.1:1/")["err"].startswith("unreachable: "))
        self.assertEqual(self.fetch(a, url=self.there + "/api/slow", timeout_ms=100)["err"],
                         "timeout: no answer within 100 ms")

    def test_redirects_are_not_followed(self):
        a = self.user()
        r = self.fetch(a, url=self.there + "/api/redirect")["result"]
        self.assertEqual(r["status"], 302)
        self.assertTrue(r["headers"]["location"].endswith("/secret"))
        self.assertEqual([path for _, path in self.backend.seen], ["/api/redirect"])

    def test_what_is_not_listed(self):
        a = self.user()
        for url, expected in ((self.there + "/secret", "scripts.fetch lists no beginning"),
                              (self.there + "/apiary", "lists no beginning"),
                              (self.there + "/api/../secret", "segment"),
                              (self.there + "/api/%2e%2e/secret", "segment"),
                              (self.there + "/api%2f..%2fsecret", "%2F"),
                              ("http://127.0.0.1/api", "lists no beginning"),
                              ("https://127.0.0.1:%d/api" % self.port, "lists no beginning"),
                              ("http://127.1:%d/api" % self.port, "no IPv4 address"),
                              ("http://2130706433:%d/api" % self.port, "no IPv4 address"),
                              ("http://0x7f.0.0.1:%d/api" % self.port, "no IPv4 address"),
                              ("http://0.0.0.0:%d/api" % self.port, "lists no beginning"),
                              ("http://[::ffff:127.0.0.1]:%d/api" % self.port, "lists no beginning"),
                              ("http://127.0.0.1:%d@evil.test/api" % self.port, "a user"),
                              ("http://evil.test@127.0.0.1:%d/api" % self.port, "a user"),
                              ("http://127.0.0.1:%d#@evil.test/api" % self.port, "a fragment"),
                              ("http://127.0.0.1:%d\\@evil.test/api" % self.port, "a user"),
                              ("http://127.0.0.1.evil.test:%d/api" % self.port, "lists no beginning"),
                              ("http://169.254.169.254/latest/meta-data", "lists no beginning"),
                              ("file:///etc/passwd", "http://"), ("gopher://127.0.0.1:%d/" % self.port, "http://"),
                              (self.there + "/api\r\nX: y", "%XX")):
            answer = a.request(201, url=url)
            self.assertFalse(answer["ok"], url)
            self.assertIn(expected, answer["why"], url)
        self.assertEqual(self.backend.seen, [])

    def test_names_of_loopback_addresses(self):
        """A listed name that means an address of this machine: as when somebody's DNS is turned around."""
        a = self.user()
        got = self.fetch(a, url="http://localhost:%d/api/hidden" % self.port)
        self.assertTrue(got["err"].startswith("forbidden: localhost is "), got)
        self.assertIn("a loopback address", got["err"])
        self.assertNotIn(("GET", "/api/hidden"), self.backend.seen)

    def test_bad_requests(self):
        a = self.user()
        url = self.there + "/api"
        for request, expected in (({}, "url is missing"), ({"url": 3}, "url is a text"),
                                  ({"url": url, "metod": "GET"}, "unknown field metod; did you mean method?"),
                                  ({"url": url, "method": "BREW"}, "method is one of"),
                                  ({"url": url, "method": "get"}, "method is one of"),
                                  ({"url": url, "method": "GET", "body": "x"}, "GET has no body"),
                                  ({"url": url, "timeout_ms": 0}, "timeout_ms"),
                                  ({"url": url, "timeout_ms": 60001}, "timeout_ms"),
                                  ({"url": url, "headers": {"X-A": "b\r\nX-C: d"}}, "control character"),
                                  ({"url": url, "headers": {"X-A": "b\nc"}}, "control character"),
                                  ({"url": url, "headers": {"X A": "b"}}, "no name of a header"),
                                  ({"url": url, "headers": {"X-A:": "b"}}, "no name of a header"),
                                  ({"url": url, "headers": {"": "b"}}, "no name of a header"),
                                  ({"url": url, "headers": {"Host": "evil"}}, "the server's own"),
                                  ({"url": url, "headers": {"content-Length": "3"}}, "the server's own"),
                                  ({"url": url, "headers": {"Proxy-Authorization": "x"}}, "the server's own"),
                                  ({"url": url, "headers": {"X-A": 3}}, "a table of texts"),
                                  ({"url": url, "headers": {"X-%d" % i: "y" for i in range(33)}}, "32 headers"),
                                  ({"url": url, "headers": {"X": "y" * 9000}}, "8 KiB")):
            answer = a.request(201, **request)
            self.assertFalse(answer["ok"], request)
            self.assertIn(expected, answer["why"], str(request)[:100])
        self.assertEqual(self.backend.seen, [])

    def test_bounded(self):
        """So many wait at once; whoever asks meanwhile is told."""
        a = self.user()
        refused = [a.request(201, url=self.there + "/api/slow", timeout_ms=20000) for _ in range(110)]
        self.assertEqual([r["ok"] for r in refused], [True] * 100 + [False] * 10)
        self.assertIn("100 calls of this script wait", refused[-1]["why"])
        a.request(PING)
        self.backend.release.set()
        self.eventually(lambda: a.request(201, url=self.there + "/api/x")["ok"])
        self.eventually(lambda: len([x for x in self.backend.seen if x[1] == "/api/slow"]) == 100)

    @one_process("one process reloads")
    def test_reload_meanwhile(self):
        a = self.user()
        a.request(200, url=self.there + "/api/slow", timeout_ms=20000)
        self.eventually(lambda: self.backend.seen)
        self.write("fetching", FETCHING.replace("version = 1", "version = 2"))
        Console(self.server)("script reload")
        self.assertEqual(a.request(203), {"version": 2})
        self.backend.release.set()
        self.assertEqual(self.fetch(a, url=self.there + "/api/x")["result"]["status"], 200)  # not the old one
        a.quiet(200)
        self.write("fetching", FETCHING)
        Console(self.server)("script reload")

    def test_a_function_that_takes_too_long(self):
        a = self.user()
        a.request(202, url=self.there + "/api/x")
        self.eventually(lambda: any("in=fetch" in line and "CPU budget" in line
                                    for line in self.server.log().split("\n")))
        a.request(PING)


class Stopping(Fetched):
    abstract = False

    def test_the_end_waits_for_nobody(self):
        a = self.user()
        for _ in range(20):
            a.request(200, url=self.there + "/api/slow", timeout_ms=60000)
        self.eventually(lambda: self.backend.seen)
        a.close()
        began = time.monotonic()
        self.server.restart()
        self.assertLess(time.monotonic() - began, 20)

    def test_reload_of_the_list(self):
        a = self.user()
        url = self.there + "/secret"
        self.assertFalse(a.request(201, url=url)["ok"])
        self.server.rewrite({"scripts": {"fetch": [self.there]}})
        self.server.reload()
        self.assertEqual(self.fetch(a, url=url)["result"]["status"], 200)
        console = Console(self.server)
        self.server.rewrite({"scripts": {"fetch": ["http://user@host/"]}})
        status, body = console.line("config reload")
        self.server.rewrite({"scripts": {"fetch": [self.there + "/api"]}})
        self.assertTrue(status.startswith("ERR"), status)
        self.assertIn('scripts.fetch: "http://user@host/": it has a user in front of its host',
                      "\n".join([status] + body))


class Nothing(Scripted):
    """Without a list nothing is reached."""
    abstract = False
    files = {"fetching": FETCHING}

    def test_nothing_is_listed(self):
        a = self.user()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            answer = a.request(201, url="http://127.0.0.1:%d/" % s.getsockname()[1])
            self.assertIn("lists no beginning", answer["why"])
