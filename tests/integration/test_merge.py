"""Tiers, push modes, merged slices; push 104."""

import time

from base import Test, smoke, variants
from client import SEND_CHANNEL, SUBSCRIBE, UNSUBSCRIBE


def burst(client, name, n, first=0):
    seqs = client.send_all([(SEND_CHANNEL, {"channel": name, "content": "m%d" % (first + k)}) for k in range(n)])
    return [client.answer(SEND_CHANNEL, seq) for seq in seqs]


@variants(("tcp", 1), ("binary", 2), ("text", 4), ("deflate-text", 2), ("tcp", 2, "own"))
class Merged(Test):
    config = {"push": {"slice_ms": 400, "max": 5}}

    @smoke
    def test_a_slice_with_merge_is_one_104(self):
        a = self.user("Ada")
        b = self.user("Bob", accept=["merge"])
        name = self.channel(a)
        self.assertEqual(b.subscribe(name, push="merged")["push"], "merged")
        answers = burst(a, name, 3)
        got = b.push(104)
        self.keys(got, "channel", "messages", "from", "to", "omitted")
        seqs = [m["seq"] for m in got["messages"]]
        if len(seqs) == 3:
            self.assertEqual((got["channel"], got["from"], got["to"], got["omitted"]), (name, 1, 3, 0))
        self.assertEqual(got["messages"][0],
                         {"id": answers[0]["id"], "content": "m0", "sender": {"id": a.id, "name": "Ada"},
                          "createdAt": answers[0]["createdAt"],
                                              "channel": name, "seq": 1})
        b.quiet(102)

    def slices(self, client, last):
        """All 104 until the one that ends with seq `last`."""
        got = []
        while not got or got[-1]["to"] < last:
            got.append(client.push(104))
        return got

    def test_only_the_newest_of_a_slice(self):
        a = self.user("Ada")
        b = self.user("Bob", accept=["merge"])
        name = self.channel(a)
        b.subscribe(name, push="merged")
        burst(a, name, 60)
        got = self.slices(b, 60)
        covered = 0
        for s in got:
            seqs = [m["seq"] for m in s["messages"]]
            self.assertLessEqual(len(seqs), 5)
            self.assertEqual(s["from"], covered + 1, "slices follow one another")
            self.assertEqual(seqs, list(range(s["to"] - len(seqs) + 1, s["to"] + 1)), "the newest")
            self.assertEqual(s["omitted"], s["to"] - s["from"] + 1 - len(seqs))
            covered = s["to"]
        self.assertLess(len(got), 20)
        self.assertEqual(len(b.history(name, after=0, limit=200)["messages"]), 60)

    def test_who_joins_within_a_slice_learns_what_it_missed(self):
        a, b = self.user("Ada"), self.user("Bob", accept=["merge"])
        name = self.channel(a)
        b.subscribe(name, push="merged")  # so that a slice is open when the other one joins
        burst(a, name, 10)
        c = self.user("Cy", accept=["merge"])
        joined = c.subscribe(name, push="merged")["seq"]
        burst(a, name, 20, first=10)
        covered = joined
        for s in self.slices(c, 30):
            self.assertEqual(s["from"], covered + 1)
            self.assertEqual(s["omitted"], s["to"] - s["from"] + 1 - len(s["messages"]))
            covered = s["to"]

    @smoke
    def test_without_merge_back_to_back_102(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        b.subscribe(name, push="merged")
        burst(a, name, 60)
        frames = b.drain(1)
        self.assertEqual({f[0] for f in frames}, {102})
        seqs = [f[2]["seq"] for f in frames]
        self.assertEqual(seqs, sorted(set(seqs)))
        self.assertEqual(seqs[-5:], [56, 57, 58, 59, 60])
        self.assertLess(len(seqs), 50)

    def test_a_single_message_of_a_slice(self):
        a = self.user("Ada")
        b, c = self.user("Bob", accept=["merge"]), self.user("Cy")
        name = self.channel(a)
        b.subscribe(name, push="merged"), c.subscribe(name, push="merged")
        sent = a.say(name, "alone")
        self.assertEqual(c.push(102)["id"], sent["id"])
        got = b.push(104)
        self.assertEqual((got["from"], got["to"], got["omitted"], [m["id"] for m in got["messages"]]),
                         (1, 1, 0, [sent["id"]]))

    def test_all_modes_side_by_side(self):
        a, all_, merged, none = self.users("Ada", "Bob", "Cy", "Dan")
        name = self.channel(a)
        all_.subscribe(name, push="all"), merged.subscribe(name, push="merged"), none.subscribe(name, push="none")
        burst(a, name, 40)
        self.assertEqual([all_.push(102)["seq"] for _ in range(40)], list(range(1, 41)))
        self.assertEqual([a.push(102)["seq"] for _ in range(40)], list(range(1, 41)))
        frames = merged.drain(1)
        self.assertEqual(frames[-1][2]["seq"], 40)
        self.assertLess(len(frames), 40)
        none.quiet()

    def test_joining_in_the_middle_of_a_slice(self):
        """Nothing up to the seq that the subscription answered is pushed."""
        a = self.user("Ada")
        name = self.channel(a)
        self.user("Zoe").subscribe(name, push="merged")
        burst(a, name, 3)
        b, c = self.user("Bob", accept=["merge"]), self.user("Cy")
        at = b.subscribe(name, push="merged")["seq"]
        self.assertEqual(at, 3)
        c.subscribe(name, push="merged")
        burst(a, name, 2, 3)
        first = b.push(104)
        self.assertEqual(first["from"], 4)
        self.assertEqual(first["messages"][0]["seq"], 4)
        self.assertEqual([c.push(102)["seq"] for _ in range(2)], [4, 5])

    def test_changing_the_mode(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        b.subscribe(name, push="merged")
        seen, sent = [], 0
        for mode in ("all", "merged", "all", "merged", "all"):
            burst(a, name, 3, sent)
            sent += 3
            at = b.subscribe(name, push=mode)["seq"]
            self.assertEqual(at, sent)
        burst(a, name, 3, sent)
        seen = [f[2]["seq"] for f in b.drain(1) if f[0] == 102]
        self.assertEqual(seen, sorted(set(seen)), "in order, none twice, whatever the mode")
        self.assertEqual(seen[-3:], [16, 17, 18])

    def test_recalled_within_its_slice(self):
        a = self.user("Ada")
        b = self.user("Bob", accept=["merge"])
        name = self.channel(a)
        b.subscribe(name, push="merged")
        a.say(name, "a slip of the tongue")
        a.request(14, channel=name, seq=1)
        a.say(name, "fine")
        frames = b.drain(1)
        self.assertNotIn("a slip", str([f for f in frames if f[0] == 104][-1:]))
        self.assertTrue(any(f[0] == 109 for f in frames))


class Tiers(Test):
    config = {"tiers": {"large": {"members": 10}}, "push": {"slice_ms": 200, "max": 3}}

    def test_small_large_small(self):
        first = self.user("U0", accept=["merge"])
        name = self.channel()
        self.assertEqual(first.subscribe(name)["tier"], "small")
        users = [first]
        for n in range(2, 10):
            users.append(self.user("U%d" % n))
            got = users[-1].subscribe(name)
            self.assertEqual((got["tier"], got["push"], got["members"]), ("small", "all", n))
        first.say(name, "small")
        users.append(self.user("U10"))
        got = users[-1].subscribe(name)
        self.assertEqual((got["tier"], got["push"], got["members"]), ("large", "merged", 10))
        self.assertEqual(first.push(102)["content"], "small")
        burst(first, name, 20)
        seqs = [f for f in first.drain(0.8)]
        self.assertEqual({f[0] for f in seqs}, {104}, "with merge: 104 now")
        self.assertEqual(seqs[-1][2]["to"], 21)
        plain = [f for f in users[5].drain(0.5)]
        self.assertEqual({f[0] for f in plain}, {102})
        self.assertLess(len(plain), 15)
        # An explicit mode beats the tier.
        self.assertEqual(users[3].subscribe(name, push="all")["push"], "all")
        users[3].drain(0.1)
        burst(first, name, 5)
        self.assertEqual([users[3].push(102)["seq"] for _ in range(5)], list(range(22, 27)))
        # Below 80 % of ten: at seven.
        for n, u in ((9, users[9]), (8, users[8])):
            u.request(UNSUBSCRIBE, name=name)
            self.assertEqual(first.subscribe(name)["tier"], "large", "%d members" % n)
        users[7].request(UNSUBSCRIBE, name=name)
        got = first.subscribe(name)
        self.assertEqual((got["tier"], got["push"], got["members"]), ("small", "all", 7))
        first.drain(0.5)
        first.say(name, "small again")
        self.assertEqual(first.push(102)["content"], "small again")
        self.assertEqual(first.subscribe(name, push="merged")["push"], "merged")
        # Reads span the tiers.
        got = first.history(name, after=0, limit=200)
        self.assertEqual([m["seq"] for m in got["messages"]], list(range(1, 28)))
        self.assertEqual((got["first"], got["last"], got["more"]), (1, 27, False))
        self.assertEqual([m["seq"] for m in first.history(name, limit=8)["messages"]], list(range(20, 28)))
        self.assertEqual([m["seq"] for m in first.history(name, after=0, limit=4)["messages"]], [1, 2, 3, 4])
        self.assertEqual([m["seq"] for m in first.history(name, after=0, before=4)["messages"]], [1, 2, 3])

    def test_the_tier_is_kept(self):
        users = self.users(*["U%d" % n for n in range(10)])
        name = self.channel(*users)
        users[0].say(name, "x")
        users[9].request(UNSUBSCRIBE, name=name)
        self.assertEqual(users[0].subscribe(name)["tier"], "large", "nine: between 80 % and ten")
        token = users[0].token
        self.server.restart()
        a = self.connect()
        a.login(token=token)
        got = a.subscribe(name)
        self.assertEqual((got["tier"], got["members"], got["push"]), ("large", 9, "merged"))


class LargeIsShort(Test):
    config = {"tiers": {"large": {"members": 3, "max": 5}, "small": {"max": 1000}}, "push": {"slice_ms": 0}}

    def test_counts_of_each_tier(self):
        a, b, c = self.users("Ada", "Bob", "Cy")
        name = self.channel(a)
        burst(a, name, 3)
        b.subscribe(name), c.subscribe(name)
        burst(a, name, 20)
        answer = self.eventually(lambda: (lambda x: len(x["messages"]) <= 8 and x)(a.history(name, after=0, limit=200)))
        self.assertEqual([m["seq"] for m in answer["messages"]][-5:], [19, 20, 21, 22, 23])
        self.assertEqual(answer["last"], 23)

    def test_a_slice_of_no_length(self):
        a, b, c = self.users("Ada", "Bob", "Cy")
        name = self.channel(a, b, c)
        burst(a, name, 20)
        self.assertEqual([b.push(102)["seq"] for _ in range(20)], list(range(1, 21)))


class SlicePage(Test):
    config = {"push": {"slice_ms": 500, "max": 100}, "limits": {"page": 4096}}

    def test_a_slice_is_cut_at_limits_page(self):
        a = self.user("Ada")
        b = self.user("Bob", accept=["merge"])
        name = self.channel(a)
        b.subscribe(name, push="merged")
        a.send_all([(SEND_CHANNEL, {"channel": name, "content": "%02d" % n * 500}) for n in range(12)])
        got = []
        while not got or got[-1]["to"] < 12:
            got.append(b.push(104))
        for s in got:
            self.assertLessEqual(sum(len(m["content"]) for m in s["messages"]), 4096)
            self.assertEqual(s["omitted"], s["to"] - s["from"] + 1 - len(s["messages"]))
            self.assertGreaterEqual(len(s["messages"]), 1)
