"""Plugins: loading, refusals, options, reload, unloading; a test plugin for each area of the ABI (tests/plugins)."""

import os
import re
import time
import unittest

from base import one_process, smoke
from plugin_base import ABI, MAJOR, MINOR, TEST_PLUGINS, Console, PluginTest, check
from server import PATIENCE, Server

WRONG = {
    "wrong_symbol": "exports no symbol magpie_plugin",
    "wrong_undefined": "cannot be loaded: .*mp_of_another_world",
    "wrong_major": r"built for plugin ABI %d\.0, and this server has %s" % (MAJOR + 1, re.escape(ABI)),
    "wrong_minor": r"built for plugin ABI %d\.%d, which is newer than this server's %s" % (
        MAJOR, MINOR + 1, re.escape(ABI)),
    "wrong_size": "its description has [0-9]+ bytes",
    "wrong_name": 'calls itself "right_name"',
    "wrong_empty": r"lacks init\(\)",
    "wrong_schema": r"option number 2 \(same\) is wrong: it is there twice",
    "no_such": r"there is no file .*no_such\.so",
}


class Refusals(unittest.TestCase):
    """`magpied -t` and the start say what is wrong, all of it at once."""

    def server(self, load, **config):
        s = Server(dict(config, plugins={"path": TEST_PLUGINS, "load": load}), start=False)
        self.addCleanup(s.discard)
        return s

    def test_check_tells_all(self):
        status, text = check(self.server({name: {} for name in WRONG}))
        self.assertEqual(status, 1)
        for name, why in WRONG.items():
            self.assertRegex(text, r"magpie\.lua: plugins\.load\.%s: .*%s" % (name, why))
        self.assertEqual(text.count("\n"), len(WRONG), text)

    def test_check_of_a_good_one_starts_nothing(self):
        s = self.server({"values": {"must": "be"}, "wrong_init": {}})
        status, text = check(s)
        self.assertEqual((status, text), (0, s.config_path + ": good\n"))
        self.assertFalse(os.path.exists(s.folder + "/data"))

    @smoke
    def test_option_errors(self):
        status, text = check(self.server({"values": {
            "text": "x", "list": [1], "colours": ["red", "pink"], "number": "1", "count": 11, "size": -1, "time": -2,
            "on": 1, "colour": "pink",
            "key": "short", "colur": "red", "nothing_like_it": 1}, "hooks": {"text": 1}}))
        self.assertEqual(status, 1)
        for line in ('text: expected a text of at least 2 bytes, found "x"', "list[1]: expected a text, found 1",
                     'colours[2]: expected one of "red", "green", "blue", found "pink"',
                     'number: expected a number, found "1"',
                     "count: expected a whole number (1 to 10), found 11",
                     "size: expected a size in whole bytes (0 or more), found -1",
                     "time: expected a duration in seconds (0 or more), found -2",
                     "on: expected true or false, found 1",
                     'colour: expected one of "red", "green", "blue", found "pink"',
                     "key: expected a text of at least 8 bytes, found a text of 5 bytes",
                     "must: must be given: a text", "colur: unknown option; did you mean colour?",
                     "nothing_like_it: unknown option\n"):
            self.assertIn("magpie.lua: plugins.load.values." + line, text)
        self.assertIn("plugins.load.hooks.text: unknown option; the plugin has none", text)
        self.assertNotIn("short", text)

    def test_the_plugins_own_check(self):
        status, text = check(self.server({"values": {"must": "never"}}))
        self.assertEqual(status, 1)
        self.assertIn('magpie.lua: plugins.load.values.must: may not be "never"\n', text)
        self.assertIn("magpie.lua: plugins.load.values: and that is all (not running)\n", text)

    def test_auth_mode(self):
        status, text = check(self.server({}, auth={"mode": "test"}))
        self.assertEqual(status, 1)
        self.assertIn('auth.mode: no provider registered for auth.mode "test"', text)
        self.assertEqual(check(self.server({"provider": {}}, auth={"mode": "test"}))[0], 0)

    def test_start_refused(self):
        for name, why in (("wrong_init", r"init\(\) failed with -6"), ("wrong_shard", r"shard_init\(\) failed with -1"),
                          ("wrong_promise", 'promises to serve auth.mode "promised"')):
            s = self.server({"hooks": {}, name: {}})
            s.write_config()
            s.launch(wait=False)
            self.assertEqual(s.process.wait(30 * PATIENCE), 1, s.tail())
            self.assertRegex(s.log(), r"magpied: .*plugins\.load\.%s: .*%s" % (name, why))
            self.assertEqual(s.complaints(), [])


