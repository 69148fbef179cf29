"""Wrong clocks, of machines of Redis and of a node: nothing jumps, and nothing ends before an operator says so."""

import time

from base import Test
from console import Console
from preloads import preload, preloaded
from redis_cluster import RedisCluster
from server import Server

DAY = 24 * 3600
TEN_YEARS = 3650 * DAY

CONFIG = {"log": {"level": "info"}, "listen": {"console": "unix:console.sock"}, "tiers": {"small": {"ttl": 100 * DAY}}}


class Clocks(Test):
    """One of the three machines of Redis is ten years ahead."""

    @classmethod
    def setUpClass(cls):
        cls.server = None
        cls.library = preload(cls, "shifted_clock")
        cls.redis = RedisCluster(start=False)
        cls.addClassCleanup(cls.redis.close)
        cls.wrong = cls.redis.nodes[-1].host
        for n in cls.redis.nodes:
            if n.host == cls.wrong:
                n.process.argv = preloaded(n.process.argv, cls.library, CLOCK_SHIFT=TEN_YEARS)
        cls.redis.start()

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        super().setUp()
        self.redis.healthy()

    def node(self, **more):
        s = Server(CONFIG, redis=self.redis.addresses, **more)
        self.addCleanup(s.close)
        return s

    def says(self, who, room, text, by=0):
        """Says something; it was created `by` seconds from now."""
        said = who.say(room, text)
        self.assertLess(abs(said["createdAt"] / 1000 - time.time() - by), 60, text)
        return said["id"]

    def test_masters_move_to_the_wrong_machine(self):
        a = self.node()
        b = self.node(keys=a.keys)
        ada, bob = self.user("Ada", server=a), self.user("Bob", server=b)
        room = self.channel(ada)
        bob.subscribe(room)
        ids = [self.says(ada, room, "all is well"), self.says(bob, room, "here, too")]
        for master in self.redis.masters():
            there = [r for r in self.redis.replicas_of(master) if r.host == self.wrong]
            if there:
                self.redis.failover(there[0])
            ids += [self.says(ada, room, "moved"), self.says(bob, room, "moved, too")]
        self.assertEqual({m.host for m in self.redis.masters()}, {self.wrong})
        a.wait_log("cluster.clock_jump", 30)  # all masters' clocks are wrong now, and nobody follows them
        c = self.node(keys=a.keys)  # who joins now has the others' time
        cid = self.user("Cid", server=c)
        cid.subscribe(room)
        ids += [self.says(cid, room, "new"), self.says(ada, room, "old"), self.says(bob, room, "old, too")]
        self.assertEqual(ids, sorted(set(ids)))
        self.assertEqual([m["id"] for m in ada.history(room)["messages"]], ids)
        # An operator says on one node that the masters are right: so it is for all of them.
        console = Console(b)
        try:
            self.assertEqual(console.json("storage clock accept"), {"paused": False})
        finally:
            console.close()
        for s in (a, b, c):
            s.wait_log("storage.clock_accepted", 30)
        ids = [self.says(who, room, "later", TEN_YEARS) for who in (ada, bob, cid)]
        self.eventually(lambda: [m["id"] for m in ada.history(room)["messages"]] == ids, 30)

    def test_a_node_with_a_wrong_clock(self):
        for seconds in (-3600, TEN_YEARS):
            s = self.node(environment={"LD_PRELOAD": self.library, "CLOCK_SHIFT": str(seconds)})
            ada = self.user("Ada", server=s)
            room = self.channel(ada)
            ids = [self.says(ada, room, "first", self.median())]
            s.kill()
            s.environment["CLOCK_SHIFT"] = "0"
            s.start()
            ada = self.again(ada, server=s)
            ids.append(self.says(ada, room, "second", self.median()))
            self.assertEqual([m["id"] for m in ada.history(room)["messages"]], ids)

    def median(self):
        """How far most masters' clocks are from the true time."""
        wrong = sum(m.host == self.wrong for m in self.redis.masters())
        return TEN_YEARS if wrong >= 2 else 0
