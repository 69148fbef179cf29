"""magpiectl, as people and scripts run it."""

import json
import os
import pty
import select
import signal
import subprocess
import time

from base import Test, smoke
from client import ANNOUNCEMENT
from console import UNIX, ConsoleTest
from server import MAGPIED, PATIENCE, Server

CTL = os.path.join(os.path.dirname(MAGPIED), "magpiectl")


class Ctl(ConsoleTest):
    """magpiectl, as people and scripts run it."""

    abstract = False

    def address(self):
        return "unix:" + os.path.join(self.server.folder, "console.sock")

    def ctl(self, *arguments, status=0, stdin="", **environment):
        r = subprocess.run([CTL, "-s", self.address(), *arguments], input=stdin, capture_output=True, text=True,
                           timeout=60 * PATIENCE,
                           env=dict(os.environ, **environment))
        self.assertEqual(r.returncode, status, r.stdout + r.stderr)
        return r.stdout, r.stderr

    @smoke
    def test_one_command(self):
        self.assertIn("name: magpied", self.ctl("version")[0])
        self.assertEqual(json.loads(self.ctl("-f", "json", "version")[0])["name"], "magpied")
        self.assertGreater(json.loads(self.ctl("-f", "json", "show memory")[0])["rss"], 0)
        self.assertIn("not_found", self.ctl("kick", "user", "nobody", status=1)[1])
        self.assertEqual(json.loads(self.ctl("-f", "json", "kick", "user", "nobody", status=1)[0])["error"]["code"],
                         "not_found")
        self.assertIn("did you mean status?", self.ctl("statsu", status=1)[1])
        self.ctl("-f", "xml", "version", status=2)
        self.ctl("--nonsense", status=2)
        self.ctl("-s", "unix:/nonexistent", "version", status=1)
        self.assertIn("magpiectl ", self.ctl("--version")[0])

    def test_words_with_blanks(self):
        a = self.user("Ada")
        a.subscribe('green "tea"')
        self.assertIn("members: 1", self.ctl("show", "channel", 'green "tea"')[0])
        self.ctl("announce", "two  words")
        self.assertEqual(a.push(ANNOUNCEMENT)["content"], "two  words")

    def test_lines_of_standard_input(self):
        out, err = self.ctl(stdin="version\n\nfrobnicate\nstatus\nquit\nversion\n", status=1)
        self.assertEqual((out.count("name: magpied"), out.count("state: serving")), (1, 1))
        self.assertIn("unknown command", err)

    def test_top_without_a_terminal(self):
        out, _ = self.ctl("top")
        for part in ("connections", "shard", "storage good", "hottest channels", "slow receivers"):
            self.assertIn(part, out)

    def test_trace(self):
        a = self.user("Ada")
        p = subprocess.Popen([CTL, "-s", self.address(), "-w", "trace", "user", a.id, "on"], stdout=subprocess.PIPE,
                             text=True)
        try:
            self.eventually(lambda: "trace user" in self.server.log())
            end = time.monotonic() + 20 * PATIENCE
            while not select.select([p.stdout], [], [], 0.2)[0]:
                a.request(9)
                self.assertLess(time.monotonic(), end)
            self.assertIn("action=9 ping", p.stdout.readline())
        finally:
            p.send_signal(signal.SIGTERM)
            p.wait()
            p.stdout.close()

    def prompt(self, typed, wanted, timeout=20):
        """Types into the interactive prompt until it has shown what is wanted; returns all it showed."""
        pid, fd = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm", HOME=self.server.folder)
            os.execv(CTL, [CTL, "-s", self.address()])
        shown, end, typed = b"", time.monotonic() + timeout * PATIENCE, list(typed)
        try:
            while wanted not in shown.decode(errors="replace") and time.monotonic() < end:
                if typed and b"magpie> " in shown:
                    os.write(fd, typed.pop(0).encode())
                if select.select([fd], [], [], 0.3)[0]:
                    try:
                        shown += os.read(fd, 65536)
                    except OSError:
                        break
            os.write(fd, b"\x03")
        except OSError:
            pass
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)
        return shown.decode(errors="replace")

    def test_prompt(self):
        self.assertIn("name: magpied", self.prompt(["vers", "\t", "\n"], "name: magpied"))
        self.assertIn("connections", self.prompt(["list ", "\t"], "plugins"))
        self.assertIn("push.slice_ms", self.prompt(["set pu", "\t", "\t"], "push.slice_ms"))
        shown = self.prompt(["top\n"], "hottest channels")
        self.assertIn("hottest channels", shown)


