"""A WebSocket client that is not ours: npm's ws, under Node."""

import json
import os
import shutil
import subprocess
import unittest

from base import Test
from server import PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))


@unittest.skipUnless(shutil.which("node"), "there is no node here")
@unittest.skipUnless(os.path.isdir(os.path.join(HERE, "node_modules", "ws")),
                     "npm's ws is not installed: ./dev test does that")
class Node(Test):
    def talk(self, form, deflate):
        r = subprocess.run(["node", os.path.join(HERE, "ws_client.js"), str(self.server.websocket), form, deflate],
                           capture_output=True, text=True,
                           timeout=100 * PATIENCE)
        self.assertEqual(r.returncode, 0, r.stderr)
        got = json.loads(r.stdout)
        first = got["seqs"][0]
        self.assertEqual(got["seqs"], list(range(first, first + 20)))
        self.assertEqual([p[0] for p in got["pushed"]], [102] * 20)
        self.assertEqual([p[1] for p in got["pushed"]], got["seqs"])
        self.assertTrue(all(p[3] for p in got["pushed"]))
        self.assertEqual(got["direct"], [101, True])
        self.assertEqual(got["history"][-20:], got["seqs"])
        self.assertEqual(got["error"], "unknown_action")
        self.assertEqual(got["pong"], "are you there")
        self.assertEqual(got["forms"], [form])
        self.assertEqual(got["last"], [31, True, 4001])
        self.assertEqual((got["closed"], got["loggedOut"]), (1000, 1000))
        return got

    def test_binary(self):
        self.talk("binary", "plain")

    def test_text(self):
        self.talk("text", "plain")

    def test_a_client_that_offers_compression(self):
        """Taken or not, the conversation is the same."""
        for form in ("binary", "text"):
            self.talk(form, "deflate")
