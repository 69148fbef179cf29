"""A node with PostgreSQL beside its Redis Cluster: private messages of any age, while PostgreSQL is killed, hangs,
comes back, or was never there."""

import threading
import time

from base import Test
from client import EDIT, HISTORY, INBOX, RECALL
from console import Console
from postgres import Postgres
from redis_cluster import RedisCluster
from server import Server

HOT = 5


class Archive(Test):
    @classmethod
    def setUpClass(cls):
        cls.redis = RedisCluster()
        cls.pg = Postgres()
        cls.server = Server(cls.settings(cls.pg.url), redis=cls.redis.addresses)
        cls.server.wait_log("archive.connected", 60)  # its tables are there

    @classmethod
    def settings(cls, url):
        return {"listen": {"console": "unix:console.sock"}, "limits": {"inbox": 0},
                "cluster": {"patience": 3, "archive": {"url": url, "hot": HOT, "hot_age": 1}}}

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.pg.close()
        cls.redis.close()

    def archive(self):
        c = Console(self.server)
        try:
            return c.json("cluster status")["archive"]
        finally:
            c.close()

    def kept(self, pair):
        """Rows of a conversation in PostgreSQL."""
        return int(self.pg.query("select count(*) from message where conv = '\\x%s'" % pair.hex()))

    @staticmethod
    def pair(a, b):
        return b"p" + b"\0".join(sorted((a.id.encode(), b.id.encode())))

    def hot(self, pair):
        """Rows of a conversation in Redis: all masters are asked, for one has it."""
        n = 0
        for m in self.redis.masters():
            for key in m.call("KEYS", b"*m{*}:" + pair.replace(b"\0", b"?")):
                n += m.call("HLEN", key) - 1
        return n

    def cold(self, a, b, n):
        """n messages from a to b, of which only the newest are in Redis."""
        for i in range(1, n + 1):
            self.assertEqual(a.tell(b, "m%d" % i)["seq"], i)
        pair = self.pair(a, b)
        self.eventually(lambda: self.kept(pair) == n, 60)
        self.eventually(lambda: self.hot(pair) == HOT, 60)

    def texts(self, a, b, **how):
        return [m["content"] if not m.get("recalled") else None for m in a.history(peer=b, **how)["messages"]]

    def all_texts(self, a, b):
        out, before = [], {}
        while True:
            page = a.history(peer=b, limit=40, **before)
            out = [m["content"] if not m.get("recalled") else None for m in page["messages"]] + out
            if not page["more"]:
                return out
            before = {"before": page["messages"][0]["seq"]}

    def test_what_is_no_text(self):
        """Somebody has written to the table: clients are sent what is one, and no torn frame."""
        a, b = self.user("Ann"), self.user("Bob")
        self.cold(a, b, 12)
        where = " where conv = '\\x%s' and seq = " % self.pair(a, b).hex()
        self.pg.query("update message set content = '\\x6f6bff00'" + where + "2")
        self.pg.query("update message set name = '\\xc3'" + where + "3")
        messages = b.history(peer=a, after=0, limit=4)["messages"]
        self.assertEqual([m["content"] for m in messages], ["m1", "ok", "", "m4"])
        self.assertEqual([m["sender"]["name"] for m in messages], ["Ann", "Ann", "", "Ann"])
        self.assertEqual([m["content"] for m in b.request(INBOX, limit=4)["messages"]], ["m1", "ok", "", "m4"])

    def test_of_any_age(self):
        a, b = self.user("Ann"), self.user("Bob")
        self.cold(a, b, 150)
        texts = ["m%d" % i for i in range(1, 151)]
        self.assertEqual(self.all_texts(a, b), texts)
        self.assertEqual(self.texts(b, a, after=60, limit=10), texts[60:70])
        a.request(EDIT, peerId=b.id, seq=40, content="forty")
        a.request(RECALL, peerId=b.id, seq=41)
        self.assertEqual(b.error(RECALL, peerId=a.id, seq=42).code, "forbidden")
        texts[39], texts[40] = "forty", None
        self.assertEqual(self.all_texts(b, a), texts)
        inbox = b.request(INBOX, limit=100)["messages"]
        self.assertEqual([m["content"] if not m.get("recalled") else None for m in inbox], texts[:100])
        self.server.restart()
        a, b = self.again(a), self.again(b)
        self.assertEqual(self.all_texts(b, a), texts)

    def test_killed_in_the_middle_and_back(self):
        a, b = self.user("Ann"), self.user("Bob")
        self.cold(a, b, 60)
        stop, told = threading.Event(), []

        def talk():
            c = self.again(a)
            while not stop.is_set():
                told.append(c.tell(b, "more %d" % len(told))["seq"])
                time.sleep(0.005)
        t = threading.Thread(target=talk)
        t.start()
        try:
            for _ in range(2):
                time.sleep(1.5)
                self.pg.kill()
                time.sleep(1)
                n = len(told)
                self.assertEqual(self.code(b, a), "unavailable")
                self.eventually(lambda: len(told) > n + 20, 20)  # messages flow
                self.eventually(lambda: not self.archive()["connected"], 20)
                self.eventually(lambda: self.archive()["why"], 10)
                self.pg.start()
                self.eventually(lambda: self.archive()["connected"], 20)
        finally:
            stop.set()
            t.join()
        self.eventually(lambda: self.kept(self.pair(a, b)) == 60 + len(told), 60)
        self.assertEqual(told, list(range(61, 61 + len(told))))
        expected = ["m%d" % i for i in range(1, 61)] + ["more %d" % i for i in range(len(told))]
        self.eventually(lambda: self.hot(self.pair(a, b)) == HOT, 60)
        self.assertEqual(self.all_texts(b, a), expected)
        self.eventually(lambda: self.archive()["why"] == "", 30)

    def test_an_idle_node_tells_of_it(self):
        for _ in range(2):
            self.pg.kill()
            self.eventually(lambda: not self.archive()["connected"], 10)
            self.eventually(lambda: self.archive()["why"], 10)
            self.pg.start()
            self.eventually(lambda: self.archive()["connected"], 20)

    def test_hangs(self):
        a, b = self.user("Ann"), self.user("Bob")
        self.cold(a, b, 30)
        self.pg.stop()
        try:
            began = time.monotonic()
            self.assertEqual(self.code(b, a), "unavailable")
            self.assertLess(time.monotonic() - began, 30)
            self.assertEqual(a.tell(b, "on")["seq"], 31)
            self.assertEqual(self.texts(b, a, limit=3), ["m29", "m30", "on"])
            self.assertEqual(a.error(RECALL, peerId=b.id, seq=2).code, "unavailable")
        finally:
            self.pg.cont()
        self.eventually(lambda: self.code(b, a) is None, 60)
        self.eventually(lambda: self.kept(self.pair(a, b)) == 31, 60)

    def code(self, b, a):
        """What asking for an old page is refused with."""
        answer = b.ask(HISTORY, peerId=a.id, before=9, limit=5)
        return answer["error"]["code"] if "error" in answer else None

    def test_node_killed(self):
        a, b = self.user("Ann"), self.user("Bob")
        for i in range(50):
            a.tell(b, "m%d" % (i + 1))
        self.server.kill()
        self.server.start()
        self.eventually(lambda: self.kept(self.pair(a, b)) == 50, 60)

    def test_one_with_a_wrong_password(self):
        url = self.pg.url.replace(self.pg.password, "wrong")
        with Server(self.settings(url), redis=self.redis.addresses) as server:
            server.wait_log("archive.away", 20)
            a, b = self.user("Ann", server=server), self.user("Bob", server=server)
            self.assertEqual(a.tell(b, "flows")["seq"], 1)
            self.assertEqual(self.texts(b, a), ["flows"])
            lines = [l for l in server.whole_log().splitlines() if "archive.away" in l]
            self.assertEqual(len(lines), 1)
            self.assertIn("password authentication failed", lines[0])
            self.assertNotIn("wrong", lines[0].replace("wrong password", ""))
