"""A node is killed between any two of the functions by which an operation changes several partitions of Redis: after
each reply, in each order. Whoever is there next does the rest, once, by the sweep or by the client's repeat.

What happened is made certain inside Redis: a function that is cut "before" does nothing, one that is cut "after" does
all of it, and in either case the node is told to try again, as when a slot moves. So until the kill the one that is cut
after its work is done again and again."""

from base import Test
from client import (ACK, BLOCK, CHANNEL_MESSAGE, CONVERSATIONS, INBOX, INBOX_WAITING, MEMBERS, SEND_CHANNEL, SEND_USER,
                    SUBSCRIBE, UNSUBSCRIBE, USER_MESSAGE)
from console import Console
from redis_cluster import RedisCluster, everywhere
from server import Server

REGISTER = "  redis.register_function{"
CUT = """\
  local cut = ({%s})[name]
  if cut then
    local whole = callback
    callback = function(keys, args)
      if cut == 'after' then whole(keys, args) end
      return redis.error_reply('TRYAGAIN cut')
    end
  end
""" + REGISTER


class Cuts(Test):
    abstract = True

    @classmethod
    def setUpClass(cls):
        cls.redis = RedisCluster()
        cls.addClassCleanup(cls.redis.close)

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        super().setUp()
        self.redis.healthy()
        self.server = Server({"log": {"level": "info"}, "listen": {"console": "unix:console.sock"}},
                             redis=self.redis.addresses)
        self.addCleanup(self.server.close)
        library = self.redis.master_of(0).call("FUNCTION", "LIST", "LIBRARYNAME", "magpie_*", "WITHCODE")
        self.whole = library[0][library[0].index(b"library_code") + 1].decode()
        self.assertEqual(self.whole.count(REGISTER), 1)

    # --- Redis

    def load(self, code):
        for master in self.redis.masters():
            master.call("FUNCTION", "LOAD", "REPLACE", code)

    def cut(self, **functions):
        self.load(self.whole.replace(REGISTER, CUT % ", ".join("%s = '%s'" % f for f in functions.items())))

    def killed(self):
        """The node is, and starts again with functions that are whole."""
        self.server.kill()
        for c in self.clients:
            c.close()
        self.load(self.whole)
        self.server.start()

    def values(self, kind, rest, *command):
        """What a command says of each key of that kind whose end is `rest`."""
        found = [(c, key) for c, key in everywhere(self.redis.addresses, self.server.keys + kind + "{")
                 if key.endswith(b"}" + rest)]
        return [c.call(command[0], key, *command[1:]) for c, key in found]

    def intents(self):
        return sum(self.values("o", b"", "HLEN"))

    def settled(self):
        self.eventually(lambda: self.intents() == 0, 30)

    def has(self, kind, rest, *command):
        """Whether the value is there and not 0."""
        return any(v not in (None, 0) for v in self.values(kind, b":" + rest, *command))

    def is_member(self, user, room):
        """At the user: the half that is not the channel's."""
        return any(v is not None and v[0] == 1 for v in self.values("u", b":" + user.id.encode(), "HGET", "c" + room))

    # --- Clients

    def console(self):
        c = Console(self.server)
        self.addCleanup(c.close)
        return c

    def rooms(self, client):
        return sorted(c["channel"] for c in client.request(CONVERSATIONS)["conversations"] if "channel" in c)

    def members(self, client, room):
        return sorted(m["id"] for m in client.request(MEMBERS, name=room)["members"])


