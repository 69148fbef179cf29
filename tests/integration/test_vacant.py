"""Channels go when nobody is in them and nothing that was said is left; and nobody makes too many at once."""

import os
import time

from base import Test, embedded, smoke, variants
from client import HISTORY, MEMBERS, SEND_CHANNEL, SUBSCRIBE, UNSUBSCRIBE
from plugin_base import Console
from server import CLUSTER, NODES, PATIENCE


def tables(server):
    """Bytes of the database's tables, after a compaction."""
    console = Console(server)
    try:
        console("storage compact")
    finally:
        console.close()
    folder = os.path.join(server.folder, "data", "db")
    return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder) if name.endswith(".sst"))


def halves(server):
    """How many second halves of joins, leaves and messages a cluster does not know to be done."""
    from redis_cluster import everywhere
    return sum(r.call("HLEN", key) for r, key in everywhere(server.redis, server.keys + "o{"))


@variants(("tcp", 1), ("text", 2))
class Vacant(Test):
    config = {"limits": {"channels": 10, "guest": 2}, "tiers": {"small": {"ttl": 2}},
              "listen": {"console": "127.0.0.1:0"}}

    def listed(self, all=""):
        console = Console(self.server)
        try:
            return sorted(c["channel"] for c in console("list channels " + all))
        finally:
            console.close()

    def full(self, client):
        if client.ask(SUBSCRIBE, name="one more").get("error", {}).get("code") == "quota":
            return True
        if CLUSTER:
            client.request(UNSUBSCRIBE, name="one more")
        return False

    def is_full(self, client, why=None):
        """The count of channels is some seconds old in a cluster."""
        if CLUSTER:
            self.eventually(lambda: self.full(client), 20)
        else:
            self.assertTrue(self.full(client), why)

    def make(self, client, name):
        """Subscribes to what may be a new channel."""
        answer = client.ask(SUBSCRIBE, name=name)
        end = time.monotonic() + 20 * PATIENCE
        while CLUSTER and answer.get("error", {}).get("code") == "quota" and time.monotonic() < end:
            time.sleep(0.1)
            answer = client.ask(SUBSCRIBE, name=name)
        self.assertNotIn("error", answer)
        return answer

    def setUp(self):
        super().setUp()
        if CLUSTER:  # what the test before has left is counted no more
            a = self.user()
            for n in range(10):
                self.make(a, "before %d" % n)
            for n in range(10):
                a.request(UNSUBSCRIBE, name="before %d" % n)

    @smoke
    def test_as_many_as_allowed_come_and_go(self):
        a, b = self.users("Ada", "Bob")
        for n in range(300):
            a.subscribe("room %d" % n)
            a.request(UNSUBSCRIBE, name="room %d" % n)
            self.refused("not_found", a, UNSUBSCRIBE, name="room %d" % n)
        names = ["left %d" % n for n in range(10)]
        for name in names:
            self.make(a, name)
        self.is_full(b)
        self.assertEqual(self.listed(), names)
        for name in names[1:]:
            a.request(UNSUBSCRIBE, name=name)
        self.assertEqual(self.listed(), names[:1])
        for n in range(9):
            self.make(b, "mine %d" % n)
        self.is_full(b)
        for n in range(9):
            b.request(UNSUBSCRIBE, name="mine %d" % n)
        a.request(UNSUBSCRIBE, name=names[0])
        self.assertEqual(self.listed(), [])
        # What is gone knows nobody, and is not there for anybody.
        self.refused("not_found", a, HISTORY, channel=names[0])
        self.refused("not_found", a, MEMBERS, name=names[0])
        self.refused("not_found", a, SEND_CHANNEL, channel=names[0], content="x")
        self.assertEqual(a.request(10)["conversations"], [])

    def test_what_was_said_keeps_it_for_so_long(self):
        a, b = self.users("Ada", "Bob")
        name = "kept for so long"
        if NODES > 1:  # guests do not last for as long as several take to start
            self.again(a), self.again(b)
        self.make(a, name)
        last = ""
        for life in range(3):
            answer = self.make(a, name) if life else a.history(name)
            self.assertEqual(answer["first"], 2 * life + 1 if life else 0)
            for n in range(2):
                sent = a.say(name, "x")
                self.assertEqual(sent["seq"], 2 * life + n + 1, "numbers go on")
                self.assertGreater(sent["id"], last)
                last = sent["id"]
            a.request(UNSUBSCRIBE, name=name)
            answer = b.subscribe(name)
            self.assertEqual((answer["members"], answer["seq"], answer["first"]), (1, 2 * life + 2, 2 * life + 1))
            self.assertEqual(len(b.history(name)["messages"]), 2)
            b.request(UNSUBSCRIBE, name=name)
            if life == 1:  # over a restart too
                self.server.restart()
                tokens = a.token, b.token
                a, b = self.connect(), self.connect()
                a.login(token=tokens[0])
                b.login(token=tokens[1])
            # All ten can be made again once it is gone.
            others = ["other %d.%d" % (life, n) for n in range(10)]

            def room():
                return all("error" not in b.ask(SUBSCRIBE, name=o) for o in others)

            if NODES > 1:  # each counts for itself, some seconds late, so that ten others are no sign that it is gone
                self.eventually(lambda: name not in self.listed("all"), 30, every=0.1)
            self.eventually(room, every=0.1)
            for o in others:
                b.request(UNSUBSCRIBE, name=o)
        answer = self.make(b, name)
        self.assertEqual((answer["seq"], answer["first"]), (6, 7))
        b.request(UNSUBSCRIBE, name=name)

    def test_what_guests_made_goes_with_them(self):
        b = self.user("Bob")
        self.again(b)
        for end in ("close", "restart", "kill"):
            a = self.user("Guest")
            for n in range(10):
                self.make(a, "of a guest %d" % n)
            self.is_full(b)
            if end == "close":
                a.close()
            else:
                token = b.token
                self.server.restart() if end == "restart" else (self.server.kill(), self.server.start())
                b = self.connect()
                b.login(token=token)
                if NODES == 1:  # several take longer to start than guests last
                    self.is_full(b, "the number of channels is kept")
            self.eventually(lambda: not self.full(b), timeout=30, every=0.2)
            if not CLUSTER:  # where full() has left it
                b.request(UNSUBSCRIBE, name="one more")
            self.eventually(lambda: self.listed() == [], timeout=30, every=0.2)
            for n in range(10):
                self.make(b, "after %d" % n)
            for n in range(10):
                b.request(UNSUBSCRIBE, name="after %d" % n)

    def agrees(self, clients):
        """What each says that it is a member of is what the channels say."""
        members = {}
        for c in clients:
            for v in c.request(10)["conversations"]:
                members.setdefault(v["channel"], set()).add(c.id)
        for name, ids in members.items():
            c = next(c for c in clients if c.id in ids)
            answer = c.ask(MEMBERS, name=name)
            if "error" in answer or {m["id"] for m in answer["members"]} != ids:
                return False
        return True

    def test_killed_half_way(self):
        """Many come and go while the server is killed: what is there afterwards is what its members say, and no
        more."""
        for round in range(4):
            users = self.users(*["U%d" % n for n in range(6)])
            if CLUSTER:  # where they have to last for longer than guests do
                for u in users:
                    self.again(u)
            seqs = []
            for u in users:
                requests = []
                for n in range(40):
                    name = "busy %d" % (n % 5)
                    requests += [(SUBSCRIBE, {"name": name}), (UNSUBSCRIBE, {"name": name})]
                u.send_all(requests + [(SUBSCRIBE, {"name": "kept"})])
                seqs.append(u)
            time.sleep(0.02 * round)
            self.server.kill()
            self.server.start()
            if CLUSTER:  # where half a join is made whole by the sweep, after three seconds
                self.eventually(lambda: not halves(self.server), 20)
            again = []
            for u in users:
                c = self.connect()
                c.login(token=u.token)
                again.append(c)
            self.assertTrue(self.agrees(again))
            for c in again:
                for v in c.request(10)["conversations"]:
                    c.request(UNSUBSCRIBE, name=v["channel"])
            b = self.user("Bob")
            names = ["whole %d" % n for n in range(10)]
            for name in names:
                self.make(b, name)
            self.is_full(b, "the count is right: ten and no more")
            for name in names:
                b.request(UNSUBSCRIBE, name=name)


