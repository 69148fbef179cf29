"""Private messages and the inbox: actions 2, 7, 8; pushes 101, 103, 108."""

from base import Test, embedded, smoke, variants
from client import ACK, HISTORY, INBOX, LOGIN, SEND_USER


@variants(("tcp", 1), ("binary", 2), ("text", 4), ("binary", 2, "own"), ("tcp", 2, "1.2"))
class Private(Test):
    @smoke
    def test_send_and_push(self):
        import time
        a, b = self.users("Ada", "Bob")
        a2, b2 = self.again(a), self.again(b)
        sent = a.tell(b, "hello")
        self.keys(sent, "id", "seq", "createdAt")
        self.assertRegex(sent["id"], r"^[0-9]{19}$")
        self.assertEqual(sent["seq"], 1)
        self.assertLess(abs(sent["createdAt"] - time.time() * 1000), 60000)
        self.assertLess(abs((int(sent["id"]) >> 22) + 1577836800000 - sent["createdAt"]), 10000,
                        "an id's upper bits are the time")
        want = {"id": sent["id"], "content": "hello", "sender": {"id": a.id, "name": "Ada"},
                "createdAt": sent["createdAt"], "receiverId": b.id, "seq": 1}
        for c in (b, b2, a2):
            self.assertEqual(c.push(101), want)
        for c in (a, b, a2, b2):
            c.quiet()
        back = b.tell(a, "hi")
        self.assertEqual(back["seq"], 2, "one conversation, whoever writes")
        self.assertGreater(back["id"], sent["id"])
        self.assertEqual(a.push(101)["receiverId"], a.id)

    @smoke
    def test_offline_receivers_find_it_in_the_inbox(self):
        a, b = self.users("Ada", "Bob")
        self.again(b)
        for c in self.clients[1:]:
            c.close()
        sent = [a.tell(b, "m%d" % n) for n in range(5)]
        b2 = self.connect()
        answer = b2.login(token=b.token)
        self.assertEqual(answer["inbox"], 5)
        self.assertEqual(b2.receive()[:3], (103, 0, {"inbox": 5}))
        page = b2.request(INBOX)
        self.assertFalse(page["more"])
        self.assertEqual([m["id"] for m in page["messages"]], [m["id"] for m in sent])
        self.assertEqual(page["messages"][0],
                         {"id": sent[0]["id"], "content": "m0", "sender": {"id": a.id, "name": "Ada"},
                          "createdAt": sent[0]["createdAt"],
                                               "receiverId": b.id, "seq": 1})
        self.assertEqual(b2.request(INBOX), page, "reading leaves it as it is")

    def test_an_online_receiver_has_it_in_the_inbox_too(self):
        a, b = self.users("Ada", "Bob")
        sent = a.tell(b, "hello")
        b.push(101)
        self.assertEqual([m["id"] for m in b.request(INBOX)["messages"]], [sent["id"]])
        self.assertEqual(a.request(INBOX), {"messages": [], "more": False}, "not the sender's")

    def test_unknown_receivers(self):
        a = self.user()
        self.refused("not_found", a, SEND_USER, receiverId="nobody", content="x")
        self.refused("not_found", a, SEND_USER, receiverId="system", content="x")
        self.refused("not_found", a, SEND_USER, receiverId="nobody", content="x", clientId="1")
        self.refused("not_found", a, SEND_USER, receiverId="nobody", content="x", clientId="1")
        self.assertEqual(a.request(10)["conversations"], [])

    def test_a_user_that_came_later(self):
        """An id that did not exist is looked up anew."""
        a = self.user()
        self.refused("not_found", a, SEND_USER, receiverId="zzz", content="x")
        b = self.user("Bob")
        self.assertEqual(a.tell(b, "x")["seq"], 1)

    @smoke
    def test_to_oneself(self):
        a = self.user()
        a2 = self.again(a)
        sent = a.tell(a, "note")
        self.assertEqual(a2.push(101)["id"], sent["id"])
        a.quiet()
        a2.quiet()
        self.assertEqual([m["content"] for m in a.history(peer=a)["messages"]], ["note"])
        self.assertEqual([m["id"] for m in a.request(INBOX)["messages"]], [sent["id"]])
        conversation = a.request(10)["conversations"][0]
        self.assertEqual((conversation["peerId"], conversation["unread"]), (a.id, 0))

    def test_the_answer_comes_before_the_push(self):
        a = self.user()
        name = self.channel(a)
        for n in range(20):
            seq = a.send(4, channel=name, content="x")
            self.assertEqual(a.receive()[:2], (4, seq))
            self.assertEqual(a.receive()[:2], (102, 0))

    def test_a_sender_cannot_be_made_up(self):
        a, b = self.users("Ada", "Bob")
        a.tell(b, "x", sender={"id": b.id, "name": "Bob"}, senderId=b.id, id="1", seq=99, createdAt=1)
        got = b.push(101)
        self.assertEqual((got["sender"], got["seq"]), ({"id": a.id, "name": "Ada"}, 1))
        self.assertGreater(got["createdAt"], 1600000000000)

    def test_inbox_pages(self):
        a, b = self.users("Ada", "Bob")
        ids = [a.tell(b, str(n))["id"] for n in range(7)]
        page = b.request(INBOX, limit=3)
        self.assertEqual(([m["id"] for m in page["messages"]], page["more"]), (ids[:3], True))
        page = b.request(INBOX, limit=3, after=ids[2])
        self.assertEqual(([m["id"] for m in page["messages"]], page["more"]), (ids[3:6], True))
        page = b.request(INBOX, limit=3, after=ids[5])
        self.assertEqual(([m["id"] for m in page["messages"]], page["more"]), (ids[6:], False))
        page = b.request(INBOX, after=ids[6])
        self.assertEqual(page, {"messages": [], "more": False})
        self.assertEqual([m["id"] for m in b.request(INBOX, limit=7)["messages"]], ids)
        self.assertFalse(b.request(INBOX, limit=7)["more"])

    def test_the_inbox_is_in_the_order_of_storing(self):
        b, *senders = self.users("Bob", "Ada", "Cy", "Dan")
        want = [senders[n % 3].tell(b, str(n))["id"] for n in range(9)]
        self.assertEqual([m["id"] for m in b.request(INBOX)["messages"]], want)
        # `upTo` goes by that order, whoever wrote.
        self.assertEqual(b.request(ACK, upTo=want[4]), {"removed": 5, "inbox": 4})
        self.assertEqual([m["id"] for m in b.request(INBOX)["messages"]], want[5:])

    @smoke
    def test_acknowledging(self):
        a, b = self.users("Ada", "Bob")
        b2 = self.again(b)
        ids = [a.tell(b, str(n))["id"] for n in range(6)]
        b2.pushes(101, 6)
        self.assertEqual(b.request(ACK, ids=[ids[3], ids[1], ids[1]]), {"removed": 2, "inbox": 4})
        self.assertEqual(b2.push(108), {"inbox": 4})
        self.assertEqual([m["id"] for m in b.request(INBOX)["messages"]], [ids[0], ids[2], ids[4], ids[5]])
        self.assertEqual(b.request(ACK, upTo=ids[4]), {"removed": 3, "inbox": 1})
        self.assertEqual(b2.push(108), {"inbox": 1})
        self.assertEqual(b.request(ACK, upTo=ids[4]), {"removed": 0, "inbox": 1})
        self.assertEqual(b.request(ACK, ids=["0" * 19, ids[0]]), {"removed": 0, "inbox": 1})
        self.assertEqual(b.request(ACK, ids=[]), {"removed": 0, "inbox": 1})
        self.assertEqual(len(b.history(peer=a)["messages"]), 6, "history is left alone")
        b.quiet(108)
        self.assertEqual(b2.request(ACK, upTo=ids[5]), {"removed": 1, "inbox": 0})
        self.assertEqual(self.connect().login(token=b.token)["inbox"], 0)

    def test_acknowledging_is_of_ones_own(self):
        a, b, c = self.users("Ada", "Bob", "Cy")
        sent = a.tell(b, "x")
        self.assertEqual(c.request(ACK, ids=[sent["id"]])["removed"], 0)
        self.assertEqual(a.request(ACK, ids=[sent["id"]])["removed"], 0)
        self.assertEqual(len(b.request(INBOX)["messages"]), 1)

    def test_103_comes_after_the_login_and_only_when_something_waits(self):
        a, b = self.users("Ada", "Bob")
        b2 = self.again(b)
        b2.quiet()
        a.tell(b, "x")
        b3 = self.connect()
        b3.send(LOGIN, token=b.token)
        self.assertEqual([b3.receive()[0], b3.receive()[0]], [1, 103])

    def test_history_of_a_pair_is_for_the_two(self):
        a, b, c = self.users("Ada", "Bob", "Cy")
        a.tell(b, "secret between two")
        self.assertEqual([m["content"] for m in a.history(peer=b)["messages"]], ["secret between two"])
        self.assertEqual(b.history(peer=a)["messages"], a.history(peer=b)["messages"])
        self.assertEqual(c.history(peer=a)["messages"], [], "c's own conversation with a")
        self.refused("bad_request", c, HISTORY, peerId=a.id, channel=b.id)


