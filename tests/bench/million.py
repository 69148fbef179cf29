#!/usr/bin/env python3
"""`./dev million [N]`: one process, a million logged-in subscribed connections.

    million.py [-c N] [-w] [--json]

Connects N clients (default 1,000,000) to one server of two shards, all subscribed to one channel; looks at the memory; sends messages that must arrive
everywhere, once and in order, while another client pings; closes all and looks at what is left. The same load generator first connects a part of
that number to the bare loop, which is what accepting and answering must cost.

A process needs a descriptor a connection. Where the machine allows fewer and MAGPIE_BIGBOX names a command that runs another command on a machine that
does not (`$MAGPIE_BIGBOX -m MB -t SECONDS -o DIR -- COMMAND`, for example a wrapper that starts a virtual machine which sees this file tree),
the test runs itself there.
"""

import argparse
import json
import os
import shlex
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BENCH, BUILD, Bare, Failed, Server, load, metric, raise_descriptors, say  # noqa: E402

SPARE = 2048            # descriptors besides the connections
MESSAGES = 6            # through the channel of all
SHARDS = 2
KERNEL_BYTES = 10000    # of the kernel's for both ends of a connection, and the load generator's
LIMITS = {"memory": {False: 300, True: 340}, "cost": 2.2, "long_turns": 1.0, "left": 16}


class Pinger(threading.Thread):
    """A client that pings. What it sees is the machine's time: it, the load generator and the server share processors."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.wall, self.ends = [], threading.Event()
        self.socket = socket.create_connection(("127.0.0.1", server.tcp))
        self.socket.settimeout(300)
        self.ask(1, b'{"name":"pinger00"}')

    def ask(self, action, body):
        self.socket.sendall(struct.pack(">IHH", 8 + len(body), action, 1) + body)
        head = self.take(8)
        self.take(struct.unpack(">I", head[:4])[0] - 8)

    def take(self, n):
        data = b""
        while len(data) < n:
            part = self.socket.recv(n - len(data))
            if not part:
                raise Failed("the pinging client lost its connection")
            data += part
        return data

    def run(self):
        while not self.ends.is_set():
            began = time.monotonic()
            self.ask(9, b"")
            self.wall.append((time.monotonic() - began) * 1e3)
            self.ends.wait(0.02)

    def finish(self):
        self.ends.set()
        self.join(300)
        self.socket.close()


def deliveries(server):
    return metric(server, "magpie_deliveries_total")


def turn_seconds(server):
    """The server's own time in turns of its loops, and in those over 5 ms. A ping waits for two turns at most: the one under way and its own. So
    while less than 1 % of the time is in long ones, the p99 of its wait is below 10 ms of the server's own time."""
    return metric(server, "magpie_turns_cpu_seconds_total"), metric(server, "magpie_long_turns_cpu_seconds_total")


def p99(values):
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))] if values else float("nan")


def wait_until(server, load_process, ready, what, seconds):
    """Polls `show memory`; what it says when ready(it) is true."""
    end, told = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        m = server.console("show memory", timeout=600)
        if ready(m):
            return m
        if load_process and load_process.poll() is not None:
            raise Failed("the load generator ended early: " + load_process.stderr.read()[-500:])
        if time.monotonic() > told + 30:
            told = time.monotonic()
            say("  %s: %d connections" % (what, m["connections"]))
        time.sleep(1)
    raise Failed("%s: not within %d s" % (what, seconds))


def sockets(server):
    time.sleep(1)  # the console's own
    folder = "/proc/%d/fd" % server.pid
    return sum(os.readlink(os.path.join(folder, fd)).startswith("socket:") for fd in os.listdir(folder))


def kernel_of_the_load():
    """The load generator's side closes a million sockets at once, which the kernel's defaults take for an attack: it resets what is too many, and
    drops resets that come too fast. Settings of a machine that is ours alone; elsewhere they cannot be written, or need not."""
    for name, value in (("net/ipv4/tcp_max_orphans", 4000000), ("net/core/netdev_max_backlog", 1000000)):
        try:
            with open("/proc/sys/" + name, "w") as f:
                f.write(str(value))
        except OSError as e:
            say("million: %s stays as it is: %s" % (name, e.strerror))


