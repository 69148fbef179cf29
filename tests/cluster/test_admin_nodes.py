"""The dashboard at /admin behind a load balancer: a session that one node began is good on all, and ends on all."""

import http.client
import json
import os
import signal

from base import Test
from plugin_base import SHIPPED_PLUGINS
from redis_cluster import RedisCluster
from server import PATIENCE, Server

PASSWORD = "corvus-7781"
CONFIG = {"log": {"level": "info"}, "listen": {"console": "unix:console.sock"}, "console": {"password": PASSWORD}}


class Sessions(Test):
    one_process = "its nodes are its own"

    @classmethod
    def setUpClass(cls):
        cls.redis = RedisCluster()
        cls.addClassCleanup(cls.redis.close)
        cls.nodes = []
        for n in range(3):
            cls.nodes.append(Server(dict(CONFIG, node=n + 1, plugins={"path": SHIPPED_PLUGINS, "load": {"web": {}}}),
                                    redis=cls.redis.addresses, nodes=1, keys=cls.nodes[0].keys if n else None))
            cls.nodes[-1].secrets.add(PASSWORD)
        cls.server = cls.nodes[0]

    @classmethod
    def tearDownClass(cls):
        for n in cls.nodes:
            n.close()

    def setUp(self):
        super().setUp()
        who = self.log_in(0)
        self.eventually(lambda: len(self.order(0, *who, "status")["answer"]["nodes"]) == 3, 30)

    def post(self, node, what, body, cookie=None, token=None, source=None):
        """(status, cookie, JSON) of a POST to the dashboard's API on a node."""
        fields = {"Content-Type": "application/json"}
        if cookie:
            fields["Cookie"] = cookie
        if token:
            fields["X-Magpie-Token"] = token
        c = http.client.HTTPConnection("127.0.0.1", self.nodes[node].websocket, timeout=20 * PATIENCE,
                                       source_address=(source, 0) if source else None)
        try:
            c.request("POST", "/admin/api/" + what, json.dumps(body), fields)
            r = c.getresponse()
            answer = json.loads(r.read())
            return r.status, (r.getheader("Set-Cookie") or "").split(";")[0], answer
        finally:
            c.close()

    def order(self, node, cookie, token, *words):
        status, _, answer = self.post(node, "run", {"words": words}, cookie, token)
        self.assertEqual(status, 200, answer)
        return answer

    def statuses(self, cookie, token, what="run", nodes=(0, 1, 2)):
        return [self.post(n, what, {"words": ["version"]}, cookie, token)[0] for n in nodes]

    def log_in(self, node):
        status, cookie, answer = self.post(node, "login", {"password": PASSWORD})
        self.assertEqual(status, 200, answer)
        for n in self.nodes:
            n.secrets.update((cookie.split("=")[1], answer["token"]))
        return cookie, answer["token"]

    def test_good_on_every_node(self):
        for begun in range(3):
            who = self.log_in(begun)
            self.assertTrue(who[0].startswith("magpie-admin=%d-" % (begun + 1)), who[0])
            self.assertEqual(self.statuses(*who), [200] * 3)
            for n in range(3):
                self.assertEqual(self.post(n, "session", {}, who[0])[2], {"token": who[1]})
            # Both halves are needed everywhere.
            for token in (None, "0" * 64, who[1][:-1]):
                self.assertEqual(self.statuses(who[0], token), [403] * 3)
            self.assertEqual(self.statuses(None, who[1]), [401] * 3)
            self.assertEqual(self.statuses(who[0][:-1] + ("0" if who[0][-1] != "0" else "1"), who[1]), [401] * 3)
            # Nor is it good under the number of another node, or of none.
            for number in (begun % 3 + 2, 9, 65535, 99999):
                moved = "magpie-admin=%d-%s" % (number, who[0].split("-")[-1])
                self.assertEqual(self.statuses(moved, who[1]), [401] * 3, moved)
            # Orders are logged where they are given, with whose they are.
            self.order((begun + 1) % 3, *who, "kick", "user", "nobody-here")
            self.nodes[(begun + 1) % 3].wait_log("of node %d\" command=\"kick user\"" % (begun + 1))

    def test_signed_out_everywhere(self):
        for out in range(3):
            who, other = self.log_in(0), self.log_in(0)
            self.assertEqual(self.post(out, "logout", {}, who[0], "0" * 64)[0], 403)
            self.assertEqual(self.statuses(*who), [200] * 3)
            status, cookie, answer = self.post(out, "logout", {}, *who)
            self.assertEqual((status, cookie, answer), (200, "magpie-admin=", {"token": None}))
            self.assertEqual(self.statuses(*who), [401] * 3)
            self.assertEqual(self.statuses(who[0], None, "session"), [200] * 3)
            for n in range(3):
                self.assertEqual(self.post(n, "session", {}, who[0])[2], {"token": None})
            self.assertEqual(self.statuses(*other), [200] * 3)

    def test_wrong_passwords_count_everywhere(self):
        """Five a minute from an address, and not five on each node."""
        given = []

        def limited():
            given.append(self.post(len(given) % 3, "login", {"password": "guess"}, source="127.0.0.7")[0])
            return given[-1] == 429
        self.eventually(limited)
        self.assertLess(given.count(401), 10, given)
        for n in range(3):
            self.eventually(lambda: self.post(n, "login", {"password": "guess"}, source="127.0.0.7")[0] == 429)
            self.assertEqual(self.post(n, "login", {"password": PASSWORD}, source="127.0.0.7")[0], 429)
            self.assertEqual(self.post(n, "login", {"password": PASSWORD}, source="127.0.0.8")[0], 200)

    def test_y_another_password_ends_it(self):
        who, others = self.log_in(0), self.log_in(1)
        self.nodes[0].rewrite({"console": {"password": "another-one-9"}})
        self.nodes[0].reload()
        self.eventually(lambda: self.statuses(*who) == [401] * 3)
        self.nodes[0].rewrite({"console": {"password": PASSWORD}})
        self.nodes[0].reload()
        self.assertEqual(self.statuses(*who), [401] * 3)
        self.assertEqual(self.statuses(*others), [200] * 3)

    def test_z_the_node_that_has_it_dies(self):
        """Its sessions are neither good nor lost while it hangs, and over when it is gone."""
        who, stays = self.log_in(2), self.log_in(1)
        os.kill(self.nodes[2].process.pid, signal.SIGSTOP)
        try:
            self.assertEqual(self.post(0, "run", {"words": ["version"]}, *who)[0], 503)
            self.assertEqual(self.post(0, "logout", {}, *who)[0], 503)
            self.assertEqual(self.statuses(*stays, nodes=(0, 1)), [200] * 2)
        finally:
            os.kill(self.nodes[2].process.pid, signal.SIGCONT)
        self.eventually(lambda: self.statuses(*who) == [200] * 3, 30)
        self.nodes[2].process.kill()
        self.nodes[2].process.wait()
        self.eventually(lambda: self.statuses(*who, nodes=(0, 1)) == [401] * 2, 60)
        self.assertEqual(self.statuses(*stays, nodes=(0, 1)), [200] * 2)
