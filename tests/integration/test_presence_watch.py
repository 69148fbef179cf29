"""Action 18 watch presence and push 111: who may be watched, what is told, how often."""

import time

from base import Test, smoke, variants
from client import PRESENCE, PRESENCE_CHANGED, SEND_CHANNEL, WATCH
from server import PATIENCE, Server
from wire import Timeout


@variants(("tcp", 1), ("binary", 3), ("text", 3))
class Watch(Test):
    def told(self, client, timeout=10):
        body = client.push(PRESENCE_CHANGED, timeout)
        self.keys(body, "id", "online")
        return body["id"], body["online"]

    def watch(self, client, *users):
        return sorted(client.request(WATCH, ids=[getattr(u, "id", u) for u in users], watch=True)["online"])

    def pair(self):
        a, b = self.users("Ada", "Bob")
        self.channel(a, b)
        return a, b

    @smoke
    def test_goes_and_comes(self):
        a, b = self.pair()
        self.assertEqual(self.watch(a, b), [b.id])
        a.quiet(PRESENCE_CHANGED)
        b.close()
        self.assertEqual(self.told(a), (b.id, False))
        b2 = self.again(b)
        self.assertEqual(self.told(a), (b.id, True))
        # Another connection, or the end of one of several, is no change.
        b3 = self.again(b)
        b2.close()
        a.quiet(PRESENCE_CHANGED, wait=2.6)
        b3.close()
        self.assertEqual(self.told(a), (b.id, False))
        a.quiet(PRESENCE_CHANGED, wait=2.6)

    def test_who_may_be_watched(self):
        """As with action 12, whether online or not: a channel or a private conversation in common, and oneself."""
        a, b, c, d, e = self.users("Ada", "Bob", "Cy", "Dan", "Eve")
        self.channel(a, b), self.channel(d, e)
        c.tell(a, "x")
        b2 = self.again(b)
        b.close(), b2.close()
        self.eventually(lambda: a.request(PRESENCE, ids=[b.id])["online"] == [])
        self.assertEqual(self.watch(a, a, b, c, d, e, "nobody"), sorted([a.id, c.id]))
        d.close(), e.close(), c.close()
        self.assertEqual(self.told(a), (c.id, False))
        self.again(b)
        self.assertEqual(self.told(a), (b.id, True))
        a.quiet(PRESENCE_CHANGED)

    def test_watch_is_the_connections_own(self):
        a, b = self.pair()
        a2 = self.again(a)
        self.assertEqual(self.watch(a, b), [b.id])
        self.assertEqual(self.watch(a, b, b), [b.id], "again")
        b.close()
        self.assertEqual(self.told(a), (b.id, False))
        a2.quiet(PRESENCE_CHANGED)
        a.quiet(PRESENCE_CHANGED)

    def test_until_it_ends(self):
        a, b = self.pair()
        self.watch(a, b)
        self.assertEqual(a.request(WATCH, ids=[b.id, "nobody"], watch=False), {"online": [b.id]})
        self.assertEqual(a.request(WATCH, ids=[b.id], watch=False), {"online": []})
        b.close()
        a.quiet(PRESENCE_CHANGED)
        self.assertEqual(self.watch(a, b), [])
        # What was allowed when it began goes on.
        b2 = self.again(b)
        self.assertEqual(self.told(a), (b.id, True))

    def test_a_user_who_flaps(self):
        a, b = self.pair()
        self.again(b).close()
        self.watch(a, b)
        b.close()
        self.assertEqual(self.told(a), (b.id, False))
        start = time.monotonic()
        last = None
        for n in range(6):
            last = self.again(b)
            if n < 5:
                last.close()
        self.assertEqual(self.told(a), (b.id, True))
        if time.monotonic() - start < 2.5:  # else the machine is slow, and more may be told
            self.assertGreaterEqual(time.monotonic() - start, 1.5)
        a.quiet(PRESENCE_CHANGED, wait=2.6)

    def test_refused(self):
        a, b = self.pair()
        for body, field in (({"watch": True}, "ids"), ({"ids": b.id, "watch": True}, "ids"),
                            ({"ids": [1], "watch": True}, "ids"), ({"ids": ["no id!"], "watch": True}, "ids"),
                            ({"ids": ["x"] * 101, "watch": True}, "ids"), ({"ids": [b.id]}, "watch"),
                            ({"ids": [b.id], "watch": 1}, "watch"), ({"ids": [b.id], "watch": None}, "watch")):
            self.assertIn(field, self.refused("bad_request", a, WATCH, **body).message)
        self.refused("unauthorized", self.connect(), WATCH, ids=[b.id], watch=True)
        self.assertEqual(a.request(WATCH, ids=[], watch=True), {"online": []})
        b.close()
        a.quiet(PRESENCE_CHANGED)

    def test_the_answer_comes_first(self):
        a, b = self.pair()
        for n in range(10):
            seq = a.send(WATCH, ids=[b.id], watch=True)
            b.close()
            answer = a.answer(WATCH, seq)["online"]
            self.assertFalse(any(f[0] == PRESENCE_CHANGED for f in a.kept), "before the answer")
            if answer:
                self.assertEqual(self.told(a), (b.id, False))
            a.request(WATCH, ids=[b.id], watch=False)
            b = self.again(b)
            self.eventually(lambda: a.request(PRESENCE, ids=[b.id])["online"])
            a.kept.clear()


