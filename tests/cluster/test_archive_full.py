"""PostgreSQL has no room left: on a small file system of its own, which something else has filled. Nothing that was
acknowledged is lost, Redis keeps what cannot be written, and all goes on by itself once there is room."""

import os
import shutil
import subprocess
import time
import unittest

from base import Test
from console import Console
from load import Load
from postgres import Postgres
from process import folder, remove
from redis_cluster import RedisCluster, everywhere
from server import Server

HOT = 5


class Disk:
    """A file system of `megabytes` in a file. SkipTest where one may not be mounted."""

    def __init__(self, megabytes):
        self.folder = folder("magpie-disk-")
        self.path, image = os.path.join(self.folder, "disk"), os.path.join(self.folder, "image")
        os.mkdir(self.path)
        with open(image, "wb") as f:
            f.truncate(megabytes << 20)
        if not all(shutil.which(c[0]) and subprocess.run(c, capture_output=True).returncode == 0 for c in (
                ["mkfs.ext4", "-q", "-F", "-m", "0", image], ["mount", "-o", "loop", image, self.path])):
            remove(self.folder)
            raise unittest.SkipTest("no right to mount a file system of its own")
        self.ballast = os.path.join(self.path, "ballast")

    def make(self, name, owner):
        """A folder on it, of that (uid, gid)."""
        path = os.path.join(self.path, name)
        os.mkdir(path)
        if owner:
            os.chown(path, *owner)
            os.chmod(self.path, 0o755)
            os.chmod(self.folder, 0o755)
        return path

    def fill(self):
        """To the last byte."""
        for size in (1 << 16, 1 << 10, 1):
            try:
                with open(self.ballast, "ab", buffering=0) as f:
                    while f.write(bytes(size)) == size:
                        pass
            except OSError:
                pass
        if shutil.disk_usage(self.path).free > 1 << 12:
            raise AssertionError("the disk is not full")

    def free(self):
        os.unlink(self.ballast)

    def close(self):
        subprocess.run(["umount", "-l", self.path], capture_output=True)
        remove(self.folder)


class Full(Test):
    abstract = True

    def setUp(self):
        super().setUp()
        self.disk = Disk(self.size)
        self.addCleanup(self.disk.close)
        self.pg = self.database()
        self.addCleanup(self.pg.close)
        self.redis = RedisCluster()
        self.addCleanup(self.redis.close)
        self.server = Server({"log": {"level": "info"}, "listen": {"console": "unix:console.sock"},
                              "limits": {"inbox": 0}, "tiers": {"small": {"max": 0}, "dm": {"max": 0}},
                              "cluster": {"patience": 3, "archive": {"url": self.pg.url, "hot": HOT, "hot_age": 1}}},
                             redis=self.redis.addresses)
        self.addCleanup(self.server.close)
        self.server.wait_log("archive.connected", 60)

    @classmethod
    def setUpClass(cls):
        pass

    tearDownClass = setUpClass

    def archive(self):
        c = Console(self.server)
        try:
            return c.json("cluster status")["archive"]
        finally:
            c.close()

    def kept(self):
        return int(self.pg.query("select count(*) from message"))

    def hot(self):
        """Private messages in Redis: each hash has a head, too."""
        return sum(c.call("HLEN", key) - 1 for c, key in everywhere(self.redis.addresses, self.server.keys + "m{")
                   if b"}:p" in key)

    def said(self, load):
        return sum(len(s.acknowledged) for s in load.senders if s.name_.startswith("dm"))

    def told(self, event):
        return [line for line in self.server.whole_log().splitlines() if " %s " % event in line]

    def goes_on(self, load):
        """There is room again."""
        load.wait(10)
        load.stop()
        self.eventually(lambda: self.archive()["why"] == "", 60)
        total = self.said(load)
        self.eventually(lambda: self.kept() >= total, 120)
        pairs = len(load.people)
        self.eventually(lambda: self.hot() == pairs * HOT, 120)
        load.check()  # from the archive, but for the newest


class Rows(Full):
    """The tables' disk: PostgreSQL serves on, and refuses what needs room."""

    abstract = False
    size = 16

    def database(self):
        return Postgres()

    def to_the_disk(self):
        """What is in the tables, and what will be."""
        self.pg.query("create tablespace small location '%s'" % self.disk.make("tables", self.pg.user))
        for n in range(16):
            self.pg.query("alter table message_%d set tablespace small" % n)
            self.pg.query("alter index message_%d_pkey set tablespace small" % n)

    def test_full_and_again(self):
        self.to_the_disk()
        began = time.monotonic()
        load = Load(self, self.server)
        load.start()
        try:
            load.wait(50)
            self.eventually(lambda: self.kept() > 50, 30)
            self.disk.fill()
            self.eventually(lambda: self.told("archive.failed"), 60)
            before = self.said(load)
            load.wait(50)
            self.assertGreater(self.said(load), before)
            self.eventually(lambda: "No space left on device" in self.archive()["why"], 30)
            self.assertTrue(self.archive()["connected"])
            reader = self.again(load.people[0])  # of what is in the archive
            first = reader.history(peer=load.people[1], after=0, limit=5)["messages"]
            self.assertEqual([m["content"] for m in first], ["dm0 %d" % (i + 1) for i in range(5)])
            self.server.kill()
            self.server.start()  # what waits, waits in Redis
            load.wait(20)
            self.eventually(lambda: " archive.failed " in self.server.log(), 30)
            # People go on, and so do messages from Redis to the archive: what they have said is counted first.
            total, hot = self.said(load), self.hot()
            self.assertGreaterEqual(self.kept() + hot, total)
            self.assertGreater(hot, len(load.people) * HOT * 2)
            self.disk.free()
            self.goes_on(load)
        finally:
            load.stop()
        for line in self.told("archive.failed"):
            self.assertIn("request=put", line)
            self.assertIn("could not extend file", line)
            self.assertIn("No space left on device", line)
            self.assertIn("sqlstate=53100", line)
        self.assertLessEqual(len(self.told("archive.failed")), 2 + (time.monotonic() - began) / 60, "once a minute")


class All(Full):
    """Its whole disk, what it writes ahead too: it gives up, and ends or starts again and again."""

    abstract = False
    size = 128

    def database(self):
        owner = Postgres(start=False)
        place = self.disk.make("postgres", owner.user)
        owner.close()
        return Postgres(place=place, settings={"min_wal_size": "2MB", "max_wal_size": "8MB"})

    def test_full_and_again(self):
        load = Load(self, self.server)
        load.start()
        try:
            load.wait(50)
            self.eventually(lambda: self.kept() > 50, 30)
            self.disk.fill()
            self.eventually(lambda: self.told("archive.away") or self.told("archive.failed"), 120)
            before = self.said(load)
            load.wait(50)
            self.assertGreater(self.said(load), before)
            self.eventually(lambda: self.archive()["why"], 30)
            self.disk.free()
            if not self.pg.process.running():
                self.pg.start()
            self.eventually(lambda: self.pg.answers(), 60)
            self.goes_on(load)
        finally:
            load.stop()
