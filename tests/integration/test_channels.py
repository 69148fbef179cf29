"""Channels: actions 3, 4, 6; push 102."""

from base import Test, one_process, smoke, variants
from client import HISTORY, MEMBERS, SEND_CHANNEL, SUBSCRIBE, UNSUBSCRIBE


@variants(("tcp", 1), ("binary", 2), ("text", 4), ("gzip", 2), ("tcp", 2, "own"),
          ("text", 2, "openssl"), ("gzip", 2, "1.2"))
class Channels(Test):
    @smoke
    def test_subscribe_send_push(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel()
        answer = a.subscribe(name)
        self.assertEqual(answer, {"name": name, "seq": 0, "first": 0, "members": 1, "tier": "small", "push": "all",
                                  "events": False})
        sent = a.say(name, "hello")
        self.keys(sent, "id", "seq", "createdAt")
        self.assertEqual(sent["seq"], 1)
        want = {"id": sent["id"], "content": "hello", "sender": {"id": a.id, "name": "Ada"},
                "createdAt": sent["createdAt"], "channel": name, "seq": 1}
        self.assertEqual(a.push(102), want, "the sender's own connection too")
        self.assertEqual(b.subscribe(name),
                         {"name": name, "seq": 1, "first": 1, "members": 2, "tier": "small", "push": "all",
                          "events": False})
        b.say(name, "hi")
        self.assertEqual([c.push(102)["seq"] for c in (a, b)], [2, 2])
        b.quiet()

    def test_every_connection_of_a_user(self):
        a = self.user()
        a2 = self.again(a)
        name = self.channel(a)
        a3 = self.again(a)
        self.assertEqual(a3.subscribe(name)["members"], 1, "members are users")
        a3.say(name, "x")
        self.assertEqual(a2.push(112)["change"], "joined")
        for c in (a, a2, a3):
            self.assertEqual(c.push(102)["content"], "x")
            c.quiet()

    def test_subscriptions_outlive_connections(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        self.again(b).close()
        b.close()
        a.say(name, "while b is away")
        b2 = self.connect()
        b2.login(token=b.token)
        a.say(name, "and back")
        # A push that was on its way to the shard when b came there may still reach it, in its order.
        contents = [b2.push(102)["content"]]
        if contents == ["while b is away"]:
            contents = [b2.push(102)["content"]]
        self.assertEqual(contents, ["and back"])
        self.assertEqual([m["content"] for m in b2.history(name, after=0)["messages"]], ["while b is away", "and back"])
        self.assertEqual(a.subscribe(name)["members"], 2)

    def test_only_subscribers_send(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        self.refused("forbidden", b, SEND_CHANNEL, channel=name, content="x")
        self.refused("not_found", b, SEND_CHANNEL, channel="no such " + name, content="x")
        b.subscribe(name)
        b.say(name, "x")
        b.request(UNSUBSCRIBE, name=name)
        self.refused("forbidden", b, SEND_CHANNEL, channel=name, content="x")
        self.assertEqual(a.say(name, "y")["seq"], 2)

    @smoke
    def test_unsubscribe(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        self.assertEqual(b.request(UNSUBSCRIBE, name=name), {})
        a.say(name, "x")
        a.push(102)
        b.quiet()
        self.refused("forbidden", b, HISTORY, channel=name)
        self.assertEqual(b.request(UNSUBSCRIBE, name=name), {}, "known, not in it")
        self.assertEqual(b.request(UNSUBSCRIBE, name=name), {})
        self.refused("not_found", b, UNSUBSCRIBE, name="no such " + name)
        self.assertEqual(a.subscribe(name)["members"], 1)
        # Other connections of the user are out of it as well, and stay so after login.
        b2 = self.again(b)
        a.say(name, "y")
        b2.quiet()

    def test_the_last_member_leaves(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        a.say(name, "x")
        a.request(UNSUBSCRIBE, name=name)
        self.refused("forbidden", a, SEND_CHANNEL, channel=name, content="y")
        answer = b.subscribe(name)
        self.assertEqual((answer["seq"], answer["first"], answer["members"]), (1, 1, 1))
        self.assertEqual(b.say(name, "y")["seq"], 2)

    def test_subscribing_again_changes_push_only_where_it_is_given(self):
        a = self.user()
        name = self.channel()
        self.assertEqual(a.subscribe(name)["push"], "all")
        self.assertEqual(a.subscribe(name, push="none")["push"], "none")
        self.assertEqual(a.subscribe(name)["push"], "none")
        a.say(name, "x")
        a.quiet()
        answer = a.subscribe(name, push="merged")
        self.assertEqual((answer["push"], answer["members"]), ("merged", 1))
        self.assertEqual(a.subscribe(name, push=None)["push"], "merged")
        a.say(name, "y")
        self.assertEqual(a.push(102)["content"], "y")
        self.assertEqual(a.subscribe(name, push="all")["push"], "all")
        a.say(name, "z")
        self.assertEqual(a.push(102)["content"], "z")
        # It is the user's and is kept.
        a.subscribe(name, push="none")
        a2 = self.again(a)
        a2.say(name, "w")
        a2.quiet()
        a.quiet()
        self.assertEqual(a2.subscribe(name)["push"], "none")

    def test_many_channels_and_members(self):
        users = self.users(*["u%d" % n for n in range(12)])
        names = [self.channel(*users[n % 3:]) for n in range(6)]
        for n, name in enumerate(names):
            users[n % 3 + 1].say(name, "to %s" % name)
        for k, u in enumerate(users):
            mine = [name for n, name in enumerate(names) if k >= n % 3]
            self.assertEqual(sorted(u.push(102)["channel"] for _ in mine), sorted(mine))
            u.quiet(wait=0.05)

    def test_seqs_of_channels_are_their_own(self):
        a = self.user()
        x, y = self.channel(a), self.channel(a)
        self.assertEqual([a.say(c, "m")["seq"] for c in (x, y, x, x, y)], [1, 1, 2, 3, 2])

    def test_ids_ascend(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        ids = [(a if n % 2 else b).say(name, "x")["id"] for n in range(50)]
        self.assertEqual(ids, sorted(set(ids)))

    def test_a_disconnect_in_the_middle(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        for n in range(20):
            c = self.again(b)
            c.send_all([(SEND_CHANNEL, {"channel": name, "content": "x"})] * 5 + [(UNSUBSCRIBE, {"name": name}),
                                                                                  (SUBSCRIBE, {"name": name})])
            c.close()
        a.say(name, "end")
        self.eventually(lambda: a.push(102)["content"] == "end")
        # Whether the last unsubscribe or the last subscribe was the end of it: b's view and the channel's agree.
        b = self.again(b)
        inside = "error" not in b.ask(HISTORY, channel=name)
        self.assertEqual(a.subscribe(name)["members"], 2 if inside else 1)
        self.assertEqual(b.subscribe(name)["members"], 2)

    def test_pushes_come_in_order(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a.send_all([(SEND_CHANNEL, {"channel": name, "content": str(n)}) for n in range(500)])
        self.assertEqual([b.push(102)["seq"] for _ in range(500)], list(range(1, 501)))
        self.assertEqual([a.push(102)["content"] for _ in range(500)], [str(n) for n in range(500)])


class Crowd(Test):
    """Many members, on all shards, over all wires."""

    config = {"threads": 4, "tiers": {"large": {"members": 0}}}

    def test_everybody_hears_everything_in_order(self):
        users = [self.user("U%d" % n, wire=("tcp", "binary", "text")[n % 3]) for n in range(240)]
        name = self.channel(*users)
        for burst in range(4):
            users[burst].send_all([(SEND_CHANNEL, {"channel": name, "content": "%d.%d" % (burst, n)})
                                   for n in range(50)])
        contents = None
        for u in users:
            got = [u.push(102) for _ in range(200)]
            self.assertEqual([m["seq"] for m in got], list(range(1, 201)))
            contents = contents or [m["content"] for m in got]
            self.assertEqual([m["content"] for m in got], contents)

    def test_coming_and_going_while_it_talks(self):
        stay = [self.user("S%d" % n) for n in range(30)]
        name = self.channel(*stay)
        rounds = 12
        for r in range(rounds):
            goers = [self.user("G%d" % n) for n in range(20)]
            stay[0].send_all([(SEND_CHANNEL, {"channel": name, "content": "x"})] * 20)
            for g in goers:
                g.send(SUBSCRIBE, name=name)
            stay[1].send_all([(SEND_CHANNEL, {"channel": name, "content": "x"})] * 20)
            for k, g in enumerate(goers):
                if k % 2:
                    g.send(UNSUBSCRIBE, name=name)
                else:
                    g.close()
        for s in stay:
            self.assertEqual([s.push(102)["seq"] for _ in range(40 * rounds)], list(range(1, 40 * rounds + 1)))


class Memory(Channels):
    """The in-memory store behind the same behaviour."""

    wire = "tcp"
    abstract = False
    config = {"storage": {"engine": "memory"}, "threads": 2}


class CreateNone(Test):
    def test_channels_can_be_made_by_nobody(self):
        a = self.user()
        name = self.channel(a)
        self.server.rewrite({"channels": {"create": "none"}})
        self.server.reload()
        self.eventually(lambda: a.ask(SUBSCRIBE, name="new %s" % self.channel()).get("error",
                                                                                     {}).get("code") == "forbidden")
        b = self.user("Bob")
        self.refused("forbidden", b, SUBSCRIBE, name="another")
        self.assertEqual(b.subscribe(name)["members"], 2)
        self.refused("not_found", b, SEND_CHANNEL, channel="another", content="x")
        self.refused("not_found", b, MEMBERS, name="another")


class Limits(Test):
    config = {"limits": {"subscriptions": 5, "content": 100}}

    @one_process("each node counts by its own copy")
    def test_subscriptions(self):
        a = self.user()
        names = [self.channel(a) for _ in range(5)]
        self.refused("quota", a, SUBSCRIBE, name="one more")
        self.assertEqual(a.subscribe(names[0], push="none")["push"], "none", "again is no more")
        a.request(UNSUBSCRIBE, name=names[0])
        a.subscribe(names[0])
        self.refused("quota", a, SUBSCRIBE, name="one more")
        # Many at once do not slip through.
        b = self.user("Bob")
        seqs = b.send_all([(SUBSCRIBE, {"name": names[n % 5] if n < 5 else "b%d" % n}) for n in range(10)])
        answers = [b.answer(SUBSCRIBE, seq) for seq in seqs]
        self.assertEqual([a.get("error", {}).get("code") for a in answers], [None] * 5 + ["quota"] * 5)
        # Nor on several connections of the user at once.
        c = self.user("Cy")
        others = [self.again(c) for _ in range(4)]
        sent = [(d, d.send_all([(SUBSCRIBE, {"name": "%d of %d" % (k, n)}) for k in range(3)]))
                for n, d in enumerate(others)]
        answers = [d.answer(SUBSCRIBE, seq).get("error", {}).get("code") for d, seqs in sent for seq in seqs]
        self.assertEqual(sorted(map(str, answers)), ["None"] * 5 + ["quota"] * 7)
        self.refused("quota", c, SUBSCRIBE, name="one more")
        self.refused("quota", self.again(c), SUBSCRIBE, name="one more")
        self.assertEqual(len(c.request(10)["conversations"]), 5)

    def test_content(self):
        a = self.user()
        name = self.channel()
        u = self.user("Bob")
        self.refused("too_large", a, 2, receiverId=u.id, content="x" * 101)
        self.refused("too_large", a, 2, receiverId=u.id, content="é" * 51)
        a.tell(u, "é" * 50)


@one_process("what other nodes have made is counted some seconds late")
class ChannelsInAll(Test):
    config = {"limits": {"channels": 12}}

    def test_channels(self):
        made, n = 0, 0
        users = []
        while True:
            users.append(self.user("U%d" % n))
            answers = [users[-1].ask(SUBSCRIBE, name="quota %d.%d" % (n, k)) for k in range(5)]
            n += 1
            made += sum("error" not in a for a in answers)
            if any("error" in a for a in answers):
                break
            self.assertLess(made, 13)
        self.assertEqual({a["error"]["code"] for a in answers if "error" in a}, {"quota"})
        u = self.user("Late")
        self.refused("quota", u, SUBSCRIBE, name="quota late")
        self.assertEqual(u.subscribe("quota 0.0")["members"], 2)
