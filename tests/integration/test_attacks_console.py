"""Attacks on the console: by web pages, by guessing, by lines of every wrong kind, and by what users are called and
say."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

from base import Test, one_process
from client import PING
from server import CLUSTER, MAGPIED, PATIENCE, Server, free_port
from wire import Closed, Refused, Stream, WsWire


def soon(seconds=20):
    return time.monotonic() + seconds * PATIENCE


class Console:
    """A connection to the console: ask(line) → (status line, body)."""

    def __init__(self, address):
        self.stream = Stream(address)

    def write(self, data):
        self.stream.write(data)

    def line(self):
        while b"\n" not in self.stream.buffer:
            self.stream.fill(len(self.stream.buffer) + 1, soon())
        return self.stream.take(self.stream.buffer.index(b"\n") + 1, soon())[:-1].decode()

    def reply(self):
        """(status line, body lines), dots taken away."""
        status, body = self.line(), []
        while True:
            line = self.line()
            if line == ".":
                return status, body
            body.append(line[1:] if line.startswith(".") else line)

    def ask(self, line):
        self.write((line if isinstance(line, bytes) else line.encode()) + b"\n")
        return self.reply()

    def json(self, line):
        status, body = self.ask("json " + line)
        return status, json.loads("\n".join(body))

    def rest(self):
        """Everything until the server closes."""
        try:
            while True:
                self.stream.fill(len(self.stream.buffer) + 1, soon())
        except Closed:
            return bytes(self.stream.buffer)

    def close(self):
        self.stream.close()


@one_process("what one console takes")
class WithConsole(Test):
    abstract = True
    password = None

    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        cls.server = Server(cls.config, start=False)
        cls.path = os.path.join(cls.server.folder, "console")
        over = {"listen": {"console": ["127.0.0.1:%d" % cls.port, "unix:" + cls.path]},
                "console": {"password": cls.password}}
        cls.server.config = dict(cls.server.config, **over)
        cls.server.start()

    def console(self, address=None):
        c = Console(address or self.path)
        self.addCleanup(c.close)
        return c


class Lines(WithConsole):
    abstract = False

    def alive(self, c=None):
        self.assertEqual((c or self.console()).ask("version")[0], "OK")

    def test_a_web_page(self):
        """A form or fetch() posts commands: none is carried out, nothing is answered."""
        a = self.user("Ada")
        body = "\r\nkick user %s\r\nshutdown\r\nannounce pwned\r\n" % a.id
        for head in ("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n" %
                     len(body), "GET /shutdown HTTP/1.1\r\n", "OPTIONS / HTTP/1.1\r\nHost: x\r\n",
                     "PUT /x HTTP/1.1\n", "HEAD / HTTP/1.0\r\n", "X-ANY-METHOD /announce%20x HTTP/1.1\r\n",
                     "post / http/1.1\r\n", "POST  /  HTTP/1.1\r\n", "GET http://127.0.0.1/ HTTP/1.1\r\n"):
            with self.subTest(head=head[:20]):
                c = self.console(("127.0.0.1", self.port))
                c.write((head + "\r\n" + body).encode())
                self.assertEqual(c.rest(), b"")
        a.quiet(106)
        a.request(PING)
        self.assertIn("console.http", self.server.log())

    def test_a_web_page_slowly(self):
        """The head in small pieces is still a head."""
        c = self.console(("127.0.0.1", self.port))
        for piece in ("PO", "ST / HT", "TP/1.1\r", "\nshut", "down\r\n"):
            try:
                c.write(piece.encode())
            except Closed:
                break
            time.sleep(0.02)
        self.assertEqual(c.rest(), b"")
        self.alive()

    def test_lines_behind_a_binary_one(self):
        """A TLS hello holds bytes that others have chosen, a session ticket for one: none of them is an order."""
        a = self.user("Ada")
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(11, 43)) + b"\x20"
        orders = b"\r\nannounce pwned\r\nkick user " + a.id.encode() + b"\r\nshutdown\r\n"
        for first in (hello, b"\x80\x2e\x01\x00\x02", b"\x00\x00\x00\x2a\x00\x01", b"\xff\xfd\x03", b"version\x00",
                      b"\xc3", b"\x1b[A", b"\x7f", b"\n\n\x01"):
            for pieces in ((first + orders,), (first[:3], first[3:] + b"\n", orders)):
                with self.subTest(first=first[:8], pieces=len(pieces)):
                    c = self.console(("127.0.0.1", self.port))
                    try:
                        for piece in pieces:
                            c.write(piece)
                            time.sleep(0.01)
                    except Closed:
                        pass
                    self.assertRegex(c.rest(), rb"^(ERR bad_request the first line is no text[^\n]*\n\.\n)?$")
        c = self.console(("127.0.0.1", self.port))
        c.write(b"\r\n\r\nPOST / HTTP/1.1\r\n\r\nannounce pwned\r\n")
        self.assertEqual(c.rest(), b"")
        a.quiet(106)
        a.request(PING)
        self.assertIn("console.binary", self.server.log())

    def test_idle_connections_keep_nobody_out(self):
        """However many are open: the one that was silent for longest makes room, and none that is at work."""
        at_work = self.console()
        self.assertEqual(at_work.ask("trace user nobody on")[0], "OK")
        idle = [self.console(("127.0.0.1", self.port)) for _ in range(100)]
        for _ in range(5):
            self.alive()
        said = idle[0].rest()
        self.assertIn(b"ERR quota ", said)
        self.alive(idle[-1])
        self.assertEqual(at_work.ask("trace user nobody off")[0], "OK")
        self.assertIn("console.yielded", self.server.log())
        for c in idle:
            c.close()

    def test_lines_of_every_wrong_kind(self):
        c = self.console()
        self.alive(c)  # where the first line is no text, nothing behind it is looked at
        for line in (b"\x00", b"\x00\x00\x00", b"version\x00", b"\x00version", b"\x00\r", b"\xff\xfe", b"\x1b[2J",
                     b"version \x07", b'"', b'"\\', b'"\\u12', b'"\\ud800"', b'"\\x"', b'kick "user', b'a"b',
                     b"\xc3", b"json", b"json json", b"json json version", b'""', b'json ""', b"kick", b"kick user",
                     b"show", b"channel", b"channel x", b"list", b"list everything", b"x" * 60000,
                     b'"' + b"x" * 60000 + b'"', b"a " * 30000, b"%n%s%n%s", b"." * 100, b"..", b".", b"\x7f",
                     "é".encode() * 1000, b"x" * 63 + "é".encode(), b"log", b"log loud", b"set", b"set x", b"set x y",
                     b"set listen.tcp x", b"show config nothing.at.all", b"ban ip 999.1.1.1", b"ban user",
                     b"ban user " + b"x" * 65, b"ban ip 1.2.3.4/33", b"ban user x -5", b"ban user x 1e99",
                     b"list users limit x", b"list users limit -1", b"list users limit 99999999999999999999",
                     b"kick connection 99999999999999999999", b"kick connection x", b"history channel",
                     b"history user a", b"history user a b limit 0", b"show channel nowhere", b"show user nobody",
                     b"show connection 1:2:3", b"send user nobody x", b"send channel nowhere x",
                     b"channel nowhere members", b"channel x limit -1", b"channel x tier y", b"channel x push y",
                     b"plugin load ../../x", b"plugin load /etc/passwd", b"plugin unload x", b"plugin info x",
                     b"script enable x", b"storage checkpoint /proc/x", b"storage checkpoint ../../../../proc/1/x",
                     b"drain x", b"drain -1", b"auth", b"auth x y", b"help nothing"):
            with self.subTest(line=line[:40]):
                status, body = c.ask(line)
                self.assertRegex(status, r"^ERR [a-z_]+ .{3,}")
                self.assertFalse(any(ord(x) < 32 or 126 < ord(x) < 160 for x in status + "".join(body)), status)
                if not line.startswith(b"json") and b"\x00" not in line:
                    c.write(b"json " + line + b"\n")
                    status, body = c.reply()
                    self.assertTrue(status.startswith("ERR "), status)
        self.alive(c)

    def test_errors_in_json_are_json(self):
        c = self.console()
        for line in ("bogus", "x" * 63 + "é", "bogus \"\\n\"", "kick", "show user nobody", "\"\\u001b[2J\"",
                     "\"\\u202e\""):
            status, body = c.json(line)
            self.assertTrue(status.startswith("ERR "))
            self.assertEqual(body["error"]["code"], status.split()[1])

    def test_a_line_without_end(self):
        c = self.console()
        try:
            for _ in range(200):
                c.write(b"x" * 1000)
        except Closed:
            pass
        self.assertIn(b"ERR too_large", c.rest() or b"ERR too_large")
        self.alive()

    def test_half_a_line_and_the_end(self):
        a = self.user("Ada")
        c = self.console()
        c.write(b"kick user %s" % a.id.encode())
        c.stream.socket.shutdown(socket.SHUT_WR)
        c.rest()
        a.request(PING)

    def test_a_line_byte_by_byte(self):
        c = self.console()
        for byte in b"json version\r\n":
            c.write(bytes([byte]))
        self.assertEqual(c.reply()[0], "OK")

    def test_thousands_of_commands_at_once(self):
        c = self.console()
        c.write(b"version\nbogus\n\n" * 2000)
        for _ in range(2000):
            self.assertEqual(c.reply()[0], "OK")
            self.assertTrue(c.reply()[0].startswith("ERR bad_request"))

    def test_answers_unread(self):
        """An operator that does not read holds up neither the others nor the server."""
        c = self.console()
        c.stream.socket.setblocking(False)
        sent, end = 0, time.monotonic() + 1
        while sent < 4 << 20 and time.monotonic() < end:
            try:
                sent += c.stream.socket.send(b"help\n" * 1000)
            except BlockingIOError:
                time.sleep(0.01)
        self.alive()
        a, b = self.users("Ada", "Bob")
        a.tell(b, "x")

    def test_a_crowd_of_operators(self):
        crowd = []
        for _ in range(200):
            try:
                crowd.append(self.console())
            except OSError:
                break
        a, b = self.users("Ada", "Bob")
        a.tell(b, "x")
        for c in crowd:
            c.close()
        self.eventually(lambda: self.can_ask())

    def can_ask(self):
        c = Console(self.path)
        try:
            return c.ask("version")[0] == "OK"
        except (Closed, OSError):
            return False
        finally:
            c.close()

    def ctl(self, *arguments, stdin=""):
        """(exit status, output, errors) of magpiectl."""
        program = os.path.join(os.path.dirname(MAGPIED), "magpiectl")
        got = subprocess.run([program, "-s", "unix:" + self.path] + list(arguments), input=stdin.encode(),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20 * PATIENCE)
        return got.returncode, got.stdout.decode(), got.stderr.decode()

    def test_commands_through_magpiectl(self):
        """One call is one command: nothing that a caller's variable holds makes it two, or none that is waited for."""
        a = self.user("Ada")
        for arguments in (("version\nkick user " + a.id,), ("version\r\nkick user " + a.id,), ("",), (" ",), ("\t",),
                          ("announce " + "x" * 70000,), ("\n",)):
            status, out, why = self.ctl(*arguments)
            self.assertEqual((status, out), (2, ""))
            self.assertRegex(why, "^magpiectl: .{5,}\n$")
        for arguments in (("bogus",), ("json",), ("announce",), ("kick", "user", "nobody\nversion"),
                          ("kick user \xff",)):
            status, out, why = self.ctl(*arguments)
            self.assertEqual((status, out), (1, ""))
            self.assertRegex(why, "^magpiectl: [a-z_]+ .{5,}\n$")
        self.assertEqual(self.ctl("announce", "a\nkick user " + a.id, '"\\')[0], 0)
        self.assertEqual(a.push(106)["content"], "a\nkick user %s \"\\" % a.id)
        self.assertEqual(self.ctl(stdin="\n\nversion\n  \nversion")[1].count("magpied"), 2)
        a.request(PING)

    def test_the_socket_is_the_owner_s(self):
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)


