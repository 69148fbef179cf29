"""Actions 10 and 11: conversations, read marks, unread counts; push 108."""

import time

from base import Test, smoke, variants
from client import CONVERSATIONS, READ, UNSUBSCRIBE
from server import CLUSTER


@variants(("tcp", 1), ("binary", 2), ("text", 4))
class Reads(Test):
    def conversations(self, client, **body):
        return client.request(CONVERSATIONS, **body)["conversations"]

    @smoke
    def test_conversations(self):
        a, b, c = self.users("Ada", "Bob", "Cy")
        self.assertEqual(a.request(CONVERSATIONS), {"conversations": []})
        one, two = self.channel(a), self.channel(a, b)
        got = self.conversations(a)
        self.assertEqual(sorted(x["channel"] for x in got), sorted([one, two]))
        for x in got:
            self.keys(x, "channel", "seq", "read", "unread")
            self.assertEqual((x["seq"], x["read"], x["unread"]), (0, 0, 0))
        sent = b.say(two, "hello")
        first = self.conversations(a)[0]
        self.keys(first, "channel", "seq", "read", "unread", "last")
        self.assertEqual((first["channel"], first["seq"], first["read"], first["unread"]), (two, 1, 0, 1))
        self.assertEqual(first["last"], {"id": sent["id"], "content": "hello", "sender": {"id": b.id, "name": "Bob"},
                                         "createdAt": sent["createdAt"],
                                         "channel": two, "seq": 1})
        time.sleep(0.2)  # where several nodes are one, their clocks are some ms apart
        c.tell(a, "private")
        got = self.conversations(a)
        self.assertEqual(got[0]["peerId"], c.id)
        self.assertEqual((got[0]["seq"], got[0]["unread"], got[0]["last"]["content"], got[0]["last"]["receiverId"]),
                         (1, 1, "private", a.id))
        self.assertEqual(got[1]["channel"], two)
        self.assertEqual(len(got), 3)
        mine = self.conversations(c)[0]
        self.assertEqual((mine["peerId"], mine["seq"], mine["read"], mine["unread"]), (a.id, 1, 1, 0))

    def test_newest_activity_first(self):
        a, b = self.users("Ada", "Bob")
        names = [self.channel(a, b) for _ in range(5)]
        for name in names:
            b.say(name, "x")
        b.tell(a, "x")
        self.assertEqual([x.get("channel", "pair") for x in self.conversations(a)], ["pair"] + names[::-1])
        b.say(names[2], "again")
        self.assertEqual([x.get("channel", "pair") for x in self.conversations(a)][:3], [names[2], "pair", names[4]])
        a.request(READ, channel=names[0], seq=1)
        self.assertEqual(self.conversations(a)[0]["channel"], names[2], "reading is no activity")

    def test_paging(self):
        a, b = self.users("Ada", "Bob")
        names = [self.channel(a) for _ in range(23)]
        for name in names[:20]:
            a.say(name, "x")
            if CLUSTER:  # where what comes in the same millisecond has no order
                time.sleep(0.003)
        got, cursor, pages = [], None, 0
        while True:
            answer = a.request(CONVERSATIONS, limit=5, **({"cursor": cursor} if cursor else {}))
            self.assertLessEqual(len(answer["conversations"]), 5)
            got += [x["channel"] for x in answer["conversations"]]
            pages += 1
            cursor = answer.get("cursor")
            if not cursor:
                break
        self.assertEqual(len(got), 23)
        self.assertEqual(got[:20], names[19::-1])
        self.assertEqual(sorted(got[20:]), sorted(names[20:]))
        self.assertEqual(pages, 5)
        self.assertEqual([x["channel"] for x in self.conversations(a, limit=200)], got)
        self.assertNotIn("cursor", a.request(CONVERSATIONS, limit=23))
        for cursor in ("x", "A" * 40, "\u00e9", "0"):
            self.refused("bad_request", a, CONVERSATIONS, cursor=cursor)

    def test_a_channel_left_is_no_conversation_any_more(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        b.say(name, "x")
        a.request(UNSUBSCRIBE, name=name)
        self.assertEqual(self.conversations(a), [])
        a.subscribe(name)
        got = self.conversations(a)[0]
        self.assertEqual((got["seq"], got["read"], got["unread"]), (1, 1, 0), "subscribing marks read")

    @smoke
    def test_marking_read(self):
        a, b = self.users("Ada", "Bob")
        a2 = self.again(a)
        name = self.channel(a, b)
        for n in range(10):
            b.say(name, str(n))
        self.assertEqual(self.conversations(a)[0]["unread"], 10)
        self.assertEqual(a.request(READ, channel=name, seq=4), {"unread": 6})
        self.assertEqual(a2.push(108), {"channel": name, "seq": 4})
        self.assertEqual(a.request(READ, channel=name, seq=2), {"unread": 6}, "only forward")
        self.assertEqual(a.request(READ, channel=name, seq=4), {"unread": 6})
        self.assertEqual(a.request(READ, channel=name, seq=0), {"unread": 6})
        a2.quiet(108)
        self.assertEqual(a.request(READ, channel=name, seq=999), {"unread": 0}, "to the newest at most")
        self.assertEqual(a2.push(108), {"channel": name, "seq": 10})
        b.say(name, "more")
        got = self.conversations(a)[0]
        self.assertEqual((got["seq"], got["read"], got["unread"]), (11, 10, 1))
        a.quiet(108)
        b.quiet(108)

    def test_a_pair(self):
        a, b = self.users("Ada", "Bob")
        b2 = self.again(b)
        for n in range(3):
            a.tell(b, str(n))
        got = self.conversations(b)[0]
        self.assertEqual((got["peerId"], got["seq"], got["read"], got["unread"]), (a.id, 3, 0, 3))
        self.assertEqual(b.request(READ, peerId=a.id, seq=2), {"unread": 1})
        self.assertEqual(b2.push(108), {"peerId": a.id, "seq": 2})
        self.assertEqual((self.conversations(a)[0]["read"], self.conversations(a)[0]["unread"]), (3, 0))
        a.quiet(108)

    def test_sending_marks_read(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        for n in range(3):
            b.say(name, "x")
        self.assertEqual(self.conversations(a)[0]["unread"], 3)
        a.say(name, "y")
        got = self.conversations(a)[0]
        self.assertEqual((got["seq"], got["read"], got["unread"]), (4, 4, 0))
        for n in range(2):
            b.tell(a, "x")
        a.tell(b, "y")
        got = self.conversations(a)[0]
        self.assertEqual((got["seq"], got["read"], got["unread"]), (3, 3, 0))
        got = self.conversations(b)[0]
        self.assertEqual((got["seq"], got["read"], got["unread"]), (3, 2, 1))

    def test_subscribing_marks_read(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(b)
        for n in range(3):
            b.say(name, "x")
        a.subscribe(name)
        got = self.conversations(a)[0]
        self.assertEqual((got["seq"], got["read"], got["unread"]), (3, 3, 0))
        b.say(name, "x")
        a.subscribe(name)
        self.assertEqual(self.conversations(a)[0]["unread"], 1, "subscribing again is no subscribing")

    def test_what_cannot_be_marked(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(b)
        self.refused("forbidden", a, READ, channel=name, seq=1)
        self.refused("not_found", a, READ, channel="no such " + name, seq=1)

    def test_marks_over_a_restart(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        for n in range(5):
            b.say(name, "x")
            b.tell(a, "x")
        a.request(READ, channel=name, seq=3)
        a.request(READ, peerId=b.id, seq=4)
        before = self.conversations(a)
        token = a.token
        self.server.restart()
        a = self.connect()
        a.login(token=token)
        self.assertEqual(self.conversations(a), before)
        self.assertEqual([x["unread"] for x in before], [1, 2])