class Messages(Cuts):
    """Private ones: `append` at the pair, then `inbox_put` at the receiver and `sent` at the sender side by side, then
    `settle` at the pair."""

    abstract = False

    def shown(self, b):
        return [m["content"] for m in b.request(INBOX)["messages"]]

    def case(self, done, **cut):
        """Two messages are cut where `done` comes true of (sender, receiver). Of one the sender repeats it at once."""
        talks = [self.users("Ada", "Bob") for _ in range(2)]
        for a, b in talks:
            b.request(ACK, upTo=a.tell(b, "before")["id"])
        self.settled()
        self.cut(**cut)
        for a, b in talks:
            a.send(SEND_USER, receiverId=b.id, content="cut", clientId="cut")
        self.eventually(lambda: self.intents() == 2 and all(done(a, b) for a, b in talks), 30)
        self.killed()
        talks = [(self.again(a), self.again(b)) for a, b in talks]
        a, b = talks[1]
        waits = not self.shown(b)
        a, b = talks[0]
        self.assertEqual(a.tell(b, "cut", clientId="cut")["seq"], 2)
        if waits:  # whoever is there when the sweep does it hears of it
            talks[1][1].push(INBOX_WAITING, 30)
        for a, b in talks:
            self.eventually(lambda: self.shown(b) == ["cut"], 30)
        self.settled()
        for a, b in talks:
            self.assertEqual(self.shown(b), ["cut"])
            message = b.request(INBOX)["messages"][0]
            self.assertEqual((message["seq"], b.history(peer=a)["messages"][-1]["id"]), (2, message["id"]))
            self.assertEqual([c["unread"] for c in a.request(CONVERSATIONS)["conversations"]], [0])
            b.request(ACK, upTo=message["id"])
            self.assertEqual(a.tell(b, "cut", clientId="cut")["id"], message["id"])
            self.assertEqual(a.tell(b, "next")["seq"], 3)
            self.eventually(lambda: self.shown(b) == ["next"], 30)
            b.push(USER_MESSAGE)

    def put(self, a, b):
        return self.has("I", b.id.encode(), "HLEN")

    def sent(self, a, b):
        """The sender has read its second message."""
        marks = self.values("r", b":" + a.id.encode(), "HGET", b.id)
        return any(m and int.from_bytes(m[:6], "big") == 2 for m in marks)

    def test_after_the_message(self):
        self.case(lambda a, b: True, inbox_put="before", sent="before")

    def test_after_the_message_whose_reply_is_lost(self):
        self.case(lambda a, b: True, append="after")

    def test_after_the_inbox(self):
        self.case(self.put, sent="before")

    def test_after_the_inbox_whose_reply_is_lost(self):
        self.case(self.put, inbox_put="after", sent="before")

    def test_after_the_sender(self):
        self.case(self.sent, inbox_put="before")

    def test_after_the_sender_whose_reply_is_lost(self):
        self.case(self.sent, inbox_put="before", sent="after")

    def test_after_both(self):
        self.case(lambda a, b: self.put(a, b) and self.sent(a, b), settle="before")

    def test_after_both_whose_replies_are_lost(self):
        self.case(lambda a, b: self.put(a, b) and self.sent(a, b), inbox_put="after", sent="after")

    def test_a_first_message(self):
        """Which asks for both users before it is written."""
        for how in ("before", "after"):
            a, b = self.users("Ada", "Bob")
            self.cut(paired=how)
            a.send(SEND_USER, receiverId=b.id, content="cut", clientId="cut")
            a.quiet(wait=1)
            self.killed()
            a, b = self.again(a), self.again(b)
            self.assertEqual(self.shown(b), [])
            self.assertEqual(a.tell(b, "cut", clientId="cut")["seq"], 1)
            self.assertEqual(self.shown(b), ["cut"])

    def test_a_block(self):
        """At the pair, and at the user who blocks: for a repeat it is as if there had been nothing."""
        for cut in ({"block": "before"}, {"block": "after"}, {"blocks": "before"}, {"blocks": "after"}):
            a, b = self.users("Ada", "Bob")
            b.tell(a, "before")
            a.push(USER_MESSAGE)
            self.settled()
            self.cut(**cut)
            a.send(BLOCK, id=b.id, blocked=True)
            a.quiet(wait=1)
            self.killed()
            a, b = self.again(a), self.again(b)
            a.request(BLOCK, id=b.id, blocked=True)
            self.refused("forbidden", b, SEND_USER, receiverId=a.id, content="x")
            a.request(BLOCK, id=b.id, blocked=False)
            b.tell(a, "after")


class Memberships(Cuts):
    """`join` or `leave` at the channel, then `sub_put` or `sub_del` at the user, `settle` at the channel."""

    abstract = False

    def case(self, done=lambda user, room: True, joins=True, **cut):
        a, b = self.users("Ada", "Bob")
        room = self.channel(a)
        if not joins:
            b.subscribe(room)
        self.settled()
        self.cut(**cut)
        b.send(SUBSCRIBE if joins else UNSUBSCRIBE, name=room)
        member = b.id.encode()
        self.eventually(lambda: self.intents() == 1 and done(b, room) and
                        self.has("M", b"c" + room.encode(), "ZRANK", member) == joins, 30)
        self.killed()
        a, b = self.again(a), self.again(b)
        self.settled()
        self.assertEqual(self.is_member(b, room), joins)
        self.assertEqual(self.members(a, room), sorted([a.id, b.id] if joins else [a.id]))
        self.eventually(lambda: self.rooms(b) == ([room] if joins else []), 30)
        if joins:
            self.eventually(lambda: "error" not in b.ask(SEND_CHANNEL, channel=room, content="here", clientId="c"), 30)
            self.assertEqual(b.say(room, "here", clientId="c")["seq"], 1)
            self.eventually(lambda: a.say(room, "to all") and b.push(CHANNEL_MESSAGE)["content"] == "to all", 30)
        else:
            self.refused("forbidden", b, SEND_CHANNEL, channel=room, content="x")
            b.subscribe(room)
            self.assertEqual(b.say(room, "again")["seq"], 1)

    def joined(self, user, room):
        return self.is_member(user, room)

    def left(self, user, room):
        return not self.is_member(user, room)

    def test_joining_after_the_channel(self):
        self.case(sub_put="before")

    def test_joining_after_the_channel_whose_reply_is_lost(self):
        self.case(join="after")

    def test_joining_after_the_user(self):
        self.case(self.joined, settle="before")

    def test_joining_after_the_user_whose_reply_is_lost(self):
        self.case(self.joined, sub_put="after")

    def test_leaving_after_the_channel(self):
        self.case(joins=False, sub_del="before")

    def test_leaving_after_the_channel_whose_reply_is_lost(self):
        self.case(joins=False, leave="after")

    def test_leaving_after_the_user(self):
        self.case(self.left, joins=False, settle="before")

    def test_leaving_after_the_user_whose_reply_is_lost(self):
        self.case(self.left, joins=False, sub_del="after")