def yardstick(n, websocket):
    say("the bare loop: %d connections" % n)
    with Bare("gather", SHARDS) as bare:
        return load(bare, "connect", "-c", n, "-d", 0, "--timeout", 600, websocket=websocket)["server_cpu_us_per_connection"]


def channel_command(server, n, hold, websocket):
    command = [BENCH, "-a", "127.0.0.1:%d" % server.port(websocket), "--json", "-q", "--pid", str(server.pid), "channel", "-c", str(n), "-k", "2",
               "-n", str(MESSAGES), "--warmup", "0", "--hold", str(hold), "--timeout", "600"]
    return command + (["-w"] if websocket else [])


def crowd(n, websocket):
    """The run itself; the figures."""
    f = {"connections": n, "transport": "websocket" if websocket else "tcp", "shards": SHARDS}
    f["bare_us_per_connection"] = yardstick(min(n, 100000), websocket)
    say("magpied: %d connections" % n)
    hold = 20 + n // 20000
    with Server(threads=SHARDS) as server:
        load(server, "connect", "-c", 200, "-d", 0.5, websocket=websocket)  # first-time costs of code and threads
        time.sleep(6)
        before, cpu = server.console("show memory"), server.cpu()
        files = sockets(server)
        with subprocess.Popen(channel_command(server, n, hold, websocket), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            try:
                wait_until(server, run, lambda m: m["connections"] >= n + 1, "connecting", 600 + n // 60)
                f["us_per_connection"] = (server.cpu() - cpu) * 1e6 / n
                say("all are there; holding still")
                time.sleep(hold / 2)
                full = server.console("show memory", timeout=600)
                say("%d messages to all" % MESSAGES)
                pinger = Pinger(server)
                time.sleep(hold / 2)
                turns, done = turn_seconds(server), deliveries(server) + n * MESSAGES
                pinger.start()
                while run.poll() is None and deliveries(server) < done:
                    time.sleep(0.1)
                pinger.finish()
                turns = [b - a for a, b in zip(turns, turn_seconds(server))]
                out, err = run.communicate(timeout=1800 + n // 100)
            finally:
                run.kill()
        result = json.loads(out)
        if run.returncode != 0:
            raise Failed("faults: " + err[-500:])
        f["bytes_per_connection"] = (full["rss"] - full["storage"] - before["rss"] + before["storage"]) / n
        f["storage_bytes"] = full["storage"]
        f["rss_bytes"] = full["rss"]
        f["cost_ratio"] = f["us_per_connection"] / f["bare_us_per_connection"]
        f["messages"], f["deliveries"] = MESSAGES, result["deliveries"]
        f["missing"], f["duplicates"] = result["missing"], result["duplicates"]
        f["cpu_s_per_million"] = result["server_cpu_s_per_million"]
        f["pings"] = len(pinger.wall)
        f["ping_p99_wall_ms"] = p99(pinger.wall)
        f["long_turns_percent"] = 100 * turns[1] / turns[0] if turns[0] else float("nan")
        say("all closed; what is left?")
        wait_until(server, None, lambda m: m["connections"] == 0 and m["users"] == 0 and m["channels"] == 0, "closing", 600 + n // 300)
        time.sleep(12)
        after = server.console("show memory", timeout=600)
        f["left_bytes_per_connection"] = (after["rss"] - after["storage"] - before["rss"] + before["storage"]) / n
        f["left_sockets"] = sockets(server) - files
    return f


def verdicts(f):
    """(what, figure, bound, good) for people."""
    memory = LIMITS["memory"][f["transport"] == "websocket"]
    return [
        ("server memory a connection, bytes", f["bytes_per_connection"], memory, f["bytes_per_connection"] <= memory),
        ("connect, login, subscribe, µs of processor", f["us_per_connection"], None, True),
        ("  the bare loop's accept and answers, µs", f["bare_us_per_connection"], None, True),
        ("  ratio", f["cost_ratio"], LIMITS["cost"], f["cost_ratio"] <= LIMITS["cost"]),
        ("messages that arrived everywhere", f["deliveries"] / f["connections"], f["messages"], f["deliveries"] == f["connections"] * f["messages"]),
        ("  missing, doubled or out of order", f["missing"] + f["duplicates"], 0, f["missing"] + f["duplicates"] == 0),
        ("  processor seconds a million deliveries", f["cpu_s_per_million"], None, True),
        ("meanwhile, % of the server's time in turns > 5 ms", f["long_turns_percent"], LIMITS["long_turns"], f["long_turns_percent"] <= LIMITS["long_turns"]),
        ("  ping p99 as a client saw it, ms", f["ping_p99_wall_ms"], None, True),
        ("left when all are gone, bytes a connection", f["left_bytes_per_connection"], LIMITS["left"], f["left_bytes_per_connection"] <= LIMITS["left"] or
         f["left_bytes_per_connection"] * f["connections"] < 8 << 20),
        ("  sockets", f["left_sockets"], 0, f["left_sockets"] <= 0),
    ]


def show(f):
    good = True
    print("%d connections over %s, %d shards" % (f["connections"], f["transport"], f["shards"]))
    for what, figure, bound, ok in verdicts(f):
        good = good and ok
        print("  %-52s %12.1f%s" % (what, figure, "" if bound is None else "   (at most %g)%s" % (bound, "" if ok else "  MISSED")
                                   if what != "messages that arrived everywhere" else "   (of %g)%s" % (bound, "" if ok else "  MISSED")))
    return good


def elsewhere(box, arguments):
    """Runs this on the machine that MAGPIE_BIGBOX gives; its exit status."""
    n = arguments.connections
    with tempfile.TemporaryDirectory(prefix="million-", dir=BUILD) as out:
        memory = 3000 + n * KERNEL_BYTES // 1000000
        command = shlex.split(box) + ["-m", str(memory), "-t", str(1800 + n // 30), "-o", out, "--", sys.executable, os.path.abspath(__file__), "--here",
                                      "-c", str(n), "--result", os.path.join(out, "result.json")] + (["-w"] if arguments.websocket else [])
        say("this machine allows too few descriptors; running on the one of MAGPIE_BIGBOX")
        status = subprocess.call(command, stdout=sys.stderr)
        try:
            with open(os.path.join(out, "result.json")) as f:
                return status, json.load(f)
        except (OSError, ValueError):
            return status or 1, None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--connections", type=int, default=1000000)
    parser.add_argument("-w", "--websocket", action="store_true")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    have, box = raise_descriptors(), os.environ.get("MAGPIE_BIGBOX", "")
    need = arguments.connections + SPARE
    status, figures = 0, None
    try:
        if have >= need:
            if arguments.here:
                kernel_of_the_load()
            figures = crowd(arguments.connections, arguments.websocket)
        elif box and not arguments.here:
            status, figures = elsewhere(box, arguments)
        else:
            raise Failed("a process may have %d descriptors here (ulimit -Hn), and %d are needed for %d connections.\n"
                         "Raise the limit (etc/limits.d/magpie.conf and etc/sysctl.d/magpie.conf say how), set MAGPIE_BIGBOX to a command that runs\n"
                         "`-m MB -t SECONDS -o DIR -- COMMAND` on a machine without that limit, or try fewer: -c %d" %
                         (have, need, arguments.connections, max(have - SPARE, 1000)))
    except Failed as e:
        say("million: %s" % e)
        return 1
    if figures is None:
        return status or 1
    if arguments.result:
        with open(arguments.result, "w") as f:
            json.dump(figures, f)
        return 0
    if arguments.json:
        print(json.dumps(figures))
        return 0 if all(ok for *_, ok in verdicts(figures)) else 1
    return 0 if show(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
