"""auth_jwt beside letting in: the claims that it passes on, the end of a login, its renewal, revoked tokens."""

import os
import shutil
import tempfile
import time

from base import Test, one_process
from plugin_base import SHIPPED_PLUGINS, TEST_PLUGINS, Console, PluginTest
from server import Server
from test_plugin_auth_jwt import SECRET, claims, hs


class JwtTest(PluginTest):
    """auth_jwt, and `hooks` of the test plugins, which tells what it saw."""

    config = {"auth": {"mode": "jwt"}, "threads": 2}
    load = {"auth_jwt": {"algorithm": "HS256", "secret": SECRET, "leeway": 0,
                         "claims": ["role", "groups", "level", "more", "absent"]}, "hooks": {}}

    @classmethod
    def setUpClass(cls):
        cls.path = tempfile.mkdtemp(prefix="magpie-test-plugins-")
        os.symlink(SHIPPED_PLUGINS + "/auth_jwt.so", cls.path + "/auth_jwt.so")
        os.symlink(TEST_PLUGINS + "/hooks.so", cls.path + "/hooks.so")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.path)

    def enter(self, sub, wire="tcp", **more):
        c = self.connect(wire)
        c.login(token=hs(claims(sub=sub, name=sub, **more)))
        return c


@one_process("hooks of one node are looked at")
class Claims(JwtTest):
    def test_every_hook_sees_them(self):
        told = {"role": 'a "moderator"\n', "groups": ["x", {"y": "\u00e9"}], "level": 7, "more": True}
        wanted = '{"role":"a \\u0022moderator\\u0022\\u000a","groups":["x", {"y": "\\u00e9"}],"level":7,"more":true}'
        b = self.enter("bob")
        a = self.enter("ada", secret="not told", **told)
        a.subscribe("tea")
        a.say("tea", "hello")
        a.history("tea")
        a.request(12, ids=[b.id])
        a.request(6, name="tea")
        a.close()
        events = ("login", "subscribe", "unsubscribe", "create", "history", "presence", "message", "conversation",
                  "delivered", "logged_in", "close")
        # They are told on two shards: the last request's is not always the last.
        self.eventually(lambda: all(self.console("hooks claims").get(event) for event in events))
        seen = self.console("hooks claims")
        for event in events:
            self.assertEqual(seen[event], wanted, event)
        b.tell("ada", "without any")
        self.assertEqual(self.console("hooks claims")["message"], "")

    def test_too_many(self):
        e = self.refused("unauthorized", self.connect(), 1, token=hs(claims(groups=["x" * 100] * 45)))
        self.assertIn("longer than 4095 bytes", e.message)

    def test_each_connection_has_its_own(self):
        a, other = self.enter("ada", role="one"), self.enter("ada", role="two")
        for c, role in ((a, "one"), (other, "two"), (a, "one")):
            c.tell("ada", "hello")
            self.assertEqual(self.console("hooks claims")["message"], '{"role":"%s"}' % role)