class Deletions(Cuts):
    """Of a channel: `close`, for each member `leave` and `sub_del`, then `wipe`. Of a user: `forget`, for each channel
    the same, then `forget` again. What was begun goes on by itself."""

    abstract = False

    def flags(self, room):
        """Of a channel's head; None: nothing is left of it but its numbers."""
        heads = [v for v in self.values("m", b":c" + room.encode(), "HGET", "h") if v]
        return heads[0][1] & 3 if heads else None

    def channel_case(self, done, **cut):
        a, b = self.users("Ada", "Bob")
        room, other = self.channel(a, b), self.channel(a, b)
        a.say(room, "x")
        self.settled()
        self.cut(**cut)
        self.console().send("channel %s delete\n" % room)
        self.eventually(lambda: done(a, b, room), 30)
        self.killed()
        a, b = self.again(a), self.again(b)
        self.eventually(lambda: not self.flags(room), 60)
        self.settled()
        for c in (a, b):
            self.eventually(lambda: self.rooms(c) == [other], 30)
            self.refused("not_found", c, SEND_CHANNEL, channel=room, content="x")
        a.subscribe(room)
        self.assertEqual(a.history(room)["messages"], [])
        self.assertEqual(a.say(room, "y")["seq"], 2)

    def closing(self, a, b, room):
        return self.flags(room) == 3

    def nobody(self, a, b, room):
        return not self.has("M", b"c" + room.encode(), "ZCARD")

    def test_a_channel_after_it_was_closed(self):
        self.channel_case(self.closing, leave="before")

    def test_a_channel_after_it_was_closed_whose_reply_is_lost(self):
        self.channel_case(self.closing, close="after")

    def test_a_channel_after_members_left_it(self):
        self.channel_case(self.closing, sub_del="before")

    def test_a_channel_after_members_left_it_whose_replies_are_lost(self):
        self.channel_case(self.closing, leave="after")

    def test_a_channel_after_all_have_left(self):
        self.channel_case(self.nobody, wipe="before")

    def test_a_channel_after_it_is_wiped(self):
        self.channel_case(lambda a, b, room: not self.flags(room), wipe="after")

    def user_case(self, done, **cut):
        a, b = self.users("Ada", "Bob")
        room = self.channel(a, b)
        a.tell(b, "x")
        self.settled()
        self.cut(**cut)
        self.console().send("user delete %s\n" % a.id)
        self.eventually(lambda: done(a), 30)
        self.killed()
        b = self.again(b)
        self.eventually(lambda: self.members(b, room) == [b.id], 60)
        self.eventually(lambda: not any(v for v in self.values("G", b"", "ZSCORE", a.id)), 60)
        self.eventually(lambda: not self.going(a), 60)
        self.settled()
        self.assertFalse(self.is_member(a, room))
        self.refused("unauthorized", self.connect(), 1, token=a.token)
        self.refused("not_found", b, SEND_USER, receiverId=a.id, content="x")
        self.assertEqual([m["content"] for m in b.history(peer=a)["messages"]], ["x"])

    def going(self, user):
        return self.has("u", user.id.encode(), "HGET", "f")

    def test_a_user_after_it_was_begun(self):
        self.user_case(self.going, leave="before")

    def test_a_user_after_it_was_begun_whose_reply_is_lost(self):
        self.user_case(self.going, forget="after")

    def test_a_user_after_it_left_its_channels(self):
        self.user_case(self.going, sub_del="before")