class Many(Test):
    config = {"threads": 3}

    def test_a_thousand_and_no_more(self):
        a = self.user("Ada")
        name = self.channel(a)
        others = []
        for n in range(0, 1050, 50):
            users = self.users(*["U"] * 50)
            seqs = [u.send(3, name=name) for u in users]
            for u, seq in zip(users, seqs):
                u.answer(3, seq)
            others += users
        ids = [u.id for u in others]
        for n in range(0, 1000, 100):
            self.assertEqual(len(a.request(WATCH, ids=ids[n:n + 100], watch=True)["online"]), 100)
        self.refused("quota", a, WATCH, ids=ids[950:1050], watch=True)
        self.assertEqual(len(a.request(WATCH, ids=ids[900:1000], watch=True)["online"]), 100)
        others[1001].close()
        a.quiet(PRESENCE_CHANGED)
        a.request(WATCH, ids=[ids[0]], watch=False)
        self.assertEqual(a.request(WATCH, ids=[ids[1002]], watch=True)["online"], [ids[1002]])
        # All go and come at once: each is told of once, and once more.
        for u in others:
            u.close()
        gone = [a.push(PRESENCE_CHANGED, 30) for _ in range(1000)]
        self.assertEqual(sorted(g["id"] for g in gone), sorted(ids[1:1000] + [ids[1002]]))
        self.assertFalse(any(g["online"] for g in gone))
        a.quiet(PRESENCE_CHANGED)

    def test_many_watch_one(self):
        b = self.user("Bob")
        name = self.channel(b)
        watchers = self.users(*["W"] * 300)
        for w in watchers:
            w.subscribe(name)
            w.request(WATCH, ids=[b.id], watch=True)
        for w in watchers[::3]:
            w.close()
        b.close()
        for w in watchers:
            if w not in watchers[::3]:
                self.assertEqual(w.push(PRESENCE_CHANGED), {"id": b.id, "online": False})

    def test_a_reconnecting_crowd(self):
        """Whoever is away for a moment is told of once or twice, however many watch."""
        users = self.users(*["U"] * 40)
        name = self.channel(*users)
        ids = [u.id for u in users]
        watchers = self.users(*["W"] * 10)
        for w in watchers:
            w.subscribe(name)
            w.request(WATCH, ids=ids, watch=True)
        for u in users:
            u.close()
        back = [self.again(u) for u in users]
        time.sleep(2.6 * PATIENCE)
        for w in watchers:
            got = [f[2] for f in w.drain(0.2) if f[0] == PRESENCE_CHANGED]
            self.assertLessEqual(len(got), 2 * len(users))
            state = {g["id"]: g["online"] for g in got}
            self.assertTrue(all(state.values()), "the last state")


class WatchSlow(Test):
    config = {"limits": {"output_queue": 65536, "page": 16384}, "threads": 2}

    def test_skipped(self):
        a = self.user("Ada")
        slow = self.connect(receive_buffer=4096)
        slow.login("Slow")
        name = self.channel(a, slow)
        slow.request(WATCH, ids=[a.id], watch=True)
        sender = self.user("Bob")
        sender.subscribe(name, push="none")
        a.subscribe(name, push="none")
        for n in range(90):
            seqs = sender.send_all([(SEND_CHANNEL, {"channel": name, "content": "x" * 8000})] * 8)
            for seq in seqs:
                sender.answer(SEND_CHANNEL, seq, timeout=30)
        a.close()
        time.sleep(0.5 * PATIENCE)
        got = []
        try:
            while True:
                got.append(slow.receive(1))
        except Timeout:
            pass
        self.assertFalse([f for f in got if f[0] == PRESENCE_CHANGED])
        self.again(a)
        self.assertEqual(slow.push(PRESENCE_CHANGED), {"id": a.id, "online": True})


class WatchRestart(Test):
    def test_nothing_is_left_of_it(self):
        """A watch ends with its connection, over a restart too."""
        server = Server({"threads": 3})
        try:
            a, b = self.user("Ada", server=server), self.user("Bob", server=server)
            self.channel(a, b)
            a.request(WATCH, ids=[b.id], watch=True)
            self.again(a).close(), self.again(b).close()
            server.restart()
            a2, b2 = self.again(a, server=server), self.again(b, server=server)
            a2.quiet(PRESENCE_CHANGED)
            self.assertEqual(a2.request(WATCH, ids=[b.id], watch=True)["online"], [b.id])
            b2.close()
            self.assertEqual(a2.push(PRESENCE_CHANGED), {"id": b.id, "online": False})
        finally:
            server.close()
