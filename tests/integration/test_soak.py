"""`./dev soak` in short: its parts begin, what they find is counted, and time that is not there is not taken."""

import os
import subprocess
import sys
import unittest

from base import embedded
from server import MAGPIED, PATIENCE, ROOT, SANITIZED


def soak(*arguments, timeout=200):
    return subprocess.run([sys.executable, "-B", os.path.join(ROOT, "tests", "soak.py"), *arguments],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout * PATIENCE,
                          env=dict(os.environ, MAGPIED=MAGPIED))


@embedded("its parts have servers of their own")
class Soak(unittest.TestCase):
    @unittest.skipIf(SANITIZED, "the programs that it runs are measured and scanned as they are")
    def test_parts_in_quick_form(self):
        r = soak("--quick", "kills", "herds", "testssl")
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        rows = {line.split()[0]: line.split()[1:4] for line in r.stdout.split("\n\n")[-1].split("\n")[1:-2]}
        self.assertEqual(list(rows), ["kills", "herds", "testssl"])
        for name, (passed, failed, skipped) in rows.items():
            self.assertEqual(failed, "0", name)
            self.assertGreater(int(passed) + int(skipped), 0, name)
        self.assertRegex(r.stdout, r"\n\d+ passed, 0 failed(, \d+ skipped)?\n$")

    def test_no_time(self):
        r = soak("--hours", "0.01", "kills", "asan")
        self.assertEqual(r.returncode, 1, "nothing was shown")
        self.assertIn("no time is left for it", r.stdout)
        self.assertTrue(r.stdout.endswith("\n0 passed, 0 failed, 2 skipped\n"), r.stdout)

    def test_wrong_words(self):
        for arguments, about in ((("kill",), "no part kill"), (("--hours", "0", "kills"), "hours"),
                                 (("--hours", "x"), "invalid float")):
            r = soak(*arguments)
            self.assertEqual(r.returncode, 2)
            self.assertIn(about, r.stderr)

    def test_what_is_counted(self):
        """A part that fails, or says nothing, is a failure."""
        sys.path.insert(0, os.path.join(ROOT, "tests"))
        import soak as it
        self.assertEqual(it.suite_counts("x\n3 passed, 1 failed, 2 skipped\n", 1), (3, 1, 2))
        self.assertEqual(it.suite_counts("3 passed, 0 failed\n", 0), (3, 0, 0))
        self.assertEqual(it.suite_counts("3 passed, 0 failed\n", 1)[1], 1)
        self.assertEqual(it.suite_counts("crashed\n", 0)[1], 1)
        good = '{"rows": [{"key": "a", "good": true}, {"key": "b", "good": %s}], "broken": []}'
        self.assertEqual(it.bench_counts(good % "true", 0), (2, 0, 0))
        self.assertEqual(it.bench_counts(good % "false", 0), (1, 1, 0))
        self.assertEqual(it.bench_counts("no JSON", 0)[1], 1)
