"""What was acknowledged is there: over kill -9, full and failing disks, damaged files; and one server a directory."""

import fcntl
import glob
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import threading
import time

from base import Test, embedded
from client import CONVERSATIONS, HISTORY, INBOX, READ, SEND_CHANNEL, SEND_USER, Client, Error
from server import CLUSTER, PATIENCE, Server
from wire import Closed

KILLS = int(os.environ.get("MAGPIE_KILLS", "20"))
CUTS = int(os.environ.get("MAGPIE_CUTS", "6"))  # losses of power


def whole_history(client, **conversation):
    """All messages of a conversation, from the first on."""
    messages, after = [], 0
    while True:
        page = client.request(HISTORY, after=after, limit=200, **conversation)
        messages += page["messages"]
        if not page["more"]:
            return messages, page
        after = page["messages"][-1]["seq"]


def whole_inbox(client):
    messages, after = [], None
    while True:
        page = client.request(INBOX, limit=200, **({"after": after} if after else {}))
        messages += page["messages"]
        if not page["more"]:
            return messages
        after = page["messages"][-1]["id"]


class Sender(threading.Thread):
    """Sends numbered messages to one conversation, several under way, until the connection breaks; keeps the
    acknowledgements. What was not answered is sent again first, with its clientId, the next time."""

    WIDTH = 24

    def __init__(self, name, token, action, target):
        super().__init__(daemon=True)
        self.name_, self.token, self.action, self.target = name, token, action, target
        self.acknowledged = {}  # content: (id, seq)
        self.times = {}         # content: when it was acknowledged
        self.tolerant = False   # "unavailable" ends it, and is no trouble
        self.unanswered = []    # contents, in order
        self.count = 0
        self.trouble = None

    def again(self):
        """The same sender in a new thread."""
        other = Sender(self.name_, self.token, self.action, self.target)
        for what in ("acknowledged", "unanswered", "count", "times", "tolerant"):
            setattr(other, what, getattr(self, what))
        return other

    def connect(self, server):
        self.client = Client(server)
        self.client.login(token=self.token)

    def run(self):
        try:
            while True:
                while len(self.unanswered) < self.WIDTH:
                    self.count += 1
                    self.unanswered.append("%s %d" % (self.name_, self.count))
                batch = list(self.unanswered)
                seqs = self.client.send_all([(self.action, dict(self.target, content=c, clientId=c)) for c in batch])
                for content, seq in zip(batch, seqs):
                    answer = self.client.answer(self.action, seq, timeout=30)
                    if "error" in answer and self.tolerant and answer["error"]["code"] == "unavailable":
                        return
                    if "error" in answer:
                        raise AssertionError("refused: %s" % answer)
                    self.acknowledged[content] = (answer["id"], answer["seq"])
                    self.times[content] = time.monotonic()
                    self.unanswered.pop(0)
                self.client.kept = []  # pushes
        except (Closed, OSError):
            pass
        except BaseException as e:
            self.trouble = e


class Stops(Test):
    abstract = True

    def stop(self, server):
        """SIGTERM, nobody being connected: a drain without waiting."""
        for c in self.clients:
            c.close()
        self.assertEqual(server.stop(), 0)


