"""The benchmarks run: `./dev bench --quick` measures nothing, but says whether everything that measures still works."""

import json
import os
import subprocess
import sys
import unittest

from base import embedded
from server import MAGPIED, ROOT

ROWS = {
    "crowd": ["crowd", "crowd.server"],
    "silent": ["silent", "silent.cost", "silent.queue", "silent.total", "silent.memory"],
    "reconnect": ["reconnect", "reconnect.guests"],
}


@embedded("its parts have servers of their own")
class Bench(unittest.TestCase):
    def test_parts_in_quick_form(self):
        command = [sys.executable, os.path.join(ROOT, "tests", "bench", "run.py"), "--quick", "--json"] + list(ROWS)
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=200,
                             env=dict(os.environ, MAGPIED=MAGPIED))
        self.assertEqual(run.returncode, 0, run.stderr)
        result = json.loads(run.stdout)
        self.assertEqual(result["broken"], [])
        self.assertEqual([r["key"] for r in result["rows"]], [key for keys in ROWS.values() for key in keys])
        for row in result["rows"]:
            self.assertIsInstance(row["judged"], float, row["key"])
            self.assertIsNotNone(row["bound"], row["key"])

    def test_unknown_parts_are_told(self):
        run = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "bench", "run.py"), "nothing"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, timeout=60)
        self.assertEqual(run.returncode, 2)
        self.assertIn("reconnects", run.stderr)
