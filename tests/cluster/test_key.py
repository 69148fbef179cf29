"""The key of resume tokens of a cluster: drawn once and kept in Redis, or given in the config, the same everywhere."""

import os
import subprocess

from base import Test
from client import Client
from console import Console
from redis_cluster import RedisCluster
from server import MAGPIED, PATIENCE, Server

ONE, OTHER = "0123456789abcdef-one", "0123456789abcdef-other"


class Key(Test):
    @classmethod
    def setUpClass(cls):
        cls.server = None
        cls.redis = RedisCluster()

    @classmethod
    def tearDownClass(cls):
        cls.redis.close()

    def node(self, keys, secret=None, start=True):
        config = {"auth": {"secret": secret}} if secret else {}
        s = Server(config, redis=self.redis.addresses, keys=keys, start=start)
        self.addCleanup(s.discard)
        return s

    def opens(self, s, token):
        with Client(s) as c:
            return "error" not in c.ask(1, token=token)

    def token(self, s):
        with Client(s) as c:
            c.login("Ada")
            return c.token

    def test_drawn_once(self):
        """A node elsewhere, with another data directory, has the same; it is in no file."""
        first = self.node("once:")
        token = self.token(first)
        self.assertFalse(os.path.exists(first.folder + "/data/secret"))
        self.assertEqual(first.stop(), 0)
        second = self.node("once:")
        self.assertTrue(self.opens(second, token))
        self.assertNotIn("auth.key_changed", second.log())
        second.reload()
        self.assertTrue(self.opens(second, token))
        self.assertEqual(second.stop(), 0)

    def test_another_one_alone(self):
        """Nobody else lives: the key is changed, and the log says so."""
        first = self.node("alone:", ONE)
        token = self.token(first)
        self.assertEqual(first.stop(), 0)
        second = self.node("alone:", OTHER)
        self.eventually(lambda: "auth.key_changed" in second.log())
        self.assertFalse(self.opens(second, token))
        second.rewrite({"auth": {"secret": ONE}})
        second.reload()
        self.assertTrue(self.opens(second, token))
        self.assertEqual(second.stop(), 0)

    def test_another_one_beside(self):
        first = self.node("beside:", ONE)
        token = self.token(first)
        second = self.node("beside:", OTHER, start=False)
        second.write_config()
        r = subprocess.run([MAGPIED, "-c", second.config_path], stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, cwd=second.folder, timeout=60 * PATIENCE)
        self.assertEqual(r.returncode, 1)
        self.assertIn("another key of tokens is in use there: give this node that of the others", r.stderr)
        self.assertNotIn("0123456789", r.stderr)
        self.assertTrue(self.opens(first, token))
        self.assertEqual(first.stop(), 0)

    def test_told_to_end_while_it_waits(self):
        """Who has another key waits whether the others are gone, and not when it is to end."""
        first = self.node("ends:", ONE, start=False)
        first.config["listen"] = {"console": "unix:console.sock"}
        first.start()
        second = self.node("ends:", OTHER, start=False)
        second.write_config()
        second.run()
        console = Console(first)
        self.addCleanup(console.close)
        self.eventually(lambda: len(console.json("cluster status --here")["nodes"]) == 2, 30)
        second.process.terminate()
        self.assertEqual(second.process.wait(60 * PATIENCE), 1)
        self.assertIn("told to end while it waited", second.own_log())
        self.assertEqual(first.stop(), 0)

    def test_redis_is_away_at_a_reload(self):
        """What is in force stays so: it is not asked for again."""
        s = self.node("away:")
        token = self.token(s)
        for n in self.redis.nodes:
            n.stop()
        try:
            s.reload()
            self.assertIn("config.reloaded", s.log())
        finally:
            for n in self.redis.nodes:
                n.cont()
        self.redis.healthy()
        self.eventually(lambda: self.opens(s, token), 30)
        self.assertEqual(s.stop(), 0)
