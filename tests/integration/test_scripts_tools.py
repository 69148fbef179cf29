"""Scripts without a server: `magpied -t` loads them, `--run-script-tests` tests them."""

import os
import shutil
import subprocess
import tempfile
import unittest

from server import MAGPIED, PATIENCE, ROOT


class Tools(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="magpie-tools-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w") as f:
            f.write(text)

    def magpied(self, *arguments):
        r = subprocess.run([MAGPIED, *arguments], capture_output=True, text=True, timeout=60 * PATIENCE,
                           cwd=self.folder)
        return r.returncode, r.stdout + r.stderr

    def check(self, *load, more=""):
        self.write("c.lua", "return { scripts = { path = '.', load = { %s } }, %s }" %
                   (", ".join("'%s'" % name for name in load), more))
        return self.magpied("-t", "-c", "c.lua")

    def test_check(self):
        self.write("good.lua", "local magpie = require 'magpie'\nmagpie.on('message', function(e) end)")
        self.write("bad.lua", "local x =\n\n= 5")
        self.write("late.lua", "\n\n\nerror('at load')")
        self.write("endless.lua", "while true do end")
        self.assertEqual(self.check("good")[0], 0)
        status, output = self.check("bad", "good", "late", "missing")
        self.assertEqual(status, 1)
        for expected in ("./bad.lua:3:", "./late.lua:4: at load", "./missing.lua: No such file"):
            self.assertIn(expected, output)
        self.assertNotIn("good.lua", output)
        status, output = self.check("endless")
        self.assertEqual(status, 1)
        self.assertIn("./endless.lua:1: over its CPU budget", output)

    def test_check_login(self):
        self.write("good.lua", "")
        self.write("door.lua", "require('magpie').on('login', function(e) end)")
        self.assertEqual(self.check("door", more="auth = { mode = 'script' }")[0], 0)
        status, output = self.check("good", more="auth = { mode = 'script' }")
        self.assertEqual(status, 1)
        self.assertIn("nobody could log in", output)

    def test_shipped_and_examples(self):
        for folder in ("scripts", "scripts/examples"):
            status, output = self.magpied("--run-script-tests", os.path.join(ROOT, folder))
            self.assertEqual(status, 0, output)
            self.assertRegex(output, r"(?m)^[1-9]\d* passed, 0 failed$")

    def test_failures_are_told(self):
        self.write("policy.lua", "local magpie = require 'magpie'\nmagpie.on('message', function(e) if e.content == "
                                 "'x' then error('broken') end return magpie.drop() end)")
        self.write("policy_test.lua", "local test = require 'test'\n"
                   "test.case('good', function() local s = test.load('policy') test.equal(s:fire('message', {user = "
                   "'a', channel = 'c', content = 'y'}).verdict, 'drop') end)\n"
                   "test.case('wrong', function() test.equal(1, 2, 'numbers') end)\n"
                   "test.case('failing', function() local s = test.load('policy') local r = s:fire('message', {user = "
                   "'a', channel = 'c', content = 'x'}) test.equal(r.error, nil) end)\n"
                   "test.case('none', function() test.load('nothing') end)")
        self.write("broken_test.lua", "local test = require 'test'\n\nthis is no Lua")
        self.write("idle_test.lua", "local x = 1")
        status, output = self.magpied("--run-script-tests", self.folder)
        self.assertEqual(status, 1)
        for expected in ("1 passed, 5 failed", "policy_test.lua:3: numbers: expected 2, got 1", "policy.lua:2: broken",
                         "there is no such script", "broken_test.lua:3:", "idle_test.lua: it has no test.case()"):
            self.assertIn(expected, output)

    def test_nothing_to_test(self):
        status, output = self.magpied("--run-script-tests", self.folder)
        self.assertEqual(status, 1)
        self.assertIn("it has no *_test.lua", output)
        status, output = self.magpied("--run-script-tests", self.folder + "/nowhere")
        self.assertEqual(status, 1)

    def test_the_sandbox_is_the_real_one(self):
        self.write("s.lua", "assert(io == nil and os == nil and not pcall(require, 'test'))")
        self.write("s_test.lua", "local test = require 'test'\ntest.case('x', function() test.load('s') "
                                 "end)\ntest.case('y', function() assert(io == nil and os == nil) end)")
        status, output = self.magpied("--run-script-tests", self.folder)
        self.assertEqual((status, output), (0, "2 passed, 0 failed\n"))
