"""plugins/web/client, the JavaScript client, under Node against the real server."""

import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

from base import Test, smoke
from server import PATIENCE, ROOT

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENT = os.path.join(ROOT, "plugins", "web", "client")
WS = os.path.join(HERE, "node_modules", "ws", "wrapper.mjs")
TSC = os.path.join(HERE, "node_modules", "typescript", "bin", "tsc")
CUTS = 200 if os.environ.get("MAGPIE_SANITIZED") else 1000


def node(*arguments, timeout=60):
    return subprocess.run(["node", *arguments], cwd=CLIENT, env=dict(os.environ, MAGPIE_WS=pathlib.Path(WS).as_uri()),
                          capture_output=True, text=True, timeout=timeout * PATIENCE)


@unittest.skipUnless(shutil.which("node"), "there is no node here")
@unittest.skipUnless(os.path.exists(WS), "npm's ws is not installed: ./dev test does that")
class ClientJs(Test):
    config = {"limits": {"recall": 120}, "tiers": {"small": {"max": 20}}}

    def run_script(self, script, *arguments, timeout=60):
        r = node(os.path.join("test", script), "127.0.0.1:%s" % self.server.websocket, *arguments, timeout=timeout)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        return r.stdout

    @smoke
    def test_as_documented(self):
        self.assertIn("all well", self.run_script("client.mjs"))


@unittest.skipUnless(shutil.which("node"), "there is no node here")
@unittest.skipUnless(os.path.exists(WS), "npm's ws is not installed: ./dev test does that")
class ClientJsCuts(Test):
    """Connections that are cut at random: nothing lost, nothing doubled, everything in order."""

    config = {"log": {"level": "info"}}

    def test_cuts(self):
        servers = ",".join("127.0.0.1:%s" % n.ports["websocket"] for n in self.server.nodes)
        r = node(os.path.join("test", "cuts.mjs"), servers, str(CUTS), timeout=240)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        counted = json.loads(r.stdout)
        self.assertEqual(counted["cuts"], CUTS)
        self.assertGreater(counted["channel"], CUTS // 4)
        self.assertGreater(counted["direct"], CUTS // 8)


class ClientJsPackage(unittest.TestCase):
    abstract = False

    @unittest.skipUnless(shutil.which("node"), "there is no node here")
    def test_the_reference_is_that_of_the_types(self):
        r = node("api.mjs", "--check")
        self.assertEqual(r.returncode, 0, r.stderr)

    @unittest.skipUnless(shutil.which("node") and os.path.exists(TSC), "npm's typescript is not installed")
    def test_the_types_by_their_compiler(self):
        r = node(TSC, "--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "nodenext",
                 "--moduleResolution", "nodenext", os.path.join("test", "types.ts"), timeout=120)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)

    @unittest.skipUnless(shutil.which("node"), "there is no node here")
    def test_what_is_typed_is_exported(self):
        typed = set(re.findall(r"^export class (\w+)", pathlib.Path(CLIENT, "index.d.ts").read_text(), re.M))
        r = node("-e", "import('./index.js').then((m) => console.log(Object.keys(m).join(' ')))")
        self.assertEqual(set(r.stdout.split()), typed, r.stderr)

    def test_it_is_small(self):
        """Meant: under 12 KiB for who fetches the modules, gzipped each."""
        modules = [p for p in pathlib.Path(CLIENT).glob("*.js")]
        self.assertLess(sum(len(gzip.compress(p.read_bytes())) for p in modules), 12 * 1024)

    def test_what_is_published_is_there(self):
        package = json.loads(pathlib.Path(CLIENT, "package.json").read_text())
        self.assertNotIn("dependencies", package)
        for name in [package["main"], package["types"]]:
            self.assertTrue(os.path.exists(os.path.join(CLIENT, name)), name)
