"""Three nodes are one chat: whatever a client does on one of them is seen on the others, as if it were one server."""

import threading

from base import Test
from client import (ACK, ANNOUNCEMENT, BLOCK, CHANNEL_MESSAGE, EDIT, EDITED, INBOX, INBOX_WAITING, LOGOUT, MEMBERS,
                    MEMBERSHIP, MERGED, PRESENCE, PRESENCE_CHANGED, READ, READ_ELSEWHERE, RECALL, RECALLED,
                    SEND_CHANNEL, SEND_USER, UNSUBSCRIBE, USER_MESSAGE, WATCH)
from console import Console
from redis_cluster import shared
from together import start_nodes

CONFIG = {"log": {"level": "info"}, "listen": {"console": "unix:console.sock"}}


class Nodes(Test):
    """self.nodes: three; self.on(n, "Ada") is a new user's connection to the n-th."""

    abstract = True
    settings = CONFIG
    one_process = "its nodes are its own"

    @classmethod
    def setUpClass(cls):
        cls.redis = shared()
        cls.addClassCleanup(cls.redis.close)
        cls.nodes = start_nodes(cls.settings, cls.redis.addresses)
        cls.server = cls.nodes[0]

    @classmethod
    def tearDownClass(cls):
        for n in cls.nodes:
            n.close()

    def on(self, n, name, **login):
        return self.user(name, server=self.nodes[n], **login)

    def three(self):
        """One on each."""
        return [self.on(n, name) for n, name in enumerate(("Ada", "Bob", "Cid"))]

    def also(self, n, client, **login):
        """Another connection of the same user."""
        return self.again(client, server=self.nodes[n], **login)

    def console(self, n):
        c = Console(self.nodes[n])
        self.addCleanup(c.close)
        return c


class Messages(Nodes):
    abstract = False

    def test_a_channel(self):
        a, b, c = self.three()
        room = self.channel(a, b, c)
        for i, who in enumerate((a, b, c) * 5):
            said = who.say(room, "m%d" % i)
            self.assertEqual(said["seq"], i + 1)
            for other in (a, b, c):
                push = other.push(CHANNEL_MESSAGE)
                self.assertEqual((push["seq"], push["id"], push["content"], push["sender"]["id"], push["createdAt"]),
                                 (i + 1, said["id"], "m%d" % i, who.id, said["createdAt"]))
        pages = [who.history(room) for who in (a, b, c)]
        self.assertEqual(pages[0], pages[1])
        self.assertEqual(pages[0], pages[2])

    def test_order(self):
        """All send at once: all hear the same, in the order of its numbers."""
        senders = self.three()
        listeners = [self.on(n, "L%d" % n) for n in range(3)]
        room = self.channel(*(senders + listeners))
        each = 60

        def talk(client):
            for i in range(each):
                client.say(room, "x")
        threads = [threading.Thread(target=talk, args=(s,)) for s in senders]
        for t in threads:
            t.start()
        heard = [[p["id"] for p in listener.pushes(CHANNEL_MESSAGE, 3 * each, 30)] for listener in listeners]
        for t in threads:
            t.join()
        self.assertEqual([m["id"] for m in senders[0].history(room, limit=200)["messages"]], heard[0])
        self.assertEqual(heard[0], heard[1])
        self.assertEqual(heard[0], heard[2])

    def test_private(self):
        a, b, _ = self.three()
        b2, a2 = self.also(2, b), self.also(2, a)
        said = a.tell(b, "hello")
        for who in (b, b2, a2):
            push = who.push(USER_MESSAGE)
            self.assertEqual((push["id"], push["seq"], push["content"], push["receiverId"]),
                             (said["id"], 1, "hello", b.id))
        a.quiet(USER_MESSAGE)
        b2.tell(a, "and you")
        for who in (a, a2, b):
            self.assertEqual(who.push(USER_MESSAGE)["seq"], 2)
        self.assertEqual([m["id"] for m in b.request(INBOX)["messages"]], [said["id"]])
        for who in (a, a2, b, b2):
            who.quiet()

    def test_a_repeat_elsewhere(self):
        a, b, _ = self.three()
        room = self.channel(a, b)
        a2 = self.also(2, a)
        first, again = a.say(room, "x", clientId="once"), a2.say(room, "x", clientId="once")
        self.assertEqual(first, again)
        self.assertEqual(b.push(CHANNEL_MESSAGE)["id"], first["id"])
        first, again = a.tell(b, "x", clientId="once"), a2.tell(b, "x", clientId="once")
        self.assertEqual(first, again)
        self.assertEqual(b.push(USER_MESSAGE)["id"], first["id"])
        b.quiet()

    def test_edit_and_recall(self):
        a, b, c = self.three()
        room = self.channel(a, b, c)
        for i in range(3):
            a.say(room, "m%d" % i)
        for who in (a, b, c):
            who.pushes(CHANNEL_MESSAGE, 3)
        a2 = self.also(1, a)
        edited = a2.request(EDIT, channel=room, seq=2, content="better")
        for who in (a, b, c):
            push = who.push(EDITED)
            self.assertEqual((push["channel"], push["seq"], push["content"], push["editedAt"]),
                             (room, 2, "better", edited["editedAt"]))
        a.request(RECALL, channel=room, seq=1)
        for who in (a2, b, c):
            self.assertEqual(who.push(RECALLED)["seq"], 1)
        for who in (a, b, c):
            self.assertEqual([(m["content"], m.get("recalled")) for m in who.history(room)["messages"]],
                             [("", True), ("better", None), ("m2", None)])

    def test_edit_and_recall_in_private(self):
        a, b, _ = self.three()
        b2 = self.also(2, b)
        a.tell(b, "one")
        a.tell(b, "two")
        for who in (b, b2):
            who.pushes(USER_MESSAGE, 2)
        a.request(EDIT, peerId=b.id, seq=1, content="better")
        a.request(RECALL, peerId=b.id, seq=2)
        for who in (b, b2):
            self.assertEqual(who.push(EDITED)["content"], "better")
            self.assertEqual(who.push(RECALLED)["seq"], 2)

    def test_changes_of_what_came_meanwhile(self):
        """It is in the inbox, and no change brings it once more."""
        a, b, _ = self.three()
        b.tell(a, "one")
        a.push(USER_MESSAGE)
        a.close()
        self.eventually(lambda: not b.request(PRESENCE, ids=[a.id])["online"])
        b.tell(a, "two")
        b.tell(a, "three")
        a2 = self.also(0, a)
        self.assertEqual(a2.push(INBOX_WAITING)["inbox"], 3)
        b.request(EDIT, peerId=a.id, seq=2, content="better")
        b.request(RECALL, peerId=a.id, seq=3)
        self.assertEqual(a2.push(EDITED)["content"], "better")
        self.assertEqual(a2.push(RECALLED)["seq"], 3)
        b.tell(a, "four")
        self.assertEqual(a2.push(USER_MESSAGE)["seq"], 4)
        a2.quiet(USER_MESSAGE)


