"""Lines of the console that a plugin gives, and the console's password that it has checked: tests/plugins/orders.c."""

import json

from plugin_base import Console, PluginTest

OK, UNAUTHORIZED, FORBIDDEN, RATE_LIMITED = 0, 3, 4, 8


class Orders(PluginTest):
    load = {"orders": {}}

    def order(self, line, who="ann"):
        return self.console('orders run %s %s' % (json.dumps(line), json.dumps(who)))

    def test_answers_are_those_of_the_console(self):
        ann, bob = self.user("Ann"), self.user("Bob")
        name = self.channel(ann, bob)
        for line in ("list users", "list users Nobody", "version", "channel %s members" % name, "help kick",
                     "list actions", "channel %s tier" % name, "list users all limit 1", "log debug", "list hooks"):
            self.assertEqual(self.order(line), {"code": "OK", "message": "", "json": self.console(line)}, line)

    def test_more_than_a_step(self):
        users = [self.user("Many %d" % i) for i in range(300)]
        got = self.order("list users Many")["json"]
        self.assertEqual({u["user"] for u in got}, {u.id for u in users})
        stored = self.order("list users all")["json"]
        self.assertCountEqual(stored, self.console("list users all"))  # in a cluster they are in no order

    def test_refusals(self):
        for line, code, words in (("quit", "bad_request", "connections to the console"),
                                  ("auth x", "bad_request", "connections"),
                                  ("trace user ann on", "bad_request", "connections"),
                                  ("trace connection 0.0.1 on", "bad_request", "connections"),
                                  ("statuss", "bad_request", "did you mean status"), (" ", "bad_request", "empty"),
                                  ("kick user", "bad_request", "usage"),
                                  ("kick user nobody", "not_found", "no such user"),
                                  ("status\nshutdown", "bad_request", "control characters"),
                                  ('show user "x', "bad_request", "quote"),
                                  ("orders big", "too_large", "ask for less")):
            with self.subTest(line=line[:40]):
                got = self.order(line)
                self.assertEqual((got["code"], got["json"]), (code, "nothing"), got)
                self.assertIn(words, got["message"])
        self.assertEqual(self.console('orders run "" ann'), {"rc": -2})
        self.assertEqual(self.console('orders run status ""'), {"rc": -2})

    def test_they_are_logged_with_the_plugin(self):
        self.order("announce hello", 'operator "x"\n')
        self.eventually(lambda: 'who="orders operator \\"x\\"\\u000a" command=announce' in self.server.log())
        self.assertNotIn("hello", self.server.log())

    def test_two_at_a_time(self):
        """Each has its own answer, in whatever order they end."""
        other = Console(self.server)
        self.addCleanup(other.close)
        for c in (self.console, other):
            c.file.write(b'json orders run "list users" a\njson orders run version b\n' * 20)
            c.file.flush()
        for c in (other, self.console):
            for i in range(40):
                status, body = c.file.readline(), b""
                while (line := c.file.readline()) != b".\n":
                    body += line
                self.assertEqual(status, b"OK\n")
                self.assertIsInstance(json.loads(body)["json"], dict if i % 2 else list)

    def test_a_plugin_goes_with_an_order_under_way(self):
        """It waits for itself: after ten seconds the console's command is answered, and then both end."""
        got = self.order("plugin unload orders")
        self.assertIn(got["code"], ("unavailable", "timeout", "busy", "internal", "failed"), got)

        def states():
            return [p["state"] for p in self.console("plugin list --here") if p["name"] == "orders"]

        self.eventually(lambda: states() == ["not loaded"])  # others have not been asked: here it did not go well
        self.console("plugin load orders --here")

    def test_without_a_password(self):
        self.assertEqual(self.console("orders login 192.0.2.1 x"), {"code": FORBIDDEN, "password": 0})


class Password(PluginTest):
    load = {"orders": {}}

    @classmethod
    def setUpClass(cls):
        cls.config = {"console": {"password": "corvus-7781"}}
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.console("auth corvus-7781")

    def login(self, address, password):
        return self.console("orders login %s %s" % (address, password))

    def test_the_limit_is_the_consoles(self):
        first = self.login("192.0.2.1", "corvus-7781")
        self.assertEqual(first["code"], OK)
        for address in ("192.0.2.2", "2001:db8::1"):
            for i in range(5):
                self.assertEqual(self.login(address, "wrong")["code"], UNAUTHORIZED)
            self.assertEqual(self.login(address, "corvus-7781")["code"], RATE_LIMITED)
        self.assertEqual(self.login("2001:db8::2", "corvus-7781")["code"], RATE_LIMITED)  # of the same /64
        self.assertEqual(self.login("192.0.2.3", "corvus-7781"), first)

    def test_another_password_has_another_number(self):
        before = self.login("192.0.2.9", "x")["password"]
        self.server.rewrite({"log": {"level": "debug"}})
        self.server.reload()
        self.assertEqual(self.login("192.0.2.9", "x")["password"], before)
        self.server.rewrite({"console": {"password": "another-one-9"}})
        self.server.reload()
        self.eventually(lambda: self.login("192.0.2.9", "x")["password"] not in (0, before))
        self.server.rewrite({"console": {"password": "corvus-7781"}})
        self.server.reload()
