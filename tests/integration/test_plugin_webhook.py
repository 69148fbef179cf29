"""The plugin webhook: what the receiver sees, and what happens when it does not."""

import glob
import hashlib
import hmac
import http.server
import json
import os
import re
import socket
import subprocess
import threading
import time

from base import Test, one_process
from plugin_base import Console
from server import MAGPIED, Server, merged

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


class RawReceiver:
    """A server that answers each POST with what `answer` writes to the socket. `attempts`: of each, what Magpie-Attempt
    said."""

    def __init__(self, answer):
        self.attempts, self.answer = [], answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d/hook" % self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                c, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(c,), daemon=True).start()

    def one(self, c):
        with c:
            try:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += c.recv(65536)
                head, _, body = data.partition(b"\r\n\r\n")
                length = int(re.search(rb"Content-Length: (\d+)", head).group(1))
                while len(body) < length:
                    body += c.recv(65536)
                self.attempts.append(re.search(rb"Magpie-Attempt: (\d+)", head).group(1).decode())
                self.answer(c)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def config(receiver, **more):
    return {"plugins": {"load": {"webhook": dict({"url": receiver.url, "secret": SECRET}, **more)}},
            "listen": {"console": "127.0.0.1:0"}}


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
        self.eventually(lambda: any(e["type"] == "logout" for e in mine()) and len(mine()) >= 10)
        by = {}
        for e in mine():
            by.setdefault(e["type"], []).append(e)
        self.assertEqual(sorted(by), ["channel.create", "channel.subscribe", "channel.unsubscribe", "login", "logout",
                                      "member.joined", "member.left", "message", "user.made"])
        self.assertEqual((by["login"][0]["user"], by["login"][0]["device"], by["login"][0]["ip"]),
                         ({"id": ada.id, "name": "Ada"}, "phone", "127.0.0.1"))
        self.assertEqual(by["channel.subscribe"][0]["channel"], name)
        said, note = sorted(by["message"], key=lambda e: "peer" in e)
        self.assertEqual((said["channel"], said["message"]["content"], said["message"]["seq"]), (name, "hello", 1))
        self.assertEqual((note["peer"], note["message"]["content"]), (ada.id, "note"))
        self.assertRegex(said["message"]["id"], r"^\d{19}$")
        self.assertEqual(by["logout"][0]["reason"], "peer")
        ids = [e["id"] for e in self.receiver.of()]
        self.assertEqual(len(ids), len(set(ids)))

    def test_messages_that_change(self):
        ada, bob = self.users("Ada", "Bob")
        name = self.channel(ada, bob)
        bob.close()
        self.eventually(lambda: not self.console("show user " + bob.id)["connections"])
        seq = ada.say(name, "one")["seq"]
        note = ada.tell(bob, "note")["seq"]
        edited = ada.request(17, channel=name, seq=seq, content="two")["editedAt"]
        ada.request(14, channel=name, seq=seq)
        self.console('recall user %s %s %d' % (ada.id, bob.id, note))
        found = lambda kind: [e for e in self.receiver.of(kind) if e.get("channel") == name or ada.id in (
            e.get("user", {}).get("id"), *e.get("pair", []))]
        wait = lambda kind, n: self.eventually(lambda: found(kind) if len(found(kind)) >= n else [])
        said, private = sorted(wait("message.offline", 2), key=lambda e: "peer" in e)
        self.assertEqual((said["channel"], said["message"]["content"], said["offline"]), (name, "one", [bob.id]))
        self.assertEqual((private["peer"], private["message"]["content"], private["offline"]),
                         (bob.id, "note", [bob.id]))
        self.assertIn("createdAt", private["message"])
        change = wait("message.edit", 1)[0]
        self.assertEqual((change["channel"], change["message"]),
                         (name, {"id": said["message"]["id"], "seq": seq, "editedAt": edited, "content": "two"}))
        self.assertEqual(change["user"], {"id": ada.id, "name": "Ada"})
        mine, theirs = sorted(wait("message.recall", 2), key=lambda e: "pair" in e)
        self.assertEqual((mine["channel"], mine["message"]), (name, {"id": said["message"]["id"], "seq": seq}))
        self.assertEqual(theirs["message"], {"id": private["message"]["id"], "seq": note})
        self.assertEqual((theirs["pair"], "user" in theirs), (sorted([ada.id, bob.id]), False))

    def test_members_and_users(self):
        ada, bob, cid = self.users("Ada", "Bob", "Cid")
        name = self.channel(ada, bob, cid)
        bob.request(6, name=name)
        bob.request(6, name=name)  # in which it is no more
        self.console('channel "%s" kick %s' % (name, cid.id))
        cid.subscribe(name)
        cid.subscribe(name)
        self.console('channel "%s" ban %s' % (name, cid.id))
        self.again(ada, name="Ada the second")
        self.console("user add made-by-hand Hand")
        self.console("user delete made-by-hand messages keep")
        self.console('channel "%s" delete' % name)
        kinds = lambda who, kind: [e["type"] for e in self.about(who, kind)]
        self.eventually(lambda: kinds(ada.id, "member") == ["member.joined", "member.closed"])
        self.assertEqual(kinds(bob.id, "member"), ["member.joined", "member.left"])
        self.assertEqual(kinds(cid.id, "member"), ["member.joined", "member.kicked", "member.joined", "member.banned"])
        self.assertEqual([(e["channel"], e["members"]) for e in self.about(cid.id, "member")],
                         [(name, 3), (name, 1), (name, 2), (name, 1)])
        self.assertEqual(self.about(cid.id, "member")[1]["user"], {"id": cid.id, "name": "Cid"})
        self.eventually(lambda: kinds("made-by-hand", "user") == ["user.made", "user.deleted"])
        self.eventually(lambda: kinds(ada.id, "user") == ["user.made", "user.renamed"])
        self.assertEqual(self.about(ada.id, "user")[1]["user"], {"id": ada.id, "name": "Ada the second"})

    def about(self, who, kind):
        return [e for e in self.receiver.of() if e.get("user", {}).get("id") == who and e["type"].startswith(kind)]

    def console(self, line):
        c = Console(self.server)
        try:
            return c(line)
        finally:
            c.close()

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


