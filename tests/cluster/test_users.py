"""What one node decides of a user while another one is letting it in: the decision stands on all of them."""

import json
import random
import signal
import threading
import time

from client import (BEHIND, CHANNEL_MESSAGE, CONVERSATIONS, HISTORY, INBOX, LOGIN, MEMBERS, MEMBERSHIP, PING, READ,
                    SEND_CHANNEL, SUBSCRIBE, UNSUBSCRIBE, Error)
from server import merged
from test_as_one import CONFIG, Nodes


class Decisions(Nodes):
    abstract = False

    def members(self, who, room):
        return {m["id"] for m in who.request(MEMBERS, name=room)["members"]}

    def test_a_ban_while_joining(self):
        """Whoever joins on one node while another bans it is no member, and hears nothing more."""
        a, b, _ = self.three()
        console = self.console(2)
        for _ in range(10):
            room = self.channel(b)
            stop = threading.Event()

            def join():
                while not stop.is_set():
                    try:
                        a.subscribe(room)
                    except Error as e:
                        if e.code != "forbidden":
                            raise
                        stop.set()
            t = threading.Thread(target=join)
            t.start()
            console.ask("channel %s ban %s" % (room, a.id))
            t.join(20)
            self.assertFalse(t.is_alive())
            self.assertEqual(self.members(b, room), {b.id})
            self.refused("forbidden", a, SUBSCRIBE, name=room)
            self.refused("forbidden", a, SEND_CHANNEL, channel=room, content="x")

    def test_a_ban_while_logging_in(self):
        """A user who is banned on one node while it logs in on another is connected to none afterwards."""
        for i in range(6):
            a = self.on(0, "Ada%d" % i)
            again, refused = [], []

            def login():
                for n in (1, 2, 1, 2):
                    c = self.connect(server=self.nodes[n])
                    try:
                        c.login(token=a.token)
                        again.append(c)
                    except (Error, ConnectionError) as e:
                        refused.append(e)
            t = threading.Thread(target=login)
            t.start()
            self.console(2).ask("ban user %s" % a.id)
            t.join(20)
            self.assertFalse(t.is_alive())
            for c in [a] + again:
                self.assertEqual(c.closing()["reason"], "kicked")
            for n in range(3):
                self.assertIn(self.connect(server=self.nodes[n]).error(1, token=a.token).code,
                              ("forbidden", "unauthorized"))

    def test_kicked_out_of_a_channel(self):
        """A kick on one node: nothing of the channel is heard on others, once it is answered."""
        a, b, _ = self.three()
        a2 = self.also(1, a)
        room = self.channel(a, b)
        self.eventually(lambda: a2.push(MEMBERSHIP)["change"] == "joined")
        self.console(2).ask("channel %s kick %s" % (room, a.id))
        for who in (a, a2):
            self.assertEqual(who.push(MEMBERSHIP)["change"], "kicked")
        b.say(room, "x")
        for who in (a, a2):
            who.quiet()
            who.request(PING)


    def bans(self, n):
        return sorted((b["kind"], b["user"], b["channel"] or "") for b in self.console(n).json("list bans --here"))

    def test_bans_and_their_ends_at_once(self):
        """Operators of all nodes make bans and lift them at once, two on each: all nodes end with the same."""
        users = self.three()
        room = self.channel(*users)
        changes = ["mute user {u}", "unmute user {u}", "mute user {u} {r}", "unmute user {u} {r}",
                   "channel {r} ban {u}", "channel {r} unban {u}"]

        def decide(k, refused):
            console, chance = self.console(k % 3), random.Random(k)
            for _ in range(60):
                status, _ = console.raw(chance.choice(changes).format(u=users[0].id, r=room))
                if status != "OK" and "none to lift" not in status:
                    refused.append(status)
        for turn in range(3):
            refused = []
            threads = [threading.Thread(target=decide, args=(6 * turn + k, refused)) for k in range(6)]
            for t in threads:
                t.start()
            for t in threads:
                t.join(60)
            self.assertEqual(refused, [])
            self.eventually(lambda: self.bans(0) == self.bans(1) == self.bans(2), 5)


