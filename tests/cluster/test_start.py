"""What a node says of a Redis Cluster that is not there, is none, or would lose what it is given: one sentence at the
start, or a warning."""

import os
import re
import socket
import subprocess
import threading
import time
import unittest

from base import Test
from redis_cluster import SLOTS, RedisCluster
from resp import slot
from server import MAGPIED, PATIENCE, ROOT, Server

ZERO = "3560"  # the tag of partition 0, whose slot is 0


class Fake(threading.Thread):
    """Answers each command as a Redis would that is too old, or no cluster's."""

    def __init__(self, info):
        super().__init__(daemon=True)
        self.info = info.encode()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with s, s.makefile("rb") as f:
                while f.readline():
                    f.readline()
                    word = f.readline().strip().upper()
                    s.sendall(b"+PONG\r\n" if word == b"PING" else b"$%d\r\n%s\r\n" % (len(self.info), self.info))

    def close(self):
        self.listener.close()


class Start(Test):
    @classmethod
    def setUpClass(cls):
        cls.server = None

    @classmethod
    def tearDownClass(cls):
        pass

    def sentence(self, redis, cluster=None, **config):
        """What a server says that does not start."""
        s = Server(dict({"cluster": cluster or {}, "log": {"level": "info"}}, **config), start=False, redis=redis)
        try:
            s.write_config()
            r = subprocess.run([MAGPIED, "-c", s.config_path], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                               cwd=s.folder, timeout=60 * PATIENCE)
            self.assertEqual(r.returncode, 1, r.stderr)
            said = [line for line in r.stderr.splitlines() if line.startswith("magpied: ")]
            self.assertEqual(len(said), 1, r.stderr)
            return said[0]
        finally:
            s.discard()

    def warned(self, redis, cluster=None):
        """{event: line} of the warnings about the cluster of one that starts."""
        with Server({"cluster": cluster or {}}, redis=redis) as s:
            lines = [line for line in s.log().splitlines() if " warn cluster." in line]
            return {line.split(" warn ")[1].split()[0]: line for line in lines}


