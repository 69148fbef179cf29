"""Behind a proxy: listen.proxy, the PROXY protocol, Forwarded and X-Forwarded-For; and what everybody else makes of the
client's address. 127.0.0.1 and 127.0.0.3 are proxies here, 127.0.0.2 is a stranger."""

import os
import socket
import struct
import time

from base import Test, one_process, smoke
from client import LOGIN, Client
from console import Console, ConsoleTest, Refused
from server import PATIENCE, Server
from wire import Closed, Refused as NotUpgraded, Stream, WsWire

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
STRANGER = "127.0.0.2"
TRUSTED = {"listen": {"proxy": ["127.0.0.1", "127.0.0.3", "10.0.0.0/8"], "console": "unix:console.sock"}}


def v1(source, family="TCP4"):
    return ("PROXY %s %s %s 1000 2000\r\n" % (family, source, "192.0.2.99" if family == "TCP4" else "::1")).encode()


def v2(source, command=0x21, tlvs=b""):
    six = ":" in source
    body = (socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, source) +
            (b"\0" * 15 + b"\1" if six else b"\1\2\3\4") + struct.pack(">HH", 1, 2) + tlvs)
    return SIGNATURE + struct.pack(">BBH", command, 0x21 if six else 0x11, len(body)) + body


class ProxyTest(ConsoleTest):
    abstract = True
    config = TRUSTED

    def behind(self, first=b"", wire="tcp", source=None, headers=(), server=None):
        """A client that a proxy speaks for."""
        more = {"headers": headers} if headers else {}
        return self.connect(wire, server, first=first, source=source, **more)

    def address(self, client):
        """What the server takes its address to be."""
        client.login("Ada") if client.id is None else None
        found = [c for c in self.json("list connections") if c.get("user") == client.id]
        self.assertEqual(len(found), 1, found)
        return found[0]["ip"]

    def raw(self, data, port=None, source=None, timeout=20):
        """All that the server says to these bytes, until it closes."""
        s = Stream(("127.0.0.1", port or self.server.tcp), source=source)
        self.addCleanup(s.close)
        try:
            s.write(data)
            while True:
                s.fill(len(s.buffer) + 1, time.monotonic() + timeout * PATIENCE)
        except (Closed, ConnectionResetError):
            return bytes(s.buffer)