class CreateNone(Test):
    """Where nobody may make channels, none goes: nobody could bring it back."""

    config = {"storage": {"sync_every": 0.05}}

    def test_it_stays(self):
        a = self.user()
        a.subscribe("lobby")
        for create, code in (("none", None), ("any", "not_found")):
            self.server.rewrite({"channels": {"create": create}})
            self.server.reload()
            a.request(UNSUBSCRIBE, name="lobby")
            self.assertEqual(a.ask(UNSUBSCRIBE, name="lobby").get("error", {}).get("code"), code)
            if create == "none":
                self.assertEqual(a.subscribe("lobby")["members"], 1)


class Making(Test):
    config = {"rate": {"user": 5}}

    def test_too_many_at_once(self):
        a, b = self.users("Ada", "Bob")
        began = time.monotonic()
        answers = [a.ask(SUBSCRIBE, name="room %d" % n) for n in range(100)]
        took = time.monotonic() - began
        good = [x for x in answers if "error" not in x]
        self.assertGreaterEqual(len(good), 50)
        self.assertLessEqual(len(good), 51 + took * 5)
        self.assertTrue(all("error" not in x for x in answers[:50]))
        for x in answers:
            if "error" in x:
                self.assertEqual(x["error"]["code"], "rate_limited")
                self.assertTrue(0 < x["error"]["retryAfter"] <= 1000)
        # Other users, and channels that are there, are not concerned.
        b.subscribe("room of Bob")
        a.subscribe("room of Bob")
        # It can be made as soon as the answer says.
        answer = a.ask(SUBSCRIBE, name="later")
        while "error" in answer:
            time.sleep(answer["error"]["retryAfter"] / 1000)
            answer = a.ask(SUBSCRIBE, name="later")


@embedded("tables on the disk")
class Churn(Test):
    config = {"listen": {"console": "127.0.0.1:0"}}

    def test_it_leaves_nothing_on_the_disk(self):
        a = self.user()

        def churn(rounds):
            for n in range(rounds):
                names = ["churn %d %d %s" % (n, k, "y" * 40) for k in range(20)]
                requests = [(SUBSCRIBE, {"name": x}) for x in names] + [(UNSUBSCRIBE, {"name": x}) for x in names]
                for (action, _), seq in zip(requests, a.send_all(requests)):
                    a.answer(action, seq)

        churn(10)
        before = tables(self.server)
        churn(150)
        self.assertEqual(a.request(10)["conversations"], [])
        self.assertLess(tables(self.server), before + 2000)
