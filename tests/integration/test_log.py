"""The log: its lines, its levels, its file, and readers and disks that fail it."""

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from base import Test, one_process, smoke
from client import LOGIN, SEND_CHANNEL, SEND_USER, Client
from console import Console
from server import CLUSTER, MAGPIED, PATIENCE, Server, free_port
from wire import Closed


class OwnServers(Test):
    """Tests that make their own servers."""

    abstract = True

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="magpie-test-")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    def accepts(self, port):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        except OSError:
            return False

    def text(self, path):
        """The file, "" while it is not there."""
        try:
            with open(path, errors="replace") as f:
                return f.read()
        except OSError:
            return ""


@one_process("one process's log")
class Lines(OwnServers):
    def everything(self, s):
        """Much of what could be logged; returns what must not be."""
        secrets = ["content-that-is-nobodys-business", "name-of-a-client-id", "forged-token-AAAAAAAAAAAAAAAAAAAAAA"]
        a, b = Client(s), Client(s, "text")
        a.login("Ada"), b.login("Bob", device="phone")
        secrets += [a.token, b.token]
        c = Client(s, "binary")
        c.login(token=b.token, device="phone")
        secrets.append(c.token)
        Client(s).ask(LOGIN, token=secrets[2])
        for x in (a, c):
            x.subscribe("tea")
            x.say("tea", secrets[0], clientId=secrets[1])
            x.tell(a, secrets[0])
        a.ask_raw(SEND_USER, b'{"receiverId":"' + secrets[0].encode() + b'",')
        a.ask_raw(SEND_USER, b'\xff' + secrets[0].encode())
        a.ask(SEND_CHANNEL, channel="tea", content=secrets[0] * 1000)
        a.wire.stream.write(b"\0\0\0\1" + secrets[0].encode())
        a.rest()
        c.wire.stream.write(b"\xff\xff" + secrets[0].encode())
        try:
            c.rest()
        except Closed:
            pass
        s.rewrite({"auth": {"secret": "planted-secret-in-the-config-file"}})
        s.reload()
        s.rewrite({"auth": {"secret": 5}, "console": {"password": ["planted-password"]}})
        s.reload()
        for x in (a, b, c):
            x.close()
        return secrets + ["planted-secret", "planted-password"]

    @smoke
    def test_no_secrets_at_any_level_and_format(self):
        for form in ("text", "json"):
            with Server({"log": {"level": "debug", "format": form}}) as s:
                secrets = self.everything(s)
                self.assertEqual(s.stop(), 0)
                log = s.whole_log()
                for secret in secrets:
                    self.assertNotIn(secret[:24], log)

    def test_lines_of_text(self):
        with Server() as s:
            self.assertEqual(s.stop(), 0)
            for line in s.whole_log().rstrip("\n").split("\n"):
                self.assertRegex(line, r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warn|error) '
                                       r'[a-z_]+(\.[a-z_]+)+( [a-z_]+=("([^"\\]|\\.)*"|[^ "]*))*$')

    def test_lines_of_json(self):
        with Server({"log": {"format": "json"}}) as s:
            self.assertEqual(s.stop(), 0)
            events = [json.loads(line) for line in s.whole_log().rstrip("\n").split("\n")]
            text = json.dumps(events)
            for event in ("server.start", "listen.open", "server.ready", "server.drain", "server.stop"):
                self.assertIn(event, text)
            self.assertEqual(len({frozenset(set(e) & {"time", "level", "event"}) for e in events}), 1)

    def test_levels(self):
        port = free_port()
        with Server({"log": {"level": "error"}, "listen": {"websocket": "127.0.0.1:%d" % port}}, start=False) as s:
            s.write_config()
            s.launch(wait=False)
            self.eventually(lambda: self.accepts(port))
            self.assertEqual(s.stop(), 0)
            self.assertEqual(s.whole_log(), "")


