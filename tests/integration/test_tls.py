"""TLS: both versions, both record layers, certificates by name, reload, resumption, and what goes wrong."""

import json
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
import unittest

import certs
from base import Test, one_process, smoke
from server import PATIENCE, ROOT, Server
from wire import Closed, Stream, TcpWire, WsWire

CTL = os.path.join(ROOT, "build", "magpiectl")
ALERTS = {"unexpected_message": 10, "protocol_version": 70}


def console(server, *command):
    done = subprocess.run([CTL, "-s", "unix:" + server.folder + "/console"] + list(command), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=30)
    return done.stdout.decode()


class TlsTest(Test):
    config = {"tls": {}, "listen": {"console": "unix:console"}, "plugins": {"load": {"echo": {}}}}

    def secure(self, version=None, server=None, port=None, wire=TcpWire, **settings):
        """A wire by TLS, which is closed at the end."""
        server = server or self.server
        w = wire(port or (server.tcps if wire is TcpWire else server.wss), tls=certs.client(version, **settings))
        self.clients.append(w)
        return w

    def ask(self, wire, action=9, seq=1, body=b"{}"):
        """An answer's body."""
        wire.send(action, seq, body)
        return json.loads(wire.receive(time.monotonic() + 10 * PATIENCE)[2])

    def raw(self, data=b"", port=None, server=None):
        s = Stream(("127.0.0.1", port or (server or self.server).tcps))
        self.clients.append(s)
        s.write(data)
        return s

    def rest(self, s, timeout=15):
        """All that comes until the other side's end."""
        end = time.monotonic() + timeout * PATIENCE
        try:
            while True:
                s.fill(len(s.buffer) + 1, end)
        except Closed:
            return bytes(s.buffer)


