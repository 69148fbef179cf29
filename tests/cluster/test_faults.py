"""Everything breaks while people on all nodes chat: the checker finds nothing. MAGPIE_KILLS: how many of each kind (2;
`./dev soak nodes` takes 20); MAGPIE_TEST_NODES: how many nodes (3)."""

import contextlib
import os
import random
import signal
import time

from base import Test
from checker import Checker
from postgres import Postgres
from preloads import preload, preloaded
from redis_cluster import RedisCluster
from server import MAGPIED, Server
from test_clocks import HOUR, TEN_YEARS, faketime

KILLS = int(os.environ.get("MAGPIE_KILLS", "2"))
NODES = int(os.environ.get("MAGPIE_TEST_NODES") or 3)

CONFIG = {"log": {"level": "info"}, "limits": {"inbox": 0, "dedup_window": 3600},
          "tiers": {"small": {"max": 0}, "dm": {"max": 0}}}
SOME = 60  # messages between two faults
TABLE = 0  # the slot of partition 0, which has the table of nodes


class Faults(Test):
    """A Redis Cluster and nodes of its own, which its tests share: each leaves them as well as it found them. After one
    that failed, the next one has new nodes."""

    abstract = True
    settings = CONFIG
    redis_settings = {}
    binary = None     # another magpied than MAGPIED
    environment = {}  # of the nodes
    one_process = "its nodes are its own"

    @classmethod
    def setUpClass(cls):
        cls.server, cls.nodes = None, []
        cls.redis = cls.start_redis()
        cls.addClassCleanup(cls.redis.close)

    @classmethod
    def start_redis(cls):
        return RedisCluster(settings=cls.redis_settings)

    @classmethod
    def tearDownClass(cls):
        cls.end_nodes()

    @classmethod
    def end_nodes(cls):
        nodes, cls.nodes = cls.nodes, []
        with contextlib.ExitStack() as stack:  # all of them, though one does not end well
            for n in nodes:
                stack.callback(n.close)

    def setUp(self):
        super().setUp()
        self.well = False  # the nodes may be used by the next test
        self.checker = None
        self.redis.healthy()
        if not self.nodes:
            self.start_nodes(NODES)

    def tearDown(self):
        super().tearDown()
        if self.checker:
            self.checker.close()
        if not self.well:
            self.end_nodes()

    def start_nodes(self, n):
        keys = None
        for i in range(n):
            node = Server(self.settings, redis=self.redis.addresses, nodes=1, environment=self.environment, keys=keys,
                          start=False)
            keys = node.keys
            node.binary = self.binary or MAGPIED
            self.place(node, i)
            self.nodes.append(node)
        try:
            self.start(self.nodes)
        except BaseException:
            self.end_nodes()
            raise

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
        checker = self.checker = Checker(self, self.nodes, **options)
        checker.start()
        checker.wait(SOME)
        for fault in faults:
            fault()
            checker.healed()
            self.redis.healthy()
            self.redis.in_step()
            checker.wait(SOME)
        checker.finish()
        print("  %s: %s" % (self._testMethodName, checker.check()))
        self.well = True

    def one_of(self, things):
        return random.choice(things)

    def lose_machine(self):
        """Kills all Redis of a machine, one of which is a master; returns them once others are masters."""
        def with_one():
            hosts = [m.host for m in self.redis.masters()]
            return [h for h in hosts if hosts.count(h) == 1]
        host = self.one_of(self.eventually(with_one, 60))  # until nodes have moved masters apart
        there = [n for n in self.redis.nodes if n.host == host]
        for n in there:
            n.kill()
        self.eventually(lambda: len(self.redis.masters()) == 3 and
                        host not in [m.host for m in self.redis.masters()], 60)
        return there