@embedded("in a cluster these bits are the partition's")
class Node(Test):
    config = {"node": 777}

    def test_the_node_is_part_of_each_id(self):
        a, b = self.users("Ada", "Bob")
        ids = {int(a.tell(b, "x")["id"]) for _ in range(20)} | {int(a.say(self.channel(a), "x")["id"])
                                                                for _ in range(20)}
        self.assertEqual(len(ids), 40)
        self.assertEqual({id >> 12 & 1023 for id in ids}, {777})


class InboxLimit(Test):
    config = {"limits": {"inbox": 5}}

    def test_a_full_inbox_drops_its_oldest(self):
        a, b = self.users("Ada", "Bob")
        ids = [a.tell(b, str(n))["id"] for n in range(8)]
        self.assertEqual([m["id"] for m in b.request(INBOX)["messages"]], ids[3:])
        self.assertEqual(self.connect().login(token=b.token)["inbox"], 5)
        self.assertEqual(len(b.history(peer=a)["messages"]), 8)
        self.assertEqual(b.request(ACK, upTo=ids[2]), {"removed": 0, "inbox": 5})
        self.assertEqual(b.request(ACK, upTo=ids[3]), {"removed": 1, "inbox": 4})
        self.server.restart()
        b2 = self.connect()
        self.assertEqual(b2.login(token=b.token)["inbox"], 4)
        self.assertEqual([m["id"] for m in b2.request(INBOX)["messages"]], ids[4:])