@one_process("what one process takes its clients for")
class Named(ProxyTest):
    abstract = False

    @smoke
    def test_both_versions_over_both_wires(self):
        for wire in ("tcp", "binary", "text"):
            for first, address in ((v1("192.0.2.1"), "192.0.2.1"), (v2("192.0.2.2"), "192.0.2.2"),
                                   (v1("2001:db8::1", "TCP6"), "2001:db8::1"), (v2("2001:db8::2"), "2001:db8::2"),
                                   (v1("::ffff:192.0.2.3", "TCP6"), "192.0.2.3"),
                                   (v2("192.0.2.4", tlvs=b"\1\0\2h2\xea\0\5vpce1"), "192.0.2.4"),
                                   (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (v2("192.0.2.5", 0x20), "127.0.0.1"),
                                   (b"", "127.0.0.1")):
                c = self.behind(first, wire)
                self.assertEqual(self.address(c), address, (wire, first))
                self.assertIn("time", c.request(9))

    def test_heads(self):
        for headers, address in ((("X-Forwarded-For", "192.0.2.1"), "192.0.2.1"),
                                 (("X-Forwarded-For", "198.51.100.1, 192.0.2.1, 10.1.2.3"), "192.0.2.1"),
                                 (("Forwarded", 'for="[2001:db8::1]:80";proto=https'), "2001:db8::1"),
                                 (("Forwarded", "for=unknown"), "127.0.0.1"),
                                 (("X-Real-IP", "192.0.2.1"), "127.0.0.1")):
            c = self.behind(wire="binary", headers=(headers,))
            self.assertEqual(self.address(c), address, headers)

    def test_a_chain_of_both(self):
        """The PROXY header names another proxy, whose head is believed; or the client, whose head is not."""
        xff = (("X-Forwarded-For", "192.0.2.1"),)
        self.assertEqual(self.address(self.behind(v1("10.9.9.9"), "binary", headers=xff)), "192.0.2.1")
        self.assertEqual(self.address(self.behind(v1("192.0.2.2"), "binary", headers=xff)), "192.0.2.2")

    def test_strangers(self):
        """What a peer that is not listed says of others is refused (PROXY) or means nothing (heads)."""
        for first in (v1("192.0.2.1"), v2("192.0.2.1")):
            answer = self.raw(first + b"\0\0\0\x0a\0\1\0\1{}", source=STRANGER)
            self.assertIn(b"listen.proxy", answer)
            self.assertIn(b'"reason":"protocol"', answer)
            with self.assertRaises((NotUpgraded, Closed)) as e:  # Closed: it is no ClientHello (MAGPIE_TLS)
                self.behind(first, "binary", source=STRANGER)
            self.assertEqual(getattr(e.exception, "status", 400), 400)
        for headers in (("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1"), ("Forwarded", 'for="')):
            self.assertEqual(self.address(self.behind(wire="binary", source=STRANGER, headers=(headers,))), STRANGER)

    def test_attacks(self):
        """From a peer that is believed: cut, doubled, lengths that lie. Nothing is opened, nothing stays."""
        hello = b"\0\0\0\x0a\0\x09\0\1{}"
        for data in (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
                     b"PROXY " + b"x" * 200, b"PROXY TCP4 999.0.2.1 192.0.2.2 1 2\r\n" + hello,
                     v2("192.0.2.1")[:12] + b"\x31" + v2("192.0.2.1")[13:], v2("192.0.2.1", tlvs=b"\1\xff\xffx"),
                     SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 100, SIGNATURE + b"\x21\x11\0\4abcd",
                     SIGNATURE + b"\x21\x99\0\0"):
            for port in (self.server.tcp, self.server.websocket):
                self.assertEqual(self.raw(data, port), b"", data)
        # Doubled: the second one is what the client sent.
        for second in (v1("192.0.2.2"), v2("192.0.2.2")):
            self.assertIn(b"listen.proxy", self.raw(v1("192.0.2.1") + second + hello))
            answer = self.raw(v2("192.0.2.1") + second + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", self.server.websocket)
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
        # Cut by its end.
        for part in (b"P", b"PROXY TCP4 192.", SIGNATURE, v2("192.0.2.1")[:-1]):
            s = Stream(("127.0.0.1", self.server.tcp))
            self.addCleanup(s.close)
            s.write(part)
            s.socket.shutdown(socket.SHUT_WR)
            with self.assertRaises(Closed):
                s.fill(1, time.monotonic() + 20)
        self.eventually(lambda: not self.json("list connections"))

    def test_both_heads_at_odds(self):
        with self.assertRaises(NotUpgraded) as e:
            self.behind(wire="binary", headers=(("Forwarded", "for=198.51.100.1"), ("X-Forwarded-For", "192.0.2.1")))
        self.assertEqual(e.exception.status, 400)

    def test_what_operators_see(self):
        a = self.behind(v1("192.0.2.77"))
        a.login("Ada")
        self.assertIn("192.0.2.77", self.ask("list connections"))
        handle = [c for c in self.json("list connections") if c["user"] == a.id][0]["connection"]
        self.assertIn("192.0.2.77", self.ask("show connection %s" % handle))

    def test_bans(self):
        """A ban of an address is for the client's, whichever way it was named, and not for the proxy's."""
        a, b = self.behind(v1("192.0.2.50")), self.behind(v1("192.0.2.51"))
        c = self.behind(wire="binary", headers=(("X-Forwarded-For", "192.0.2.50"),))
        for x in (a, b, c):
            x.login("Ada")
        self.ask("ban ip 192.0.2.50 60")
        self.assertEqual(a.closing()["reason"], "kicked")
        self.assertEqual(c.closing()["reason"], "kicked")
        self.assertIn("time", b.request(9))
        self.assertEqual(self.behind(v2("192.0.2.50")).closing()["reason"], "kicked")
        d = self.behind(wire="binary", headers=(("Forwarded", "for=192.0.2.50"),))
        self.assertEqual(d.closing()["reason"], "kicked")
        self.ask("unban ip 192.0.2.50")
        self.assertEqual(self.address(self.behind(v1("192.0.2.50"))), "192.0.2.50")

    def test_a_user_on_another_shard(self):
        """After login connections move to their user's shard; what they are called goes along."""
        for n in range(20):
            self.assertEqual(self.address(self.behind(v1("192.0.2.%d" % n))), "192.0.2.%d" % n)


@one_process("each node counts its connections")
class Caps(ProxyTest):
    abstract = False
    config = {"listen": TRUSTED["listen"], "limits": {"connections_per_ip": 3}, "threads": 2,
              "timeouts": {"login": 60}}

    def full(self, connect):
        """How many can be connected at once."""
        held, n = [], 0
        try:
            while n < 10:
                c = connect()
                held.append(c)
                c.login("Ada")
                n += 1
        except (Closed, NotUpgraded, ConnectionResetError):
            pass
        for c in held:
            c.close()
        self.eventually(lambda: not self.json("list connections"))
        return n

    def test_connections_per_ip(self):
        self.assertEqual(self.full(lambda: self.behind(v1("192.0.2.1"))), 3)
        self.assertEqual(self.full(lambda: self.behind(v2("192.0.2.1"), "binary")), 3)
        self.assertEqual(self.full(lambda: self.behind(wire="binary", headers=(("X-Forwarded-For", "192.0.2.1"),))), 3)
        self.assertEqual(self.full(lambda: self.behind(source=STRANGER)), 3)
        self.assertEqual(self.full(lambda: self.behind()), 3, "a proxy that speaks for itself is a client as others")

    def test_many_clients_of_one_proxy(self):
        clients = [self.behind(v1("192.0.2.%d" % n)) for n in range(40)]
        for n, c in enumerate(clients):
            self.assertEqual(self.address(c), "192.0.2.%d" % n)
        for n, c in enumerate(self.behind(wire="binary", headers=(("X-Forwarded-For", "198.51.100.%d" % n),))
                              for n in range(40)):
            self.assertEqual(self.address(c), "198.51.100.%d" % n)

    def test_different_ways_count_together(self):
        a, b = self.behind(v1("192.0.2.9")), self.behind(v2("192.0.2.9"), "text")
        c = self.behind(wire="binary", headers=(("Forwarded", "for=192.0.2.9"),))
        for x in (a, b, c):
            x.login("Ada")
        with self.assertRaises(NotUpgraded) as e:
            self.behind(wire="binary", headers=(("X-Forwarded-For", "192.0.2.9"),))
        self.assertEqual(e.exception.status, 503)
        a.close()
        self.eventually(lambda: len(self.json("list connections")) == 2)
        self.assertEqual(self.address(self.behind(v1("192.0.2.9"))), "192.0.2.9")


class Scripts(ProxyTest):
    """e.ip, and the limits that a script makes of it."""

    abstract = False

    @classmethod
    def setUpClass(cls):
        cls.server = Server(TRUSTED, start=False)
        folder = os.path.join(cls.server.folder, "scripts")
        os.mkdir(folder)
        with open(os.path.join(folder, "who.lua"), "w") as f:
            f.write('local magpie = require "magpie"\n'
                    'magpie.on("connect", function(e)\n'
                    '    if e.ip == "192.0.2.66" then return magpie.reject("forbidden") end\n'
                    'end)\n'
                    'magpie.on("login", function(e) magpie.log("info", "seen", {ip = e.ip}) end)\n')
        cls.server.config = dict(cls.server.config, scripts={"path": folder, "load": ["who"]})
        cls.server.start()

    def test_e_ip(self):
        for c, ip in ((self.behind(v1("192.0.2.65")), "192.0.2.65"),
                      (self.behind(wire="binary", headers=(("X-Forwarded-For", "192.0.2.64"),)), "192.0.2.64"),
                      (self.behind(source=STRANGER, wire="binary", headers=(("X-Forwarded-For", "192.0.2.63"),)),
                       STRANGER)):
            c.login("Ada")
            self.server.wait_log("ip=" + ip)
        self.assertNotIn("192.0.2.63", self.server.log())
        self.assertEqual(self.behind(v1("192.0.2.66")).closing()["reason"], "kicked")


class Origins(ProxyTest):
    """A proxy on the same machine speaks for browsers elsewhere: their pages are of the same host, and no other
    machine's loopback is ours."""

    abstract = False

    def upgrade(self, first=b"", *headers):
        s = Stream(("127.0.0.1", self.server.websocket), first=first)
        self.addCleanup(s.close)
        s.write(("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n" %
                 "".join("%s: %s\r\n" % h for h in headers)).encode())
        s.fill(13, time.monotonic() + 20)
        return int(s.buffer[9:12])

    def test_same_host_through_a_proxy(self):
        page = (("Host", "chat.example.org"), ("Origin", "https://chat.example.org"))
        other = (("Host", "chat.example.org"), ("Origin", "https://evil.example"))
        local = (("Host", "chat.example.org"), ("Origin", "http://localhost:3000"))
        client = (("X-Forwarded-For", "192.0.2.1"),)
        self.assertEqual(self.upgrade(b"", *page), 403, "a name that was made to point here")
        self.assertEqual(self.upgrade(v1("192.0.2.1"), *page), 101)
        self.assertEqual(self.upgrade(b"", *page + client), 101)
        self.assertEqual(self.upgrade(v1("127.0.0.9"), *page), 403, "a browser of this machine, through the proxy")
        for first, more in ((v1("192.0.2.1"), ()), (b"", client)):
            self.assertEqual(self.upgrade(first, *other + more), 403)
            self.assertEqual(self.upgrade(first, *local + more), 403)


class Reload(Test):
    def test_the_list_is_reloadable(self):
        with Server({"listen": {"console": "unix:console.sock"}}) as s:
            with Client(s, "tcp", first=v1("192.0.2.1")) as c:
                self.assertEqual(c.closing()["reason"], "protocol")
            s.rewrite({"listen": {"proxy": ["127.0.0.0/8"]}})
            s.reload()
            console = Console(s)
            self.addCleanup(console.close)

            def named():
                with Client(s, "tcp", first=v1("192.0.2.1")) as c:
                    c.send(LOGIN, name="Ada")
                    try:
                        return "192.0.2.1" in console.ask("list connections")
                    except Refused:
                        return False
            self.eventually(named)
            self.assertIn("127.0.0.0/8", console.ask("show config listen.proxy"))

    def test_nonsense_is_refused(self):
        s = Server({"listen": {"proxy": ["127.0.0.1", "10.0.0.0/40"]}}, start=False)
        try:
            with self.assertRaisesRegex(AssertionError, r'listen\.proxy: expected an IP address, a network .* found '
                                                        r'"10\.0\.0\.0/40" as entry 2'):
                s.start()
        finally:
            s.discard()


class UnixPeers(ProxyTest):
    abstract = False
    config = {"listen": {"proxy": ["unix:"], "tcp": ["127.0.0.1:0", "unix:tcp.sock"],
                         "websocket": ["127.0.0.1:0", "unix:ws.sock"], "console": "unix:console.sock"}}

    def test_over_unix_sockets(self):
        for path, first, more in (("tcp.sock", v1("192.0.2.1"), None), ("ws.sock", v2("192.0.2.1"), ()),
                                  ("ws.sock", b"", (("X-Forwarded-For", "192.0.2.1"),))):
            s = Stream(os.path.join(self.server.folder, path), first=first)
            self.addCleanup(s.close)
            if more is None:
                s.write(b"\0\0\0\x16\0\1\0\1" + b'{"name":"Ada"}')
            else:
                w = WsWire.__new__(WsWire)
                w.stream, w.pong = s, True
                w.handshake("x", headers=more)
                w.send(LOGIN, 1, b'{"name":"Ada"}')
            self.eventually(lambda: [c for c in self.json("list connections")
                                     if c["ip"] == "192.0.2.1"])
            s.close()
            self.eventually(lambda: not self.json("list connections"))


class Tls(ProxyTest):
    """The header comes before the ClientHello, and nothing of that is read with it."""

    abstract = False

    @classmethod
    def setUpClass(cls):
        cls.server = Server(dict(TRUSTED, limits={"connections_per_ip": 3}), tls="own")

    def test_before_the_handshake(self):
        for wire in ("tls-tcp", "tls-binary"):
            for first, address in ((v1("192.0.2.1"), "192.0.2.1"), (v2("2001:db8::2", tlvs=b"\1\0\2h2"), "2001:db8::2"),
                                   (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (v2("192.0.2.5", 0x20), "127.0.0.1"),
                                   (b"", "127.0.0.1")):
                c = self.behind(first, wire)
                self.assertEqual(self.address(c), address, (wire, first))
                self.assertIn("time", c.request(9))
                c.close()
                self.eventually(lambda: not self.json("list connections"))

    def test_heads(self):
        for n in range(5):
            c = self.behind(wire="tls-binary", headers=(("X-Forwarded-For", "192.0.2.%d" % n),))
            self.assertEqual(self.address(c), "192.0.2.%d" % n)
        c = self.behind(v1("192.0.2.50"), "tls-binary", headers=(("X-Forwarded-For", "192.0.2.51"),))
        self.assertEqual(self.address(c), "192.0.2.50")

    @one_process("each node counts its connections")
    def test_caps(self):
        held = [self.behind(v1("192.0.2.9"), "tls-tcp") for _ in range(3)]
        for c in held:
            c.login("Ada")
        with self.assertRaises((Closed, NotUpgraded, AssertionError)):
            self.behind(v2("192.0.2.9"), "tls-tcp").login("Bob")
        self.assertEqual(self.address(self.behind(v1("192.0.2.8"), "tls-tcp")), "192.0.2.8")

    def test_strangers_and_nonsense(self):
        for first in (v1("192.0.2.1"), v2("192.0.2.1")):
            with self.assertRaises((Closed, AssertionError, OSError)):
                self.behind(first, "tls-tcp", source=STRANGER).login("Eve")
        for first in (b"PROXY nonsense\r\n", v1("192.0.2.1") * 2, v2("192.0.2.1", 0x77)):
            with self.assertRaises((Closed, AssertionError, OSError)):
                self.behind(first, "tls-tcp").login("Eve")
        self.assertEqual(self.address(self.behind(v1("192.0.2.1"), "tls-tcp")), "192.0.2.1")


class Half(ProxyTest):
    """Half a header is waited for as long as for a login, and costs nothing."""

    abstract = False
    config = {"listen": TRUSTED["listen"], "timeouts": {"login": 2}}

    def cpu(self):
        with open("/proc/%d/stat" % self.server.process.pid) as f:
            return sum(int(n) for n in f.read().rsplit(")", 1)[1].split()[11:13]) / os.sysconf("SC_CLK_TCK")

    def test_timeout(self):
        streams = []
        for data in (b"", b"PROXY TCP4 ", SIGNATURE + b"\x21\x11\x0f\xf0" + b"x" * 1000):
            for port in (self.server.tcp, self.server.websocket):
                s = Stream(("127.0.0.1", port))
                self.addCleanup(s.close)
                if data:
                    s.write(data)
                streams.append(s)
        before = self.cpu()
        for s in streams:
            with self.assertRaises((Closed, ConnectionResetError)):
                s.fill(1, time.monotonic() + 20 * PATIENCE)
        self.assertLess(self.cpu() - before, 1, "it turned and turned")
