"""The process: command line, config errors, signals, sd_notify. The log is test_log.py's."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from base import Test, embedded, one_process, smoke
from client import CLOSING, PING, SEND_CHANNEL, Client
from server import MAGPIED, PATIENCE, ROOT, SANITIZED, Server
from wire import Closed


def run(*arguments, timeout=60, **options):
    """(status, standard output, standard error)"""
    r = subprocess.run([MAGPIED, *arguments], capture_output=True, text=True, timeout=timeout * PATIENCE,
                       stdin=subprocess.DEVNULL, **options)
    return r.returncode, r.stdout, r.stderr


@one_process("one process")
class Plain(Test):
    """Tests that make their own servers, or none."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="magpie-test-")

    @classmethod
    def tearDownClass(cls):
        import shutil
        shutil.rmtree(cls.folder, ignore_errors=True)

    def file(self, text, name="magpie.lua"):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path


class CommandLine(Plain):
    @smoke
    def test_version(self):
        status, out, err = run("--version")
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"^magpied \d+\.\d+")

    @smoke
    def test_defaults_are_a_good_config(self):
        status, out, err = run("--defaults")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("--", out, "commented")
        status, _, err = run("-t", "-c", self.file(out), cwd=ROOT)
        self.assertEqual(status, 0, err)
        for key in ("dedup_window", "slice_ms", "connections_per_ip", "durability", "budget_ms", "origins"):
            self.assertIn(key, out)

    def test_the_shipped_config(self):
        status, _, err = run("-t", "-c", "etc/magpie.lua", cwd=ROOT)
        self.assertEqual(status, 0, err)

    def test_wrong_command_lines(self):
        for arguments in ((), ("-x",), ("-c",), ("--nonsense",), ("-t",), ("-c", "a", "b")):
            status, _, err = run(*arguments)
            self.assertNotEqual(status, 0, arguments)
            self.assertIn("magpied", err)

    def test_no_such_config(self):
        for arguments in (("-t", "-c", self.folder + "/none.lua"), ("-c", self.folder + "/none.lua")):
            status, out, err = run(*arguments)
            self.assertEqual(status, 1)
            self.assertIn("none.lua", err + out)

    @smoke
    def test_all_errors_at_once(self):
        path = self.file('''return { listen = { tpc = 1, tcp = "nonsense" }, threads = -1, limits = { frame = "x", contnt = 5 }, log = { level = "loud" },
                            tiers = { dm = { durability = "maybe" } }, rate = { user = 1.5 }, timeouts = 7 }''')
        for arguments in (("-t", "-c", path), ("-c", path)):
            status, out, err = run(*arguments)
            text = out + err
            self.assertEqual(status, 1)
            for words in (("listen.tpc", "listen.tcp"), ("listen.tcp", "nonsense"), ("threads", "-1"),
                          ("limits.frame", "x"), ("limits.contnt", "limits.content"),
                          ("log.level", "loud", "debug"), ("tiers.dm.durability", "maybe", "commit"),
                          ("rate.user", "1.5"), ("timeouts", "7")):
                line = [x for x in text.split("\n") if all(w in x for w in words)]
                self.assertTrue(line, "no line with %s in:\n%s" % (words, text))

    def test_configs_that_do_not_run(self):
        for text in ("return {", "return 5", "", "error('x')", "while true do end",
                     "return { data = io.open('/etc/passwd') }", "return setmetatable({}, {})",
                     "local x = os.time() return {}",
                     "return { [1] = 2 }", "string.rep = nil return {}", "return { data = ('x'):rep(1e9) }"):
            with self.subTest(text=text):
                status, out, err = run("-t", "-c", self.file(text))
                self.assertEqual(status, 1, out + err)
                self.assertTrue(out + err)

    def test_units_and_env(self):
        text = ('return { limits = { frame = 16*KiB, content = 4*KiB, guest = 2*days, '
                'dedup_window = 90*seconds + 1*minutes }, data = env("MAGPIE_NO_SUCH", "here"), '
                'log = { level = env("MAGPIE_LEVEL", "info") } }')
        self.assertEqual(run("-t", "-c", self.file(text), cwd=ROOT)[0], 0)
        status, _, err = run("-t", "-c", self.file(text), cwd=ROOT, env=dict(os.environ, MAGPIE_LEVEL="shout"))
        self.assertEqual(status, 1)
        self.assertIn("shout", err)

    def test_an_open_server_is_not_made_by_accident(self):
        text = 'return { listen = { tcp = "0.0.0.0:8081" }%s }'
        self.assertEqual(run("-t", "-c", self.file(text % ""), cwd=ROOT)[0], 1)
        self.assertIn("allow_open", run("-t", "-c", self.file(text % ""), cwd=ROOT)[2])
        self.assertEqual(run("-t", "-c", self.file(text % ", auth = { allow_open = true }"), cwd=ROOT)[0], 0)