class Kills(Test):
    config = {"tiers": {"small": {"max": 0}, "dm": {"max": 0}}, "limits": {"inbox": 0}, "log": {"level": "info"}}

    def test_kill_9_under_load(self):
        """Nothing acknowledged is lost, doubled or reordered; seqs without gaps; ids ascend; sends are idempotent over
        it."""
        ada, bob = self.users("Ada", "Bob")
        room = self.channel(ada, bob)
        senders = [Sender("ada-dm", ada.token, SEND_USER, {"receiverId": bob.id}),
                   Sender("bob-dm", bob.token, SEND_USER, {"receiverId": ada.id}),
                   Sender("ada-room", ada.token, SEND_CHANNEL, {"channel": room}),
                   Sender("bob-room", bob.token, SEND_CHANNEL, {"channel": room})]
        chance = random.Random(11)
        for _ in range(KILLS):
            for s in senders:
                s.connect(self.server)
            for s in senders:
                s.start()
            time.sleep(chance.uniform(0.02, 0.25) * PATIENCE)
            self.server.kill()
            for s in senders:
                s.join(60)
                if s.trouble:
                    raise s.trouble
            senders = [s.again() for s in senders]
            self.server.start()
        # What is still open is sent once more: each has to be known or new.
        a = self.again(ada, server=self.server)
        b = self.again(bob, server=self.server)
        for s in senders:
            for content in s.unanswered:
                answer = (a if s.name_.startswith("ada") else b).request(s.action, content=content, clientId=content,
                                                                         **s.target)
                s.acknowledged[content] = (answer["id"], answer["seq"])
        total = sum(len(s.acknowledged) for s in senders)
        self.assertGreater(total, KILLS * 20, "there was load")
        for conversation, first, second in (({"peerId": bob.id}, senders[0], senders[1]),
                                            ({"channel": room}, senders[2], senders[3])):
            messages, page = whole_history(a, **conversation)
            self.assertEqual([m["seq"] for m in messages], list(range(1, len(messages) + 1)), "no gaps")
            self.assertEqual((page["first"], page["last"]), (1, len(messages)))
            ids = [m["id"] for m in messages]
            self.assertEqual(ids, sorted(set(ids)), "ids ascend")
            stored = {}
            for m in messages:
                self.assertNotIn(m["content"], stored, "doubled")
                stored[m["content"]] = (m["id"], m["seq"])
            for s in (first, second):
                own = [m["content"] for m in messages if m["content"].startswith(s.name_)]
                self.assertEqual(own, ["%s %d" % (s.name_, n + 1) for n in range(len(own))], "in the order sent")
                for content, where in s.acknowledged.items():
                    self.assertEqual(stored.get(content), where, "acknowledged, and not there as told: %s" % content)
            self.assertEqual(len(messages), len(first.acknowledged) + len(second.acknowledged))
        for reader, sender in ((b, senders[0]), (a, senders[1])):
            inbox = [m["content"] for m in whole_inbox(reader)]
            if CLUSTER:  # in the order of arrival: what a kill left half done comes later
                inbox.sort(key=lambda content: int(content.split()[1]))
            self.assertEqual(inbox, ["%s %d" % (sender.name_, n + 1) for n in range(len(sender.acknowledged))],
                             "the inbox: all, once, in order")


class Repeats(Test):
    def test_repeats_after_a_kill(self):
        """The first answer, and nothing stored or pushed again, over kill -9 and a clean restart."""
        a, b = self.users("Ada", "Bob")
        room = self.channel(a, b)
        first = a.tell(b, "once", clientId="x1")
        said = a.say(room, "once", clientId="x1")
        self.assertEqual(a.tell(b, "once", clientId="x1"), first)
        for way in (self.server.kill, self.server.stop):
            way()
            self.server.start()
            a2, b2 = self.again(a, server=self.server), self.again(b, server=self.server)
            self.assertEqual(a2.tell(b, "once", clientId="x1"), first)
            self.assertEqual(a2.say(room, "once", clientId="x1"), said)
            b2.quiet(101, 102)
            self.assertEqual(len(b2.history(peer=a)["messages"]), 1)
            self.assertEqual(len(b2.history(room)["messages"]), 1)
            self.assertEqual([m["id"] for m in b2.request(INBOX)["messages"]], [first["id"]])

    def test_everything_else_survives_a_kill(self):
        a, b = self.users("Ada", "Bob")
        room = self.channel(a, b)
        sent = [a.say(room, "m%d" % n) for n in range(5)]
        dm = a.tell(b, "hello")
        b.request(READ, channel=room, seq=3)
        a.request(14, channel=room, seq=sent[1]["seq"])  # recalled
        b.request(8, ids=[dm["id"]])                     # acknowledged
        b.request(15, id=a.id, blocked=True)
        c = self.user("Cid")
        c.subscribe(room, push="none")
        c.request(6, name=room)
        self.server.kill()
        self.server.start()
        b2 = self.again(b, server=self.server)
        found = {x.get("channel", x.get("peerId")): x for x in b2.request(CONVERSATIONS)["conversations"]}
        self.assertEqual((found[room]["seq"], found[room]["read"], found[room]["unread"]), (5, 3, 2))
        self.assertTrue(b2.history(room)["messages"][1]["recalled"])
        self.assertEqual(b2.request(INBOX)["messages"], [])
        a2 = self.again(a, server=self.server)
        self.refused("forbidden", a2, SEND_USER, receiverId=b.id, content="blocked")
        self.assertEqual(sorted(m["id"] for m in a2.request(13, name=room)["members"]), sorted([a.id, b.id]))
        self.assertEqual(a2.say(room, "next")["seq"], 6)


