"""Action 5: pages, bounds, expiry."""

import time

from base import Test, smoke, variants
from client import HISTORY


@variants(("tcp", 2), ("text", 1), ("deflate", 2))
class History(Test):
    def page(self, client, name, **body):
        answer = client.history(name, **body)
        self.keys(answer, "messages", "first", "last", "more")
        return [m["seq"] for m in answer["messages"]], answer["first"], answer["last"], answer["more"]

    @smoke
    def test_pages(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        self.assertEqual(self.page(a, name), ([], 0, 0, False))
        self.assertEqual(self.page(a, name, after=0), ([], 0, 0, False))
        for n in range(1, 131):
            a.send(4, channel=name, content="m%d" % n)
        a.pushes(102, 130)
        for body, want in [
                ({}, (list(range(81, 131)), 1, 130, True)),
                ({"limit": 10}, (list(range(121, 131)), 1, 130, True)),
                ({"limit": 200}, (list(range(1, 131)), 1, 130, False)),
                ({"limit": 130}, (list(range(1, 131)), 1, 130, False)),
                ({"limit": 1000}, (list(range(1, 131)), 1, 130, False)),
                ({"after": 0}, (list(range(1, 51)), 1, 130, True)),
                ({"after": 0, "limit": 3}, ([1, 2, 3], 1, 130, True)),
                ({"after": 127}, ([128, 129, 130], 1, 130, False)),
                ({"after": 127, "limit": 3}, ([128, 129, 130], 1, 130, False)),
                ({"after": 127, "limit": 2}, ([128, 129], 1, 130, True)),
                ({"after": 130}, ([], 1, 130, False)),
                ({"after": 5000}, ([], 1, 130, False)),
                ({"before": 4}, ([1, 2, 3], 1, 130, False)),
                ({"before": 4, "limit": 2}, ([2, 3], 1, 130, True)),
                ({"before": 1}, ([], 1, 130, False)),
                ({"before": 0}, ([], 1, 130, False)),
                ({"before": 131, "limit": 1}, ([130], 1, 130, True)),
                ({"before": 9000, "limit": 1}, ([130], 1, 130, True)),
                ({"after": 10, "before": 15}, ([11, 12, 13, 14], 1, 130, False)),
                ({"after": 10, "before": 11}, ([], 1, 130, False)),
                ({"after": 20, "before": 10}, ([], 1, 130, False)),
                ({"after": 130, "before": None, "limit": None}, ([], 1, 130, False))]:
            with self.subTest(body=body):
                self.assertEqual(self.page(a, name, **body), want)
        # With both bounds: the newest before `before`; `more` is about newer ones beyond it.
        seqs, _, _, _ = self.page(a, name, after=10, before=100, limit=5)
        self.assertEqual(seqs, [95, 96, 97, 98, 99])
        self.assertEqual(a.history(name, before=5, limit=1)["messages"][0]["content"], "m4")

    def test_who_may_read(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        a.say(name, "x")
        self.refused("forbidden", b, HISTORY, channel=name)
        self.refused("not_found", b, HISTORY, channel="no such " + name)
        b.subscribe(name)
        self.assertEqual(len(b.history(name)["messages"]), 1)

    def test_a_stranger_has_no_history(self):
        a = self.user()
        answer = a.ask(HISTORY, peerId="nobody")
        self.assertEqual(answer.get("error", {}).get("code", "not_found"), "not_found")

    def test_same_fields_as_the_push(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a.say(name, "x")
        self.assertEqual(b.push(102), b.history(name)["messages"][0])
        a.tell(b, "x")
        pushed = b.push(101)
        self.assertEqual(pushed, b.history(peer=a)["messages"][0])
        self.assertEqual(pushed, a.history(peer=b)["messages"][0])

    def test_own_messages_are_there_at_once(self):
        a = self.user()
        name = self.channel(a)
        for n in range(1, 30):
            one, two = a.send_all([(4, {"channel": name, "content": str(n)}), (5, {"channel": name, "limit": 1})])
            self.assertEqual(a.answer(5, two)["messages"][0]["seq"], n)

    def test_over_a_restart(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        for n in range(5):
            a.say(name, str(n))
            a.tell(b, str(n))
        before = [a.history(name), a.history(peer=b)]
        token, last = a.token, a.history(peer=b)["messages"][-1]["id"]
        self.server.restart()
        a = self.connect()
        a.login(token=token)
        self.assertEqual([a.history(name), a.history(peer=b)], before)
        self.assertEqual(a.say(name, "on")["seq"], 6)
        sent = a.tell(b, "on")
        self.assertEqual(sent["seq"], 6)
        self.assertGreater(sent["id"], last)
        self.assertEqual(a.push(102)["content"], "on")


class Expiry(Test):
    config = {"tiers": {"small": {"ttl": 4, "max": 1000}, "dm": {"max": 5}}, "storage": {"sync_every": 0.05}}

    def test_ttl(self):
        a = self.user()
        name = self.channel(a)
        a.say(name, "1")
        time.sleep(2)
        a.say(name, "2")
        self.eventually(lambda: [m["seq"] for m in a.history(name)["messages"]] == [2], every=0.02)
        answer = a.history(name)
        if answer["messages"]:
            self.assertEqual((answer["first"], answer["last"], answer["more"]), (2, 2, False))
        self.eventually(lambda: a.history(name)["messages"] == [])
        answer = a.history(name)
        self.assertEqual((answer["first"], answer["last"], answer["more"]), (3, 2, False))
        answer = a.subscribe(name)
        self.assertEqual((answer["first"], answer["seq"]), (3, 2))
        conversation = a.request(10)["conversations"][0]
        self.assertNotIn("last", conversation)
        self.assertEqual((conversation["seq"], conversation["unread"]), (2, 0))
        self.assertEqual(a.say(name, "3")["seq"], 3)
        self.assertEqual([m["seq"] for m in a.history(name)["messages"]], [3])

    def test_max(self):
        a, b = self.users("Ada", "Bob")
        for n in range(12):
            a.tell(b, str(n))
        answer = self.eventually(lambda: (lambda x: len(x["messages"]) == 5 and x)(a.history(peer=b)))
        self.assertEqual(([m["seq"] for m in answer["messages"]], answer["first"], answer["last"], answer["more"]),
                         ([8, 9, 10, 11, 12], 8, 12, False))
        answer = a.history(peer=b, after=0, limit=2)
        self.assertEqual(([m["seq"] for m in answer["messages"]], answer["more"]), ([8, 9], True))
        unread = [c["unread"] for c in b.request(10)["conversations"]]
        self.assertEqual(unread, [5], "unread is never more than what is retained")
