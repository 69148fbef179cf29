"""log.security: who logged in, who was refused, who was banned, with addresses; without secrets, and without gaps."""

import json
import os
import subprocess
import tempfile
import unittest

from base import Test
from client import LOGIN
from plugin_base import Console
from server import MAGPIED, Server, lua
from wire import Stream

PASSWORD = "a-password-of-the-console"


def lines(path):
    with open(path) as f:
        return [json.loads(line) for line in f]


class SecurityLog(Test):
    folder = tempfile.mkdtemp(prefix="magpie-security-")
    path = os.path.join(folder, "security.log")
    config = {"log": {"security": path, "format": "json"}, "console": {"password": PASSWORD},
              "listen": {"console": "127.0.0.1:0", "proxy": ["127.0.0.3"]}}

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for name in os.listdir(cls.folder):
            os.remove(os.path.join(cls.folder, name))
        os.rmdir(cls.folder)

    def of(self, event, **fields):
        """The lines of an event with these fields."""
        return [e for e in lines(self.path) if e["event"] == event and all(e.get(k) == v for k, v in fields.items())]

    def console(self):
        c = Console(self.server)
        self.addCleanup(c.close)
        return c

    def through(self, client):
        """A connection that a trusted proxy opens for this client."""
        s = Stream(("127.0.0.1", self.server.tcp), source="127.0.0.3",
                   first=("PROXY TCP4 %s 127.0.0.1 1 2\r\n" % client).encode())
        self.addCleanup(s.close)
        return s

    def test_logins(self):
        ada = self.user("Ada")
        self.again(ada, wire="binary")
        got = self.eventually(lambda: len(self.of("login.accepted", user=ada.id)) == 2 and
                              self.of("login.accepted", user=ada.id))
        self.assertEqual([(e["ip"], e["transport"]) for e in got], [("127.0.0.1", "tcp"), ("127.0.0.1", "websocket")])
        self.assertEqual(got[0]["name"], "Ada")

    def test_the_client_of_a_proxy(self):
        s = self.through("192.0.2.77")
        body = json.dumps({"token": "not-a-token"}).encode()
        s.write((8 + len(body)).to_bytes(4, "big") + LOGIN.to_bytes(2, "big") + b"\0\1" + body)
        self.eventually(lambda: self.of("login.refused", ip="192.0.2.77"))

    def test_every_refusal_is_kept(self):
        """The log keeps 20 lines of an event a second; here none is left out."""
        wanted = {"ip": "127.0.0.1", "code": "unauthorized", "because": "token: unknown or expired"}
        before = len(self.of("login.refused", **wanted))
        c = self.connect()
        for i in range(100):
            c.error(LOGIN, token="a-wrong-token-%d" % i)
        self.eventually(lambda: len(self.of("login.refused", **wanted)) == before + 100)

    def test_no_secrets(self):
        ada = self.user("Ada")
        self.connect().error(LOGIN, token="a-wrong-token-x")
        self.eventually(lambda: self.of("login.accepted", user=ada.id))
        with open(self.path) as f:
            text = f.read()
        for secret in (ada.token, "a-wrong-token", PASSWORD, "a-wrong-password"):
            self.assertNotIn(secret, text)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    def test_bans(self):
        ada = self.user("Ada")
        console = self.console()
        console("auth " + PASSWORD)
        self.eventually(lambda: self.of("console.accepted", ip="127.0.0.1"))
        console("ban user %s 100 \"bad words\"" % ada.id)
        made = self.eventually(lambda: self.of("ban.made", user=ada.id))[0]
        self.assertEqual((made["kind"], made["seconds"], made["because"]), ("ban user", 100, "bad words"))
        c = self.connect()
        c.error(LOGIN, token=ada.token)
        console("unban user " + ada.id)
        self.eventually(lambda: self.of("ban.lifted", user=ada.id))
        console("ban ip 192.0.2.78")
        self.eventually(lambda: self.of("ban.made", ip="192.0.2.78"))
        self.through("192.0.2.78")
        self.eventually(lambda: self.of("connection.refused", ip="192.0.2.78"))
        wrong = self.console()
        with self.assertRaises(AssertionError):
            wrong("auth a-wrong-password")
        self.eventually(lambda: self.of("console.refused", ip="127.0.0.1"))

    def test_rotation_and_reload(self):
        self.user("Before")
        self.eventually(lambda: self.of("login.accepted", name="Before"))
        moved = self.path + ".1"
        os.rename(self.path, moved)
        self.server.reload()
        self.user("After")
        self.eventually(lambda: os.path.exists(self.path) and self.of("login.accepted", name="After"))
        self.assertTrue([e for e in lines(moved) if e.get("name") == "Before"])
        self.assertFalse([e for e in lines(moved) if e.get("name") == "After"])
        # Switched off, and on again.
        self.server.rewrite({"log": {"security": None}})
        self.server.reload()
        self.user("Unseen")
        self.server.rewrite({"log": {"security": self.path}})
        self.server.reload()
        self.user("Seen")
        self.eventually(lambda: self.of("login.accepted", name="Seen"))
        self.assertEqual(self.of("login.accepted", name="Unseen"), [])


class BadFiles(unittest.TestCase):
    def test_refused(self):
        with Server({"log": {"security": None}, "listen": {"console": "127.0.0.1:0"}}) as s:
            fifo = os.path.join(s.folder, "fifo")
            os.mkfifo(fifo)
            console = Console(s)
            for bad in (s.folder, fifo, os.path.join(s.folder, "none", "x")):
                s.rewrite({"log": {"security": bad}})
                with self.assertRaises(AssertionError) as caught:
                    console("config reload")
                self.assertIn("log.security: ", str(caught.exception))
            console.close()
            path = os.path.join(s.folder, "bad.lua")
            with open(path, "w") as f:
                f.write("return " + lua(dict(s.settings(), log={"security": fifo})))
            r = subprocess.run([MAGPIED, "-c", path], capture_output=True, text=True, timeout=60)
            self.assertEqual((r.returncode, "log.security: " in r.stderr), (1, True))
