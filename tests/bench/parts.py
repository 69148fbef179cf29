"""The parts of `./dev bench`: each measures something and yields rows (see Row)."""

import json
import os
import re
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import Optional

from harness import BENCH, BUILD, TOOLS, Bare, Failed, Server, load, way


@dataclass
class Row:
    """A line of the table. `value` is Magpie's figure, `yardstick` what it is compared with, `bound` what the ratio
    (or, without a yardstick, the value) is meant to stay below (or above, where more is better)."""

    key: str
    name: str
    value: float
    unit: str
    yardstick: Optional[float] = None
    bound: Optional[float] = None
    more: bool = False  # more is better

    @property
    def ratio(self):
        return self.value / self.yardstick if self.yardstick else None

    @property
    def judged(self):
        return self.value if self.yardstick is None else self.ratio

    @property
    def good(self):
        return self.bound is None or (self.judged >= self.bound if self.more else self.judged <= self.bound)


def middle(figures):
    """The mean of their middle half: as little moved by an outlier as the median, and steadier than it."""
    ordered, cut = sorted(figures), len(figures) // 4
    return statistics.mean(ordered[cut:len(ordered) - cut])


def interleaved(subjects, rounds, scenario, *options, websocket=False, figure):
    """Runs the scenario against each subject in turns, so that what else the machine does hits all alike; the middle
    figure of each."""
    figures = [[] for _ in subjects]
    for _ in range(rounds):
        for s, out in zip(subjects, figures):
            out.append(load(s, scenario, *options, websocket=websocket)[figure])
    return [middle(f) for f in figures]


# --- Fan-out ----------------------------------------------------------------------------------------------------------

CROWDS = [("a", 1000, 4), ("b", 10000, 2)]  # receivers, messages under way
SLICE = 16                                  # messages of a merged slice, and of a send(2) of the batch loop


def fanout(quick):
    """Processor seconds a million deliveries, against a gathering bare loop of as many threads. Two runs of (a) may
    differ by half, of the bare loop too and however long they are: so there are many short ones."""
    with Server(threads=0) as server:
        with Bare("gather", server.shards()) as bare:
            for name, receivers, under_way in CROWDS:
                rounds, seconds = (1, 1) if quick else (14, 0.5) if receivers < 10000 else (4, 1.5)
                for websocket in (False, True):
                    bare_cost, cost = interleaved([bare, server], rounds, "channel", "-c", receivers, "-k", under_way,
                                                  "-d", seconds, "--warmup", 0.3,
                                                  websocket=websocket, figure="server_cpu_s_per_million")
                    transport = "WebSocket" if websocket else "TCP"
                    yield Row("fanout.%s.%s" % (name, transport.lower()),
                              "(%s) %d receivers, %s, push all" % (name, receivers, transport), cost,
                              "CPU s/M", bare_cost, 1.1)


def merged_row(crowd, websocket, slice_ms, flat_out, rounds, seconds):
    """Both get what fills a slice; or, flat out, as many messages as go with so many under way, in slices that leave
    none out."""
    name, receivers, under_way = crowd
    rate = SLICE * 1000 // slice_ms
    pace = ["-k", under_way] if flat_out else ["-k", 64, "--rate", rate]
    with Server(threads=0, push={"slice_ms": slice_ms, "max": 1000 if flat_out else 20}) as server:
        with Bare("batch", server.shards()) as bare:
            bare_cost, cost = interleaved([bare, server], rounds, "channel", "-c", receivers, *pace, "-d", seconds,
                                          "--warmup", 0.5, "--push", "merged",
                                          websocket=websocket, figure="server_cpu_s_per_million")
    transport = "WebSocket" if websocket else "TCP"
    key, pace_text = ("flat_out", "%d under way" % under_way) if flat_out else (rate, "%d/s" % rate)
    return Row("merged.%s.%s.%s" % (name, transport.lower(), key),
               "(%s) %d receivers, %s, merged, %s" % (name, receivers, transport, pace_text), cost, "CPU s/M",
               bare_cost, 1.2)


