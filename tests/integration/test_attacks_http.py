"""Attacks on what is served over HTTP: the REST API, the page, the metrics. A page of another site that asks, paths
that mean another one, and whatever else could bring somebody in without a key."""

import json
import re
import socket
import time

from base import Test
from client import ANNOUNCEMENT, PING
from server import PATIENCE

KEY = "0123456789abcdefgh"
BEARER = "bearer-of-the-metrics"


class Http(Test):
    abstract = True
    config = {"plugins": {"load": {"http_api": {"keys": [KEY]}, "metrics": {"bearer": BEARER}, "web": {}}}}

    def ask(self, request, *lines, body=b"", host="localhost"):
        """(status, {header: value}, body): the request line's first two words as they are."""
        head = [request + " HTTP/1.1", "Host: " + host, "Connection: close", *lines]
        if body:
            head.append("Content-Length: %d" % len(body))
        with socket.create_connection(("127.0.0.1", self.server.websocket), 20 * PATIENCE) as s:
            s.sendall("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
            answer = b""
            try:
                while True:
                    more = s.recv(65536)
                    if not more:
                        break
                    answer += more
            except ConnectionResetError:
                pass
        head, _, text = answer.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        self.assertRegex(first, r"^HTTP/1\.1 \d{3} ")
        return int(first.split()[1]), {n.lower(): v for n, v in (line.split(": ", 1) for line in rest)}, text

    def api(self, method, path, body=None):
        return self.ask("%s /api/v1/%s" % (method, path), "Authorization: Bearer " + KEY,
                        body=json.dumps(body).encode() if body is not None else b"")


class Paths(Http):
    """A path that is written in another way is no way past what is asked of it."""

    abstract = False

    # How a part of a path can be written so that another program takes it for "..", "/" or nothing.
    UP = ("..", "%2e%2e", "%2E.", ".%2e", "%u002e%u002e", "%uff0e%uff0e", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae",
          "%252e%252e", "..;", "..%00", "..\\", "..%5c", "..%2f", "%2e%2e%2f", "..%c0%af", "..%u2215", "....//", ".",
          "%2e", ";", "..;x=y", "..%09", "..%20")
    # What anybody may read, and from there what nobody may.
    FROM = ("/health/", "/ready/", "/client/", "/", "/app.js/", "/nothing/", "/api/")
    TO = ("api/v1/users/ada", "metrics", "v1/users/ada", "etc/passwd", "magpie.lua", "data/secret", "web.c")

    def test_nothing_is_reached_by_another(self):
        for start in self.FROM:
            for up in self.UP:
                for to in self.TO:
                    path = start + up + "/" + to
                    status, _, text = self.ask("GET " + path)
                    self.assertIn(status, (400, 401, 403, 404, 405, 426), path)
                    for told in (b"magpie_", b"root:", b'"online"', b"return {"):
                        self.assertNotIn(told, text, path)

    def test_other_spellings_need_the_key_too(self):
        for path in ("/api/v1/users/ada", "//api/v1/users/ada", "/API/V1/users/ada", "/api/v1//users/ada",
                     "/api/v1/users/ada/", "/api/v1/users/ada?key=" + KEY, "/api/v1/users/ada;key=" + KEY,
                     "/api/v1/users/ada#", "/api/v1/%75sers/ada", "/api%2fv1%2fusers%2fada", "/api/v1/openapi.json",
                     "http://localhost/api/v1/users/ada", "http://localhost/health/../api/v1/users/ada", "*",
                     "localhost:80",
                     "/metrics", "/metrics/", "//metrics", "/metrics?bearer=" + BEARER, "/%6detrics", "/METRICS",
                     "/metrics/../metrics", "/metrics%00", "/metrics;x"):
            status, _, text = self.ask("GET " + path)
            self.assertIn(status, (400, 401, 403, 404, 405, 426), path)
            self.assertNotIn(b"magpie_", text, path)

    def test_names_in_paths_are_names(self):
        """What is decoded is one user's id or a channel's name, and never a way."""
        for name in ("%2e%2e", "..%2f..%2fmetrics", "%2f", "%5c", "a%2f..%2fb", "%00", "%ff", "%u002e", "%", "%2"):
            for kind in ("users", "channels"):
                status, headers, text = self.api("GET", "%s/%s" % (kind, name))
                self.assertIn(status, (400, 404), (kind, name))
                self.assertEqual(headers["content-type"], "application/json")
                self.assertIn(json.loads(text)["error"]["code"], ("bad_request", "not_found"))


class Pages(Http):
    """What a page of another site can make a browser send."""

    abstract = False

    FOREIGN = ("Origin: https://evil.example", "Referer: https://evil.example/", "Sec-Fetch-Site: cross-site")
    FORMS = (("application/x-www-form-urlencoded", b"content=pwned"), ("text/plain", b'{"content":"pwned"}'),
             ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="content"\r\n\r\n'
                                                 b'pwned\r\n--x--\r\n'),
             ("application/json", b'{"content":"pwned"}'))

    def test_forms(self):
        """Nothing is done without the key, and no cookie, user name or part of the address is one."""
        a = self.user("Ada")
        for kind, body in self.FORMS:
            for lines in ((), ("Cookie: key=%s; Authorization=Bearer %s" % (KEY, KEY),), ("X-Api-Key: " + KEY,),
                          ("Authorization: Basic " + KEY,), ("Authorization: Basic OjAxMjM0NTY3ODlhYmNkZWZnaA==",),
                          ("Authorization: " + KEY,), ("Authorization: Bearer",), ("Authorization: Bearer ",),
                          ("Authorization: Bearer " + KEY[:-1],), ("Authorization: Bearer %sx" % KEY,),
                          ("Authorization: Bearer " + KEY.upper(),), ("Proxy-Authorization: Bearer " + KEY,)):
                for query in ("", "?key=" + KEY, "?access_token=" + KEY):
                    status, headers, _ = self.ask("POST /api/v1/announcements" + query, "Content-Type: " + kind,
                                                  *self.FOREIGN, *lines, body=body)
                    self.assertEqual(status, 401, (kind, lines, query))
                    self.shut(headers)
        a.quiet(ANNOUNCEMENT)
        a.request(PING)

    def test_two_keys_are_none(self):
        """Where two programs could each read another one."""
        for lines in (("Authorization: Bearer wrong-wrong-wrong", "Authorization: Bearer " + KEY),
                      ("Authorization: Bearer " + KEY, "Authorization: Bearer wrong-wrong-wrong")):
            self.assertIn(self.ask("GET /api/v1/users/ada", *lines)[0], (400, 401))

    def test_methods(self):
        """No header makes another method of a request."""
        a = self.user("Ada")
        for line in ("X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE"):
            self.api("GET", "users/" + a.id)
            status, *_ = self.ask("GET /api/v1/users/%s" % a.id, "Authorization: Bearer " + KEY, line)
            self.assertEqual(status, 200)
        a.request(PING)

    def test_no_page_may_read(self):
        """No answer lets another site's page read it or send more, whatever the page asks beforehand."""
        for path in ("/api/v1/announcements", "/api/v1/users/ada", "/metrics", "/health", "/ready", "/", "/app.js",
                     "/nothing"):
            for method in ("OPTIONS", "GET", "POST", "HEAD"):
                for key in ((), ("Authorization: Bearer " + KEY,)):
                    _, headers, _ = self.ask("%s %s" % (method, path), "Access-Control-Request-Method: POST",
                                             "Access-Control-Request-Headers: authorization", *self.FOREIGN, *key)
                    self.shut(headers)

    def shut(self, headers):
        self.assertEqual([n for n in headers if n.startswith("access-control-")], [])
        self.assertNotIn("set-cookie", headers)

    def test_what_users_say_is_data(self):
        """Names and messages come as JSON that no browser takes for a page."""
        said = "<script>alert(1)</script><img src=x onerror=alert(2)>"
        a = self.user(said)
        a.subscribe(said)
        a.say(said, said)
        from urllib.parse import quote
        for path in ("users/" + a.id, "channels/" + quote(said, safe=""),
                     "channels/%s/messages" % quote(said, safe="")):
            status, headers, text = self.api("GET", path)
            self.assertEqual(status, 200, path)
            self.assertIn(said.encode(), text.replace(b"\\/", b"/"))
            self.assertEqual(headers["content-type"], "application/json")
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["cache-control"], "no-store")

    def test_every_answer_says_what_it_is(self):
        """No browser guesses a type of its own, of errors either."""
        for path in ("/", "/app.js", "/health", "/ready", "/metrics", "/nothing", "/api/v1/x", "/api/v1/users/ada"):
            for method in ("GET", "POST", "BREW"):
                _, headers, text = self.ask("%s %s" % (method, path))
                if text:
                    self.assertIn("content-type", headers, (method, path))
                    self.assertEqual(headers.get("x-content-type-options"), "nosniff", (method, path))


