"""A node's user in Redis has the rights of docs/cluster.md, and no others: they are enough for all that a node does.
And what it says when one of them is taken away while it runs; what is said at the start is test_start.py's."""

import os
import subprocess

from base import Test
from client import HISTORY, SEND_CHANNEL, SEND_USER
from load import Load
from redis_cluster import RedisCluster, rights
from server import MAGPIED, PATIENCE, Server

NAME, SECRET = "magpie", "planted-for-magpie"
CONFIG = {"log": {"level": "info"}, "limits": {"inbox": 0}, "tiers": {"small": {"max": 0}, "dm": {"max": 0}},
          "cluster": {"username": NAME, "password": SECRET}}


class Rights(Test):
    abstract = True

    @classmethod
    def setUpClass(cls):
        cls.redis = RedisCluster(user="%s:%s" % (NAME, SECRET))
        cls.addClassCleanup(cls.redis.close)

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        super().setUp()
        self.redis.healthy()
        for n in self.redis.nodes:
            n.call("ACL", "LOG", "RESET")
        self.nodes = []
        for _ in range(2):
            self.nodes.append(Server(CONFIG, redis=self.redis.addresses, nodes=1,
                                     keys=self.nodes[0].keys if self.nodes else None))
            self.addCleanup(self.nodes[-1].close)
        self.server = self.nodes[0]

    def denied(self):
        """What any process of Redis has denied: "MEMBER: reason object"."""
        out = []
        for n in self.redis.nodes:
            for entry in n.call("ACL", "LOG"):
                e = dict(zip(entry[::2], entry[1::2]))
                out.append("%s: %s %s" % (n.address, e[b"reason"].decode(), e[b"object"].decode()))
        return out


class Enough(Rights):
    abstract = False

    def run_alone(self, *arguments):
        p = subprocess.run([MAGPIED, *arguments], capture_output=True, timeout=120 * PATIENCE, cwd=self.server.folder,
                           text=True)
        self.assertEqual(p.returncode, 0, p.stderr)

    def test_under_load(self):
        """With masters that move, by the node and by Redis, functions that are lost, an export, and an import."""
        load = Load(self, self.server)
        load.start()
        try:
            load.wait(20)
            master = self.redis.master_of(0)
            master.call("FUNCTION", "FLUSH")
            load.wait(20)
            self.redis.failover(self.redis.replicas_of(master)[0])
            self.eventually(lambda: len({m.host for m in self.redis.masters()}) == 3, 120)  # the leader sees to it
            load.wait(20)
            master = self.redis.masters()[1]
            master.kill()
            load.wait(20)
            master.start()
            load.wait(20)
            self.nodes[1].restart()
            load.wait(20)
        finally:
            load.stop()
        self.redis.healthy()
        load.check()
        for n in self.nodes:
            log = n.whole_log()
            self.assertNotIn("cluster.denied", log)
            self.assertNotIn("cluster.function_error", log)
            self.assertNotIn("cluster.unchecked", log)
            self.assertEqual(n.stop(), 0)
        path = os.path.join(self.server.folder, "export")
        self.run_alone("--export", path, "-c", self.server.config_path)
        other = Server(CONFIG, redis=self.redis.addresses, start=False)
        self.addCleanup(other.discard)
        other.write_config()
        self.run_alone("--import", path, "-c", other.config_path)
        self.assertEqual(self.denied(), [])


class TakenAway(Rights):
    abstract = False

    def take(self, *what):
        for n in self.redis.nodes:
            n.call("ACL", "SETUSER", NAME, *what)

    def give(self):
        for n in self.redis.nodes:
            n.call("ACL", "SETUSER", NAME, "reset", "on", ">" + SECRET, *rights("t"))

    def taken(self, right, said):
        """Redis's words are in the log, once for each master; clients may try again; and nothing is to be done but to
        give it back."""
        a, b = self.user("Ada"), self.user("Bob", server=self.nodes[1])
        room = self.channel(a, b)
        a.say(room, "before")
        a.tell(b, "before")
        requests = ((SEND_CHANNEL, {"channel": room}), (SEND_USER, {"receiverId": b.id}))
        self.take(right)
        self.addCleanup(self.give)
        for action, to in requests:
            self.refused("unavailable", a, action, content="x", clientId="c", **to)
        self.eventually(lambda: "cluster.denied" in self.server.log(), 20)
        lines = [line for line in self.server.log().splitlines() if "cluster.denied" in line]
        self.assertIn("NOPERM", lines[0])
        self.assertIn(said, lines[0])
        self.assertEqual(len(lines), len({line.split(" port=")[1].split()[0] for line in lines}), "each once")
        self.give()
        for action, to in requests:
            self.eventually(lambda: "error" not in a.ask(action, content="x", clientId="c", **to), 30)
        for conversation in ({"channel": room}, {"peerId": a.id}):
            texts = [m["content"] for m in b.request(HISTORY, **conversation)["messages"]]
            self.assertEqual(texts, ["before", "x"])

    def test_functions(self):
        self.taken("-fcall", "'fcall'")

    def test_waiting(self):
        self.taken("-wait", "'wait'")

    def test_keys(self):
        self.taken("resetkeys", "keys")