@one_process("one process's log")
class File(OwnServers):
    """log.file and its rotation: move the file away, then SIGHUP."""

    def logging(self, **config):
        """A server that logs to a file of its own, and the file's path."""
        s = Server(start=False)
        path = os.path.join(s.folder, "magpie.log")
        s.config = {"log": {"file": path, "level": "info"}, "storage": {"engine": "memory"}, **config}
        s.write_config()
        s.launch(wait=False)
        try:
            self.eventually(lambda: "server.ready" in self.text(path))
        except BaseException:
            s.discard()
            raise
        return s, path

    def rotated(self, s, path, number):
        """Moves the file away and waits until there is another, whatever else the reload comes to."""
        os.rename(path, "%s.%d" % (path, number))
        s.signal(signal.SIGHUP)
        self.eventually(lambda: "config.reload" in self.text(path))
        return self.text(path)

    def test_rotation(self):
        s, path = self.logging()
        try:
            s.rewrite({"log": {"format": "json"}})
            self.rotated(s, path, 1)
            self.rotated(s, path, 2)
            self.assertEqual(s.stop(), 0)
            for line in (self.text(path) + self.text(path + ".2")).rstrip("\n").split("\n"):
                json.loads(line)
            self.assertIn("server.stop", self.text(path))
        finally:
            s.discard()

    def test_whatever_fails_at_a_reload_the_file_is_opened_anew(self):
        s, path = self.logging(storage={"memory": 16 << 20})
        try:
            good = s.last_settings
            os.mkdir(os.path.join(s.folder, "scripts"))
            with open(os.path.join(s.folder, "scripts", "bad.lua"), "w") as f:
                f.write("this is no Lua\n")
            secret = os.path.join(s.folder, "data", "secret")
            wrongs = [("config", {"limits": {"content": "many"}}, "limits.content"),
                      ("script", {"scripts": {"path": os.path.join(s.folder, "scripts"), "load": ["bad"]}}, "bad.lua"),
                      ("no script", {"scripts": {"path": os.path.join(s.folder, "scripts"), "load": ["none"]}}, "none"),
                      *([] if CLUSTER else [("secret", {}, "data/secret: has mode 0644")]),  # which has no such file
                      ("plugin", {"plugins": {"load": ["http_api"], "http_api": {"address": "nonsense"}}}, "http_api"),
                      ("log file", {"log": {"file": "/nonexistent/directory/log"}},
                       "log.file: /nonexistent/directory/log cannot be "
                       "opened for appending: No such file or directory")]
            for number, (what, over, named) in enumerate(wrongs):
                with self.subTest(what):
                    s.config = {}
                    s.write_config(good)
                    s.rewrite(over)
                    if not CLUSTER:
                        os.chmod(secret, 0o644 if what == "secret" else 0o600)
                    log = self.rotated(s, path, number)
                    self.assertIn("config.reload_failed", log)
                    self.assertIn(named, log)
            s.write_config(good)
            self.assertIn("config.reloaded", self.rotated(s, path, 99))
            self.assertEqual(s.stop(), 0)
        finally:
            s.discard()

    def test_every_error_of_a_config_is_logged(self):
        """However many: the limit of 20 lines a second is for floods."""
        with Server() as s:
            s.rewrite({"limits": {"wrong_%d" % n: 1 for n in range(40)}})
            s.reload()
            log = s.log()
            self.assertEqual(log.count("config.error"), 40)
            self.assertNotIn("log.suppressed of=config", log)
            for n in range(40):
                self.assertIn("wrong_%d" % n, log)

    def test_a_file_that_cannot_be_opened(self):
        for path, why in (("/nonexistent/log", "No such file or directory"), (self.folder, "Is a directory")):
            s = Server({"log": {"file": path}}, start=False)
            try:
                s.write_config()
                s.launch(wait=False)
                self.assertEqual(s.process.wait(30 * PATIENCE), 1)
                self.assertIn("log.file: %s cannot be opened for appending: %s" % (path, why), s.whole_log())
            finally:
                s.discard()