class Bodies(Http):
    """What stands in a body of the API is read as strictly as a client's request is."""

    abstract = False

    BAD = (b"", b"{", b"[]", b"null", b'"x"', b'{"content":"x"}x', b'{"content":"x"}{}',
           b'{"content":"x","content":"y"}',
           b'{"content":"\xff"}', b'{"content":"a\\u0000b"}', b'{"content":"\\ud800"}', b"{'content':'x'}",
           b'{"content":"x",}', b'{"content":' + b"[" * 60000, b'{"content":' + b'{"a":' * 40 + b"1" + b"}" * 41,
           b'{"content":7}', b'{"content":["x"]}', b'\xef\xbb\xbf{"content":"x"}', b'{"Content":"x"}',
           b'{"content":"x","sender":"system"}')

    def test_each(self):
        a = self.user("Ada")
        for body in self.BAD:
            with self.subTest(body=body[:40]):
                status, _, text = self.ask("POST /api/v1/announcements", "Authorization: Bearer " + KEY, body=body)
                self.assertIn(status, (400, 413))
                self.assertEqual(json.loads(text)["error"]["code"], "bad_request" if status == 400 else "too_large")
        a.quiet(ANNOUNCEMENT)

    def test_lengths(self):
        """Two lengths, none, or one that is no number: no second request is read out of a body."""
        smuggled = b"GET /api/v1/users/ada HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for lines in (("Content-Length: 5", "Content-Length: 6"), ("Content-Length: 5, 6",), ("Content-Length: +5",),
                      ("Content-Length: -1",), ("Content-Length: 0x10",), ("Content-Length: 99999999999999999999",),
                      ("Content-Length: 5", "Transfer-Encoding: chunked"), ("Transfer-Encoding: chunked",),
                      ("Transfer-Encoding: x",), ("Transfer-Encoding : chunked",), ("Content-Length: 4294967301",)):
            head = ["POST /api/v1/announcements HTTP/1.1", "Host: localhost", "Authorization: Bearer " + KEY, *lines]
            with socket.create_connection(("127.0.0.1", self.server.websocket), 20 * PATIENCE) as s:
                s.sendall("\r\n".join(head).encode() + b"\r\n\r\n0\r\n\r\n" + smuggled)
                answer, end = b"", time.monotonic() + 20 * PATIENCE
                try:
                    while time.monotonic() < end:
                        more = s.recv(65536)
                        if not more:
                            break
                        answer += more
                except ConnectionResetError:
                    pass
            self.assertLessEqual(len(re.findall(rb"HTTP/1\.1 \d\d\d ", answer)), 1, lines)
            self.assertRegex(answer, rb"^(HTTP/1\.1 (400|411|413|501) |$)", lines)
