"""The plugin ask: a backend in Python that answers, lies, hangs and dies."""

import hashlib
import hmac
import http.server
import json
import socket
import threading
import time

from base import one_process, smoke
from client import Client
from plugin_base import SHIPPED_PLUGINS, Console, PluginTest, check
from server import PATIENCE, Server, merged

SECRET = "sixteen bytes or more"


class Backend:
    """answer(question) → a dict, or (status, bytes), or None: the connection is reset. Questions are kept."""

    def __init__(self):
        self.questions, self.connections, self.signatures = [], 0, []
        self.answer = lambda q: {"allow": True}
        self.lock, self.gate = threading.Lock(), threading.Event()
        self.gate.set()
        self.under_way = self.most = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                with outer.lock:
                    outer.connections += 1

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                question = json.loads(body)
                with outer.lock:
                    outer.questions.append(question)
                    outer.signatures.append((self.headers["Magpie-Signature"], body))
                    outer.under_way += 1
                    outer.most = max(outer.most, outer.under_way)
                    answer = outer.answer
                outer.gate.wait(30)
                result = answer(question)
                with outer.lock:
                    outer.under_way -= 1
                if result is None:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    self.close_connection = True
                    return
                status, data = result if isinstance(result, tuple) else (200, json.dumps(result).encode())
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("Location", outer.url)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        class Http(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass

        self.server = Http(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d/" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


class AskTest(PluginTest):
    path = SHIPPED_PLUGINS
    about = ("login", "subscribe", "message")
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.backend = Backend()
        cls.load = {"ask": dict({name: cls.backend.url for name in cls.about}, secret=SECRET, **cls.options)}
        super().setUpClass()
        cls.server.secrets.add(SECRET)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.backend.close()

    def setUp(self):
        super().setUp()
        self.backend.gate.set()
        self.backend.answer = lambda q: {"allow": True}
        self.console("ask flush")
        with self.backend.lock:
            self.backend.questions, self.backend.signatures = [], []
            self.backend.most = 0

    def status(self):
        return self.console("ask status")

    def asked(self, event):
        with self.backend.lock:
            return [q for q in self.backend.questions if q["event"] == event]


@one_process("each node asks, and keeps answers")
class Answers(AskTest):
    config = {"threads": 2, "rate": {"user": 0, "channel": 0}}

    @smoke
    def test_questions(self):
        a = self.connect("text")
        a.login("Ada", device="phone")
        a.subscribe("tea")
        a.say("tea", "hello")
        a.tell(a, "me")
        seq = a.say("tea", "wrong")["seq"]
        a.request(17, channel="tea", seq=seq, content="right")
        user = {"id": a.id, "name": "Ada"}
        with self.backend.lock:
            questions, signatures = self.backend.questions, self.backend.signatures
        self.assertEqual(questions, [
            {"event": "login", "name": "Ada", "device": "phone", "ip": "127.0.0.1", "transport": "websocket"},
            {"event": "subscribe", "user": user, "channel": "tea"},
            {"event": "message", "user": user, "channel": "tea", "content": "hello"},
            {"event": "message", "user": user, "peer": a.id, "content": "me"},
            {"event": "message", "user": user, "channel": "tea", "content": "wrong"},
            {"event": "message", "user": user, "channel": "tea", "content": "right", "edit": True, "seq": seq}])
        for signature, body in signatures:
            stamp, mac = (part.split("=")[1] for part in signature.split(","))
            self.assertLess(abs(time.time() - int(stamp)), 60 * PATIENCE)
            self.assertEqual(mac, hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest())
        b = self.again(a)  # the token stays here
        self.assertEqual(self.asked("login")[-1], {"event": "login", "user": {"id": a.id}, "ip": "127.0.0.1",
                                                   "transport": "tcp"})
        self.assertEqual(len(self.asked("subscribe")), 1)
        b.say("tea", "restored, unasked")

    def test_refusals(self):
        a, b = self.users("Ada", "Bob")
        a.subscribe("tea")

        def answer(q):
            if q.get("content") == "drop":
                return {"allow": True, "drop": True}
            if q.get("content") == "replace":
                return {"allow": True, "content": "something el\u00dfe"}
            return {"allow": False, "code": "rate_limited", "message": "not now", "retryAfter": 321}
        self.backend.answer = answer
        for action, body in ((2, {"receiverId": b.id, "content": "x"}), (4, {"channel": "tea", "content": "x"}),
                             (3, {"name": "coffee"}), (4, {"channel": "tea", "content": "x", "clientId": "c1"})):
            e = self.refused("rate_limited", a, action, **body)
            self.assertEqual((e.message, e.retry_after), ("not now", 321))
        self.refused("rate_limited", self.connect(), 1, name="Cid")
        self.assertEqual(a.tell(b, "drop")["seq"], 0)
        a.tell(b, "replace")
        self.assertEqual(b.push(101)["content"], "something el\u00dfe")
        self.backend.answer = lambda q: {"allow": False}
        self.assertEqual(self.refused("forbidden", a, 2, receiverId=b.id, content="y").message, "refused")
        self.backend.answer = lambda q: {"allow": True}
        self.refused("not_found", a, 4, channel="coffee", content="it was never made")

    def test_edits(self):
        a = self.user("Ada")
        a.subscribe("edits")
        seq = a.say("edits", "one")["seq"]
        self.backend.answer = lambda q: {"allow": q["content"] != "no", "content": "censored"}
        self.refused("forbidden", a, 17, channel="edits", seq=seq, content="no")
        a.request(17, channel="edits", seq=seq, content="two")
        self.assertEqual(a.history("edits")["messages"][0]["content"], "censored")

    def test_kept(self):
        a = self.user("Ada")
        a.subscribe("kept")
        self.backend.answer = lambda q: dict({"allow": "good" in q.get("content", "")}, cache=3600 if "kept" in
                                             q.get("content", "") else 0)
        before = self.status()
        for _ in range(5):
            a.say("kept", "good and kept")
            self.refused("forbidden", a, 4, channel="kept", content="kept")
            a.say("kept", "good")
        texts = [q["content"] for q in self.asked("message")]
        self.assertEqual((texts.count("good and kept"), texts.count("kept"), texts.count("good")), (1, 1, 5))
        after = self.status()
        self.assertEqual(after["cached"] - before["cached"], 8)
        self.assertEqual(after["kept"], 2)
        self.console("ask flush")
        a.say("kept", "good and kept")
        self.assertEqual(len([q for q in self.asked("message") if q["content"] == "good and kept"]), 2)

    def test_asked_once_at_a_time(self):
        a = self.user("Ada")
        a.subscribe("same")
        more = [self.again(a) for _ in range(5)]
        before = self.status()
        self.backend.gate.clear()
        seqs = [c.send(4, channel="same", content="the same") for c in more]
        self.eventually(lambda: self.status()["waiting"] == 5)
        self.backend.gate.set()
        for c, seq in zip(more, seqs):
            self.assertTrue(c.answer(4, seq)["seq"])
        self.assertEqual(len(self.asked("message")), 1)
        self.assertEqual(self.status()["shared"] - before["shared"], 4)

    def test_order_and_others(self):
        """Who waits holds up nobody but himself, and keeps his order."""
        a, b = self.users("Ada", "Bob")
        for c in (a, b):
            c.subscribe("order")
        self.backend.answer = lambda q: time.sleep(0.05 if q.get("content") == "m0" else 0) or {"allow": True}
        sent = [a.send(4, channel="order", content="m%d" % i) for i in range(20)]
        for seq in sent:
            a.answer(4, seq)
        self.assertEqual([b.push(102)["content"] for _ in range(20)], ["m%d" % i for i in range(20)])
        self.backend.gate.clear()
        waiting = a.send(4, channel="order", content="held")
        self.eventually(lambda: self.status()["waiting"] == 1)
        self.assertTrue(b.request(9)["time"])
        self.assertTrue(b.history("order")["messages"])
        self.backend.gate.set()
        self.assertTrue(a.answer(4, waiting)["seq"])

    def test_connections_are_kept(self):
        a = self.user("Ada")
        a.tell(a, "first")
        before = self.backend.connections
        for i in range(20):
            a.tell(a, "m%d" % i)
        self.assertLess(self.backend.connections - before, 5)

    def test_reload(self):
        other = Backend()
        try:
            a = self.user("Ada")
            a.subscribe("reload")
            self.backend.gate.clear()
            seq = a.send(4, channel="reload", content="under way")
            self.eventually(lambda: self.status()["waiting"] == 1)
            self.server.rewrite({"plugins": {"load": {"ask": {name: other.url for name in self.about}}}})
            self.console("config reload")
            self.user("Bob").tell(a, "to the other one")
            self.assertEqual([q["event"] for q in other.questions], ["login", "message"])
            self.backend.gate.set()
            self.assertTrue(a.answer(4, seq)["seq"])
        finally:
            self.server.rewrite({"plugins": {"load": self.load}})
            self.console("config reload")
            other.close()

    def test_figures(self):
        a = self.user("Ada")
        a.tell(a, "hello")
        figures = self.console("show metrics")
        text = json.dumps(figures)
        for name in ("asked_total", "answered_total", "failed_total", "cached_total", "shared_total", "waiting",
                     "latency_seconds_total"):
            self.assertIn("magpie_ask_" + name, text)


@one_process("each node asks")
class Failures(AskTest):
    options = {"timeout_ms": 700, "message_failure": "open"}
    config = {"threads": 2, "rate": {"user": 0, "channel": 0}}

    def well(self):
        """The pause after many failures is over."""
        self.backend.answer = lambda q: {"allow": True}
        c = self.connect()
        self.eventually(lambda: "error" not in c.ask(1, name="Well"), every=0.3)

    def test_liars(self):
        a, b = self.users("Ada", "Bob")
        lies = {
            "500": lambda q: (500, b"{\"allow\":true}"), "a redirect": lambda q: (302, b""),
            "204": lambda q: (204, b""), "no JSON": lambda q: (200, b"<html>"), "nothing": lambda q: (200, b""),
            "no object": lambda q: (200, b"[true]"), "no allow": lambda q: {"ok": True},
            "text": lambda q: {"allow": "true"}, "a code": lambda q: {"allow": False, "code": "of my own"},
            "a message": lambda q: {"allow": False, "message": "x" * 96},
            "cache": lambda q: {"allow": True, "cache": -1},
            "twice": lambda q: (200, b"{\"allow\":true,\"allow\":true}"), "huge": lambda q: (200, b" " * 300000),
            "content": lambda q: {"allow": True, "content": ""}, "a reset": lambda q: None}
        for n, (name, lie) in enumerate(lies.items()):
            self.backend.answer = lie
            failed = self.status()["failed"]
            if name != "content":
                self.refused("unavailable", a, 3, name="lies")
            a.tell(b, name)  # open
            self.assertEqual(b.push(101)["content"], name)
            self.assertEqual(self.status()["failed"] - failed, 1 + (name != "content"), name)
            self.well()
            self.backend.answer = lambda q: {"allow": True}
            a.tell(b, "in between")  # no five in a row
            b.push(101)
            a.subscribe("in between")
        self.backend.answer = lambda q: {"allow": True, "content": "x" * 20000}
        self.refused("internal", a, 2, receiverId=b.id, content="made too long")
        for why in ("it answered 500", "it answered 302", "is no JSON", "allow: expected", "code: no code",
                    "longer than 262144 bytes"):
            self.assertIn(why, self.server.log())

    def test_hanging(self):
        a, b = self.users("Ada", "Bob")
        self.backend.gate.clear()
        self.refused("unavailable", self.connect(), 1, name="Cid")
        a.tell(b, "open")
        self.assertEqual(b.push(101)["content"], "open")
        self.backend.gate.set()
        self.well()

    def test_left_alone(self):
        """A dead backend costs the first ones their time, and then nobody."""
        a, b = self.users("Ada", "Bob")
        self.backend.gate.clear()
        for i in range(5):
            a.tell(b, "m%d" % i)
        before = len(self.asked("message"))
        began = time.monotonic()
        for i in range(50):
            a.tell(b, "n%d" % i)
        self.assertLess(len(self.asked("message")) - before, 10)
        self.assertLess(time.monotonic() - began, 20 * PATIENCE)
        self.backend.gate.set()
        self.eventually(lambda: a.tell(b, "again") and self.asked("message")[-1]["content"] == "again", every=0.3)

    def test_gone_meanwhile(self):
        a, b = self.users("Ada", "Bob")
        self.backend.gate.clear()
        login = self.connect()
        login.send(1, name="Cid")
        a.send(2, receiverId=b.id, content="kicked before the answer")
        self.eventually(lambda: self.status()["waiting"] == 2)
        self.console("kick user " + a.id)
        login.close()
        self.backend.gate.set()
        self.eventually(lambda: self.status()["waiting"] == 0)
        b.quiet(101)


@one_process("each node has a queue of its own")
class Bounds(AskTest):
    options = {"connections": 3, "queue": 20, "timeout_ms": 60000, "cache": 3600, "cache_size": 2000}
    config = {"threads": 2, "rate": {"user": 0, "channel": 0}}
    about = ("message",)

    def test_queue(self):
        clients = [self.user("U%d" % i) for i in range(30)]
        self.backend.gate.clear()
        before = self.status()["failed"]
        seqs = [c.send(2, receiverId=c.id, content="m%d" % i) for i, c in enumerate(clients)]
        self.eventually(lambda: self.status()["waiting"] == 20 and self.status()["failed"] - before == 10)
        self.backend.gate.set()
        for c, seq in zip(clients, seqs):
            self.assertTrue(c.answer(2, seq)["seq"])  # the ten are let pass: a failure of messages is open
        self.assertLessEqual(self.backend.most, 3)
        self.assertIn("too many wait", self.server.log())

    def test_cache(self):
        a = self.user("Ada")
        for i in range(40):
            a.tell(a, "m%d" % i)
        self.assertLess(self.status()["kept"], 10)
        a.tell(a, "m39")
        self.assertEqual(len(self.asked("message")), 40)


class Provider(AskTest):
    about = ("login", "message")
    config = {"auth": {"mode": "ask"}, "threads": 2}

    def test_logins(self):
        def answer(q):
            if q["event"] == "message":
                return {"allow": q["user"].get("claims") == {"role": "mod", "n": [1, "x"]} or q["content"] == "free"}
            if q.get("token") == "nobody":
                return {"allow": True}
            if q.get("token") in ("ada", "soon.over"):
                return {"allow": True, "id": q["token"], "name": "Ada", "claims": {"role": "mod", "n": [1, "x"]},
                        "expiresAt": int((time.time() + (2 if q["token"] == "soon.over" else 60)) * 1000)}
            if q.get("token") == "bob":
                return {"allow": True, "id": "bob", "cache": 60}
            return {"allow": False, "code": "unauthorized", "message": "no such token"}
        self.backend.answer = answer
        a = self.connect()
        r = a.login(token="ada", device="d")
        self.assertEqual((r["id"], r["name"], r["token"]), ("ada", "Ada", "ada"))
        self.assertEqual(self.asked("login"), [{"event": "login", "token": "ada", "device": "d", "ip": "127.0.0.1",
                                                "transport": "tcp"}])
        a.tell(a, "with claims")
        for _ in range(3):
            b = self.connect()
            b.login(token="bob")
            self.assertEqual(b.id, "bob")
        asked = len([q for q in self.asked("login") if q["token"] == "bob"])
        self.assertEqual(asked, min(3, len(self.server.nodes)))  # each node keeps answers of its own
        self.refused("forbidden", b, 2, receiverId="ada", content="without claims")
        b.tell("ada", "free")
        self.assertEqual(self.refused("unauthorized", self.connect(), 1, token="x").message, "no such token")
        self.assertIn("without an id", self.refused("internal", self.connect(), 1, token="nobody").message)
        c = self.connect()
        c.login(token="soon.over")
        self.assertEqual(c.closing()["message"], "token expired")
        self.backend.answer = lambda q: {"allow": True, "id": "system"}
        self.refused("internal", self.connect(), 1, token="y")
        self.backend.answer = lambda q: {"allow": True, "id": "x", "claims": [1]}
        self.refused("unavailable", self.connect(), 1, token="z")

    @one_process("the node that waits is looked at")
    def test_unloaded_meanwhile(self):
        self.backend.gate.clear()
        c = self.connect()
        seq = c.send(1, token="ada")
        self.eventually(lambda: self.status()["waiting"] == 1)
        unloaded = self.in_background(Console(self.server), "plugin unload ask")
        self.assertEqual(c.answer(1, seq)["error"]["code"], "unavailable")
        self.assertEqual(unloaded(), "ask is unloaded")
        self.refused("unavailable", c, 1, token="ada")
        self.backend.gate.set()
        self.console("plugin load ask")
        self.backend.answer = lambda q: {"allow": True, "id": "ada"}
        c.login(token="ada")


class Options(AskTest):
    about = ("login",)

    def test_checked(self):
        def says(**options):
            s = Server({"plugins": {"path": SHIPPED_PLUGINS, "load": {"ask": options}}}, start=False)
            self.addCleanup(s.discard)
            return check(s)[1]
        self.assertIn("ask.login: expected http://… or https://…", says(login="ftp://x/"))
        self.assertIn("nothing is asked about", says(secret=SECRET))
        self.assertIn("ask.secret: expected 16 bytes or more", says(login="http://x/", secret="short"))
        self.assertIn("good", says(login="http://x/"))

    def test_the_end_with_somebody_waiting(self):
        s = Server(merged({"timeouts": {"drain": 1}}, {"plugins": {"path": SHIPPED_PLUGINS, "load": self.load}}))
        try:
            self.backend.gate.clear()
            c = Client(s, "tcp")
            c.send(1, name="Ada")
            self.eventually(lambda: len(self.asked("login")) == 1)
            self.assertEqual(s.stop(), 0)
            s.process = None
            c.close()
        finally:
            s.close()