class Life(PluginTest):
    load = {"hooks": {}}

    @smoke
    def test_load_and_unload(self):
        for _ in range(3):
            self.assertEqual(self.console("plugin load threads"), "threads 1 is loaded")
            self.assertIn(("threads", "running"), [(p["name"], p["state"]) for p in self.console("plugin list")])
            info = self.console("plugin info threads")
            self.assertEqual((info["metrics"], info["commands"], info["abi"]), (2, 1, ABI))
            self.assertEqual(self.console("threads round"), {"threads": 3, "worked": True})
            self.assertIn("exists", self.console.refused("plugin load threads"))
            self.assertEqual(self.console("plugin unload threads"), "threads is unloaded")
            self.assertIn("no plugin threads", self.console.refused("plugin info threads"))
            self.console.refused("threads round")

    def test_refusals(self):
        for name, why in WRONG.items():
            self.assertRegex(self.console.refused("plugin load " + name), why)
        self.assertIn("did you mean hooks?", self.console.refused("plugin unload hoks"))
        self.assertIn("did you mean values?", self.console.refused("plugin load valuse"))
        self.assertIn("must be given", self.console.refused("plugin load values"))
        self.console.refused("plugin load ../plugins/echo")

    def test_half_way(self):
        for name in ("wrong_init", "wrong_shard", "wrong_promise"):
            for _ in range(2):
                self.assertIn(name + " is not loaded", self.console.refused("plugin load " + name))
        self.console.refused("wrong init")
        self.assertEqual(self.http("GET", "/wrong")[0], 426)
        a, b = self.users("Ada", "Bob")
        a.tell(b, "nothing drops it")
        self.assertEqual(b.push(101)["content"], "nothing drops it")

    def test_unload_under_load(self):
        """Hooks come and go while messages flow: none is lost."""
        a, b = self.users("Ada", "Bob")
        channel = self.channel(a, b)
        stop = []

        def talk():
            n = 0
            while not stop:
                n += 1
                a.say(channel, "m%d" % n)
            return n

        talking = self.in_background(talk)
        for _ in range(10):
            self.console("plugin load actions")
            self.console("plugin unload actions")
        stop.append(True)
        n = talking()
        got = [b.push(102)["content"] for _ in range(n)]
        self.assertEqual(got, ["m%d" % (i + 1) for i in range(n)])


@one_process("what one process has loaded")
class Slow(PluginTest):
    load = {}
    config = {"threads": 1}

    def test_a_hook_that_blocks(self):
        self.console("plugin load wrong_slow")
        a, b = self.users("Ada", "Bob")
        a.send(2, receiverId=b.id, content="hold 3500")
        self.server.wait_log("plugin.slow plugin=wrong_slow shard=0 in=message", 20)
        # The console, on the main thread, is there meanwhile; the plugin goes when it is done.
        self.assertEqual(self.console("plugin info wrong_slow")["state"], "running")
        self.assertEqual(self.console("plugin unload wrong_slow"), "wrong_slow is unloaded")
        self.assertEqual(b.push(101)["content"], "hold 3500")
        self.server.wait_log("plugin.leak plugin=wrong_slow bytes=12345")

    def test_work_that_takes_long(self):
        self.console("plugin load wrong_slow")
        began = time.monotonic()
        self.console("slow work 1500")
        self.assertEqual(self.console("plugin unload wrong_slow"), "wrong_slow is unloaded")
        self.assertGreater(time.monotonic() - began, 1.4)

    def test_one_that_does_not_end(self):
        self.console("plugin load wrong_slow")
        self.console("slow work 13000")
        self.assertIn("it waits for 1 works", self.console.refused("plugin unload wrong_slow"))
        self.server.wait_log("plugin.stuck plugin=wrong_slow")
        self.assertEqual(self.console("plugin info wrong_slow")["state"], "being unloaded")
        self.assertIn("being unloaded", self.console.refused("plugin load wrong_slow"))
        self.eventually(lambda: not [p for p in self.console("plugin list") if p["name"] == "wrong_slow"
                                     and p["state"] != "not loaded"])

    def test_the_server_ends_all_the_same(self):
        with Server({"listen": {"console": "127.0.0.1:0"},
                     "plugins": {"path": TEST_PLUGINS, "load": {"wrong_slow": {}}}}) as s:
            c = Console(s)
            c("slow work 60000")
            c.close()
            began = time.monotonic()
            self.assertEqual(s.stop(), 1)
            self.assertLess(time.monotonic() - began, 30 * PATIENCE)
            self.assertIn("a plugin does not end", s.log())
            s.process = None  # its status is told


