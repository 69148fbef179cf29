"""What the benchmarks share: servers and yardsticks to start and stop, the console, magpie-bench, and reading /proc."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build")
MAGPIED = os.environ.get("MAGPIED", os.path.join(BUILD, "magpied"))
BENCH = os.path.join(os.path.dirname(MAGPIED), "magpie-bench")
TOOLS = os.path.join(os.path.dirname(MAGPIED), "tests")


class Failed(Exception):
    """A benchmark could not be run; the text is for people."""


def raise_descriptors():
    """As many descriptors as the machine lets this process have; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def lua(value):
    """A Python value as the config file has it."""
    if isinstance(value, dict):
        return "{ " + ", ".join("%s = %s" % (k, lua(v)) for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "{ " + ", ".join(lua(v) for v in value) + " }"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value)
    return str(value)


class Process:
    """A server process that is measured: its pid, its TCP and its WebSocket port."""

    name = "process"

    def __init__(self):
        self.process, self.tcp, self.websocket, self.tcps, self.wss = None, 0, 0, 0, 0

    @property
    def pid(self):
        return self.process.pid

    def port(self, websocket, tls=None):
        if tls:
            return self.wss if websocket else self.tcps
        return self.websocket if websocket else self.tcp

    def cpu(self):
        """Seconds of processor time so far, all threads."""
        return time.clock_gettime(cpu_clock(self.pid))

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()


def cpu_clock(pid):
    """The clock of a process's processor time (clock_getcpuclockid(3))."""
    return (~pid << 3) | 2


class Bare(Process):
    """The yardstick: tests/bench/bare.c."""

    def __init__(self, way="gather", threads=1):
        super().__init__()
        self.name = "bare %s x%d" % (way, threads)
        self.process = subprocess.Popen([os.path.join(TOOLS, "bare"), way, str(threads)], stdout=subprocess.PIPE,
                                        text=True)
        line = self.process.stdout.readline().split()
        if len(line) != 2:
            raise Failed("the bare loop does not start")
        self.tcp, self.websocket = int(line[0]), int(line[1])


def certificate(folder):
    """A certificate for a day (ECDSA P-256), as the config names it."""
    cert, key = os.path.join(folder, "bench.pem"), os.path.join(folder, "bench.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=localhost", "-days", "1", "-keyout", key, "-out", cert],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.chmod(key, 0o600)
    return {"certificate": cert, "key": key}


