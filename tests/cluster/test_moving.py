"""magpied --export and --import of a cluster, by the program itself: a server alone moves into one and back."""

import os
import shutil
import subprocess
import threading

import export_file
from base import Test
from client import CONVERSATIONS
from redis_cluster import RedisCluster
from server import MAGPIED, PATIENCE, Server, merged
from test_durability import whole_history, whole_inbox


def run(server, *arguments):
    """magpied with a server's config, by itself: its exit status, and what it said but for the log."""
    p = subprocess.run([MAGPIED, *arguments, "-c", server.config_path], capture_output=True, timeout=120 * PATIENCE,
                       cwd=server.folder)
    return p.returncode, "".join(line + "\n" for line in p.stderr.decode().splitlines() if line.startswith("magpied: "))


class Moving(Test):
    @classmethod
    def setUpClass(cls):
        cls.server = None
        cls.redis = RedisCluster().__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.redis.__exit__(None, None, None)

    def alone(self):
        s = Server({}, start=False, redis="")
        self.addCleanup(s.discard)
        s.write_config()
        return s

    def node(self, **config):
        # Exports are repeated while masters move, but not for ever: nobody moves them but the test.
        s = Server(merged({"cluster": {"balance": False}}, config), start=False, redis=self.redis.addresses)
        self.addCleanup(s.discard)
        s.write_config()
        return s

    def seen(self, *clients):
        return [(whole_history(c, channel="room"), whole_inbox(c), c.request(CONVERSATIONS)) for c in clients]

    def test_there_and_back(self):
        old = self.alone().start()
        ada, bob = (self.user(n, server=old) for n in ("Ada", "Bob"))
        for c in (ada, bob):
            c.subscribe("room")
        for i in range(40):
            ada.say("room", "message %d" % i, clientId="c%d" % i)
            ada.tell(bob.id, "private %d" % i)
        bob.request(8, upTo=whole_inbox(bob)[3]["id"])
        before = self.seen(ada, bob)
        old.stop()
        path = old.folder + "/export"
        self.assertEqual(run(old, "--export", path)[0], 0)
        with open(old.folder + "/data/secret") as f:
            secret = f.read().strip()
        node = self.node(auth={"secret": secret})
        status, said = run(node, "--import", path)
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"^magpied: 2 users, 2 conversations, 80 messages, .* imported from /")
        self.assertEqual(run(node, "--import", path)[0], 1)
        node.start()
        again = [self.again(c, server=node) for c in (ada, bob)]
        self.assertEqual(self.seen(*again), before)
        self.assertEqual(again[0].say("room", "message 39", clientId="c39")["seq"], 40)
        self.assertEqual(again[0].say("room", "and on")["seq"], 41)
        before = self.seen(*again)
        for c in again:
            c.close()
        node.stop()
        self.assertEqual(run(node, "--export", path + ".2")[0], 0)
        self.assertEqual(len([r for r in export_file.records(path + ".2") if r[0] == "message"]), 81)
        new = self.alone()
        self.assertEqual(run(new, "--import", path + ".2")[0], 0)
        shutil.copy(old.folder + "/data/secret", new.folder + "/data/secret")
        new.start()
        self.assertEqual(self.seen(*(self.again(c, server=new) for c in (ada, bob))), before)
        new.close()

    def test_while_it_runs(self):
        """Exports of a cluster that is at work: each is whole, and what it has of a conversation has no gap."""
        node = self.node().start()
        ada, bob = (self.user(n, server=node) for n in ("Ada", "Bob"))
        for c in (ada, bob):
            c.subscribe("room")
        path, stop, sent = node.folder + "/export", threading.Event(), []

        def talk():
            while not stop.is_set():
                sent.append(ada.say("room", "message %d" % len(sent))["seq"])
                ada.tell(bob.id, "private %d" % len(sent))
                if len(sent) % 10 == 0:
                    bob.subscribe("another %d" % len(sent))

        talker = threading.Thread(target=talk)
        talker.start()
        try:
            for i in range(5):
                begun = len(sent)
                status, said = run(node, "--export", path)
                self.assertEqual(status, 0, said)
                records = export_file.records(path)
                for conv in {r[1] for r in records if r[0] == "message"}:
                    seqs = [r[2] for r in records if r[0] == "message" and r[1] == conv]
                    self.assertEqual(seqs, list(range(1, len(seqs) + 1)))
                    self.assertGreaterEqual(len(seqs), begun if conv == b"croom" else begun - 1)
                new = self.alone()
                status, said = run(new, "--import", path)
                self.assertEqual(status, 0, said)
        finally:
            stop.set()
            talker.join()
        self.assertGreater(len(sent), 10)
        new.start()
        new.close()
        node.close()

    def test_masters_change(self):
        """All keys are found, though a cursor of one process means nothing to the next."""
        node = self.node().start()
        ada = self.user("Ada", server=node)
        for i in range(950):
            ada.subscribe("channel %d" % i)
        node.stop()
        path = node.folder + "/export"
        for slot in (0, 6000, 16000):
            master = self.redis.master_of(slot)
            with subprocess.Popen([MAGPIED, "--export", path, "-c", node.config_path], stderr=subprocess.PIPE,
                                  cwd=node.folder, text=True) as p:
                self.redis.failover(self.redis.replicas_of(master)[0])
                said = p.stderr.read()
            self.assertEqual(p.returncode, 0, said)
            records = export_file.records(path)
            self.assertEqual(len([r for r in records if r[0] == "conv"]), 950)
            self.assertEqual(len([r for r in records if r[0] == "member"]), 950)

    def test_refusals(self):
        node = self.node()
        path = os.path.join(node.folder, "export")
        status, said = run(node, "--export", path)
        self.assertEqual(status, 1)
        self.assertRegex(said, r"^magpied: there is nothing under the prefix \S+ of the cluster\n$")
        self.assertFalse(os.path.exists(path) or os.path.exists(path + ".tmp"))
        node.start()
        node.stop()  # what a node has begun is something
        status, said = run(node, "--export", path)
        self.assertEqual(status, 0, said)
        status, said = run(node, "--import", path)
        self.assertEqual(status, 1)
        self.assertRegex(said, r"^magpied: there is something under the prefix \S+ of the cluster: an import needs one")