class Anything(WithConsole):
    """Every command of `help`, with arguments of every kind, while people talk."""

    abstract = False
    config = {"plugins": {"load": {"echo": {}, "metrics": {}}}, "log": {"level": "info"}}
    LEFT_OUT = ("shutdown", "drain", "quit", "auth", "storage compact", "top")

    def test_at_random(self):
        chance = random.Random(20200101)
        c = self.console()
        _, lines = c.ask("help")
        names = [n for n in (re.match(r"[a-z]+(?: [a-z|]+)?", line).group(0) for line in lines)
                 if n not in self.LEFT_OUT]
        self.assertGreater(len(names), 30)
        people = [self.user("P%d" % n, wire=("tcp", "binary", "text")[n % 3]) for n in range(6)]
        for u in people:
            u.subscribe("room")
        words = [u.id for u in people] + ["room", "elsewhere", "nobody", "0", "1", "5", "-1", "3600", "x", "*", '""',
                                          '"a b"', '"\\u202e"', "127.0.0.9", "10.0.0.0/8", "::1", "limit", "members",
                                          "tier", "large",
                                          "small", "auto", "push", "merged", "none", "all", "kick", "ban", "unban",
                                          "close", "open", "on", "off", "rate.user", "limits.frame", "push.slice_ms",
                                          "64*KiB", "echo", "metrics",
                                          "ratelimit", "merge_push", "revoke", "user", "channel", "connection", "info",
                                          "debug", "1:1", "0000000000000000001", "é", "accept", "99999999999999999999"]
        refused = 0
        for n in range(1500):
            name = chance.choice(chance.choice(names).split("|")) if chance.random() < 0.05 else chance.choice(names)
            line = " ".join([name] + [chance.choice(words) for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 4)))])
            if line.startswith(self.LEFT_OUT) or line.startswith("storage checkpoint"):
                continue
            json_too = chance.random() < 0.3
            c.write(("json " if json_too else "").encode() + line.encode() + b"\n")
            status = self.reply_beside_events(c)
            self.assertRegex(status, "^(OK|ERR [a-z_]+ .+)$", line)
            refused += status != "OK"
            # People go on as far as they are let.
            u = chance.choice(people)
            try:
                u.send(chance.choice((3,)), name="room")
                u.send(4, channel="room", content="x")
                u.send(2, receiverId=chance.choice(people).id, content="y")
                if n % 20 == 0:
                    u.drain(0.001)
            except (Closed, OSError):
                people[people.index(u)] = self.user("again", wire=chance.choice(("tcp", "binary")))
        self.assertLess(refused, 1400)
        for line in ("channel room open", "unban ip 127.0.0.1", "unban ip 10.0.0.0/8", "config reload",
                     "script enable ratelimit", "script enable merge_push"):
            c.write(line.encode() + b"\n")
            self.reply_beside_events(c)
        a, b = self.users("Ada", "Bob")
        a.tell(b, "all is well")
        self.assertEqual(b.push(101)["content"], "all is well")

    def reply_beside_events(self, c):
        """The next reply's status line; traced frames ("* …") stand between replies."""
        status = c.line()
        while status.startswith("* "):
            status = c.line()
        while c.line() != ".":
            pass
        return status


