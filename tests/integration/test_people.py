"""Actions 12 to 15: presence, members, recall, block; push 109."""

import time

from base import Test, smoke, variants
from client import BLOCK, INBOX, MEMBERS, PRESENCE, RECALL, SEND_USER, UNSUBSCRIBE


@variants(("tcp", 1), ("binary", 2), ("text", 4))
class People(Test):
    @smoke
    def test_presence(self):
        a, b, c, d, e = self.users("Ada", "Bob", "Cy", "Dan", "Eve")
        self.channel(a, b)
        c.tell(a, "x")
        ids = [u.id for u in (b, c, d)]
        self.assertEqual(sorted(a.request(PRESENCE, ids=ids)["online"]), sorted([b.id, c.id]), "strangers are left out")
        self.assertEqual(a.request(PRESENCE, ids=[]), {"online": []})
        self.assertEqual(d.request(PRESENCE, ids=[a.id, b.id]), {"online": []})
        self.assertEqual(sorted(c.request(PRESENCE, ids=[a.id, b.id, "nobody"])["online"]), [a.id])
        b.close()
        self.eventually(lambda: a.request(PRESENCE, ids=ids)["online"] == [c.id])
        b2 = self.connect()
        b2.login(token=b.token)
        self.eventually(lambda: sorted(a.request(PRESENCE, ids=ids)["online"]) == sorted([b.id, c.id]))

    def test_presence_after_leaving(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        self.assertEqual(a.request(PRESENCE, ids=[b.id]), {"online": [b.id]})
        b.request(UNSUBSCRIBE, name=name)
        self.assertEqual(a.request(PRESENCE, ids=[b.id]), {"online": []})

    def test_presence_of_a_hundred(self):
        a = self.user()
        users = self.users(*["U"] * 20)
        self.channel(a, *users)
        ids = [u.id for u in users] + ["nobody%d" % n for n in range(80)]
        self.assertEqual(sorted(a.request(PRESENCE, ids=ids)["online"]), sorted(ids[:20]))
        self.refused("bad_request", a, PRESENCE, ids=ids + ["x"])

    def test_presence_of_oneself_and_doubles(self):
        a, b = self.users("Ada", "Bob")
        self.channel(a, b)
        got = a.request(PRESENCE, ids=[b.id, b.id])["online"]
        self.assertEqual(set(got), {b.id})

    @smoke
    def test_members(self):
        a, b, c = self.users("Ada", "Bob", "Cy")
        name = self.channel(a, b, c)
        c2 = self.again(c)
        c.close(), c2.close()
        want = sorted([(a.id, "Ada", True), (b.id, "Bob", True), (c.id, "Cy", False)])
        self.eventually(lambda: sorted((m["id"], m["name"], m["online"])
                                       for m in a.request(MEMBERS, name=name)["members"]) == want)
        self.keys(a.request(MEMBERS, name=name), "members")
        self.keys(a.request(MEMBERS, name=name)["members"][0], "id", "name", "online")
        b.request(UNSUBSCRIBE, name=name)
        self.assertEqual(sorted(m["id"] for m in a.request(MEMBERS, name=name)["members"]), sorted([a.id, c.id]))
        self.refused("forbidden", b, MEMBERS, name=name)
        self.refused("not_found", b, MEMBERS, name="no such " + name)

    def test_members_in_pages(self):
        users = self.users(*["U%d" % n for n in range(23)])
        name = self.channel(*users)
        got, cursor = [], None
        while True:
            answer = users[0].request(MEMBERS, name=name, limit=5, **({"cursor": cursor} if cursor else {}))
            self.assertLessEqual(len(answer["members"]), 5)
            got += [m["id"] for m in answer["members"]]
            cursor = answer.get("cursor")
            if not cursor:
                break
        self.assertEqual(sorted(got), sorted(u.id for u in users))
        self.assertNotIn("cursor", users[0].request(MEMBERS, name=name, limit=23))
        self.refused("bad_request", users[0], MEMBERS, name=name, cursor="no cursor/of ours")

    @smoke
    def test_recall_in_a_channel(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a2 = self.again(a)
        sent = a.say(name, "a slip")
        a.say(name, "next")
        for c in (a, a2, b):
            c.pushes(102, 2)
        self.refused("forbidden", b, RECALL, channel=name, seq=1)
        self.refused("not_found", a, RECALL, channel=name, seq=9)
        self.refused("not_found", a, RECALL, channel="no such " + name, seq=1)
        self.assertEqual(a.request(RECALL, channel=name, seq=1), {})
        want = {"channel": name, "seq": 1, "id": sent["id"]}
        self.assertEqual(b.push(109), want)
        self.assertEqual(a2.push(109), want)
        message = b.history(name)["messages"][0]
        self.assertEqual((message["content"], message["recalled"], message["seq"], message["id"]),
                         ("", True, 1, sent["id"]))
        self.assertEqual(message["sender"], {"id": a.id, "name": "Ada"})
        self.assertNotIn("recalled", b.history(name)["messages"][1])
        # Once more changes nothing.
        a.ask(RECALL, channel=name, seq=1)
        b.quiet(109)

    def test_recall_in_a_pair(self):
        a, b = self.users("Ada", "Bob")
        a2, b2 = self.again(a), self.again(b)
        sent = a.tell(b, "a slip")
        self.refused("forbidden", b, RECALL, peerId=a.id, seq=1)
        self.refused("not_found", a, RECALL, peerId=b.id, seq=2)
        self.assertEqual(a.request(RECALL, peerId=b.id, seq=1), {})
        for c in (b, b2):
            self.assertEqual(c.push(109), {"peerId": a.id, "seq": 1, "id": sent["id"]})
        self.assertEqual(a2.push(109), {"peerId": b.id, "seq": 1, "id": sent["id"]})
        for c in (a, b):
            message = c.history(peer=b if c is a else a)["messages"][0]
            self.assertEqual((message["content"], message["recalled"]), ("", True))
        waiting = b.request(INBOX)["messages"]
        self.assertTrue(all(m["content"] == "" and m["recalled"] for m in waiting), waiting)
        self.assertEqual(self.conv(b)["last"]["content"], "")

    def conv(self, client):
        return client.request(10)["conversations"][0]

    def test_recall_is_for_members(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a.say(name, "x")
        a.request(UNSUBSCRIBE, name=name)
        self.refused("forbidden", a, RECALL, channel=name, seq=1)

    @smoke
    def test_block(self):
        a, b = self.users("Ada", "Bob")
        a.tell(b, "before")
        self.assertEqual(b.request(BLOCK, id=a.id, blocked=True), {})
        self.refused("forbidden", a, SEND_USER, receiverId=b.id, content="x")
        self.refused("forbidden", a, SEND_USER, receiverId=b.id, content="x", clientId="c")
        self.assertEqual(len(b.request(INBOX)["messages"]), 1)
        self.assertEqual(b.tell(a, "the other way goes")["seq"], 2)
        self.assertEqual(b.request(BLOCK, id=a.id, blocked=True), {}, "twice is the same")
        name = self.channel(a, b)
        a.say(name, "channels are no matter")
        self.assertEqual(b.push(102)["content"], "channels are no matter")
        self.assertEqual(b.request(BLOCK, id=a.id, blocked=False), {})
        self.assertEqual(a.tell(b, "after", clientId="c")["seq"], 3)
        self.assertEqual(b.request(BLOCK, id=a.id, blocked=False), {})

    def test_block_before_any_message(self):
        a, b = self.users("Ada", "Bob")
        b.request(BLOCK, id=a.id, blocked=True)
        self.refused("forbidden", a, SEND_USER, receiverId=b.id, content="x")
        self.assertEqual(b.tell(a, "x")["seq"], 1)
        self.refused("not_found", b, BLOCK, id="nobody", blocked=True)

    def test_blocks_are_kept(self):
        a, b = self.users("Ada", "Bob")
        b.request(BLOCK, id=a.id, blocked=True)
        token = a.token
        self.server.restart()
        a2 = self.connect()
        a2.login(token=token)
        self.refused("forbidden", a2, SEND_USER, receiverId=b.id, content="x")


class RecallWindow(Test):
    config = {"limits": {"recall": 2}}

    def test_too_late(self):
        a = self.user()
        name = self.channel(a)
        a.say(name, "x")
        time.sleep(2.3)
        self.refused("forbidden", a, RECALL, channel=name, seq=1)
        a.say(name, "y")
        a.request(RECALL, channel=name, seq=2)
