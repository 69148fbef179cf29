"""Everything breaks while people on all nodes chat: the checker finds nothing. MAGPIE_KILLS: how many of each kind (2;
`./dev soak` takes 20); MAGPIE_TEST_NODES: how many nodes (3)."""

import os
import random
import signal
import time

from base import Test
from checker import Checker
from postgres import Postgres
from redis_cluster import RedisCluster
from server import MAGPIED, Server

KILLS = int(os.environ.get("MAGPIE_KILLS", "2"))
NODES = int(os.environ.get("MAGPIE_TEST_NODES") or 3)

CONFIG = {"log": {"level": "info"}, "limits": {"inbox": 0, "dedup_window": 3600},
          "tiers": {"small": {"max": 0}, "dm": {"max": 0}}}
SOME = 60  # messages between two faults


class Faults(Test):
    """A Redis Cluster of its own, nodes of their own for each test."""

    abstract = True
    settings = CONFIG
    redis_settings = {}
    binary = None     # another magpied than MAGPIED
    environment = {}  # of the nodes
    one_process = "its nodes are its own"

    @classmethod
    def setUpClass(cls):
        cls.server = None
        cls.redis = RedisCluster(settings=cls.redis_settings)

    @classmethod
    def tearDownClass(cls):
        cls.redis.close()

    def setUp(self):
        super().setUp()
        self.redis.healthy()
        self.nodes = self.start_nodes(NODES)

    def start_nodes(self, n):
        nodes = []
        for _ in range(n):
            nodes.append(Server(self.settings, redis=self.redis.addresses, nodes=1, environment=self.environment,
                                keys=nodes[0].keys if nodes else None, start=False))
            nodes[-1].binary = self.binary or MAGPIED
            self.place(nodes[-1], len(nodes) - 1)
            self.addCleanup(nodes[-1].close)
        self.start(nodes)
        return nodes

    @staticmethod
    def start(nodes):
        """At once, for each waits until the others have heard of it."""
        for n in nodes:
            n.write_config()
            n.launch(wait=False)
        for n in nodes:
            n.await_ports()

    def place(self, node, n):
        """Where the n-th one runs: here."""

    def under_load(self, *faults, **options):
        """Each of them while people chat, who go on afterwards; then everything is looked at."""
        checker = Checker(self, self.nodes, **options)
        checker.start()
        try:
            checker.wait(SOME)
            for fault in faults:
                fault()
                checker.wait(SOME)
            self.redis.healthy()
            checker.wait(SOME)
        except BaseException:
            checker.stop()
            raise
        checker.finish()
        print("  %s: %s" % (self._testMethodName, checker.check()))
        return checker

    def one_of(self, things):
        return random.choice(things)


class OfNodes(Faults):
    def test_killed(self):
        def kill():
            node = self.one_of(self.nodes)
            node.kill()
            time.sleep(random.random() * 2)
            node.start()
        self.under_load(*[kill] * KILLS)

    def test_hang(self):
        """For 5 s; and for 10 s: it is buried, and finds that out."""
        def hang(seconds):
            node = self.one_of(self.nodes)
            node.process.send_signal(signal.SIGSTOP)
            try:
                time.sleep(seconds)
            finally:
                node.process.send_signal(signal.SIGCONT)
        self.under_load(lambda: hang(5), lambda: hang(10))

    def test_restarted_one_after_the_other(self):
        """An upgrade: nobody is refused anything for good, and nothing is lost that was under way."""
        def restart(node):
            self.assertEqual(node.stop(), 0)
            node.start()
        self.under_load(*[lambda n=n: restart(n) for n in self.nodes])


