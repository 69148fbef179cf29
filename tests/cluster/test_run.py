"""./dev run --cluster: what it starts serves, ends with it, and is there again the next time."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.request

from process import can_bind, eventually, free_ports
from resp import Redis, RedisError
from server import MAGPIED

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run_cluster.py")
CTL = os.path.join(os.path.dirname(MAGPIED), "magpiectl")


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="magpie-run-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.port = free_ports(40)
        self.redis = self.port + 14

    def begin(self, nodes):
        """Returns the process once it has printed what is where; its other lines are read behind."""
        log = os.path.join(self.folder, "out")
        with open(log, "w") as f:
            p = subprocess.Popen([sys.executable, RUN, str(nodes), "--folder", os.path.join(self.folder, "it"),
                                  "--port", str(self.port), "--redis-port", str(self.redis)],
                                 stdin=subprocess.DEVNULL, stdout=f, stderr=f, env=dict(os.environ, MAGPIED=MAGPIED))
        self.addCleanup(self.end, p)

        def told():
            with open(log) as f:
                text = f.read()
            self.assertIsNone(p.poll(), text)
            return "Ctrl-C stops all of it" in text

        eventually(told, "it tells what is where", 120)
        return p

    def end(self, p):
        if p.poll() is None:
            p.kill()
        p.wait()

    def console(self, node, *words):
        r = subprocess.run([CTL, "-s", "127.0.0.1:%d" % (self.port + 10 * (node - 1) + 2), *words],
                           capture_output=True, text=True, timeout=60)
        self.assertEqual(r.returncode, 0, r.stderr)
        return r.stdout

    def out(self):
        with open(os.path.join(self.folder, "out")) as f:
            return f.read()

    def test_twice(self):
        p = self.begin(2)
        for node in (1, 2):
            with urllib.request.urlopen("http://127.0.0.1:%d/" % (self.port + 10 * (node - 1) + 1), timeout=30) as r:
                self.assertIn(b"<title>", r.read())
        self.console(1, "user", "add", "ada", "Ada")
        self.assertIn("Ada", self.console(2, "list", "users", "all"))
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(60), 0)
        self.assertNotIn("has ended (", self.out())  # it was told to end
        for port in [self.port + 10 * i + j for i in range(2) for j in range(3)]:
            eventually(lambda: can_bind("127.0.0.1", port), "port %d is free" % port)
        with self.assertRaises(OSError):
            Redis("127.0.0.1", self.redis).call("PING")
        self.begin(2)
        self.assertIn("Ada", self.console(2, "list", "users", "all"))

    def test_what_is_killed_is_started_again_as_it_says(self):
        """A Redis and a node."""
        p = self.begin(2)
        pids = re.findall(r"kill -9 (\d+)", self.out())
        again = re.search(r"redis-server (\S+/redis\.conf)", self.out()).group(1)
        self.assertEqual(len(pids), 2, self.out())
        for pid in pids:
            os.kill(int(pid), signal.SIGKILL)

        def command():
            return re.search(r"1 \| has ended \(-9\); again: (\S+) -c (\S+)", self.out())

        eventually(command, "it says how the node is started again", 30)
        with self.assertRaises(OSError):
            Redis("127.0.0.1", self.redis).call("PING")
        for argv in (["redis-server", again], [command().group(1), "-c", command().group(2)]):
            started = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            self.addCleanup(self.end, started)

        def serves():
            try:
                return self.console(1, "status") and Redis("127.0.0.1", self.redis).call("PING")
            except (AssertionError, OSError, RedisError):
                return False

        eventually(serves, "both are there again", 60)
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(60), 0)

    def test_a_port_in_use(self):
        with socket.create_server(("127.0.0.1", self.port + 1)):
            r = subprocess.run([sys.executable, RUN, "1", "--folder", os.path.join(self.folder, "it"), "--port",
                                str(self.port), "--redis-port", str(self.redis)], capture_output=True, text=True,
                               timeout=60)
        self.assertEqual(r.returncode, 1)
        self.assertIn("port %d is in use" % (self.port + 1), r.stderr)

    def test_too_many(self):
        r = subprocess.run([sys.executable, RUN, "33"], capture_output=True, text=True, timeout=60)
        self.assertEqual(r.returncode, 2)
        self.assertIn("from 1 to 32 nodes", r.stderr)