class Guests(Nodes):
    """Who has used its token is no guest any more, on whichever node; who has not is forgotten everywhere."""

    abstract = False
    settings = merged(CONFIG, {"limits": {"guest": 1}})

    def shown(self, id):
        """What each node says of the user; None: nobody of that id is there."""
        out = []
        for n in range(3):
            status, body = self.console(n).raw("json show user " + id)
            out.append(json.loads("".join(body)) if status.startswith("OK") else None)
        return out

    def test_who_comes_back_elsewhere(self):
        a = self.on(0, "Ada")
        self.assertEqual([u["guest"] for u in self.shown(a.id)], [True] * 3)
        b = self.also(1, a)
        self.assertEqual([u["guest"] for u in self.shown(a.id)], [False] * 3)
        room = self.channel(a)
        for client in (a, b):  # the node that knew it as a guest is the first to see it go
            client.close()
        gone = self.on(2, "Bob")
        gone.close()
        # Bob went last: once he is forgotten, Ada would be.
        self.eventually(lambda: self.is_forgotten(gone), 30)
        for n in self.nodes:
            self.assertEqual(self.connect(server=n).error(LOGIN, token=gone.token).code, "unauthorized")
        for n in range(3):
            self.assertEqual(self.shown(a.id)[n]["guest"], False)
            c = self.also(n, a)
            self.assertEqual([v["channel"] for v in c.request(CONVERSATIONS)["conversations"]], [room])
            c.close()

    def is_forgotten(self, client):
        return self.shown(client.id) == [None] * 3

    def test_who_goes_while_it_comes_back(self):
        """Its first connection closes while another node takes its token: in whatever order, it is no guest then."""
        back = []
        for i in range(24):
            a = self.on(i % 3, "Ada%d" % i)
            c = self.connect(server=self.nodes[(i + 1) % 3])
            t = threading.Thread(target=c.login, kwargs={"token": a.token})
            t.start()
            if i % 2:
                t.join(20)
            a.close()
            t.join(20)
            c.close()
            back.append(a)
        gone = self.on(0, "Bob")
        gone.close()
        self.eventually(lambda: self.is_forgotten(gone), 30)
        for i, a in enumerate(back):
            self.also(i % 3, a).close()


class Accounts(Nodes):
    """Users that operators make and take away, each time on another node."""

    abstract = False

    def token(self, n, id):
        return self.console(n).ask("user token %s" % id).split()[-1]

    def login(self, n, token):
        c = self.connect(server=self.nodes[n])
        c.login(token=token)
        return c

    def test_added_on_one_known_on_all(self):
        a = self.on(2, "Ada")
        self.console(0).ask("user add shop-1 Anna from the shop")
        for n in range(3):
            shown = self.console(n).json("show user shop-1")
            self.assertEqual((shown["name"], shown["guest"], shown["online"]), ("Anna from the shop", False, False))
            self.assertIn("already", self.console(n).raw("user add shop-1 Another")[0])
        a.tell("shop-1", "before it was ever here")
        shop = self.login(1, self.token(0, "shop-1"))
        self.assertEqual(shop.name, "Anna from the shop")
        self.assertEqual([m["content"] for m in shop.request(INBOX)["messages"]], ["before it was ever here"])
        for n in range(3):
            self.assertEqual(self.login(n, self.token((n + 1) % 3, "shop-1")).id, "shop-1")

    def test_added_on_all_at_once(self):
        """It is made once; the others are told that it is there."""
        for turn in range(5):
            consoles, got = [self.console(n) for n in range(3)], []

            def add(n):
                got.append(consoles[n].raw("user add twin-%d Name%d" % (turn, n))[0])
            threads = [threading.Thread(target=add, args=(n,)) for n in range(3)]
            for t in threads:
                t.start()
            for t in threads:
                t.join(20)
            self.assertEqual(got.count("OK"), 1, got)
            names = {consoles[n].json("show user twin-%d" % turn)["name"] for n in range(3)}
            self.assertEqual(len(names), 1, names)

    def test_old_tokens_stay_dead(self):
        """A deleted id that is made anew, each time elsewhere, is somebody else on all nodes."""
        old = []
        for turn in range(3):
            self.console(turn).ask("user add again-1 Turn%d" % turn)
            old.append(self.token((turn + 1) % 3, "again-1"))
            c = self.login((turn + 2) % 3, old[-1])
            self.assertEqual(c.name, "Turn%d" % turn)
            old.append(c.token)
            for n in range(3):
                for token in old[:-2]:
                    self.refused("unauthorized", self.connect(server=self.nodes[n]), LOGIN, token=token)
            self.console((turn + 2) % 3).ask("user delete again-1")
            self.assertEqual(c.closing()["reason"], "kicked")
            for n in range(3):
                for token in old:
                    self.refused("unauthorized", self.connect(server=self.nodes[n]), LOGIN, token=token)


