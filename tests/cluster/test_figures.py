"""What a node tells of its cluster: cluster status, metrics, /ready, and the log, when masters and replicas go."""

import http.client
import json
import os
import re
import shutil
import subprocess
import urllib.request

import scrape
import test_etc
from base import Test
from console import Console, Refused
from redis_cluster import RedisCluster
from server import Server

CONFIG = {"listen": {"console": "unix:console.sock", "metrics": "127.0.0.1:0"}, "plugins": {"load": {"metrics": {}}},
          "cluster": {"isolated": 5}}


class Figures(Test):
    @classmethod
    def setUpClass(cls):
        cls.redis = RedisCluster()
        cls.server = Server(CONFIG, redis=cls.redis.addresses)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.redis.close()

    def status(self):
        c = Console(self.server)
        try:
            return c.json("cluster status")
        finally:
            c.close()

    def figures(self):
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.server.metrics, timeout=30) as answer:
            return scrape.parse(answer.read().decode())

    def ready(self):
        c = http.client.HTTPConnection("127.0.0.1", self.server.websocket, timeout=30)
        c.request("GET", "/ready")
        r = c.getresponse()
        r.read()
        c.close()
        return r.status

    def good(self):
        s = self.status()
        return s["state"] == "good" and len(s["masters"]) == 3 and all(m["inStep"] == 2 for m in s["masters"])

    def setUp(self):
        super().setUp()
        self.redis.healthy()
        self.eventually(self.good, 30)

    def test_all_is_well(self):
        s = self.status()
        self.assertEqual({m["address"] for m in s["masters"]}, {m.address for m in self.redis.masters()})
        self.assertEqual((sum(m["partitions"] for m in s["masters"]), s["swept"], s["unserved"]), (1024, 1024, 0))
        self.assertEqual([(n["state"], n["this"]) for n in s["nodes"]], [("up", True)])
        for m in s["masters"]:
            self.assertTrue(m["reachable"])
            self.assertEqual((m["replicas"], m["fewCopies"]), (2, False))
            self.assertGreater(m["memory"], 1 << 20)
            self.assertEqual(m["maxmemory"], 2 << 30)
        f = self.figures()
        self.assertEqual((f["magpie_cluster_masters"], f["magpie_cluster_nodes"], f["magpie_cluster_isolated"],
                          f["magpie_cluster_copies_missing"], f["magpie_cluster_partitions_swept"]), (3, 1, 0, 0, 1024))
        self.assertGreaterEqual(f["magpie_cluster_group_ms_count"], f["magpie_cluster_wait_ms_count"] > 0)
        self.assertGreaterEqual(f["magpie_cluster_group_ms_sum"], f["magpie_cluster_wait_ms_sum"])
        self.assertEqual(self.ready(), 200)

    def exists(self, expression, where):
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.server.metrics, timeout=30) as answer:
            return test_etc.Figures.exists(self, expression, scrape.families(answer.read().decode()), where)

    def test_alarms(self):
        text = test_etc.read("etc", "prometheus", "cluster.yml")
        rules = dict(re.findall(r"- alert: (\w+)\n +expr: (.+)\n", text))
        self.assertEqual(text.count("- alert:"), len(rules))
        for name, expression in rules.items():
            self.exists(expression, name)
        part = test_etc.read("docs", "cluster.md").split("## Alarms")[1].split("\n## ")[0]
        self.assertEqual(set(re.findall(r"`(Magpie\w+)`", part)), set(rules))
        self.assertFalse(set(rules) & set(test_etc.alerts()), "names that those of any server have")
        tool = shutil.which("promtool")
        if tool:
            r = subprocess.run([tool, "check", "rules", os.path.join(test_etc.ETC, "prometheus", "cluster.yml")],
                               capture_output=True, text=True, timeout=60)
            self.assertEqual(r.returncode, 0, r.stdout + r.stderr)

    def test_dashboard(self):
        panels = json.loads(test_etc.read("etc", "grafana", "magpie-cluster.json"))["panels"]
        self.assertEqual(len({p["title"] for p in panels}), len(panels))
        self.assertEqual(len({(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}), len(panels))
        for p in panels:
            for t in p["targets"]:
                labels = self.exists(t["expr"], p["title"])
                self.assertEqual(set(re.findall(r"\{\{(\w+)\}\}", t["legendFormat"])) - labels - {"instance"}, set(),
                                 p["title"])

    def test_groups_are_counted(self):
        told = self.figures()["magpie_cluster_news_out_total"]
        before = self.figures()["magpie_cluster_group_ms_count"]
        a = self.user("Ada")
        for n in range(20):
            a.tell(a, "m")
        self.assertGreaterEqual(self.figures()["magpie_cluster_group_ms_count"], before + 20)
        self.assertEqual(self.figures()["magpie_cluster_news_out_total"], told)  # the only node has nobody to tell

    def test_replicas_are_lost(self):
        master = self.redis.master_of(0)
        replicas = self.redis.replicas_of(master)
        for n in replicas:
            n.kill()
        try:
            def short():
                m = [m for m in self.status()["masters"] if m["address"] == master.address][0]
                return m["replicas"] == 0 and m["inStep"] == 0 and m["fewCopies"]
            self.eventually(short, 30)
            self.assertEqual(self.status()["state"], "short of copies")
            f = self.figures()
            self.assertEqual(f["magpie_cluster_copies_missing"], 1)
            self.assertEqual([f['magpie_cluster_replicas_in_step{master="%s"}' % m.address] == 0
                              for m in self.redis.masters()], [m is master for m in self.redis.masters()])
            self.server.wait_log("cluster.short_of_copies", 20)
            self.assertEqual(self.ready(), 200)  # the others serve
        finally:
            for n in replicas:
                n.start()
        self.server.wait_log("cluster.copies_back", 30)
        self.eventually(self.good, 30)

    def test_a_master_is_lost_for_long(self):
        """Nobody is elected, for its replicas are gone as well."""
        master = self.redis.master_of(0)
        gone = self.redis.replicas_of(master) + [master]
        for n in gone:
            n.kill()
        try:
            self.server.wait_log("cluster.master_lost", 20)
            self.eventually(lambda: self.ready() == 503, 30)
            self.assertEqual(self.status()["state"], "isolated")
            f = self.figures()
            self.assertEqual(f["magpie_cluster_isolated"], 1)
            self.assertGreaterEqual(f["magpie_cluster_away_seconds"], 5)
        finally:
            master.start()
            for n in gone[:-1]:
                n.start()
        self.redis.healthy()
        self.eventually(lambda: self.ready() == 200, 30)
        self.server.wait_log("cluster.master_found", 30)

    def test_nearly_full(self):
        master = self.redis.master_of(0)
        before = master.config("maxmemory")
        master.config("maxmemory", int(int(master.info("memory")["used_memory"]) / 0.9))
        try:
            self.server.wait_log("cluster.nearly_full", 20)
        finally:
            master.config("maxmemory", before)

    def test_storage_commands(self):
        c = Console(self.server)
        for command in ("storage flush", "storage compact", "storage checkpoint x"):
            with self.assertRaises(Refused) as refused:
                c.ask(command)
            self.assertIn("for a server alone; magpied --export makes a backup", str(refused.exception))
        c.close()


class Alone(Test):
    config = {"listen": {"console": "unix:console.sock", "metrics": "127.0.0.1:0"},
              "plugins": {"load": {"metrics": {}}}}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.config, redis="")

    def test_it_has_no_cluster(self):
        c = Console(self.server)
        with self.assertRaises(Refused) as refused:
            c.ask("cluster status")
        self.assertIn("stands alone", str(refused.exception))
        c.close()
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.server.metrics, timeout=30) as answer:
            self.assertNotIn("magpie_cluster", answer.read().decode())