class Starting(Plain):
    @smoke
    def test_a_port_in_use(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            port = s.getsockname()[1]
            path = self.file('return { listen = { tcp = "127.0.0.1:%d", websocket = {}, console = {} }, data = "%s/d1" '
                             '}' % (port, self.folder))
            status, out, err = run("-c", path, cwd=ROOT)
        self.assertEqual(status, 1)
        self.assertIn(str(port), out + err)
        self.assertIn("in use", out + err)

    def test_a_port_of_another_magpied(self):
        """SO_REUSEPORT must not hide it."""
        with Server() as s:
            path = self.file('return { listen = { tcp = "127.0.0.1:%d", websocket = {}, console = {} }, data = "%s/d2" '
                             '}' % (s.tcp, self.folder))
            status, out, err = run("-c", path, cwd=ROOT)
            self.assertEqual(status, 1)
            self.assertIn("in use", out + err)
            with Client(s) as c:
                c.login("Ada")

    @smoke
    def test_two_servers_on_one_directory(self):
        with Server() as s:
            path = self.file('return { listen = { tcp = {}, websocket = "127.0.0.1:0", console = {} }, data = '
                             '"%s/data" }' % s.folder)
            status, out, err = run("-c", path, cwd=ROOT)
            self.assertEqual(status, 1)
            self.assertIn(s.folder + "/data", out + err)
            with Client(s) as c:
                c.login("Ada")
                c.subscribe("x")
                c.say("x", "still well")

    @unittest.skipUnless(shutil.which("prlimit"), "there is no prlimit here")
    def test_limits_that_are_too_small(self):
        """A sentence that names the limit, at whatever number; never an abort of a library."""
        path = self.file('return { listen = { tcp = "127.0.0.1:0", websocket = "127.0.0.1:0", console = {} }, data = '
                         '"%s/limits", threads = 2 }' % self.folder)
        cases = [("--nofile=%d:%d" % (n, n), "ulimit -n") for n in (8, 16, 22, 24, 25, 26, 28, 32, 48, 56)]
        if not SANITIZED:
            cases += [("--as=%d000000" % n, "ulimit -v") for n in (150, 250, 350)]
        for limit, words in cases:
            with self.subTest(limit=limit):
                p = subprocess.run(["prlimit", limit, MAGPIED, "-c", path], capture_output=True, text=True,
                                   timeout=60 * PATIENCE, stdin=subprocess.DEVNULL, cwd=ROOT)
                self.assertEqual(p.returncode, 1, p.stderr)
                self.assertIn(words, p.stderr)

    @unittest.skipUnless(shutil.which("prlimit"), "there is no prlimit here")
    @unittest.skipIf(SANITIZED, "a sanitizer needs descriptors and stack of its own")
    def test_limits_that_are_just_enough(self):
        with Server(prefix=["prlimit", "--nofile=64:64", "--stack=131072:"]) as s:
            with Client(s) as c:
                c.login("Ada")
                c.subscribe("x")
                c.say("x", "still well")
            stack = [line.split()[3] for line in open("/proc/%d/limits" % s.process.pid)
                     if line.startswith("Max stack")][0]
            self.assertGreaterEqual(int(stack), 1 << 20)

    def test_a_directory_of_everybody(self):
        """Who may write there may put a key of tokens there: refused. The group's is told."""
        data = os.path.join(self.folder, "open")
        os.mkdir(data)
        path = self.file('return { listen = { tcp = "127.0.0.1:0", websocket = {}, console = {} }, '
                         'data = "%s" }' % data)
        for mode in (0o777, 0o1777, 0o722):
            os.chmod(data, mode)
            status, out, err = run("-c", path, cwd=ROOT)
            self.assertEqual(status, 1)
            self.assertIn("%04o" % mode, err)
            self.assertIn(data, err)
            self.assertEqual(os.listdir(data), [], "nothing was made there")
        with Server(start=False) as s:
            data = os.path.join(s.folder, "data")
            os.mkdir(data)
            os.chmod(data, 0o770)
            s.start()
            s.wait_log("storage.open_directory")
            modes = {n: os.stat(os.path.join(data, n)).st_mode & 0o777 for n in os.listdir(data)}
            self.assertEqual({n for n, m in modes.items() if m & 0o077}, set(), modes)

    def test_a_directory_that_cannot_be(self):
        self.file("a file", "file")
        status, out, err = run("-c", self.file('return { listen = { tcp = "127.0.0.1:0", websocket = {}, console = {} '
                                               '}, data = "%s/file" }' % self.folder), cwd=ROOT)
        self.assertEqual(status, 1)
        self.assertIn(self.folder + "/file", out + err)

    @embedded("a cluster's key is in Redis: tests/cluster/test_key.py")
    def test_another_secret_is_told(self):
        """Lost, replaced, or set in the config: every token is void then, and the log says so, once; put back, all is
        well."""
        with Server() as s:
            path = s.folder + "/data/secret"
            good = open(path).read()
            with Client(s) as c:
                c.login("Ada")
                token, user = c.token, c.id

            def opens():
                with Client(s) as c:
                    answer = c.ask(1, token=token)
                    if "error" in answer:
                        self.assertEqual(answer["error"]["code"], "unauthorized")
                        return False
                    self.assertEqual(answer["id"], user)
                    return True

            def told(times):
                self.eventually(lambda: s.log().count("auth.key_changed") == times)

            self.assertTrue(opens())
            s.restart()
            self.assertTrue(opens())
            self.assertNotIn("auth.key_changed", s.whole_log())
            os.unlink(path)
            s.restart()
            told(1)
            self.assertFalse(opens())
            s.restart()
            time.sleep(0.5)
            self.assertNotIn("auth.key_changed", s.log(), "once is enough")
            self.secret(path, good)
            s.reload()
            told(1)
            self.assertTrue(opens())
            s.rewrite({"auth": {"secret": "0123456789abcdef"}})
            s.reload()
            told(2)
            self.assertFalse(opens())
            s.secrets.add(good.strip())

    def secret(self, path, text):
        with open(path, "w") as f:
            f.write(text)

    @embedded("a cluster's key is in Redis: tests/cluster/test_key.py")
    def test_the_secret(self):
        with Server() as s:
            path = s.folder + "/data/secret"
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            with open(path, "rb") as f:
                self.assertGreaterEqual(len(f.read()), 32)
            s.stop()
            os.chmod(path, 0o644)
            status, out, err = run("-c", s.config_path)
            self.assertEqual(status, 1)
            self.assertIn("secret", out + err + s.log())
            os.chmod(path, 0o600)

    def test_unix_sockets(self):
        with Server({"listen": {"tcp": ["unix:magpie.sock"]}}) as s:
            s.tcp = s.folder + "/magpie.sock"
            with Client(s) as c:
                c.login("Ada")
                c.request(PING)
            s.restart()  # a socket file left over is no hindrance, nor is it left
            s.kill()
            s.start()
            s.tcp = s.folder + "/magpie.sock"
            with Client(s) as c:
                c.login("Ada")

    def test_several_addresses(self):
        with Server({"listen": {"tcp": ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"] if os.path.exists("/proc/net/if_inet6")
                                and open("/proc/net/if_inet6").read() else ["127.0.0.1:0", "127.0.0.2:0"]}}) as s:
            for address in re.findall(r"listen\.open address=(\S+):(\d+) transport=tcp", s.log()):
                host, port = address
                with socket.create_connection((host.strip("[]"), int(port))) as sock:
                    sock.sendall(b"\0\0\0\x08\0\x09\0\x01")
                    sock.settimeout(20)
                    self.assertEqual(sock.recv(100)[4:8], b"\0\x09\0\x01")


class Draining(Plain):
    @smoke
    def test_sigterm(self):
        with Server() as s:
            clients = [Client(s, wire) for wire in ("tcp", "binary", "text") for _ in range(10)]
            for c in clients[:-3]:
                c.login("Ada")
            for c in clients[-3:]:
                c.request(PING)
            s.signal(signal.SIGTERM)
            retries = set()
            for c in clients:
                body = c.closing()
                self.assertEqual(body["reason"], "shutdown")
                self.assertGreater(body["retryAfter"], 0)
                retries.add(body["retryAfter"])
                if c.wire.form != "tcp":
                    self.assertEqual(c.wire.close_code, 1001)
                c.close()
            self.assertGreater(len(retries), 5, "jittered")
            self.assertEqual(s.process.wait(30 * PATIENCE), 0)
            with self.assertRaises(OSError):
                socket.create_connection(("127.0.0.1", s.tcp))

    def test_every_signal_that_ends_it_drains(self):
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGPWR, signal.SIGXCPU):
            with self.subTest(signal=number.name), Server() as s:
                c = Client(s)
                c.login("Ada")
                s.signal(number)
                self.assertEqual(c.closing()["reason"], "shutdown")
                c.close()
                self.assertEqual(s.process.wait(30 * PATIENCE), 0)
                self.assertRegex(s.log(), "server.drain .*%s" % number.name)

    def test_a_signal_that_means_nothing_ends_nothing(self):
        strays = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO]
        with Server() as s:
            c = Client(s)
            c.login("Ada")
            for number in strays:
                s.signal(number)
                s.wait_log("signal=%s" % ("SIGIO" if number == signal.SIGIO else number.name))
            for number in (signal.SIGRTMIN, signal.SIGRTMIN + 3, signal.SIGRTMAX, signal.SIGPIPE, signal.SIGXFSZ):
                s.signal(number)
            c.request(PING)
            c.close()
            self.assertEqual(s.stop(), 0)

    def test_signals_before_it_serves(self):
        """They wait for it, or are ignored; the config is a FIFO here, so that the start stands still as long as it
        takes."""
        with Server(start=False) as s:
            s.write_config()
            text = open(s.config_path).read()
            os.unlink(s.config_path)
            os.mkfifo(s.config_path)
            s.launch(wait=False)
            stat = "/proc/%d/status" % s.process.pid
            # It opens the config with its signals blocked: bit 0 is SIGHUP's.
            self.eventually(lambda: "magpied" in open(stat).read()
                            and int(re.search(r"SigBlk:\s*(\w+)", open(stat).read()).group(1), 16) & 1)
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM, signal.SIGRTMIN):
                s.signal(number)
            with open(s.config_path, "w") as f:
                os.unlink(s.config_path)
                s.write_config()  # what SIGHUP is to find
                f.write(text)
            s.wait_log("signal=SIGUSR1")
            s.wait_log("config.reloaded")
            self.assertEqual(s.stop(), 0)

    def test_under_load(self):
        """Everything acknowledged is stored, and who is busy is told as well."""
        with Server({"timeouts": {"drain": 15}, "tiers": {"small": {"max": 0}}}) as s:
            reader = Client(s)
            reader.login("Reader")
            token = reader.token
            reader.subscribe("tea")
            acknowledged, lock, reasons = {}, threading.Lock(), []

            def work(n):
                c = Client(s, ("tcp", "binary")[n % 2])
                c.login("W%d" % n)
                c.subscribe("tea", push="none")
                pending, k = {}, 0
                try:
                    while True:
                        while len(pending) < 32:
                            pending[c.send(SEND_CHANNEL, channel="tea", content="%d.%d" % (n, k))] = "%d.%d" % (n, k)
                            k += 1
                        action, seq, body = c.receive()
                        if action == CLOSING:
                            reasons.append(body["reason"])
                        elif seq in pending and "seq" in body:
                            with lock:
                                acknowledged[body["seq"]] = pending.pop(seq)
                except (Closed, OSError):
                    # What came before the end.
                    try:
                        while True:
                            action, seq, body = c.receive(1)
                            if action == CLOSING:
                                reasons.append(body["reason"])
                            elif seq in pending and "seq" in body:
                                with lock:
                                    acknowledged[body["seq"]] = pending.pop(seq)
                    except (Closed, OSError, AssertionError):
                        pass

            threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
            for t in threads:
                t.start()
            time.sleep(1)
            began = time.monotonic()
            s.signal(signal.SIGTERM)
            self.assertEqual(s.process.wait(30 * PATIENCE), 0)
            self.assertLess(time.monotonic() - began, 15 * PATIENCE)
            for t in threads:
                t.join(60)
            self.assertNotIn("drain_timeout", s.log())
            self.assertEqual(set(reasons), {"shutdown"})
            self.assertGreater(len(acknowledged), 10)
            s.start()
            c = Client(s)
            c.login(token=token)
            stored, after = {}, 0
            while True:
                page = c.history("tea", after=after, limit=200)
                for m in page["messages"]:
                    stored[m["seq"]] = m["content"]
                if not page["more"]:
                    break
                after = page["messages"][-1]["seq"]
            lost = {seq: text for seq, text in acknowledged.items() if stored.get(seq) != text}
            self.assertEqual(len(lost), 0, "lost: %.200s" % lost)
            self.assertEqual(max(stored), len(stored), "no gaps")
            c.close(), reader.close()

    def test_new_connections_while_draining_are_not_taken(self):
        with Server({"timeouts": {"drain": 3}}) as s:
            stuck = Client(s, receive_buffer=4096)
            stuck.login("Stuck")
            began = time.monotonic()
            s.signal(signal.SIGTERM)
            s.wait_log("server.drain")
            self.eventually(lambda: self.is_closed(s.tcp))
            self.assertEqual(s.process.wait(30 * PATIENCE), 0)
            stuck.close()

    def is_closed(self, port):
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as c:
                c.settimeout(1)
                return c.recv(1000) is not None
        except OSError:
            return True


