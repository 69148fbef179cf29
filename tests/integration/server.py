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


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """magpied with a config of its own. `config` is laid over defaults that suit tests: any free ports, two shards, no
    rate limits, a log at level debug.

        with Server({"limits": {"content": 100}}) as s: …
        s.tcp, s.websocket   ports
        s.tcps, s.wss        those of TLS, where the config has a section `tls` or asks for it by tls="own" (or …)
        s.folder             where everything is; s.folder + "/data" is the data directory
        s.redis, s.keys      the members of its Redis Cluster, or empty; what its keys there begin with
    """

    def __init__(self, config=None, start=True, environment=None, prefix=None, arguments=(), tls=None, redis=None,
                 keys=None):
        self.folder = tempfile.mkdtemp(prefix="magpie-test-")
        self.log_path = os.path.join(self.folder, "log")
        self.config_path = os.path.join(self.folder, "magpie.lua")
        self.environment = dict(environment or {})
        self.prefix = list(prefix or [])  # a command that runs the command
        self.arguments = list(arguments)
        self.secrets = set()  # must not be in the log
        self.config = dict(config or {})
        self.process = None
        self.tcp = self.websocket = self.tcps = self.wss = self.metrics = 0
        self.redis = CLUSTER if redis is None else redis
        self.keys = keys or "t%s:" % secrets.token_hex(6)
        self.tls = tls or TLS  # clients come by TLS: "own", "openssl" or "1.2"
        if start:
            try:
                self.start()
            except BaseException:
                self.discard()
                raise

    def settings(self):
        """The whole config."""
        base = {
            "listen": {"tcp": "127.0.0.1:0", "websocket": "127.0.0.1:0", "console": []},
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
            base["cluster"] = {"redis": self.redis.split(","), "prefix": self.keys}
        if self.tls or "tls" in self.config:
            base["tls"] = certs.settings(records="openssl" if self.tls == "openssl" else "own")
            base["listen"].update(tcps="127.0.0.1:0", wss="127.0.0.1:0")
        return merged(base, self.config)

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
        self.log_start = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.prefix + [MAGPIED, "-c", self.config_path] + self.arguments,
                                            stderr=log, stdout=log,
                                            stdin=subprocess.DEVNULL, cwd=self.folder,
                                            env=dict(os.environ, **self.environment))
        if not wait:
            return
        end = time.monotonic() + 30 * PATIENCE
        while "server.ready" not in self.log():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError("magpied does not start:\n" + self.tail())
            time.sleep(0.02)
        ports = {}
        opened = r"listen\.open\W.*?127\.0\.0\.1:(\d+)\W.*?(tcps?|websocket|wss|metrics)\b"
        for port, transport in re.findall(opened, self.log()):
            ports.setdefault(transport, int(port))
        self.tcp, self.websocket = ports.get("tcp", 0), ports.get("websocket", 0)
        self.tcps, self.wss = ports.get("tcps", 0), ports.get("wss", 0)
        self.metrics = ports.get("metrics", 0)

    def log(self):
        """What it has logged since its last start. A server writes its log behind: what it writes now is waited for."""
        size, looks = -1, 0
        while size != os.path.getsize(self.log_path) and looks < 10:
            size, looks = os.path.getsize(self.log_path), looks + 1
            time.sleep(0.01)
        with open(self.log_path, errors="replace") as f:
            f.seek(self.log_start)
            return f.read()

    def whole_log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def tail(self, lines=40):
        try:
            return "\n".join(self.whole_log().split("\n")[-lines:])
        except OSError:
            return "(no log)"

    def wait_log(self, text, timeout=10):
        end = time.monotonic() + timeout * PATIENCE
        while text not in self.log():
            if time.monotonic() > end:
                raise AssertionError("not in the log: %r\n%s" % (text, self.tail()))
            time.sleep(0.02)

    def signal(self, number):
        self.process.send_signal(number)

    def reload(self):
        before = self.log().count("config.reload")
        self.signal(signal.SIGHUP)
        end = time.monotonic() + 10 * PATIENCE
        while self.log().count("config.reload") == before:
            if time.monotonic() > end:
                raise AssertionError("no reload:\n" + self.tail())
            time.sleep(0.02)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=40):
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(timeout * PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("SIGTERM does not stop it:\n" + self.tail())
        return self.process.returncode

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
            killed = self.process.poll() is not None and self.process.returncode < 0
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

    def discard(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if not os.environ.get("MAGPIE_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
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