class OfNodes(Faults):
    def test_killed(self):
        def kill():
            node = self.one_of(self.nodes)
            node.kill()
            time.sleep(random.random() * 2)
            node.start()
        self.under_load(*[kill] * KILLS)

    def test_hang(self):
        """One for 5 s; and another for 10 s: it is buried, and finds that out."""
        def hang():
            long, short = random.sample(self.nodes, 2) if len(self.nodes) > 1 else self.nodes * 2
            for n in long, short:
                n.process.send_signal(signal.SIGSTOP)
            try:
                time.sleep(5)
                short.process.send_signal(signal.SIGCONT)
                time.sleep(5)
            finally:
                for n in short, long:
                    n.process.send_signal(signal.SIGCONT)
        self.under_load(*[hang] * (KILLS // 2))

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
        self.under_load(*[kill] * KILLS)

    def test_started_again_at_once(self):
        """Its disk has all that it has answered: appendfsync always."""
        def kill():
            master = self.one_of(self.redis.masters())
            master.kill()
            master.start()
        self.under_load(*[kill] * KILLS)

    def test_hang(self):
        def hang():
            master = self.one_of(self.redis.masters())
            master.stop()
            try:
                time.sleep(5)
            finally:
                master.cont()
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
        self.under_load(*[kill] * KILLS)

    def test_hang(self):
        def hang():
            replica = self.one_of(self.redis.replicas_of(self.one_of(self.redis.masters())))
            replica.stop()
            try:
                time.sleep(5)
            finally:
                replica.cont()
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
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pg = Postgres()
        cls.addClassCleanup(cls.pg.close)
        cls.settings = dict(CONFIG, cluster={"archive": {"url": cls.pg.url, "hot": 20, "hot_age": 1}})

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
        """Partitions of conversations and users that are in use, one after the other, to the next master."""
        def move():
            used = self.redis.used_slots()
            masters = self.redis.masters()
            for slot in random.sample(used, min(len(used), 10)):
                source = self.redis.master_of(slot)
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
        self.under_load(*[break_things] * KILLS)

    def test_a_machine_is_lost(self):
        """A node, a master and two replicas of others die at once, and come back."""
        def lose():
            node = self.one_of(self.nodes)
            node.kill()
            there = self.lose_machine()
            node.start()
            for n in there:
                n.start()
        self.under_load(*[lose] * KILLS)


class OfTheTable(Faults):
    def test_away(self):
        """The master that has the table of nodes hangs for 10 s, and no replica takes over: nobody is buried."""
        def hang():
            master = self.redis.master_of(TABLE)
            replicas = self.redis.replicas_of(master)
            for n in replicas:
                n.config("cluster-replica-no-failover", "yes")
            master.stop()
            try:
                time.sleep(10)
            finally:
                master.cont()
                for n in replicas:
                    n.config("cluster-replica-no-failover", "no")
        self.under_load(hang)
        for n in self.nodes:
            for event in "cluster.node_dead", "cluster.node_left", "cluster.isolated":
                self.assertNotIn(event, n.whole_log())


class OfClocks(Faults):
    """Wrong clocks of nodes, and of machines of Redis: time stays what it is, as all see it."""

    @classmethod
    def setUpClass(cls):
        cls.library = preload(cls, "shifted_clock")
        super().setUpClass()

    def place(self, node, n):
        library = faketime()
        if library:
            node.environment = dict(self.environment, LD_PRELOAD=library, FAKETIME_NO_CACHE="1",
                                    FAKETIME_TIMESTAMP_FILE=os.path.join(node.folder, "time"),
                                    FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_DONT_RESET="1")
            self.jump(node, 0)

    @staticmethod
    def jump(node, seconds):
        with open(os.path.join(node.folder, "time.new"), "w") as f:
            f.write("%+d" % seconds)
        os.rename(os.path.join(node.folder, "time.new"), os.path.join(node.folder, "time"))

    def test_of_nodes(self):
        """They jump while nodes run, who leads among them, and over restarts."""
        if not faketime():
            self.skipTest("no libfaketime here")

        def off(node, seconds, restart):
            self.jump(node, seconds)
            if restart:
                node.kill()
                time.sleep(random.random())
                node.start()
        leads, other = self.nodes[0], self.nodes[-1]
        self.under_load(lambda: off(leads, HOUR, False), lambda: off(other, TEN_YEARS, False),
                        lambda: off(other, -HOUR, True), lambda: off(leads, TEN_YEARS, True),
                        lambda: off(leads, 0, False))

    def test_of_masters(self):
        """A machine of Redis comes back with a wrong clock, and its replicas become masters; who starts then has the
        time of those who run."""
        def off(seconds):
            there = self.lose_machine()
            for n in there:
                n.process.argv = preloaded(commands[n], self.library, CLOCK_SHIFT=seconds)
                n.start()
            self.redis.healthy()
            if there[0] not in self.redis.masters():
                self.redis.failover(there[0])
            node = self.one_of(self.nodes)
            node.kill()
            node.start()
        commands = {n: n.process.argv for n in self.redis.nodes}
        try:
            self.under_load(*[lambda by=by: off(by) for by in [TEN_YEARS, HOUR, -HOUR][:KILLS]])
        finally:
            for n, argv in commands.items():
                n.process.argv = argv