class Said(WithConsole):
    """Names and contents made to look like replies, or to act on a terminal."""

    abstract = False
    NAMES = [".", "..", "OK", "ERR x", "x\u202ey", "x\u2028y", "x\u200by", "\ufeffx", "a  b", '"', "\\", "a\\nb",
             "name: admin", "|", "\u061cx", "👩‍👩‍👧", "\U000e0041x", "'; rm -rf"]
    SAID = [".", "a\n.\nOK\nx", "\x1b[2J\x1b]0;pwned\x07", "\r\n.\r\n", "\u009b31m", "a\u202eb", "\n\n\n", ".\n.\n",
            "\b\b\b", "\t", "x" * 5000, "line\u2028line"]

    def safe(self, status, body):
        text = "\n".join([status] + body)
        self.assertFalse([hex(ord(c)) for c in text if c != "\n"
                          and (ord(c) < 32 or 126 < ord(c) < 160 or ord(c) in (0x202E, 0x2028, 0x200B, 0xFEFF, 0x61C,
                                                                               0xE0041))])

    def test_everywhere(self):
        c, a, users = self.console(), self.user("Ada"), []
        for name in self.NAMES:
            u = self.user(name)
            users.append(u)
            u.subscribe(name)
            for text in self.SAID:
                u.say(name, text)
                u.tell(a, text)
        lines = ["list users", "list channels", "list connections", "list users limit 3", "list slow", "show metrics",
                 "list bans"]
        for name, u in zip(self.NAMES, users):
            quoted = json.dumps(name)
            lines += ["show user " + u.id, "show channel " + quoted, "history channel %s limit 200" % quoted,
                      "history user %s %s" % (u.id, a.id), "channel %s members" % quoted, "list users " + quoted]
        for line in lines:
            with self.subTest(line=line):
                status, body = c.ask(line)
                self.assertEqual(status, "OK", body)
                self.safe(status, body)
                status, value = c.json(line)
                self.assertEqual(status, "OK")
        # Nothing was lost on the way: JSON gives back what they are called and what they said.
        names = {x["name"] for x in c.json("list users")[1]}
        self.assertTrue(set(self.NAMES) <= names, set(self.NAMES) - names)
        history = c.json("history channel %s limit 200" % json.dumps(self.NAMES[1]))[1]
        messages = history["messages"] if isinstance(history, dict) else history
        self.assertEqual({m["content"] for m in messages}, set(self.SAID))

    def test_kick_reasons(self):
        for reason in ("plain", "with \"quotes\"", "\\", "\u202e", "ü😀"):
            a = self.user("Ada")
            self.assertEqual(self.console().ask("kick user %s %s" % (a.id, json.dumps(reason)))[0], "OK")
            self.assertEqual(a.closing()["message"], reason)
        self.user("Bob").request(PING)


