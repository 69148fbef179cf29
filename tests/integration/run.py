#!/usr/bin/env python3
"""Runs the integration tests: run.py [--nodes N] [--one-variant] [PATTERN…]. A pattern is a part of FILE.CLASS.TEST;
`smoke` is the quick selection. --nodes: each server is so many nodes of a cluster, and each connection goes to the next
one; they stand on the Redis Cluster of MAGPIE_TEST_CLUSTER, or on one that is started for them. --one-variant: of
classes that differ only in transport and number of shards one each, another one for each class.

Classes run side by side, in processes of their own: each has a server of its own. With MAGPIE_TEST_AGAIN=N, and no more
than N classes that failed, those are run once more at the end, one at a time; "flaky" says which of them passed then.
The last line is "N passed, N failed[, N skipped]".
"""

import importlib
import os
import subprocess
import sys
import time
import traceback
import unittest
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
# Where the tests are: those of tests/cluster have their own folder, and use what stands here.
TESTS = os.path.abspath(os.environ.get("MAGPIE_TEST_FOLDER") or HERE)
sys.path[:0] = [TESTS, HERE]
sys.dont_write_bytecode = True

CLASS_SECONDS = int(os.environ.get("MAGPIE_CLASS_SECONDS", "240"))  # after which a class is given up
# Three a processor, for tests wait much; under sanitizers, which work and take memory, two.
PROCESSORS = min(len(os.sched_getaffinity(0)), 4)
WORKERS = int(os.environ.get("MAGPIE_TEST_WORKERS") or PROCESSORS * (2 if os.environ.get("MAGPIE_SANITIZED") else 3))


def classes():
    """(file, class name, class) of every class that is to be run."""
    for name in sorted(os.listdir(TESTS)):
        if not (name.startswith("test_") and name.endswith(".py")):
            continue
        module = importlib.import_module(name[:-3])
        for key, cls in sorted(vars(module).items()):
            if (isinstance(cls, type) and issubclass(cls, unittest.TestCase) and cls.__module__ == module.__name__
                    and not vars(cls).get("abstract")):
                yield name[:-3], key, cls


def one_variant(found):
    """Of what classes() found one variant of each family. Which one its name decides: so all kinds are among them."""
    families = {}
    for file, name, cls in found:
        families.setdefault((file, getattr(cls, "family", name)), []).append((file, name, cls))
    return [family[zlib.crc32(key[1].encode()) % len(family)] for key, family in families.items()]


def chosen(patterns, file, name, cls):
    """The names of the class's tests that the patterns choose."""
    tests = unittest.defaultTestLoader.getTestCaseNames(cls)
    if not patterns:
        return tests
    out = []
    for test in tests:
        # Variants of a class are found by its name as well.
        full = ["%s.%s.%s" % (file, n, test) for n in (name, getattr(cls, "family", name))]
        if any(getattr(getattr(cls, test), "smoke", False) if p == "smoke" else any(p in f for f in full)
               for p in patterns):
            out.append(test)
    return out


# --- In the process of one class --------------------------------------------------------------------------------------


class Result(unittest.TestResult):
    """Prints failures at once, with the tail of the server's log, and counts."""

    def __init__(self, full):
        super().__init__()
        self.full, self.passed, self.bad, self.left_out, self.slowest = full, 0, 0, 0, []

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        if os.environ.get("MAGPIE_TIMES"):
            print("  %6.2f s  %s.%s" % (time.monotonic() - self.began, self.full, test._testMethodName))

    def addSuccess(self, test):
        self.passed += 1

    def addSkip(self, test, reason):
        self.left_out += 1
        print("skipped %s: %s" % (self.label(test), reason))

    def label(self, test):
        return "%s.%s" % (self.full, getattr(test, "_testMethodName", "(the class)"))

    def complain(self, test, error):
        self.bad += 1
        print("FAILED %s" % self.label(test))
        # Only our own lines of the way there.
        for frame in traceback.extract_tb(error[2]):
            if frame.filename.startswith((HERE, TESTS)) and os.path.basename(frame.filename) != "run.py":
                print("  %s:%d: %s" % (os.path.basename(frame.filename), frame.lineno, frame.line))
        print("".join(traceback.format_exception_only(error[0], error[1])).rstrip())
        server = getattr(test, "server", None)
        if getattr(server, "process", None):
            state = server.process.poll()
            print("--- server%s, its log's end:\n%s" % ("" if state is None else " (exit status %d)" % state,
                                                        server.tail(25)))
        print("", flush=True)

    def addFailure(self, test, error):
        self.complain(test, error)

    def addError(self, test, error):
        self.complain(test, error)

    def addSubTest(self, test, subtest, error):
        if error is not None:
            print("in %s:" % subtest._subDescription())
            self.complain(test, error)