@one_process("each node has a journal of its own")
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

    def test_a_damaged_journal_costs_what_is_damaged(self):
        receiver = Receiver()
        port = receiver.port
        receiver.close()
        with Server(config(receiver, events=["message"])) as s:
            self.talk(s, 20)
            s.wait_log("webhook.failed")
            s.stop()
            path = glob.glob(s.folder + "/data/plugins/webhook/*.events")[0]
            with open(path, "r+b") as f:
                data = f.read()
                at = data.index(b'"m4"')
                f.seek(at + 1)
                f.write(b"?")
            receiver = Receiver(port)
            s.start()
            self.eventually(lambda: "m19" in self.contents(receiver), timeout=30)
            self.assertEqual(self.contents(receiver), ["m%d" % i for i in range(20) if i != 4])
            s.wait_log("webhook.damaged")
            console = Console(s)
            self.assertEqual(console("webhook status")["lost"], 1)
            console.close()
        receiver.close()

    def test_a_journal_that_was_taken_away(self):
        """Somebody tidies the folder up: it is told, and costs no processor."""
        with Server({"plugins": {"load": {"webhook": {"url": "http://127.0.0.1:9/", "events": ["message"]}}}}) as s:
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            a.tell(b, "one")
            s.wait_log("webhook.failed")
            os.remove(glob.glob(s.folder + "/data/plugins/webhook/*.events")[0])
            s.wait_log("webhook.disk")

            def wakes():
                for status in glob.glob("/proc/%d/task/*/status" % s.process.pid):
                    with open(status) as f:
                        text = f.read()
                    if text.startswith("Name:\twebhook\n"):
                        return int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", text)[1])
                self.fail("no thread is called webhook")
            before = wakes()
            time.sleep(1)
            self.assertLess(wakes() - before, 100)  # a thread that spins wakes some thousand times

    def test_the_head_of_the_answer_is_enough(self):
        """An answer whose body never ends, or is slow, or breaks off: what its status says counts, once, and the body
        is not read."""
        sent = [0]

        def flood(c):
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
            while sent[0] < 1 << 30:
                sent[0] += c.send(b"x" * 65536)

        def trickle(c):
            c.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000000\r\n\r\n")
            while True:
                c.sendall(b"x")
                time.sleep(0.1)

        def cut(c):
            c.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n")

        def half_a_head(c):
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Ty")

        def refusal(c):
            c.sendall(b"HTTP/1.1 500 No\r\n\r\n")
            while True:
                c.sendall(b"x" * 65536)

        for answer, times in ((flood, 1), (trickle, 1), (cut, 1), (half_a_head, 2), (refusal, 2)):
            with self.subTest(answer.__name__), RawReceiver(answer) as receiver:
                with Server(config(receiver, events=["message"], timeout_ms=60000)) as s:
                    self.talk(s, 1)
                    self.eventually(lambda: len(receiver.attempts) >= times, timeout=20)
                    self.eventually(lambda: times > 1 or self.status(s)["delivered"] == 1, timeout=20)
                    self.talk(s, 1)
                    self.eventually(lambda: len(receiver.attempts) >= times + 1, timeout=20)
                    self.assertEqual(receiver.attempts[:2], ["1", "1"] if times == 1 else ["1", "2"])
        self.assertLess(sent[0], 64 << 20)

    def status(self, server):
        console = Console(server)
        try:
            return console("webhook status")
        finally:
            console.close()

    def test_large_messages_do_not_stop_the_others(self):
        receiver = Receiver()
        limits = {"limits": {"content": 20 << 20, "frame": 40 << 20, "output_queue": 64 << 20}}
        with Server(merged(config(receiver, events=["message"]), limits)) as s:
            ada = self.user("Ada", server=s)
            for content in ("first", "x" * (2 << 20), "y" * (17 << 20), "last"):
                ada.request(2, receiverId=ada.id, content=content)
            self.eventually(lambda: "last" in self.contents(receiver), timeout=30)
            self.assertEqual([len(c) for c in self.contents(receiver)], [5, 2 << 20, 4])
            s.wait_log("webhook.lost events=1")
        receiver.close()

    def test_reload(self):
        first, second = Receiver(), Receiver()
        with Server(config(first)) as s:
            console = Console(s)
            self.talk(s, 1, "one")
            self.eventually(lambda: self.contents(first) == ["one0"])
            for i in range(100):
                s.rewrite(config((first, second)[i % 2], secret="another-secret-%d-0123456" % i, content=i == 99))
                console("config reload")
            self.talk(s, 1, "two")
            self.eventually(lambda: self.contents(second) == ["two0"])
            headers, body = second.requests[-1]
            parts = dict(p.split("=", 1) for p in headers["Magpie-Signature"].split(","))
            self.assertEqual(parts["v1"], hmac.new(b"another-secret-99-0123456", parts["t"].encode() + b"." + body,
                                                   hashlib.sha256).hexdigest())
            console.close()
        first.close()
        second.close()

    def test_a_receiver_that_hangs_disturbs_nobody(self):
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
        for options, complaint in (({}, "url"), ({"url": "ftp://x/"}, "url"), ({"url": "nonsense"}, "url"),
                                   ({"url": "http://x/", "secret": "short"}, "secret"),
                                   ({"url": "http://x/", "events": ["mesage"]}, "message")):
            with self.subTest(str(options)):
                s = Server({"plugins": {"load": {"webhook": options}}}, start=False)
                s.write_config()
                r = subprocess.run([MAGPIED, "-t", "-c", s.config_path], capture_output=True, text=True, cwd=s.folder)
                self.assertEqual(r.returncode, 1)
                self.assertIn(complaint, r.stderr)
                s.discard()