class End(JwtTest):
    def until(self, seconds):
        return int(time.time()) + seconds

    def test_a_connection_ends_at_exp(self):
        for wire in ("tcp", "text"):
            c = self.enter("ada", wire, exp=self.until(2))
            lasting = self.enter("ada", wire)
            began = time.monotonic()
            self.assertEqual(c.closing(), {"reason": "kicked", "message": "token expired"})
            self.assertGreater(time.monotonic() - began, 0.5)
            lasting.tell("ada", "still here")

    @one_process("hooks of one node are looked at")
    def test_it_renews(self):
        c = self.enter("eve", exp=self.until(2), role="old")
        self.refused("forbidden", c, 1, token=hs(claims(sub="bob")))
        self.refused("forbidden", c, 1, token=c.token)
        self.refused("unauthorized", c, 1, token=hs(claims(), "wrong" * 10))
        self.refused("bad_request", c, 1, token=1)
        token = hs(claims(sub="eve", name="Eve the second", role="new"))
        r = c.request(1, token=token, name="not this one", device="nor this")
        self.assertEqual((r["id"], r["name"], r["token"], r["inbox"]), ("eve", "Eve the second", token, 0))
        self.assertEqual(self.console("hooks claims")["login"], '{"role":"new"}')
        time.sleep(3)
        c.tell("eve", "still here")
        self.assertEqual(self.console("hooks claims")["message"], '{"role":"new"}')

    def test_renewed_for_a_while(self):
        c = self.enter("ada", exp=self.until(2))
        c.request(1, token=hs(claims(sub="ada", exp=self.until(4))))
        self.assertEqual(c.closing(), {"reason": "kicked", "message": "token expired"})

    def test_never_compressed(self):
        """An answer that holds a token stays as it is, the renewal's too (threshold: 512)."""
        for wire in ("gzip", "deflate", "deflate-text"):
            c = self.enter("ada", wire, exp=self.until(30), role="r" * 600)
            token = hs(claims(sub="ada", exp=self.until(60), role="r" * 600))
            self.assertEqual(c.request(1, token=token)["token"], token)
            self.assertEqual(c.wire.packed, 0)
            c.tell("ada", "what is long is compressed " * 40)
            c.history(peer="ada")
            self.assertGreater(c.wire.packed, 0)

    def test_what_waits_behind_it(self):
        c = self.enter("ada", exp=self.until(30))
        first = c.send(1, token=hs(claims(sub="ada", exp=self.until(60))))
        second = c.send(2, receiverId="ada", content="behind it")
        self.assertEqual(c.answer(1, first)["id"], "ada")
        self.assertTrue(c.answer(2, second)["seq"])

    def test_without_an_end(self):
        """A login that has no end is not renewed: it is a second login."""
        with Server({"auth": {"mode": "jwt"}, "plugins": {"load": {"auth_jwt": {
                "algorithm": "HS256", "secret": SECRET, "require_expiry": False}}}}) as s:
            c = self.connect(server=s)
            body = claims()
            del body["exp"]
            c.login(token=hs(body))
            self.refused("forbidden", c, 1, token=hs(claims()))

    def test_within_the_leeway(self):
        """Who came behind `exp` ends with the leeway."""
        with Server({"auth": {"mode": "jwt"}, "plugins": {"load": {"auth_jwt": {
                "algorithm": "HS256", "secret": SECRET, "leeway": 4}}}}) as s:
            c = self.connect(server=s)
            c.login(token=hs(claims(exp=self.until(-2))))
            c.tell("ada", "here")
            self.assertEqual(c.closing(), {"reason": "kicked", "message": "token expired"})


class Revoked(Test):
    config = {"listen": {"console": "127.0.0.1:0"}, "auth": {"mode": "jwt"}, "threads": 2,
              "plugins": {"load": {"auth_jwt": {"algorithm": "HS256", "secret": SECRET}}}}

    def console(self, line):
        c = Console(self.server)
        try:
            return c(line)
        finally:
            c.close()

    def token(self, sub, ago=-0.1, **more):
        """By default a moment ahead: the server's date may be a millisecond later than what is read here."""
        return hs(claims(sub=sub, iat=time.time() - ago, **more))

    def test_a_kick(self):
        for sub, here in (("away", False), ("here", True)):
            old, undated = self.token(sub, 5), hs(claims(sub=sub))
            c = self.connect()
            c.login(token=old)
            if not here:
                c.close()
                self.eventually(lambda: not self.console("show user " + sub)["connections"])
            self.console("kick user %s revoke" % sub)
            e = self.refused("unauthorized", self.connect(), 1, token=old)
            self.assertEqual(e.message, "token: no longer valid")
            self.connect().login(token=undated)  # nobody can tell
            self.connect().login(token=self.token(sub))
            if not here:
                self.connect().login(token=self.token(sub))

    def test_a_ban_and_a_logout(self):
        c = self.connect()
        old = self.token("banned", 5)
        c.login(token=old)
        self.console("ban user banned 60")
        self.console("unban user banned")
        self.refused("unauthorized", self.connect(), 1, token=old)
        self.connect().login(token=self.token("banned"))
        c, old = self.connect(), self.token("out", 5)
        c.login(token=old)
        c.request(16)
        self.refused("unauthorized", self.connect(), 1, token=old)

    def test_kept(self):
        with Server(self.config) as s:
            c = self.connect(server=s)
            old = self.token("ada", 5)
            c.login(token=old)
            console = Console(s)
            console("kick user ada revoke")
            console.close()
            c.close()
            fresh = self.connect(server=s)
            fresh.login(token=self.token("ada", name="Another name"))  # saved once more
            fresh.close()
            s.kill()
            s.launch()
            self.refused("unauthorized", self.connect(server=s), 1, token=old)
            self.connect(server=s).login(token=self.token("ada"))