def merged(quick):
    """The same in slices, against a bare loop that sends 16 messages at once. First with as many messages under way as
    in the rows above, then with what fills a slice with 16: in slices of 200 ms, as they are by default, and (a), which
    then leaves the machine idle for nine tenths of the time, in slices of 20 ms too."""
    for crowd in CROWDS:
        for websocket in (False, True):
            yield merged_row(crowd, websocket, 20, True, *((1, 1) if quick else (2, 1.5)))
    rounds, seconds = (1, 2) if quick else (2, 2)
    for slice_ms in (20, 200):
        for websocket in (False, True):
            yield merged_row(CROWDS[0], websocket, slice_ms, False, rounds, seconds)
    yield merged_row(CROWDS[1], False, 200, False, rounds, seconds)


# --- Connections ------------------------------------------------------------------------------------------------------

def wait_connections(server, n, run=None):
    end = time.monotonic() + 120
    while server.console("show memory")["connections"] != n:
        if time.monotonic() > end or (run and run.poll() is not None):
            raise Failed("the connections do not come: " + (run.stderr.read()[-300:] if run else ""))
        time.sleep(0.2)


def idle_bytes(n, websocket=False, tls=None, settle=3):
    """Bytes of the process, without the database's, for a logged-in, once-subscribed, idle connection at two shards."""
    with Server(threads=2, **({"tls": {}} if tls else {})) as server:
        load(server, "connect", "-c", 200, "-d", 0.3, websocket=websocket, tls=tls)  # what is needed once
        wait_connections(server, 0)
        time.sleep(6)
        before = server.own_memory()
        command = [BENCH] + way(server, websocket, tls) + ["-q", "--json", "--pid", str(server.pid)]
        with subprocess.Popen(command + ["connect", "-c", str(n), "-d", "60"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as run:
            try:
                wait_connections(server, n + 1, run)
                time.sleep(settle)
                return (server.own_memory() - before) / n
            finally:
                run.terminate()
                run.wait()


def idle(quick):
    """What an idle connection holds, by transport."""
    for websocket in (False, True):
        transport = "WebSocket" if websocket else "TCP"
        yield Row("idle.%s" % transport.lower(), "memory of an idle connection, %s" % transport,
                  idle_bytes(2000 if quick else 10000, websocket), "bytes", None, 340 if websocket else 300)


def tls(quick):
    """What TLS adds: memory, processor time of deliveries, and of connections with their handshake."""
    for version, bound in (("1.3", 450), ("1.2", 14 << 10)):
        yield Row("tls.idle.%s" % version, "memory of an idle connection, TLS %s" % version,
                  idle_bytes(2000 if quick else 10000, tls=version, settle=12), "bytes", None, bound)
    with Server(threads=1, tls={}) as server:
        for name, crowd, under_way in CROWDS[:1] if quick else CROWDS:
            options = ("-c", crowd, "-k", under_way, "-d", 1 if quick else 3)
            costs = {None: [], "1.3": [], "1.2": []}
            for _ in range(1 if quick else 4):
                for version, out in costs.items():
                    out.append(load(server, "channel", *options, tls=version)["server_cpu_s_per_million"])
            for version in ("1.3", "1.2"):
                yield Row("tls.fanout.%s.%s" % (name, version),
                          "fan-out to %d over TLS %s, against plain TCP" % (crowd, version), middle(costs[version]),
                          "CPU s/M", middle(costs[None]), 1.2 if version == "1.3" else None)
        for version in ("1.3", "1.2"):
            figures = load(server, "connect", "-c", 500 if quick else 4000, "-d", 0.2, tls=version)
            yield Row("tls.connect.%s" % version, "handshake, login, subscribe, TLS %s" % version,
                      figures["server_cpu_us_per_connection"], "CPU µs")
        files = server.options["tls"]
        for f in program("handshake_bench", str(server.tcps), str(server.pid), files["certificate"], files["key"],
                         *(("50", "1") if quick else ("400", "5"))):
            yield Row("tls.handshakes.%s.%s" % (f["what"], f["version"]),
                      "handshakes, %s, TLS %s" % (f["what"], f["version"]), 1e6 / f["us"], "per CPU s",
                      1e6 / f["bare_us"], 0.65, True)


def connect(quick):
    """What a connection with login and subscription costs, against the bare loop's accept and two answers."""
    n, rounds = (1000, 1) if quick else (5000, 5)
    for websocket in (False, True):
        with Server(threads=0) as server, Bare("gather", server.shards()) as bare:
            bare_cost, cost = interleaved([bare, server], rounds, "connect", "-c", n, "-d", 0.2, websocket=websocket,
                                          figure="server_cpu_us_per_connection")
            transport = "WebSocket" if websocket else "TCP"
            yield Row("connect.%s" % transport.lower(), "connect, login, subscribe, %s" % transport, cost, "CPU µs",
                      bare_cost, 2.2)


# --- Parts with programs of their own ---------------------------------------------------------------------------------

def program(name, *options):
    """Runs build/tests/NAME --json: a JSON object a line."""
    path = os.path.join(TOOLS, name)
    if not os.path.exists(path):
        raise Failed("%s is not built" % name)
    run = subprocess.run([path, "--json"] + list(options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         timeout=300)
    if run.returncode != 0:
        raise Failed("%s: exit status %d: %s" % (name, run.returncode, run.stderr.strip()[-300:]))
    try:
        return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    except ValueError:
        raise Failed("%s: %s" % (name, run.stderr.strip()[-300:])) from None


def store(quick):
    """tests/bench/store_bench.c."""
    names = {"append": ("private messages at durability sync", 0.5, True),
             "latency": ("one private message at a time, p50", None, False),
             "history": ("a page of 50 of 10,000, after a seq", 1.5, False),
             "before": ("the same before a seq", 1.5, False)}
    folder = os.path.join(os.environ.get("MAGPIE_BENCH_DATA", BUILD), "bench-store")
    for f in program("store_bench", "--dir", folder, "--seconds", "1" if quick else "4"):
        name, bound, more = names.get(f["name"], (f["name"], None, False))
        if f["name"] == "latency":
            bound = round(f["bound"] / f["raw"], 2)  # 1.5 fdatasyncs and 0.2 ms
        yield Row("store." + f["name"], name, f["store"], f["unit"], f["raw"], bound, more)


def compression(quick):
    """tests/bench/deflate_bench.c; and fan-out to receivers that accept gzip, against the same to others in turns.
    Messages of 128 bytes stay below the threshold, so that nothing is to be paid for them. Those of 1,000 are
    compressed, once for all; they come at a rate, because as many as go would wait for this program's inflating, and
    then fewer share a call."""
    bounds = {("slice", "deflate"): 60, ("slice", "gzip"): 60, ("page", "deflate"): 60, ("page", "gzip"): 60}
    names = {"deflate": "WebSocket", "narrow": "WebSocket, window 9", "gzip": "TCP"}
    for f in program("deflate_bench"):
        if f["item"] not in ("slice", "page"):
            continue
        about = "%s, %s" % (f["about"], names[f["form"]])
        yield Row("compression.%s.%s" % (f["item"], f["form"]), about + ": bytes saved",
                  100 * (1 - f["packed"] / f["plain"]), "%", None, bounds.get((f["item"], f["form"])), True)
        yield Row("compression.%s.%s.us" % (f["item"], f["form"]), about + ": once for all", f["us"], "CPU µs")
    rounds, seconds = (1, 1) if quick else (14, 0.5)
    with Server(threads=0) as server:
        for size, pace in ((128, ["-k", CROWDS[0][2]]), (1000, ["-k", 64, "--rate", 100])):
            figures = {"plain": [], "gzip": []}
            for _ in range(rounds):
                for way, out in figures.items():
                    run = load(server, "channel", "-c", CROWDS[0][1], *pace, "-d", seconds, "--warmup", 0.3, "-s", size,
                               *(["--gzip"] if way == "gzip" else []))
                    out.append(run["server_cpu_s_per_million"])
            yield Row("compression.fanout.%d" % size, "(a) 1000 receivers that accept gzip, %d bytes" % size,
                      middle(figures["gzip"]), "CPU s/M", middle(figures["plain"]), 1.05)


def script(quick):
    """tests/bench/script_bench.c: it prints for people."""
    path = os.path.join(TOOLS, "script_bench")
    if not os.path.exists(path):
        raise Failed("script_bench is not built")
    run = subprocess.run([path, "50000" if quick else "500000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True, timeout=300)
    more = re.search(r"^ *more +([0-9.]+) ns", run.stdout, re.M)
    if not more:
        raise Failed("script_bench: " + run.stderr.strip()[-300:])
    yield Row("script", "a message through the three policies, more", float(more.group(1)) / 1e3, "CPU µs", None, 2)
