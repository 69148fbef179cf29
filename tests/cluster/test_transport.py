"""Faults under load: what the Redis engine was told as stored is there, once, in order, under its number. build/tests/
drive writes, reads and judges; here the cluster is broken meanwhile. And what Redis's WAIT promises, on which all that
stands.

    python3 tests/integration/run.py …  with MAGPIE_TEST_FOLDER=tests/cluster, or this file alone"""

import os
import random
import re
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from process import eventually  # noqa: E402
from redis_cluster import RedisCluster  # noqa: E402
from resp import Redis, RedisError  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DRIVE = os.path.join(os.path.dirname(os.environ.get("MAGPIED") or os.path.join(ROOT, "build", "magpied")), "tests",
                     "drive")
PATIENCE = 90


class Drive:
    """The program, whose lines are read as they come."""

    def __init__(self, redis, copies=2):
        prefix = "t%08x:" % random.getrandbits(32)
        self.stored, self.last = 0, ""
        self.grown = threading.Condition()
        self.process = subprocess.Popen([DRIVE, prefix, redis.addresses, str(copies)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.grown:
                self.last = line.strip()
                if line.startswith("stored "):
                    self.stored = int(line.split()[1])
                self.grown.notify_all()
        with self.grown:
            self.grown.notify_all()

    def more(self, n=200):
        """Waits until so many more messages are stored."""
        with self.grown:
            goal = self.stored + n
            if not self.grown.wait_for(lambda: self.stored >= goal or self.process.poll() is not None, PATIENCE):
                raise AssertionError("%d messages were stored, and then no more" % self.stored)
        if self.process.poll() is not None:
            raise AssertionError("drive ended: " + self.last)

    def end(self):
        """Its figures; raises what it has found wrong."""
        self.process.stdin.close()
        self.reader.join(PATIENCE + 60)
        status = self.process.wait(PATIENCE + 60)
        self.process.stdout.close()
        if status != 0:
            raise AssertionError(self.last or "drive ended with %d" % status)
        return {k.strip(): int(v) for k, v in re.findall(r"(\w+) (\d+)", self.last)}

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()


class Transport(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.redis = RedisCluster()

    @classmethod
    def tearDownClass(cls):
        cls.redis.close()

    def setUp(self):
        self.redis.healthy()
        self.begin(2)

    def begin(self, copies):
        self.drive = Drive(self.redis, copies)
        self.addCleanup(self.drive.kill)
        self.drive.more()

    def test_nothing_happens(self):
        figures = self.drive.end()
        self.assertEqual((figures["retries"], figures["unknown"]), (0, 0))

    def test_master_killed(self):
        master = self.redis.master_of(0)
        master.kill()
        eventually(lambda: self.redis.master_of(0) is not master, "an election", PATIENCE)
        self.drive.more(1000)
        master.start()
        self.redis.healthy()
        self.drive.more()
        self.drive.end()

    def test_master_hangs(self):
        master = self.redis.master_of(0)
        master.stop()
        time.sleep(5)  # that long it hangs: a replica has taken over, and it does not know
        master.cont()
        self.redis.healthy()
        self.drive.more()
        self.drive.end()

    def lose(self):
        """A master takes changes that no replica gets, dies, and a replica takes over."""
        master = self.redis.master_of(0)
        replicas = self.redis.replicas_of(master)
        least = master.config("min-replicas-to-write")
        master.config("min-replicas-to-write", 0)
        for r in replicas:
            r.stop()
        master.call("CLIENT", "KILL", "TYPE", "replica")
        time.sleep(1)
        master.kill()
        for r in replicas:
            r.cont()
        eventually(lambda: self.redis.master_of(0) is not master, "an election", PATIENCE)
        self.drive.more(500)
        master.start()
        master.config("min-replicas-to-write", least)
        self.redis.healthy()

    def test_what_no_copy_has_is_not_acknowledged(self):
        self.lose()
        self.drive.end()

    def test_the_judge_finds_what_is_lost(self):
        self.drive.end()
        self.begin(1)  # the master's word alone
        with self.assertRaisesRegex(AssertionError, "wrong: "):
            self.lose()
            self.drive.end()
        for n in self.redis.nodes:  # what was left undone
            n.cont()
            if not n.process.running():
                n.start()
            n.config("min-replicas-to-write", 1)

    def test_replica_killed(self):
        replica = self.redis.replicas_of(self.redis.master_of(0))[0]
        replica.kill()
        self.drive.more(1000)
        replica.start()
        self.redis.healthy()
        figures = self.drive.end()
        self.assertEqual((figures["retries"], figures["unknown"]), (0, 0))  # nobody has noticed

    def test_replica_lags(self):
        replica = self.redis.replicas_of(self.redis.master_of(0))[0]
        for _ in range(3):
            replica.stop()
            self.drive.more(300)
            replica.cont()
            self.drive.more(100)
        figures = self.drive.end()
        self.assertEqual(figures["unknown"], 0)

    def test_both_replicas_lag(self):
        replicas = self.redis.replicas_of(self.redis.master_of(0))
        for r in replicas:
            r.stop()
        time.sleep(2)  # that long nothing of this master may be acknowledged
        for r in replicas:
            r.cont()
        self.redis.healthy()
        self.drive.more(1000)
        self.assertGreater(self.drive.end()["slowest"], 1000)

    def test_master_moved(self):
        for _ in range(2):
            self.redis.failover(self.redis.replicas_of(self.redis.master_of(0))[0])
            self.drive.more()
        self.drive.end()

    def test_slots_move(self):
        source = self.redis.master_of(0)
        target = next(m for m in self.redis.masters() if m is not source)
        used = [s for s in range(0, 16384, 16)
                if self.redis.master_of(s) is source and source.call("CLUSTER", "COUNTKEYSINSLOT", s) > 4]
        self.assertTrue(used)
        for s in used[:3]:
            self.redis.move_slot(s, target, between=self.drive.more)
            self.drive.more(100)
        self.drive.end()
        for s in used[:3]:
            self.redis.move_slot(s, source)

    def test_links_cut(self):
        for _ in range(40):
            for m in self.redis.masters():
                m.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            time.sleep(random.random() * 0.05)  # anywhere in a group
        self.drive.more()
        figures = self.drive.end()
        self.assertEqual(figures["unknown"], 0)  # all was repeated in time

    def test_functions_flushed(self):
        for m in self.redis.masters():
            m.call("FUNCTION", "FLUSH")
        self.drive.more()
        self.assertEqual(self.drive.end()["retries"], 0)


class Wait(unittest.TestCase):
    """What Redis does that its manual does not promise."""

    @classmethod
    def setUpClass(cls):
        cls.redis = RedisCluster()
        cls.master = cls.redis.master_of(0)
        cls.replicas = cls.redis.replicas_of(cls.master)

    @classmethod
    def tearDownClass(cls):
        cls.redis.close()

    def tearDown(self):
        for r in self.replicas:
            r.cont()
        self.redis.healthy()

    def connect(self):
        c = Redis(self.master.host, self.master.port)
        self.addCleanup(c.close)
        return c

    def test_wait_after_a_read_covers_what_others_have_written(self):
        writer, reader, new = self.connect(), self.connect(), self.connect()
        writer.call("SET", "{3560}", "1")
        self.assertEqual(writer.call("WAIT", 2, 5000), 2)
        reader.call("GET", "{3560}")
        self.assertEqual(reader.call("WAIT", 2, 5000), 2)
        for r in self.replicas:
            r.stop()
        writer.call("SET", "{3560}", "2")
        self.assertEqual(writer.call("WAIT", 1, 100), 0)
        # On a connection that has called nothing it promises nothing: that is why it never goes first.
        self.assertEqual(new.call("WAIT", 2, 100), 2)
        self.assertEqual(reader.call("WAIT", 2, 100), 2)  # of its last call, which was before
        for call in (("GET", "{3560}"), ("TIME",), ("EXISTS", "{3560}")):
            reader.call(*call)
            self.assertEqual(reader.call("WAIT", 1, 100), 0, call)
        for r in self.replicas:
            r.cont()
        self.assertEqual(reader.call("WAIT", 2, 5000), 2)

    def test_a_refused_call_hides_nothing(self):
        """A group may end with calls that were refused: the WAIT behind them is for those before."""
        writer = self.connect()
        writer.call("SET", "{3560}", "1")
        self.assertEqual(writer.call("WAIT", 2, 5000), 2)
        for r in self.replicas:
            r.stop()
        writer.call("SET", "{3560}", "2")
        with self.assertRaises(RedisError):
            writer.call("SET", "{1}", "a slot of another master")
        self.assertEqual(writer.call("WAIT", 1, 100), 0)

    def test_a_replica_does_not_wait(self):
        c = Redis(self.replicas[0].host, self.replicas[0].port)
        self.addCleanup(c.close)
        c.call("TIME")
        with self.assertRaises(RedisError):
            c.call("WAIT", 1, 100)


if __name__ == "__main__":
    unittest.main(verbosity=2)
