"""Nodes of one cluster: who is dead and who is not, who comes back, and masters that are moved apart."""

import os
import re
import signal
import time

from base import Test
from client import SEND_USER
from console import Console, Refused
from process import folder, remove
from redis_cluster import RedisCluster
from server import MAGPIED, Server

CONFIG = {"listen": {"console": "unix:console.sock"}, "log": {"level": "info"}}


def ask(server, command):
    c = Console(server)
    try:
        return c.json(command)
    finally:
        c.close()


def another_build(path):
    """magpied with a comment of its functions changed, and so with a library of another name. Returns both names."""
    with open(MAGPIED, "rb") as f:
        code = f.read()
    name = re.search(rb"#!lua name=magpie_([0-9a-f]{6})", code).group(1)
    comment = b"-- What all functions share"
    assert code.count(comment) == 1
    other = b"%06x" % (int(name, 16) ^ 1)
    with open(path, "wb") as f:
        f.write(code.replace(comment, b"-- what all functions share").replace(name, other))
    os.chmod(path, 0o755)
    return name, other


class Nodes(Test):
    """Two nodes; what is broken is their processes, or a master."""
    redis_settings = {}

    @classmethod
    def setUpClass(cls):
        cls.server = None
        cls.redis = RedisCluster(**cls.redis_settings)

    @classmethod
    def tearDownClass(cls):
        cls.redis.close()

    def pair(self, config=None):
        first = Server(config or CONFIG, redis=self.redis.addresses)
        self.addCleanup(first.close)
        second = Server(config or CONFIG, redis=self.redis.addresses, keys=first.keys)
        self.addCleanup(second.close)
        for s in (first, second):
            self.eventually(lambda: len(self.living(s)) == 2, 20)
        return first, second

    def living(self, server):
        """{number: incarnation}"""
        return {n["node"]: n["incarnation"] for n in ask(server, "cluster status")["nodes"]}


class Lives(Nodes):
    def test_stopped(self):
        """It is taken for dead, and when it goes on it is another one."""
        first, second = self.pair()
        before = self.living(first)
        second.signal(signal.SIGSTOP)
        try:
            self.eventually(lambda: list(self.living(first)) == [1], 30)
            self.assertIn("cluster.node_dead", first.log())
        finally:
            second.signal(signal.SIGCONT)
        second.wait_log("cluster.rejoined", 30)
        first.wait_log("cluster.node_back", 30)
        self.assertIn("cluster.isolated", second.log())
        self.eventually(lambda: set(self.living(second)) == {1, 2}, 20)
        after = self.living(second)
        self.assertEqual(after[1], before[1])
        self.assertGreater(after[2], before[2])
        self.assertNotIn("cluster.node_dead", second.log())

    def test_stopped_for_a_moment(self):
        first, second = self.pair()
        before = self.living(first)
        second.signal(signal.SIGSTOP)
        time.sleep(3)
        second.signal(signal.SIGCONT)
        beats = time.monotonic() + 8
        while time.monotonic() < beats:
            self.assertEqual(self.living(first), before)
            time.sleep(1)
        self.assertNotIn("cluster.node_dead", first.log())

    def test_killed(self):
        first, second = self.pair()
        second.kill()
        self.eventually(lambda: list(self.living(first)) == [1], 30)
        first.wait_log("cluster.node_dead", 30)
        second.start()
        self.eventually(lambda: len(self.living(first)) == 2, 20)
        self.eventually(lambda: self.living(first) == self.living(second), 20)

    def test_ended(self):
        first, second = self.pair()
        self.assertEqual(second.stop(), 0)
        first.wait_log("cluster.node_left", 20)
        self.assertNotIn("cluster.node_dead", first.log())
        second.start()

    def test_two_builds(self):
        """They run side by side, and one takes the other's place while people chat."""
        place = folder("magpie-build-")
        self.addCleanup(remove, place)
        binary = os.path.join(place, "magpied")
        names = another_build(binary)
        first = Server(CONFIG, redis=self.redis.addresses)
        self.addCleanup(first.close)
        ann = self.user("Ann", server=first)
        room = self.channel(ann)
        said = []
        for build in MAGPIED, binary, MAGPIED:
            second = Server(CONFIG, start=False, redis=self.redis.addresses, keys=first.keys)
            second.binary = build
            second.start()
            try:
                bob = self.user("Bob", server=second)
                bob.subscribe(room)
                for i in range(5):
                    for c in ann, bob:
                        said.append(c.say(room, "hello")["seq"])
                        for other in ann, bob:
                            self.assertEqual(other.push(102)["seq"], said[-1])
                ann.request(SEND_USER, receiverId=bob.id, content="you")
                self.assertEqual(bob.push(101)["content"], "you")
                bob.close()
            finally:
                second.close()
            said.append(ann.say(room, "alone")["seq"])
            self.assertEqual(ann.push(102)["seq"], said[-1])
        self.assertEqual(said, list(range(1, len(said) + 1)))
        libraries = str(self.redis.masters()[0].call("FUNCTION", "LIST"))
        for name in names:
            self.assertIn("magpie_" + name.decode(), libraries)

    def test_buried_by_hand(self):
        first, second = self.pair()
        before = self.living(first)
        for wrong in "0", "x", "1024", "":
            with self.assertRaises(Refused) as r:
                ask(first, "cluster bury %s" % wrong)
            self.assertEqual(r.exception.code, "bad_request")
        with self.assertRaises(Refused) as r:
            ask(first, "cluster bury 77")
        self.assertEqual((r.exception.code, r.exception.text), ("not_found", "there is no node 77"))
        with self.assertRaises(Refused) as r:
            ask(first, "cluster bury 1")
        self.assertEqual((r.exception.code, r.exception.text), ("bad_request", "node 1 is this one"))
        ask(first, "cluster bury 2")
        second.wait_log("cluster.rejoined", 20)
        self.eventually(lambda: self.living(first).get(2, 0) > before[2], 20)


