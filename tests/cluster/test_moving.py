"""magpied --export and --import of a cluster, by the program itself: a server alone moves into one and back."""

import os
import shutil
import subprocess
import threading

import export_file
import resp
from base import Test
from client import CONVERSATIONS, EDIT, RECALL, USER_MESSAGE
from postgres import Postgres
from redis_cluster import RedisCluster, everywhere, forget
from server import MAGPIED, PATIENCE, Server, merged
from test_console import Console
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

    def many(self, master, tag, *what):
        """Does it to 60,000 keys."""
        for at in range(0, 60000, 2000):
            master.call("EVAL", "for i = 1, 2000 do redis.call(ARGV[2], KEYS[1] .. i + ARGV[1], ARGV[3]) end", 1, tag,
                        at, *what)

    def test_among_many_others(self):
        """Keys that are somebody else's are passed over, however many: a look at all of them takes long."""
        for slot in (0, 6000, 16000):
            tag = next(b"{%d}other" % n for n in range(100000) if resp.slot("{%d}" % n) == slot)
            master = self.redis.master_of(slot)
            self.many(master, tag, "SET", "")
            self.addCleanup(self.many, master, tag, "UNLINK", tag)
        node = self.node().start()
        ada, bob = (self.user(n, server=node) for n in ("Ada", "Bob"))
        ada.tell(bob, "hello")
        node.stop()
        path = node.folder + "/export"
        status, said = run(node, "--export", path)
        self.assertEqual(status, 0, said)
        other = self.node()
        status, said = run(other, "--import", path)
        self.assertEqual(status, 0, said)
        self.assertEqual(run(other, "--export", path + ".2")[0], 0)
        first, second = ([r for r in export_file.records(p) if r[0] == "message"] for p in (path, path + ".2"))
        self.assertEqual(second, first)

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