class Password(WithConsole):
    abstract = False
    password = "correct horse ünïcode"

    def test_before_the_password(self):
        c = self.console(("127.0.0.1", self.port))
        for line in ("status", "help", "shutdown", "bogus", "json list users", "auth"):
            self.assertRegex(c.ask(line)[0], "^ERR (unauthorized|bad_request) ")
        self.assertEqual(c.ask('auth "%s"' % self.password)[0], "OK")
        self.assertEqual(c.ask("status")[0], "OK")
        c = self.console(("127.0.0.1", self.port))
        c.write(b"x" * 70000)
        self.assertLess(len(c.rest()), 1000)

    def test_wrong_ones(self):
        """Five a minute, over however many connections; then not even the right one; never in the log."""
        answers = []
        for n in range(8):
            c = self.console(("127.0.0.1", self.port))
            answers.append(c.ask("auth wrong-guess-%d" % n)[0].split()[1])
        self.assertEqual(answers, ["unauthorized"] * 5 + ["rate_limited"] * 3)
        self.assertTrue(self.console(("127.0.0.1", self.port)).ask('auth "%s"' %
                                                                   self.password)[0].startswith("ERR rate_limited"))
        # Who sits at the machine itself is not locked out by that.
        self.assertEqual(self.console().ask('auth "%s"' % self.password)[0], "OK")
        log = self.server.whole_log()
        self.assertNotIn("wrong-guess", log)
        self.assertNotIn("correct horse", log)
        self.assertIn("console.auth_failed", log)

    def test_many_guessers_keep_nobody_out(self):
        """Wrong passwords from more addresses than are watched, and connections that never give one."""
        def guess(n):
            s = socket.create_connection(("127.0.0.1", self.port), 10, ("127.1.%d.%d" % (n // 250, n % 250 + 1), 0))
            s.sendall(b"auth wrong\n")
            answer = s.recv(100)
            s.close()
            return answer.split()[1]
        self.assertEqual({guess(n) for n in range(1100)}, {b"unauthorized"})
        silent = [self.console(("127.0.0.1", self.port)) for _ in range(80)]
        c = socket.create_connection(("127.0.0.1", self.port), 10, ("127.0.0.77", 0))
        self.addCleanup(c.close)
        c.sendall(('auth "%s"\n' % self.password).encode())
        self.assertTrue(c.recv(100).startswith(b"OK\n"))
        more = [self.console(("127.0.0.1", self.port)) for _ in range(80)]
        c.sendall(b"version\n")  # it was silent meanwhile, but has given the password
        self.assertTrue(c.recv(100).startswith(b"OK\n"))
        self.assertTrue(silent and more)
        # An address that has used up its guesses still waits.
        for _ in range(4):
            guess(1099)
        self.assertEqual(guess(1099), b"rate_limited")

    def test_the_password_is_shown_nowhere(self):
        c = self.console()
        self.assertEqual(c.ask('auth "%s"' % self.password)[0], "OK")
        for line in ("show config", "show config console", "config diff", "show config auth", "show metrics",
                     "help auth"):
            _, body = c.ask(line)
            self.assertNotIn("horse", "\n".join(body))


class Upheaval(WithConsole):
    """Scripts and plugins come and go, options change and files are read anew, while people talk and nobody is let
    fall."""

    abstract = False
    config = {"plugins": {"load": {"echo": {}, "filter": {"words": ["forbiddenword"]}, "metrics": {}}},
              "log": {"level": "info"}}

    def test_all_at_once(self):
        a, b = self.user("Ada"), self.user("Bob", wire="binary")
        room = self.channel(a, b)
        over, said, wrong = threading.Event(), [], []

        def talk(c):
            try:
                while not over.is_set():
                    said.append(c.say(room, "n%d" % len(said))["seq"])
                    c.request(PING)
            except BaseException as e:
                wrong.append(repr(e))

        def echo():
            while not over.is_set():
                try:
                    w = WsWire(self.server.websocket, path="/echo")
                    for _ in range(5):
                        w.send_frame(2, b"x" * 1000)
                        w.receive_message(soon())
                    w.close()
                except (Closed, Refused, OSError):
                    pass
                except BaseException as e:
                    if "409" not in repr(e):
                        wrong.append(repr(e))
                    return

        threads = [threading.Thread(target=talk, args=(c,)) for c in (a, b)] + [threading.Thread(target=echo)]
        for t in threads:
            t.start()
        c, chance, done = self.console(), random.Random(4), 0
        orders = ["script reload", "config reload", "plugin unload echo", "plugin load echo", "plugin unload filter",
                  "plugin load filter", "script disable merge_push", "script enable merge_push", "script list",
                  "plugin list", "list hooks", "list connections", "set push.slice_ms 50", "set limits.content 9000",
                  "show metrics", "storage flush", "json list actions", "HUP"]
        end = time.monotonic() + 3
        while time.monotonic() < end or done < 60:
            order = chance.choice(orders)
            if order == "HUP":
                self.server.signal(signal.SIGHUP)
            else:
                c.ask(order)
            done += 1
        over.set()
        for t in threads:
            t.join(60 * PATIENCE)
        self.assertEqual(wrong, [])
        self.assertEqual(sorted(said), list(range(1, len(said) + 1)))
        self.assertGreater(len(said), 20)
        self.eventually(lambda: c.ask("config reload")[0] == "OK")
        for name in ("echo", "filter", "metrics"):
            c.ask("plugin load " + name)
        c.ask("script enable merge_push")
        self.assertIn("echo", "\n".join(c.ask("list plugins")[1]))
        a.say(room, "the end")


class OutOfDescriptors(WithConsole):
    """When clients have taken all descriptors the operator still gets in, and can throw them out."""

    abstract = False

    @classmethod
    def setUpClass(cls):
        cls.server = Server({"threads": 2, "timeouts": {"login": 60}}, start=False,
                            prefix=["prlimit", "--nofile=250:250"])
        cls.path = os.path.join(cls.server.folder, "console")
        cls.server.config["listen"] = {"console": "unix:" + cls.path}
        cls.server.start()

    def test_the_console_is_reachable(self):
        a = self.user("Ada")
        crowd = [socket.create_connection(("127.0.0.1", self.server.tcp)) for _ in range(400)]
        self.eventually(lambda: "accept.paused" in self.server.log())
        consoles = [self.console() for _ in range(5)]
        for c in consoles:
            self.assertEqual(c.ask("status")[0], "OK")
        status, value = consoles[0].json("list connections limit 500")
        self.assertEqual(status, "OK")
        self.assertGreater(len(value), 100)
        if not CLUSTER:
            self.assertEqual(consoles[1].ask("storage flush")[0], "OK")
        for s in crowd:
            s.close()
        # Somebody new gets in at once.
        self.user("Bob").tell(a, "here I am")
        self.assertEqual(a.push(101)["content"], "here I am")


class SmallDescriptors(WithConsole):
    """libev's tables are as long as the largest descriptor is: beside a million clients a console must not have the
    million-and-first."""

    abstract = False

    def descriptors(self):
        """Those of connections, and the placeholders of those to come."""
        folder, found = "/proc/%d/fd" % self.server.process.pid, {"socket": set(), "eventfd": set()}
        for fd in os.listdir(folder):
            try:
                to = os.readlink(os.path.join(folder, fd))
            except FileNotFoundError:
                continue
            for kind, numbers in found.items():
                if kind in to:
                    numbers.add(int(fd))
        return found

    def test_consoles_have_small_ones(self):
        crowd = [self.user() for _ in range(40)]
        self.assertEqual(self.console().ask("status")[0], "OK")
        before = self.descriptors()
        largest = max(before["eventfd"])
        for _ in range(3):
            many = [self.console() for _ in range(8)]
            for c in many:
                self.assertEqual(c.ask("status")[0], "OK")
            new = self.descriptors()["socket"] - before["socket"]
            self.assertEqual(len(new), len(many))
            self.assertLessEqual(max(new), largest)
            for c in many:
                c.close()
            self.eventually(lambda: self.descriptors() == before)
        # More than there are kept for are served as well, and leave nothing.
        many = [self.console() for _ in range(30)]
        for c in many:
            self.assertEqual(c.ask("status")[0], "OK")
        self.assertEqual(len(self.descriptors()["socket"] - before["socket"]), len(many))
        for c in many:
            c.close()
        self.eventually(lambda: self.descriptors() == before)
        crowd[0].ask(9)


@one_process("what one console takes")
class ClosedDescriptors(Test):
    """Started with standard output and error closed: the log goes nowhere, and not into the file or socket that would
    get their numbers."""

    @classmethod
    def setUpClass(cls):
        cls.server = None

    @classmethod
    def tearDownClass(cls):
        pass

    def test_nothing_is_written_elsewhere(self):
        s = Server(start=False)
        path = os.path.join(s.folder, "console")
        s.config = {"listen": {"console": "unix:" + path}, "log": {"level": "debug"}}
        try:
            s.write_config()
            s.process = subprocess.Popen(["sh", "-c", 'exec "$0" -c "$1" 0<&- 1>&- 2>&-', MAGPIED, s.config_path],
                                         cwd=s.folder)
            self.eventually(lambda: os.path.exists(path), timeout=30)
            c = Console(path)
            self.addCleanup(c.close)
            self.assertEqual(c.ask("send channel x y")[0].split()[0], "ERR")
            ctl = ["sh", "-c", 'exec "$0" -s "$1" "$2" 1>&- 2>&-', os.path.join(os.path.dirname(MAGPIED), "magpiectl"),
                   "unix:" + path, "help"]
            subprocess.run(ctl, timeout=20 * PATIENCE)
            s.process.terminate()
            self.assertEqual(s.process.wait(40 * PATIENCE), 0)
            for folder, _, files in os.walk(os.path.join(s.folder, "data")):
                for name in files:
                    with open(os.path.join(folder, name), "rb") as f:
                        self.assertNotIn(b"server.ready", f.read(), name)
        finally:
            s.discard()


@one_process("what one console takes")
class Public(Test):
    """No console for everybody without a password."""

    @classmethod
    def setUpClass(cls):
        cls.server = None

    @classmethod
    def tearDownClass(cls):
        pass

    def test_refused_at_start(self):
        for address in ("0.0.0.0:%d", "*:%d", "[::]:%d"):
            s = Server({"listen": {"console": address % free_port()}}, start=False)
            try:
                s.write_config()
                s.launch(wait=False)
                self.assertEqual(s.process.wait(20 * PATIENCE), 1)
                self.assertIn("console.password", s.log())
            finally:
                s.discard()