class Tls(TlsTest):
    @smoke
    def test_both_versions(self):
        for version, name in (("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")):
            for wire in (TcpWire, WsWire):
                w = self.secure(version, wire=wire)
                self.assertEqual(w.stream.socket.version(), name)
                self.assertIn("time", self.ask(w))
                w.send(1, 2, json.dumps({"name": "Ada"}).encode())
                self.assertIn("token", json.loads(w.receive(time.monotonic() + 10 * PATIENCE)[2]))

    def test_every_suite(self):
        for name in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
                     "ECDHE-ECDSA-CHACHA20-POLY1305"):
            w = self.secure("1.2", ciphers=name)
            self.assertEqual(w.stream.socket.cipher()[0], name)
            self.assertIn("time", self.ask(w))
        for name in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
            out = self.s_client("-tls1_3", "-ciphersuites", name, data=TcpWire.pack(9, 1, b"{}"))
            self.assertIn("Cipher is " + name, out)
            self.assertIn('{"time":', out)

    def test_weak_ones_are_refused(self):
        for arguments in (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), ("-tls1_2", "-cipher", "AES128-SHA"),
                          ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"), ("-tls1_3", "-groups", "ffdhe2048")):
            out = self.s_client(*arguments, fails=True)
            self.assertIn("alert", out, arguments)

    def s_client(self, *arguments, data=b"", wait=0.5, fails=False, server=None, port=None):
        """What openssl s_client says and hears."""
        port = port or (server or self.server).tcps
        p = subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, "-CAfile",
                              certs.authority()[0], "-servername", "localhost"] + list(arguments),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for piece in [data] if isinstance(data, bytes) else data:
            try:
                p.stdin.write(piece)
                p.stdin.flush()
            except BrokenPipeError:
                break
            time.sleep(wait)
        out = p.communicate(timeout=20 * PATIENCE)[0].decode(errors="replace")
        if not fails:
            self.assertIn("Verify return code: 0", out)
        return out

    def test_key_updates(self):
        frame = TcpWire.pack(9, 1, b'{"x":"aaaa"}') + b"\n"
        # The line feed that s_client needs behind a command belongs to no frame: so commands come first.
        out = self.s_client("-tls1_3", data=[b"K\n", b"k\n", b"K\n", frame[:-1]])
        self.assertEqual(out.count("KEYUPDATE"), 3)
        self.assertIn('{"time":', out)

    @one_process("each node takes its own tickets")
    def test_resumed_over_a_restart(self):
        with Server({"tls": {}}) as server:
            for version in ("-tls1_2", "-tls1_3"):
                saved = certs.path("session" + version)
                self.assertIn("New, TLS", self.s_client(version, "-sess_out", saved, server=server,
                                                        data=TcpWire.pack(9, 1, b"{}")))
                self.assertIn("Reused, TLS", self.s_client(version, "-sess_in", saved, server=server))
            keys = os.path.join(server.folder, "data", "ticket-keys")
            self.assertEqual(os.stat(keys).st_mode & 0o777, 0o600)
            server.restart()
            for version in ("-tls1_2", "-tls1_3"):
                out = self.s_client(version, "-sess_in", certs.path("session" + version), server=server,
                                    data=TcpWire.pack(9, 1, b"{}"))
                self.assertIn("Reused, TLS", out)
                self.assertIn('{"time":', out)
            server.stop()
            os.unlink(keys)
            server.start()
            for version in ("-tls1_2", "-tls1_3"):
                out = self.s_client(version, "-sess_in", certs.path("session" + version), server=server,
                                    data=TcpWire.pack(9, 1, b"{}"))
                self.assertIn("New, TLS", out)
                self.assertIn('{"time":', out)

    @one_process("each node takes its own tickets")
    def test_a_ticket_after_each(self):
        """Who takes a ticket of TLS 1.3 only once, as browsers do, has another for the next time."""
        context, session, seen = certs.client("1.3"), None, set()
        for again in (False, True, True, True):
            s = context.wrap_socket(socket.create_connection(("127.0.0.1", self.server.tcps), 30 * PATIENCE),
                                    server_hostname="localhost", session=session)
            s.sendall(TcpWire.pack(9, 1, b"{}"))
            self.assertIn(b'{"time":', s.recv(4096))
            self.assertEqual(s.session_reused, again)
            session = s.session
            self.assertNotIn(session.id, seen)  # which is made of the ticket
            seen.add(session.id)
            s.close()

    def test_no_early_data(self):
        saved, early = certs.path("early"), certs.path("early-data")
        self.s_client("-tls1_3", "-sess_out", saved, data=TcpWire.pack(9, 1, b"{}"))
        with open(early, "wb") as f:
            f.write(TcpWire.pack(9, 7, b"{}"))
        out = self.s_client("-tls1_3", "-sess_in", saved, "-early_data", early, data=TcpWire.pack(9, 8, b"{}"))
        self.assertNotIn("Early data was accepted", out)
        self.assertEqual(out.count('{"time":'), 1)

    def test_no_renegotiation(self):
        out = self.s_client("-tls1_2", data=[b"R\n", b"R\n"], fails=True)
        self.assertIn("no renegotiation", out)

    def test_both_ends_are_told(self):
        """close_notify comes from the server, and the client's is an end as good as FIN."""
        for version in ("1.2", "1.3"):
            # Ours first: unwrap() wants the server's close_notify.
            w = self.secure(version)
            w.send(9, 1, b"{}")
            w.receive(time.monotonic() + 10 * PATIENCE)
            w.stream.socket.settimeout(20 * PATIENCE)
            w.stream.socket.unwrap()
            # Framing is lost: an error, a reason, the end, and no truncation.
            w = self.secure(version)
            w.stream.socket.suppress_ragged_eofs = False
            w.stream.write(b"\xff" * 8)
            data = self.rest(w.stream)
            self.assertIn(b"too_large", data)
            self.assertIn(b'"reason":"protocol"', data)

    def test_an_end_without_close_notify(self):
        for version in ("1.2", "1.3"):
            w = self.secure(version)
            self.ask(w)
            w.stream.socket.shutdown(socket.SHUT_WR)
            self.rest(w.stream)  # which Python shows as it is: it has forgotten that this was TLS

    def test_names(self):
        """Who is at the other end, and by what, in the console's lists."""
        a, b = self.connect("tls-tcp"), self.connect("tls-text")
        a.login("Tcpsy")
        b.login("Wssy")
        out = console(self.server, "list", "connections")
        self.assertRegex(out, r"tcps\b")
        self.assertRegex(out, r"wss\b")

    def test_moves_between_shards(self):
        """Connections of one user meet on its shard with what they hold: frames behind the login in one record."""
        for version in ("1.2", "1.3"):
            first = self.connect("tls-tcp")
            first.login("Mover")
            for i in range(6):
                w = self.secure(version)
                body = json.dumps({"token": first.token, "device": "d%d" % i}).encode()
                w.stream.write(w.pack(1, 1, body) + b"".join(w.pack(9, s, b"{}") for s in range(2, 60)))
                for seq in range(1, 60):
                    self.assertEqual(w.receive(time.monotonic() + 10 * PATIENCE)[1], seq)

    def test_large_and_many(self):
        """Megabytes both ways, through full sockets and the rests of records."""
        for version in ("1.2", "1.3"):
            w = self.secure(version, wire=WsWire, port=self.server.wss)
            w = WsWire(self.server.wss, tls=certs.client(version), path="/echo", receive_buffer=8192)
            self.clients.append(w)
            data = os.urandom(1 << 20)
            self.write_and_read(w.stream, w.frame(2, data) * 6, 6 * (10 + len(data)))
            for _ in range(6):
                opcode, payload = w.receive_message(time.monotonic() + 60 * PATIENCE)
                self.assertEqual((opcode, payload == data), (2, True))

    def write_and_read(self, stream, out, n):
        """Writes all of it while n bytes are read into the stream's buffer. In one thread: OpenSSL allows no two."""
        end, waits = time.monotonic() + 60 * PATIENCE, (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        stream.socket.setblocking(False)
        out, piece = memoryview(out), None
        while len(stream.buffer) < n:
            self.assertLess(time.monotonic(), end, "%d of %d bytes" % (len(stream.buffer), n))
            moved = False
            if out:
                try:
                    piece = piece or out[:65536]  # what was begun must be given again as it was
                    sent = stream.socket.send(piece)
                    out, piece, moved = out[sent:], None, True
                except waits:
                    pass
            try:
                data = stream.socket.recv(65536)
                self.assertTrue(data, "the end")
                stream.buffer += data
                moved = True
            except waits:
                pass
            if not moved:
                select.select([stream.socket], [stream.socket] if out else [], [], 0.05)
        stream.socket.setblocking(True)

    def test_plain_http(self):
        for port in (self.server.tcps, self.server.wss):
            answer = self.rest(self.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", port)).decode()
            self.assertTrue(answer.startswith("HTTP/1.1 400 "), answer)
            self.assertIn("this port speaks TLS: use https:// or wss://", answer)
        self.server.wait_log("plain HTTP on a port of TLS")

    def test_tls_on_plain_ports(self):
        with self.assertRaises(Closed):
            TcpWire(self.server.tcp, tls=certs.client())
        with self.assertRaises(Closed):
            WsWire(self.server.websocket, tls=certs.client())
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        self.assertIn(b"this is TLS, and the port speaks none", self.rest(self.raw(hello, self.server.tcp)))
        self.assertIn(b"this is TLS, and the port speaks none", self.rest(self.raw(hello, self.server.websocket)))

    def test_alpn(self):
        for port, protocols, chosen in ((self.server.wss, ["http/1.1"], "http/1.1"),
                                        (self.server.wss, ["h2", "http/1.1"], "http/1.1"),
                                        (self.server.wss, None, None), (self.server.tcps, ["magpie"], None)):
            context = certs.client()
            if protocols:
                context.set_alpn_protocols(protocols)
            s = Stream(("127.0.0.1", port), tls=context)
            self.clients.append(s)
            self.assertEqual(s.socket.selected_alpn_protocol(), chosen)
        for port, protocols in ((self.server.wss, ["h2"]), (self.server.tcps, ["http/1.1"])):
            context = certs.client()
            context.set_alpn_protocols(protocols)
            with self.assertRaises(Closed):
                Stream(("127.0.0.1", port), tls=context)


class Records(Tls):
    """The same with OpenSSL's records."""
    config = {"tls": {"records": "openssl"}, "listen": {"console": "unix:console"}, "plugins": {"load": {"echo": {}}}}


class Names(TlsTest):
    def names(self, server, name):
        """The names in the certificate that is shown for this one."""
        context = ssl.create_default_context(cafile=certs.authority()[0])
        context.check_hostname = False
        with socket.create_connection(("127.0.0.1", server.tcps)) as s:
            with context.wrap_socket(s, server_hostname=name) as t:
                return [v for k, v in t.getpeercert()["subjectAltName"] if k == "DNS"]

    def test_by_sni(self):
        first, wild = certs.certificate(), certs.certificate("wild", ("DNS:*.example.org", "DNS:example.org"))
        exact = certs.certificate("exact", ("DNS:chat.example.org",))
        config = {"tls": {"certificate": [first[0], wild[0], exact[0]], "key": [first[1], wild[1], exact[1]]}}
        with Server(config) as server:
            for name, shown in (("localhost", "localhost"), ("example.org", "*.example.org"),
                                ("a.example.org", "*.example.org"), ("A.Example.ORG", "*.example.org"),
                                ("chat.example.org", "chat.example.org"), ("a.b.example.org", "localhost"),
                                ("nobody.invalid", "localhost"), (None, "localhost")):
                self.assertEqual(self.names(server, name)[0], shown, name)

    def test_rsa_too(self):
        rsa = certs.certificate("rsa", ("DNS:localhost",), kind=("rsa", "rsa_keygen_bits:2048"))
        with Server({"tls": {"certificate": rsa[0], "key": rsa[1]}}) as server:
            for version in ("1.2", "1.3"):
                self.assertIn("time", self.ask(self.secure(version, server=server)))

    def test_reload_under_load(self):
        """Other certificates from the next handshake on; whoever is connected notices nothing; a bad one is refused."""
        one, two = certs.certificate(), certs.certificate("second", ("DNS:localhost", "DNS:second.example"))
        with Server({"tls": {}}) as server:
            cert, key = os.path.join(server.folder, "c.pem"), os.path.join(server.folder, "k.pem")

            def put(pair):
                for source, target in zip(pair, (cert, key)):
                    shutil.copy(source, target + ".new")
                    os.rename(target + ".new", target)

            put(one)
            server.rewrite({"tls": {"certificate": cert, "key": key}})
            server.reload()
            wires = [self.secure(version, server=server) for version in ("1.2", "1.3") * 10]
            stop, errors = threading.Event(), []

            def talk(mine):
                while not stop.is_set():
                    try:
                        for w in mine:
                            self.ask(w)
                        w = TcpWire(server.tcps, tls=certs.client())
                        self.ask(w)
                        w.close()
                    except Exception as e:
                        errors.append(repr(e))
                        return

            threads = [threading.Thread(target=talk, args=(wires[i::2],)) for i in range(2)]
            for t in threads:
                t.start()
            try:
                for i in range(8):
                    put((one, two)[i % 2])
                    server.reload()
                    self.assertEqual("second.example" in self.names(server, "localhost"), i % 2 == 1)
                # A key of another certificate, none at all, half of one: the old ones stay.
                put((two[0], one[1]))
                server.reload()
                server.wait_log("is not the key of the certificate in")
                os.unlink(cert)
                server.reload()
                server.wait_log("c.pem: No such file or directory")
                with open(cert, "w") as f:
                    f.write("-----BEGIN CERTIFICATE-----\nAAAA\n")
                server.reload()
                self.assertIn("second.example", self.names(server, "localhost"))
            finally:
                stop.set()
                for t in threads:
                    t.join()
            self.assertEqual(errors, [])
            for w in wires:
                self.ask(w)


class Refused(TlsTest):
    """What is wrong with a config's files is said by name, and the server does not start."""

    def refusal(self, tls):
        server = Server({"tls": tls}, start=False)
        try:
            server.write_config()
            done = subprocess.run([os.environ.get("MAGPIED", ROOT + "/build/magpied"), "-t", "-c", server.config_path],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30 * PATIENCE)
            return done.returncode, done.stdout.decode()
        finally:
            server.discard()

    def test_files(self):
        cert, key = certs.certificate()
        other = certs.certificate("other", ("DNS:other.example",))
        encrypted, open_to_all, empty = certs.path("encrypted.key"), certs.path("open.key"), certs.path("empty")
        certs.openssl("ec", "-in", key, "-out", encrypted, "-aes128", "-passout", "pass:secret")
        os.chmod(encrypted, 0o600)
        shutil.copy(key, open_to_all)
        os.chmod(open_to_all, 0o644)
        open(empty, "w").close()
        os.chmod(empty, 0o600)
        for c, k, words in ((cert, other[1], "tls.key: %s: is not the key of the certificate in %s" % (other[1], cert)),
                            (cert, encrypted, "tls.key: %s: the key is encrypted" % encrypted),
                            (cert, open_to_all, "tls.key: %s: has mode 0644" % open_to_all),
                            (cert, empty, "tls.key: %s: no private key in PEM form is in it" % empty),
                            (empty, key, "tls.certificate: %s: no certificate in PEM form is in it" % empty),
                            (key, key, "tls.certificate: %s: no certificate in PEM form is in it" % key),
                            (certs.folder(), key, "tls.certificate: %s: is no plain file" % certs.folder()),
                            (cert, "/no/such", "tls.key: /no/such: No such file or directory"),
                            ([cert, other[0]], [key, "/no/such"], "tls.key: /no/such: No such file")):
            status, said = self.refusal({"certificate": c, "key": k})
            self.assertEqual(status, 1, said)
            self.assertIn(words, said)
            self.assertNotIn("PRIVATE KEY", said)
        status, said = self.refusal({"certificate": cert, "key": key})
        self.assertEqual(status, 0, said)

    def test_listeners_without_certificate(self):
        server = Server({"listen": {"tcps": "127.0.0.1:0"}}, start=False)
        server.write_config()
        done = subprocess.run([os.environ.get("MAGPIED", ROOT + "/build/magpied"), "-t", "-c", server.config_path],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30 * PATIENCE)
        server.discard()
        self.assertIn(b"listen.tcps: needs tls.certificate and tls.key", done.stdout)
        self.assertEqual(done.returncode, 1)

    def test_expired_is_warned_of(self):
        old = certs.certificate("expired", ("DNS:localhost",), days=-1)
        with Server({"tls": {"certificate": old[0], "key": old[1]}}) as server:
            self.assertRegex(server.log(), r"warn tls\.certificate for=localhost doubt=\"?expired")
            with self.assertRaises(Closed):
                self.secure(server=server)
