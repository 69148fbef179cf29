"""start.py: what it starts answers, and ends with it, whichever way."""

import os
import signal
import subprocess
import sys
import unittest

from postgres import Postgres
from process import can_bind, eventually
from redis_cluster import RedisCluster
from resp import Redis

START = os.path.join(os.path.dirname(os.path.abspath(__file__)), "start.py")


class Starter(unittest.TestCase):
    def begin(self, *arguments):
        p = subprocess.Popen([sys.executable, START, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True)
        self.addCleanup(self.end, p)
        return p, p.stdout.readline().split()

    def end(self, p):
        p.kill()
        p.wait()
        p.stdin.close()
        p.stdout.close()

    def gone(self, addresses):
        """Nobody listens there any more."""
        for address in addresses.split(","):
            host, port = address.split(":")
            eventually(lambda: can_bind(host, int(port)), "%s is free" % address, 20)

    def test_input_closes(self):
        p, (addresses, url) = self.begin("redis", "postgres")
        self.assertEqual(len(addresses.split(",")), 9)
        self.assertTrue(url.startswith("postgresql://"))
        p.stdin.close()
        self.assertEqual(p.wait(30), 0)
        self.gone(addresses + ",127.0.0.1:" + url.split(":")[3].split("/")[0])

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            with self.subTest(number):
                p, (addresses,) = self.begin()
                host, port = addresses.split(",")[3].split(":")
                self.assertEqual(Redis(host, int(port)).call("ROLE")[0], b"slave")
                p.send_signal(number)
                p.wait(30)
                self.gone(addresses)

    def test_a_command(self):
        r = subprocess.run([sys.executable, START, "--set", "maxmemory=77mb", "--", "sh", "-c",
                            'echo "$MAGPIE_TEST_REDIS"; exit 7'], capture_output=True, text=True, timeout=60)
        self.assertEqual(r.returncode, 7)
        self.gone(r.stdout.strip())


class Members(unittest.TestCase):
    def test_what_tests_do_to_them(self):
        with RedisCluster(settings={"appendfsync": "everysec"}) as redis:
            first, second = redis.nodes[0], redis.nodes[1]
            self.assertEqual(redis.master_of(0), first)
            self.assertEqual(len(redis.replicas_of(first)), 2)
            self.assertEqual(len({n.host for n in [first] + redis.replicas_of(first)}), 3, "copies on three machines")
            self.assertEqual(len({m.host for m in redis.masters()}), 3)
            self.assertEqual(first.config("appendfsync"), "everysec")
            for n in range(10):
                first.call("SET", "{3560}%d" % n, n)
            seen = []
            redis.move_slot(0, second, lambda: seen.append(first.call("CLUSTER", "COUNTKEYSINSLOT", 0)))
            self.assertEqual(seen, [5])
            self.assertEqual(second.call("GET", "{3560}7"), b"7")
            replica = redis.replicas_of(second)[0]
            redis.failover(replica)
            self.assertEqual(redis.master_of(0), replica)
            replica.kill()
            eventually(lambda: redis.master_of(0) not in (replica, None), "another master", 20)
            self.assertEqual(redis.master_of(0).call("GET", "{3560}7"), b"7")
            replica.start()
            redis.healthy()
            self.assertEqual(replica.call("ROLE")[0], b"slave")

    def test_postgres(self):
        with Postgres() as pg:
            pg.query("create table t (n int)")
            pg.query("insert into t values (7)")
            pg.kill()
            with self.assertRaises(AssertionError):
                pg.query("select 1")
            pg.start()
            self.assertEqual(pg.query("select n from t"), "7")