def shared_memory(server):
    """The server's files in /dev/shm."""
    data, found = os.path.realpath(os.path.join(server.folder, "data")).encode(), []
    for name in filter(os.path.isfile, glob.glob("/dev/shm/magpie-*")):
        with open(name, "rb") as f:
            if data in f.read():
                found.append(name)
    return found


@embedded("the embedded engine's memory of what it has told")
class SharedMemory(Test):
    """It may be tidied away, and it may be full: neither makes numbers jump, nor ends the server."""

    def test_taken_away(self):
        """As by a container, RemoveIPC= or a logout: while it runs, and between a kill and the start after it."""
        a, b = self.users("Ada", "Bob")
        room = self.channel(a, b)
        seq = 0
        for running in (False, True, False):
            for _ in range(10):
                seq += 1
                self.assertEqual(a.say(room, "m")["seq"], seq)
            if not running:
                self.server.kill()
            found = shared_memory(self.server)
            self.assertEqual(len(found), 1)
            os.unlink(found[0])
            if running:
                seq += 1
                self.assertEqual(a.say(room, "m")["seq"], seq)
                self.server.kill()
            self.server.start()
            self.assertNotIn("storage.loss_assumed", self.server.log())
            a, b = self.again(a, server=self.server), self.again(b, server=self.server)
        self.assertEqual(a.say(room, "m")["seq"], seq + 1)
        self.assertEqual([m["seq"] for m in a.history(room, limit=200)["messages"]], list(range(1, seq + 2)))

    def test_full(self):
        mount = ('mount -t tmpfs -o size=16k none /dev/shm && head -c 16384 /dev/zero > /dev/shm/ballast && '
                 'exec "$0" "$@"')
        own = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
        if subprocess.run(own + ["sh", "-c", mount, "true"], capture_output=True).returncode != 0:
            self.skipTest("no right to mount a file system")
        with Server(prefix=own + ["sh", "-c", mount]) as s:
            s.wait_log("storage.no_shared_memory")
            a = self.user("Ada", server=s)
            room = self.channel(a)
            for seq in range(1, 12):
                self.assertEqual(a.say(room, "m")["seq"], seq)
            s.kill()
            s.start()
            self.assertEqual(self.again(a, server=s).say(room, "m")["seq"], 12)
            self.assertEqual(s.stop(), 0)


