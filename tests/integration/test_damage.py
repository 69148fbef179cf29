"""Damaged files of the database are refused with a reason, and nothing is reset; one server a directory."""

import glob
import os
import subprocess
import time

from base import Test, embedded
from client import HISTORY, LOGIN
from server import MAGPIED, PATIENCE, Server
from test_durability import Stops, whole_history


@embedded("RocksDB's files")
class Damage(Stops):
    """Damaged files are refused with a reason, and nothing is reset; with the right file back, all is there."""

    abstract = False

    def refuses(self, s):
        """It does not start, and says why in one line. Returns the line."""
        process = subprocess.run([MAGPIED, "-c", s.config_path], stdin=subprocess.DEVNULL, capture_output=True,
                                 text=True, cwd=s.folder, timeout=60 * PATIENCE)
        self.assertEqual(process.returncode, 1, process.stderr[-2000:])
        self.assertTrue(process.stderr.strip(), "silent")
        return process.stderr

    def one(self, folder, pattern):
        found = sorted(glob.glob(os.path.join(folder, "data/db", pattern)), key=os.path.getsize)
        self.assertTrue(found, pattern)
        return found[-1]

    def check(self, clean, *cases):
        """Each case is a pattern of the file and what is done to it."""
        with Server() as s:
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            room = self.channel(a, b)
            sent = [a.tell(b, "dm %d" % n)["id"] for n in range(50)]
            for n in range(50):
                a.say(room, "message %d" % n)
            time.sleep(1.5)  # all is synced
            if clean:
                self.stop(s)
            else:
                s.kill()
            for pattern, harm in cases:
                with self.subTest(pattern=pattern, harm=harm.__name__):
                    name = self.one(s.folder, pattern)
                    with open(name, "rb") as f:
                        good = f.read()
                    harm(name, good)
                    for _ in range(2):  # a second attempt finds nothing repaired
                        why = self.refuses(s)
                    self.assertIn("data", why)
                    with open(name, "wb") as f:
                        f.write(good)
            s.start()
            b2 = self.again(b, server=s)
            self.assertEqual([m["id"] for m in b2.history(peer=a)["messages"]], sent)
            self.assertEqual(b2.history(room)["last"], 50)

    @staticmethod
    def cut(name, good):
        with open(name, "wb") as f:
            f.write(good[:len(good) // 2])

    @staticmethod
    def flip(name, good):
        at = len(good) // 2
        with open(name, "wb") as f:
            f.write(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1:])

    @staticmethod
    def remove(name, good):
        os.unlink(name)

    def test_files_of_the_database(self):
        self.check(True, ("MANIFEST-*", self.cut), ("MANIFEST-*", self.flip), ("CURRENT", self.remove),
                   ("CURRENT", self.cut), ("CURRENT", self.flip), ("*.sst", self.cut), ("*.sst", self.remove))

    def test_flipped_tables(self):
        """A bit anywhere in a table: where it matters for the start that is refused, else whatever meets it is. What is
        read is whole, or an error says that it is not."""
        with Server({"log": {"level": "info"}}) as s:
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            room = self.channel(a, b)
            for n in range(200):
                a.tell(b, "dm %d " % n + "x" * 100)
                a.say(room, "message %d " % n + "y" * 100)
            time.sleep(1.5)  # all is synced
            self.stop(s)
            path = self.one(s.folder, "*.sst")
            with open(path, "rb") as f:
                good = f.read()
            outcomes = set()
            for n in range(20):
                at = len(good) * (2 * n + 1) // 40
                with open(path, "wb") as f:
                    f.write(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1:])
                try:
                    s.start()
                except AssertionError:
                    self.assertIn("data", s.log())
                    self.assertIn("Corruption", s.log())
                    outcomes.add("not started")
                else:
                    said = {self.read(s, b, conversation) for conversation in ({"peerId": a.id}, {"channel": room})}
                    self.assertEqual(s.stop(), 0)
                    if "refused" in said:
                        self.assertIn("storage.corrupt", s.log())
                    outcomes |= said
                with open(path, "wb") as f:
                    f.write(good)
            self.assertTrue({"refused", "not started"} & outcomes, outcomes)
            s.start()
            b2 = self.again(b, server=s)
            for conversation in ({"peerId": a.id}, {"channel": room}):
                self.assertEqual(len(whole_history(b2, **conversation)[0]), 200)

    def read(self, s, user, conversation):
        """Whether the conversation is refused, or all there."""
        c = self.connect(server=s)
        try:
            if "error" in c.ask(LOGIN, token=user.token):
                return "refused"
            seqs, after = [], 0
            while True:
                page = c.ask(HISTORY, after=after, limit=50, **conversation)
                if "error" in page:
                    self.assertIn(page["error"]["code"], ("internal", "unavailable"))
                    return "refused"
                seqs += [m["seq"] for m in page["messages"]]
                if not page["more"]:
                    break
                after = seqs[-1]
            self.assertEqual(seqs, list(range(1, 201)), "less than all, and no error")
            return "whole"
        finally:
            c.close()

    def test_log(self):
        self.check(False, ("*.log", self.cut), ("*.log", self.flip), ("*.log", self.remove))


@embedded("the lock of RocksDB's directory")
class Alone(Test):
    def test_two_servers_on_one_directory(self):
        a, b = self.users("Ada", "Bob")
        a.tell(b, "one")
        other = Server(start=False)
        try:
            settings = other.settings()
            settings["data"] = os.path.join(self.server.folder, "data")
            other.write_config(settings)
            process = subprocess.run([MAGPIED, "-c", other.config_path], stdin=subprocess.DEVNULL, capture_output=True,
                                     text=True, cwd=other.folder, timeout=60 * PATIENCE)
            self.assertEqual(process.returncode, 1)
            self.assertIn("in use by another", process.stderr)
            self.assertIn(settings["data"], process.stderr)
        finally:
            other.discard()
        self.assertEqual(a.tell(b, "two")["seq"], 2, "the first goes on")
        self.assertEqual(len(b.history(peer=a)["messages"]), 2)
