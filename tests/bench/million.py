#!/usr/bin/env python3
"""`./dev million [N]`: one process, a million logged-in subscribed connections.

    million.py [-c N] [-w] [-t] [--json]

Connects N clients (default 1,000,000) to one server of two shards, all subscribed to one channel; looks at the memory;
sends messages that must arrive everywhere, once and in order, while another client pings; closes all and looks at what
is left. The same load generator first connects as many to the bare loop, which is what accepting and answering must
cost.

With -t by TLS 1.3. The load generator keeps some 170 bytes a connection for it, and no objects of OpenSSL; all
connections but the first few come again with the ticket of the first, which spares both sides a certificate. What the
server keeps afterwards is the same.

How long a ping waits is derived from the server's own histogram of its turns (docs/performance.md, "A million").

A process needs a descriptor a connection. Where the machine allows fewer and MAGPIE_BIGBOX names a command that runs
another command on a machine that does not (`$MAGPIE_BIGBOX -m MB -t SECONDS -o DIR -- COMMAND`, for example a wrapper
that starts a virtual machine which sees this file tree), the test runs itself there.
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
from harness import BENCH, BUILD, Bare, Failed, Server, load, metric, raise_descriptors, say, way  # noqa: E402

SPARE = 2048            # descriptors besides the connections
MESSAGES = 6            # through the channel of all
AT_ONCE = 512           # connections being made at any moment, to the server and to the bare loop
# by TLS: a handshake holds 50 KB on either side, and is refused if it takes longer than ten seconds, as 512 at once do
# where each is twenty milliseconds of work
AT_ONCE_TLS = 64
SHARDS = 2
# of memory for both ends of a connection: 7400 of the kernel's, the server's, the load generator's, and two messages
# that it has not read yet; with 20,000 to 60,000 by TLS 10,100 were measured
KERNEL_BYTES = 10600
TLS_BYTES = 400  # more by TLS, of both ends
TIMEOUTS = {"login": 10, "idle": 300}  # seconds: the server's defaults
# what the bare loop takes for a connection on a real machine: the larger of the figures that the aim was given with
# (18-26 µs)
NATIVE_BARE_US = 26.0
LIMITS = {"memory": {False: 300, True: 340}, "tls": 150,
          "cost": 2.2, "ping_ms": 10.0, "left": 16, "left_at_least": 8 << 20}


class Pinger(threading.Thread):
    """A client that pings. What it sees is the machine's time: it, the load generator and the server share
    processors."""

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


class Turns:
    """The server's histogram of its turns, by processor time."""

    def __init__(self, server):
        m = next(x for x in server.console("show metrics", timeout=600) if x["name"] == "magpie_turn_cpu_seconds")
        self.bounds = [b["le"] for b in m["buckets"]]
        self.at_most = [b["count"] for b in m["buckets"]] + [m["value"]]
        self.sum = m["sum"]

    def since(self, before):
        """(turns, seconds, x) since an earlier look: turns longer than x ms take at most 0.5 % of the time. Where
        within a bucket its turns lie is not known; they are taken as they are worst."""
        at_most = [b - a for a, b in zip(before.at_most, self.at_most)]
        counts = [b - a for a, b in zip([0] + at_most, at_most)]
        seconds = self.sum - before.sum
        for i, bound in enumerate(self.bounds):
            shorter = sum(n * low for n, low in zip(counts[:i + 1], [0] + self.bounds))
            longer = sum(n * high for n, high in zip(counts[i + 1:], self.bounds[i + 1:] + [float("inf")]) if n)
            if min(seconds - shorter, longer) <= 0.005 * seconds:
                return at_most[-1], seconds, 1e3 * bound
        return at_most[-1], seconds, float("inf")


def ping_ms(turn_ms):
    """The p99 of what a ping waits, at most, where turns longer than this take 0.5 % of the time.

    A ping comes at any moment, so it meets a turn as often as that turn is long, waits for its end, and for its own
    answer within the next one: two turns at most. A too long one is met with 0.5 %. And the next one is too long, after
    one that is not, with no more than that, since what stands before it is shorter than it. So 99 % of all pings wait
    for two turns of this length at most."""
    return 2 * turn_ms


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


def memory_in_use():
    """Bytes of this machine that are not to be had any more."""
    with open("/proc/meminfo") as f:
        kib = {line.split(":")[0]: int(line.split()[1]) for line in f}
    return (kib["MemTotal"] - kib["MemAvailable"]) * 1024


