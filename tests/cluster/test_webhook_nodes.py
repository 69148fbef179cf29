"""Webhooks of three nodes with one receiver: each event once, from the node that has the request, and none is lost with
a node that is killed while its receiver is away."""

import collections
import glob

from base import Test
from client import EDIT, RECALL
from console import Console
from plugin_base import SHIPPED_PLUGINS
from redis_cluster import RedisCluster
from server import Server
from test_plugin_webhook import Receiver, SECRET


class Webhooks(Test):
    one_process = "its nodes are its own"

    @classmethod
    def setUpClass(cls):
        cls.redis = RedisCluster()
        cls.addClassCleanup(cls.redis.close)
        cls.receiver = Receiver()
        cls.nodes = []
        for n in range(3):
            load = {"webhook": {"url": cls.receiver.url, "secret": SECRET}}
            cls.nodes.append(Server({"log": {"level": "info"}, "listen": {"console": "unix:console.sock"},
                                     "node": n + 1, "plugins": {"path": SHIPPED_PLUGINS, "load": load}},
                                    redis=cls.redis.addresses, nodes=1, keys=cls.nodes[0].keys if n else None))
        cls.server = cls.nodes[0]

    @classmethod
    def tearDownClass(cls):
        for n in cls.nodes:
            n.close()
        cls.receiver.close()

    def setUp(self):
        super().setUp()
        self.eventually(lambda: len(self.json(0, "status")["nodes"]) == 3, 30)

    def json(self, node, line):
        c = Console(self.nodes[node])
        try:
            return c.json(line)
        finally:
            c.close()

    def on(self, node, name, **login):
        return self.user(name, server=self.nodes[node], **login)

    def delivered(self):
        """Nothing waits on any node: whatever has happened has been told."""
        for n in range(3):
            self.eventually(lambda: self.json(n, "webhook status")["backlog"] == 0, 30)

    def about(self, *ids):
        """How often each (type, user) came for these users."""
        counts = collections.Counter()
        for e in self.receiver.of():
            who = e.get("user", {}).get("id")
            if who in ids:
                counts[e["type"], ids.index(who)] += 1
        return counts

    def test_each_event_once(self):
        a, b, c = people = [self.on(n, name) for n, name in enumerate(("Ada", "Bob", "Cid"))]
        ids = [p.id for p in people]
        room = self.channel(a, b, c)
        for p in people:
            p.say(room, "hello of " + p.id)
        for p, other in ((a, b), (b, c), (c, a)):
            p.tell(other, "you")
        away = self.on(1, "Dan")
        away.close()
        self.eventually(lambda: not self.json(2, "show user " + away.id)["online"])
        a.tell(away, "later")
        # Each change from another node than that which has the message.
        twin = self.again(b, server=self.nodes[2])
        seq = twin.say(room, "teh")["seq"]
        self.again(b, server=self.nodes[0]).request(EDIT, channel=room, seq=seq, content="the")
        b.request(RECALL, channel=room, seq=seq)
        self.again(a, server=self.nodes[1], name="Ada the second")
        self.json(0, 'channel "%s" kick %s' % (room, c.id))
        b.request(6, name=room)
        self.json(2, "user delete %s" % away.id)
        self.json(1, 'channel "%s" delete' % room)
        expected = {("user.made", 0): 1, ("user.made", 1): 1, ("user.made", 2): 1, ("user.renamed", 0): 1,
                    ("login", 0): 2, ("login", 1): 3, ("login", 2): 1,
                    ("channel.create", 0): 1, ("channel.subscribe", 0): 1, ("channel.subscribe", 1): 1,
                    ("channel.subscribe", 2): 1, ("channel.unsubscribe", 0): 1, ("channel.unsubscribe", 1): 1,
                    ("channel.unsubscribe", 2): 1,
                    ("member.joined", 0): 1, ("member.joined", 1): 1, ("member.joined", 2): 1,
                    ("member.closed", 0): 1, ("member.left", 1): 1, ("member.kicked", 2): 1,
                    ("message", 0): 3, ("message", 1): 3, ("message", 2): 2, ("message.offline", 0): 1,
                    ("message.edit", 1): 1, ("message.recall", 1): 1}
        self.eventually(lambda: not collections.Counter(expected) - self.about(*ids), 30)
        self.eventually(lambda: self.about(away.id)["user.deleted", 0] == 1, 30)
        self.delivered()
        self.assertEqual(dict(self.about(*ids)), expected)
        self.assertEqual(self.about(away.id)["user.deleted", 0], 1)
        every = [e["id"] for e in self.receiver.of()]
        self.assertEqual(len(every), len(set(every)))

    def test_killed_while_events_wait(self):
        """Those of the others come meanwhile; its own when it is back, on the data that it had. Each once."""
        port = self.receiver.port
        self.delivered()
        self.receiver.close()
        people = [self.on(n, name) for n, name in enumerate(("Eve", "Fay", "Gus"))]
        said = [["%s %d" % (p.id, i) for i in range(20)] for p in people]
        for p, texts in zip(people, said):
            for text in texts:
                p.tell(p, text)
        self.eventually(lambda: all("webhook.failed" in n.log() for n in self.nodes), 30)
        # All of them are on the disk: a kill would lose what is not.
        self.eventually(lambda: self.kept(2, said[2][-1]), 30)
        self.nodes[2].kill()
        type(self).receiver = Receiver(port)
        come = lambda p: [e["message"]["content"] for e in self.receiver.of("message") if e["user"]["id"] == p.id]
        for p, texts in list(zip(people, said))[:2]:
            self.eventually(lambda: len(come(p)) >= 20, 60)
            self.assertEqual(come(p), texts)
        self.assertEqual(come(people[2]), [])
        self.nodes[2].start()
        self.eventually(lambda: len(come(people[2])) >= 20, 60)
        self.delivered()
        for p, texts in zip(people, said):
            self.assertEqual(come(p), texts)
        every = [e["id"] for e in self.receiver.of()]
        self.assertEqual(len(every), len(set(every)))

    def kept(self, node, text):
        """Whether a node's journal has that."""
        for path in glob.glob(self.nodes[node].folder + "/data/plugins/webhook/*.events"):
            with open(path, "rb") as f:
                if text.encode() in f.read():
                    return True
        return False
