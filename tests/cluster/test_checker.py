"""The checker complains where something is wrong: whatever the server promises is left out in turn, and found missing;
and with the same schedules it finds nothing where nothing was left out, which `./dev soak nodes` alone tries: there
test_faults.py does the like."""

import collections
import os
import threading
import time
import types
import unittest

from checker import SETTLE, Checker
from person import Heard, Ledger
from preloads import preload, preloaded
from redis_cluster import RedisCluster
from server import MAGPIED
from test_faults import CONFIG, KILLS, SOME, Faults

SHORT = KILLS <= 2
FAULTY = os.path.join(os.path.dirname(MAGPIED), "tests", "magpied_faulty")


class Guilty(Faults):
    """`broken`: (what stands in the functions inside Redis, what stands there instead)."""

    abstract = True
    broken = ()
    how = {}  # the checker's options
    settle = 3  # seconds: who is guilty is not waited for

    def setUp(self):
        super().setUp()
        self.checker = Checker(self, self.nodes, settle=self.settle, **self.how)
        for master in self.redis.masters():
            self.load(master)

    def load(self, master):
        """Has Redis the functions as `broken` says; the nodes call them by the same names."""
        library = master.call("FUNCTION", "LIST", "LIBRARYNAME", "magpie_*", "WITHCODE")
        self.assertEqual(len(library), 1)
        code = library[0][library[0].index(b"library_code") + 1].decode()
        for old, new in self.broken:
            self.assertEqual(code.count(old), 1, old)
            code = code.replace(old, new)
        master.call("FUNCTION", "LOAD", "REPLACE", code)

    def run_with(self, *faults):
        self.checker.start()
        self.checker.wait(SOME)
        for fault in faults:
            fault()
            self.checker.wait(SOME)
        self.redis.healthy()
        self.checker.finish()

    def guilty(self, *words):
        """The checker complains, of this."""
        with self.assertRaises(AssertionError):
            self.checker.check()
        for w in words:
            self.assertTrue(any(w in c for c in self.checker.ledger.complaints), self.checker.ledger.complaints[:20])

    def taken_back(self, seconds=2):
        """A master goes on for a while without replicas, dies for good, and they go on without it."""
        # A replica that has copied its master has nothing on its disk until that is written anew.
        self.eventually(lambda: not any(int(n.info("persistence")["aof_rewrite_" + state]) for n in self.redis.nodes
                                        for state in ("in_progress", "scheduled")), 30)
        master = self.redis.master_of(0)
        replicas = self.redis.replicas_of(master)
        master.config("min-replicas-to-write", "0")
        for n in replicas:
            n.kill()
        time.sleep(seconds)
        master.kill()
        for n in replicas:
            n.start()
        self.redis.take_over(replicas[-1])
        master.start()
        self.redis.healthy()


class Nothing(Guilty):
    """Nothing is left out: the schedules of the others, and no complaint."""

    abstract = SHORT
    settle = SETTLE

    def test_a_master_is_taken_back(self):
        self.run_with(self.taken_back)
        self.checker.check()


class WithoutWait(Guilty):
    settings = dict(CONFIG, cluster={"copies": 1})

    def test_acknowledged_messages_are_lost(self):
        self.run_with(self.taken_back)
        self.guilty("was acknowledged as")


class WeakSync(Guilty):
    """The disk is busy, and a master that was killed is started again at once: it has not written what it has answered,
    and its replicas copy that. With `appendfsync always` (test_faults.py) it has."""

    how = {"rooms": 8, "private": 0.2, "shares": {"come_or_go": 0, "drop": 0, "roam": 0}}
    redis_settings = {"appendfsync": "everysec"}

    @classmethod
    def start_redis(cls):
        library = preload(cls, "slow_disk")
        redis = RedisCluster(settings=cls.redis_settings, start=False)
        cls.addClassCleanup(redis.close)
        for n in redis.nodes[:3]:  # the masters
            n.process.argv = preloaded(n.process.argv, library, SLOW_DISK_MS=1500)
        redis.start()
        return redis

    def kill(self):
        for master in self.redis.masters():
            if self.checker.ledger.complaints:
                break
            time.sleep(5)  # so that people and rooms are on its disk, and messages alone are not
            master.kill()
            master.start()
            self.redis.healthy()

    def test_acknowledged_messages_are_lost(self):
        self.run_with(self.kill)
        self.guilty("was acknowledged as")


class ReadsDoNotWait(Guilty):
    """Some do nothing but read the rooms in which others write: they are shown what a master alone has, and then that
    master is gone."""

    settings = dict(CONFIG, cluster={"patience": 2})
    binary = FAULTY
    environment = {"MAGPIE_FAULT": "reads"}
    how = {"people": 16, "readers": 6, "rooms": 9, "private": 0, "pause": 0.02}

    def take_back(self):
        self.taken_back(1.5)

    def test_what_was_shown_is_taken_back(self):
        self.run_with(self.take_back, self.take_back)
        self.guilty("showed")


