"""Wall clocks that jump, while the server runs and over restarts: nothing ends, and nothing lasts longer, but what an
operator says."""

import base64
import glob
import hashlib
import hmac
import os
import struct
import time
import unittest

from base import Test, embedded
from client import CLOSING, INBOX, LOGIN, PING, SEND_CHANNEL, SUBSCRIBE, Error
from console import Console
from server import PATIENCE, SANITIZED, Server
from test_plugin_auth_jwt import SECRET as JWT_SECRET, claims, config as jwt_config, hs

HOUR, DAY = 3600, 24 * 3600
TEN_YEARS = 10 * 365 * DAY


def faketime():
    """The library that fakes clocks, or None."""
    for pattern in ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1",
                    "/usr/lib64/faketime/libfaketimeMT.so.1"):
        found = glob.glob(pattern)
        if found:
            return found[0]
    return None


class Clocked(Test):
    """Servers whose wall clock is moved by libfaketime. CLOCK_BOOTTIME stays as it is, as with a real machine."""

    abstract = True

    @classmethod
    def setUpClass(cls):
        cls.library = faketime()
        cls.server = None

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        super().setUp()
        if not self.library:
            self.skipTest("no libfaketime here")
        if SANITIZED:
            self.skipTest("sanitizers and libfaketime do not go together")

    def move(self, s, seconds):
        """Moves the server's wall clock to so far from the true time."""
        with open(os.path.join(s.folder, "time.new"), "w") as f:
            f.write("%+d" % seconds)
        os.rename(os.path.join(s.folder, "time.new"), os.path.join(s.folder, "time"))

    def server_with_clock(self, **config):
        s = Server(dict({"tiers": {"small": {"ttl": 1000}, "dm": {"ttl": 1000}},
                         "listen": {"console": "unix:console.sock"}}, **config), start=False)
        self.move(s, 0)
        s.environment = {"LD_PRELOAD": self.library, "FAKETIME_TIMESTAMP_FILE": os.path.join(s.folder, "time"),
                         "FAKETIME_NO_CACHE": "1",
                         "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}
        s.start()
        return s

    def stop(self, server):
        """SIGTERM, nobody being connected: a drain without waiting."""
        for c in self.clients:
            c.close()
        self.assertEqual(server.stop(), 0)

    def ask(self, server, command):
        console = Console(server)
        try:
            return console.json(command)
        finally:
            console.close()


class Messages(Clocked):
    abstract = False

    @embedded("a cluster goes by the clocks of the Redis masters: a node's moves nothing there")
    def test_jumps_while_running(self):
        """Nothing expires, nobody is thrown out, ids ascend."""
        with self.server_with_clock() as s:
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            room = self.channel(a, b)
            sent, said = [a.tell(b, "m0")], [a.say(room, "m0")]
            for seconds in (HOUR - 60, 2 * HOUR, -HOUR, TEN_YEARS, -20 * DAY, 0):
                self.move(s, seconds)
                time.sleep(0.2)
                sent.append(a.tell(b, "at %d" % seconds))
                said.append(a.say(room, "at %d" % seconds))
                self.assertLess(abs(said[-1]["createdAt"] / 1000 - time.time() - seconds), 60,
                                "createdAt is what the clock says")
            for ids in ([x["id"] for x in sent], [x["id"] for x in said]):
                self.assertEqual(ids, sorted(set(ids)))
            self.assertEqual([m["id"] for m in b.history(peer=a)["messages"]], [x["id"] for x in sent])
            self.assertEqual([m["id"] for m in b.history(room)["messages"]], [x["id"] for x in said])
            self.assertEqual(len(b.request(INBOX)["messages"]), len(sent))
            s.wait_log("storage.clock_jump")

    @embedded("a cluster goes by the clocks of the Redis masters: a node's moves nothing there")
    def test_jumps_over_restarts(self):
        with self.server_with_clock(tiers={"small": {"ttl": 100 * DAY}, "dm": {"ttl": 100 * DAY}}) as s:
            a, b = self.user("Ada", server=s), self.user("Bob", server=s)
            sent = [a.tell(b, "first")]
            token = a.token
            for days, paused in ((1, False), (0, False), (-20, False), (3650, True), (-400, True)):
                self.stop(s)
                self.move(s, days * DAY)
                s.start()
                a2 = self.connect(server=s)
                token = a2.login(token=token)["token"]
                sent.append(a2.tell(b, "day %d" % days))
                self.assertEqual([m["id"] for m in a2.history(peer=b)["messages"]], [x["id"] for x in sent])
                ids = [x["id"] for x in sent]
                self.assertEqual(ids, sorted(set(ids)))
                self.assertEqual("storage.clock_jump" in s.log(), paused)
            self.stop(s)
            self.move(s, 0)
            s.start()
            a2 = self.connect(server=s)
            a2.login(token=a.token)
            sent.append(a2.tell(b, "last"))
            ids = [x["id"] for x in sent]
            self.assertEqual(ids, sorted(set(ids)))
            self.assertEqual([m["id"] for m in a2.history(peer=b)["messages"]], ids)


class People(Clocked):
    """Tokens, bans and mutes: as if nothing had been."""

    abstract = False

    def setUp(self):
        super().setUp()
        self.tokens = {}

    def check(self, s, when):
        """All that was set is in force, and every token that was ever given opens."""
        with self.subTest(when=when):
            self.refused("forbidden", self.connect(server=s), LOGIN, token=self.banned.token)
            self.refused("forbidden", self.muted, SEND_CHANNEL, channel=self.room, content="x")
            self.refused("forbidden", self.out, SUBSCRIBE, name=self.room)
            kinds = sorted(b["kind"] for b in self.ask(s, "list bans"))
            self.assertEqual(kinds, ["ban ip", "ban member", "ban user", "mute member", "mute user"])
            for name, token in list(self.tokens.items()):
                c = self.connect(server=s)
                self.assertEqual(c.login(token=token)["id"], self.ada.id, "the token of %s" % name)
                self.tokens[when] = c.token
            if when not in ("in the jump", "after a restart in the jump"):
                return
            # One that is made now lasts as long as it was made for.
            short = self.user("Short", server=s)
            short.subscribe(self.room)
            self.ask(s, "mute user %s %s 2" % (short.id, self.room))
            began = time.monotonic()
            self.refused("forbidden", short, SEND_CHANNEL, channel=self.room, content="x")
            self.eventually(lambda: "error" not in short.ask(SEND_CHANNEL, channel=self.room, content="x"), timeout=20)
            self.assertGreater(time.monotonic() - began, 1)

    def again_all(self, s):
        """New connections of the two who may log in."""
        self.muted, self.out = (self.again(c, server=s) for c in (self.muted, self.out))

    def jump(self, seconds):
        with self.server_with_clock() as s:
            self.ada, self.banned, self.muted, self.out = (self.user(n, server=s) for n in ("Ada", "Ban", "Mute",
                                                                                            "Out"))
            self.tokens = {"the start": self.ada.token}
            self.room = self.channel(self.ada, self.muted, self.out)
            for who, order in ((self.banned, "ban user %s"), (self.muted, "mute user %s")):
                self.ask(s, order % who.id + " 1800")  # half an hour: a jump by one would end it
            self.ask(s, "mute user %s %s 1800" % (self.muted.id, self.room))
            self.ask(s, "channel %s ban %s 1800" % (self.room, self.out.id))
            self.ask(s, "ban ip 192.0.2.1 1800")
            self.check(s, "before")
            self.move(s, seconds)
            self.check(s, "in the jump")
            self.stop(s)
            s.start()
            self.again_all(s)
            self.check(s, "after a restart in the jump")
            s.kill()
            s.start()
            self.again_all(s)
            self.check(s, "after a kill in the jump")
            self.move(s, 0)
            self.check(s, "back again")
            self.stop(s)
            s.start()
            self.again_all(s)
            self.check(s, "after a restart")
            until = {b["kind"]: b["until"] / 1000 - time.time() for b in self.ask(s, "list bans")}
            self.assertLess(abs(until["ban user"] - 1800), 120 * PATIENCE, "until is told by the clock as it is")
            self.ask(s, "storage clock accept")
            self.check(s, "accepted")

    def test_an_hour_ahead(self):
        self.jump(HOUR)

    def test_an_hour_back(self):
        self.jump(-HOUR)

    def test_ten_years_ahead(self):
        self.jump(TEN_YEARS)

    def test_ten_years_back(self):
        self.jump(-TEN_YEARS)

    def test_a_jump_over_a_restart(self):
        """The clock is wrong from the next start on, and right again from the one after that."""
        for seconds in (HOUR, -HOUR, 5 * HOUR, TEN_YEARS):
            with self.subTest(seconds=seconds), self.server_with_clock() as s:
                a, b = self.user("Ada", server=s), self.user("Bob", server=s)
                self.ask(s, "ban user %s 1800" % b.id)
                tokens = [a.token]
                for at in (seconds, 0):
                    self.stop(s)
                    self.move(s, at)
                    s.start()
                    for token in list(tokens):
                        c = self.connect(server=s)
                        self.assertEqual(c.login(token=token)["id"], a.id)
                        tokens.append(c.token)
                    self.refused("forbidden", self.connect(server=s), LOGIN, token=b.token)

    @embedded("a cluster goes by the clocks of the Redis masters: a node's moves nothing there")
    def test_what_an_operator_accepts_has_passed(self):
        """A month and more that was missing: what was there before is so much older, and what was made meanwhile is
        not."""
        with self.server_with_clock() as s:
            a, b, c = (self.user(n, server=s) for n in ("Ada", "Bob", "Cid"))
            self.ask(s, "ban user %s %d" % (b.id, 20 * DAY))
            self.move(s, 31 * DAY)
            fresh = self.again(a, server=s).token
            self.ask(s, "ban user %s %d" % (c.id, 20 * DAY))
            self.refused("forbidden", self.connect(server=s), LOGIN, token=b.token)
            self.assertTrue(self.ask(s, "storage clock accept")["paused"])
            for _ in range(2):
                self.refused("unauthorized", self.connect(server=s), LOGIN, token=a.token)
                fresh = self.connect(server=s).login(token=fresh)["token"]
                self.assertEqual([x["user"] for x in self.ask(s, "list bans")], [c.id])
                self.stop(s)
                s.start()

    def test_nobody_is_thrown_out(self):
        with self.server_with_clock(timeouts={"login": 600, "idle": 600}) as s:
            a = self.user("Ada", server=s)
            waiting = self.connect(server=s)
            for seconds in (HOUR, -HOUR, TEN_YEARS, -TEN_YEARS, 0):
                self.move(s, seconds)
                time.sleep(0.3)
                a.request(PING)
                waiting.request(PING)
            a.quiet(CLOSING)


class Jwt(Clocked):
    """Tokens that another server dates: its clock is right, and so is ours until it jumps."""

    abstract = False

    def test_jumps(self):
        with self.server_with_clock(**jwt_config(algorithm="HS256", secret=JWT_SECRET)) as s:
            token = hs(claims(exp=int(time.time()) + 1800, nbf=int(time.time()) - 1800))
            old = hs(claims(exp=int(time.time()) - 1800))
            later = hs(claims(nbf=int(time.time()) + 1800))
            for seconds, restart in ((TEN_YEARS, False), (0, True), (2 * HOUR, False), (0, False), (TEN_YEARS, False),
                                     (TEN_YEARS, True), (0, True)):
                if restart:
                    self.stop(s)
                self.move(s, seconds)
                if restart:
                    s.start()
                with self.subTest(seconds=seconds, restart=restart):
                    self.assertEqual(self.connect(server=s).request(LOGIN, token=token)["id"], "ada")
                    if seconds != 2 * HOUR:
                        self.refused("unauthorized", self.connect(server=s), LOGIN, token=old)
                    if seconds == 0:
                        self.refused("unauthorized", self.connect(server=s), LOGIN, token=later)


class TokenAge(Test):
    """Tokens last 30 days from their last use. These are signed here, as the server would have on another day."""

    SECRET = "0123456789abcdef of the tokens"
    config = {"auth": {"secret": SECRET}}

    def signed(self, client, days):
        key = hashlib.sha256(b"magpie resume token\0" + self.SECRET.encode()).digest()
        raw = base64.urlsafe_b64decode(client.token + "=" * (-len(client.token) % 4))
        issued = struct.unpack(">Q", raw[5:13])[0]
        self.assertLess(abs(issued / 1000 - time.time()), 60 * PATIENCE)
        raw = raw[:5] + struct.pack(">Q", issued - int(days * 86400000)) + raw[13:-32]
        return base64.urlsafe_b64encode(raw + hmac.new(key, raw, hashlib.sha256).digest()).rstrip(b"=").decode()

    def test_expired(self):
        a = self.user("Ada")
        self.assertEqual(self.signed(a, 0), a.token)
        for days in (1, 29, 29.99):
            self.assertEqual(self.connect().login(token=self.signed(a, days))["id"], a.id)
        for days in (30.01, 31, 365, 3650):
            self.refused("unauthorized", self.connect(), LOGIN, token=self.signed(a, days))

    def test_issued_while_a_clock_was_ahead(self):
        """By a server of before, which went by the wall clock: the signature is ours, so it counts."""
        a = self.user("Ada")
        for days in (-1, -40, -3650):
            self.assertEqual(self.connect().login(token=self.signed(a, days))["id"], a.id)