class Slices(Nodes):
    abstract = False
    settings = dict(CONFIG, tiers={"large": {"members": 4}}, push={"slice_ms": 200})

    def test_merged(self):
        """A channel that is large everywhere once it is anywhere, and whose nodes cut slices of their own."""
        people = [self.on(n % 3, "P%d" % n, accept=["merge"]) for n in range(6)]
        room = self.channel(*people)
        self.assertEqual(people[0].subscribe(room)["tier"], "large")
        for i in range(30):
            people[i % 6].say(room, "m%d" % i)
        for who in people:
            upto = 0
            while upto < 30:
                action, _, body = who.find(lambda f: f[0] in (MERGED, CHANNEL_MESSAGE), 10, "a slice")
                first, last = (body["from"], body["to"]) if action == MERGED else (body["seq"], body["seq"])
                self.assertEqual(first, upto + 1)
                upto = last
        self.assertEqual({p.subscribe(room)["members"] for p in people}, {6})


class People(Nodes):
    abstract = False

    def test_a_device_is_replaced(self):
        a = self.on(0, "Ada", device="phone")
        b = self.also(1, a, device="phone")
        self.assertEqual(a.closing()["reason"], "replaced")
        self.also(2, a, device="phone")
        self.assertEqual(b.closing()["reason"], "replaced")

    def test_presence(self):
        a, b, c = self.three()
        room = self.channel(a, b, c)
        everybody = {"ids": [a.id, b.id, c.id]}
        for who in (a, b, c):
            self.assertEqual(sorted(who.request(PRESENCE, **everybody)["online"]), sorted(everybody["ids"]))
            self.assertEqual({m["id"]: m["online"] for m in who.request(MEMBERS, name=room)["members"]},
                             {a.id: True, b.id: True, c.id: True})
        c.close()
        for who in (a, b):
            self.eventually(lambda: sorted(who.request(PRESENCE, **everybody)["online"]) == sorted([a.id, b.id]))

    def test_watches(self):
        a, b, c = self.three()
        self.channel(a, b, c)
        self.assertEqual(a.request(WATCH, ids=[b.id, c.id], watch=True), {"online": [b.id, c.id]})
        b2 = self.also(2, b)
        b.close()
        a.quiet(PRESENCE_CHANGED, wait=3)
        b2.close()
        self.assertEqual(a.push(PRESENCE_CHANGED), {"id": b.id, "online": False})
        self.also(1, b)
        self.assertEqual(a.push(PRESENCE_CHANGED), {"id": b.id, "online": True})

    def test_read_elsewhere(self):
        a, b, _ = self.three()
        room = self.channel(a, b)
        b2 = self.also(2, b)
        a.say(room, "x")
        sent = a.tell(b, "y")
        b.request(READ, channel=room, seq=1)
        self.assertEqual(b2.push(READ_ELSEWHERE), {"channel": room, "seq": 1})
        b.request(ACK, upTo=sent["id"])
        self.assertEqual(b2.push(READ_ELSEWHERE), {"inbox": 0})

    def test_membership(self):
        a, b, c = self.three()
        b2 = self.also(2, b)
        room = self.channel(a, events=True)
        b.subscribe(room)
        push = a.push(MEMBERSHIP)
        self.assertEqual((push["id"], push["change"], push["members"]), (b.id, "joined", 2))
        push = b2.push(MEMBERSHIP)
        self.assertEqual((push["id"], push["change"]), (b.id, "joined"))
        c.subscribe(room)
        c.say(room, "to b's other connection, too")
        self.assertEqual(b2.push(CHANNEL_MESSAGE)["seq"], 1)
        self.assertEqual(a.push(MEMBERSHIP)["id"], c.id)
        b2.request(UNSUBSCRIBE, name=room)
        self.assertEqual(a.push(MEMBERSHIP)["change"], "left")
        self.assertEqual(b.push(MEMBERSHIP)["change"], "left")
        c.say(room, "no more")
        self.assertEqual(a.pushes(CHANNEL_MESSAGE, 2)[1]["seq"], 2)
        b.push(CHANNEL_MESSAGE)
        b.quiet(CHANNEL_MESSAGE)
        b2.quiet(CHANNEL_MESSAGE)
        self.refused("forbidden", b, SEND_CHANNEL, channel=room, content="x")

    def test_blocks(self):
        a, b, _ = self.three()
        a.tell(b, "x")
        b2 = self.also(2, b)
        b2.request(BLOCK, id=a.id, blocked=True)
        self.refused("forbidden", a, SEND_USER, receiverId=b.id, content="y")
        b.request(BLOCK, id=a.id, blocked=False)
        self.assertEqual(a.tell(b, "z")["seq"], 2)

    def test_names(self):
        a, b, c = self.three()
        room = self.channel(a, b, c)
        self.also(1, a, name="Adelaide")
        self.eventually(lambda: a.say(room, "x") and b.push(CHANNEL_MESSAGE)["sender"]["name"] == "Adelaide")
        self.assertIn({"id": a.id, "name": "Adelaide", "online": True}, c.request(MEMBERS, name=room)["members"])

    def test_logged_out_everywhere(self):
        a, b, _ = self.three()
        a2 = self.also(1, a)
        a.request(LOGOUT)
        for n in range(3):
            for token in (a.token, a2.token):
                self.refused("unauthorized", self.connect(server=self.nodes[n]), 1, token=token)

    def test_bans(self):
        a, b, _ = self.three()
        room = self.channel(a, b)
        self.console(2).ask("ban user %s" % a.id)
        self.assertEqual(a.closing()["reason"], "kicked")
        for n in range(3):
            c = self.connect(server=self.nodes[n])
            self.assertIn(c.error(1, token=a.token).code, ("forbidden", "unauthorized"))
        self.assertTrue(b.say(room, "x"))

    def test_kicks(self):
        a, b, _ = self.three()
        self.console(2).ask("kick user %s" % a.id)
        self.assertEqual(a.closing()["reason"], "kicked")
        self.also(1, a)

    def test_announcements(self):
        people = self.three()
        self.console(1).ask("announce the house is on fire")
        for who in people:
            self.assertEqual(who.push(ANNOUNCEMENT)["content"], "the house is on fire")

    def test_one_goes_and_comes(self):
        """A node drains: its people are sent away, and found on another node at once."""
        a, b, _ = self.three()
        room = self.channel(a, b)
        leaving = self.nodes[0]
        leaving.restart()
        self.assertEqual(a.closing()["reason"], "shutdown")
        a = self.also(1, a)
        self.assertEqual(a.request(PRESENCE, ids=[a.id, b.id])["online"], [a.id, b.id])
        b.say(room, "x")
        self.assertEqual(a.push(CHANNEL_MESSAGE)["seq"], 1)
        c = self.on(0, "Cid")
        c.subscribe(room)
        c.say(room, "y")
        for who in (a, b):
            self.eventually(lambda: who.push(CHANNEL_MESSAGE)["seq"] == 2)