class Away(Start):
    def test_none_answers(self):
        with socket.create_server(("127.0.0.1", 0)) as s:
            closed = "127.0.0.1:%d" % s.getsockname()[1]
        self.assertIn("cluster.redis: none of %s answers (%s: Connection refused)" % (closed, closed),
                      self.sentence(closed))
        self.assertIn("answers (", self.sentence("no-such-host.invalid:7000"))

    def test_one_hangs(self):
        """It takes connections and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.assertIn("answers (", self.sentence("127.0.0.1:%d" % s.getsockname()[1]))

    def test_told_to_end_while_all_hang(self):
        """Each of ten is waited for; but not once there is a signal."""
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(10)]
        for s in sockets:
            self.addCleanup(s.close)
        s = Server({"log": {"level": "info"}}, start=False,
                   redis=",".join("127.0.0.1:%d" % x.getsockname()[1] for x in sockets))
        self.addCleanup(s.discard)
        s.write_config()
        s.launch(wait=False)
        sockets[1].accept()  # the first has been waited for
        s.process.terminate()
        self.assertEqual(s.process.wait(10 * PATIENCE), 1)
        self.assertIn("told to end while it waited", s.whole_log())

    def test_too_old(self):
        fake = Fake("redis_version:6.2.14\r\ncluster_enabled:1\r\n")
        self.assertIn("%s is Redis 6.2.14; 7.0 is needed" % fake.address, self.sentence(fake.address))
        fake.close()

    def test_not_in_cluster_mode(self):
        c = RedisCluster(masters=1, replicas=0, start=False, settings={"cluster-enabled": "no"})
        try:
            c.write_config(c.nodes[0])
            c.nodes[0].start()
            self.assertIn("%s is not in cluster mode (cluster-enabled)" % c.addresses, self.sentence(c.addresses))
        finally:
            c.close()

    def test_in_no_cluster(self):
        """Cluster mode, and nobody has said which slots it serves."""
        c = RedisCluster(masters=1, replicas=0, start=False)
        try:
            c.write_config(c.nodes[0])
            c.nodes[0].start()
            self.assertIn("does not serve all slots: 0 of 16384", self.sentence(c.addresses))
        finally:
            c.close()


class Wrong(Start):
    """One cluster whose settings are changed and put back."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.redis = RedisCluster()

    @classmethod
    def tearDownClass(cls):
        cls.redis.close()

    def set(self, node, name, value):
        before = node.config(name)
        node.config(name, value)
        self.addCleanup(node.config, name, before)

    def test_good(self):
        self.assertEqual(self.warned(self.redis.addresses), {})

    def test_one_address_is_enough(self):
        self.assertEqual(self.warned(self.redis.nodes[4].address), {})

    def test_one_address_of_two_is_away(self):
        self.assertEqual(self.warned("127.0.0.1:1," + self.redis.nodes[5].address), {})

    def test_no_append_only_file(self):
        self.set(self.redis.nodes[5], "appendonly", "no")
        self.assertIn("appendonly is off on %s: a restart there would lose everything" % self.redis.nodes[5].address,
                      self.sentence(self.redis.addresses))

    def test_evicts(self):
        self.set(self.redis.nodes[1], "maxmemory-policy", "allkeys-lru")
        self.assertIn("maxmemory-policy on %s may evict (allkeys-lru)" % self.redis.nodes[1].address,
                      self.sentence(self.redis.addresses))

    def test_weak_sync(self):
        self.set(self.redis.nodes[2], "appendfsync", "everysec")
        line = self.warned(self.redis.addresses)["cluster.weak_sync"]
        self.assertIn('members=%s ' % self.redis.nodes[2].address, line)

    def test_no_maxmemory(self):
        self.set(self.redis.nodes[0], "maxmemory", "0")
        self.set(self.redis.nodes[3], "maxmemory", "0")
        line = self.warned(self.redis.addresses)["cluster.no_maxmemory"]
        self.assertIn(self.redis.nodes[0].address, line)
        self.assertIn(self.redis.nodes[3].address, line)
        self.assertNotIn(self.redis.nodes[1].address, line)

    def test_small_backlog(self):
        self.set(self.redis.nodes[0], "repl-backlog-size", "1mb")
        self.assertIn(self.redis.nodes[0].address, self.warned(self.redis.addresses)["cluster.small_backlog"])

    def test_slow_failover(self):
        """What a node takes for granted of a master that is cut off, and of the others meanwhile."""
        for number, name, value in ((1, "cluster-node-timeout", "15000"), (2, "cluster-require-full-coverage", "yes"),
                                    (3, "cluster-allow-reads-when-down", "yes")):
            self.set(self.redis.nodes[number], name, value)
        found = self.warned(self.redis.addresses)
        self.assertEqual(set(found), {"cluster.slow_failover"})
        for number, node in enumerate(self.redis.nodes):
            self.assertEqual(node.address in found["cluster.slow_failover"], number in (1, 2, 3))

    def test_few_copies(self):
        """As many copies as there are: the loss of one refuses all."""
        found = self.warned(self.redis.addresses, {"copies": 3})
        self.assertEqual(set(found), {"cluster.few_copies"})
        found = self.warned(self.redis.addresses, {"copies": 1})
        self.assertIn("copies is 1", found["cluster.few_copies"])

    def test_another_format(self):
        s = Server(start=False, redis=self.redis.addresses)
        key = "%sC{%s}" % (s.keys, ZERO)
        s.discard()
        self.assertEqual(slot(key), 0)
        self.redis.master_of(0).call("HSET", key, "format", 2)
        self.assertIn("the data has format 2; this server knows 1: start the version of Magpie",
                      self.sentence(self.redis.addresses, {"prefix": s.keys}))

    def test_something_else_under_the_prefix(self):
        for kind in "CN":
            s = Server(start=False, redis=self.redis.addresses)
            s.discard()
            self.redis.master_of(0).call("SET", "%s%s{%s}" % (s.keys, kind, ZERO), "a text")
            said = self.sentence(self.redis.addresses, {"prefix": s.keys})
            self.assertIn('Redis refuses what a node needs under cluster.prefix ("%s"): WRONGTYPE' % s.keys, said)

    def test_an_unreadable_table(self):
        s = Server(redis=self.redis.addresses)
        s.close()
        self.redis.master_of(0).call("HSET", "%sN{%s}" % (s.keys, ZERO), "time", "rubbish")
        self.assertIn("the table of nodes under cluster.prefix cannot be read",
                      self.sentence(self.redis.addresses, {"prefix": s.keys}))

    def test_another_archive(self):
        """A warning: the same database may have several names."""
        def config(name):
            return {"log": {"level": "info"},
                    "cluster": {"archive": {"url": "postgresql://ann:sesame@127.0.0.1:1/%s" % name}}}
        event = "cluster.other_archive"
        with Server(config("one"), redis=self.redis.addresses) as first:
            with Server(config("one"), redis=self.redis.addresses, keys=first.keys) as same:
                with Server(config("two"), redis=self.redis.addresses, keys=first.keys) as other:
                    other.wait_log(event, 20)
                self.assertNotIn(event, same.log())
            with Server(redis=self.redis.addresses, keys=first.keys) as none:
                none.wait_log(event, 20)
            self.assertNotIn(event, first.log())
            keys, before = first.keys, self.archive_of(first.keys)
        with Server(config("two"), redis=self.redis.addresses, keys=keys) as moved:  # it is alone, and says which it is
            self.eventually(lambda: self.archive_of(keys) != before, 20)
            self.assertNotIn(event, moved.log())

    def archive_of(self, keys):
        return self.redis.master_of(0).call("HGET", "%sC{%s}" % (keys, ZERO), "archive")

    def test_more_copies_than_there_are(self):
        """It waits, for copies may come; and ends when it is told to."""
        s = Server({"cluster": {"copies": 4}, "log": {"level": "info"}}, start=False, redis=self.redis.addresses)
        self.addCleanup(s.discard)
        s.write_config()
        s.launch(wait=False)
        self.eventually(lambda: s.log().count("cluster.short_of_copies") == 3, 20)
        time.sleep(1)  # what stands before its sentence is written by then
        s.process.terminate()
        self.assertEqual(s.process.wait(20 * PATIENCE), 1)
        self.assertIn("told to end while it waited: cluster.redis: the table of nodes cannot be written: what %s has is"
                      " in fewer processes than cluster.copies (4) says" % self.redis.master_of(0).address, s.log())

    def test_no_password_is_wanted(self):
        self.assertIn("cluster.password: Redis on %s refuses it" % self.redis.nodes[0].address,
                      self.sentence(self.redis.addresses, {"password": "sesame"}))

    def test_slots_missing_for_a_moment(self):
        """As while a master changes."""
        master = self.redis.master_of(SLOTS - 1)
        master.call("CLUSTER", "DELSLOTS", SLOTS - 1)
        back = threading.Timer(1, lambda: master.call("CLUSTER", "ADDSLOTS", SLOTS - 1))
        back.start()
        try:
            with Server({}, redis=master.address):
                pass
        finally:
            back.join()
            self.redis.healthy()

    def test_slots_missing(self):
        master = self.redis.master_of(SLOTS - 1)
        master.call("CLUSTER", "DELSLOTS", SLOTS - 1)
        try:
            self.assertIn("does not serve all slots: 16383 of 16384", self.sentence(master.address))
        finally:
            master.call("CLUSTER", "ADDSLOTS", SLOTS - 1)
            self.redis.healthy()


