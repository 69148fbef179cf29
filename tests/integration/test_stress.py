"""Many users at once, doing everything at random; what must hold whatever happens is checked by each on the way."""

import random
import threading
import time
import traceback

from base import Test, variants
from client import CHANNEL_MESSAGE, HISTORY, READ, SEND_CHANNEL, SEND_USER, SUBSCRIBE, UNSUBSCRIBE, USER_MESSAGE, Client

SECONDS = 5
CHANNELS = ["stress %d" % n for n in range(5)]


class Actor(threading.Thread):
    """A user on one connection after another. Knows what it must be pushed: in a channel subscribed with `all`, seq
    after seq without a gap, from the subscription's seq on (after a login: from the first one on)."""

    def __init__(self, number, test):
        super().__init__(daemon=True)
        self.number, self.test, self.server = number, test, test.server
        self.random = random.Random(number)
        self.problem = None
        self.sent = []  # (channel, seq, content) of acknowledged sends
        self.told = []  # (receiver, seq, content)
        self.client = None
        self.token = None
        self.inside = {}  # channel: the seq of the last push; None: not known yet
        self.count = 0
        self.got_private = set()

    def connect(self):
        self.client = Client(self.server, self.random.choice(["tcp", "binary", "text"]))
        self.client.login(**({"token": self.token} if self.token else {"name": "U%d" % self.number}))
        self.token = self.client.token
        self.inside = {name: None for name in self.inside}

    def take(self, action, body):
        """A push."""
        if action == CHANNEL_MESSAGE:
            name, seq = body["channel"], body["seq"]
            assert name in self.inside or name in self.leaving, "a push of %s, where it is not" % name
            if name not in self.inside:
                return
            before = self.inside[name]
            assert before is None or seq == before + 1, "%s: %d after %s" % (name, seq, before)
            self.inside[name] = seq
        elif action == USER_MESSAGE:
            self.got_private.add((body["sender"]["id"], body["receiverId"], body["seq"]))
        elif action != 103:
            raise AssertionError("push %d: %s" % (action, body))

    def answer(self, action, seq):
        while True:
            got = self.client.receive(30)
            if got[0] >= 100:
                self.take(got[0], got[2])
            else:
                assert got[:2] == (action, seq), "%s instead of the answer %s" % (got, (action, seq))
                return got[2]

    def ask(self, action, **body):
        return self.answer(action, self.client.send(action, **body))

    def subscribe(self):
        name = self.random.choice(CHANNELS)
        self.leaving = {name}
        answer = self.ask(SUBSCRIBE, name=name, push="all")
        assert "error" not in answer, answer
        if name not in self.inside:
            self.inside[name] = answer["seq"]
        elif self.inside[name] is None:
            self.inside[name] = None

    def unsubscribe(self):
        if self.inside:
            name = self.random.choice(sorted(self.inside))
            self.leaving = {name}
            assert self.ask(UNSUBSCRIBE, name=name) == {}
            del self.inside[name]
            self.leaving = set()

    def send(self):
        name = self.random.choice(CHANNELS)
        contents = ["%d.%d" % (self.number, self.count + k) for k in range(self.random.choice([1, 1, 1, 8]))]
        self.count += len(contents)
        seqs = self.client.send_all([(SEND_CHANNEL, {"channel": name, "content": c, "clientId": c}) for c in contents])
        for seq, content in zip(seqs, contents):
            answer = self.answer(SEND_CHANNEL, seq)
            if name in self.inside:
                assert "error" not in answer, answer
                self.sent.append((name, answer["seq"], content))
            else:
                assert answer["error"]["code"] in ("forbidden", "not_found"), answer

    def tell(self):
        other = self.random.choice(self.test.actors)
        receiver = other.client.id if other.client else None
        if receiver:
            content = "%d.%d" % (self.number, self.count)
            self.count += 1
            answer = self.ask(SEND_USER, receiverId=receiver, content=content)
            assert "error" not in answer, answer
            self.told.append((receiver, answer["seq"], content))

    def read(self):
        name = self.random.choice(CHANNELS)
        answer = self.ask(HISTORY, channel=name, limit=5)
        if name in self.inside:
            assert "error" not in answer, answer
            seqs = [m["seq"] for m in answer["messages"]]
            assert seqs == list(range(answer["last"] - len(seqs) + 1, answer["last"] + 1)), answer
            self.ask(READ, channel=name, seq=answer["last"])
        else:
            assert answer["error"]["code"] in ("forbidden", "not_found"), answer

    def leave(self):
        self.client.close()
        self.connect()

    def leave_in_the_middle(self):
        """With sends under way, of which nothing is known."""
        name = self.random.choice(CHANNELS)
        self.client.send_all([(SEND_CHANNEL, {"channel": name, "content": "unknown"})] * 3)
        self.leave()

    def run(self):
        self.leaving = set()
        try:
            self.connect()
            moves = ([self.subscribe] * 6 + [self.unsubscribe] * 3 + [self.send] * 12 + [self.tell] * 4
                     + [self.read] * 3 + [self.leave, self.leave_in_the_middle])
            while time.monotonic() < self.test.end:
                self.random.choice(moves)()
        except BaseException:
            self.problem = traceback.format_exc()


