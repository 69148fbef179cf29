#!/usr/bin/env python3
"""`./dev bench`: everything that is claimed about speed and size, in one table.

    run.py                                  every part but `reconnects`, `redis` and `nodes`, which take minutes
    run.py fanout idle ...                  some parts; `cluster` is `redis` and `nodes`
    run.py --json                           the figures as one JSON object, to keep
    run.py --against OLD.json               the same table, and how it compares with what was kept
    run.py [--threads N] SCENARIO [OPTIONS] magpie-bench (see its --help) against a server of its own, rate limits off

The servers are build/magpied (or $MAGPIED); their data lie below build/ (or $MAGPIE_BENCH_DATA), on a real disk.
docs/performance.md explains each figure.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cluster  # noqa: E402
import endure  # noqa: E402
import growth  # noqa: E402
import nodes  # noqa: E402
import parts  # noqa: E402
import storms  # noqa: E402
from harness import BENCH, BUILD, Failed, Server, raise_descriptors, say  # noqa: E402

SCENARIOS = ("connect", "channel", "dm", "history")
# In the order of the table: a name, what it is about, and what measures it. Those of MORE take minutes and run only
# when they are named.
PARTS = [
    ("fanout", "fan-out, against a bare loop that gathers, with as many threads", parts.fanout),
    ("merged", "fan-out in slices, against a bare loop that sends 16 messages at once", parts.merged),
    ("idle", "memory of the process, without the database's", parts.idle),
    ("connect", "connections, against a bare loop's accept and answers", parts.connect),
    ("growth", "costs over sizes: the largest against the smallest; and a restart", growth.growth),
    ("crowd", "a small channel beside one of many members", endure.beside_a_crowd),
    ("silent", "receivers that do not read", endure.silent),
    ("reconnect", "memory, when many have come and gone", endure.reconnect),
    ("store", "the store, against RocksDB alone and the bare disk, in the same run", parts.store),
    ("tls", "TLS: what it holds, and costs beside plain TCP in the same run", parts.tls),
    ("compression", "what compressing saves and costs; and fan-out to who accepts it, against who does not",
     parts.compression),
    ("storms", "how many pushes come of many who join, or go and come back", storms.storms),
    ("script", "policies in Lua, against the same hooks in C", parts.script),
]
BOTH = {"cluster": {"redis", "nodes"}}
MORE = [
    ("reconnects", "memory, when a million have come and gone", endure.reconnect_million),
    ("redis", "a node on a Redis Cluster, against a bare client of it in the same run", cluster.cluster),
    ("nodes", "one chat on one, two and three nodes of a cluster", nodes.nodes),
]


def figure(value):
    if value is None:
        return ""
    for limit, text in ((100, "%.2f"), (10000, "%.1f")):
        if abs(value) < limit:
            return text % value
    return "{:,.0f}".format(value)


def line(row, old):
    bound = "" if row.bound is None else "%s %g" % (">=" if row.more else "<=", row.bound)
    text = "  %-52s %12s %-9s %12s %7s  %-8s %s" % (row.name, figure(row.value), row.unit, figure(row.yardstick),
                                                    figure(row.ratio), bound,
                                                "" if row.good else "MISSED")
    if old:
        before = old.get(row.key)
        judged = row.judged
        text = "%-118s" % text + ("was %s: %+.0f %%" % (figure(before["judged"]), 100 * (judged / before["judged"] - 1))
                                  if before and before["judged"]
                                  else "not measured then")
    return text.rstrip()


def measure(chosen, quick, old, quiet):
    rows, broken = [], []
    if not quiet:
        print("  %-52s %12s %-9s %12s %7s  %s" % ("", "Magpie", "", "yardstick", "ratio", "meant"))
    for name, about, run in [p for p in PARTS + MORE if p[0] in chosen] if chosen else PARTS:
        began = time.monotonic()
        say("bench: %s" % name)
        if not quiet:
            print(about, flush=True)
        try:
            for row in run(quick):
                rows.append(row)
                if not quiet:
                    print(line(row, old), flush=True)
        except (Failed, OSError, subprocess.SubprocessError) as e:
            broken.append(name)
            say("bench: %s could not be measured: %s" % (name, e))
        say("bench: %s took %.0f s" % (name, time.monotonic() - began))
    return rows, broken


def machine():
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            model = next(l.split(":", 1)[1].strip() for l in f if l.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"processor": model, "processors": len(os.sched_getaffinity(0)), "kernel": platform.release()}


def everything(arguments):
    old = None
    if arguments.against:
        with open(arguments.against) as f:
            old = {r["key"]: r for r in json.load(f)["rows"]}
    known = [name for name, *_ in PARTS + MORE]
    for name in arguments.parts:
        if name not in known and name not in BOTH:
            say("bench: no part or scenario %s; parts: %s; scenarios: %s" % (name, " ".join([*known, *BOTH]),
                                                                             " ".join(SCENARIOS)))
            return 2
    began = time.monotonic()
    chosen = set().union(*(BOTH.get(name, {name}) for name in arguments.parts))
    rows, broken = measure(chosen, arguments.quick, old, arguments.json)
    missed = [r for r in rows if not r.good]
    if arguments.json:
        print(json.dumps({"time": int(time.time()), "machine": machine(),
                          "rows": [dict(vars(r), ratio=r.ratio, judged=r.judged, good=r.good) for r in rows],
                          "broken": broken}, indent=1))
    else:
        m = machine()
        print("%d figures in %.0f s on %d x %s, Linux %s; missed: %s%s" %
              (len(rows), time.monotonic() - began, m["processors"], m["processor"], m["kernel"],
               ", ".join(r.key for r in missed) or "none",
               "; not measured: " + ", ".join(broken) if broken else ""))
    return 1 if broken else 0


def one_scenario(threads, arguments):
    with Server(threads=threads) as server:
        websocket = "-w" in arguments or "--websocket" in arguments
        return subprocess.call([BENCH, "-a", "127.0.0.1:%d" % server.port(websocket), "--pid", str(server.pid)] +
                               arguments)


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--json", action="store_true", help="the figures as JSON instead of a table")
    parser.add_argument("--against", metavar="OLD.json", help="compare with figures kept from --json")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that everything works, not to measure")
    try:
        threads, rest = 0, argv
        if not {"-h", "--help"} & set(argv):
            raise_descriptors()
            os.makedirs(BUILD, exist_ok=True)
        if rest[:1] in (["--threads"], ["--shards"]) and len(rest) > 1:
            threads, rest = int(rest[1]), rest[2:]
        if rest[:1] and rest[0] in SCENARIOS and (rest[0] != "connect" or len(rest) > 1):
            return one_scenario(threads, rest)
        return everything(parser.parse_args(argv))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
