"""Push 112 and `events` of action 3: who hears that somebody joins or leaves, and how often."""

from base import Test, smoke, variants
from client import MEMBERSHIP, SUBSCRIBE, UNSUBSCRIBE
from plugin_base import Console
from server import PATIENCE, Server
from wire import Timeout

CONSOLE = {"listen": {"console": "127.0.0.1:0"}}


def news(client, timeout=10):
    """The next 112 as (change, id, members)."""
    body = client.push(MEMBERSHIP, timeout)
    return body["change"], body["id"], body["members"]


@variants(("tcp", 1), ("binary", 3), ("text", 3))
class Membership(Test):
    config = CONSOLE

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.console = Console(cls.server)

    @smoke
    def test_others_join_and_leave(self):
        a, b, c = self.users("Ada", "Bob", "Cy")
        name = self.channel(a, events=True)
        self.assertEqual(b.subscribe(name)["events"], False)
        self.assertEqual(a.push(MEMBERSHIP), {"channel": name, "id": b.id, "name": "Bob", "change": "joined",
                                              "members": 2})
        c.subscribe(name)
        self.assertEqual(news(a), ("joined", c.id, 3))
        b.request(UNSUBSCRIBE, name=name)
        self.assertEqual(a.push(MEMBERSHIP), {"channel": name, "id": b.id, "name": "Bob", "change": "left",
                                              "members": 2})
        # Who did not ask for it hears nothing; a subscription again, or to leave again, is no change.
        c.quiet(MEMBERSHIP)
        c.subscribe(name, push="merged")
        self.assertEqual(b.request(UNSUBSCRIBE, name=name), {})
        a.quiet(MEMBERSHIP)

    def test_events_belong_to_the_subscription(self):
        a, b, c = self.users("Ada", "Bob", "Cy")
        name = self.channel(a)
        self.assertEqual(a.subscribe(name, events=True)["events"], True)
        self.assertEqual(a.subscribe(name, push="none")["events"], True)
        a2 = self.again(a)
        b.subscribe(name)
        for client in (a, a2):
            self.assertEqual(news(client), ("joined", b.id, 2))
        self.assertEqual(a2.subscribe(name, events=False)["events"], False)
        c.subscribe(name)
        a.quiet(MEMBERSHIP), a2.quiet(MEMBERSHIP)
        self.assertEqual(a.subscribe(name, events=None)["events"], False)
        for wrong in (1, "yes", []):
            self.assertIn("events", self.refused("bad_request", a, SUBSCRIBE, name=name, events=wrong).message)

    def test_the_own_membership(self):
        """Every connection but the one that asked, whatever `events` says."""
        a = self.user("Ada")
        a2, a3 = self.again(a), self.again(a)
        name = self.channel(a)
        for client in (a2, a3):
            self.assertEqual(client.push(MEMBERSHIP), {"channel": name, "id": a.id, "name": "Ada", "change": "joined",
                                                       "members": 1})
        a2.subscribe(name, events=True)
        a2.request(UNSUBSCRIBE, name=name)
        for client in (a, a3):
            self.assertEqual(news(client), ("left", a.id, 0))
        a2.quiet(MEMBERSHIP)
        a.subscribe(name, events=True)
        for client in (a2, a3):
            self.assertEqual(news(client), ("joined", a.id, 1))
            client.quiet(MEMBERSHIP)
        a.quiet(MEMBERSHIP)

    @smoke
    def test_kick_ban_close(self):
        a, b, c, d = self.users("Ada", "Bob", "Cy", "Dan")
        name = self.channel(a, b, c, d)
        a.subscribe(name, events=True)
        self.console("channel %s kick %s" % (name, b.id))
        for client in (a, b):
            self.assertEqual(client.push(MEMBERSHIP), {"channel": name, "id": b.id, "name": "Bob", "change": "kicked",
                                                       "members": 3})
        # One without a connection has a name all the same.
        c2 = self.again(c)
        c2.close(), c.close()
        self.eventually(lambda: a.request(12, ids=[c.id])["online"] == [])
        self.console("channel %s ban %s" % (name, c.id))
        self.assertEqual(a.push(MEMBERSHIP), {"channel": name, "id": c.id, "name": "Cy", "change": "banned",
                                              "members": 2})
        self.console("channel %s close" % name)
        got = [client.push(MEMBERSHIP) for client in (a, d)]
        self.assertEqual([(g["change"], g["id"]) for g in got], [("closed", a.id), ("closed", d.id)])
        for client in (a, b, d):
            client.quiet(MEMBERSHIP)

    def test_a_user_who_flaps(self):
        """At most one push in two seconds of one user, the last state always."""
        a, b, c = self.users("Ada", "Bob", "Cy")
        name = self.channel(a, events=True)
        b.subscribe(name)
        self.assertEqual(news(a), ("joined", b.id, 2))
        for _ in range(10):
            b.request(UNSUBSCRIBE, name=name)
            b.subscribe(name)
        b.request(UNSUBSCRIBE, name=name)
        a.quiet(MEMBERSHIP)
        self.assertEqual(news(a), ("left", b.id, 1))
        # In again and out again: nothing has changed.
        b.subscribe(name)
        b.request(UNSUBSCRIBE, name=name)
        a.quiet(MEMBERSHIP, wait=2.8)
        # Somebody else is told at once.
        c.subscribe(name)
        self.assertEqual(news(a, 1.5), ("joined", c.id, 2))

    def test_order_on_one_connection(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, events=True)
        seqs = b.send_all([(SUBSCRIBE, {"name": name}), (4, {"channel": name, "content": "hello"}),
                           (UNSUBSCRIBE, {"name": name})])
        for action, seq in zip((SUBSCRIBE, 4, UNSUBSCRIBE), seqs):
            self.assertNotIn("error", b.answer(action, seq))
        got = []
        while len(got) < 2:
            got += [f for f in [a.receive()] if f[0] in (102, MEMBERSHIP)]
        self.in_order([f[0] for f in got], [MEMBERSHIP, 102])
        self.assertEqual(news(a), ("left", b.id, 1))