@variants(("any", 1), ("any", 2), ("any", 4))
class Stress(Test):
    weight = 50
    config = {"limits": {"subscriptions": 0}, "tiers": {"small": {"max": 0}}}

    def test_everything_at_random(self):
        self.end = time.monotonic() + SECONDS
        self.actors = [Actor(n, self) for n in range(16)]
        for a in self.actors:
            a.start()
        for a in self.actors:
            a.join(120)
        problems = [a.problem for a in self.actors if a.problem]
        self.assertFalse(problems, "%d actors; the first: %s" % (len(problems), problems[0] if problems else ""))
        # What was acknowledged is there, in the place that was told; and nothing is there twice.
        reader = self.user("Reader", wire="tcp")
        for name in CHANNELS:
            reader.subscribe(name)
            stored, after, last = {}, 0, None
            while True:
                page = reader.history(name, after=after, limit=200)
                stored.update((m["seq"], m["content"]) for m in page["messages"])
                if not page["more"]:
                    break
                after = page["messages"][-1]["seq"]
            self.assertEqual(len(stored), page["last"], "no gaps")
            known = [c for c in stored.values() if c != "unknown"]
            self.assertEqual(len(known), len(set(known)), "none twice")
            for a in self.actors:
                for channel, seq, content in a.sent:
                    if channel == name:
                        self.assertEqual(stored.get(seq), content)
        self.assertGreater(sum(len(a.sent) for a in self.actors), 100)
        # Memberships: what each believes, what the server believes.
        for a in self.actors:
            a.client.close()
        for name in CHANNELS:
            members, cursor = set(), None
            while True:
                page = reader.request(13, name=name, limit=200, **({"cursor": cursor} if cursor else {}))
                members |= {m["id"] for m in page["members"]}
                cursor = page.get("cursor")
                if not cursor:
                    break
            self.assertEqual(members, {a.client.id for a in self.actors if name in a.inside} | {reader.id})
            self.assertEqual(reader.subscribe(name)["members"], len(members))
        # The pairs' histories have what was told.
        for a in self.actors:
            mine = Client(self.server)
            self.clients.append(mine)
            mine.login(token=a.token)
            for other in {r for r, _, _ in a.told}:
                want = {seq: content for r, seq, content in a.told if r == other}
                got = {}
                for seq in want:
                    if seq not in got:
                        for m in mine.history(peer=other, after=seq - 1, limit=200)["messages"]:
                            got[m["seq"]] = m["content"]
                self.assertEqual({seq: got.get(seq) for seq in want}, want)
