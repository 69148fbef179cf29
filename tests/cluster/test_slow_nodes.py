"""Who reads slowly on one node while others send on others: what is not pushed is announced by push 107, and nobody
else waits."""

from base import Test
from client import BEHIND, CHANNEL_MESSAGE, CLOSING, INBOX_WAITING, SEND_CHANNEL, SEND_USER, USER_MESSAGE
from redis_cluster import shared
from test_slow import Reader
from together import start_nodes


class Slow(Test):
    one_process = "its nodes are its own"

    @classmethod
    def setUpClass(cls):
        cls.redis = shared()
        cls.addClassCleanup(cls.redis.close)
        cls.nodes = start_nodes({"log": {"level": "info"}, "limits": {"output_queue": 65536, "page": 16384}},
                                cls.redis.addresses)
        cls.server = cls.nodes[0]

    @classmethod
    def tearDownClass(cls):
        for n in cls.nodes:
            n.close()

    def silent(self, n, name="Slow"):
        """A user of the n-th node that does not read, with little room in its socket."""
        c = self.connect(server=self.nodes[n], receive_buffer=4096)
        c.login(name)
        return c

    def flood(self, sender, action, bodies, at_once=4):
        for start in range(0, len(bodies), at_once):
            for seq in sender.send_all([(action, b) for b in bodies[start:start + at_once]]):
                self.assertIn("seq", sender.answer(action, seq, timeout=30))

    def test_behind(self):
        """Two who do not read, on two nodes; one who reads on the third, where the sender is."""
        a = self.user("Ada", server=self.nodes[0])
        other = self.user("Bob", server=self.nodes[0])
        slow = [self.silent(n) for n in (1, 2)]
        room, calm = self.channel(a, other, *slow), self.channel(a, *slow)
        a.say(calm, "first")
        reader, n = Reader(other), 1200
        self.flood(a, SEND_CHANNEL, [{"channel": room, "content": "%06d" % k + "x" * 8000} for k in range(n)])
        self.eventually(lambda: any(f[2].get("seq") == n for f in list(reader.frames)), 20)
        for c in slow:
            at, first = 0, None  # the number of the last one pushed, or told of; that of the last one before any 107
            while at < n:
                action, _, body = c.find(lambda f: f[2].get("channel") == room, 20, "%d of %d" % (at + 1, n))
                if action == BEHIND:
                    self.assertGreater(body["seq"], at)
                    first = at if first is None else first
                else:
                    self.assertEqual((action, body["seq"]), (CHANNEL_MESSAGE, at + 1))
                at = body["seq"]
            self.assertIsNotNone(first, "some were skipped")
            # It pulls what it lacks, and goes on.
            self.assertEqual(c.history(room, after=first, limit=2)["messages"][0]["seq"], first + 1)
            c.quiet(BEHIND)
        a.say(room, "now")
        for c in slow:
            self.assertEqual([c.push(CHANNEL_MESSAGE)["content"] for _ in range(2)], ["first", "now"])
        self.assertEqual([f[2]["seq"] for f in reader.frames if f[0] == CHANNEL_MESSAGE][:n], list(range(1, n + 1)))

    def test_private_messages_are_never_skipped(self):
        a, b = self.user("Ada", server=self.nodes[0]), self.silent(1)
        n = 1200
        self.flood(a, SEND_USER, [{"receiverId": b.id, "content": "%06d" % k + "x" * 8000} for k in range(n)], 50)
        got = b.rest(30)
        pushed = [f[2]["seq"] for f in got if f[0] == USER_MESSAGE]
        self.assertEqual(pushed, list(range(1, len(pushed) + 1)), "without a gap until the end")
        self.assertLess(len(pushed), n)
        self.assertIn([f[2]["reason"] for f in got if f[0] == CLOSING], ([], ["slow"]))
        again = self.connect(server=self.nodes[2])
        self.assertEqual(again.login(token=b.token)["inbox"], n, "the inbox keeps what was not acknowledged")
        self.assertEqual(again.push(INBOX_WAITING)["inbox"], n)
