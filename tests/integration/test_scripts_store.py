"""magpie.store in the real server: over restarts, kill -9 and reloads, a namespace for each script."""

import os
import threading
import time

from base import smoke
from client import Error
from plugin_base import Console
from server import CLUSTER
from test_scripts import Scripted
from wire import Closed

COUNTER = """
magpie.action(200, function(e)
    local n = magpie.store.incr("n")
    magpie.store.set("k" .. n, "value " .. n)
    magpie.store.set("last", n)
    return {n = n}
end)
magpie.action(201, function(e)
    local key, t = e.body.key, type(magpie.store.get(e.body.key))
    return {value = magpie.store.get(key), type = t}
end)
magpie.action(202, function(e)
    local b = e.body
    if b.del then return {was = magpie.store.del(b.key)} end
    local ok, why = magpie.store.set(b.key, b.value, b.ttl)
    return {ok = ok, why = why}
end)
"""
OTHER = """
magpie.action(210, function(e) return {value = magpie.store.get(e.body.key), n = magpie.store.incr("n", 100)} end)
magpie.action(211, function(e)
    local ok, why = pcall(magpie.store[e.body.what], e.body.key, e.body.value)
    return {ok = ok, why = tostring(why)}
end)
"""
START = """
local at_start = magpie.store.get("x")
magpie.action(220, function(e) magpie.store.set("x", e.body.x) return {at_start = at_start} end)
"""


class Kept(Scripted):
    abstract = False
    files = {"counter": COUNTER, "folder/other": OTHER, "start": START}

    @classmethod
    def write(cls, name, text):
        os.makedirs(os.path.dirname(os.path.join(cls.folder, name)), exist_ok=True)
        super().write(name, text)

    @smoke
    def test_over_restarts_and_reloads(self):
        a = self.user()
        for value in ("a text", "", 12.5, True, False, "\u00fcml\u00e4ut/with/slashes"):
            self.assertEqual(a.request(202, key="v", value=value), {"ok": True})
            self.assertEqual(a.request(201, key="v").get("value"), value)
            Console(self.server)("script reload")
            self.assertEqual(a.request(201, key="v").get("value"), value)
            self.server.restart()
            a = self.again(a)
            self.assertEqual(a.request(201, key="v").get("value"), value)
        self.assertEqual(a.request(202, key="v", **{"del": True}), {"was": True})
        self.server.restart()
        a = self.again(a)
        self.assertEqual(a.request(201, key="v")["type"], "nil")
        # It is there while the scripts load.
        a.request(220, x="seen at the start")
        self.server.restart()
        self.assertEqual(self.again(a).request(220, x="y")["at_start"], "seen at the start")

    def test_each_script_has_its_own(self):
        a = self.user()
        a.request(202, key="mine", value="secret")
        n = a.request(210, key="mine")
        self.assertNotIn("value", n)
        mine = a.request(200)["n"]
        self.assertEqual(a.request(210, key="mine")["n"], n["n"] + 100)
        self.assertEqual(a.request(200)["n"], mine + 1)

    def test_bad_input_is_told(self):
        a = self.user()
        for body, expected in (({"what": "set", "key": "k" * 135, "value": 1}, "134 bytes at most"),
                               ({"what": "get", "key": "k" * 135}, "134 bytes at most"),
                               ({"what": "set", "key": "k", "value": "x" * 4001}, "4000 bytes at most"),
                               ({"what": "set", "key": "k", "value": [1]}, "json.encode"),
                               ({"what": "set", "value": 1}, "string expected")):
            answer = a.request(211, **body)
            self.assertFalse(answer["ok"])
            self.assertIn(expected, answer["why"])
        self.assertTrue(a.request(211, what="set", key="k" * 134, value="x" * 4000)["ok"])

    def test_kill(self):
        """What is in memory is written behind in its order: what is there afterwards is a beginning of it all."""
        a = self.user()
        for round in range(5):
            answered, end = [0], threading.Event()

            def count(client=a):
                try:
                    while not end.is_set():
                        answered[0] = client.request(200)["n"]
                        if CLUSTER:  # which takes some thousand changes a second
                            time.sleep(0.002)
                except (Closed, OSError, Error):
                    pass
            t = threading.Thread(target=count)
            t.start()
            time.sleep(0.3)
            if round == 0:
                end.set()
                t.join()
                time.sleep(0.5)  # written by then
            before = answered[0]
            self.server.kill()
            t.join()
            self.server.start()
            a = self.again(a)
            last = a.request(201, key="last")["value"]
            n = a.request(201, key="n")["value"]
            self.assertIn(n, (last, last + 1))
            self.assertLessEqual(last, answered[0] + 1)
            if round == 0:
                self.assertEqual(last, answered[0])
            else:
                self.assertGreater(last, before - 200)
            for i in range(max(1, last - 50), last + 1):
                self.assertEqual(a.request(201, key="k%d" % i).get("value"), "value %d" % i)
            self.assertNotIn("value", a.request(201, key="k%d" % (last + 2)))

    def test_time_to_live(self):
        a = self.user()
        self.assertTrue(a.request(202, key="short", value="x", ttl=1)["ok"])
        a.request(202, key="long", value="x", ttl=1000)
        self.assertEqual(a.request(201, key="short").get("value"), "x")
        self.server.restart()
        a = self.again(a)
        self.eventually(lambda: "value" not in a.request(201, key="short"))
        self.assertEqual(a.request(201, key="long").get("value"), "x")


class Full(Scripted):
    abstract = False
    files = {"counter": COUNTER, "other": OTHER}
    config = {"scripts": {"store": 1 << 20}}

    def test_full(self):
        a = self.user()
        text, n, answer = "x" * 4000, 0, {"ok": True}
        while answer["ok"] and n < 1000:
            answer = a.request(202, key="k%d" % n, value=text)
            n += 1
        self.assertEqual(answer, {"ok": False, "why": "full"})
        self.assertTrue(150 < n < 200, n)  # three quarters
        self.assertTrue(a.request(211, what="set", key="k", value=text)["ok"])  # another script has room
        Console(self.server)("set scripts.store 4194304")
        self.assertTrue(a.request(202, key="more", value=text)["ok"])
