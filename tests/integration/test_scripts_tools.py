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
        self.write("good.lua", "require('magpie').on('close', print)")
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
        self.write("s.lua", "assert(io == nil and os == nil and not pcall(require, 'test'))\n"
                            "require('magpie').on('close', print)")
        self.write("s_test.lua", "local test = require 'test'\ntest.case('x', function() test.load('s') "
                                 "end)\ntest.case('y', function() assert(io == nil and os == nil) end)")
        status, output = self.magpied("--run-script-tests", self.folder)
        self.assertEqual((status, output), (0, "2 passed, 0 failed\n"))

    def run_cases(self, script, cases):
        """The output of a script's test with these cases, `s` being the script."""
        self.write("s.lua", "local magpie = require 'magpie'\n" + script)
        self.write("s_test.lua", "local test = require 'test'\n" + "".join(
            "test.case(%r, function() local s = test.load('s') %s end)\n" % (name, code)
            for name, code in cases.items()))
        return self.magpied("--run-script-tests", self.folder)

    def test_print_shows(self):
        status, output = self.run_cases("print('loaded', 1)\nmagpie.on('close', function(e) print(e.reason) end)",
                                        {"x": "print('from the test') s:fire('close', {reason = 'idle'})"})
        self.assertEqual((status, output), (0, "loaded 1\nfrom the test\nidle\n1 passed, 0 failed\n"))

    def test_each_load_begins_anew(self):
        script = ("magpie.action(200, function() return {n = magpie.shared.incr('n'), k = magpie.kv.incr('k')} end)")
        case = ("local function n(how) local b = s:act(200, {user = 'a'}).body return b.n * 10 + b.k end "
                "test.equal(n(), 11) test.equal(n(), 22) s:reload() test.equal(n(), 33) s:restart() "
                "test.equal(n(), 11)")
        status, output = self.run_cases(script, {"one": case, "two": case})
        self.assertEqual((status, output), (0, "2 passed, 0 failed\n"))

    def test_unknown_words_are_refused(self):
        wrong = {
            "s:fire('mesage', {user = 'a'})": 'there is no event "mesage"; did you mean "message"?',
            "s:fire('message', {usr = 'a'})": '"message" has no field usr; did you mean user?',
            "s:fire('message', {user = {id = 'a', nmae = 'A'}})": "unknown field nmae; did you mean name?",
            "s:fire('close', {channel = 'c'})": '"close" has no field channel; known are: user reason',
            "s:fire('message', {user = 'a', channel = 3})": "channel: expected a text, got a number",
            "s:fire('message', {user = 'a', size = 3})": "size is not given: it is made from the other fields",
            "s:fire('subscribe', {user = 'a', members = 'three'})": "members: expected a number",
            "s:fire('conversation', {user = 'a', channel = 'c', tier = 'big'})": "tier: expected",
            "s:fire('offline', {user = 'a', channel = 'c', receivers = {'b'}, message = {text = 'x'}})":
                "message: unknown field text",
            "s:act(200, {user = 'a', bdy = {}})": "act: unknown field bdy; did you mean body?",
            "test.load('s', {['rate.usr'] = 1})": "the config has no option rate.usr; did you mean rate.user?",
            "test.load('s', {['nonsense'] = 1})": "the config has no option nonsense",
        }
        status, output = self.run_cases("magpie.action(200, function() end)",
                                        {str(i): code for i, code in enumerate(wrong)})
        self.assertEqual(status, 1, output)
        for expected in wrong.values():
            self.assertIn(expected, output)
        self.assertIn("0 passed, %d failed" % len(wrong), output)

    def test_a_script_that_does_nothing(self):
        self.write("s.lua", "local x = 1")
        self.write("s_test.lua", "local test = require 'test'\ntest.case('x', function() test.load('s') end)")
        status, output = self.magpied("--run-script-tests", self.folder)
        self.assertEqual(status, 1)
        self.assertIn("s.lua: registers nothing", output)

    def test_who_missed_a_message(self):
        status, output = self.run_cases(
            "magpie.on('offline', function(e) for _, id in ipairs(e.receivers) do magpie.send_user(id, e.channel .. "
            "' ' .. e.message.sender.name .. ': ' .. e.message.content .. e.message.id) end end)",
            {"x": "s:fire('offline', {user = {id = 'a', name = 'Ada'}, channel = 'c', receivers = {'b', 'd'}, message "
                  "= {content = 'hi', id = '7'}}) local d = s:did() test.equal(#d, 2) test.equal(d[2].target, 'd') "
                  "test.equal(d[2].text, 'c Ada: hi0000000000000000007')"})
        self.assertEqual((status, output), (0, "1 passed, 0 failed\n"))