class Reloading(Plain):
    def test_sighup(self):
        with Server({"limits": {"content": 100}}) as s:
            c = Client(s)
            c.login("Ada")
            c.subscribe("tea")
            self.assertEqual(c.error(SEND_CHANNEL, channel="tea", content="x" * 200).code, "too_large")
            s.rewrite({"limits": {"content": 300}, "threads": 3})
            s.reload()
            self.eventually(lambda: "error" not in c.ask(SEND_CHANNEL, channel="tea", content="x" * 200))
            self.assertIn("threads", [line for line in s.log().split("\n") if "needs_restart" in line][0])
            d = Client(s)
            self.assertEqual(d.login("Bob")["limits"]["content"], 300)
            # A bad config changes nothing.
            s.rewrite({"limits": {"content": "many"}})
            s.reload()
            self.assertIn("config.reload_failed", s.log())
            self.assertIn("limits.content", s.log())
            c.say("tea", "x" * 300)
            c.close(), d.close()

    def test_what_a_reload_changes(self):
        """Each on a connection that was there before."""
        with Server({"timeouts": {"idle": 100}}) as s:
            a, b = Client(s), Client(s)
            a.login("Ada"), b.login("Bob")
            a.subscribe("tea"), b.subscribe("tea", push="merged")
            s.rewrite({"limits": {"frame": 2000, "content": 1000, "subscriptions": 1, "recall": 0.01, "inbox": 2},
                       "timeouts": {"idle": 77}, "push": {"slice_ms": 0},
                       "tiers": {"large": {"members": 2}, "dm": {"max": 3}}, "rate": {"user": 8},
                       "channels": {"create": "none"}, "log": {"level": "info"}})
            s.reload()
            limits = self.eventually(lambda: (lambda x: x["idle"] == 77 and x)(self.limits(s)))
            self.assertEqual(limits, {"frame": 2000, "content": 1000, "idle": 77})
            self.assertEqual(a.error(3, name="more").code, "quota")
            self.assertEqual(a.error(SEND_CHANNEL, channel="tea", content="x" * 1500).code, "too_large")
            self.assertEqual(a.subscribe("tea")["tier"], "large")
            self.assertEqual(self.fresh(s).error(3, name="more").code, "forbidden")
            a.say("tea", "x")
            time.sleep(0.1)
            self.assertEqual(a.error(14, channel="tea", seq=1).code, "forbidden")
            for n in range(5):
                a.tell(b, str(n))
            self.eventually(lambda: len(b.request(7)["messages"]) == 2)
            self.eventually(lambda: len(b.history(peer=a)["messages"]) == 3)
            self.assertEqual({c.get("error", {}).get("code")
                              for c in [a.ask(SEND_CHANNEL, channel="tea", content="x") for _ in range(20)]},
                             {None, "rate_limited"})
            a.wire.stream.write(b"\0\0\x10\0" + b"x" * 100)
            self.assertEqual([f[2]["error"]["code"] for f in a.rest() if f[0] == 0], ["too_large"])
            a.close(), b.close()

    def fresh(self, s):
        c = Client(s)
        self.clients.append(c)
        c.login("New")
        return c

    def limits(self, s):
        with Client(s) as c:
            return c.login("Probe")["limits"]

    def test_many_reloads_under_traffic(self):
        with Server() as s:
            c = Client(s)
            c.login("Ada")
            c.subscribe("tea")
            for n in range(20):
                s.signal(signal.SIGHUP)
                for _ in range(20):
                    c.say("tea", "x")
            self.assertEqual(c.say("tea", "x")["seq"], 401)
            c.close()


class Notify(Plain):
    def test_sd_notify(self):
        for address in ("path", "abstract"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as n:
                name = "@magpie-test-%d" % os.getpid() if address == "abstract" else os.path.join(self.folder, "notify")
                n.bind("\0" + name[1:] if address == "abstract" else name)
                n.settimeout(30 * PATIENCE)
                with Server(environment={"NOTIFY_SOCKET": name}) as s:
                    got = self.until(n, "READY=1")
                    s.signal(signal.SIGHUP)
                    got = self.until(n, "READY=1")
                    self.assertTrue(any("RELOADING=1" in g and re.search(r"MONOTONIC_USEC=\d+", g) for g in got), got)
                    s.signal(signal.SIGTERM)
                    self.until(n, "STOPPING=1")
                    self.assertEqual(s.process.wait(30 * PATIENCE), 0)

    def until(self, sock, text):
        got = []
        while not got or text not in got[-1].split("\n"):
            got.append(sock.recv(4096).decode())
        return got