def resident(pid):
    with open("/proc/%d/statm" % pid) as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def sockets(server):
    time.sleep(1)  # the console's own
    folder = "/proc/%d/fd" % server.pid
    return sum(os.readlink(os.path.join(folder, fd)).startswith("socket:") for fd in os.listdir(folder))


def kernel_setting(name, value):
    """Of a machine that is ours alone; elsewhere it cannot be written, or need not."""
    try:
        with open("/proc/sys/" + name, "w") as f:
            f.write(str(value))
    except OSError as e:
        say("million: %s stays as it is: %s" % (name, e.strerror))


def kernel_of_the_load():
    """Packets that wait to be received are one queue for all: of a million, it would keep a ping for minutes."""
    kernel_setting("net/core/netdev_max_backlog", 10000)


def kernel_of_the_end(n):
    """The load generator's side closes a million sockets at once, which the kernel's defaults take for an attack: it
    resets what is too many, and drops resets that come too fast. Nobody repeats a reset, so the server would learn of
    the end by its next PING or by keepalive."""
    kernel_setting("net/ipv4/tcp_max_orphans", 4 * n)
    kernel_setting("net/core/netdev_max_backlog", 2 * n)


def seconds_for(n):
    """What one step may take on a machine that is twenty times slower than a real one, and busy."""
    return 600 + n // 200


def yardstick(n, websocket):
    say("the bare loop: %d connections" % n)
    with Bare("gather", SHARDS) as bare:
        figures = load(bare, "connect", "-c", n, "-d", 0, "--timeout", min(seconds_for(n), 3600), "--concurrency",
                       AT_ONCE, websocket=websocket)
    return figures["server_cpu_us_per_connection"]


def channel_command(server, n, hold, websocket, tls=None):
    command = [BENCH] + way(server, websocket, tls) + ["--json", "-q", "--pid", str(server.pid),
               "channel", "-c", str(n), "-k", "2", "--concurrency", str(AT_ONCE_TLS if tls else AT_ONCE),
               "-n", str(MESSAGES), "--warmup", "0", "--hold", str(hold),
               "--timeout", str(min(seconds_for(n), 3600))]  # the most that it takes
    return command + (["--resume"] if tls else [])


def connected(server, run, n, f, tls=None):
    """Waits until all are there; `show memory` then."""
    cpu, began, used = server.cpu(), time.monotonic(), memory_in_use()
    turns = Turns(server)
    # a handshake takes an emulated machine some ten milliseconds
    wait_until(server, run, lambda m: m["connections"] >= n + 1, "connecting", seconds_for(n) * (4 if tls else 2))
    f["connect_s"] = time.monotonic() - began
    f["us_per_connection"] = (server.cpu() - cpu) * 1e6 / n
    f["load_bytes_per_connection"] = resident(run.pid) / n
    f["connecting_turns"], f["connecting_turn_s"], f["connecting_turn_ms"] = Turns(server).since(turns)
    return used


def delivered(server, run, n, f, sent_before, emulated):
    """Waits until the messages have arrived everywhere, while somebody pings. The histogram then: from here on
    connections close."""
    pinger = Pinger(server)
    while run.poll() is None:  # the last look before the first message
        turns = Turns(server)
        if deliveries(server) > sent_before:
            break
        time.sleep(0.2)
    began = time.monotonic()
    pinger.start()
    peak = memory_in_use()
    while run.poll() is None and deliveries(server) < sent_before + n * MESSAGES:
        time.sleep(0.1)
        peak = max(peak, memory_in_use())
    f["peak_bytes"] = peak
    if emulated:
        kernel_of_the_end(n)
    pinger.ends.set()  # and what this one's last ping waits for are the many that leave
    wall = list(pinger.wall)
    end = Turns(server)
    f["delivering_turns"], f["delivering_turn_s"], f["delivering_turn_ms"] = end.since(turns)
    f["deliver_s"] = time.monotonic() - began
    pinger.finish()
    f["pings"], f["ping_p99_wall_ms"] = len(wall), p99(wall)
    return end


def settled(server):
    """`show memory` when it has not shrunk any more for longer than a minute, after which what is free goes back to the
    system once more (core/base/heap.h)."""
    least, since = server.console("show memory", timeout=600), time.monotonic()
    end = since + 300
    while time.monotonic() < min(since + 75, end):
        time.sleep(3)
        now = server.console("show memory", timeout=600)
        if now["rss"] - now["storage"] < least["rss"] - least["storage"] - (1 << 18):
            least, since = now, time.monotonic()
    return least