class ReadsWait(ReadsDoNotWait):
    abstract = SHORT
    settle = SETTLE
    binary = MAGPIED
    test_what_was_shown_is_taken_back = None

    def test_nothing_is_taken_back(self):
        self.run_with(self.take_back, self.take_back)
        self.checker.check()


class HalvesAreCut(Guilty):
    """Nodes die while messages are stored and not yet in inboxes: one master hangs."""

    abstract = SHORT
    settle = SETTLE
    how = {"people": 10, "private": 0.9, "pause": 0.02}

    def cut(self):
        for _ in range(KILLS // 2):
            for master in self.redis.masters():
                master.stop()
                try:
                    time.sleep(0.7)
                    for n in self.nodes:
                        n.kill()
                finally:
                    master.cont()
                self.start(self.nodes)
                self.checker.wait(10)

    def test_with_intents(self):
        self.run_with(self.cut)
        self.checker.check()


class WithoutIntents(HalvesAreCut):
    settle = Guilty.settle
    broken = (("call('HSET', o, 'p' .. id", "local _ = (function() end)('HSET', o, 'p' .. id"),)
    test_with_intents = None

    def test_some_never_reach_the_inbox(self):
        self.run_with(self.cut)
        self.guilty("never was in its inbox")


class HalvesAreRepeated(Guilty):
    """No intent is ever settled: sweeps repeat the second halves for ever."""

    abstract = SHORT
    settle = SETTLE
    broken = (("redis.call('HDEL', keys[1], unpack(gone))", "0"),)

    def test_put_keeps_them_out(self):
        self.run_with(lambda: time.sleep(8))
        self.checker.check()


class PutIsIgnored(HalvesAreRepeated):
    settle = Guilty.settle
    broken = HalvesAreRepeated.broken + (("if k <= put then", "if k <= put and false then"),)
    test_put_keeps_them_out = None

    def test_they_come_into_the_inbox_again(self):
        self.run_with(lambda: time.sleep(8))
        self.guilty("is in the inbox again")


class NewsAreLost(Guilty):
    """Redis ends the links over which nodes hear of each other, again and again, and what is said then is not heard."""

    abstract = SHORT
    settle = SETTLE
    def lose(self):
        for _ in range(20):
            for master in self.redis.masters():
                master.call("CLIENT", "KILL", "TYPE", "pubsub")
            time.sleep(0.1)

    def test_what_was_missed_is_read(self):
        self.run_with(self.lose)
        self.checker.check()


class WithoutRepair(NewsAreLost):
    settle = Guilty.settle
    binary = FAULTY
    environment = {"MAGPIE_FAULT": "repair"}
    test_what_was_missed_is_read = None

    def test_pushes_have_gaps(self):
        self.run_with(self.lose)
        self.guilty("is pushed next after")


class Measures(unittest.TestCase):
    """What it measures, without any server: people are what they would say of themselves."""

    def setUp(self):
        self.checker = Checker.__new__(Checker)
        self.checker.settle = 0.3
        self.checker.ledger, self.checker.slowest, self.checker.began = Ledger(), 0, time.time()
        self.person = types.SimpleNamespace(id="ada", node=types.SimpleNamespace(label="1"), trouble=None,
                                            heard={"room": Heard(2)}, heard_of=lambda c: c == "room", old=[])
        self.person.owed_ends = lambda: list(self.person.old)
        self.checker.people = [self.person]
        self.saw(3)

    def saw(self, seq, **more):
        self.checker.ledger.saw("room", dict({"id": str(seq), "sender": {"id": "bob"}, "content": "m%d" % seq,
                                              "createdAt": int(time.time() * 1000), "seq": seq}, **more), "a page")

    def complaints(self):
        return self.checker.ledger.complaints

    def test_who_hears_too_late(self):
        self.checker.healed()
        self.assertEqual(len(self.complaints()), 1)
        self.assertIn("ada on node 1 has heard room to 2 of 3", self.complaints()[0])
        self.assertGreaterEqual(self.checker.slowest, 0.3)

    def test_who_hears_in_time(self):
        """What is said later is not asked for."""
        def hear():
            time.sleep(0.1)
            self.person.heard["room"].add(3)
            self.saw(4)
        thread = threading.Thread(target=hear)
        thread.start()
        self.checker.healed()
        thread.join()
        self.assertEqual(self.complaints(), [])
        self.assertGreaterEqual(self.checker.slowest, 0.1)

    def test_a_connection_that_stays(self):
        self.person.heard["room"].add(3)
        self.person.old = [("connection", 1, "2")]
        self.checker.healed()
        self.assertEqual(len(self.complaints()), 1)
        self.assertIn("its connection to node 2 is open", self.complaints()[0])

    def test_a_time_that_changes(self):
        self.saw(3, createdAt=1)
        self.assertEqual(len(self.complaints()), 1)

    def test_a_time_that_is_wrong(self):
        now, wrong = int(time.time() * 1000), int((time.time() - 3600) * 1000)
        self.checker.ledger.told = collections.defaultdict(list)
        self.checker.check_history("room", [(1, "1", "bob", "a", now), (2, "2", "bob", "b", wrong)])
        self.assertEqual(len(self.complaints()), 1)
        self.assertIn("room 2: was created", self.complaints()[0])
