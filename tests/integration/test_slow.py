"""Slow receivers: output queues, push 107, reason slow; limits on connections; timeouts."""

import os
import re
import resource
import shutil
import socket
import struct
import threading
import time
import unittest
import urllib.request

from base import Test, one_process, smoke, variants
from client import Client, LOGIN, PING, SEND_CHANNEL, SEND_USER, UNSUBSCRIBE
from console import Console
from server import PATIENCE, SANITIZED, Server
from wire import Closed, Refused, Timeout, TcpWire, WsWire


class Reader(threading.Thread):
    """Reads a client's connection all the time; `frames` is what came."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.frames = client, []
        self.start()

    def run(self):
        try:
            while True:
                self.frames.append(self.client.receive(60))
        except (Closed, Timeout, OSError, ValueError):
            pass


class Slow(Test):
    config = {"limits": {"output_queue": 65536, "page": 16384}, "threads": 2}

    def silent(self, name="Slow", **options):
        """A user that does not read, with little room in its socket."""
        c = self.connect(receive_buffer=4096, **options)
        c.login(name)
        return c

    def flood(self, sender, channel, n, size=8000):
        """A few at a time: who does not read is not read from."""
        for start in range(0, n, 4):
            seqs = sender.send_all([(SEND_CHANNEL, {"channel": channel, "content": "%06d" % k + "x" * size})
                                    for k in range(start, min(n, start + 4))])
            for seq in seqs:
                self.assertIn("seq", sender.answer(SEND_CHANNEL, seq, timeout=30))

    def test_channel_pushes_are_skipped_and_107_says_so(self):
        for wire in ("tcp", "binary", "text"):
            a, other = self.users("Ada", "Bob")
            b = self.silent(wire=wire)
            name, calm = self.channel(a, other, b), self.channel(a, b)
            a.say(calm, "first")
            reader = Reader(other)
            self.flood(a, name, 1500)
            self.flood(a, name, 10)
            # Nobody else is held up: there, whatever is not pushed is announced, and with patience all of it comes.
            self.eventually(lambda: any(f[2].get("seq") == 1510 for f in list(reader.frames)))
            got, behind = [], []
            while not behind:
                frame = b.receive()
                (behind if frame[0] == 107 else got).append(frame)
            self.assertEqual(behind[0][1:], (0, {"channel": name, "seq": 1510}))
            seqs = [f[2]["seq"] for f in got if f[2].get("channel") == name]
            self.assertEqual(seqs, sorted(set(seqs)))
            self.assertLess(len(seqs), 1510, "some were skipped")
            b.quiet(107)
            # It pulls what it lacks, and goes on.
            self.assertEqual(b.history(name, after=seqs[-1], limit=2)["messages"][0]["seq"], seqs[-1] + 1)
            a.say(name, "now")
            self.assertEqual(b.push(102)["content"], "now")

    def test_private_messages_are_never_skipped(self):
        a, b = self.user("Ada"), self.silent()
        token = b.token
        seqs = a.send_all([(SEND_USER, {"receiverId": b.id, "content": "%06d" % k + "x" * 8000}) for k in range(1500)])
        for seq in seqs:
            self.assertIn("seq", a.answer(SEND_USER, seq, timeout=30))
        got = [f for f in b.rest(30) if f[0] in (101, 105)]
        pushed = [f[2]["seq"] for f in got if f[0] == 101]
        self.assertEqual(pushed, list(range(1, len(pushed) + 1)), "without a gap until the end")
        self.assertLess(len(pushed), 1500)
        # The queue was full: the reason comes through only if there is room for it.
        self.assertIn([f[2]["reason"] for f in got if f[0] == 105], ([], ["slow"]))
        b2 = self.connect()
        self.assertEqual(b2.login(token=token)["inbox"], 1500, "the inbox keeps what was not acknowledged")

    def test_many_answers_unread(self):
        """Who asks much and reads nothing is not read from any more; nothing is lost."""
        a = self.silent("Ada")
        name = self.channel(a)
        a.say(name, "x" * 10000)
        a.push(102)
        a.wire.stream.socket.settimeout(3)
        data, sent = b"", 0
        for k in range(2000):
            data += TcpWire.pack(5, k + 1, b'{"channel":"%s"}' % name.encode())
        sender = threading.Thread(target=lambda: a.wire.stream.socket.sendall(data), daemon=True)
        sender.start()
        time.sleep(0.5)
        got = 0
        while got < 2000:
            frame = a.receive(20)
            self.assertEqual(frame[:2], (5, got + 1))
            got += 1
        sender.join()

    def test_private_messages_all_at_once(self):
        """A burst beyond the queue's size does no harm to who reads it."""
        a, b = self.users("Ada", "Bob")
        reader = Reader(b)
        seqs = a.send_all([(SEND_USER, {"receiverId": b.id, "content": "x" * 8000})] * 200)
        for seq in seqs:
            a.answer(SEND_USER, seq, timeout=30)
        self.eventually(lambda: len(reader.frames) == 200)
        self.assertEqual([f[2]["seq"] for f in reader.frames], list(range(1, 201)))

    def test_unsubscribing_purges_what_is_queued(self):
        a, b = self.user("Ada"), self.silent()
        b2 = self.again(b)
        name = self.channel(a, b)
        self.flood(a, name, 400)
        b2.drain(0.5)
        b2.request(UNSUBSCRIBE, name=name)
        before = time.monotonic()
        frames = b.drain(1)
        # What the kernel had taken already and one frame begun comes; the queue's other frames do not, and no 107.
        seqs = [f[2]["seq"] for f in frames if f[0] == 102]
        self.assertLess(len(seqs), 400)
        self.assertNotIn(107, [f[0] for f in frames])
        b.request(PING)


