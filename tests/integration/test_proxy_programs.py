"""The configs of nginx and HAProxy in docs/operations.md, run as they stand but for ports, paths and (to see what they
are for) times; where these programs are installed."""

import os
import re
import shutil
import ssl
import subprocess
import tempfile
import time
import unittest

from base import Test
from client import CHANNEL_MESSAGE, Client
from console import Console
from server import PATIENCE, ROOT, Server, free_port
from wire import Closed, Stream, TcpWire, Timeout, WsWire

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin"
CLIENT = "127.0.0.2"  # where clients come from; the proxies are 127.0.0.1 to the server


def program(name):
    return shutil.which(name, path=PATH)


def config_of(language):
    """The whole file as docs/operations.md has it."""
    with open(os.path.join(ROOT, "docs", "operations.md")) as f:
        return re.search(r"```%s\n(.*?)```" % language, f.read(), re.S).group(1)


class Proxy:
    """A proxy that runs, in front of a server. `times` replaces the idle timeouts of its config."""

    def __init__(self, server, times=None):
        self.folder = tempfile.mkdtemp(prefix="magpie-proxy-")
        os.chmod(self.folder, 0o755)
        self.ports = {80: free_port(), 443: free_port(), 8443: free_port(), 8081: server.tcp, 8082: server.websocket}
        self.web, self.chat, self.plain = self.ports[443], self.ports[8443], self.ports[80]
        self.certificate()
        path = os.path.join(self.folder, "config")
        with open(path, "w") as f:
            f.write(self.adapted(times or {}))
        self.log = open(os.path.join(self.folder, "log"), "w+")
        self.process = subprocess.Popen(self.command(path), stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL)

    def certificate(self):
        at = os.path.join(self.folder, "chat.example.org")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=chat.example.org", "-keyout", at + ".key", "-out", at + ".crt"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(at + ".pem", "w") as out:
            for end in (".crt", ".key"):
                with open(at + end) as f:
                    out.write(f.read())

    def replaced(self, text, pairs):
        for old, new in pairs:
            if old not in text:
                raise AssertionError("the config in docs/operations.md has no %r" % old)
            text = text.replace(old, new)
        return text

    def said(self):
        self.log.flush()
        with open(self.log.name) as f:
            return f.read()

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Nginx(Proxy):
    name = "nginx"

    def adapted(self, times):
        temporary = "".join("%s_temp_path %s/%s; " % (what, self.folder, what)
                            for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        text = self.replaced(config_of("nginx"), [
            ("http {\n", "http { access_log off; %s\n" % temporary),
            ("/etc/ssl/", self.folder + "/"),
            ("listen 80;", "listen 127.0.0.1:%d;" % self.plain),
            ("listen 443 ssl;", "listen 127.0.0.1:%d ssl;" % self.web),
            ("listen 8443 ssl;", "listen 127.0.0.1:%d ssl;" % self.chat),
            ("127.0.0.1:8081;", "127.0.0.1:%d;" % self.ports[8081]),
            ("127.0.0.1:8082;", "127.0.0.1:%d;" % self.ports[8082]),
            ("worker_rlimit_nofile 200000;", "worker_rlimit_nofile 1000;"),
            ("worker_connections 90000;", "worker_connections 400;"),
            ("worker_processes auto;", "worker_processes 1;")])
        if os.geteuid() != 0:
            text = self.replaced(text, [("user www-data;", "")])
        return self.replaced(text, [(old, old.split()[0] + " " + new + ";") for old, new in times.items()])

    def command(self, path):
        return [program("nginx"), "-c", path, "-e", "stderr", "-g", "daemon off; pid %s/pid;" % self.folder]

    SHORT = {"proxy_read_timeout 120s;": "3s", "proxy_send_timeout 120s;": "3s"}


class Haproxy(Proxy):
    name = "haproxy"

    def adapted(self, times):
        text = self.replaced(config_of("haproxy"), [
            ("maxconn 200000", "maxconn 200"),
            ("/etc/haproxy/", self.folder + "/"),
            ("bind :80\n", "bind 127.0.0.1:%d\n" % self.plain),
            ("bind :443 ", "bind 127.0.0.1:%d " % self.web),
            ("bind :8443 ", "bind 127.0.0.1:%d " % self.chat),
            ("127.0.0.1:8081 ", "127.0.0.1:%d " % self.ports[8081]),
            ("127.0.0.1:8082 ", "127.0.0.1:%d " % self.ports[8082]),
            ("inter 2s", "inter 300ms")])
        return self.replaced(text, [(old, " ".join(old.split()[:2]) + " " + new) for old, new in times.items()])

    def command(self, path):
        return [program("haproxy"), "-db", "-f", path]

    SHORT = {"timeout client 60s": "3s", "timeout server 60s": "3s", "timeout tunnel 120s": "3s"}


class Behind(Client):
    """A client that comes by TLS and a proxy."""

    def __init__(self, server, proxy, web, headers=()):
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        stream = Stream(("127.0.0.1", proxy.web if web else proxy.chat), source=CLIENT)
        stream.socket = tls.wrap_socket(stream.socket, server_hostname="chat.example.org")
        wire = (WsWire if web else TcpWire).__new__(WsWire if web else TcpWire)
        wire.stream, wire.close_code, wire.close_text, wire.pings, wire.pong = stream, None, b"", 0, True
        if web:
            wire.handshake("chat.example.org", "/", headers)
        self.server, self.wire, self.seq, self.kept = server, wire, 0, []
        self.id = self.name = self.token = None
        self.closed_by_server = False


class Programs(Test):
    abstract = True
    config = {"listen": {"proxy": ["127.0.0.1"], "console": "unix:console.sock"},
              "origins": ["https://chat.example.org"],
              "plugins": {"load": {"metrics": {"path": "/metrics"}}}}

    @classmethod
    def setUpClass(cls):
        if not program(cls.kind.name):
            raise unittest.SkipTest("there is no %s here" % cls.kind.name)
        super().setUpClass()
        cls.proxy = cls.kind(cls.server)

    @classmethod
    def tearDownClass(cls):
        cls.proxy.close()
        super().tearDownClass()

    def behind(self, web, proxy=None, headers=(), server=None):
        """A client; the proxy may need a moment until it serves, and finds that the server does."""
        proxy = proxy or self.proxy
        end = time.monotonic() + 20 * PATIENCE
        while True:
            try:
                c = Behind(server or self.server, proxy, web, headers)
                break
            except Exception as e:  # noqa: B902 (refused, 503, cut: all of these mean not yet)
                if time.monotonic() > end or proxy.process.poll() is not None:
                    raise AssertionError("%s: %s\n%s" % (proxy.name, e, proxy.said())) from e
                time.sleep(0.1)
        self.clients.append(c)
        return c

    def get(self, path, *fields):
        """(status, head and body) by way of the proxy."""
        self.behind(True).close()
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        s = Stream(("127.0.0.1", self.proxy.web), source=CLIENT)
        s.socket = tls.wrap_socket(s.socket, server_hostname="chat.example.org")
        self.addCleanup(s.close)
        s.write(("GET %s HTTP/1.1\r\n%s\r\n" % (path, "".join(f + "\r\n" for f in fields + ("Connection: close",)))
                 ).encode())
        try:
            while True:
                s.fill(len(s.buffer) + 1, time.monotonic() + 20 * PATIENCE)
        except (Closed, ssl.SSLError):
            pass
        return int(s.buffer[9:12]), bytes(s.buffer)

    def addresses(self, *clients):
        console = Console(self.server)
        try:
            rows = console.json("list connections")
        finally:
            console.close()
        return [[r["ip"] for r in rows if r.get("user") == c.id] for c in clients]

    def test_messages_and_addresses(self):
        """By WebSocket and by TCP, and the server sees the client where it is."""
        a, b = self.behind(True), self.behind(False)
        a.login("Ada")
        b.login("Bob")
        name = self.channel(a, b)
        a.say(name, "hello")
        self.assertEqual(b.push(CHANNEL_MESSAGE)["content"], "hello")
        b.say(name, "x" * 10000)
        self.assertEqual([m["content"][:5] for m in a.pushes(CHANNEL_MESSAGE, 2)], ["hello", "xxxxx"])
        self.assertEqual(self.addresses(a, b), [[CLIENT], [CLIENT]])

    def test_what_clients_write_themselves(self):
        for headers in ((("X-Forwarded-For", "192.0.2.1"),), (("Forwarded", "for=192.0.2.1"),),
                        (("X-Forwarded-For", "192.0.2.1"), ("Forwarded", 'for="192.0.2.2'))):
            c = self.behind(True, headers=headers)
            c.login("Eve")
            self.assertEqual(self.addresses(c), [[CLIENT]], headers)

    def test_pages(self):
        """Those of the same host may connect, and no others."""
        c = self.behind(True, headers=(("Origin", "https://chat.example.org"),))
        c.login("Ada")
        with self.assertRaises(Exception) as e:
            Behind(self.server, self.proxy, True, (("Origin", "https://evil.example"),))
        self.assertEqual(getattr(e.exception, "status", None), 403)

    def test_what_is_not_for_the_world(self):
        for host in ("chat.example.org", "localhost", "127.0.0.1"):
            self.assertEqual(self.get("/ready", "Host: " + host)[0], 200)
            self.assertEqual(self.get("/metrics", "Host: " + host)[0], 404)
            for path in ("//metrics", "/./metrics", "/%6detrics", "/metrics?x", "/metrics/"):
                status, answer = self.get(path, "Host: " + host)
                self.assertIn(status, (400, 403, 404, 426), path)
                self.assertNotIn(b"magpie_connections", answer)

    def test_silence(self):
        """What is silent longer than the proxy waits lives, since the server probes in time; else it would be cut."""
        for ping, lives in ((1, True), (0, False)):
            with Server(dict(self.config, timeouts={"ping": ping, "idle": 60})) as s:
                proxy = self.kind(s, self.kind.SHORT)
                try:
                    c = self.behind(True, proxy, server=s)
                    c.login("Ada")
                    try:
                        c.receive(7)
                        self.fail("nothing was to come")
                    except Timeout:
                        self.assertTrue(lives)
                        self.assertIn("time", c.request(9))
                    except Closed:
                        self.assertFalse(lives, "it was cut although the server probes")
                    c.close()
                finally:
                    proxy.close()


class WithNginx(Programs):
    abstract = False
    kind = Nginx


class WithHaproxy(Programs):
    abstract = False
    kind = Haproxy
