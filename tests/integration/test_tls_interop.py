"""TLS with clients of others, graded by nmap, and consoles over TLS."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import certs
from plugin_base import SHIPPED_PLUGINS
from server import PATIENCE, Server
from test_tls import CTL, TlsTest
from wire import TcpWire

HERE = os.path.dirname(os.path.abspath(__file__))
CHROMIUM = os.environ.get("MAGPIE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
BENCH = os.path.join(os.path.dirname(CTL), "magpie-bench")


def needs(program):
    return unittest.skipUnless(shutil.which(program), "there is no %s here" % program)


def run(*command, data=b"", environment=None):
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=120 * PATIENCE, env=dict(os.environ, **(environment or {})))
    return done.returncode, done.stdout.decode(errors="replace")


class Interop(TlsTest):
    config = {"tls": {}, "compression": {"threshold": 100}, "listen": {"console": "unix:console"},
              "plugins": {"path": SHIPPED_PLUGINS, "load": {"metrics": {}, "web": {}}}}

    @needs("gnutls-cli")
    def test_gnutls(self):
        ca = "--x509cafile=" + certs.authority()[0]
        for priority in ("NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3",
                         "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305",
                         "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-256-GCM"):
            p = subprocess.Popen(["gnutls-cli", ca, "--priority", priority, "-p", str(self.server.tcps), "localhost"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            p.stdin.write(TcpWire.pack(9, 1, b"{}"))
            p.stdin.flush()
            out = b""
            while b'{"time":' not in out:
                piece = os.read(p.stdout.fileno(), 65536)
                self.assertTrue(piece, out)
                out += piece
            p.stdin.close()
            p.stdout.close()
            self.assertEqual(p.wait(20 * PATIENCE), 0, priority)

    @needs("go")
    def test_go(self):
        with tempfile.TemporaryDirectory(prefix="magpie-go-") as folder:
            client = os.path.join(folder, "tls_client")
            status, out = run("go", "build", "-o", client, os.path.join(HERE, "tls_client.go"),
                              environment={"GOCACHE": folder, "GOFLAGS": "", "GO111MODULE": "off"})
            self.assertEqual(status, 0, out)
            for version in ("1.2", "1.3"):
                status, out = run(client, "localhost:%d" % self.server.tcps, certs.authority()[0], version)
                self.assertEqual((status, out), (0, "1200 frames, 3 resumed\n"), version)

    @needs("curl")
    def test_curl(self):
        for version in ("--tls-max 1.2", "--tlsv1.3"):
            status, out = run("curl", "-sS", "-i", "--cacert", certs.authority()[0], *version.split(),
                              "https://localhost:%d/metrics" % self.server.wss)
            self.assertEqual(status, 0, out)
            self.assertIn("HTTP/1.1 200", out)
            self.assertRegex(out, r"\nmagpie_tls_handshakes_full_total [1-9]")
            self.assertRegex(out, r"\nmagpie_tls_certificate_days (29|30)\b")

    @unittest.skipUnless(CHROMIUM, "there is no Chromium here (Debian's package chromium)")
    def test_chromium(self):
        for version in ("tls1.2", "tls1.3"):
            with tempfile.TemporaryDirectory(prefix="magpie-chromium-") as folder:
                status, out = run(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu",
                                  "--ignore-certificate-errors", "--ssl-version-max=" + version,
                                  "--ssl-version-min=" + version,
                                  "--user-data-dir=" + folder, "--dump-dom", "https://localhost:%d/" % self.server.wss)
            self.assertEqual(status, 0, out)
            self.assertIn("<title>Magpie</title>", out)

    @unittest.skipUnless(shutil.which("node") and os.path.isdir(os.path.join(HERE, "node_modules", "ws")),
                         "there is no node here, or no npm's ws")
    def test_node(self):
        for form in ("binary", "text"):
            for deflate in ("plain", "deflate"):
                status, out = run("node", os.path.join(HERE, "ws_client.js"), str(self.server.wss), form, deflate,
                                  "wss", environment={"NODE_EXTRA_CA_CERTS": certs.authority()[0]})
                self.assertEqual(status, 0, out)
                self.assertEqual(json.loads(out)["forms"], [form])

    def test_our_own_clients(self):
        """The C library's, by the load generator: every message to everybody, once and in order."""
        for version in (["-t"], ["-t", "--resume"], ["--tls12"], ["--tls12", "--resume"]):
            for port, more in ((self.server.tcps, ()), (self.server.wss, ("-w",))):
                status, out = run(BENCH, "channel", "-a", "127.0.0.1:%d" % port, *version, *more, "-c", "40", "-k", "2",
                                  "-n", "50", "--warmup", "0", "--concurrency", "8", "--size", "3000", "-q", "--json")
                self.assertEqual(status, 0, out)
                figures = json.loads(out)
                self.assertEqual((figures["deliveries"], figures["missing"], figures["duplicates"]), (2000, 0, 0))
                self.assertEqual(figures["transport"], "wss" if more else "tcps")
                # Of 41; those that were begun before the first ticket came have none.
                if "--resume" in version:
                    self.assertGreater(figures["resumed_handshakes"], 20)
                else:
                    self.assertEqual(figures["resumed_handshakes"], 0)

    @needs("nmap")
    def test_grade(self):
        # nmap grades an ECDSA key of 256 bits A, and knows no certificate of our own authority.
        for port in (self.server.tcps, self.server.wss):
            status, out = run("nmap", "-Pn", "-p", str(port), "--script", "ssl-enum-ciphers", "127.0.0.1")
            self.assertEqual(status, 0, out)
            self.assertIn("least strength: A", out)
            self.assertIn("TLSv1.2:", out)
            for old in ("SSLv3", "TLSv1.0", "TLSv1.1"):
                self.assertNotIn(old + ":", out)
            self.assertEqual(set(re.findall(r" - ([A-F])\n", out)), {"A"})
        self.server.wait_log("tls.refused")
        self.assertIn("time", self.ask(self.secure()))


