"""What a node hears of others while the cluster breaks: after each fault it is told of which partitions it may have
missed news, of those and no others, and it is not deaf afterwards. build/tests/listen is the node; here news are
published by hand, and the cluster is broken."""

import binascii
import os
import random
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from process import eventually  # noqa: E402
from redis_cluster import RedisCluster  # noqa: E402
from resp import RedisError  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LISTEN = os.path.join(os.path.dirname(os.environ.get("MAGPIED") or os.path.join(ROOT, "build", "magpied")), "tests",
                      "listen")
PATIENCE = 60
PARTS, SLOTS, EACH = 1024, 16384, 16
MESSAGE, NUDGE = 1, 2
STRANGER = 1 << 40  # an incarnation that no node has
OK = 0


def tags():
    """Partition → tag: the smallest number whose slot is the partition's."""
    out = {}
    for n in range(69572):
        slot = binascii.crc_hqx(b"%d" % n, 0) % SLOTS
        if slot % EACH == 0:
            out.setdefault(slot // EACH, "%d" % n)
    return out


TAGS = tags()


def news(version, kind, fields):
    body = struct.pack(">BBQ", version, kind, STRANGER) + fields
    return struct.pack(">I", len(body)) + body


def short(text):
    return bytes([len(text)]) + text


def nudge(seq, conv=b"pann\0bob", user=b"ann"):
    return news(1, NUDGE, short(conv) + short(user) + seq.to_bytes(6, "big") + bytes(6))


def padding(size):
    """News of a version that is not known: they are passed over."""
    return news(99, NUDGE, bytes(size))


class Listen:
    """The program, whose lines are read as they come."""

    def __init__(self, redis):
        self.redis, self.prefix = redis, "t%08x:" % random.getrandbits(32)
        self.changed = threading.Condition()
        self.heard, self.resets, self.answers = set(), [], []
        self.incs = self.slow = self.repair = None
        self.known = {}  # channel → the newest seq that it was told of, by news or by a head
        self.process = subprocess.Popen([LISTEN, self.prefix, redis.addresses], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.until(lambda: self.incs, "two nodes")

    def read(self):
        for line in self.process.stdout:
            what, *rest = line.split()
            with self.changed:
                if what == "nodes":
                    self.incs = [int(i) for i in rest]
                elif what == "heard":
                    self.heard.add(int(rest[2]))
                    if int(rest[0]) == MESSAGE:
                        self.know(rest[1], int(rest[2]))
                elif what == "reset":
                    self.resets.append({int(p) for p in rest[0].split(",")})
                    if self.repair:
                        self.repair(self.resets[-1])
                elif what in ("followed", "unfollowed", "said"):
                    if what == "followed" and int(rest[1]) == OK:
                        self.know(rest[0], int(rest[2]))
                    self.answers.append((what, rest[0], int(rest[1]), int(rest[2]), int(rest[3])))
                elif what == "slow":
                    self.slow = int(rest[0])
                self.changed.notify_all()

    def know(self, name, seq):
        self.known[name] = max(seq, self.known.get(name, 0))

    def until(self, f, what, timeout=PATIENCE):
        with self.changed:
            if not self.changed.wait_for(lambda: f() or self.process.poll() is not None, timeout):
                raise AssertionError("not in %d s: %s" % (timeout, what))
        if self.process.poll() is not None:
            raise AssertionError("listen ended with %d" % self.process.returncode)

    def order(self, *words):
        self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.process.stdin.flush()

    def answer(self, what, name):
        """Waits for one, and takes it: status, seq, partition."""
        def find():
            return next((a for a in self.answers if a[:2] == (what, name)), None)

        self.until(find, "%s %s" % (what, name))
        with self.changed:
            found = find()
            self.answers.remove(found)
        return found[2:]

    def follow(self, name):
        self.order("follow", name)
        return self.answer("followed", name)

    def reset(self):
        """Partitions that were reset since the last look()."""
        return set().union(*self.resets)

    def look(self):
        """Forgets what was heard until now."""
        with self.changed:
            self.resets.clear()
            self.heard.clear()

    def end(self):
        self.process.stdin.close()
        self.reader.join(PATIENCE)
        self.process.kill()
        status = self.process.wait()
        self.process.stdout.close()
        return status


class Ear(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.redis = RedisCluster(replicas=1)

    @classmethod
    def tearDownClass(cls):
        cls.redis.close()

    def setUp(self):
        self.redis.healthy()
        self.seq = random.getrandbits(20)
        self.listen = Listen(self.redis)
        self.addCleanup(self.finish)
        self.channels = {}  # name → partition
        for i in range(12):
            name = "room%d" % i
            status, _, part = self.listen.follow(name)
            self.assertEqual(status, OK)
            self.channels[name] = part
        self.not_deaf()
        time.sleep(0.5)  # what is subscribed to for the first time is told of, too, in the next tick
        self.listen.look()

    def finish(self):
        for n in self.redis.nodes:
            n.cont()
            if not n.process.running():
                n.start()
        self.assertEqual(self.listen.end(), 0)

    def masters(self, but=None):
        """Partition → node, as the cluster sees it. but: a member that is not asked."""
        out = {}
        member = next(n for n in self.redis.running() if n is not but)
        for first, last, master, *_ in member.call("CLUSTER", "SLOTS"):
            node = self.redis.by_id(master[2].decode())
            out.update((slot // EACH, node) for slot in range(first, last + 1) if slot % EACH == 0)
        return out

    def parts_of(self, node):
        return {p for p, n in self.masters().items() if n is node}

    def name(self, kind, part, rest):
        return "%s%s{%s}:%s" % (self.listen.prefix, kind, TAGS[part], rest)

    def publish(self, masters, channel, part, message=b""):
        """Returns the seq of the news; None: nobody has heard it."""
        self.seq += 1
        conv = b"c" + channel.encode() if channel else b"pann\0bob"
        name = self.name("b", part, "c" + channel) if channel else self.name("n", part, self.listen.incs[0])
        n = masters[part].call("SPUBLISH", name, message + nudge(self.seq, conv, b"" if channel else b"ann"))
        return self.seq if n else None

    def not_deaf(self):
        """What is published in any partition, and of any channel that is followed, is heard."""
        masters = self.masters()
        targets = [("", part) for part in range(PARTS)] + list(self.channels.items())
        sent = {}

        def all_sent():
            for target in targets:
                if not sent.get(target):
                    try:
                        sent[target] = self.publish(masters, *target)
                    except (RedisError, OSError):
                        masters.update(self.masters())
            return all(sent.get(t) for t in targets)

        eventually(all_sent, "every channel has a subscriber", PATIENCE)
        self.listen.until(lambda: self.listen.heard.issuperset(sent.values()), "what was published is heard")

    def whole_again(self, parts):
        self.listen.until(lambda: self.listen.reset() >= parts, "what may have been missed is told of")
        self.not_deaf()
        self.assertEqual(self.listen.reset(), parts)

    def test_nothing_happens(self):
        self.not_deaf()
        time.sleep(5)  # longer than silence lasts
        self.assertEqual(self.listen.reset(), set())

    def test_master_killed(self):
        master = self.redis.master_of(0)
        parts = self.parts_of(master)
        master.kill()
        eventually(lambda: self.redis.master_of(0) is not master, "an election", PATIENCE)
        self.whole_again(parts)
        master.start()
        self.redis.healthy()
        self.not_deaf()
        self.assertEqual(self.listen.reset(), parts)

    def test_master_hangs(self):
        master = self.redis.master_of(SLOTS - EACH)
        parts = self.parts_of(master)
        master.stop()
        eventually(lambda: self.masters(master)[PARTS - 1] is not master, "an election", PATIENCE)
        master.cont()
        self.redis.healthy()
        self.whole_again(parts)

    def test_master_moves(self):
        master = self.redis.master_of(0)
        parts = self.parts_of(master)
        self.redis.failover(self.redis.replicas_of(master)[0])
        self.whole_again(parts)

    def test_slot_moves(self):
        part = self.channels["room0"]
        source = self.redis.master_of(part * EACH)
        target = next(m for m in self.redis.masters() if m is not source)
        self.redis.move_slot(part * EACH, target)
        self.whole_again({part})
        self.listen.look()
        self.redis.move_slot(part * EACH, source)
        self.whole_again({part})

    def test_links_cut(self):
        for master in self.redis.masters():
            parts = self.parts_of(master)
            self.listen.look()
            master.call("CLIENT", "KILL", "TYPE", "pubsub")
            self.whole_again(parts)

    def test_followed_while_a_master_is_away(self):
        part = self.channels["room1"]
        master = self.redis.master_of(part * EACH)
        self.listen.order("unfollow", "room1")
        self.listen.answer("unfollowed", "room1")
        master.stop()
        self.assertEqual(self.listen.follow("room1")[0], OK)  # once there is another one, within patience
        self.assertTrue(self.publish(self.masters(master), "room1", part))
        self.listen.until(lambda: self.seq in self.listen.heard, "what was published is heard")
        master.cont()

    def say(self, names):
        """Stores a message in each; returns {name: seq}."""
        said = {}
        text = "%08x" % random.getrandbits(32)
        for name in names:
            self.listen.order("say", name, text)
        yield
        for name in names:
            status, seq, _ = self.listen.answer("said", name)
            while status != OK:  # with the same clientId
                self.listen.order("say", name, text)
                status, seq, _ = self.listen.answer("said", name)
            said[name] = seq
        yield said

    def test_nothing_stored_is_missed(self):
        """Whoever reads the heads of what is reset knows of all that is stored, whenever the links break."""
        def repair(parts):
            for name, part in self.channels.items():
                if part in parts:
                    self.listen.order("follow", name)

        masters = self.redis.masters()

        def cut():
            for _ in range(2):  # the second time they are made again somewhat later
                for master in masters:
                    master.call("CLIENT", "KILL", "TYPE", "pubsub")
                time.sleep(random.random() * 0.05)

        def move():
            master = self.redis.master_of(0)
            self.redis.failover(self.redis.replicas_of(master)[0])

        def kill():
            master = self.redis.master_of(SLOTS - EACH)
            master.kill()
            eventually(lambda: self.redis.master_of(SLOTS - EACH) is not master, "an election", PATIENCE)
            master.start()

        self.listen.repair = repair
        for fault in [cut] * 20 + [move, kill]:
            saying = self.say(list(self.channels))
            if fault is not cut:
                next(saying)
                time.sleep(random.random() * 0.01)
            fault()
            if fault is cut:
                next(saying)
            said = next(saying)
            self.listen.until(lambda: all(self.listen.known.get(n, 0) >= seq for n, seq in said.items()),
                              "it knows of all that was stored", 30)

    def test_receiver_too_slow(self):
        master = self.redis.masters()[1]
        parts = self.parts_of(master)
        part = min(parts)
        limit = master.config("client-output-buffer-limit")
        master.config("client-output-buffer-limit", "pubsub 1mb 1mb 1")
        self.listen.order("slow", 20)
        self.listen.until(lambda: self.listen.slow == 20, "it is slow")
        for _ in range(400):  # 40 MB, more than the kernel keeps
            if not self.publish({part: master}, "", part, padding(100000)):
                break
        else:
            self.fail("it was never thrown out")
        self.listen.order("slow", 0)
        self.listen.until(lambda: self.listen.slow == 0, "it is quick")
        self.whole_again(parts)
        master.config("client-output-buffer-limit", limit)


if __name__ == "__main__":
    unittest.main()