class Reload(PluginTest):
    load = {"values": {"must": "a", "text": "first", "list": ["x", "y"]}}

    def values(self):
        return self.console("values show")

    def test_reload(self):
        v = self.values()
        self.assertEqual(v, {"text": "first", "list": ["x", "y"], "colours": "red", "number": -1.5, "count": 3,
                             "size": 1024, "time": 2.5,
                             "wait_ms": 0, "on": True, "colour": "green", "content": "16384", "applied": 0})
        # New options; one that needs the plugin to be loaded anew keeps its value.
        self.server.rewrite({"plugins": {"load": {"values": {"must": "b", "text": "second", "list": [], "size": 7}}},
                             "limits": {"content": 5000}})
        self.server.reload()
        self.eventually(lambda: self.values()["applied"] == 1)
        v = self.values()
        self.assertEqual((v["text"], v["list"], v["size"], v["content"]), ("second", [], 1024, "5000"))
        self.server.wait_log("plugin.needs_reload plugin=values options=size")
        # What its check() does not like changes nothing at all.
        self.server.rewrite({"plugins": {"load": {"values": {"must": "never"}}}, "limits": {"content": 6000}})
        self.server.reload()
        self.server.wait_log("and that is all (running)")
        self.assertEqual((self.values()["applied"], self.values()["content"]), (1, "5000"))
        # Others come, and go; a reload without a change reads files anew.
        self.server.rewrite({"plugins": {"load": {"values": {"must": "c"}, "hooks": {}}}})
        self.server.reload()
        self.server.wait_log("plugin.loaded plugin=hooks")
        self.assertEqual(self.values()["applied"], 2)
        self.console("hooks seen")
        self.server.rewrite({"plugins": {"load": {"hooks": False}}})
        self.server.reload()
        self.server.wait_log("plugin.unloaded plugin=hooks")
        # Loaded anew it takes the new size; an unload by hand is kept until the next reload.
        self.console("plugin unload values")
        self.console("plugin load values")
        self.assertEqual((self.values()["size"], self.values()["applied"]), (7, 0))
        self.assertTrue(os.path.isdir(self.server.folder + "/data/plugins/values"))
        self.assertEqual(os.stat(self.server.folder + "/data/plugins/values").st_mode & 0o777, 0o700)


@one_process("what one process has loaded")
class Current(PluginTest):
    """Values in force: exact at once, on every shard, however often; and each is dropped once, when nobody can read it
    any more."""

    load = {"current": {"word": "first"}}

    def setUp(self):
        super().setUp()
        self.server.rewrite({"plugins": {"load": {"current": {"word": "first", "leak": False}, "values": False}}})
        self.console("config reload")
        self.eventually(lambda: self.told() == "first")

    def told(self):
        return self.http("GET", "/current")[2].decode()

    def dropped(self, left):
        """All words but so many are dropped, none was seen when it was."""
        self.eventually(lambda: (lambda s: s["dropped"] == s["made"] - left)(self.console("current show")))
        self.assertEqual(self.console("current show")["bad"], 0)

    def test_a_thousand_reloads(self):
        self.dropped(1)
        for i in range(1000):
            self.server.rewrite({"plugins": {"load": {"current": {"word": "reload-%d" % i}}}})
            self.console("config reload")
            if i % 10 == 0 or i > 990:
                self.assertEqual(self.told(), "reload-%d" % i)
        self.dropped(1)
        self.assertGreater(self.console("current show")["works"], 0)

    def test_other_changes(self):
        for i in range(200):
            self.console("current set word-%d" % i)
            self.assertEqual(self.told(), "word-%d" % i)
        self.dropped(1)
        # A held one stays, whatever comes after it.
        self.assertTrue(self.console("current hold")["in_force"])
        for i in range(3):
            self.console("current set later-%d" % i)
        self.dropped(2)
        held = self.console("current release")
        self.assertEqual((held["held"], held["in_force"], held["word"]), ("word-199", False, "later-2"))
        self.dropped(1)

    def test_what_is_refused_never_comes_into_force(self):
        before = self.told()
        self.server.rewrite({"plugins": {"load": {"current": {"word": "prepared"}}}})
        self.console("config check")
        self.assertEqual(self.told(), before)
        # Another change is adopted with the options in force, not with those that were only checked.
        self.console("set limits.content 5000")
        self.assertEqual(self.told(), before)
        self.server.rewrite({"plugins": {"load": {"current": {"word": "prepared"}, "values": {"must": "never"}}}})
        self.console.refused("config reload")
        self.assertEqual(self.told(), before)
        self.server.rewrite({"plugins": {"load": {"current": {"word": "bad"}, "values": False}}})
        self.console.refused("config reload")
        self.assertEqual(self.told(), before)

    def test_a_reload_while_one_is_unloaded(self):
        """A plugin that the config names, and that is still on its way out, is told of."""
        self.server.rewrite({"plugins": {"load": {"wrong_slow": {}}}})
        self.console("config reload")
        def works():
            try:
                return self.console("slow work 3000") is None
            except AssertionError:
                return False  # it is being loaded

        self.eventually(works)
        other = Console(self.server)
        self.addCleanup(other.close)
        unloaded = self.in_background(other, "plugin unload wrong_slow")
        self.eventually(lambda: self.console("plugin info wrong_slow")["state"] == "being unloaded")
        self.console("config reload")
        self.server.wait_log("plugin.failed plugin=wrong_slow because=\"it is still being unloaded")
        self.assertIn("is unloaded", unloaded())
        self.server.rewrite({"plugins": {"load": {"wrong_slow": False}}})
        self.console("config reload")

    def test_unload(self):
        self.console("current hold")
        self.console("current set last")
        self.console("plugin unload current")
        self.console("plugin load current")
        self.dropped(1)
        self.console("plugin unload current")
        self.assertFalse("plugin.leak plugin=current" in self.server.whole_log())
        self.server.rewrite({"plugins": {"load": {"current": {"word": "x", "leak": True}}}})
        self.console("config reload")
        self.eventually(lambda: self.told() == "x")
        self.console("plugin unload current")
        self.server.wait_log("plugin.leak plugin=current held_values=1")