@embedded("the disk under RocksDB")
class Full(Test):
    """A disk that takes nothing more. The limit on file sizes stands in for it: the writes of the running server fail,
    and no privileges are needed."""

    config = {"log": {"level": "info"}}

    def fill(self, full):
        soft, hard = resource.prlimit(self.server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.server.process.pid, resource.RLIMIT_FSIZE, (0 if full else hard, hard))

    def sends_again(self, client, to, content, **more):
        def attempt():
            answer = client.ask(SEND_USER, receiverId=to.id, content=content, **more)
            return answer if "error" not in answer else None
        return self.eventually(attempt, timeout=20, every=0.2)

    def test_full_and_space_again(self):
        a, b = self.users("Ada", "Bob")
        room = self.channel(a, b)
        sent = [a.tell(b, "m%d" % n) for n in range(10)]
        said = [a.say(room, "m%d" % n) for n in range(10)]
        for round in range(2):
            self.fill(True)
            try:
                refused = []
                for n in range(30):  # longer than the attempts to recover are apart
                    for action, where in ((SEND_USER, {"receiverId": b.id}), (SEND_CHANNEL, {"channel": room})):
                        refused.append(a.ask(action, content="full %d %d" % (round, n), clientId="f%d-%d" % (round, n),
                                             **where)["error"]["code"])
                    self.assertEqual(len(b.history(peer=a)["messages"]), len(sent), "reads go on")
                    self.assertEqual(len(a.history(room)["messages"]), len(said))
                    time.sleep(0.05)
                self.assertEqual(set(refused), {"unavailable"})
                self.refused("unavailable", b, READ, channel=room, seq=3)
                self.refused("unavailable", a, 3, name="new room")
            finally:
                self.fill(False)
            sent.append(self.sends_again(a, b, "full %d 0" % round, clientId="f%d-0" % round))
            said.append(a.say(room, "full %d 0" % round, clientId="f%d-0" % round))
        a.ask(9)
        self.server.wait_log("storage.recovered")
        self.server.kill()
        self.server.start()
        b2 = self.again(b, server=self.server)
        for page, told in ((b2.history(peer=a), sent), (b2.history(room), said)):
            self.assertEqual([(m["id"], m["seq"]) for m in page["messages"]], [(t["id"], t["seq"]) for t in told],
                             "acknowledged, and nothing else")
            self.assertEqual([m["seq"] for m in page["messages"]], list(range(1, len(told) + 1)), "without gaps")

    def test_coming_back_while_full(self):
        """Whoever comes back reads, whatever the disk does: a guest's first time too, and one who would like another
        name."""
        a, b, c = self.users("Ada", "Bob", "Cid")
        room = self.channel(a, b, c)
        sent = a.tell(b, "waiting")
        for x in (a, b, c):
            x.close()
        self.fill(True)
        try:
            self.refused("unavailable", self.connect(), 1, name="New")
            for user, login in ((b, {}), (c, {"name": "Cleo"}), (c, {}), (a, {"name": "Ada"})):
                again = self.connect()
                answer = again.login(token=user.token, **login)
                self.assertEqual((answer["id"], answer["name"]), (user.id, user.name))
                again.history(room)
                if user is b:
                    self.assertEqual(answer["inbox"], 1)
                    self.assertEqual([m["id"] for m in again.request(INBOX)["messages"]], [sent["id"]])
        finally:
            self.fill(False)
        self.sends_again(self.again(a), b, "well again")
        self.assertEqual(self.connect().login(token=c.token, name="Cleo")["name"], "Cleo")

    def test_a_guest_that_came_back_while_full_stays(self):
        with Server({"limits": {"guest": 2}, "log": {"level": "info"}}) as s:
            self.server, shared = s, self.server
            try:
                a = self.user("Ada", server=s)
                a.subscribe("tea")
                a.close()
                self.fill(True)
                back = self.again(a, server=s)
                self.fill(False)
                s.wait_log("storage.recovered", 20)
                back.close()
                time.sleep(5)
                s.kill()
                s.start()
                self.assertEqual(self.again(a, server=s).request(13, name="tea")["members"][0]["id"], a.id)
            finally:
                self.server = shared

    def test_stopping_while_full(self):
        """SIGTERM ends it all the same, with status 0, and what was acknowledged is there."""
        with Server({"timeouts": {"drain": 5}}) as s:
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            sent = a.tell(b, "kept")
            resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            self.assertIn("error", a.ask(SEND_USER, receiverId=b.id, content="refused"))
            self.assertEqual(s.stop(), 0)
            s.start()
            b2 = self.again(b, server=s)
            self.assertEqual([m["id"] for m in b2.history(peer=a)["messages"]], [sent["id"]])