class Large(Test):
    config = {"tiers": {"large": {"members": 10}}, "threads": 3}

    def test_large_channels_tell_nobody_but_the_user(self):
        users = self.users(*["U%d" % n for n in range(14)])
        a, name = users[0], "large one"
        other = self.again(users[13])
        for u in users:
            u.subscribe(name, events=True)
        frames = [[f[2] for f in u.drain(0.3) if f[0] == MEMBERSHIP] for u in users]
        # The channel becomes large with its tenth member: the first nine have heard of one another, and nobody since.
        for n, got in enumerate(frames):
            self.assertEqual([g["id"] for g in got], [u.id for u in users[n + 1:9]])
        self.assertEqual([g["members"] for g in frames[0]], list(range(2, 10)))
        self.assertEqual(news(other), ("joined", users[13].id, 14))
        self.assertEqual(a.subscribe(name)["tier"], "large")
        # Small again below 80 %: from there on it tells again.
        for u in users[:1:-1]:
            u.request(UNSUBSCRIBE, name=name)
        self.eventually(lambda: a.subscribe(name)["members"] == 2)
        left = [f[2]["members"] for f in a.drain(0.5) if f[0] == MEMBERSHIP]
        self.assertEqual(left, list(range(7, 1, -1)))

    def test_a_storm(self):
        """200 join at once: what is pushed does not grow with them."""
        listener = self.user("Ada")
        name = self.channel(listener, events=True)
        users = [self.user("U%d" % n) for n in range(200)]
        seqs = [u.send(SUBSCRIBE, name=name, events=True) for u in users]
        for u, seq in zip(users, seqs):
            self.assertNotIn("error", u.answer(SUBSCRIBE, seq))
        pushes = sum(sum(f[0] == MEMBERSHIP for f in u.drain(0.05)) for u in [listener] + users)
        self.assertTrue(8 <= pushes <= 9 * 8 / 2, pushes)


class Restart(Test):
    def test_restores_are_no_changes(self):
        server = Server({"threads": 3})
        try:
            users = [self.user("U%d" % n, server=server) for n in range(30)]
            listener = self.user("Ada", server=server)
            listener.subscribe("room", events=True)
            for u in users:
                u.subscribe("room", events=True)
            server.restart()
            again = [self.again(u, server=server) for u in [listener] + users]
            for c in again:
                c.quiet(MEMBERSHIP, wait=0.05)
            # … and the subscription is as it was.
            users[0] = again[1]
            users[0].request(UNSUBSCRIBE, name="room")
            for c in again[:1] + again[2:]:
                self.assertEqual(news(c)[0], "left")
        finally:
            server.close()


class Guests(Test):
    config = {"limits": {"guest": 1}, "threads": 2}

    def test_a_guest_who_is_forgotten_leaves(self):
        a = self.user("Ada")
        a2 = self.again(a)  # it is no guest any more
        name = self.channel(a, events=True)
        self.assertEqual(news(a2)[0], "joined")
        guest = self.user("Bob")
        guest.subscribe(name)
        self.assertEqual(news(a), ("joined", guest.id, 2))
        guest.close()
        body = a.push(MEMBERSHIP, timeout=40)
        self.assertEqual((body["change"], body["id"], body["name"], body["members"]), ("left", guest.id, "Bob", 1))


class MembershipSlow(Test):
    config = dict(CONSOLE, limits={"output_queue": 65536, "page": 16384}, threads=2)

    def test_skipped_and_not_repeated(self):
        a = self.user("Ada")
        slow = self.connect(receive_buffer=4096)
        slow.login("Slow")
        name = self.channel(a, slow, events=True)
        self.assertEqual(news(a)[1], slow.id)
        full = self.channel(a, slow)
        for n in range(60):
            seqs = a.send_all([(4, {"channel": full, "content": "x" * 8000})] * 8)
            for seq in seqs:
                a.answer(4, seq, timeout=30)
        others = self.users(*["U%d" % n for n in range(5)])
        for u in others:
            u.subscribe(name)
        self.assertEqual([news(a)[1] for _ in others], [u.id for u in others])
        got = []
        try:
            while True:
                got.append(slow.receive(1))
        except Timeout:
            pass
        self.assertFalse([f for f in got if f[0] == MEMBERSHIP])
        self.assertTrue([f for f in got if f[0] == 107 and f[2]["channel"] == full])
        late = self.user("Late")
        late.subscribe(name)
        self.assertEqual(news(slow), ("joined", late.id, 8))

    def test_who_was_removed_hears_no_more(self):
        a, b = self.users("Ada", "Bob")
        slow = self.connect(receive_buffer=4096)
        slow.login("Slow")
        name = self.channel(slow, events=True)
        console = Console(self.server)
        # Bytes wait for it, and behind them what the channel tells.
        for n in range(8):
            a.tell(slow, "y" * 4000)
        a.subscribe(name)
        console("channel %s kick %s" % (name, slow.id))
        b.subscribe(name)
        frames = [f[2] for f in slow.drain(0.5 * PATIENCE) if f[0] == MEMBERSHIP]
        self.assertEqual([f["change"] for f in frames if f["id"] == slow.id], ["kicked"])
        self.assertFalse([f for f in frames if f["id"] == b.id])
        self.assertEqual(frames[-1]["id"], slow.id)