@one_process("one process's log")
class Stalled(OwnServers):
    """Readers that stand still: lines are lost and counted, nothing waits."""

    def config(self, **over):
        self.port, self.console_port = free_port(), free_port()
        return Server({"listen": {"tcp": "127.0.0.1:%d" % self.port, "console": "127.0.0.1:%d" % self.console_port},
                       "storage": {"engine": "memory"}, "log": {"level": "debug"}, **over}, start=False)

    def launch(self, s, stderr):
        s.write_config()
        s.log_start, s.tcp = 0, self.port
        s.process = subprocess.Popen([MAGPIED, "-c", s.config_path], stderr=stderr, stdout=subprocess.DEVNULL,
                                     stdin=subprocess.DEVNULL, cwd=s.folder)
        self.eventually(lambda: s.process.poll() is not None or self.accepts(self.port), timeout=30)
        self.assertIsNone(s.process.poll())

    def served(self, s):
        """Clients and operators are answered."""
        a, b = self.connect(server=s), self.connect(server=s)
        a.login("Ada"), b.login("Bob")
        a.tell(b, "hello")
        self.assertEqual(b.push(101)["content"], "hello")
        return Console(address=("127.0.0.1", self.console_port))

    def read_until(self, fd, *wanted):
        """What comes out of it, until all this has come."""
        text, end = "", time.monotonic() + 20 * PATIENCE
        while not all(w in text for w in wanted):
            self.assertLess(time.monotonic(), end, "never came: %s; the end: %s" % (wanted, text[-500:]))
            if select.select([fd], [], [], 0.5)[0]:
                text += os.read(fd, 65536).decode(errors="replace")
        return text

    @smoke
    def test_a_pipe_that_nobody_reads(self):
        s = self.config()
        out, into = os.pipe()
        try:
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
            self.launch(s, into)
            console = self.served(s)
            for _ in range(20):  # each is logged, and more than the server keeps together
                console.send("log debug\n" * 200)
                for _ in range(200):
                    self.assertEqual(console.reply()[0], "OK")
            self.served(s).close()
            lost = console.json("status")["log_lost"]
            self.assertGreater(lost, 100)
            metrics = {m["name"]: m["value"] for m in console.json("show metrics")}
            self.assertGreaterEqual(metrics["magpie_log_lost_total"], lost)
            # Its flags are those of whoever has the pipe, too.
            self.assertFalse(fcntl.fcntl(into, fcntl.F_GETFL) & os.O_NONBLOCK)
            log = self.read_until(out, "server.ready", "log.lost lines=")
            for line in log[:log.rindex("\n")].split("\n"):
                self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\S+Z (debug|info|warn|error) [a-z_.]+")
            console.ask("log info")
            self.read_until(out, "command=log on=info")
            console.close()
        finally:
            s.signal(signal.SIGKILL)
            s.discard()
            os.close(out), os.close(into)

    def test_the_end_does_not_wait(self):
        """Neither SIGTERM nor a second signal, nor a start that fails."""
        for how in ("once", "twice", "in use"):
            with self.subTest(how):
                s = self.config(timeouts={"drain": 1})
                out, into = os.pipe()
                try:
                    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
                    if how == "in use":
                        os.write(into, b"x" * 4096)
                        blocker = socket.create_server(("127.0.0.1", self.port))
                        s.write_config()
                        s.process = subprocess.Popen([MAGPIED, "-c", s.config_path], stderr=into, cwd=s.folder)
                        self.assertEqual(s.process.wait(30 * PATIENCE), 1)
                        blocker.close()
                        continue
                    self.launch(s, into)
                    console = self.served(s)
                    for _ in range(20):
                        console.send("log debug\n" * 200)
                        for _ in range(200):
                            console.reply()
                    console.close()
                    s.signal(signal.SIGTERM)
                    if how == "twice":
                        s.signal(signal.SIGINT)
                    self.assertIn(s.process.wait(30 * PATIENCE), (0,) if how == "once" else (0, 1))
                finally:
                    s.discard()
                    os.close(out), os.close(into)

    def test_a_fifo(self):
        s = self.config()
        path = os.path.join(s.folder, "fifo")
        os.mkfifo(path)
        s.config["log"] = {"file": path, "level": "info"}
        try:
            self.launch(s, subprocess.DEVNULL)
            console = self.served(s)
            out = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            self.read_until(out, "server.ready")
            # A reader that goes away and comes again.
            os.close(out)
            console.ask("log debug")
            s.signal(signal.SIGHUP)
            self.served(s).close()
            out = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            self.read_until(out, "command=log on=debug", "config.reloaded")
            os.close(out)
            console.close()
            self.assertEqual(s.stop(), 0)
        finally:
            s.discard()

    def test_a_disk_that_is_full(self):
        s = self.config()
        path = os.path.join(s.folder, "magpie.log")
        s.config["log"] = {"file": "/dev/full"}
        try:
            self.launch(s, subprocess.DEVNULL)
            self.served(s).close()
            s.rewrite({"log": {"file": path}})
            s.signal(signal.SIGHUP)
            # What waited is written to the other place.
            self.eventually(lambda: "server.ready" in self.text(path) and "config.reloaded" in self.text(path))
            self.assertEqual(s.stop(), 0)
        finally:
            s.discard()