@embedded("the disk under RocksDB")
class SmallDisk(Test):
    """A real one, where a mount is allowed."""

    def test_small_tmpfs(self):
        folder = Server(start=False)
        data = os.path.join(folder.folder, "data")
        os.makedirs(data)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0700,size=48m", "none", data],
                          capture_output=True).returncode != 0:
            folder.discard()
            self.skipTest("no right to mount a file system")
        try:
            s = folder.start()
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            kept = [a.tell(b, "small")]
            ballast = os.path.join(data, "ballast")
            with open(ballast, "wb") as f:
                try:
                    while True:
                        f.write(b"\0" * 65536)
                        f.flush()
                except OSError:
                    pass
            text, refused = "x" * 8000, None
            for n in range(5000):  # the log's file may have space of its own left
                answer = a.ask(SEND_USER, receiverId=b.id, content=text)
                if "error" in answer:
                    refused = answer["error"]["code"]
                    break
                kept.append(answer)
            self.assertEqual(refused, "unavailable")
            self.assertEqual(b.history(peer=a, limit=1)["messages"][0]["id"], kept[-1]["id"])
            os.unlink(ballast)
            answer = self.eventually(lambda: (lambda x: x if "error" not in x
                                              else None)(a.ask(SEND_USER, receiverId=b.id, content="again",
                                                               clientId="z")), timeout=20)
            kept.append(answer)
            s.kill()
            s.start()
            b2 = self.again(b, server=s)
            messages, _ = whole_history(b2, peerId=a.id)
            self.assertEqual([m["seq"] for m in messages], list(range(1, len(messages) + 1)))
            self.assertLessEqual({(k["id"], k["seq"]) for k in kept}, {(m["id"], m["seq"]) for m in messages})
            self.assertEqual(s.stop(), 0)
        finally:
            folder.discard()
            subprocess.run(["umount", "-l", data], capture_output=True)
            shutil.rmtree(folder.folder, ignore_errors=True)