class ConsoleOverTls(TlsTest):
    def ctl(self, server, *arguments):
        port = re.search(r"listen\.open address=127\.0\.0\.1:(\d+) transport=console", server.log()).group(1)
        return run(CTL, "-s", "tls:localhost:" + port, *arguments)

    def test_client_certificates(self):
        ca = certs.authority("operators")[0]
        ada = certs.certificate("ada", ("DNS:ada",), ca="operators", common="Ada")
        eve = certs.certificate("eve", ("DNS:eve",), common="Eve")
        trust = ("--cacert", certs.authority()[0])
        config = {"tls": {"client_ca": ca}, "listen": {"console": "tls:127.0.0.1:0"}}
        with Server(config) as server:
            status, out = self.ctl(server, *trust, "--cert", ada[0], "--key", ada[1], "version")
            self.assertEqual((status, "magpied" in out), (0, True), out)
            # A long answer, through full sockets.
            status, out = self.ctl(server, *trust, "--cert", ada[0], "--key", ada[1], "-f", "json", "show", "metrics")
            self.assertEqual(status, 0)
            json.loads(out)
            status, out = self.ctl(server, *trust, "--cert", ada[0], "--key", ada[1], "announce", "hello")
            self.assertEqual(status, 0, out)
            self.assertRegex(server.log(), r"console\.command who=\"127\.0\.0\.1:\d+ \(Ada\)\"")
            for mine in ((), ("--cert", eve[0], "--key", eve[1])):
                status, out = self.ctl(server, *trust, *mine, "version")
                self.assertEqual(status, 1, out)
                self.assertNotIn("magpied\n", out)
            server.wait_log("console.tls")
            status, out = self.ctl(server, "--cert", ada[0], "--key", ada[1], "version")
            self.assertEqual(status, 1)
            self.assertIn("its certificate is refused: ", out)
            status, out = self.ctl(server, "--cacert", "/no/such", "version")
            self.assertEqual((status, "/no/such: " in out), (1, True), out)
            # Other authorities from the next connection on.
            server.rewrite({"tls": {"client_ca": certs.authority()[0]}})
            server.reload()
            self.assertEqual(self.ctl(server, *trust, "--cert", ada[0], "--key", ada[1], "version")[0], 1)
            self.assertEqual(self.ctl(server, *trust, "--cert", eve[0], "--key", eve[1], "version")[0], 0)

    def test_with_a_password(self):
        console = {"password": "correct horse"}
        with Server({"tls": {}, "console": console, "listen": {"console": "tls:127.0.0.1:0"}}) as s:
            port = re.search(r"listen\.open address=127\.0\.0\.1:(\d+) transport=console", s.log()).group(1)
            command = (CTL, "-s", "tls:127.0.0.1:" + port, "--cacert", certs.authority()[0], "version")
            self.assertEqual(run(*command)[0], 1)
            status, out = run(*command, environment={"MAGPIE_PASSWORD": "correct horse"})
            self.assertEqual((status, "magpied" in out), (0, True), out)

    def test_plain_words_at_a_console_of_tls(self):
        with Server({"tls": {}, "listen": {"console": "tls:127.0.0.1:0"}}) as s:
            port = int(re.search(r"listen\.open address=127\.0\.0\.1:(\d+) transport=console", s.log()).group(1))
            self.assertNotIn(b"OK", self.rest(self.raw(b"version\n", port)))
            s.wait_log("console.tls")
