"""docs/examples/chat.py, as people run it: it loses nothing, and never shows a traceback."""

import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from base import Test, one_process, smoke
from client import Client
from console import UNIX, Console
from server import PATIENCE, ROOT, Server, free_port

CHAT = os.path.join(ROOT, "docs", "examples", "chat.py")
YOU = re.compile(r"^you are (\S+), in #", re.M)


class Talker:
    """One chat.py: type(), and wait until it has shown something."""

    def __init__(self, home, *arguments):
        self.shown = ""
        self.process = subprocess.Popen([sys.executable, CHAT, *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT,
                                        env=dict(os.environ, HOME=home, PYTHONIOENCODING="utf-8"))

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def read(self, seconds):
        """False: nothing more will come."""
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return True
        data = os.read(self.process.stdout.fileno(), 65536)
        self.shown += data.decode()
        return bool(data)

    def wait(self, text):
        end = time.monotonic() + 30 * PATIENCE
        while text not in self.shown:
            if not self.read(0.2) or time.monotonic() > end:
                raise AssertionError("never shown: %r; what was:\n%s" % (text, self.shown))
        return self

    def id(self):
        self.wait(", in #")
        return YOU.search(self.shown).group(1)

    def end(self, last=None):
        """(exit status, all it showed) after a last line, or the end of its input."""
        if last is not None:
            self.type(last)
        else:
            self.process.stdin.close()
        return self.ended()

    def ended(self):
        end = time.monotonic() + 30 * PATIENCE
        while self.read(0.2):
            if time.monotonic() > end:
                raise AssertionError("it does not end:\n" + self.shown)
        return self.process.wait(), self.shown

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        if not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass


class Proxy:
    """Stands between a client and the server's TCP port, frame by frame. on_request and on_answer get (action, body)
    and say what becomes of the frame: True: it goes on; False: it is swallowed; None: the connection is cut."""

    def __init__(self, server):
        self.server, self.on_request, self.on_answer = server, lambda *_: True, lambda *_: True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                here, _ = self.listener.accept()
                there = socket.create_connection(("127.0.0.1", self.server.tcp))
            except OSError:
                return
            threading.Thread(target=self.copy, args=(here, there, "on_request"), daemon=True).start()
            threading.Thread(target=self.copy, args=(there, here, "on_answer"), daemon=True).start()

    def copy(self, source, target, judge):
        try:
            with source.makefile("rb") as f:
                while True:
                    head = f.read(8)
                    if len(head) < 8:
                        break
                    length, action, _ = struct.unpack(">IHH", head)
                    body = f.read(length - 8)
                    verdict = getattr(self, judge)(action, body)
                    if verdict is None:
                        break
                    if verdict:
                        target.sendall(head + body)
        except OSError:
            pass
        for s in (source, target):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


@one_process("a user's token is kept by address")
class Chat(Test):
    config = UNIX

    def setUp(self):
        super().setUp()
        self.talkers = []
        self.home = os.path.join(self.server.folder, self._testMethodName)
        os.mkdir(self.home)

    def tearDown(self):
        for t in self.talkers:
            t.close()
        for t in self.talkers:
            self.assertNotIn("Traceback", t.shown)
        super().tearDown()

    def talker(self, name, *arguments, server=None, home=None):
        server = server or "localhost:%d" % self.server.tcp
        t = Talker(home or self.home, name, "--server", server, *arguments)
        self.talkers.append(t)
        return t

    def contents(self, channel, server=None):
        with Client(server or self.server) as c:
            c.login("Reader")
            c.subscribe(channel)
            return [m["content"] for m in c.history(channel, limit=200)["messages"]]

    @smoke
    def test_two_talk(self):
        for transport in ("localhost:%d" % self.server.tcp, "ws://127.0.0.1:%d/" % self.server.websocket,
                          "ws://localhost:%d" % self.server.websocket):
            with self.subTest(transport):
                home = os.path.join(self.home, re.sub(r"\W", "", transport))
                os.mkdir(home)
                ada, bob = self.talker("ada", server=transport, home=home), self.talker("bob", home=home)
                ada.id(), bob.id()
                ada.type("good day \u00fcberall")
                bob.wait("[#lobby] ada (%s): good day \u00fcberall" % ada.id())
                ada.type("@%s for you alone" % bob.id())
                bob.wait("[private] ada (%s): for you alone" % ada.id())
                bob.type("@nobody hello")
                bob.wait("not_found: ")
                bob.type("x" * 70000)
                bob.wait("that line is too long")
                bob.type("long " + "y" * 300)
                ada.wait("long " + "y" * 300)
                self.assertEqual(ada.end("/quit")[0], 0)
                self.assertEqual(bob.end()[0], 0)

    def test_the_same_user_comes_back(self):
        one = self.talker("ada")
        me = one.id()
        one.end("/quit")
        other = self.talker("bob")
        other.id()
        other.type("@%s while you were away" % me)
        self.assertEqual(other.end()[0], 0)  # what was typed is sent before it ends
        again = self.talker("ada")
        again.wait("bob (%s): while you were away" % other.id())
        self.assertEqual(again.id(), me)
        again.end("/quit")
        # It is acknowledged, and does not come again.
        third = self.talker("ada")
        third.id()
        self.assertNotIn("while you were away", third.end("/quit")[1])
        kept = os.listdir(os.path.join(self.home, ".magpie-chat"))
        self.assertEqual(sorted(kept), sorted("%s@localhost:%d" % (n, self.server.tcp) for n in ("ada", "bob")))
        for name in kept:
            self.assertEqual(os.stat(os.path.join(self.home, ".magpie-chat", name)).st_mode & 0o777, 0o600)

    def test_a_kept_token_that_is_refused(self):
        file = os.path.join(self.home, "token")
        with open(file, "w") as f:
            f.write("nonsense\n")
        t = self.talker("ada", "--token-file", file)
        t.id()
        self.assertIn("the token is refused (unauthorized: ", t.end("/quit")[1])
        self.assertNotIn("nonsense", open(file).read())
        # One that was asked for is another matter.
        status, shown = self.talker("ada", "--token", "nonsense").end()
        self.assertEqual((status, shown.count("\n")), (1, 1))
        self.assertRegex(shown, "^unauthorized: ")

    def test_nothing_is_lost_over_a_restart(self):
        ports = {"listen": {"tcp": "127.0.0.1:%d" % free_port(), "websocket": "127.0.0.1:%d" % free_port()}}
        s = Server(ports)
        try:
            ada = self.talker("ada", server="localhost:%d" % s.tcp)
            bob = self.talker("bob", server="ws://localhost:%d" % s.websocket)
            ada.id(), bob.id()
            ada.type("before")
            bob.wait("before")
            s.kill()
            ada.wait("disconnected: "), bob.wait("disconnected: ")
            for n in range(3):
                ada.type("meanwhile %d" % n)
            s.start()
            bob.wait("meanwhile 2"), ada.wait("meanwhile 2")
            s.restart()
            ada.type("afterwards")
            bob.wait("afterwards")
            self.assertEqual((ada.end()[0], bob.end()[0]), (0, 0))
            wanted = ["before", "meanwhile 0", "meanwhile 1", "meanwhile 2", "afterwards"]
            self.assertEqual(self.contents("lobby", s), wanted)
            for t in (ada, bob):
                self.assertEqual(re.findall(r"^\[#lobby\] ada \S+ (.*)$", t.shown, re.M), wanted)
            s.close()
        finally:
            s.discard()

    def test_a_line_whose_answer_is_lost_is_stored_once(self):
        proxy = Proxy(self.server)
        cut = []

        def answer(action, body):
            if action == 4 and len(cut) < 3:
                cut.append(body)
                return None
            return True

        proxy.on_answer = answer
        t = self.talker("ada", "--channel", "once", server="127.0.0.1:%d" % proxy.port)
        t.id()
        for n in range(5):
            t.type("line %d" % n)
        status, shown = t.end()
        proxy.close()
        self.assertEqual((status, len(cut)), (0, 3), shown)
        self.assertEqual(shown.count("connected again"), 3)
        self.assertEqual(self.contents("once"), ["line %d" % n for n in range(5)])

    def test_gaps_are_filled(self):
        """Pushes that never came."""
        proxy = Proxy(self.server)
        t = self.talker("ada", "--channel", "gaps", server="127.0.0.1:%d" % proxy.port)
        t.id()
        b = self.user("Bob")
        b.subscribe("gaps")
        swallowed = []

        def answer(action, body):
            if action == 102 and len(swallowed) < 4:
                swallowed.append(body)
                return False
            return True

        proxy.on_answer = answer
        for n in range(6):
            b.say("gaps", "n%d" % n)
        t.wait("n5")
        proxy.close()
        self.assertEqual(re.findall(r"\): (n\d)$", t.shown, re.M), ["n%d" % n for n in range(6)])
        self.assertEqual(len(swallowed), 4)

    def test_a_server_that_is_busy(self):
        """rate_limited: later, in order, once."""
        with Server({"rate": {"user": 3}}) as s:
            t = self.talker("ada", server="localhost:%d" % s.tcp)
            t.id()
            for n in range(8):
                t.type("n%d" % n)
            self.assertEqual(t.end()[0], 0)
            self.assertEqual(self.contents("lobby", s), ["n%d" % n for n in range(8)])

    def test_what_cannot_be(self):
        """One line that says what is wrong, and an exit status."""
        for server, status, says in (
                ("localhost:%d" % self.server.websocket, 1, "that is the port for WebSockets: --server ws://"),
                ("ws://localhost:%d" % self.server.tcp, 1, "that is no port for WebSockets"),
                ("127.0.0.1:%d" % free_port(), 1, "Connection refused"),
                ("wss://localhost:%d" % self.server.websocket, 1, "SSL"),
                ("no.such.host.invalid", 1, "no chat at tcp://no.such.host.invalid:8081"),
                ("http://localhost", 2, "http://localhost: expected HOST:PORT, ws://HOST:PORT/ or wss://HOST/"),
                ("localhost:many", 2, "localhost:many: Port"), ("localhost:99999", 2, "Port out of range"),
                ("localhost:0", 2, "expected HOST:PORT"), (":8081", 2, "expected HOST:PORT")):
            with self.subTest(server):
                got, shown = self.talker("ada", server=server).end()
                self.assertEqual(got, status, shown)
                self.assertIn(says, shown)
                if status == 1:  # usage stands before the others
                    self.assertEqual(shown.count("\n"), 1)
        for name, channel, says in (("a\nb", "lobby", "bad_request: name"), ("", "lobby", "bad_request: name"),
                                    ("ada", " x", "bad_request: name")):
            got, shown = self.talker(name, "--channel", channel).end()
            self.assertEqual(got, 1, shown)
            self.assertIn(says, shown)

    def test_servers_of_another_kind(self):
        for says in (b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\0\0\4\0\1\0\1", b"\0\0\0\x0c\0\1\0\1nope",
                     b"\0\0\0\x0a\0\1\0\1[]", b""):
            with self.subTest(says), socket.create_server(("127.0.0.1", 0)) as listener:
                t = self.talker("ada", server="127.0.0.1:%d" % listener.getsockname()[1])
                c, _ = listener.accept()
                c.recv(1000)
                c.sendall(says)
                c.close()
                status, shown = t.end()
                self.assertEqual((status, shown.count("\n")), (1, 1), shown)

    def test_the_ways_out(self):
        t = self.talker("ada")
        t.id()
        t.process.send_signal(signal.SIGINT)
        self.assertEqual(t.ended()[0], 0)
        # While it is disconnected, with something to say.
        proxy = Proxy(self.server)
        t = self.talker("ada", server="127.0.0.1:%d" % proxy.port)
        t.id()
        proxy.close()
        proxy.on_request = lambda *_: None
        t.type("lost")
        t.wait("disconnected: the server closed the connection\n")
        t.process.send_signal(signal.SIGINT)
        status, shown = t.ended()
        self.assertEqual((status, shown.split("\n")[-2]), (1, "1 lines were not sent"))
        # Nobody reads what it shows.
        t = self.talker("ada")
        t.id()
        t.process.stdout.close()
        t.type("unheard")
        self.assertEqual(t.process.wait(30 * PATIENCE), 0)
        t.process.stdout = open(os.devnull)

    def test_a_kick(self):
        """Who is kicked does not come back by itself."""
        t = self.talker("ada")
        me = t.id()
        console = Console(self.server)
        console.ask("kick user %s" % me)
        console.close()
        self.assertEqual(t.ended()[0], 1)
        self.assertRegex(t.shown, "(?m)^the server closes: kicked$")

    def test_what_else_is_pushed(self):
        """Edits, recalls, who comes and goes, announcements; and a command that does not exist goes nowhere."""
        room = ("--channel", "pushed")  # where nobody of the other tests has been
        ada = self.talker("ada", *room)
        ada.id()
        bob = self.talker("bob", *room)
        ada.wait("bob (%s): joined, 2 here" % bob.id())
        ada.type("/edit nothing yet")
        ada.wait("there is nothing of yours to edit")
        ada.type("teh")
        bob.wait("ada (%s): teh" % ada.id())
        ada.type("/edit the")
        bob.wait("[#pushed] edited: the")
        ada.type("/qiut now")
        ada.wait("there is no command /qiut")
        bob.type("@%s psst" % ada.id())
        ada.wait("[private] bob (%s): psst" % bob.id())
        bob.type("/edit pssst")
        ada.wait("[private, with %s] edited: pssst" % bob.id())
        console = Console(self.server)
        console.ask("announce tea is ready")
        for t in (ada, bob):
            t.wait("announcement: tea is ready")
        console.ask("channel pushed kick %s" % bob.id())
        bob.wait("you are: kicked, 1 here")
        ada.wait("bob (%s): kicked, 1 here" % bob.id())
        console.close()
        self.assertEqual(bob.end("/quit")[0], 0)
        ada.wait("%s is offline" % bob.id())
        self.assertEqual(self.contents("pushed"), ["the"])
        late = self.talker("late", *room)
        late.wait("ada (%s): the (edited)" % ada.id())

    def test_nothing_acts_on_the_terminal(self):
        t = self.talker("ada")
        t.id()
        b = self.user("\u202eevil")
        b.subscribe("lobby")
        b.say("lobby", "\x1b[2J\x07bell\nline")
        self.assertIn("?[2J?bell?line", t.wait("bell").shown)
        self.assertNotIn("\x1b", t.shown)
        self.assertNotIn("\u202e", t.shown)
