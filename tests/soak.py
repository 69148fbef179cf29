#!/usr/bin/env python3
"""`./dev soak`: what takes too long for `./dev test`. Kills, cuts of the power, herds, reloads, a million reconnects,
scanners, the suite over TLS and under sanitizers, and fuzzing for the rest of the time.

    soak.py [--hours H] [--quick] [PART...]

Without PART every one, in the order of the table. A part for which no time is left is skipped and said to be. What each
prints is in build/soak/PART.log. The last line is "N passed, N failed[, N skipped]".
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = os.path.join(ROOT, "build", "soak")
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
PYTHON = [sys.executable, "-B"]
SUITE = PYTHON + [os.path.join(ROOT, "tests", "integration", "run.py")]
STARTER = PYTHON + [os.path.join(ROOT, "tests", "cluster", "start.py")]
BENCH = PYTHON + [os.path.join(ROOT, "tests", "bench", "run.py")]
DEV = [os.path.join(ROOT, "dev")]
CLASS_SECONDS = "86400"  # the parts have their own ends
FUZZ_LEAST = 60          # seconds a target


class Part:
    """`minutes`: what it takes on two processors, and so the time that must be left for it to begin. `full` and
    `quick`: what it is run as, a command and variables; quick None: it has no short form."""

    def __init__(self, name, about, minutes, full, quick=None, counts=None):
        self.name, self.about, self.minutes, self.full, self.quick = name, about, minutes, full, quick
        self.counts = counts or suite_counts


# --- What came out: (passed, failed, skipped) -------------------------------------------------------------------------


def suite_counts(text, status):
    found = COUNTS.findall(text)
    if not found:
        return 0, 1, 0
    passed, failed, skipped = (int(n or 0) for n in found[-1])
    return passed, failed or (status != 0), skipped


def bench_counts(text, status):
    """A figure is good where it is what it is meant to be."""
    try:
        result = json.loads(text[text.index("\n{\n") if not text.startswith("{") else 0:])
    except ValueError:
        return 0, 1, 0
    missed = [r["key"] for r in result["rows"] if not r["good"]] + result["broken"]
    return len(result["rows"]) - len(missed), len(missed) or (status != 0), 0


def quick_bench_counts(text, status):
    """Short runs measure nothing: they only have to run."""
    passed, failed, _ = bench_counts(text, status)
    return passed + failed if status == 0 else 0, int(status != 0), 0


# --- testssl ----------------------------------------------------------------------------------------------------------

# What our own authority's certificate is told for, and what is no matter of the server.
NOT_OURS = ("cert_", "cert-", "scanTime", "engine_problem", "DNS_CAArecord", "service")


def testssl(quick):
    """testssl.sh against both ports of TLS; prints what it finds, and the counts."""
    program = shutil.which("testssl") or shutil.which("testssl.sh")
    if not program:
        print("skipped: there is no testssl.sh here\n0 passed, 0 failed, 1 skipped")
        return 0
    sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
    from server import Server
    passed = failed = 0
    with Server({"tls": {}, "log": {"level": "info"}}) as server:
        for port in (server.wss,) if quick else (server.tcps, server.wss):
            folder = tempfile.mkdtemp(prefix="magpie-soak-")
            out = os.path.join(folder, "found.json")
            try:
                what = ["--protocols"] if quick else ["--protocols", "--std", "--pfs", "--server-defaults",
                                                      "--server-preference", "--vulnerable"]
                done = subprocess.run([program, "--quiet", "--color", "0", "--warnings", "off", "--jsonfile", out,
                                       *what, "127.0.0.1:%d" % port], capture_output=True, text=True,
                                      stdin=subprocess.DEVNULL, timeout=1800)
                print(done.stdout)
                with open(out) as f:
                    found = json.load(f)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            bad = [x for x in found if (x["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL")
                                        or x["finding"].upper().startswith("VULNERABLE"))
                   and not x["id"].startswith(NOT_OURS)]
            for x in bad:
                print("FAILED %(id)s: %(severity)s: %(finding)s" % x)
            passed, failed = passed + len(found) - len(bad), failed + len(bad)
            if len(found) < 6:
                print("FAILED: testssl found next to nothing")
                failed += 1
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


# --- The parts --------------------------------------------------------------------------------------------------------


def suite(*patterns, **variables):
    return SUITE + list(patterns), variables


def through_redis(*patterns):
    """What each server leaves goes out and in again, through a Redis Cluster too (round_trip.py)."""
    return STARTER + ["redis", "--user", "magpie:least-rights-of-a-node", "--"] + SUITE + list(patterns), {
        "MAGPIE_ROUND_TRIP": "1", "MAGPIE_TEST_AGAIN": "6"}


def own(part, *arguments):
    return PYTHON + [os.path.abspath(__file__), "--inside", part] + list(arguments), {}


CLUSTER = {"MAGPIE_TEST_FOLDER": os.path.join(ROOT, "tests", "cluster"), "MAGPIE_TEST_WORKERS": "1"}

PARTS = [
    Part("kills", "200 times kill -9 under load: nothing acknowledged is lost, doubled or reordered", 15,
         suite("test_durability.Kills", MAGPIE_KILLS="200"), suite("test_durability.Kills", MAGPIE_KILLS="2")),
    Part("cuts", "50 losses of power on a file system of its own (as root)", 10,
         suite("test_durability.PowerLoss", MAGPIE_CUTS="50"), suite("test_durability.PowerLoss", MAGPIE_CUTS="2")),
    Part("herds", "10,000 clients at once, again and again, and others who begin and do not go on", 5,
         suite("test_attacks.Herds", "SlowHandshakes", "test_slow_handshakes", MAGPIE_HERD="10000"),
         suite("test_attacks.Herds.test_reconnects", MAGPIE_HERD="200")),
    Part("reloads", "1000 reloads while keys and words change: what was taken out opens nothing", 5,
         suite("test_a_thousand_reloads"), suite("KeyRotation.test_a_thousand_reloads")),
    Part("memory", "500 failed allocations, call site by call site", 10, suite("test_attacks_memory")),
    Part("testssl", "testssl.sh: nothing vulnerable, nothing of medium severity or worse", 10, own("testssl"),
         own("testssl", "--quick"), suite_counts),
    Part("silent", "the p99 of 900 receivers beside 100 that never read, and what those may hold", 5,
         (BENCH + ["--json", "silent"], {}), (BENCH + ["--json", "--quick", "silent"], {}), bench_counts),
    Part("reconnects", "a million logins and closes: the process stays as large as it was", 30,
         (BENCH + ["--json", "reconnects"], {}), (BENCH + ["--json", "--quick", "reconnect"], {}), bench_counts),
    Part("tls", "the whole suite with every client by TLS: our records, OpenSSL's, 1.2", 45,
         [suite(MAGPIE_TLS=way) for way in ("own", "openssl", "1.2")], suite("smoke", MAGPIE_TLS="own")),
    Part("nodes", "three nodes: 20 kills of each, of Redis and PostgreSQL too, hangs, lost machines; 20 partitions", 60,
         [suite("test_faults", "test_partitions", MAGPIE_KILLS="20", MAGPIE_CUTS="20", **CLUSTER),
          suite("test_checker", MAGPIE_KILLS="4", **CLUSTER)]),
    Part("moving", "what the suite's servers leave, exported, imported, through Redis too: the same after all", 40,
         through_redis("--one-variant"), through_redis("test_moving", "test_private")),
    Part("asan", "unit tests and suite with AddressSanitizer and UBSan", 90, (DEV + ["asan"], {})),
    Part("tsan", "unit tests and suite with ThreadSanitizer", 120, (DEV + ["tsan"], {})),
    Part("fuzz", "every fuzz target, for the rest of the time", 30, (DEV + ["fuzz"], {})),
]


def fuzz_targets():
    return len([n for n in os.listdir(os.path.join(ROOT, "tests", "fuzz")) if re.match(r"fuzz_\w+\.c$", n)])


def run_one(command, variables, log, seconds):
    """(text, status) of a command, which is ended after so long, with all that it began."""
    environment = dict(os.environ, MAGPIE_CLASS_SECONDS=CLASS_SECONDS, PYTHONDONTWRITEBYTECODE="1", **variables)
    began = log.tell()
    log.write("$ %s %s\n" % (" ".join("%s=%s" % v for v in variables.items()), " ".join(command)))
    log.flush()
    started = log.tell()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        status = -1
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    log.seek(started if started > began else began)
    return log.read(), status


def run(part, quick, left):
    """(passed, failed, skipped) of a part; `left`: seconds."""
    commands = part.quick if quick else part.full
    counts = quick_bench_counts if quick and part.counts is bench_counts else part.counts
    total = [0, 0, 0]
    with open(os.path.join(LOGS, part.name + ".log"), "w+", errors="replace") as log:
        for command, variables in commands if isinstance(commands, list) else [commands]:
            if part.name == "fuzz":
                each = max(int((left - 300) / fuzz_targets()), FUZZ_LEAST)
                command = command + [str(each)]
            text, status = run_one(command, variables, log, left)
            found = counts(text, status)
            total = [a + b for a, b in zip(total, found)]
            if found[1]:
                print("\n".join(text.rstrip().split("\n")[-25:]), flush=True)
            if status == -1:
                print("soak: %s did not end in time" % part.name)
    return total


def soak(chosen, quick, hours):
    parts = [p for p in PARTS if p.name in chosen] if chosen else [p for p in PARTS if not quick or p.quick]
    end, rows, totals = time.monotonic() + hours * 3600, [], [0, 0, 0]
    os.makedirs(LOGS, exist_ok=True)
    for part in parts:
        left = end - time.monotonic()
        began = time.monotonic()
        if quick and not part.quick:
            found, why = [0, 0, 1], "it has no short form"
        elif not quick and left < part.minutes * 60:
            found, why = [0, 0, 1], "no time is left for it: it takes some %d minutes" % part.minutes
        else:
            print("== %s: %s" % (part.name, part.about), flush=True)
            found, why = run(part, quick, left), ""
        totals = [a + b for a, b in zip(totals, found)]
        rows.append((part.name, found, (time.monotonic() - began) / 60, why))
    print("\n%-12s %8s %8s %8s %8s" % ("", "passed", "failed", "skipped", "minutes"))
    for name, found, minutes, why in rows:
        print("%-12s %8d %8d %8d %8.1f  %s" % (name, *found, minutes, why))
    line = "%d passed, %d failed" % tuple(totals[:2])
    print(line + (", %d skipped" % totals[2] if totals[2] else ""))
    return 1 if totals[1] or not totals[0] else 0


def main(argv):
    table = "\n".join("  %-12s %3d min  %s" % (p.name, p.minutes, p.about) for p in PARTS)
    parser = argparse.ArgumentParser(prog="./dev soak", formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description=__doc__.split("\n\n")[0], epilog="parts:\n" + table)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--hours", type=float, default=8, help="how long all of it may take (default: 8)")
    parser.add_argument("--quick", action="store_true", help="short forms: to see that everything works")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.inside:
        return testssl(arguments.quick)
    unknown = [p for p in arguments.parts if p not in [q.name for q in PARTS]]
    if unknown:
        print("soak: no part %s; there are %s" % (", ".join(unknown), " ".join(p.name for p in PARTS)), file=sys.stderr)
        return 2
    if not 0 < arguments.hours < 1000:
        print("soak: --hours: expected a number of hours above 0", file=sys.stderr)
        return 2
    return soak(arguments.parts, arguments.quick, arguments.hours)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
