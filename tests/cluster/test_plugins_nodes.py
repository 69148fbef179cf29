"""Plugins on three nodes: loaded and unloaded everywhere by one order, and asking themselves on other nodes."""

from base import Test
from console import Console
from plugin_base import TEST_PLUGINS
from redis_cluster import RedisCluster
from server import Server

INVALID, NOT_FOUND = -2, -3


class Plugins(Test):
    one_process = "its nodes are its own"

    @classmethod
    def setUpClass(cls):
        cls.redis = RedisCluster()
        cls.addClassCleanup(cls.redis.close)
        cls.nodes = []
        for n in range(3):
            cls.nodes.append(Server({"log": {"level": "info"}, "listen": {"console": "unix:console.sock"},
                                     "node": n + 1, "plugins": {"path": TEST_PLUGINS, "load": {"questions": {}}}},
                                    redis=cls.redis.addresses, nodes=1, keys=cls.nodes[0].keys if n else None))
        cls.server = cls.nodes[0]

    @classmethod
    def tearDownClass(cls):
        for n in cls.nodes:
            n.close()

    def setUp(self):
        super().setUp()
        self.consoles = [Console(n) for n in self.nodes]
        for c in self.consoles:
            self.addCleanup(c.close)
        self.eventually(lambda: len(self.json(0, "status")["nodes"]) == 3, 30)

    def json(self, node, line):
        return self.consoles[node].json(line)

    def ask(self, node, to, text="hello"):
        return self.json(node, "questions ask %d %s" % (to, text))

    def test_questions(self):
        for n in range(3):
            before = [self.json(k, "questions self")["heard"] for k in range(3)]
            others = [k + 1 for k in range(3) if k != n]
            said = sorted(self.ask(n, 0), key=lambda a: a["node"])
            self.assertEqual(said, [{"node": k, "given": True, "body": "%d heard hello" % k} for k in others])
            for k in others:
                self.assertEqual(self.ask(n, k), [{"node": k, "given": True, "body": "%d heard hello" % k}])
                self.assertEqual(self.ask(n, k, "nothing"), [{"node": k, "given": True, "body": ""}])
            after = [self.json(k, "questions self")["heard"] for k in range(3)]
            self.assertEqual([a - b for a, b in zip(after, before)], [0 if k == n else 3 for k in range(3)])
            for nobody in (n + 1, 9, 70000):
                self.assertEqual(self.ask(n, nobody), {"rc": NOT_FOUND})
            mine = self.json(n, "questions self")
            self.assertEqual((mine["node"], mine["wrong"]), (n + 1, [INVALID] * 4))

    def test_orders_go_everywhere(self):
        def running(node, line="plugin list --here"):
            return [p for p in self.json(node, line) if p["state"] == "running"]

        def loaded():
            return [[p["name"] for p in running(n)] for n in range(3)]

        self.assertEqual(loaded(), [["questions"]] * 3)
        self.assertEqual([(p["node"], p["name"]) for p in running(2, "plugin list")],
                         [(n, "questions") for n in (1, 2, 3)])
        self.json(0, "plugin unload questions --here")
        self.assertEqual(loaded(), [[], ["questions"], ["questions"]])
        # Who has no such plugin has nobody to answer.
        self.assertEqual(self.ask(1, 1), [{"node": 1, "given": False, "body": ""}])
        self.json(0, "plugin load questions --here")
        self.json(1, "plugin unload questions")
        self.assertEqual(loaded(), [[]] * 3)
        self.json(2, "plugin load questions")
        self.assertEqual(loaded(), [["questions"]] * 3)