class Password(Start):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.redis = RedisCluster(password="planted-for-redis", hosts=1)
        for n in cls.redis.nodes:
            n.call("ACL", "SETUSER", "magpie", "on", ">planted-for-magpie", "~*", "&*", "+@all", "-@dangerous",
                   "+cluster", "+info", "+time", "+config|get", "+function")
            n.call("ACL", "SETUSER", "shy", "on", ">planted-for-magpie", "~*", "&*", "+@all", "-@dangerous", "+cluster",
                   "+info", "+time", "+function")

    @classmethod
    def tearDownClass(cls):
        cls.redis.close()

    def test_missing(self):
        self.assertIn("cluster.password: Redis on %s asks for one" % self.redis.nodes[0].address,
                      self.sentence(self.redis.addresses))

    def test_wrong(self):
        said = self.sentence(self.redis.addresses, {"password": "planted-wrong"})
        self.assertIn("cluster.password: Redis on %s refuses it: WRONGPASS" % self.redis.nodes[0].address, said)
        self.assertNotIn("planted", said)

    def test_right(self):
        with Server({"cluster": {"password": "planted-for-redis"}}, redis=self.redis.addresses) as s:
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            a.tell(b, "hello")
            self.assertNotIn("planted", s.whole_log())

    def test_of_an_acl(self):
        """The rights that docs/cluster.md gives are enough."""
        access = {"username": "magpie", "password": "planted-for-magpie"}
        with Server({"cluster": access}, redis=self.redis.addresses) as s:
            self.assertIn("cluster.same_host", s.log())
            self.assertNotIn("cluster.unchecked", s.log())
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            room = self.channel(a, b)
            a.say(room, "hello")
            self.assertEqual(b.push(102)["content"], "hello")
            a.tell(b, "hello")
            self.assertEqual(b.push(101)["content"], "hello")
            self.assertNotIn("planted", s.whole_log())

    def test_rights_are_missing(self):
        """Refused at the start, with the line that gives them: keys, channels, commands."""
        for name, what, rights in (("keyless", "FCALL", ("~other*", "&*", "+@all")),
                                   ("deaf", "SPUBLISH", ("~*", "resetchannels", "+@all")),
                                   ("elsewhere", "SPUBLISH", ("~*", "resetchannels", "&other*", "+@all")),
                                   ("silent", "SSUBSCRIBE", ("~*", "&*", "+@all", "-ssubscribe")),
                                   ("idle", "FCALL", ("~*", "&*", "+@all", "-fcall")),
                                   ("bare", "FUNCTION", ("~*", "&*", "+@all", "-function"))):
            for n in self.redis.nodes:
                n.call("ACL", "SETUSER", name, "reset", "on", ">planted-for-magpie", *rights)
            said = self.sentence(self.redis.addresses, {"username": name, "password": "planted-for-magpie",
                                                        "prefix": "mine:"})
            self.assertRegex(said, r"cluster.username: Redis on [\d.:]+ refuses what a node needs \(%s\): NOP" % what)
            line = "ACL SETUSER %s on >PASSWORD ~mine:* &mine:* +@all -@dangerous +cluster +info +time" % name
            self.assertTrue(said.endswith("On each process: %s +config|get +function" % line), said)

    def test_one_process_lacks_rights(self):
        """An election would make it a master that refuses what nodes tell each other."""
        access = {"username": "magpie", "password": "planted-for-magpie"}
        master = self.redis.master_of(0)
        replica = self.redis.replicas_of(master)[0]
        replica.call("ACL", "SETUSER", "magpie", "resetchannels")
        self.addCleanup(replica.call, "ACL", "SETUSER", "magpie", "&*")
        self.assertIn("Redis on %s refuses what a node needs (SPUBLISH): NOPERM" % replica.address,
                      self.sentence(self.redis.addresses, access))

    def test_the_line_of_the_docs(self):
        """What docs/cluster.md and the start say is enough, and is the same."""
        with open(os.path.join(ROOT, "docs", "cluster.md")) as f:
            text = f.read()
        line = re.search(r"ACL SETUSER magpie on >PASSWORD ~m\* &m\* (.*)", text).group(1)
        self.assertIn("\n    user magpie on >PASSWORD ~m* &m* %s\n" % line, text)  # in a process's own file
        for n in self.redis.nodes:
            n.call("ACL", "SETUSER", "exact", "reset", "on", ">planted-for-magpie", "~exact*", "&exact*", *line.split())
        access = {"username": "exact", "password": "planted-for-magpie", "prefix": "exact"}
        with Server({"cluster": access}, redis=self.redis.addresses, keys="exact") as s:
            self.assertNotIn("cluster.unchecked", s.log())
            with Server({"cluster": access}, redis=self.redis.addresses, keys="exact") as t:
                a, b = self.user("Ada", server=s), self.user("Bob", server=t)
                room = self.channel(a, b)
                a.say(room, "hello")
                self.assertEqual(b.push(102)["content"], "hello")
                self.assertNotIn("cluster.denied", s.log() + t.log())

    def test_config_is_not_allowed(self):
        found = self.warned(self.redis.addresses, {"username": "shy", "password": "planted-for-magpie"})
        self.assertEqual(set(found), {"cluster.unchecked", "cluster.same_host"})


class Settled(unittest.TestCase):
    def test_the_tag_of_partition_zero(self):
        self.assertEqual(slot("{%s}" % ZERO), 0)
        self.assertTrue(all(slot("{%d}" % n) for n in range(int(ZERO))))
