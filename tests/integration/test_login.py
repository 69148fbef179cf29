"""Action 1 and 16: users, tokens, devices, what works before login."""

import threading
import time

from base import Test, several_nodes, smoke, variants
from client import LOGIN, LOGOUT, PING, SEND_USER, SUBSCRIBE
from server import CLUSTER
from wire import Closed


@variants(("tcp", 1), ("binary", 2), ("text", 4), ("binary", 2, "own"), ("tcp", 2, "1.2"))
class Login(Test):
    config = {"limits": {"frame": 32768, "content": 5000}, "timeouts": {"idle": 123}}

    @smoke
    def test_a_new_user(self):
        c = self.connect()
        answer = c.login("Ada")
        self.keys(answer, "id", "name", "token", "inbox", "limits")
        self.assertRegex(answer["id"], r"^[A-Za-z0-9_.:-]{1,64}$")
        self.assertEqual(answer["name"], "Ada")
        self.assertEqual(answer["inbox"], 0)
        self.assertEqual(answer["limits"], {"frame": 32768, "content": 5000, "idle": 123})
        self.assertIsInstance(answer["token"], str)
        c.quiet()

    def test_users_of_one_name_are_different(self):
        a, b = self.users("Ada", "Ada")
        self.assertNotEqual(a.id, b.id)

    @smoke
    def test_a_token_brings_the_user_back(self):
        a = self.user("Ada")
        for n in range(3):
            b = self.connect()
            answer = b.login(token=a.token)
            self.assertEqual((answer["id"], answer["name"]), (a.id, "Ada"))
        c = self.connect()
        self.assertEqual(c.login(token=b.token)["id"], a.id, "the fresh token works")
        d = self.connect()
        self.assertEqual(d.login(token=a.token)["id"], a.id, "the old one still does")

    def test_a_name_with_a_token_renames(self):
        a = self.user("Ada")
        b = self.connect()
        self.assertEqual(b.login("Ada Lovelace", token=a.token)["name"], "Ada Lovelace")
        c = self.connect()
        self.assertEqual(c.login(token=a.token)["name"], "Ada Lovelace")
        peer = self.user("Bob")

        def has_its_new_name():
            a.tell(peer, "hello")
            return peer.push(101)["sender"] == {"id": a.id, "name": "Ada Lovelace"}

        if CLUSTER:  # its node hears of it a moment later
            self.eventually(has_its_new_name)
        else:
            self.assertTrue(has_its_new_name())

    def test_what_is_wrong_with_a_login(self):
        a = self.user("Ada")
        for body, code, word in [({}, "bad_request", "name"),
                                 ({"name": None}, "bad_request", "name"),
                                 ({"name": ""}, "bad_request", "name"),
                                 ({"name": "x" * 65}, "bad_request", "name"),
                                 ({"name": "ü" * 33}, "bad_request", "name"),
                                 ({"name": 7}, "bad_request", "name"),
                                 ({"name": "a\u0007b"}, "bad_request", "name"),
                                 ({"name": "a\u007fb"}, "bad_request", "name"),
                                 ({"name": "a\u0085b"}, "bad_request", "name"),
                                 ({"name": "Ada", "device": ""}, "bad_request", "device"),
                                 ({"name": "Ada", "device": "d" * 65}, "bad_request", "device"),
                                 ({"name": "Ada", "device": 1}, "bad_request", "device"),
                                 ({"name": "Ada", "accept": "merge"}, "bad_request", "accept"),
                                 ({"name": "Ada", "accept": [1]}, "bad_request", "accept"),
                                 ({"name": "Ada", "token": 1}, "bad_request", "token"),
                                 ({"name": "Ada", "token": ""}, "unauthorized", ""),
                                 ({"token": ""}, "unauthorized", ""),
                                 ({"name": "Ada", "token": "x"}, "unauthorized", ""),
                                 ({"name": "x" * 65, "token": a.token}, "bad_request", "name")]:
            with self.subTest(body=str(body)[:60]):
                c = self.connect()
                self.assertIn(word, self.refused(code, c, LOGIN, **body).message)
                c.login("Still welcome")

    def test_forged_tokens(self):
        a = self.user("Ada")
        t = a.token
        swapped = t[:5] + t[5].swapcase() + t[6:] if t[5].isalpha() else t[:5] + ("A" if t[5] != "A" else "B") + t[6:]
        last = t[:-1] + ("A" if t[-1] != "A" else "B")
        for forged in (t[:-1], t + "A", t[1:], swapped, last, t.swapcase(), t + "=", " " + t, "A" * len(t), t * 10,
                       t + "\u00e9", "\u00e9" * 40):
            with self.subTest(forged=forged[:10]):
                self.refused("unauthorized", self.connect(), LOGIN, token=forged)

    def test_names_of_the_longest_kind(self):
        for name in ("x" * 64, "ü" * 32, "日本語" * 7, "😀" * 16, " ", " x ", '"\\/', "\u00a0"):
            self.assertEqual(self.connect().login(name)["name"], name)

    @smoke
    def test_before_login_unauthorized_comes_first(self):
        c = self.connect()
        for action in list(range(2, 9)) + list(range(10, 17)) + [0, 17, 99, 101, 200, 999, 1000, 1999, 2000, 32767]:
            self.assertEqual(self.refused("unauthorized", c, action).code, "unauthorized")
        self.assertEqual(c.ask_raw(2, b"{}")["error"]["code"], "unauthorized")
        self.assertIn("time", c.request(PING))
        c.login("Ada")

    def test_ping(self):
        import time
        c = self.connect()
        for _ in range(2):
            answer = c.request(PING)
            self.keys(answer, "time")
            self.assertLess(abs(answer["time"] - time.time() * 1000), 60000)
            if c.id is None:
                c.login("Ada")

    def test_a_second_login_is_forbidden(self):
        a = self.user("Ada")
        self.refused("forbidden", a, LOGIN, name="Bob")
        self.refused("forbidden", a, LOGIN, token=a.token)
        self.refused("forbidden", a, LOGIN)
        c = self.connect()
        one, two = c.send_all([(LOGIN, {"name": "Cy"}), (LOGIN, {"name": "Dan"})])
        self.assertEqual(c.answer(LOGIN, one)["name"], "Cy")
        self.assertEqual(c.answer(LOGIN, two)["error"]["code"], "forbidden")
        self.assertIn("time", a.request(PING))

    def test_the_same_device_replaces(self):
        a = self.user("Ada", device="phone")
        other = self.again(a, device="tablet")
        none = self.again(a)
        b = self.again(a, device="phone")
        self.assertEqual(a.closing()["reason"], "replaced")
        if self.wire != "tcp":
            self.assertEqual(a.wire.close_code, 1008)
        for c in (other, none, b):
            self.assertIn("time", c.request(PING))
        # Another user's device of that name is another device.
        self.user("Bob", device="phone")
        b.request(PING)

    def test_what_is_not_asked_for_is_ignored(self):
        c = self.connect()
        c.login("Ada", id="system", unknown={"a": [1, None]}, accept=["merge", "future"], device=None, token=None)
        self.assertNotEqual(c.id, "system")

    @smoke
    def test_logout_ends_all_tokens(self):
        a = self.user("Ada")
        b = self.again(a)
        old = a.token
        seq = b.send(LOGOUT)
        frames = b.rest()
        self.assertEqual([f[:2] for f in frames], [(LOGOUT, seq)])
        self.assertEqual(frames[0][2], {})
        for token in (old, b.token):
            self.refused("unauthorized", self.connect(), LOGIN, token=token)

    def test_frames_wait_while_a_login_is_pending(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(b)
        c = self.connect()
        seqs = c.send_all([(LOGIN, {"token": a.token}), (SUBSCRIBE, {"name": name}),
                           (SEND_USER, {"receiverId": b.id, "content": "at once"}),
                           (PING, {})])
        first = c.receive()
        self.assertEqual(first[:2], (LOGIN, seqs[0]))
        self.assertEqual(c.answer(SUBSCRIBE, seqs[1])["name"], name)
        self.assertEqual(c.answer(SEND_USER, seqs[2])["seq"], 1)
        c.answer(PING, seqs[3])
        self.assertEqual(b.push(101)["content"], "at once")

    def test_a_failed_login_does_not_hold_what_follows(self):
        c = self.connect()
        seqs = c.send_all([(LOGIN, {"token": "no"}), (PING, {}), (LOGIN, {"name": "Ada"}), (PING, {})])
        self.assertEqual([c.receive()[:2] for _ in range(4)], list(zip((LOGIN, PING, LOGIN, PING), seqs)))

    def test_login_of_an_absent_user(self):
        """A token stays good when the user has no connection left."""
        a = self.user("Ada")
        self.again(a).close()
        a.close()
        time.sleep(0.2)
        b = self.connect()
        self.assertEqual(b.login(token=a.token)["id"], a.id)


class LoginUnderTraffic(Test):
    """What happens while a login is on its way is either counted in its answer or pushed after it."""

    config = {"threads": 4}

    def stream(self, send, stop):
        def run():
            try:
                while not stop.is_set():
                    send()
                    time.sleep(0.0005)
            except OSError:
                pass  # a failure has closed the clients
        t = threading.Thread(target=run, daemon=True)
        t.start()
        return t

    def test_private_messages(self):
        a, b = self.users("Ada", "Bob")
        stop = threading.Event()
        t = self.stream(lambda: a.tell(b, "x"), stop)
        b.close()
        for n in range(60):
            c = self.connect(wire=("tcp", "binary", "text")[n % 3])
            seq = c.send(LOGIN, token=b.token)
            frames = [c.receive()]
            self.assertEqual(frames[0][:2], (LOGIN, seq), "no push precedes the answer")
            waiting = frames[0][2]["inbox"]
            if waiting:
                self.assertEqual(c.receive()[::2], (103, {"inbox": waiting}))
            pushes, late = [], False
            while len(pushes) < 3:
                p = c.receive()
                if p[0] == 103 and several_nodes():  # which say it at any time
                    late = True
                else:
                    pushes.append(p)
            self.assertEqual({p[0] for p in pushes}, {101})
            seqs = [p[2]["seq"] for p in pushes]
            # What was stored just before may be counted and, its push being on its way, pushed as well; but nothing is
            # missing.
            if not late:
                self.assertLessEqual(seqs[0], waiting + 1)
            self.assertEqual(seqs, list(range(seqs[0], seqs[0] + 3)))
            c.close()
        stop.set()
        t.join(30)

    def test_channel_messages(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b, push="all")
        b.close()
        stop = threading.Event()
        t = self.stream(lambda: (a.say(name, "x"), a.kept.clear()), stop)
        for n in range(60):
            c = self.connect(wire=("tcp", "binary", "text")[n % 3])
            seq = c.send(LOGIN, token=b.token)
            self.assertEqual(c.receive()[:2], (LOGIN, seq), "no push precedes the answer")
            pushes = [c.receive() for _ in range(4)]
            self.assertEqual({p[0] for p in pushes}, {102})
            first = pushes[0][2]["seq"]
            self.assertEqual([p[2]["seq"] for p in pushes], list(range(first, first + 4)))
            last = c.history(name, limit=1)["last"]
            self.assertGreaterEqual(last, first + 3)
            c.close()
        stop.set()
        t.join(30)

    def test_the_same_device_again_and_again(self):
        a = self.user("Ada")
        for n in range(30):
            c = self.connect(wire=("tcp", "binary", "text")[n % 3])
            c.login(token=a.token, device="phone")
            if n:
                self.assertEqual(before.closing()["reason"], "replaced")
            before = c
        seqs = [d.send(LOGIN, token=a.token, device="phone") for d in [self.connect() for _ in range(10)]]
        time.sleep(0.5)
        alive = 0
        for d in self.clients[-10:]:
            try:
                d.request(PING)
                alive += 1
            except Closed:
                pass
        self.assertEqual(alive, 1, "one remains")


class LoginOverRestart(Test):
    def test_tokens_outlive_the_server(self):
        a = self.user("Ada")
        out = self.again(a, device="x")
        gone = self.user("Bob")
        self.again(gone)
        gone.request(LOGOUT)
        self.server.restart()
        b = self.connect()
        self.assertEqual(b.login(token=a.token)["name"], "Ada")
        self.refused("unauthorized", self.connect(), LOGIN, token=gone.token)
        self.assertTrue(out.rest())
