"""The chat page as people use it: headless Chromium, driven by playwright-core (tests/integration/browser). One browser
runs all the parts; each is a test here. Screenshots are kept in build/screenshots."""

import json
import os
import shutil
import subprocess
import unittest

from base import Test
from server import MAGPIED, PATIENCE, SANITIZED, ROOT, Server

HERE = os.path.dirname(os.path.abspath(__file__))
SUITE = os.path.join(HERE, "browser", "suite.mjs")
CHROMIUM = os.environ.get("MAGPIE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
MODULES = all(os.path.isdir(os.path.join(HERE, "node_modules", name)) for name in ("playwright-core", "axe-core", "ws"))
PASSWORD = "corvus-7781"
SHOTS = os.path.join(ROOT, "build", "screenshots")


def part(name):
    """A test that is one part of the suite."""

    def test(self):
        done = self.parts.get(name)
        self.assertIsNotNone(done, "the suite ended before it: %s" % self.said)
        self.assertIsNone(done["error"], done["error"])

    test.__doc__ = name
    return test


@unittest.skipUnless(shutil.which("node"), "there is no node here")
@unittest.skipUnless(MODULES, "npm's playwright-core and axe-core are not installed: ./dev test does that")
@unittest.skipUnless(CHROMIUM, "there is no Chromium here (Debian's package chromium)")
@unittest.skipIf(SANITIZED, "it is the page that is tested here, not the server")
class WebBrowser(Test):
    @classmethod
    def setUpClass(cls):
        cls.server = Server({
            "listen": {"console": "127.0.0.1:0"},
            "console": {"password": PASSWORD},
            "plugins": {"load": {"web": {}}},
            "tiers": {"small": {"max": 20000}},
        })
        cls.server.spread = False  # of several nodes one has the pages, its console, and the log of who did what there
        console = int(cls.server.log().split("transport=console")[0].rsplit("127.0.0.1:", 1)[1].split()[0])
        setting = {"port": cls.server.websocket, "console": console, "password": PASSWORD, "chromium": CHROMIUM,
                   "shots": SHOTS, "patience": PATIENCE}
        run = subprocess.run(["nice", "node", SUITE, json.dumps(setting)], capture_output=True, text=True,
                             timeout=200 * PATIENCE)
        cls.said = run.stderr[-3000:]
        parts = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
        cls.parts = {p["part"]: p for p in parts}

    test_two_people_chat = part("two people chat")
    test_text = part("what people write stays text")
    test_private = part("private messages, by name and by id")
    test_unread = part("unread counts, and the line where the new begins")
    test_members = part("members, push mode, leaving")
    test_presence = part("presence, joins and leaves, and being taken out")
    test_devices = part("the same user on another device")
    test_sign_out = part("a new name, and signing out")
    test_reload = part("a channel's link; drafts; a reload")
    test_announcements = part("announcements, and being sent away")
    test_notifications = part("notifications and the title's count while nobody looks")
    test_offline = part("offline and back: nothing lost, nothing doubled, in order")
    test_outbox = part("a page that was closed before its message was sent sends it the next time, once")
    test_shell = part("the shell opens without a server")
    test_install = part("it can be installed")
    test_gap = part("a gap is repaired")
    test_refused = part("a refused message says why, and is tried again with the same clientId")
    test_slices = part("what a slice leaves out is fetched on demand")
    test_ten_lines = part("ten lines in a page of somebody else's")
    test_tabs = part("two tabs of one user")
    test_picture = part("the picture of the README")
    test_phone = part("on a phone")
    test_dark = part("in the dark")
    test_light = part("in the light, by axe")
    test_keyboard = part("with the keyboard alone")
    test_many = part("10,000 messages, and a hundred a second")
    test_admin_door = part("the dashboard: the door")
    test_admin_overview = part("the dashboard: charts that go on")
    test_admin_user = part("the dashboard: a user is found and kicked")
    test_admin_channel = part("the dashboard: a channel, its members and messages")
    test_admin_tools = part("the dashboard: lists, why, scripts, the log")
    test_admin_text = part("the dashboard: names stay text")
    test_admin_phone = part("the dashboard: on a phone, in the dark, with the keyboard")
    test_history = part("history comes as one scrolls up, and what one reads stays where it is")

    def test_every_part_is_a_test(self):
        named = {f.__doc__ for name, f in vars(WebBrowser).items() if name.startswith("test_")}
        self.assertEqual(set(self.parts) - named, set())