class Joins(Nodes):
    """A user joins by one connection; another one of its, to another node, misses nothing in silence."""

    abstract = False

    def talk(self, client, room, end, said):
        while not end.is_set():
            said.append(client.say(room, "x")["seq"])
            time.sleep(0.002)

    def follows(self, other, room, joined, last):
        """What the other connection gets of the room: from its beginning on, or told that it is behind first; and then
        all up to `last`. Returns whether it was told."""
        def find(actions, what):
            return other.find(lambda f: f[0] in actions and f[2]["channel"] == room, 20, what)

        action, _, body = find((MEMBERSHIP, CHANNEL_MESSAGE, BEHIND), "anything of the room")
        self.assertEqual((action, body.get("change")), (MEMBERSHIP, "joined"))
        told, at = False, joined
        while at < last:
            action, _, body = find((CHANNEL_MESSAGE, BEHIND), "%d of %d" % (at + 1, last))
            if action == BEHIND:
                self.assertEqual(at, joined, "it is told that it is behind before anything else")
                at, told = max(at, body["seq"]), True
            else:
                self.assertEqual(body["seq"], at + 1)
                at += 1
        return told

    def joins(self, stopped=False, listener=True):
        a, b, c = self.three()
        a2, room = self.also(2, a), self.channel(b)
        if listener:
            c.subscribe(room)
        end, said = threading.Event(), []
        t = threading.Thread(target=self.talk, args=(b, room, end, said))
        t.start()
        try:
            self.eventually(lambda: len(said) > 5)
            if stopped:
                self.nodes[2].signal(signal.SIGSTOP)
            try:
                a.subscribe(room)
                joined = next(v["read"] for v in a.request(CONVERSATIONS)["conversations"] if v["channel"] == room)
                more = len(said) + 20
                self.eventually(lambda: len(said) > more, 20)
            finally:
                self.nodes[2].signal(signal.SIGCONT)
            more = len(said) + 5
            self.eventually(lambda: len(said) > more, 20)
        finally:
            end.set()
            t.join(20)
        told = self.follows(a2, room, joined, said[-1])
        a.request(UNSUBSCRIBE, name=room)
        for client in (a, a2, b, c):
            client.close()
        return told

    def test_while_others_talk(self):
        for i in range(12):
            self.joins(listener=i % 2)

    def test_its_other_connections_act_at_once(self):
        """Once it has joined on one node it is a member on all, whether they have heard of it or not."""
        a, b, _ = self.three()
        others = [self.also(n, a) for n in (1, 2)]
        for i in range(30):
            room = self.channel(b)
            b.say(room, "x")
            a.subscribe(room)
            for c in others:
                seqs = [(action, c.send(action, **body)) for action, body in (
                    ((SEND_CHANNEL, {"channel": room, "content": "y"}), (HISTORY, {"channel": room}),
                     (READ, {"channel": room, "seq": 1}), (MEMBERS, {"name": room}))[i % 4:])]
                for action, seq in seqs:
                    self.assertNotIn("error", c.answer(action, seq))
            a.request(UNSUBSCRIBE, name=room)
            for c in others:
                self.refused("forbidden", c, HISTORY, channel=room)

    def test_on_a_node_that_hangs(self):
        """It hears of the membership and of messages in one go, each from another master."""
        for i in range(4):
            self.joins(stopped=True, listener=i % 2)