class Away(Nodes):
    """Masters are away, and nobody takes over."""
    redis_settings = {"replicas": 0, "settings": {"min-replicas-to-write": "0"}}

    def test_cut_off(self):
        """Most masters are away from it for as long as cluster.isolated says; and back."""
        config = dict(CONFIG, cluster={"copies": 1, "isolated": 5})
        with Server(config, redis=self.redis.addresses) as s:
            away = self.redis.masters()[:2]
            for m in away:
                m.stop()
            try:
                s.wait_log("cluster.isolated", 40)
                self.eventually(lambda: ask(s, "cluster status")["state"] == "isolated", 10)
            finally:
                for m in away:
                    m.cont()
            s.wait_log("cluster.rejoined", 40)
            self.redis.healthy()
            self.eventually(lambda: ask(s, "cluster status")["state"] == "good", 40)


class Balance(Nodes):
    def hosts(self):
        return sorted(m.host for m in self.redis.masters())

    def gather(self):
        """A second master on the first one's machine."""
        self.redis.healthy()
        first = self.redis.masters()[0]
        moved = next(r for m in self.redis.masters() for r in self.redis.replicas_of(m)
                     if m != first and r.host == first.host)
        self.redis.failover(moved)
        self.redis.healthy()
        self.assertEqual(len(set(self.hosts())), 2)

    def test_by_itself(self):
        """A machine's Redis was killed, and came back: its masters do."""
        first, second = self.pair()
        master = self.redis.masters()[0]
        master.kill()
        self.eventually(lambda: len(self.redis.masters()) == 3 and master not in self.redis.masters(), 30)
        self.assertEqual(len(set(self.hosts())), 2)
        master.start()
        self.eventually(lambda: len(set(self.hosts())) == 3, 90)
        self.eventually(lambda: "cluster.balanced" in first.log(), 20)
        self.assertNotIn("cluster.balanced", second.log())  # which does not lead

    def test_by_hand(self):
        first, second = self.pair(dict(CONFIG, cluster={"balance": False}))
        self.gather()
        time.sleep(13)
        self.assertEqual(len(set(self.hosts())), 2)  # nobody has moved any
        self.assertEqual(ask(second, "cluster balance"), {"moved": 1})
        self.eventually(lambda: len(set(self.hosts())) == 3, 10)
        self.assertIn("cluster.balanced", second.log())
        self.assertEqual(ask(first, "cluster balance"), {"moved": 0})