class Gone(Test):
    """The server ends while magpiectl talks to it: it says so, on the screen that stays, and its exit status is 1."""

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        super().setUp()
        self.own = Server(UNIX)
        self.address = "unix:" + os.path.join(self.own.folder, "console.sock")
        self.closed = "magpiectl: %s: the server closed the connection" % self.address

    def tearDown(self):
        self.own.discard()
        super().tearDown()

    def at_a_terminal(self, arguments, steps):
        """Runs it at a terminal. steps: pairs of what must be shown, and what is done then. (exit status, all it
        showed)."""
        pid, fd = pty.fork()
        if pid == 0:
            # libedit does not free the names of its functions.
            os.environ.update(TERM="xterm", HOME=self.own.folder,
                              ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
            os.execv(CTL, [CTL, "-s", self.address, *arguments])
        shown, end, status, steps, at = "", time.monotonic() + 30 * PATIENCE, None, list(steps), 0
        try:
            while time.monotonic() < end and status is None:
                if steps and steps[0][0] in shown[at:]:
                    at = len(shown)
                    steps.pop(0)[1](fd)
                if select.select([fd], [], [], 0.3)[0]:
                    try:
                        shown += os.read(fd, 65536).decode(errors="replace")
                    except OSError:
                        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            if status is None:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            os.close(fd)
        self.assertIsNotNone(status, "it goes on for ever: %r" % shown[-500:])
        return status, shown.replace("\r\n", "\n")

    def stop(self, fd):
        self.own.stop()

    def typing(self, text):
        return lambda fd: os.write(fd, text.encode())

    def test_top(self):
        for how in (self.own.stop, self.own.kill):
            with self.subTest(how.__name__):
                status, shown = self.at_a_terminal(["top"], [("hottest channels", lambda fd: how())])
                # What is written before the screen is given back goes with it.
                self.assertEqual(shown.rsplit("\033[?1049l", 1)[-1], self.closed + "\n")
                self.assertEqual(status, 1)
                self.own.start()

    def test_top_is_left(self):
        for key in ("q", "\x03"):
            status, shown = self.at_a_terminal(["top"], [("hottest channels", self.typing(key))])
            self.assertEqual((status, shown.rsplit("\033[?1049l", 1)[-1]), (0, ""))

    def test_top_is_left_though_the_server_hangs(self):
        pid = self.own.process.pid

        def hang(fd):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(2)  # it asks once a second
            os.write(fd, b"\x03")

        try:
            self.assertEqual(self.at_a_terminal(["top"], [("hottest channels", hang)])[0], 0)
        finally:
            os.kill(pid, signal.SIGCONT)

    def test_top_that_is_refused(self):
        with Server({"listen": {"console": "unix:console.sock"}, "console": {"password": "open sesame"}}) as s:
            address = "unix:" + os.path.join(s.folder, "console.sock")
            r = subprocess.run([CTL, "-s", address, "top"], capture_output=True, text=True, timeout=60 * PATIENCE)
            self.assertEqual((r.returncode, r.stdout), (1, ""))
            self.assertRegex(r.stderr, "^magpiectl: .*unauthorized")

    def test_trace(self):
        a = self.user("Ada", server=self.own)
        p = subprocess.Popen([CTL, "-s", self.address, "-w", "trace", "user", a.id, "on"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        self.own.wait_log("trace user")
        self.own.stop()
        out, err = p.communicate(timeout=30 * PATIENCE)
        self.assertEqual((p.returncode, err), (1, self.closed + "\n"), out)

    def test_prompt(self):
        status, shown = self.at_a_terminal([], [("magpie> ", self.stop), ("", self.typing("status\n"))])
        self.assertIn(self.closed, shown)
        self.assertIn("magpiectl: %s: No such file or directory" % self.address, shown)
        self.assertEqual(status, 1)

    def test_a_server_that_is_back(self):
        """The prompt goes on with it."""
        steps = [("magpie> ", lambda fd: self.own.restart()), ("", self.typing("status\n")),
                 ("connected again", self.typing("version\n")), ("name: magpied", self.typing("quit\n"))]
        status, shown = self.at_a_terminal([], steps)
        self.assertEqual(status, 0, shown)

    def test_lines_of_standard_input(self):
        p = subprocess.Popen([CTL, "-s", self.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        p.stdin.write("version\n")
        p.stdin.flush()
        self.assertIn("name: magpied", p.stdout.readline())
        self.own.stop()
        _, err = p.communicate("version\nstatus\n", timeout=30 * PATIENCE)
        self.assertEqual((p.returncode, err), (1, self.closed + "\n"))
