"""What clients of two nodes hear of each other's messages: each seq once and in order, slices, edits, recalls, members.
"""

import threading

from base import Test
from client import EDIT, MEMBERSHIP, RECALL, UNSUBSCRIBE
from plugin_base import Console
from redis_cluster import RedisCluster, shared
from resp import Redis, RedisError
from server import Server

CHANNEL_MESSAGE, MERGED, RECALLED, EDITED, PRIVATE = 102, 104, 109, 110, 101


class Nodes(Test):
    """Three nodes on one Redis Cluster; `here` and `there` are two of them."""

    abstract = True
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.redis = cls.start_redis()
        cls.addClassCleanup(cls.redis.close)
        config = dict(cls.settings, listen={"console": "127.0.0.1:0"})
        cls.server = Server(config, redis=cls.redis.addresses, nodes=3)
        cls.here, cls.there = cls.server.others

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    @staticmethod
    def start_redis():
        return shared()

    def pair(self, **login):
        """A user here and one there."""
        return self.user("Ada", server=self.here, **login), self.user("Bob", server=self.there, **login)

    def heard(self, client, action, last):
        """The seqs of its pushes, up to that one."""
        seqs = []
        while not seqs or seqs[-1] < last:
            seqs.append(client.push(action)["seq"])
        return seqs

    def at_once(self, *steps):
        """Runs them at the same time."""
        errors = []

        def run(f):
            try:
                f()
            except BaseException as e:  # said by the test's own thread
                errors.append(e)

        threads = [threading.Thread(target=run, args=(f,)) for f in steps]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if errors:
            raise errors[0]


class News(Nodes):
    def test_each_seq_once_and_in_order(self):
        readers = [self.user("R%d" % i, server=s) for s in (self.here, self.there) for i in range(2)]
        writers = [self.user("W%d" % i, server=s) for s in (self.here, self.there) for i in range(2)]
        name = self.channel(*readers, *writers, push="all")

        def write(w):
            for batch in range(10):
                for seq in w.send_all([(4, {"channel": name, "content": "m"})] * 10):
                    self.assertNotIn("error", w.answer(4, seq))

        self.at_once(*(lambda w=w: write(w) for w in writers))
        for c in readers + writers:
            self.assertEqual(self.heard(c, CHANNEL_MESSAGE, 400), list(range(1, 401)))
        for c in readers:
            c.quiet(CHANNEL_MESSAGE)

    def test_private_messages_to_all_connections(self):
        a, b = self.pair()
        everywhere = [a, b, self.again(a, server=self.there), self.again(b, server=self.here)]
        a.tell(b.id, "first")
        for c in everywhere[1:]:
            c.push(PRIVATE)
        sent = {}

        def write(w, to):
            sent[w] = [w.tell(to, "m")["seq"] for _ in range(30)]

        self.at_once(lambda: write(a, b.id), lambda: write(b, a.id))
        for c in everywhere:
            own = set(sent.get(c, ()))
            want = [n for n in range(2, 62) if n not in own]
            self.assertEqual(self.heard(c, PRIVATE, want[-1]), want)
            c.quiet(PRIVATE)

    def test_edits_and_recalls(self):
        a, b = self.pair()
        name = self.channel(a, b)
        a.say(name, "draft")
        a.say(name, "secret")
        for c in (a, b):
            self.heard(c, CHANNEL_MESSAGE, 2)
        for i in range(20):
            a.request(EDIT, channel=name, seq=1, content="version %d" % i)
        a.request(RECALL, channel=name, seq=2)
        for c in (a, b):
            self.assertEqual(c.push(RECALLED)["seq"], 2)
            edits = c.pushes(EDITED, 20)
            self.assertEqual([e["content"] for e in edits], ["version %d" % i for i in range(20)])
            times = [e["editedAt"] for e in edits]
            self.assertEqual(times, sorted(set(times)))
            got = c.history(name)["messages"]
            self.assertEqual([m["content"] for m in got], ["version 19", ""])
        a.tell(b.id, "private")
        b.push(PRIVATE)
        a.request(EDIT, peerId=b.id, seq=1, content="better")
        self.assertEqual(b.push(EDITED)["peerId"], a.id)
        a.request(RECALL, peerId=b.id, seq=1)
        self.assertEqual(b.push(RECALLED)["peerId"], a.id)

    def test_who_joins_and_leaves(self):
        a, b = self.pair()
        name = self.channel(a, events=True)
        b.subscribe(name)
        self.assertEqual(a.push(MEMBERSHIP), {"channel": name, "id": b.id, "name": "Bob", "change": "joined",
                                              "members": 2})
        c = self.user("Cy", server=self.here)
        c.subscribe(name)
        self.assertEqual(a.push(MEMBERSHIP)["members"], 3)
        c.request(UNSUBSCRIBE, name=name)
        self.assertEqual(a.push(MEMBERSHIP)["change"], "left")
        b.request(UNSUBSCRIBE, name=name)
        self.assertEqual(a.push(MEMBERSHIP)["members"], 1)
        # Whoever has left may say nothing more here, at whatever node.
        self.refused("forbidden", b, 4, channel=name, content="x")

    def test_what_another_node_has_changed(self):
        a, b = self.pair()
        a.tell(b.id, "one")
        b.push(PRIVATE)
        b.request(15, id=a.id, blocked=True)
        self.refused("forbidden", a, 2, receiverId=b.id, content="two")
        self.refused("forbidden", a, EDIT, peerId=b.id, seq=1, content="two")
        b.request(15, id=a.id, blocked=False)
        self.assertEqual(a.tell(b.id, "two")["seq"], 2)
        name = "nobody has made this"
        self.refused("not_found", a, 4, channel=name, content="x")
        b.subscribe(name)
        self.assertEqual(a.subscribe(name)["members"], 2)

    def test_a_channel_that_is_deleted(self):
        a, b = self.pair()
        name = self.channel(a, b)
        self.assertNotIn("error", Console(self.server)("channel %s delete" % name))
        for c in (a, b):
            self.assertEqual(c.push(MEMBERSHIP)["change"], "closed")
            c.quiet(MEMBERSHIP)
            self.refused("not_found", c, 4, channel=name, content="x")


