"""Messages to many by one system call: the option, what the log says of it, and the same promises whether sends leave
together, the option is off, or the kernel refuses."""

import re
import unittest

import test_channels
import test_merge
import test_order
import test_slow
from base import Test
from client import SEND_CHANNEL
from plugin_base import Console, check
from server import IO_URING, REFUSE, Server


CONSOLE = {"listen": {"console": "127.0.0.1:0"}}


def said(server):
    """What the log has said of it."""
    return re.findall(r"net\.io_uring .*", server.log())


@unittest.skipIf(IO_URING, "it is asked for from outside")
class Option(Test):
    @classmethod
    def setUpClass(cls):
        cls.server = None

    @classmethod
    def tearDownClass(cls):
        pass

    def works(self, server):
        """Returns how many sends have left with others."""
        users = [self.user("U%d" % n, server=server) for n in range(30)]
        name = self.channel(*users)
        users[0].say(name, "x" * 3000)
        for u in users:
            self.assertEqual(u.push(102)["content"], "x" * 3000)
        console = Console(server)

        def figures():
            return {m["name"]: m["value"] for m in console("show metrics") if "value" in m}

        # Both are told at the same tick, the bytes first.
        got = self.eventually(lambda: figures() if figures()["magpie_sent_bytes_total"] > 30 * 3000 else None)
        return got["magpie_sends_together_total"]

    def test_auto(self):
        """Either it is used, or why not is told."""
        with Server(CONSOLE) as s:
            self.assertRegex("".join(said(s)), r"^net\.io_uring used=(yes$|no because=\S)")
            used = "used=yes" in said(s)[0]
            self.assertEqual(self.works(s) > 0, used)
            self.assertEqual(len(said(s)), 1)

    def test_off(self):
        with Server(dict(CONSOLE, io_uring="off")) as s:
            self.assertEqual(self.works(s), 0)
            self.assertEqual(said(s), [])

    def test_refused(self):
        """The server says why, and works."""
        for error, words in (("EPERM", "filter of system calls"), ("ENOSYS", "kernel has none"),
                             ("EINVAL", r"Linux 6\.1"), ("ENOMEM", "locked memory")):
            with Server(CONSOLE, prefix=REFUSE + [error]) as s:
                self.assertEqual(len(said(s)), 1)
                self.assertRegex(said(s)[0], "used=no because=.*" + words)
                self.assertEqual(self.works(s), 0)
                self.assertEqual(len(said(s)), 1)

    def test_other_values(self):
        s = Server({"io_uring": "on"}, start=False)
        try:
            status, text = check(s)
            self.assertNotEqual(status, 0)
            self.assertRegex(text, r"io_uring.*\"off\".*\"auto\"")
        finally:
            s.discard()


class Kicks(Test):
    """Some of a crowd are kicked, banned and leave while it is talked to."""

    config = {"threads": 2, "listen": {"console": "127.0.0.1:0"}, "tiers": {"large": {"members": 0}}}

    def test_kicked_in_the_middle(self):
        """Each gets the messages up to the moment it goes, in order and without a gap, then the reason, and nothing
        more; the others get all."""
        console = Console(self.server)
        users = [self.user("U%d" % n, wire=("tcp", "binary", "text")[n % 3]) for n in range(90)]
        name = self.channel(*users)
        orders = ["kick user %s", "ban user %s 600 enough", "channel %s kick %%s" % name, "channel %s ban %%s" % name]
        gone = {}
        for n in range(40):
            users[0].send_all([(SEND_CHANNEL, {"channel": name, "content": "x" * 300})] * 10)
            if n % 2:
                user = users[89 - n]
                gone[user] = orders[n // 2 % 4]
                console(gone[user] % user.id)
        for user in users:
            if user not in gone:
                self.assertEqual([user.push(102)["seq"] for _ in range(400)], list(range(1, 401)))
        for user, order in gone.items():
            frames = user.drain(0.2) if order.startswith("channel") else user.rest()
            seqs = [body["seq"] for action, body in self.told(frames) if action == 102]
            self.assertEqual(seqs, list(range(1, len(seqs) + 1)), order)
            actions = [action for action, _ in self.told(frames)]
            last = 112 if order.startswith("channel") else 105
            self.assertEqual(actions[-1], last, (order, actions[-5:]))
            self.assertEqual(set(actions), {102, last} if seqs else {last})

    @staticmethod
    def told(frames):
        return [(f[0], f[2]) for f in frames]


def over(way, *classes):
    """Makes the classes run that way as well."""
    for cls in classes:
        name = "%s_%s" % (cls.__name__, way)
        globals()[name] = type(name, (cls,), {"io_uring": way, "__module__": __name__, "abstract": False,
                                              "family": cls.__name__})


over("off", Kicks, test_channels.Crowd, test_slow.Slow)
over("refused", Kicks, test_channels.Crowd, test_channels.Channels_tcp_1, test_slow.Slow, test_order.Order_tcp_4,
     test_merge.Merged_tcp_2_tls_own)
