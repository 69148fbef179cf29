"""magpie-chat, as people and scripts run it: nothing lost, nothing doubled, and no text of others does anything to the
terminal."""

import fcntl
import itertools
import os
import pty
import re
import select
import shutil
import signal
import stat
import struct
import subprocess
import termios
import time
import unittest

import certs
from base import Test, one_process, smoke
from console import UNIX, Console
from server import MAGPIED, PATIENCE, Server, free_port
from test_example_chat import Proxy

CHAT = os.path.join(os.path.dirname(MAGPIED), "magpie-chat")
YOU = re.compile(r"you are (.+) \((\S+)\); /help")
LIMIT = 30 * PATIENCE
names = itertools.count(1)


class Program:
    """One magpie-chat. Subclasses say how it is started; read() takes what it shows."""

    def __init__(self):
        self.shown = ""

    def wait(self, text, times=1):
        end = time.monotonic() + LIMIT
        while self.shown.count(text) < times:
            if not self.read(0.2) or time.monotonic() > end:
                raise AssertionError("never shown: %r; what was:\n%s" % (text, self.shown))
        return self

    def ready(self):
        self.wait("/help lists")
        return YOU.search(self.shown).group(2)

    def take(self, fd, seconds):
        """False: nothing more will come."""
        if not select.select([fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(fd, 65536)
        except OSError:  # the other side of a terminal is gone
            return False
        self.shown += data.decode()
        return bool(data)

    def ended(self):
        """The exit status."""
        end = time.monotonic() + LIMIT
        while self.read(0.2):
            if time.monotonic() > end:
                raise AssertionError("it does not end:\n" + self.shown)
        return self.process.wait(LIMIT)


class Lines(Program):
    """Lines in and lines out, as scripts have it."""

    def __init__(self, home, *arguments):
        super().__init__()
        self.process = subprocess.Popen([CHAT, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=dict(os.environ, XDG_STATE_HOME=home))

    def read(self, seconds):
        return self.take(self.process.stdout.fileno(), seconds)

    def type(self, *lines):
        for line in lines:
            self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def end(self, *lines):
        self.type(*lines)
        self.process.stdin.close()
        return self.ended()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        try:
            self.process.stdin.close()
        except OSError:
            pass


class Terminal(Program):
    """At a terminal."""

    def __init__(self, home, *arguments, columns=80, term="xterm"):
        super().__init__()
        self.master, self.slave = pty.openpty()
        self.resize(columns)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen([CHAT, *arguments], stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                        preexec_fn=self.own_terminal,
                                        env=dict(os.environ, XDG_STATE_HOME=home, TERM=term, LC_ALL="C.UTF-8"))

    @staticmethod
    def own_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def read(self, seconds):
        alive = self.process.poll() is None
        at = len(self.shown)
        return self.take(self.master, seconds) and (alive or len(self.shown) > at)

    def type(self, text):
        os.write(self.master, text.encode())

    def resize(self, columns, rows=24):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@one_process("a user's token is kept by address")
class ChatTest(Test):
    abstract = True
    config = UNIX

    def setUp(self):
        super().setUp()
        self.programs = []
        self.home = os.path.join(self.server.folder, self._testMethodName)
        self.lobby = "l%d" % next(names)
        os.mkdir(self.home)

    def tearDown(self):
        for p in self.programs:
            p.close()
        super().tearDown()

    def chat(self, name="Bob", *arguments, kind=Lines, port=None, **options):
        p = kind(self.home, "-s", "localhost:%d" % (port or self.server.tcp), "-c", self.lobby, name, *arguments,
                 **options)
        self.programs.append(p)
        return p

    def here(self, name="Ada"):
        """Another user of the channel."""
        a = self.user(name)
        a.subscribe(self.lobby)
        return a


@one_process("a user's token is kept by address")
class ChatLines(ChatTest):
    """magpie-chat in scripts."""

    abstract = False

    @smoke
    def test_each_line_is_a_message(self):
        a = self.here()
        p = self.chat()
        self.assertEqual(p.end("one", "tw\u00f6", "", "//three"), 0, p.shown)
        contents = [m["content"] for m in a.history(self.lobby)["messages"]]
        self.assertEqual(contents, ["one", "tw\u00f6", "/three"])
        self.assertRegex(p.shown, r"\[#%s\] Bob \(\S+\): tw\u00f6\n" % self.lobby)

    def test_commands(self):
        a = self.here()
        p = self.chat()
        p.type("/names")
        p.wait("2 in #" + self.lobby)
        status = p.end("/msg ada psst", "/frob", "/nmaes", "/list", "/join tea %s" % self.lobby, "first",
                       "/edit second", "/history", "/recall", "/history", "/me waves", "/switch #" + self.lobby, "here",
                       "/leave", "nowhere", "/help")
        self.assertEqual(status, 1)  # for some could not be done
        self.assertEqual(a.push(101)["content"], "psst")
        for text in ("there is no command /frob;", "did you mean /names", "Ada (%s)" % a.id, "> #%s\n" % self.lobby,
                     "now says: second", "was recalled", "#1 [#tea %s] Bob" % self.lobby, "* Bob waves",
                     "you have left #" + self.lobby, "you are nowhere", "/switch WHERE"):
            self.assertIn(text, p.shown)
        self.assertEqual([m["content"] for m in a.history(self.lobby)["messages"]], ["here"])

    def test_history_in_pages(self):
        a = self.here()
        for i in range(1, 31):
            a.say(self.lobby, "m%d." % i)
        p = self.chat()
        p.end("/history 10", "/history", "/history 30", "/history")
        for i in range(1, 31):
            self.assertEqual(p.shown.count(": m%d." % i), 1, p.shown)
        self.assertLess(p.shown.index(": m30."), p.shown.index(": m20."))
        self.assertIn("there is nothing older", p.shown)

    def test_the_same_user_the_next_time(self):
        first, second = self.chat(), None
        id = first.ready()
        self.assertEqual(first.end(), 0)
        folder = os.path.join(self.home, "magpie-chat")
        file, = os.listdir(folder)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(folder, file)).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o700)
        second = self.chat()
        self.assertEqual(second.ready(), id)
        self.assertNotEqual(self.chat("Bob", "--new").ready(), id)
        other = self.chat("../Eve")
        other.ready()
        self.assertEqual(len(os.listdir(folder)), 2)
        path = os.path.join(folder, file)
        with open(path, "w") as f:
            f.write("nonsense\n")
        third = self.chat()
        self.assertNotEqual(third.ready(), id)
        self.assertIn("the kept token is refused", third.shown)

    def test_every_end_is_a_sentence(self):
        gone = free_port()
        wrong = [(("-s", "localhost:%d" % gone, "x"), 1, "no chat at localhost:%d: Connection refused" % gone),
                 (("-s", "nonsense", "x"), 1, "expected HOST:PORT"), (("-s", "http://h/", "x"), 1, "expected ws://"),
                 (("--frob", "x"), 2, "--help tells"), (("a", "b"), 2, "one name"), (("",), 2, "say who you are"),
                 (("-s", "localhost:%d" % self.server.tcp, "x" * 65), 1, "the login is refused: name"),
                 (("-s", "localhost:%d" % self.server.tcp, b"\xff"), 1, "no UTF-8"),
                 (("-s", "localhost:%d" % self.server.websocket, "x"), 1, "no chat at"),
                 (("--cacert", "/nonexistent", "x"), 1, "/nonexistent: ")]
        for arguments, status, text in wrong:
            with self.subTest(arguments):
                r = subprocess.run([CHAT, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT,
                                   env=dict(os.environ, XDG_STATE_HOME=self.home))
                self.assertEqual(r.returncode, status, r.stderr)
                self.assertIn(text, r.stderr.decode(errors="replace"))

    def test_websocket_and_tls(self):
        with Server({"tls": {}}) as s:
            a = self.user("Ada", server=s)
            a.subscribe("lobby")
            for address in ("ws://localhost:%d/" % s.websocket, "tcps://localhost:%d" % s.tcps,
                            "wss://localhost:%d/x" % s.wss):
                p = Lines(self.home, "-s", address, "--cacert", certs.authority()[0], "Bob")
                self.programs.append(p)
                self.assertEqual(p.end("by " + address), 0, p.shown)
                self.assertEqual(a.push(102)["content"], "by " + address)
            p = Lines(self.home, "-s", "tcps://localhost:%d" % s.tcps, "--cacert", certs.authority("stranger")[0],
                      "Bob")
            self.programs.append(p)
            self.assertEqual(p.end(), 1)
            self.assertIn("certificate", p.shown)

    def test_an_answer_that_is_lost(self):
        """The line is sent again, and stored once."""
        a, proxy, cuts = self.here(), Proxy(self.server), []
        self.addCleanup(proxy.close)

        def on_answer(action, body):
            if action == 4 and len(cuts) < 2:
                cuts.append(1)
                return None
            return True

        proxy.on_answer = on_answer
        p = self.chat(port=proxy.port)
        self.assertEqual(p.end("once", "twice"), 0, p.shown)
        self.assertEqual(len(cuts), 2)
        self.assertEqual([m["content"] for m in a.history(self.lobby)["messages"]], ["once", "twice"])
        self.assertIn("disconnected: ", p.shown)
        self.assertEqual(p.shown.count(": once\n"), 1)

    def test_a_gap_is_filled(self):
        a, proxy, swallowed = self.here(), Proxy(self.server), []
        self.addCleanup(proxy.close)

        def on_answer(action, body):
            if action == 102 and b"lost" in body:
                swallowed.append(1)
                return False
            return True

        proxy.on_answer = on_answer
        p = self.chat(port=proxy.port)
        p.ready()
        for content in ("first.", "lost 1.", "lost 2.", "after.", "last."):
            a.say(self.lobby, content)
        p.wait(": last.")
        self.assertEqual(len(swallowed), 2)
        self.assertEqual(re.findall(r": (.*)\.\n", p.shown), ["first", "lost 1", "lost 2", "after", "last"])

    def test_the_server_comes_back(self):
        """What was said meanwhile is fetched, what was typed meanwhile is stored once."""
        config = {"listen": {"tcp": "127.0.0.1:%d" % free_port()}}
        with Server(config) as s:
            a = self.user("Ada", server=s)
            a.subscribe(self.lobby)
            p = self.chat(port=s.tcp)
            id = p.ready()
            a.say(self.lobby, "before")
            p.wait(": before")
            s.kill()
            p.wait("disconnected: ")
            p.type("meanwhile")
            s.launch()
            a = self.again(a, server=s)
            a.say(self.lobby, "missed")
            a.tell(id, "in the inbox")
            p.wait("connected again").wait(": missed").wait(": in the inbox").wait(": meanwhile")
            self.assertEqual(p.end("after"), 0)
            for text in ("before", "missed", "in the inbox", "meanwhile", "after"):
                self.assertEqual(p.shown.count(": %s\n" % text), 1, p.shown)

    def test_private_messages(self):
        """Those of an absence are shown when it ends, and are shown no more."""
        a = self.here()
        p = self.chat()
        id = p.ready()
        p.end()
        for i in range(5):
            a.tell(id, "secret %d." % i)
        p = self.chat()
        p.wait("secret 4.")
        a.tell(id, "live.")
        p.wait("live.")
        self.assertEqual(p.end("/msg %s back" % a.id), 0, p.shown)
        self.assertEqual(a.push(101)["content"], "back")
        self.assertEqual(re.findall(r"\[@Ada\] Ada \(%s\): (.*)\." % a.id, p.shown),
                         ["secret %d" % i for i in range(5)] + ["live"])
        p = self.chat()
        p.ready()
        p.end()
        self.assertNotIn("secret", p.shown)

    def test_names_that_several_have(self):
        a, b = self.here("Twin"), self.here("Twin")
        p = self.chat()
        p.type("/names")
        p.wait("3 in #")
        self.assertEqual(p.end("/msg twin hi", "/msg %s for b" % b.id, "/msg No\u00e9l hi"), 1)
        self.assertIn("2 here are called twin", p.shown)
        self.assertIn(a.id, p.shown)
        self.assertIn("nobody here is known by that name", p.shown)
        self.assertEqual(b.push(101)["content"], "for b")

    def test_what_else_is_pushed(self):
        a = self.here()
        p = self.chat()
        id = p.ready()
        seq = a.say(self.lobby, "txt")["seq"]
        p.wait(": txt")
        a.request(17, channel=self.lobby, seq=seq, content="text")
        p.wait("message #%d in #%s now says: text" % (seq, self.lobby))
        a.request(14, channel=self.lobby, seq=seq)
        p.wait("was recalled")
        b = self.here("Grace")
        p.wait("Grace has joined #%s (3 here)" % self.lobby)
        b.request(6, name=self.lobby)
        p.wait("Grace has left")
        console = Console(self.server)
        self.addCleanup(console.close)
        console.ask("announce tea is ready")
        p.wait("announcement: tea is ready")
        console.ask("kick user %s enough of this" % id)
        self.assertEqual(p.ended(), 1)
        self.assertIn("the server closes the connection: kicked", p.shown)

    def test_texts_do_nothing_to_a_terminal(self):
        a = self.user("Eve\u202e")
        a.subscribe(self.lobby)
        p = self.chat()
        p.ready()
        a.say(self.lobby, "\x1b]0;title\x07\x1b[2J\rBob: fake\nBob: fake too\x9b1m")
        p.wait("fake too")
        self.assertIn("Eve<U+202E> (%s): ^[]0;title^G^[[2J^MBob: fake^JBob: fake too<U+009B>1m\n" % a.id, p.shown)
        self.assertFalse(set(p.shown) & set("\x1b\x07\r\x9b\u202e"))

    def test_a_line_that_is_too_long(self):
        a = self.here()
        p = self.chat()
        self.assertEqual(p.end("x" * 200000, "after"), 1)
        self.assertIn("not sent: the line is too long", p.shown)
        self.assertEqual([m["content"] for m in a.history(self.lobby)["messages"]], ["after"])

    def test_signals(self):
        for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            p = self.chat()
            p.ready()
            p.process.send_signal(number)
            self.assertEqual(p.ended(), status)


@one_process("a user's token is kept by address")
class ChatTerminal(ChatTest):
    """magpie-chat at a terminal."""

    abstract = False

    @smoke
    def test_the_line_that_is_typed_stays(self):
        a = self.here()
        p = self.chat(kind=Terminal)
        p.wait("#%s> " % self.lobby)
        p.type("half a ")
        p.wait("half a ")
        a.say(self.lobby, "in between")
        p.wait("Ada: in between")
        p.wait("half a ", 2)  # drawn again, behind it
        p.type("line\r")
        self.assertEqual(a.push(102)["content"], "in between")
        self.assertEqual(a.push(102)["content"], "half a line")
        p.wait("Bob: half a line")
        p.type("/quit\r")
        self.assertEqual(p.ended(), 0)
        self.assertEqual(termios.tcgetattr(p.slave), p.before)

    def test_interrupts(self):
        a = self.here()
        for keys in ("\x03", "\x04"):
            p = self.chat(kind=Terminal)
            p.wait("#%s> " % self.lobby)
            p.type("given up")
            p.wait("given up")
            before = len(p.shown)
            p.type("\x03")
            while len(p.shown) == before:  # the terminal throws away what comes before the signal is served
                self.assertTrue(p.read(LIMIT))
            p.type("said\r")
            self.assertEqual(a.push(102)["content"], "said")
            p.wait("Bob: said")
            p.type(keys)
            self.assertEqual(p.ended(), 0)
            self.assertEqual(termios.tcgetattr(p.slave), p.before)
        p = self.chat(kind=Terminal)
        p.wait("#%s> " % self.lobby)
        p.process.send_signal(signal.SIGTERM)
        self.assertEqual(p.ended(), 143)
        self.assertEqual(termios.tcgetattr(p.slave), p.before)

    def test_resize(self):
        a = self.here()
        p = self.chat(kind=Terminal)
        p.wait("#%s> " % self.lobby)
        p.type("typed " * 12)
        for columns in (20, 120, 3, 40):
            p.resize(columns)
            p.process.send_signal(signal.SIGWINCH)
            a.say(self.lobby, "at %d columns" % columns)
            a.push(102)
        p.wait("Ada: at 40 columns")
        p.type("end\r")
        self.assertEqual(a.push(102)["content"], "typed " * 12 + "end")

    def test_a_terminal_that_knows_nothing(self):
        a = self.here()
        p = self.chat(kind=Terminal, term="dumb")
        p.wait("#%s> " % self.lobby)
        a.say(self.lobby, "hi")
        p.wait("Ada: hi")
        p.type("hello\r")
        self.assertEqual(a.push(102)["content"], "hi")
        self.assertEqual(a.push(102)["content"], "hello")

    def test_unread_elsewhere(self):
        a = self.here()
        other = self.channel(a)
        p = self.chat("Bob", "-c", other, kind=Terminal)
        p.wait("#%s> " % self.lobby)
        for i in range(3):
            a.say(other, "elsewhere %d" % i)
        p.wait("#%s (+3)> " % self.lobby)
        self.assertNotIn("elsewhere", p.shown)
        p.type("/switch %s\r" % other)
        p.wait("elsewhere 2")
        p.wait("#%s> " % other)
        a.tell(YOU.search(p.shown).group(2), "psst")
        p.wait("[@Ada] Ada: psst")
        p.type("/msg ada\r")
        p.wait("Ada is online").wait("@Ada> ")
        a.close()
        p.wait("Ada is offline")


@unittest.skipUnless(shutil.which("tmux"), "no tmux")
@one_process("a user's token is kept by address")
class ChatTmux(ChatTest):
    """magpie-chat in tmux: what really stands on the screen."""

    abstract = False

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-S", os.path.join(self.home, "tmux"), "-f", "/dev/null", *arguments],
                              check=True, capture_output=True, text=True, timeout=LIMIT).stdout

    def start(self, columns=60):
        self.tmux("new-session", "-d", "-x", str(columns), "-y", "20", "-s", "chat",
                  "LC_ALL=C.UTF-8 XDG_STATE_HOME='%s' '%s' -s localhost:%d -c %s Bob; echo ended: $?; exec sleep 60"
                  % (self.home, CHAT, self.server.tcp, self.lobby))
        self.addCleanup(self.tmux, "kill-server")

    def screen(self):
        return [line.rstrip() for line in self.tmux("capture-pane", "-p", "-t", "chat").rstrip().split("\n")]

    def keys(self, text, *more):
        self.tmux("send-keys", "-t", "chat", "-l", text)
        if more:
            self.tmux("send-keys", "-t", "chat", *more)

    def until(self, *wanted):
        """The screen ends with these lines, times apart."""
        def ends():
            lines = [re.sub(r"^\d\d:\d\d ", "", line) for line in self.screen()]
            self.last = lines
            return lines[-len(wanted):] == list(wanted)
        try:
            self.eventually(ends, every=0.2)
        except AssertionError:
            self.fail("expected %s at the end of\n%s" % (wanted, "\n".join(self.last)))

    def test_a_conversation(self):
        a = self.here()
        prompt = "#%s>" % self.lobby
        self.start()
        self.until("-- you are in #" + self.lobby, prompt)
        typed = "a line that is so long that it goes on in the next row of it all"
        self.keys(typed)
        first = prompt + " " + typed
        self.until(first[:60].rstrip(), first[60:])
        a.say(self.lobby, "hello \u65e5\u672c, with words enough that it is broken between two of them\nBob: fake")
        message = ["Ada: hello \u65e5\u672c, with words enough that it is broken", "      between two of them",
                   "      Bob: fake"]
        self.until(*message, first[:60].rstrip(), first[60:])
        self.keys("!", "Enter")
        sent = ["Bob: a line that is so long that it goes on in the", "      next row of it all!"]
        self.until(*message, *sent, prompt)
        self.keys("/quit", "Enter")
        self.until("ended: 0")

    def test_another_size(self):
        a = self.here()
        prompt = "#%s>" % self.lobby
        self.start()
        self.until("-- you are in #" + self.lobby, prompt)
        self.keys("stays")
        self.until(prompt + " stays")
        self.tmux("resize-window", "-t", "chat", "-x", "40", "-y", "10")
        a.say(self.lobby, "one two three four five six seven eight")
        self.until("Ada: one two three four five six", "      seven eight", prompt + " stays")