class Caps(Test):
    """What those hold together who ask and do not read: of one user, of one address, of all."""

    MIB = 1 << 20
    config = {"limits": {"output_per_user": 2 * MIB, "output_per_ip": 4 * MIB, "output_total": 8 * MIB}, "threads": 2,
              "plugins": {"load": {"metrics": {}}}}

    def hoard(self, address, n, token=None):
        """n connections from the address, of one user (of one each without a token), that ask and read nothing."""
        for i in range(n):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.bind((address, 0))
            s.connect(("127.0.0.1", self.server.tcp))
            self.addCleanup(s.close)
            body = b'{"token":"%s"}' % token.encode() if token else b'{"name":"Hoarder"}'
            s.sendall(TcpWire.pack(LOGIN, 1, body) + TcpWire.pack(3, 2, b'{"name":"pages","push":"none"}') +
                      b"".join(TcpWire.pack(5, 3 + k, b'{"channel":"pages"}') for k in range(60)))

    def figure(self, name):
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.server.websocket) as answer:
            return float(re.search(r"(?m)^%s (.*)$" % name, answer.read().decode()).group(1))

    def settles(self, low, high):
        """What waits in the server ends up between these, once those that were closed are gone."""
        def mib():
            return self.figure("magpie_output_queued_bytes") / self.MIB
        self.eventually(lambda: low < mib() < high, timeout=20 * PATIENCE, every=0.5)

    def test_caps(self):
        a = self.user("Ada")
        a.subscribe("pages", push="none")
        for seq in a.send_all([(SEND_CHANNEL, {"channel": "pages", "content": "x" * 16000})] * 20):
            a.answer(SEND_CHANNEL, seq)
        before = self.figure("magpie_connections")
        self.hoard("127.0.0.2", 10, a.token)  # each alone would hold some 0.7 MiB
        self.eventually(lambda: self.figure("magpie_connections") > before + 2)
        self.settles(0.2, 3)
        self.hoard("127.0.0.3", 15)
        self.settles(1, 7)
        self.hoard("127.0.0.4", 15), self.hoard("127.0.0.5", 15)
        self.settles(1, 9)
        # Near the cap in all, whoever has taken nothing for ten seconds is closed.
        time.sleep(12)
        self.settles(1, 7.01)
        # Who reads notices nothing, wherever it comes from.
        for wire in ("tcp", "binary"):
            b = self.user("Bob", wire)
            b.subscribe("pages", push="none")
            for seq in b.send_all([(5, {"channel": "pages"})] * 30):
                self.assertGreater(len(b.answer(5, seq, timeout=30)["messages"]), 10)
            b.say("pages", "still here")


class Pages(Test):
    """The shipped sizes: pages of 256 KiB, queues of 1 MiB."""

    def test_many_pages_asked_for_at_once(self):
        a = self.user("Ada")
        name = self.channel(a, push="none")
        for seq in a.send_all([(SEND_CHANNEL, {"channel": name, "content": "x" * 16000})] * 20):
            a.answer(SEND_CHANNEL, seq)
        for wire in ("tcp", "binary", "text"):
            b = self.again(a, wire)
            seqs = b.send_all([(5, {"channel": name}), (10, {}), (9, {})] * 60)
            for k, seq in enumerate(seqs):
                answer = b.answer((5, 10, 9)[k % 3], seq, timeout=30)
                if k % 3 == 0:
                    self.assertGreater(len(answer["messages"]), 10)


