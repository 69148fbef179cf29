"""The plugin webhook: what the receiver sees, and what happens when it does not."""

import hashlib
import hmac
import http.server
import json
import subprocess
import threading
import time

from base import Test
from server import MAGPIED, Server

SECRET = "0123456789abcdef-hook"


class Receiver:
    """An HTTP server that remembers what it was told. `answers`: statuses to give first, then 204."""

    def __init__(self, port=0):
        self.events, self.requests, self.answers = [], [], []
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.lock:
                    outer.requests.append((dict(self.headers), body))
                    status = outer.answers.pop(0) if outer.answers else 204
                    if status == 204:
                        outer.events += json.loads(body)["events"]
                self.send_response(status)
                if status == 429:
                    self.send_header("Retry-After", "1")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d/hook" % self.port

    def of(self, *types):
        with self.lock:
            return [e for e in self.events if not types or e["type"] in types]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def config(receiver, **more):
    return {"plugins": {"load": {"webhook": dict({"url": receiver.url, "secret": SECRET}, **more)}}}


class Webhook(Test):
    @classmethod
    def setUpClass(cls):
        cls.receiver = Receiver()
        cls.config = config(cls.receiver)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.receiver.close()

    def test_events(self):
        ada = self.user("Ada", device="phone")
        name = self.channel(ada)
        ada.say(name, "hello")
        ada.request(6, name=name)
        ada.request(2, receiverId=ada.id, content="note")
        ada.close()
        mine = lambda: [e for e in self.receiver.of() if e.get("user", {}).get("id") == ada.id]
        self.eventually(lambda: any(e["type"] == "logout" for e in mine()) and len(mine()) >= 7)
        by = {}
        for e in mine():
            by.setdefault(e["type"], []).append(e)
        self.assertEqual(sorted(by), ["channel.create", "channel.subscribe", "channel.unsubscribe", "login", "logout", "message"])
        self.assertEqual((by["login"][0]["user"], by["login"][0]["device"], by["login"][0]["ip"]), ({"id": ada.id, "name": "Ada"}, "phone", "127.0.0.1"))
        self.assertEqual(by["channel.subscribe"][0]["channel"], name)
        said, note = sorted(by["message"], key=lambda e: "peer" in e)
        self.assertEqual((said["channel"], said["message"]["content"], said["message"]["seq"]), (name, "hello", 1))
        self.assertEqual((note["peer"], note["message"]["content"]), (ada.id, "note"))
        self.assertRegex(said["message"]["id"], r"^\d{19}$")
        self.assertEqual(by["logout"][0]["reason"], "peer")
        ids = [e["id"] for e in self.receiver.of()]
        self.assertEqual(len(ids), len(set(ids)))

    def test_signature(self):
        self.user("Eve")
        self.eventually(lambda: self.receiver.requests)
        for headers, body in list(self.receiver.requests):
            parts = dict(p.split("=", 1) for p in headers["Magpie-Signature"].split(","))
            self.assertLess(abs(int(parts["t"]) - time.time()), 300)
            expected = hmac.new(SECRET.encode(), parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
            self.assertEqual(parts["v1"], expected)
            self.assertEqual(headers["Content-Type"], "application/json")
        self.assertNotIn(SECRET, self.server.whole_log())


class Trouble(Test):
    """Each test has its own server and receiver."""

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def talk(self, server, n, text="m"):
        ada = self.user("Ada", server=server)
        for i in range(n):
            ada.request(2, receiverId=ada.id, content="%s%d" % (text, i))
        return ada

    def contents(self, receiver):
        return [e["message"]["content"] for e in receiver.of("message")]

    def test_tries_again(self):
        receiver = Receiver()
        receiver.answers = [500, 429, 302]
        with Server(config(receiver)) as s:
            self.talk(s, 5)
            self.eventually(lambda: len(self.contents(receiver)) == 5, timeout=30)
            self.assertEqual(self.contents(receiver), ["m%d" % i for i in range(5)])
            attempts = [int(h["Magpie-Attempt"]) for h, _ in receiver.requests]
            self.assertEqual(attempts[:4], [1, 2, 3, 4])
        receiver.close()

    def test_survives_a_restart_without_receiver(self):
        receiver = Receiver()
        port = receiver.port
        receiver.close()
        with Server(config(receiver)) as s:
            self.talk(s, 20, "before")
            s.restart()
            self.talk(s, 20, "after")
            s.wait_log("webhook.failed")
            receiver = Receiver(port)
            expected = ["before%d" % i for i in range(20)] + ["after%d" % i for i in range(20)]
            self.eventually(lambda: len(self.contents(receiver)) >= 40, timeout=30)
            self.assertEqual(self.contents(receiver), expected)
            self.assertEqual(len(receiver.of("login")), 2)
            # What was delivered does not come again.
            receiver.events.clear()
            s.restart()
            self.talk(s, 1, "last")
            self.eventually(lambda: "last0" in self.contents(receiver), timeout=30)
            self.assertEqual(self.contents(receiver), ["last0"])
        receiver.close()

    def test_a_receiver_that_hangs_disturbs_nobody(self):
        import socket
        with socket.socket() as hole:
            hole.bind(("127.0.0.1", 0))
            hole.listen(8)
            url = "http://127.0.0.1:%d/" % hole.getsockname()[1]
            with Server({"plugins": {"load": {"webhook": {"url": url, "timeout_ms": 60000}}}}) as s:
                self.talk(s, 200)
                start = time.monotonic()
                s.stop()
                self.assertLess(time.monotonic() - start, 20)

    def test_chosen_events_without_text(self):
        receiver = Receiver()
        with Server(config(receiver, events=["message"], content=False)) as s:
            self.talk(s, 1)
            self.eventually(lambda: receiver.of())
            self.assertEqual([e["type"] for e in receiver.of()], ["message"])
            self.assertNotIn("content", receiver.of()[0]["message"])
        receiver.close()

    def test_bad_options(self):
        for options, complaint in (({}, "url"), ({"url": "ftp://x/"}, "url"), ({"url": "nonsense"}, "url"), ({"url": "http://x/", "secret": "short"}, "secret"),
                                   ({"url": "http://x/", "events": ["mesage"]}, "message")):
            with self.subTest(str(options)):
                s = Server({"plugins": {"load": {"webhook": options}}}, start=False)
                s.write_config()
                r = subprocess.run([MAGPIED, "-t", "-c", s.config_path], capture_output=True, text=True, cwd=s.folder)
                self.assertEqual(r.returncode, 1)
                self.assertIn(complaint, r.stderr)
                s.discard()