def run_class(file, name, tests):
    cls = getattr(importlib.import_module(file), name)
    result = Result("%s.%s" % (file, name))
    if getattr(cls, "one_process", None):
        import server
        server.Server.spread = False
    unittest.TestSuite(cls(test) for test in tests).run(result)
    print("= %d %d %d" % (result.passed, result.bad, result.left_out))
    return 0


# --- The runner -------------------------------------------------------------------------------------------------------


class Job:
    def __init__(self, file, name, tests):
        self.file, self.name, self.tests = file, name, tests

    def start(self):
        import tempfile
        self.output = tempfile.TemporaryFile("w+")
        self.began = time.monotonic()
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--class", self.file, self.name] +
                                        self.tests,
                                        stdout=self.output, stderr=subprocess.STDOUT, start_new_session=True)

    def over(self):
        if self.process.poll() is not None:
            return True
        patience = {"": 1, "asan": 3, "tsan": 5}.get(os.environ.get("MAGPIE_SANITIZED", ""), 4)
        if time.monotonic() - self.began > CLASS_SECONDS * patience:
            self.stop()
            return True
        return False

    def stop(self):
        # The class's whole session: its server too.
        import signal
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def counts(self):
        """Prints what it printed; (passed, failed, skipped)."""
        self.output.seek(0)
        lines = self.output.read().rstrip("\n").split("\n")
        last = lines[-1].split() if lines else []
        finished = len(last) == 4 and last[0] == "="
        text = "\n".join(lines[:-1] if finished else lines).strip()
        if text:
            print(text, flush=True)
        if finished:
            return tuple(map(int, last[1:]))
        print("FAILED %s.%s: it did not finish (status %s)\n" % (self.file, self.name, self.process.returncode),
              flush=True)
        return 0, len(self.tests), 0


def again(failed, totals):
    """Runs the classes that failed once more, one at a time; the new totals. A class counts as it ends now."""
    for job, before in failed:
        print("again: %s.%s" % (job.file, job.name), flush=True)
        job.start()
        while not job.over():
            time.sleep(0.05)
        counts = job.counts()
        totals = [t - b + c for t, b, c in zip(totals, before, counts)]
        if not counts[1]:
            print("flaky: %s.%s passed now" % (job.file, job.name), flush=True)
    return totals


def nodes(arguments):
    """Takes --nodes N from in front of the arguments."""
    if arguments[:1] != ["--nodes"]:
        return arguments
    if not (arguments[1:] and arguments[1].isdecimal() and int(arguments[1])):
        sys.exit("run.py: --nodes: how many?")
    os.environ["MAGPIE_TEST_NODES"] = arguments[1]
    if not os.environ.get("MAGPIE_TEST_CLUSTER"):
        if not os.environ.get("MAGPIE_TEST_REDIS"):
            start = os.path.join(HERE, "..", "cluster", "start.py")
            os.execv(sys.executable, [sys.executable, start, "redis", "--", sys.executable] + sys.argv)
        os.environ["MAGPIE_TEST_CLUSTER"] = os.environ["MAGPIE_TEST_REDIS"]
    return arguments[2:]


def main():
    if sys.argv[1:2] == ["--class"]:
        return run_class(sys.argv[2], sys.argv[3], sys.argv[4:])
    patterns = nodes(sys.argv[1:])
    found = list(classes())
    if "--one-variant" in patterns:
        patterns.remove("--one-variant")
        found = one_variant(found)
    jobs = []
    for file, name, cls in found:
        tests = chosen(patterns, file, name, cls)
        if tests:
            jobs.append(Job(file, name, tests))
    if not jobs:
        print("no test's name has %s in it" % " or ".join(patterns))
    # The long ones first, so that nothing long is left at the end.
    jobs.sort(key=lambda j: -getattr(getattr(sys.modules[j.file], j.name), "weight", len(j.tests)))
    running, totals, all_of_them, told, failed = [], [0, 0, 0], len(jobs), time.monotonic(), []
    try:
        while jobs or running:
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print("… %d of %d classes" % (all_of_them - len(jobs) - len(running), all_of_them), flush=True)
            while jobs and len(running) < WORKERS:
                running.append(jobs.pop(0))
                running[-1].start()
            time.sleep(0.02)
            for job in [j for j in running if j.over()]:
                running.remove(job)
                counts = job.counts()
                totals = [a + b for a, b in zip(totals, counts)]
                if counts[1]:
                    failed.append((job, counts))
        if failed and len(failed) <= int(os.environ.get("MAGPIE_TEST_AGAIN", "0")):
            totals = again(failed, totals)
    finally:
        for job in running:
            job.stop()
    line = "%d passed, %d failed" % (totals[0], totals[1])
    print(line + (", %d skipped" % totals[2] if totals[2] else ""))
    return 1 if totals[1] or not any(totals) else 0


if __name__ == "__main__":
    sys.exit(main())