@one_process("limits of connections are a process's")
class Connections(Test):
    config = {"limits": {"connections": 12, "connections_per_ip": 8}, "threads": 2}

    def opened(self, make):
        """Connections until the server takes no more: they answer a ping."""
        good = []
        for _ in range(20):
            try:
                c = make()
                c.request(PING)
                good.append(c)
            except (Closed, Refused, ConnectionResetError):
                continue
        return good

    @smoke
    def test_per_ip(self):
        for wire in ("tcp", "binary"):
            good = self.opened(lambda: self.connect(wire))
            self.assertEqual(len(good), 8, wire)
            if wire == "binary":
                with self.assertRaises((Refused, Closed)) as e:
                    self.connect(wire)
                if isinstance(e.exception, Refused):
                    self.assertEqual(e.exception.status, 503)
            for c in good[:3]:
                c.close()
            self.eventually(lambda: len(self.opened(lambda: self.connect(wire))) > 0)
            for c in self.clients:
                c.close()
            self.clients.clear()
            time.sleep(0.3)

    def test_in_all(self):
        from client import Client

        class From(Client):
            """A client from another loopback address."""

            def __init__(self, server, source):
                original = socket.socket.connect

                def connect(sock, address):
                    sock.bind((source, 0))
                    return original(sock, address)
                socket.socket.connect = connect
                try:
                    super().__init__(server)
                finally:
                    socket.socket.connect = original

        good = []
        for k in range(30):
            try:
                c = From(self.server, "127.0.0.%d" % (2 + k % 6))
                self.clients.append(c)
                c.request(PING)
                good.append(c)
            except (Closed, ConnectionResetError):
                continue
        self.assertEqual(len(good), 12)
        for c in good:
            c.close()
        self.eventually(lambda: self.opened(lambda: self.connect()))


@unittest.skipUnless(shutil.which("prlimit"), "there is no prlimit here")
@one_process("descriptors are a process's")
class Descriptors(Test):
    @classmethod
    def setUpClass(cls):
        cls.server = Server({"threads": 2, "listen": {"console": "unix:console.sock"}, "timeouts": {"login": 60}},
                            prefix=["prlimit", "--nofile=200:200"])

    def cpu(self):
        with open("/proc/%d/stat" % self.server.process.pid) as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_out_of_descriptors(self):
        """It does not spin (5 % of a processor at most), the others and the console are served, and so are new clients
        within a second of there being room."""
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        took = []
        for attempt in range(3):
            crowd = [socket.create_connection(("127.0.0.1", self.server.tcp)) for _ in range(400)]
            self.eventually(lambda: self.server.log().count("accept.paused") > attempt)
            before, began = self.cpu(), time.monotonic()
            time.sleep(2)
            self.assertLess(self.cpu() - before, 0.05 * PATIENCE * (time.monotonic() - began), "it does not spin")
            a.say(name, "still well")
            self.assertEqual(b.push(102)["content"], "still well")
            c = Console(self.server)
            self.assertGreater(c.json("status")["connections"], 100)
            c.close()
            for s in crowd:
                s.close()
            began = time.monotonic()
            self.user("Cy").subscribe(name)
            took.append(time.monotonic() - began)
            if took[-1] < 1:
                break
        self.assertLess(min(took), PATIENCE, "seconds until somebody new was served")


