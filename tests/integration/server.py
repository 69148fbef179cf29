"""A magpied of one's own: its config, its ports, its data directory, its log."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import certs

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAGPIED = os.environ.get("MAGPIED", os.path.join(ROOT, "build", "magpied"))
SANITIZED = os.environ.get("MAGPIE_SANITIZED", "")
# Clients come by TLS although the tests do not say so: "own" or "openssl" (records of TLS 1.3), "1.2".
TLS = os.environ.get("MAGPIE_TLS", "")
# Servers are nodes of a cluster on these members of a Redis Cluster ("HOST:PORT,…"), each with a prefix of its own.
CLUSTER = os.environ.get("MAGPIE_TEST_CLUSTER", "")
# As this user of it, "NAME:PASSWORD"; empty: the one that Redis has by itself.
CLUSTER_USER = os.environ.get("MAGPIE_TEST_REDIS_USER", "")
# And so many nodes each, of which every new connection gets the next.
NODES = int(os.environ.get("MAGPIE_TEST_NODES") or 1)
sys.path.append(os.path.join(ROOT, "tests", "cluster"))
# Everything that waits for the server waits this much longer where it is slow.
PATIENCE = {"": 1.0, "asan": 3.0, "tsan": 6.0}.get(SANITIZED, 4.0)

COMPLAINTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer",
              "assertion failed")


class Raw(str):
    """Lua text that goes into a config as it is."""


def lua(value):
    """A Lua literal."""
    if isinstance(value, Raw):
        return str(value)
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return '"%s"' % "".join(c if c.isalnum() or c in " ./:_-*[]" else "".join("\\%03d" % b for b in c.encode())
                                for c in value)
    if isinstance(value, (list, tuple)):
        return "{ %s }" % ", ".join(lua(v) for v in value)
    return "{ %s }" % ", ".join("[%s] = %s" % (lua(str(k)), lua(v)) for k, v in value.items())


def merged(base, over):
    """A copy of nested dicts with the second's values laid over the first's."""
    out = dict(base)
    for key, value in over.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def moved(value, source, to):
    """A part of a config with that folder in place of the other."""
    if isinstance(value, dict):
        return {k: moved(v, source, to) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [moved(v, source, to) for v in value]
    return type(value)(value.replace(source, to)) if isinstance(value, str) else value


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def port(transport):
    """The port of a server for this transport: of several nodes, each time that of the next one."""
    return property(lambda self: self.turn().ports.get(transport, 0),
                    lambda self, value: self.ports.update({transport: value}))


class Server:
    """magpied with a config of its own. `config` is laid over defaults that suit tests: any free ports, two shards, no
    rate limits, a log at level debug. On a Redis Cluster of several nodes (`nodes`; MAGPIE_TEST_NODES) it is all of
    them: what is done to it is done to each, its log is theirs one behind the other, and each port is that of the next
    node; `process`, `folder` and the console are of the first.

        with Server({"limits": {"content": 100}}) as s: …
        s.tcp, s.websocket   ports
        s.tcps, s.wss        those of TLS, where the config has a section `tls` or asks for it by tls="own" (or …)
        s.folder             where everything is; s.folder + "/data" is the data directory
        s.redis, s.keys      the members of its Redis Cluster, or empty; what its keys there begin with
        s.nodes              each alone, a Server too; of one process: itself
    """

    binary = MAGPIED
    host = "127.0.0.1"  # that it listens on
    spread = True  # False: connections all go to the first node
    tcp, websocket, tcps, wss = port("tcp"), port("websocket"), port("tcps"), port("wss")

    def __init__(self, config=None, start=True, environment=None, prefix=None, arguments=(), tls=None, redis=None,
                 keys=None, nodes=None):
        self.folder = tempfile.mkdtemp(prefix="magpie-test-")
        self.log_path = os.path.join(self.folder, "log")
        self.config_path = os.path.join(self.folder, "magpie.lua")
        self.environment = dict(environment or {})
        self.prefix = list(prefix or [])  # a command that runs the command
        self.arguments = list(arguments)
        self.secrets = set()  # must not be in the log
        self.config = dict(config or {})
        self.process = None
        self.ports, self.metrics, self.turns = {}, 0, 0
        self.redis = CLUSTER if redis is None else redis
        self.keys = keys or "t%s:" % secrets.token_hex(6)
        self.tls = tls or TLS  # clients come by TLS: "own", "openssl" or "1.2"
        if nodes is None:
            nodes = NODES if self.spread and self.redis and self.redis == CLUSTER else 1
        self.others = [Server(start=False, redis=self.redis, keys=self.keys, nodes=1) for _ in range(nodes - 1)]
        if start:
            try:
                self.start()
            except BaseException:
                self.discard()
                raise

    @property
    def nodes(self):
        return [self] + self.others

    def turn(self):
        """The node whose turn it is to get a connection."""
        if not (self.others and self.spread):
            return self
        self.turns += 1
        return self.nodes[self.turns % len(self.nodes)]

    def settings(self):
        """The whole config."""
        base = {
            "listen": {"tcp": self.host + ":0", "websocket": self.host + ":0", "console": []},
            "threads": 2,
            "data": os.path.join(self.folder, "data"),
            "storage": {"memory": 16 << 20},
            "log": {"level": "debug"},
            "rate": {"user": 0, "channel": 0},
            "timeouts": {"drain": 20},
            "scripts": {"path": os.path.join(ROOT, "scripts")},
            "plugins": {"path": os.path.join(os.path.dirname(MAGPIED), "plugins")},
        }
        if self.redis:
            base["cluster"] = {"redis": self.redis.split(","), "prefix": self.keys, **self.access()}
        if self.tls or "tls" in self.config:
            base["tls"] = certs.settings(records="openssl" if self.tls == "openssl" else "own")
            base["listen"].update(tcps="127.0.0.1:0", wss="127.0.0.1:0")
        return merged(base, self.config)

    def access(self):
        """Who it is to the Redis Cluster that all tests share, as a part of its config."""
        if not CLUSTER_USER or self.redis != CLUSTER:
            return {}
        name, _, secret = CLUSTER_USER.partition(":")
        self.secrets.add(secret)
        return {"username": name, "password": secret}

    def over(self, wire):
        """The wire that a client of this server comes by, which asked for this one."""
        return "tls-" + wire if self.tls and not wire.startswith("tls-") else wire

    def tls_client(self):
        """The context of such a client."""
        return certs.client("1.2" if self.tls == "1.2" else None)

    def write_config(self, settings=None):
        self.last_settings = settings or self.settings()
        with open(self.config_path, "w") as f:
            f.write("return %s\n" % lua(self.last_settings))
        for n in self.others:
            n.write_config({key: moved(value, self.folder, n.folder) if key in ("listen", "data", "log") else value
                            for key, value in self.last_settings.items()})

    def rewrite(self, over):
        """Changes the config file, the ports staying: for a reload."""
        self.config = merged(self.config, over)
        self.write_config(merged(self.last_settings, over))

    def start(self):
        """Starts it (again, on the same data); new ports each time."""
        self.write_config()
        self.launch()
        return self

    def launch(self, wait=True):
        """Starts with the config file as it is."""
        for n in self.nodes:
            n.environment, n.prefix, n.arguments = self.environment, self.prefix, self.arguments
            n.run()
        if wait:
            for n in self.nodes:
                n.await_ports()

    def run(self):
        if self.process and self.process.poll() is None:  # of several nodes a test may have ended the first alone
            self.process.kill()
            self.process.wait()
        self.log_start = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.prefix + [self.binary, "-c", self.config_path] + self.arguments,
                                            stderr=log, stdout=log,
                                            stdin=subprocess.DEVNULL, cwd=self.folder,
                                            env=dict(os.environ, **self.environment))

    def await_ports(self):
        end = time.monotonic() + 30 * PATIENCE
        while "server.ready" not in self.own_log():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError("magpied does not start:\n" + self.tail())
            time.sleep(0.02)
        self.ports = {}
        opened = r"listen\.open\W.*?%s:(\d+)\W.*?(tcps?|websocket|wss|metrics)\b" % re.escape(self.host)
        for number, transport in re.findall(opened, self.own_log()):
            self.ports.setdefault(transport, int(number))
        self.metrics = self.ports.get("metrics", 0)

    def log(self):
        """What it has logged since its last start."""
        return "".join(n.own_log() for n in self.nodes)

    def own_log(self):
        """Of this process. A server writes its log behind: what it writes now is waited for."""
        size, looks = -1, 0
        while size != os.path.getsize(self.log_path) and looks < 10:
            size, looks = os.path.getsize(self.log_path), looks + 1
            time.sleep(0.01)
        with open(self.log_path, errors="replace") as f:
            f.seek(self.log_start)
            return f.read()

    def whole_log(self):
        out = []
        for n in self.nodes:
            with open(n.log_path, errors="replace") as f:
                out.append(f.read())
        return "".join(out)

    def tail(self, lines=40):
        ends = []
        for i, n in enumerate(self.nodes):
            try:
                with open(n.log_path, errors="replace") as f:
                    end = "\n".join(f.read().split("\n")[-lines:])
            except OSError:
                end = "(no log)"
            ends.append("(node %d)\n%s" % (i + 1, end) if self.others else end)
        return "\n".join(ends)

    def wait_log(self, text, timeout=10):
        end = time.monotonic() + timeout * PATIENCE
        while text not in self.log():
            if time.monotonic() > end:
                raise AssertionError("not in the log: %r\n%s" % (text, self.tail()))
            time.sleep(0.02)

    def signal(self, number):
        for n in self.nodes:
            n.process.send_signal(number)

    def reload(self):
        before = [n.own_log().count("config.reload") for n in self.nodes]
        self.signal(signal.SIGHUP)
        end = time.monotonic() + 10 * PATIENCE
        for n, count in zip(self.nodes, before):
            while n.own_log().count("config.reload") == count:
                if time.monotonic() > end:
                    raise AssertionError("no reload:\n" + n.tail())
                time.sleep(0.02)

    def kill(self):
        """kill -9."""
        for n in self.nodes:
            n.process.kill()
        for n in self.nodes:
            n.process.wait()

    def stop(self, timeout=40):
        """SIGTERM; returns the exit status, which of several is the first that is not 0."""
        running = [n for n in self.nodes if n.process.poll() is None]
        for n in running:
            n.process.terminate()
        for n in running:
            try:
                n.process.wait(timeout * PATIENCE)
            except subprocess.TimeoutExpired:
                n.process.kill()
                n.process.wait()
                raise AssertionError("SIGTERM does not stop it:\n" + n.tail())
        return next((n.process.returncode for n in self.nodes if n.process.returncode), 0)

    def restart(self):
        status = self.stop()
        if status != 0:
            raise AssertionError("exit status %d\n%s" % (status, self.tail()))
        return self.start()

    def complaints(self):
        """What the log says of sanitizers and assertions, and secrets that got into it."""
        log = self.whole_log()
        found = [line for line in log.split("\n") if any(c in line for c in COMPLAINTS)]
        found += ["a secret is in the log: %.12s…" % s for s in self.secrets if s in log]
        return found

    def close(self):
        """Stops it, cleanly or not at all; AssertionError says what was not clean."""
        try:
            if self.process is None:
                return
            killed = any(n.process and n.process.poll() is not None and n.process.returncode < 0 for n in self.nodes)
            status = self.stop()
            found = self.complaints()
            if found or (status != 0 and not killed):
                at = self.whole_log().find(found[0]) if found else -1
                detail = self.whole_log()[at:at + 6000] if at >= 0 else self.tail()
                raise AssertionError("magpied: exit status %d; %s\n%s" %
                                     (status, "; ".join(found) or "nothing in the log", detail))
            if os.environ.get("MAGPIE_ROUND_TRIP") and status == 0 and not self.redis:
                import round_trip
                round_trip.check(MAGPIED, self)
        finally:
            self.discard()

    def children(self):
        """Who runs under a prefix, such as strace."""
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as f:
            return [int(pid) for pid in f.read().split()]

    def discard(self):
        for n in self.nodes:
            if n.process and n.process.poll() is None:
                for pid in n.children():
                    os.kill(pid, signal.SIGKILL)
                n.process.kill()
                n.process.wait()
        if not os.environ.get("MAGPIE_KEEP"):
            for n in self.nodes:
                shutil.rmtree(n.folder, ignore_errors=True)
            if self.redis and self.redis == CLUSTER:  # which others go on to use
                from redis_cluster import forget
                forget(self.redis, self.keys)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.close()
        else:
            value.add_note("server log:\n" + self.tail()) if hasattr(value, "add_note") else None
            self.discard()
