"""What strangers may do to a server that speaks TLS: slow, halved and broken handshakes and records."""

import json
import os
import random
import resource
import selectors
import socket
import ssl
import struct
import subprocess
import time

import certs
from base import Test, one_process
from server import PATIENCE, SANITIZED, Server
from test_tls import TlsTest
from wire import Closed, TcpWire

PING = TcpWire.pack(9, 1, b"{}")


class Hand:
    """A client whose bytes pass our hands: what OpenSSL wants to send is there to be cut, changed or left out."""

    def __init__(self, port, version=None, source=None):
        self.socket = socket.create_connection(("127.0.0.1", port), 30, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.over = False  # the handshake
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = certs.client(version).wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def try_handshake(self):
        """True: it is over."""
        try:
            self.tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def hello(self):
        self.try_handshake()
        return self.outgoing.read()

    def receive(self):
        """More of what the server says; False: it has ended."""
        self.socket.settimeout(30 * PATIENCE)
        data = self.socket.recv(65536)
        self.incoming.write(data)
        return bool(data)

    def handshake(self, send=None):
        send = send or self.socket.sendall
        done = False
        while not done:
            done = self.try_handshake()
            data = self.outgoing.read()
            if data:
                send(data)
            if not done and not self.receive():
                raise Closed("in the handshake")
        return self

    def seal(self, data):
        self.tls.write(data)
        return self.outgoing.read()

    def read(self):
        """Some plaintext; b"": the end."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                if not self.receive():
                    return b""
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def ended(self):
        """Whether the server closes, whatever it says before."""
        self.socket.settimeout(30 * PATIENCE)
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True

    def close(self):
        self.socket.close()


class Attacks(TlsTest):
    config = {"tls": {}, "listen": {"console": "unix:console"}}

    def hand(self, version=None, **options):
        h = Hand(self.server.tcps, version, **options)
        self.clients.append(h)
        return h

    def fine(self):
        """The server still serves."""
        self.assertIn("time", self.ask(self.secure()))

    def comes_in(self, tries=10):
        """A new client is served beside slow ones. It gives way to others as they do when it takes a second to answer,
        as it may on a busy machine, and then tries again."""
        for _ in range(tries - 1):
            try:
                return self.fine()
            except Closed:
                pass
        return self.fine()

    def cpu(self):
        """Seconds of the processor that the server has taken."""
        with open("/proc/%d/stat" % self.server.process.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        with open("/proc/%d/statm" % self.server.process.pid) as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def test_bytes_one_by_one(self):
        for version in ("1.2", "1.3"):
            h = self.hand(version)

            def slowly(data):
                for i in range(len(data)):
                    h.socket.sendall(data[i:i + 1])
                    if i % 16 == 0:
                        time.sleep(0.001)

            h.handshake(slowly)
            slowly(h.seal(PING))
            self.assertIn(b'{"time":', h.read())

    def test_finished_and_data_together(self):
        """The last flight with requests behind it in one packet, in pieces, and with half a record at its end."""
        for cut in (None, 1, 5, 40):
            h = self.hand("1.3")
            h.socket.sendall(h.hello())
            while not h.try_handshake():
                h.receive()
            last = h.outgoing.read() + b"".join(h.seal(TcpWire.pack(9, seq, b"{}")) for seq in range(1, 301))
            if cut:
                h.socket.sendall(last[:-cut])
                time.sleep(0.1)
                h.socket.sendall(last[-cut:])
            else:
                h.socket.sendall(last)
            got = b""
            while got.count(b'{"time":') < 300:
                data = h.read()
                self.assertTrue(data)
                got += data

    def test_half_records(self):
        """Half a record is no reason to turn the loop, or to hold much."""
        halves = [self.hand(version).handshake() for version in ("1.2", "1.3") * 20]
        before, memory = self.cpu(), self.memory()
        for h in halves:
            h.record = h.seal(b"\0" * 16000)
            h.socket.sendall(h.record[:-1])
        time.sleep(2)
        self.assertLess(self.cpu() - before, 1.0)
        self.assertLess(self.memory() - memory, 16 << 20)
        self.fine()
        for h in halves:
            h.socket.sendall(h.record[-1:])
            self.assertTrue(h.ended())

    def test_garbage(self):
        rng = random.Random(7)
        hello = Hand(self.server.tcps).hello()
        beginnings = [bytes(rng.randrange(256) for _ in range(200)) for _ in range(20)]
        beginnings += [b"\x16\x03\x01" + bytes(rng.randrange(256) for _ in range(300)) for _ in range(20)]
        beginnings += [hello[:n] + bytes([hello[n] ^ 0x41]) + hello[n + 1:] for n in range(0, 60)]
        beginnings += [b"\x15\x03\x01\x00\x02\x02\x28", b"\x80\x2e\x01\x03\x01",
                       b"\x16\x03\x01\xff\xff" + b"\1" * 20000, b"\x16\x03\x01\x00\x01\x01" * 200, hello + hello]
        for data in beginnings:
            s = socket.create_connection(("127.0.0.1", self.server.tcps))
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                s.settimeout(30 * PATIENCE)
                while s.recv(65536):
                    pass
            except OSError as e:
                self.assertNotIsInstance(e, TimeoutError)
            s.close()
        self.fine()

    def test_broken_records(self):
        for version in ("1.2", "1.3"):
            for spoil in (lambda r: r[:-1] + bytes([r[-1] ^ 1]),  # a forged one
                          lambda r: b"\x17\x03\x03\xff\xff" + r,  # longer than any
                          lambda r: b"\x17\x03\x03\x00\x00",  # nothing in it
                          lambda r: b"\x16" + r[1:],
                          lambda r: PING + r):  # in the clear
                h = self.hand(version).handshake()
                h.socket.sendall(spoil(h.seal(PING)) + h.seal(PING))
                got = b""
                while True:
                    try:
                        data = h.read()
                    except (ssl.SSLError, ConnectionError):
                        break
                    if not data:
                        break
                    got += data
                self.assertNotIn(b'{"time":', got)
        self.fine()

    def test_replayed_record(self):
        h = self.hand("1.3").handshake()
        record = h.seal(PING)
        h.socket.sendall(record)
        self.assertIn(b'{"time":', h.read())
        h.socket.sendall(record)
        self.assertTrue(h.ended())
        self.fine()

    def test_floods_of_key_updates(self):
        for records in ("own", "openssl"):
            with Server({"tls": {"records": records}}) as server:
                p = subprocess.Popen(["openssl", "s_client", "-tls1_3", "-connect", "127.0.0.1:%d" % server.tcps],
                                     stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    time.sleep(0.5)
                    for _ in range(100):
                        p.stdin.write(b"k\n")
                        p.stdin.flush()
                        time.sleep(0.01)
                except BrokenPipeError:
                    pass
                try:
                    p.stdin.close()
                except BrokenPipeError:
                    pass
                p.wait(20 * PATIENCE)
                server.wait_log("tls.failed")
                self.assertIn("time", self.ask(self.secure(server=server)))

    def test_slow_handshakes(self):
        """2000 of them, half with nothing but a part of their hello: others come in, and little is held for them."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 5000:
            self.skipTest("too few descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        friend = self.connect("tls-tcp")
        friend.login("Friend")
        hello, memory = Hand(self.server.tcps).hello(), self.memory()
        slow = []
        try:
            for i in range(2000):
                s = socket.create_connection(("127.0.0.1", self.server.tcps))
                s.sendall(hello if i % 2 else hello[:100])
                slow.append(s)
            for _ in range(5):
                friend.request(9)
                self.comes_in()
            if not SANITIZED:  # which keeps what was freed
                self.assertLess(self.memory() - memory, 64 << 20)
            for s in slow:  # of all of them there is an end
                s.settimeout(30 * PATIENCE)
                try:
                    while s.recv(65536):
                        pass
                except ConnectionError:
                    pass
            friend.request(9)
        finally:
            for s in slow:
                s.close()
        self.fine()

    def test_herd(self):
        """Hundreds at once: everybody comes in."""
        hands, waiting = [self.hand() for _ in range(400)], selectors.DefaultSelector()
        for h in hands:
            h.socket.sendall(h.hello())
            waiting.register(h.socket, selectors.EVENT_READ, h)
        while waiting.get_map():
            events = waiting.select(30 * PATIENCE)
            self.assertTrue(events, "%d are not served" % len(waiting.get_map()))
            for key, _ in events:
                h = key.data
                self.assertTrue(h.receive())
                if h.tls.version() and h.over:
                    waiting.unregister(h.socket)
                    self.assertIn(b'{"time":', h.read())
                elif h.try_handshake():
                    h.over = True
                    h.socket.sendall(h.outgoing.read() + h.seal(PING))

    @one_process("each node has a cap of its own")
    def test_over_a_cap(self):
        with Server({"tls": {}, "limits": {"connections": 1}}) as server:
            first = self.secure(server=server)
            with self.assertRaises(Closed):
                TcpWire(server.tcps, tls=certs.client())
            self.assertIn("time", self.ask(first))

    def test_login_in_time(self):
        """timeouts.login counts from the first byte, handshake and login together."""
        with Server({"tls": {}, "timeouts": {"login": 2}}) as server:
            h = Hand(server.tcps)
            self.clients.append(h)
            h.socket.sendall(h.hello()[:50])
            self.assertTrue(h.ended())
            w = self.secure(server=server)
            w.send(9, 1, b"{}")
            self.assertEqual(w.receive(time.monotonic() + 10 * PATIENCE)[0], 9)
            action, _, body = w.receive(time.monotonic() + 30 * PATIENCE)
            self.assertEqual((action, json.loads(body)["reason"]), (105, "idle"))

    def test_behind_a_proxy(self):
        """A PROXY header comes before TLS."""
        with Server({"tls": {}, "listen": {"proxy": ["127.0.0.1"], "console": "unix:console"}}) as server:
            head = b"PROXY TCP4 203.0.113.9 192.0.2.1 40000 443\r\n"
            w = TcpWire(server.tcps, first=head, tls=certs.client())
            self.clients.append(w)
            w.send(1, 1, b'{"name":"Proxied"}')
            self.assertIn("token", json.loads(w.receive(time.monotonic() + 10 * PATIENCE)[2]))
            from test_tls import console
            self.assertIn("203.0.113.9", console(server, "list", "connections"))
            signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([198, 51, 100, 7, 192, 0, 2, 1]) + \
                struct.pack(">HH", 40000, 443)
            w = TcpWire(server.tcps, first=signature, tls=certs.client())
            self.clients.append(w)
            self.assertIn("time", self.ask(w))
