"""Rate limits: token buckets per user and per conversation, both policies."""

import time

from base import Test, one_process, smoke, variants
from client import SEND_CHANNEL, SEND_USER


def burst(client, action, n, **body):
    """The answers of n requests sent at once."""
    seqs = client.send_all([(action, dict(body, content="m%d" % k)) for k in range(n)])
    return [client.answer(action, seq) for seq in seqs]


class Rated(Test):
    abstract = True

    def check(self, rate, *bursts):
        """Makes the bursts; a second's worth is taken, and what the time they took has refilled, and all else refused.
        Returns the answers."""
        began = time.monotonic()
        answers = [answer for b in bursts for answer in burst(*b[:-1], **b[-1])]
        took = time.monotonic() - began
        good = sum("error" not in x for x in answers)
        self.assertGreaterEqual(good, rate)
        self.assertLessEqual(good, rate + 1 + took * rate)
        for x in answers:
            if "error" in x:
                self.keys(x["error"], "code", "message", "retryAfter")
                self.assertEqual(x["error"]["code"], "rate_limited")
                self.assertGreater(x["error"]["retryAfter"], 0)
                self.assertLessEqual(x["error"]["retryAfter"], 1000)
        self.assertLess(good, len(answers))
        return answers


@variants(("tcp", 1), ("binary", 2))
@one_process("each node has a burst of its own")
class PerUser(Rated):
    abstract = False
    config = {"rate": {"user": 5, "channel": 0}}

    @smoke
    def test_a_second_s_worth_at_once(self):
        a = self.user()
        name = self.channel(a)
        answers = self.check(5, (a, SEND_CHANNEL, 30, {"channel": name}))
        self.assertTrue(all("error" not in x for x in answers[:5]))
        good = [x for x in answers if "error" not in x]
        self.assertEqual([x["seq"] for x in good], list(range(1, len(good) + 1)), "what is refused takes no seq")

    def test_retry_after_is_enough(self):
        a, b = self.users("Ada", "Bob")
        answers = self.check(5, (a, SEND_USER, 30, {"receiverId": b.id}))
        wait = [x for x in answers if "error" in x][-1]["error"]["retryAfter"]
        time.sleep(wait / 1000 + 0.02)
        a.tell(b, "now")

    def test_it_is_the_user_s(self):
        """On all of its connections, and over all conversations; others are not concerned."""
        a, b = self.users("Ada", "Bob")
        a2 = self.again(a)
        name = self.channel(a, b)
        self.check(5, (a, SEND_CHANNEL, 10, {"channel": name}), (a2, SEND_USER, 10, {"receiverId": b.id}),
                   (a2, SEND_CHANNEL, 10, {"channel": name}))
        self.assertEqual(b.say(name, "x")["seq"] > 0, True)

    def test_repeats_do_not_count(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        first = a.say(name, "x", clientId="1")
        for _ in range(20):
            self.assertEqual(a.say(name, "x", clientId="1"), first)
        # Also when the bucket is empty.
        burst(a, SEND_CHANNEL, 12, channel=name)
        for _ in range(5):
            self.assertEqual(a.say(name, "x", clientId="1"), first)
        e = a.ask(SEND_CHANNEL, channel=name, content="x", clientId="new")
        if "error" in e:
            self.assertEqual(e["error"]["code"], "rate_limited")
            time.sleep(e["error"]["retryAfter"] / 1000 + 0.05)
            self.assertGreater(a.say(name, "x", clientId="new")["seq"], 1, "a refused clientId is not remembered")

    def test_other_requests_do_not_count(self):
        a = self.user()
        name = self.channel(a)
        for _ in range(15):
            a.request(9), a.history(name), a.request(10), a.request(7)
        self.assertEqual(a.say(name, "x")["seq"], 1)

    def test_refilled_in_time(self):
        a = self.user()
        name = self.channel(a)
        burst(a, SEND_CHANNEL, 12, channel=name)
        time.sleep(1.1)
        self.assertTrue(all("error" not in x for x in burst(a, SEND_CHANNEL, 5, channel=name)))


@one_process("each node has a burst of its own")
class PerConversation(Rated):
    abstract = False
    config = {"rate": {"user": 0, "channel": 5}}

    def test_channels(self):
        a, b = self.users("Ada", "Bob")
        name, other = self.channel(a, b), self.channel(a, b)
        self.check(5, (a, SEND_CHANNEL, 15, {"channel": name}), (b, SEND_CHANNEL, 15, {"channel": name}))
        self.assertEqual(a.say(other, "x")["seq"], 1)

    def test_pairs(self):
        a, b, c = self.users("Ada", "Bob", "Cy")
        self.check(5, (a, SEND_USER, 15, {"receiverId": b.id}), (b, SEND_USER, 15, {"receiverId": a.id}))
        self.assertEqual(a.tell(c, "x")["seq"], 1)

    def test_repeats_do_not_count(self):
        a = self.user()
        name = self.channel(a)
        first = a.say(name, "x", clientId="1")
        for _ in range(20):
            self.assertEqual(a.say(name, "x", clientId="1"), first)
        self.assertTrue(all("error" not in x for x in burst(a, SEND_CHANNEL, 4, channel=name)))


class Complete(Rated):
    abstract = False
    config = {"rate": {"user": 0, "channel": 10, "policy": "complete"}, "push": {"slice_ms": 300, "max": 4}}

    @smoke
    def test_all_is_stored_and_the_newest_are_pushed(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        answers = burst(a, SEND_CHANNEL, 100, channel=name)
        self.assertEqual([x.get("seq") for x in answers], list(range(1, 101)))
        got = [f[2]["seq"] for f in b.drain(1) if f[0] == 102]
        self.assertEqual(got, sorted(set(got)), "in order, none twice")
        self.assertEqual(got[:10], list(range(1, 11)), "within the limit each is pushed")
        self.assertEqual(got[-4:], [97, 98, 99, 100])
        self.assertLess(len(got), 60)
        self.assertEqual(len(b.history(name, after=0, limit=200)["messages"]), 100)
        # When it is calm again, each is pushed at once.
        time.sleep(1)
        a.say(name, "calm")
        self.assertEqual(b.push(102)["seq"], 101)

    def test_pairs_and_users_always_drop(self):
        a, b = self.users("Ada", "Bob")
        self.check(10, (a, SEND_USER, 60, {"receiverId": b.id}))
        self.server.rewrite({"rate": {"user": 5}})
        self.server.reload()
        name = self.channel(a)
        try:
            answers = self.eventually(lambda: (lambda x: any("error" in y for y in x) and x)(burst(a, SEND_CHANNEL, 12,
                                                                                                   channel=name)))
            self.assertEqual(answers[-1]["error"]["code"], "rate_limited")
        finally:
            self.server.rewrite({"rate": {"user": 0}})
            self.server.reload()
            time.sleep(0.2)

    def test_a_client_that_merges_gets_102_all_the_same(self):
        a = self.user(accept=["merge"])
        name = self.channel(a)
        burst(a, SEND_CHANNEL, 60, channel=name)
        frames = a.drain(1)
        self.assertEqual({f[0] for f in frames}, {102})
        self.assertEqual(frames[-1][2]["seq"], 60)
