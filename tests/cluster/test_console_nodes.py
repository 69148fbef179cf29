"""One console for three nodes, and scripts on all of them: lists, sums, users, connections, why, trace, changes."""

import os
import signal

from client import CHANNEL_MESSAGE, CLOSING, EDIT, RECALL, USER_MESSAGE
from console import Console, Refused
from three_nodes import ThreeNodes

SCRIPT = """
local magpie = require "magpie"
magpie.command("count", "adds one", function() return magpie.store.incr("n") end)
magpie.command("put", "keeps a text for 2 s", function(words) return magpie.store.set("x", words[1], 2) end)
magpie.command("look", "what is kept", function() return {n = magpie.store.get("n"), x = magpie.store.get("x")} end)
magpie.every(100, function() magpie.log("info", "beat", {}) end)
magpie.every(100, function() magpie.log("info", "each", {}) end, {each_shard = true})
"""


class Nodes(ThreeNodes):
    settings = {"threads": 2}
    script = SCRIPT

    def setUp(self):
        super().setUp()
        self.consoles = [Console(n) for n in self.nodes]
        for c in self.consoles:
            self.addCleanup(c.close)
        self.eventually(lambda: len(self.json(0, "status")["nodes"]) == 3, 30)

    def json(self, node, command):
        return self.consoles[node].json(command)

    def rate(self, node):
        return self.json(node, "show config rate.user")["rate.user"]

    def refused(self, node, command):
        try:
            self.json(node, command)
        except Refused as r:
            return r
        return None

    def on(self, node, name, **login):
        return self.user(name, server=self.nodes[node], **login)

    def test_lists_and_sums(self):
        people = [self.on(n, name) for n, name in enumerate(("Ada", "Bob", "Cid"))]
        ids = [p.id for p in people]
        for n in range(3):
            rows = self.json(n, "list users")
            self.assertEqual([r for r in rows if "error" in r], [])
            rows = [r for r in rows if r["user"] in ids]
            self.assertEqual({r["user"]: r["node"] for r in rows}, dict(zip(ids, (1, 2, 3))))
            rows = [r for r in self.json(n, "list connections") if r["user"] in ids]
            self.assertEqual([r["connection"].split("/")[0] for r in rows], [str(r["node"]) for r in rows])
            self.assertEqual(len(rows), 3)
            self.assertEqual(len([r for r in self.json(n, "list users --here") if r["user"] in ids]), 1)
            s = self.json(n, "status")
            self.assertEqual(s["connections"], sum(row["connections"] for row in s["nodes"]))
            self.assertNotIn("unanswered", s)
        self.assertEqual(len(self.json(1, "list users limit 2")), 2)
        self.assertEqual(len(self.json(1, "list users limit 1 skip 2")), 1)
        nodes = self.json(2, "cluster status")["nodes"]
        self.assertEqual(sum(n["swept"] for n in nodes), 1024)
        self.assertEqual([n["leader"] for n in nodes].count(True), 1)
        self.assertEqual({n["sees"] for n in nodes}, {"good"})
        figures = {(m["name"], m["labels"]): m["value"] for m in self.json(0, "show metrics")}
        self.assertEqual(figures["magpie_cluster_nodes", ""], 3)
        self.assertEqual(figures["magpie_cluster_partitions_swept", ""], 1024)
        self.assertGreaterEqual(figures["magpie_connections", ""], 3)

    def test_a_user_on_two_nodes(self):
        a = self.on(0, "Ada")
        other = self.again(a, server=self.nodes[1])
        shown = self.json(2, "show user " + a.id)
        self.assertTrue(shown["online"])
        handles = sorted(c["connection"] for c in shown["connections"])
        self.assertEqual([h.split("/")[0] for h in handles], ["1", "2"])
        self.assertEqual(self.json(2, "show connection " + handles[1])["user"], a.id)
        self.assertEqual(self.json(2, "kick connection %s go" % handles[1])["connections"], 1)
        self.assertEqual(other.push(CLOSING)["message"], "go")
        self.eventually(lambda: len(self.json(2, "show user " + a.id)["connections"]) == 1)
        self.eventually(lambda: self.refused(2, "show connection " + handles[1]))
        self.assertEqual(self.json(2, "kick user " + a.id)["connections"], 1)

    def test_why(self):
        a, b = self.on(0, "Ada"), self.on(1, "Bob")
        room = self.channel(a, b)
        said = a.say(room, "hello")
        b.push(CHANNEL_MESSAGE)
        told = a.tell(b, "private")
        b.push(USER_MESSAGE)
        for n in range(3):
            seen = self.json(n, "why %s %s" % (b.id, said["id"]))
            self.assertEqual((seen["channel"], seen["seq"], seen["queued"]), (room, said["seq"], True), seen)
            self.assertGreater(seen["bytes"], len("hello"), seen)
            seen = self.json(n, "why %s %s" % (b.id, told["id"]))
            self.assertEqual((seen["conversation"], seen["queued"], seen["inbox"]), ("private", True, "waiting"), seen)

    def test_why_of_changes(self):
        """Whichever node changed a message, each one tells of it."""
        a, b = self.on(0, "Ada"), self.on(1, "Bob")
        twin = self.again(a, server=self.nodes[2])
        room = self.channel(a, b)
        said, told = a.say(room, "teh"), a.tell(b, "teh")
        for where, sent in ({"channel": room}, said), ({"peerId": b.id}, told):
            for changed, action in (("edited", EDIT), ("recalled", RECALL)):
                before = [self.json(n, "why %s %s" % (b.id, sent["id"])) for n in range(3)]
                self.assertEqual([w[changed] for w in before], [None] * 3)
                twin.request(action, seq=sent["seq"], **where, **({"content": "the"} if action == EDIT else {}))
                for n in range(3):
                    seen = self.json(n, "why %s %s" % (b.id, sent["id"]))
                    self.assertTrue(seen[changed], (n, seen))
                    self.assertNotIn("unanswered", seen)

    def test_why_of_slices(self):
        """What a merged slice left out is told by every node."""
        self.json(0, "set push.max 2")
        try:
            a, b = self.on(0, "Ada"), self.on(1, "Bob", accept=["merge"])
            room = self.channel(a)
            b.subscribe(room, push="merged")
            sent = [a.say(room, "m%d" % i) for i in range(6)]
            first = b.push(104)["messages"][0]["seq"]
            left = [m for m in sent if m["seq"] < first]
            for n in range(3):
                for m in left[:2]:
                    seen = self.json(n, "why %s %s" % (b.id, m["id"]))
                    self.assertIn("left out of its time slice", seen["verdict"], (n, seen))
                seen = self.json(n, "why %s %s" % (b.id, sent[-1]["id"]))
                self.assertTrue(seen["slice"]["merged"] and seen["queued"], (n, seen))
        finally:
            self.json(0, "set push.max 20")

    def test_ban_of_an_address(self):
        """The answer counts the connections of all nodes; whoever is asked."""
        for n in range(3):
            people = [self.on(i % 3, "u%d" % i) for i in range(5)]
            there = sum(row["connections"] for row in self.json(0, "status")["nodes"])
            try:
                self.assertEqual(self.json(n, "ban ip 127.0.0.0/8"), {"connections": there})
                for p in people:
                    self.assertEqual(p.closing()["reason"], "kicked")
            finally:
                self.json((n + 1) % 3, "unban ip 127.0.0.0/8")
            self.eventually(lambda: self.json(0, "status")["connections"] == 0)

    def test_bans_that_have_ended_go(self):
        """Not only from what each node knows: the notes in Redis go too."""
        a = self.on(0, "Ada")
        self.json(1, "mute user %s 1" % a.id)
        self.json(1, "mute user %s tea 1000" % a.id)
        self.assertEqual(len(self.kept(a.id)), 2)
        self.eventually(lambda: len(self.kept(a.id)) == 1, 30)
        self.assertIn("tea", self.kept(a.id)[0])
        self.json(2, "unmute user %s tea" % a.id)
        self.assertEqual(self.kept(a.id), [])

    def kept(self, text):
        """The keys of the notes in Redis with that text."""
        kept = self.redis.master_of(0).call("HKEYS", self.nodes[0].keys + "V{3560}")
        return [k for k in (k.decode("latin-1") for k in kept) if text in k]

    def test_who_does_not_say_so_is_named(self):
        """Orders that a node which hangs does not carry out: it is named, whoever gives them."""
        a, b = self.on(2, "Ada"), self.on(2, "Bob")
        room = self.channel(a, b)
        os.kill(self.nodes[2].process.pid, signal.SIGSTOP)
        try:
            refused = self.refused(0, "kick user " + a.id)
            self.assertIn("node 3 has not said that it is done there", str(refused))
            self.assertEqual(self.json(1, "announce tea is ready"), {"unanswered": [3]})
            self.assertEqual(self.json(1, 'channel "%s" kick %s' % (room, b.id)), {"members": 1, "unanswered": [3]})
        finally:
            os.kill(self.nodes[2].process.pid, signal.SIGCONT)
        self.eventually(lambda: "unanswered" not in self.json(0, "status"), 30)
        self.assertIsNone(self.json(1, "announce tea is gone"))
        os.kill(self.nodes[2].process.pid, signal.SIGSTOP)
        try:
            refused = self.refused(1, "ban ip 192.0.2.0/24")
            self.assertIn("in force here; node 3 has not said so", str(refused))
        finally:
            os.kill(self.nodes[2].process.pid, signal.SIGCONT)
        self.eventually(lambda: "unanswered" not in self.json(0, "status"), 30)
        self.assertEqual(self.json(1, "ban ip 192.0.2.0/24"), {"connections": 0})
        self.json(0, "unban ip 192.0.2.0/24")

    def test_trace(self):
        a = self.on(1, "Ada")
        self.assertIsNone(self.json(0, "trace user %s on" % a.id))
        self.channel(a)
        self.eventually(lambda: self.json(0, "version") and self.consoles[0].events)
        self.eventually(lambda: self.json(0, "version") and any('"in"' in e for e in self.consoles[0].events))
        handle = [r["connection"] for r in self.json(0, "list connections") if r["user"] == a.id][0]
        self.assertIn(handle, self.consoles[0].events[0])
        self.json(0, "trace user %s off" % a.id)
        self.assertIsNone(self.json(2, "trace connection %s on" % handle))
        self.channel(a)
        self.eventually(lambda: self.json(2, "version") and any('"in"' in e for e in self.consoles[2].events))

    def test_changes(self):
        self.json(0, "set rate.user 77")
        for n in range(3):
            self.assertEqual(self.rate(n), 77)
        self.json(1, "set rate.user 78 --here")
        self.assertEqual([self.rate(n) for n in range(3)], [77, 78, 77])
        with self.assertRaises(Refused):
            self.json(0, "set rate.user many")
        self.json(2, "config reload")
        self.assertEqual(len({self.rate(n) for n in range(3)}), 1)

    def test_scripts(self):
        before = self.json(0, "look").get("n", 0) if self.json(0, "look") else 0
        for i in range(30):
            self.json(i % 3, "count")
        for n in range(3):
            self.eventually(lambda: self.json(n, "look")["n"] == before + 30)
        self.json(1, "put hello")
        for n in range(3):
            self.eventually(lambda: self.json(n, "look").get("x") == "hello")
        for n in range(3):
            self.eventually(lambda: "x" not in self.json(n, "look"))
        self.eventually(lambda: all("event=each" in n.log() for n in self.nodes))
        leader = [n["node"] for n in self.json(0, "cluster status")["nodes"] if n["leader"]][0]
        self.eventually(lambda: "event=beat" in self.nodes[leader - 1].log())
        self.assertEqual(["event=beat" in n.log() for n in self.nodes].count(True), 1)

    def test_z_a_node_that_hangs_is_named(self):
        """The last one: that node is taken for dead."""
        os.kill(self.nodes[2].process.pid, signal.SIGSTOP)
        try:
            s = self.json(0, "status")
            self.assertEqual(s["unanswered"], [3])
            rows = self.json(1, "list users")
            self.assertEqual(rows[0], {"node": 3, "error": "it did not answer in time"})
            with self.assertRaises(Refused) as refused:
                self.json(0, "log info")
            self.assertIn("node 3", str(refused.exception))
        finally:
            os.kill(self.nodes[2].process.pid, signal.SIGCONT)