class Server(Process):
    """magpied with a config and a data folder of its own, the shipped policies and metrics on, rate limits off, every
    channel small; `config` replaces options (`tls={}`: with a certificate, and ports of TLS). threads=0 is the server's
    own choice."""

    def __init__(self, threads=1, data=None, wrap=(), **config):
        super().__init__()
        self.name = "magpied x%d" % threads
        self.keep = data is not None
        base = os.environ.get("MAGPIE_BENCH_DATA", BUILD)
        self.folder = data or tempfile.mkdtemp(prefix="bench-", dir=base)
        self.log = os.path.join(self.folder, "log")
        self.socket = os.path.join(tempfile.mkdtemp(prefix="mp-"), "console")
        self.options = {"data": os.path.join(self.folder, "data"), "threads": threads, "limits": {"connections": 0},
                        "rate": {"user": 0, "channel": 0}, "log": {"level": "warn"},
                        "tiers": {"large": {"members": 0}}}
        plugins = os.path.join(os.path.dirname(MAGPIED), "plugins")
        if os.path.exists(os.path.join(plugins, "metrics.so")):
            self.options["plugins"] = {"path": plugins, "load": {"metrics": {}}}
        self.options["scripts"] = {"path": os.path.join(ROOT, "scripts")}
        self.options.update(config)
        if "tls" in self.options:
            self.options["tls"] = dict(certificate(self.folder), **self.options["tls"])
        self.start(wrap)

    def start(self, wrap=()):
        for _ in range(5):
            self.tcp, self.websocket, self.tcps, self.wss = (free_port() for _ in range(4))
            path = os.path.join(self.folder, "bench.lua")
            listen = {"tcp": "127.0.0.1:%d" % self.tcp, "websocket": "127.0.0.1:%d" % self.websocket,
                      "console": "unix:" + self.socket}
            if "tls" in self.options:
                listen.update(tcps="127.0.0.1:%d" % self.tcps, wss="127.0.0.1:%d" % self.wss)
            with open(path, "w") as f:
                f.write("return " + lua(dict(self.options, listen=listen)) + "\n")
            begin = time.monotonic()
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(list(wrap) + [MAGPIED, "-c", path], stdout=log, stderr=log)
            while self.process.poll() is None and time.monotonic() < begin + (600 if wrap else 120):
                try:
                    socket.create_connection(("127.0.0.1", self.tcp)).close()
                    self.listen_seconds = time.monotonic() - begin
                    return
                except OSError:
                    time.sleep(0.002)
            self.stop_only()
        with open(self.log) as f:
            raise Failed("the server does not start: " + f.read()[-500:])

    def shards(self):
        """How many threads serve connections."""
        end, n = time.monotonic() + 10, 0
        while n == 0 and time.monotonic() < end:  # each names itself once it runs
            n = sum(name.startswith("shard-") for name in self.thread_names())
        return n

    def thread_names(self):
        tasks = "/proc/%d/task" % self.pid
        names = []
        for task in os.listdir(tasks):
            with open(os.path.join(tasks, task, "comm")) as f:
                names.append(f.read().strip())
        return names

    def console(self, line, timeout=60):
        """The JSON body of a command's answer."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(timeout)
            s.connect(self.socket)
            s.sendall(("json %s\nquit\n" % line).encode())
            f = s.makefile("r", encoding="utf-8")
            status = f.readline()
            if not status.startswith("OK"):
                raise Failed("console: %s: %s" % (line, status.strip()))
            body = []
            for text in f:
                if text == ".\n":
                    return json.loads("".join(body))
                body.append(text[1:] if text.startswith(".") else text)
        raise Failed("console: no answer to " + line)

    def own_memory(self):
        """Bytes of the process that are not the database's."""
        m = self.console("show memory")
        return m["rss"] - m["storage"]

    def stop_only(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(120)
            except subprocess.TimeoutExpired:
                super().stop()

    def stop(self):
        self.stop_only()
        shutil.rmtree(os.path.dirname(self.socket), ignore_errors=True)
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def way(server, websocket=False, tls=None):
    """magpie-bench's options for a transport. tls: "1.3", "1.2", or None."""
    return (["-a", "127.0.0.1:%d" % server.port(websocket, tls)] + (["-w"] if websocket else []) +
            ({"1.3": ["--tls"], "1.2": ["--tls12"]}[tls] if tls else []))


def load(server, scenario, *options, websocket=False, tls=None, pid=None):
    """Runs magpie-bench; its figures."""
    command = [BENCH] + way(server, websocket, tls) + ["--json", "-q", "--pid", str(pid or server.pid)]
    run = subprocess.run(command + [scenario] + [str(o) for o in options], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    try:
        figures = json.loads(run.stdout)
    except ValueError:
        raise Failed("magpie-bench %s: %s" % (scenario, run.stderr.strip()[-300:])) from None
    if figures.get("faulty"):
        raise Failed("magpie-bench %s found faults: %s %s" %
                     (scenario, {k: figures[k] for k in ("missing", "duplicates", "refused") if figures.get(k)},
                                                             run.stderr.strip()[-300:]))
    return figures


def metric(server, name):
    """One figure of `show metrics`."""
    return next(x["value"] for x in server.console("show metrics", timeout=600) if x["name"] == name)


def say(text):
    print(text, file=sys.stderr, flush=True)