@one_process("memory is a process's")
class MemoryOfReconnects(Test):
    config = {"threads": 2, "log": {"level": "warn"}, "listen": {"tcp": "unix:magpie.sock"}}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.config, start=False)
        cls.server.write_config()
        cls.server.launch(wait=False)
        cls.server.tcp = cls.server.folder + "/magpie.sock"
        end = time.monotonic() + 30 * PATIENCE
        while not os.path.exists(cls.server.tcp) and time.monotonic() < end:
            time.sleep(0.02)

    def resident(self):
        with open("/proc/%d/statm" % self.server.process.pid) as f:
            return int(f.read().split()[1]) * 4096

    @unittest.skipIf(SANITIZED, "sanitizers keep what was freed")
    def test_reconnects_leave_no_memory_behind(self):
        a = self.user("Ada")
        b = self.again(a)
        name = self.channel(a)
        self.server.secrets.clear()

        def rounds(n):
            for k in range(n):
                with Client(self.server) as c:
                    c.login(token=a.token)
                    c.ask(SEND_CHANNEL, channel="no such", content="x")
                with Client(self.server) as c:
                    c.ask(PING)
        rounds(1500)
        before = self.resident()
        rounds(4000)
        grown = self.resident() - before
        self.assertLess(grown, before * 0.05, "%d KiB more than %d" % (grown // 1024, before // 1024))
        b.request(PING), a.history(name)


class Timeouts(Test):
    config = {"timeouts": {"login": 2, "idle": 4}}

    def elapsed(self, f):
        began = time.monotonic()
        got = f()
        return time.monotonic() - began, got

    @smoke
    def test_login_timeout(self):
        c = self.connect()
        took, closing = self.elapsed(lambda: c.closing(15))
        self.assertEqual(closing["reason"], "idle")
        self.assertGreater(took, 1.5)

    def test_pings_do_not_put_off_the_login_timeout(self):
        for wire in ("tcp", "binary"):
            c = self.connect(wire)
            began = time.monotonic()
            try:
                while time.monotonic() - began < 20:
                    c.request(PING)
                    time.sleep(0.2)
                self.fail("still open")
            except Closed:
                pass

    def test_half_a_handshake(self):
        for data in (b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"):
            w = WsWire(self.server.websocket, handshake=False)
            w.stream.write(data)
            began = time.monotonic()
            try:
                w.stream.fill(100000, began + 30)
            except Closed:
                pass
            self.assertLess(time.monotonic() - began, 20)
            w.close()

    def test_tcp_without_pings_may_listen_for_ever(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        with self.assertRaises(Timeout):
            a.receive(6)
        a.say(name, "x")
        self.assertEqual(a.push(102)["content"], "x")

    def test_tcp_with_a_ping_is_closed_when_silent(self):
        a = self.user()
        a.request(PING)
        took, closing = self.elapsed(lambda: a.closing(20))
        self.assertEqual(closing["reason"], "idle")
        self.assertGreater(took, 2.5)

    def test_tcp_with_pings_lives(self):
        a = self.user()
        for _ in range(9):
            a.request(PING)
            time.sleep(0.8)
        a.request(PING)

    def test_websocket_is_probed(self):
        a = self.user(wire="binary")
        try:
            a.receive(9)
        except Timeout:
            pass
        self.assertGreaterEqual(a.wire.pings, 2)
        self.assertIn("time", a.request(PING))

    def test_websocket_without_pongs_is_closed(self):
        a = self.user(wire="binary")
        a.wire.pong = False
        took, closing = self.elapsed(lambda: a.closing(20))
        self.assertEqual(closing["reason"], "idle")
        self.assertEqual(a.wire.close_code, 1008)
        self.assertGreater(took, 2.5)
        self.assertGreaterEqual(a.wire.pings, 1)


@one_process("what it counts is of one process")
class SlowHandshakes(Test):
    """Thousands who begin and do not go on: those who are there notice nothing, newcomers come in, little is held, and
    in the end nothing is left. (By TLS: test_tls_attacks.py.)"""

    SLOW = 2000
    EACH = 65536  # bytes that one of them may cost
    config = {"timeouts": {"login": 6}, "plugins": {"load": {"metrics": {}}}, "log": {"level": "info"}}

    BEGINNINGS = (b"", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 60,
                  struct.pack(">IH", 60000, 1), struct.pack(">IHH", 4000, 1, 1) + b'{"name":"' + b"x" * 3000)

    def resident(self):
        with open("/proc/%d/statm" % self.server.process.pid) as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def connections(self):
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.server.websocket) as answer:
            return float(re.search(r"(?m)^magpie_connections (.*)$", answer.read().decode()).group(1))

    def test_they_disturb_nobody(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < self.SLOW + 500:
            self.skipTest("too few descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        self.assertEqual(self.connections(), 3)  # and the one that asks
        before, slow = self.resident(), []
        try:
            for k in range(self.SLOW):
                data = self.BEGINNINGS[k % len(self.BEGINNINGS)]
                s = socket.socket()
                s.bind(("127.0.0.%d" % (2 + k % 8), 0))
                s.connect(("127.0.0.1", self.server.websocket if data.startswith(b"G") else self.server.tcp))
                s.sendall(data)
                slow.append(s)
                if k % 100 == 0:  # while they come
                    a.say(name, str(k))
                    self.assertEqual(b.push(102)["content"], str(k))
            if not SANITIZED:
                self.assertLess(self.resident() - before, self.SLOW * self.EACH)
            end, n = time.monotonic() + 2, 0
            while time.monotonic() < end or n < 20:
                for s in slow[n % 50::50]:  # a byte now and then does not put off the end
                    try:
                        s.send(b"y")
                    except OSError:
                        pass
                a.say(name, "n%d" % n)
                self.assertEqual(b.push(102)["content"], "n%d" % n)
                n += 1
            c = self.user("Cy", wire=("tcp", "binary")[n % 2])
            c.subscribe(name)
            a.say(name, "welcome")
            self.assertEqual(c.push(102)["content"], "welcome")
            self.eventually(lambda: self.connections() == 4, timeout=20, every=0.3)
        finally:
            for s in slow:
                s.close()
        a.say(name, "alone again")
        self.assertEqual([b.push(102)["content"] for _ in range(2)], ["welcome", "alone again"])
