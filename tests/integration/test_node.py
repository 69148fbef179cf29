"""WebSocket clients that are not ours: npm's ws under Node, and Node's own, which is that of browsers."""

import json
import os
import re
import shutil
import subprocess
import unittest
import urllib.request

from base import Test
from plugin_base import SHIPPED_PLUGINS
from server import PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))


@unittest.skipUnless(shutil.which("node"), "there is no node here")
@unittest.skipUnless(os.path.isdir(os.path.join(HERE, "node_modules", "ws")),
                     "npm's ws is not installed: ./dev test does that")
class Node(Test):
    config = {"compression": {"threshold": 100}, "plugins": {"path": SHIPPED_PLUGINS, "load": {"metrics": {}}}}

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

    def test_compressed(self):
        for form in ("binary", "text"):
            got = self.talk(form, "deflate")
            self.assertIn("permessage-deflate", got["deflate"])
            # And from us it takes what it is answered: its own messages of 1 KiB and more were compressed.
        for name in ("inflate_out", "deflate_in"):
            self.eventually(lambda: self.figure("magpie_%s_bytes_total" % name) > 10000)

    def figure(self, name):
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.server.websocket, timeout=30) as answer:
            return int(re.search(r"\n%s (\d+)" % name, answer.read().decode()).group(1))


def has_websocket():
    """Whether Node has the WebSocket of browsers: by itself, or behind an option."""
    if not shutil.which("node"):
        return None
    for options in ([], ["--experimental-websocket"]):
        r = subprocess.run(["node", *options, "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)"],
                           capture_output=True)
        if r.returncode == 0:
            return options
    return None


class Browser(Test):
    """undici, whose reader of permessage-deflate is a strict one: threshold = 0, so that it gets all that can be."""

    config = {"compression": {"threshold": 0}}

    @classmethod
    def setUpClass(cls):
        cls.options = has_websocket()
        if cls.options is None:
            raise unittest.SkipTest("there is no node with a WebSocket of its own here")
        super().setUpClass()

    def test_conversation(self):
        for form in ("binary", "text"):
            r = subprocess.run(["node", *self.options, os.path.join(HERE, "ws_browser.js"), str(self.server.websocket),
                                form], capture_output=True, text=True, timeout=100 * PATIENCE)
            self.assertEqual(r.returncode, 0, r.stderr)
            got = json.loads(r.stdout)
            self.assertIn("permessage-deflate", got["extensions"])
            self.assertEqual(got["pushed"], [True] * 7)
            self.assertEqual(got["history"], [True] * 7)
            self.assertEqual(got["closed"], 1000)