class PageLimit(Test):
    config = {"limits": {"page": 4096}}

    def test_pages_are_cut(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        ids = []
        for n in range(10):
            ids.append(a.tell(b, "%d" % n * 1000)["id"])
            a.say(name, "%d" % n * 1000)
        got, after = [], None
        while True:
            page = b.request(INBOX, **({"after": after} if after else {}))
            self.assertLess(len(page["messages"]), 5)
            self.assertGreater(len(page["messages"]), 0)
            got += [m["id"] for m in page["messages"]]
            if not page["more"]:
                break
            after = got[-1]
        self.assertEqual(got, ids)
        # Upwards from the beginning, and down from the end.
        got, after = [], 0
        while len(got) < 10:
            page = a.history(name, after=after)
            got += [m["seq"] for m in page["messages"]]
            after = got[-1]
            self.assertEqual(page["more"], after < 10)
        self.assertEqual(got, list(range(1, 11)))
        got, before = [], None
        while len(got) < 10:
            page = a.history(name, **({"before": before} if before else {}))
            got = [m["seq"] for m in page["messages"]] + got
            before = got[0]
            self.assertEqual(page["more"], before > 1)
        self.assertEqual(got, list(range(1, 11)))

    def test_one_message_always_goes(self):
        a, b = self.users("Ada", "Bob")
        for n in range(2):
            a.tell(b, "x" * 8000)
        page = b.request(INBOX)
        self.assertEqual((len(page["messages"]), page["more"]), (1, True))
        page = b.history(peer=a)
        self.assertEqual(([m["seq"] for m in page["messages"]], page["more"]), ([2], True))
