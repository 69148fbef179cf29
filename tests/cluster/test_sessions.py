"""Users who are connected to several nodes: devices that are replaced, kicks, presence, and nodes that die or hang."""

import json
import signal

from base import Test
from client import CHANNEL_MESSAGE, LOGIN, LOGOUT, PING, PRESENCE, PRESENCE_CHANGED, WATCH
from console import Console
from redis_cluster import shared
from together import start_nodes

CONFIG = {"listen": {"console": "unix:console.sock"}, "log": {"level": "info"}}


class Sessions(Test):
    """Three nodes of one cluster, which the tests share but for those that `spoil` them."""

    @classmethod
    def setUpClass(cls):
        cls.redis, cls.nodes = shared(), []
        cls.addClassCleanup(cls.redis.close)

    @classmethod
    def tearDownClass(cls):
        nodes, cls.nodes = cls.nodes, []
        for n in nodes:
            n.close()

    def setUp(self):
        super().setUp()
        if not self.nodes:
            self.nodes.extend(start_nodes(CONFIG, self.redis.addresses))
        self.server = self.nodes[0]
        for n in self.nodes:
            self.eventually(lambda: len(self.status(n)["nodes"]) == 3, 20)

    def console(self, node, command):
        c = Console(node)
        try:
            return c.ask(command)
        finally:
            c.close()

    def status(self, node):
        return json.loads(self.console(node, "json cluster status"))

    def is_open(self, client):
        client.request(PING)
        return True

    def friends(self):
        """Ada on the first node, and Bob, who may ask for her presence, on the second."""
        ada, bob = self.user("Ada", server=self.nodes[0]), self.user("Bob", server=self.nodes[1])
        self.channel(ada, bob)
        return ada, bob

    def online(self, asker, user):
        return asker.request(PRESENCE, ids=[user])["online"] == [user]

    def test_a_device_has_one_connection(self):
        """Wherever it connects: the one before is closed, and no other."""
        before = self.user("Ada", server=self.nodes[0], device="phone")
        others = [self.again(before, server=n, device="other%d" % i) for i, n in enumerate(self.nodes)]
        for i in range(1, 9):
            device = self.again(before, server=self.nodes[i * i % 3], device="phone")
            self.assertEqual(before.closing()["reason"], "replaced")
            before = device
        for c in others + [before]:
            self.assertTrue(self.is_open(c))

    def test_a_kick_reaches_all_nodes(self):
        ada = self.user("Ada", server=self.nodes[0])
        clients = [ada] + [self.again(ada, server=n) for n in self.nodes[1:] * 2]
        bob = self.user("Bob", server=self.nodes[1])
        self.console(self.nodes[2], "kick user %s enough of that" % ada.id)
        for c in clients:
            closed = c.closing()
            self.assertEqual((closed["reason"], closed["message"]), ("kicked", "enough of that"))
        self.assertTrue(self.is_open(bob))
        self.assertTrue(self.is_open(self.again(ada, server=self.nodes[1])))

    def test_logging_out_ends_tokens_everywhere(self):
        ada = self.user("Ada", server=self.nodes[0])
        second = self.again(ada, server=self.nodes[1])
        ada.send(LOGOUT)
        ada.rest()
        for n in self.nodes:
            for token in (ada.token, second.token):
                self.refused("unauthorized", self.connect(server=n), LOGIN, token=token)

    def test_presence_is_the_same_from_every_node(self):
        ada, bob = self.friends()
        self.assertEqual(bob.request(WATCH, ids=[ada.id], watch=True)["online"], [ada.id])
        second = self.again(ada, server=self.nodes[2])
        ada.close()
        self.assertTrue(self.online(bob, ada.id))
        bob.quiet(PRESENCE_CHANGED)  # she is somewhere still
        third = self.again(ada, server=self.nodes[1])  # where Bob is
        second.close()
        bob.quiet(PRESENCE_CHANGED)
        third.close()
        self.assertEqual(bob.push(PRESENCE_CHANGED), {"id": ada.id, "online": False})
        self.assertFalse(self.online(bob, ada.id))
        self.again(ada, server=self.nodes[0])
        self.assertEqual(bob.push(PRESENCE_CHANGED), {"id": ada.id, "online": True})
        self.assertTrue(self.online(bob, ada.id))

    def test_a_deleted_user_is_offline(self):
        """On all nodes, those where it was connected and the one that deletes it too; and who has its id afterwards is
        watched like the former, as by a server alone."""
        deleter = self.nodes[1]
        for i, name in enumerate(("cluster-ada", "cluster-bob")):
            watchers = [self.user("Carl%d" % n, server=node) for n, node in enumerate(self.nodes)]

            def login(node):
                self.console(deleter, "user add %s Ada" % name)
                token = self.console(deleter, "user token %s" % name).split()[-1]
                ada = self.connect(server=node)
                ada.login(token=token)
                return ada
            ada = login(self.nodes[i])
            self.again(ada, server=self.nodes[i + 1])
            self.channel(ada, *watchers)
            for w in watchers:
                self.assertEqual(w.request(WATCH, ids=[name], watch=True)["online"], [name])
            self.console(deleter, "user delete %s" % name)
            for w in watchers:
                self.assertEqual(w.push(PRESENCE_CHANGED), {"id": name, "online": False})
                self.assertFalse(self.online(w, name))
            login(self.nodes[2])
            for w in watchers:
                self.assertEqual(w.push(PRESENCE_CHANGED), {"id": name, "online": True})

    def spoil(self):
        """The next test gets others."""
        self.addCleanup(self.tearDownClass)

    def test_who_was_on_a_killed_node_is_offline(self):
        self.spoil()
        ada, bob = self.friends()
        self.again(ada, server=self.nodes[2], device="phone")
        self.assertEqual(bob.request(WATCH, ids=[ada.id], watch=True)["online"], [ada.id])
        self.nodes[0].kill()
        bob.quiet(PRESENCE_CHANGED)
        self.nodes[2].kill()
        self.assertEqual(bob.push(PRESENCE_CHANGED, 30), {"id": ada.id, "online": False})
        self.assertFalse(self.online(bob, ada.id))
        # There is nobody to take the device from.
        again = self.again(ada, server=self.nodes[1], device="phone")
        self.assertEqual(bob.push(PRESENCE_CHANGED), {"id": ada.id, "online": True})
        self.assertTrue(self.is_open(again))

    def test_buried_alive(self):
        """A node hangs for so long that it is taken for dead. What was on it meanwhile is elsewhere, or comes back."""
        self.spoil()
        ada, bob = self.friends()
        phone = self.again(ada, server=self.nodes[0], device="phone")
        carl = self.user("Carl", server=self.nodes[0], device="phone")
        room = self.channel(bob, carl)
        for user in (ada, carl):
            self.assertEqual(bob.request(WATCH, ids=[user.id], watch=True)["online"], [user.id])
        self.nodes[0].signal(signal.SIGSTOP)
        try:
            gone = [bob.push(PRESENCE_CHANGED, 40) for _ in range(2)]
            self.assertEqual({g["id"]: g["online"] for g in gone}, {ada.id: False, carl.id: False})
            newer = self.again(ada, server=self.nodes[1], device="phone")  # nobody has it that lives
        finally:
            self.nodes[0].signal(signal.SIGCONT)
        self.assertEqual(phone.closing(30)["reason"], "replaced")
        self.assertTrue(self.is_open(newer))
        self.eventually(lambda: self.online(bob, carl.id), 30)
        bob.say(room, "are you there?")
        self.assertEqual(carl.push(CHANNEL_MESSAGE, 30)["content"], "are you there?")
        self.assertTrue(self.is_open(newer))