def closed(server, n, f, turns, began):
    """Waits until nothing is left; `show memory` when all has settled."""
    wait_until(server, None, lambda m: m["connections"] == 0 and m["users"] == 0 and m["channels"] == 0, "closing",
               seconds_for(n))
    f["close_s"] = time.monotonic() - began
    f["closing_turns"], f["closing_turn_s"], f["closing_turn_ms"] = Turns(server).since(turns)
    return settled(server)


def slowed(timeouts, slower):
    """What a machine does in its time, one that is slower by so much cannot: a million WebSocket connections are 6700
    PINGs a second."""
    return {name: round(seconds * max(slower, 1)) for name, seconds in timeouts.items()}


def crowd(n, websocket, emulated, tls=None):
    """The run itself; the figures."""
    transport = ("wss" if websocket else "tcps") if tls else "websocket" if websocket else "tcp"
    f = {"connections": n, "transport": transport, "shards": SHARDS}
    f["bare_us_per_connection"] = yardstick(n, websocket)
    f["slower"] = f["bare_us_per_connection"] / NATIVE_BARE_US if emulated else 1.0
    say("magpied: %d connections" % n)
    hold = 20 + n // 20000
    config = dict({"tls": {}} if tls else {}, timeouts=slowed(TIMEOUTS, f["slower"]))
    with Server(threads=SHARDS, **config) as server:
        # first-time costs of code and threads
        load(server, "connect", "-c", 200, "-d", 0.5, websocket=websocket, tls=tls)
        time.sleep(6)
        before, files = server.console("show memory"), sockets(server)
        with subprocess.Popen(channel_command(server, n, hold, websocket, tls), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as run:
            try:
                used = connected(server, run, n, f, tls)
                say("all are there; holding still")
                sent_before = deliveries(server)
                time.sleep(hold / 3)
                full = server.console("show memory", timeout=600)
                say("  memory: %s" % full)
                f["kernel_bytes_per_connection"] = (memory_in_use() - used - full["rss"] + before["rss"] -
                                                    resident(run.pid)) / n
                say("%d messages to all" % MESSAGES)
                turns, began = delivered(server, run, n, f, sent_before, emulated), time.monotonic()
                say("all delivered, or not")
                out, err = run.communicate(timeout=seconds_for(n) * 2)
            finally:
                run.kill()
        result = json.loads(out)
        if run.returncode != 0:
            raise Failed("faults: " + err[-500:])
        f["bytes_per_connection"] = (full["rss"] - full["storage"] - before["rss"] + before["storage"]) / n
        f["cost_ratio"] = f["us_per_connection"] / f["bare_us_per_connection"]
        f["messages"], f["deliveries"] = MESSAGES, result["deliveries"]
        f["missing"], f["duplicates"] = result["missing"], result["duplicates"]
        f["resumed"] = result["resumed_handshakes"]
        f["cpu_s_per_million"] = result["server_cpu_s_per_million"]
        say("all closed; what is left? (%.0f s to deliver)" % f["deliver_s"])
        after = closed(server, n, f, turns, began)
        say("  memory: %s" % after)
        f["memory"] = {"before": before, "full": full, "after": after}
        f["left_bytes_per_connection"] = (after["rss"] - after["storage"] - before["rss"] + before["storage"]) / n
        f["left_sockets"] = sockets(server) - files
    return f


def verdicts_of_turns(f):
    """What the server's turns tell: as it was here, and divided by how much slower this machine is than a real one."""
    rows = []

    def row(what, here, limit):
        scaled = here / f["slower"]
        if f["slower"] == 1:
            rows.append((what, here, limit, limit is None or here <= limit))
        else:
            rows.append((what + ", here", here, None, True))
            rows.append(("    divided by %.1f" % f["slower"], scaled, limit, limit is None or scaled <= limit))

    row("a ping's p99 meanwhile, at most, ms", ping_ms(f["delivering_turn_ms"]), LIMITS["ping_ms"])
    rows.append(("    as a client beside the load saw it", f["ping_p99_wall_ms"], None, True))
    for phase in ("connecting", "delivering", "closing"):
        row("  99.5 %% of the time %s in turns of at most, ms" % phase, f[phase + "_turn_ms"], None)
    return rows


def verdicts(f):
    """(what, figure, bound, good) for people."""
    tls = f["transport"] in ("tcps", "wss")
    memory = LIMITS["memory"][f["transport"] in ("websocket", "wss")] + (LIMITS["tls"] if tls else 0)
    return [
        ("server memory a connection, bytes", f["bytes_per_connection"], memory, f["bytes_per_connection"] <= memory),
        ("connect, login, subscribe, µs of processor", f["us_per_connection"], None, True),
        ("  the bare loop's accept and answers, µs", f["bare_us_per_connection"], None, True),
        ("  ratio", f["cost_ratio"], None if tls else LIMITS["cost"], tls or f["cost_ratio"] <= LIMITS["cost"]),
        ("messages that arrived everywhere", f["deliveries"] / f["connections"], f["messages"],
         f["deliveries"] == f["connections"] * f["messages"]),
        ("  missing, doubled or out of order", f["missing"] + f["duplicates"], 0, f["missing"] + f["duplicates"] == 0),
        ("  processor seconds a million deliveries", f["cpu_s_per_million"], None, True),
        *verdicts_of_turns(f),
        ("left when all are gone, bytes a connection", f["left_bytes_per_connection"], LIMITS["left"],
         f["left_bytes_per_connection"] <= LIMITS["left"] or
         f["left_bytes_per_connection"] * f["connections"] < LIMITS["left_at_least"]),
        ("  in all, MiB", f["left_bytes_per_connection"] * f["connections"] / (1 << 20), None, True),
        ("  sockets", f["left_sockets"], 0, f["left_sockets"] <= 0),
    ]


def show(f):
    good = True
    print("%d connections over %s, %d shards" % (f["connections"], f["transport"], f["shards"]))
    for what, figure, bound, ok in verdicts(f):
        good = good and ok
        limit = "of" if what == "messages that arrived everywhere" else "at most"
        print("  %-56s %12.1f%s" % (what, figure,
                                    "" if bound is None else "   (%s %g)%s" % (limit, bound, "" if ok else "  MISSED")))
    print("  connected in %.0f s, delivered in %.0f s, closed in %.0f s" % (f["connect_s"], f["deliver_s"],
                                                                            f["close_s"]))
    print("  the load generator's memory: %.0f bytes a connection" % f["load_bytes_per_connection"])
    if f["transport"] in ("tcps", "wss"):
        print("  by TLS 1.3; %d handshakes were resumed, by the ticket of the first" % f["resumed"])
    if f["slower"] != 1:
        print("  the kernel's memory for both ends of a connection: %.0f bytes" % f["kernel_bytes_per_connection"])
        print("  all that was in use on this machine, at most: %d MiB" % (f["peak_bytes"] >> 20))
        print("  This machine is emulated: the bare loop took %.0f µs of processor a connection here, and %.0f µs on a "
              "real machine. What is divided by %.1f\n"
              "  is an estimate of a real machine's time; everything else is as it was measured here." %
              (f["bare_us_per_connection"], NATIVE_BARE_US, f["slower"]))
    return good


def elsewhere(box, arguments):
    """Runs this on the machine that MAGPIE_BIGBOX gives; its exit status."""
    n = arguments.connections
    with tempfile.TemporaryDirectory(prefix="million-", dir=BUILD) as out:
        memory = 3000 + n * (KERNEL_BYTES + (TLS_BYTES if arguments.tls else 0)) // 1000000
        command = shlex.split(box) + ["-m", str(memory), "-t", str(1800 + n // 30), "-o", out, "--", sys.executable,
                                      os.path.abspath(__file__), "--here",
                                      "-c", str(n), "--result",
                                      os.path.join(out, "result.json")] + (["-w"] if arguments.websocket else []) + \
            (["-t"] if arguments.tls else [])
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
    parser.add_argument("-t", "--tls", action="store_true", help="by TLS 1.3")
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
            figures = crowd(arguments.connections, arguments.websocket, arguments.here,
                            "1.3" if arguments.tls else None)
        elif box and not arguments.here:
            status, figures = elsewhere(box, arguments)
        else:
            raise Failed("a process may have %d descriptors here (ulimit -Hn), and %d are needed for %d connections.\n"
                         "Raise the limit (etc/limits.d/magpie.conf and etc/sysctl.d/magpie.conf say how), set "
                         "MAGPIE_BIGBOX to a command that runs\n"
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