class WithArchive(Moving):
    """Clusters that keep private messages in PostgreSQL too."""

    test_there_and_back = test_while_it_runs = test_masters_change = test_among_many_others = test_refusals = None
    HOT = 5
    SECRET = "1" * 64

    def setUp(self):
        super().setUp()
        self.pg = Postgres()
        self.addCleanup(self.pg.close)

    def node(self, **config):
        return super().node(listen={"console": "unix:console.sock"}, auth={"secret": self.SECRET},
                            limits={"inbox": 0},
                            cluster={"archive": {"url": self.pg.url, "hot": self.HOT, "hot_age": 1}}, **config)

    def kept(self, condition="true"):
        """Rows in PostgreSQL; 0 until the tables are made."""
        made = self.pg.query("select to_regclass('message')")
        return int(self.pg.query("select count(*) from message where " + condition)) if made else 0

    def hot(self, node):
        """Private messages in Redis: each hash has a head, too."""
        return sum(c.call("HLEN", key) - 1 for c, key in everywhere(node.redis, node.keys + "m{") if b"}:p" in key)

    def texts(self, reader, peer):
        return [m["content"] if not m.get("recalled") else None for m in whole_history(reader, peerId=peer.id)[0]]

    def test_into_one(self):
        """All of a server that was alone: what is old leaves Redis for the archive, and is read from there."""
        old = self.alone()
        old.config = {"auth": {"secret": self.SECRET}}
        old.start()
        ada, bob = (self.user(n, server=old) for n in ("Ada", "Bob"))
        for i in range(1, 61):
            ada.tell(bob, "private %d" % i)
        ada.request(EDIT, peerId=bob.id, seq=7, content="seven")
        ada.request(RECALL, peerId=bob.id, seq=8)
        before = self.texts(bob, ada)
        old.stop()
        path = old.folder + "/export"
        self.assertEqual(run(old, "--export", path)[0], 0)
        node = self.node()
        status, said = run(node, "--import", path)
        self.assertEqual(status, 0, said)
        node.start()
        self.eventually(lambda: self.kept() == 60, 60)
        self.eventually(lambda: self.hot(node) == self.HOT, 60)
        ada, bob = (self.again(c, server=node) for c in (ada, bob))
        self.assertEqual(self.texts(bob, ada), before)
        self.assertEqual(ada.tell(bob, "and on")["seq"], 61)
        self.eventually(lambda: self.kept() == 61, 60)
        node.stop()
        self.assertEqual(run(node, "--export", path + ".2")[0], 0)
        first, second = ([r for r in export_file.records(p) if r[0] == "message"] for p in (path, path + ".2"))
        self.assertEqual(second[:60], first)
        self.assertEqual(len(second), 61)

    def test_heads_are_refused(self):
        for server, sentence in ((self.alone(), "cluster.redis: only a node of a cluster has an archive whose"
                                                " conversations could go on"),
                                 (super().node(), "cluster.archive.url: there is no archive whose conversations could"
                                                  " go on")):
            self.assertEqual(run(server, "--import", "--heads"), (1, "magpied: %s\n" % sentence))
        node = self.node()
        self.pg.kill()
        self.assertEqual(run(node, "--import", "--heads"), (1, "magpied: cluster.archive.url: the archive does not"
                                                               " answer\n"))
        self.pg.start()
        self.assertEqual(run(node, "--import", "--heads"), (1, "magpied: cluster.archive.url: the archive has no"
                                                               " messages\n"))

    def test_an_end_while_it_connects(self):
        """The archive has three connections, and the first of them is enough to see that it is empty."""
        node = self.node()
        for _ in range(40):
            self.assertEqual(run(node, "--import", "--heads")[0], 1)

    def test_all_of_redis_is_lost(self):
        """And the archive is not: private conversations are read again, and go on above what was in them."""
        node = self.node()
        status, said = run(node, "--import", "--heads")
        self.assertEqual((status, said), (1, "magpied: cluster.archive.url: the archive has no messages\n"))
        node.start()
        people = [self.user(n, server=node) for n in ("Ada", "Bob", "Cid")]
        ada, bob, cid = people
        for i in range(1, 31):
            ada.tell(bob, "to Bob %d" % i)
            cid.tell(ada, "to Ada %d" % i)
        ada.tell(ada, "to myself")
        self.eventually(lambda: self.kept() == 61, 60)
        before = [self.texts(bob, ada), self.texts(ada, cid), self.texts(ada, ada)]
        status, said = run(node, "--import", "--heads")
        self.assertEqual(status, 1)
        self.assertIn("there is something under the prefix", said)
        node.stop()
        forget(node.redis, node.keys)
        status, said = run(node, "--import", "--heads")
        self.assertEqual((status, said), (0, "magpied: 3 private conversations go on above what the archive has\n"))
        node.start()
        console = Console(node)
        self.addCleanup(console.close)
        for c in people:  # who they were Redis alone knew
            console.ask("user add %s %s" % (c.id, c.name))
            c.token = console.json("user token %s" % c.id)["token"]
        ada, bob, cid = (self.again(c, server=node) for c in people)
        self.assertEqual([self.texts(bob, ada), self.texts(ada, cid), self.texts(ada, ada)], before)
        shown = ada.request(CONVERSATIONS)["conversations"]
        self.assertEqual(sorted(c["peerId"] for c in shown), sorted(c.id for c in people))
        self.assertEqual([c["unread"] for c in shown], [0, 0, 0])
        sent = bob.tell(ada, "on")
        self.assertGreater(sent["seq"], 1000)
        self.assertEqual(ada.push(USER_MESSAGE)["id"], sent["id"])
        self.assertEqual(self.texts(ada, bob), before[0] + ["on"])
        shown = ada.request(CONVERSATIONS)["conversations"]
        self.assertEqual([c["unread"] for c in shown if c["peerId"] == bob.id], [1])
        ada.request(EDIT, peerId=bob.id, seq=3, content="three")
        self.assertEqual(self.texts(bob, ada)[2], "three")
        self.eventually(lambda: self.kept() == 62, 60)
        ids = [int(m["id"]) for m in whole_history(ada, peerId=bob.id)[0]]
        self.assertEqual(ids, sorted(set(ids)))