class OfMasters(Faults):
    def test_killed(self):
        def kill():
            master = self.one_of(self.redis.masters())
            master.kill()
            self.eventually(lambda: len(self.redis.masters()) == 3 and master not in self.redis.masters(), 60)
            master.start()
            self.redis.healthy()
        self.under_load(*[kill] * KILLS)

    def test_started_again_at_once(self):
        """Its disk has all that it has answered: appendfsync always."""
        def kill():
            master = self.one_of(self.redis.masters())
            master.kill()
            master.start()
            self.redis.healthy()
        self.under_load(*[kill] * KILLS)

    def test_hang(self):
        def hang():
            master = self.one_of(self.redis.masters())
            master.stop()
            try:
                time.sleep(5)
            finally:
                master.cont()
            self.redis.healthy()
        self.under_load(*[hang] * KILLS)

    def test_moved(self):
        def move():
            master = self.one_of(self.redis.masters())
            self.redis.failover(self.one_of(self.redis.replicas_of(master)))
        self.under_load(*[move] * KILLS)


class OfReplicas(Faults):
    def test_killed(self):
        def kill():
            replica = self.one_of(self.redis.replicas_of(self.one_of(self.redis.masters())))
            replica.kill()
            time.sleep(2)
            replica.start()
            self.redis.healthy()
        self.under_load(*[kill] * KILLS)

    def test_hang(self):
        def hang():
            replica = self.one_of(self.redis.replicas_of(self.one_of(self.redis.masters())))
            replica.stop()
            try:
                time.sleep(5)
            finally:
                replica.cont()
            self.redis.healthy()
        self.under_load(*[hang] * KILLS)


class OfEars(Faults):
    def test_subscriptions_end(self):
        """Redis ends the links over which nodes hear of each other: what was said meanwhile is read."""
        def cut():
            for _ in range(10):
                for master in self.redis.masters():
                    master.call("CLIENT", "KILL", "TYPE", "pubsub")
                time.sleep(0.1)
        self.under_load(*[cut] * KILLS)

    def test_links_end(self):
        def cut():
            for _ in range(10):
                for master in self.redis.masters():
                    master.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                time.sleep(0.1)
        self.under_load(*[cut] * KILLS)


class OfTheArchive(Faults):
    settings = dict(CONFIG)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pg = Postgres()
        cls.settings = dict(CONFIG, cluster={"archive": {"url": cls.pg.url, "hot": 20, "hot_age": 1}})

    @classmethod
    def tearDownClass(cls):
        cls.pg.close()
        super().tearDownClass()

    def test_killed(self):
        def kill():
            self.pg.kill()
            time.sleep(3)
            self.pg.start()
        self.under_load(*[kill] * KILLS, lambda: time.sleep(5))


class OfRoom(Faults):
    def test_redis_is_full(self):
        def fill():
            before = [(m, m.config("maxmemory")) for m in self.redis.masters()]
            for m, _ in before:
                m.config("maxmemory", "1mb")
            time.sleep(4)
            for m, was in before:
                m.config("maxmemory", was)
        self.under_load(*[fill] * KILLS)

    def test_slots_are_moved(self):
        """The partitions of the conversations that are in use, one after the other, to the next master and back."""
        def move():
            for slot in random.sample(range(0, 16384, 16), 40):
                masters = self.redis.masters()
                source = self.redis.master_of(slot)
                if source.call("CLUSTER", "COUNTKEYSINSLOT", slot):
                    self.redis.move_slot(slot, masters[(masters.index(source) + 1) % len(masters)])
        self.under_load(*[move] * KILLS)


class OfSeveral(Faults):
    def test_many_things_at_once(self):
        """A node and a master die, while another node hangs."""
        def break_things():
            master, node, hangs = self.one_of(self.redis.masters()), self.nodes[0], self.nodes[-1]
            hangs.process.send_signal(signal.SIGSTOP)
            master.kill()
            if node is not hangs:
                node.kill()
            time.sleep(4)
            hangs.process.send_signal(signal.SIGCONT)
            if node is not hangs:
                node.start()
            self.eventually(lambda: len(self.redis.masters()) == 3, 60)
            master.start()
            self.redis.healthy()
        self.under_load(*[break_things] * KILLS)