@embedded("the disk under RocksDB")
class PowerLoss(Test):
    """The power goes: a file system of its own is shut down under load without writing anything more, and mounted
    again."""

    SHUTDOWN, NOTHING_MORE = 0x8004587D, 2  # ext4's ioctl, and its way that leaves the journal unwritten
    SYNC_EVERY = 2

    def mount(self):
        return subprocess.run(["mount", "-o", "loop", self.image, self.data], capture_output=True).returncode == 0

    def cut(self, server):
        # First the process stands still: what the file system says while it goes down (that it synced, say) is heard by
        # nobody.
        server.signal(signal.SIGSTOP)
        tasks = "/proc/%d/task" % server.process.pid
        while any(open("%s/%s/stat" % (tasks, t)).read().rsplit(")", 1)[1].split()[0] not in "TD"
                  for t in os.listdir(tasks)):
            time.sleep(0.001)
        fd = os.open(self.data, os.O_RDONLY)
        fcntl.ioctl(fd, self.SHUTDOWN, struct.pack("I", self.NOTHING_MORE))
        os.close(fd)
        self.dark = time.monotonic()
        server.kill()
        subprocess.run(["umount", self.data], check=True, capture_output=True)

    def test_cuts(self):
        s = Server({"storage": {"sync_every": self.SYNC_EVERY}, "tiers": {"small": {"max": 0}, "dm": {"max": 0}},
                    "limits": {"inbox": 0}, "log": {"level": "info"}}, start=False)
        self.image, self.data = os.path.join(s.folder, "disk"), os.path.join(s.folder, "data")
        os.makedirs(self.data)
        with open(self.image, "wb") as f:
            f.truncate(256 << 20)
        mounted = False
        try:
            if not shutil.which("mkfs.ext4") or subprocess.run(["mkfs.ext4", "-q", "-F", self.image],
                                                               capture_output=True).returncode != 0 or not self.mount():
                self.skipTest("no right to mount a file system of its own")
            mounted = True
            s.start()
            ada, bob = self.user("Ada", server=s), self.user("Bob", server=s)
            room = self.channel(ada, bob)
            senders = [Sender("ada-dm", ada.token, SEND_USER, {"receiverId": bob.id}),
                       Sender("bob-room", bob.token, SEND_CHANNEL, {"channel": room})]
            chance, lost = random.Random(5), 0
            time.sleep(1)
            for n in range(CUTS):
                for x in senders:
                    x.tolerant = True
                    x.connect(s)
                for x in senders:
                    x.start()
                time.sleep(chance.uniform(0.1, 1.5) * PATIENCE)
                self.cut(s)
                mounted = False
                for x in senders:
                    x.join(60)
                    if x.trouble:
                        raise x.trouble
                senders = [x.again() for x in senders]
                if n % 2:  # then nothing but the new mount tells that something may be missing
                    for name in shared_memory(s):
                        os.unlink(name)
                self.assertTrue(self.mount())
                mounted = True
                s.start()
                a = self.again(ada, server=s)
                lost += self.check(a, bob, room, senders)
            self.assertGreater(lost, 0, "the control: without a sync before the answer something is lost, or the cuts "
                                        "are none")
            self.assertEqual(s.stop(), 0)
        finally:
            if s.process and s.process.poll() is None:
                s.process.kill()
                s.process.wait()
            if mounted:
                subprocess.run(["umount", "-l", self.data], capture_output=True)
            s.discard()

    def check(self, a, bob, room, senders):
        """Private messages: all there, no gaps. The channel: what is missing was young, and no number was given twice.
        Returns how many are missing."""
        private, public = senders
        messages, _ = whole_history(a, peerId=bob.id)
        self.assertEqual([m["seq"] for m in messages], list(range(1, len(messages) + 1)))
        there = {m["content"]: (m["id"], m["seq"]) for m in messages}
        self.assertEqual(len(there), len(messages), "doubled")
        for content, where in private.acknowledged.items():
            self.assertEqual(there.get(content), where, "an acknowledged private message")
        messages, _ = whole_history(a, channel=room)
        for key in ("seq", "id"):
            self.assertEqual([m[key] for m in messages], sorted({m[key] for m in messages}))
        there = {m["seq"]: m["content"] for m in messages}
        missing = 0
        for content, (_, seq) in public.acknowledged.items():
            if seq in there:
                self.assertEqual(there[seq], content, "a seq that was given twice")
            else:
                missing += 1
                self.assertGreater(public.times[content], self.dark - self.SYNC_EVERY - 1.5 * PATIENCE,
                                   "older than the window")
        highest = max(seq for _, seq in public.acknowledged.values())
        said = a.say(room, "after the cut")
        self.assertGreater(said["seq"], highest, "numbering goes on beyond all that was told")
        self.assertGreater(said["id"], max(i for i, _ in public.acknowledged.values()))
        # What is gone is gone for good: the next check is about what comes now.
        public.acknowledged = {c: w for c, w in public.acknowledged.items() if w[1] in there}
        return missing


@embedded("the disk under RocksDB")
class Broken(Test):
    """A disk whose fsync fails once, by strace."""

    def test_fdatasync_fails(self):
        if not shutil.which("strace"):
            self.skipTest("no strace here")
        a, b = self.users("Ada", "Bob")
        first = a.tell(b, "before")
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO",
                                   "-p", str(self.server.process.pid)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            # It takes strace a moment; from then on nothing is acknowledged.
            before = [first]
            for n in range(100):
                if tracer.poll() is not None:
                    self.skipTest("strace may not attach here")
                answer = a.ask(SEND_USER, receiverId=b.id, content="m%d" % n, clientId="d%d" % n)
                if "error" in answer:
                    self.assertEqual(answer["error"]["code"], "unavailable")
                    break
                before.append(answer)
                time.sleep(0.05)
            else:
                self.skipTest("strace does not get at fdatasync")
            self.assertGreaterEqual(len(b.history(peer=a)["messages"]), len(before))
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(30)
            tracer.stderr.close()
        again = self.eventually(lambda: (lambda x: x if "error" not in x
                                         else None)(a.ask(SEND_USER, receiverId=b.id, content="m%d" % n,
                                                          clientId="d%d" % n)), timeout=20)
        self.assertEqual(again["seq"], len(before) + 1, "no gap: nothing was lost")
        messages = b.history(peer=a, limit=200)["messages"]
        self.assertEqual([m["id"] for m in messages], [m["id"] for m in before + [again]])