class Deaf(Nodes):
    """News are lost, for the connections by which nodes hear them are cut."""

    @staticmethod
    def start_redis():
        return RedisCluster()

    def cut(self):
        for address in self.server.redis.split(","):
            host, _, port = address.rpartition(":")
            r = Redis(host, int(port))
            try:
                r.call("CLIENT", "KILL", "TYPE", "pubsub")
            except RedisError:  # there is none
                pass
            finally:
                r.close()

    def test_each_seq_all_the_same(self):
        a, b = self.pair()
        reader, other = self.user("R", server=self.there), self.user("S", server=self.here)
        name = self.channel(a, b, reader, other, push="all")
        done = threading.Event()

        def write(w):
            for batch in range(40):
                for seq in w.send_all([(4, {"channel": name, "content": "m"})] * 5):
                    self.assertNotIn("error", w.answer(4, seq))

        def cuts():
            while not done.wait(0.3):
                self.cut()

        cutter = threading.Thread(target=cuts)
        cutter.start()
        try:
            self.at_once(lambda: write(a), lambda: write(b))
            self.cut()
        finally:
            done.set()
            cutter.join()
        self.assertIn("cluster.ear_lost", self.here.log() + self.there.log())
        for c in (a, b, reader, other):
            self.assertEqual(self.heard(c, CHANNEL_MESSAGE, 400), list(range(1, 401)))
            c.quiet(CHANNEL_MESSAGE)


class Slices(Nodes):
    settings = {"rate": {"user": 0, "channel": 5, "policy": "complete"}, "push": {"slice_ms": 150, "max": 3}}

    def test_each_node_cuts_its_own(self):
        a, b = self.pair()
        merging = [self.user("M", server=s, accept=["merge"]) for s in (self.here, self.there)]
        name = self.channel(a, b)
        for m in merging:
            m.subscribe(name, push="merged")
        for batch in range(6):
            for seq in a.send_all([(4, {"channel": name, "content": "m"})] * 10):
                self.assertNotIn("error", a.answer(4, seq))
        for c in (a, b):
            seqs = self.heard(c, CHANNEL_MESSAGE, 60)
            self.assertEqual(seqs, sorted(set(seqs)))
            self.assertLess(len(seqs), 60, "over the limit only the newest of each slice are pushed")
        for m in merging:
            at = 0
            while at < 60:
                slice = m.push(MERGED)
                self.assertEqual(slice["from"], at + 1)
                self.assertEqual(len(slice["messages"]) + slice["omitted"], slice["to"] - at)
                self.assertLessEqual(len(slice["messages"]), 3)
                at = slice["to"]


class Tiers(Nodes):
    settings = {"tiers": {"large": {"members": 6}}}

    def test_a_threshold_that_another_node_passes(self):
        users = [self.user("U%d" % i, server=(self.here, self.there)[i % 2]) for i in range(6)]
        name = self.channel(*users[:5])
        self.assertEqual(users[0].subscribe(name)["tier"], "small")
        users[5].subscribe(name)
        for u in users:
            self.eventually(lambda: u.subscribe(name)["tier"] == "large")
        for u in users[5:2:-1]:
            u.request(UNSUBSCRIBE, name=name)
        for u in users[:3]:
            self.eventually(lambda: u.subscribe(name)["tier"] == "small")
