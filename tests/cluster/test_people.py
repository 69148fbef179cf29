#!/usr/bin/env python3
"""What the functions of users, memberships, lists and notes do, one by one, and each of them twice. Needs redis-server
alone.

    python3 tests/cluster/test_people.py [NAME…]"""

import os
import random
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from functions import *  # noqa: E402,F403
from test_functions_time import head_channel  # noqa: E402

ROOM = b"croom"
PUSH, EVENTS = 1, 2  # what a join sets
HOUR = 3600000


class People(OneRedis):
    # --- the functions ---

    def save(self, user, create=0, name="N", epoch=0, ttl="", version=7, now=NOW, fn="user_put"):
        keys = [key("u", user), key("G"), key("p", user)]
        reply = self.r.call(fn, keys, now, now, create, name, epoch, ttl, version)
        if reply[:1] != b"N":
            return reply[:1].decode()
        epoch, due, revoked, version, made, rest = take("4 6 6 6 1", reply[1:])
        self.assertEqual(rest, b"")
        return {"epoch": epoch, "due": due, "revoked": revoked, "version": version, "made": made}

    def load(self, user, now=NOW):
        at, channels, out = 0, {}, None
        while True:
            reply = self.r.call("user_get", user_keys("uiI", user), at, rule(now))
            (was, at, epoch, due, revoked, version, arrivals, inbox, until, n,
             rest) = take("1 6 4 6 6 6 6 4 6 1", reply[1:])
            name, rest = rest[:n], rest[n:]
            while rest:
                k, rest = rest[1:1 + rest[0]], rest[1 + rest[0]:]
                channels[k], rest = rest[1:1 + rest[0]], rest[1 + rest[0]:]
            out = {"code": reply[:1].decode(), "epoch": epoch, "due": due, "revoked": revoked, "version": version,
                   "was_guest": was, "arrivals": arrivals, "inbox": inbox, "until": until, "name": name.decode(),
                   "channels": channels}
            if not at:
                return out

    def forget(self, user, step, now=NOW, living=(), newest=0):
        return self.r.call("forget", user_keys("upriISW", user) + [key("G")], step, now, newest,
                           b"".join(map(u48, living)))

    def join(self, user, conv=ROOM, set=0, push=0, events=0, create=1, now=NOW):
        keys = [key("m", conv), key("M", conv), key("o"), key("c")]
        reply = self.r.call("join", keys, conv, now, user, push, events, set, create)
        if reply[:1] != b"N":
            return reply.decode()
        created, existed, members, seq, low, tier, version, channels, _ = take("1 1 4 6 6 1 6 4", reply[1:])
        return {"created": created, "existed": existed, "members": members, "seq": seq, "low": low, "tier": tier,
                "version": version, "channels": channels}

    def leave(self, user, conv=ROOM, keep=0, rules=None):
        keys = [key("m", conv), key("M", conv), key("o"), key("e"), key("A"), key("c")]
        reply = self.r.call("leave", keys, conv, NOW, user, keep, rules or rule())
        if reply[:1] != b"N":
            return reply.decode()
        existed, gone, members, tier, version, channels, _ = take("1 1 4 1 6 4", reply[1:])
        return {"existed": existed, "gone": gone, "members": members, "version": version, "channels": channels}

    def sub_put(self, user, version, conv=ROOM, set=0, push=0, events=0, seq=0, strict=0):
        reply = self.r.call("sub_put", user_keys("u", user), conv, push, events, set, seq, version, strict)
        if reply == b"X":
            return "X"
        member, push, events, changed, count, _ = take("1 1 1 1 6", reply[1:])
        return reply[:1].decode(), member, push, events, changed

    def sub_del(self, user, version, conv=ROOM, now=NOW):
        reply = self.r.call("sub_del", user_keys("u", user), conv, now, version)
        return reply[:1].decode(), reply[1]

    def sub(self, user, conv=ROOM):
        """(push, events, read, version) of a member; (version,) of who has left; None."""
        v = self.r.redis.call("HGET", key("u", user), conv)
        if v is None:
            return None
        return tuple(take("1 1 6 6", v[1:])[:4]) if v[0] else (take("6 6", v[1:])[1],)

    def wiping(self, name, conv=ROOM):
        return self.r.call(name, [key(k, conv) for k in "mM"] + [key(k) for k in "eAc"], conv)

    def close(self, conv=ROOM):
        return self.r.call("close", [key("m", conv), key("e")], conv)

    def members(self, conv=ROOM, going=0, after="", limit=100):
        reply = self.r.call("members", user_keys("mM", conv), going, after, limit)
        if reply == b"X":
            return "X"
        rest, out = reply[2:], []
        while rest:
            out.append(rest[1:1 + rest[0]].decode())
            rest = rest[1 + rest[0]:]
        return out, bool(reply[1])

    def names(self, most=48):
        reply = self.r.call("names", [key("c")], most)
        (n, rest), out = take("2", reply[1:]), []
        while rest:
            out.append(rest[1:1 + rest[0]])
            rest = rest[1 + rest[0]:]
        self.assertEqual(len(out), n)
        return out

    def drop(self, *convs):
        self.assertEqual(self.r.call("names_drop", [key("c")] + [key("m", c) for c in convs], *convs), b"N")

    # --- users ---

    def test_a_user_is_made_once(self):
        first, second = self.twice(lambda: self.save("ann", create=1, name="Ann", epoch=3, version=77))
        self.assertEqual(first, second)
        self.assertEqual(first, {"epoch": 3, "due": 0, "revoked": 0, "version": 77, "made": 1})
        before = self.r.state()
        self.assertEqual(self.save("ann", create=1, version=78), "D")
        self.assertEqual(self.r.state(), before)

    def test_an_epoch_never_gets_smaller(self):
        self.save("ann", epoch=3)
        self.assertEqual(self.save("ann", epoch=3, now=NOW + 5, fn="user_set")["revoked"], 0)
        self.assertEqual(self.save("ann", epoch=5, now=NOW + 6, fn="user_set")["revoked"], NOW + 6)
        late = self.save("ann", epoch=4, name="Late", now=NOW + 7, fn="user_set")  # of a node that did not hear of it
        self.assertEqual((late["epoch"], late["revoked"]), (5, NOW + 6))
        user = self.load("ann")
        self.assertEqual((user["code"], user["epoch"], user["name"], user["revoked"]), ("N", 5, "Late", NOW + 6))

    def test_a_change_counts_in_the_version(self):
        before = self.save("ann")["version"]
        self.assertEqual(self.save("ann", fn="user_set")["version"], before + 1)

    def test_nobody_loads_as_nobody(self):
        user = self.load("ann")
        self.assertEqual((user["code"], user["channels"]), ("X", {}))

    def test_a_user_with_many_channels(self):
        want = {}
        for i in range(3000):
            name = b"cchannel%d" % i
            self.sub_put("ann", 1, conv=name)
            want[name] = 1
        self.save("ann")
        self.assertEqual({k: v[0] for k, v in self.load("ann")["channels"].items()}, want)

    def test_what_was_left_long_ago_is_tidied(self):
        self.save("ann")
        for name, when in ((b"cold", NOW - 2 * HOUR), (b"cnew", NOW)):
            self.sub_put("ann", 1, conv=name)
            self.sub_del("ann", 2, conv=name, now=when)
        self.sub_put("ann", 1, conv=b"cin")
        tidy = lambda: self.r.call("user_tidy", user_keys("u", "ann"), NOW - HOUR, b"cold", b"cnew", b"cin", b"cno")
        first, second = self.twice(tidy)
        self.assertEqual((first, second), (b"N\0\0\0\1", b"N\0\0\0\0"))
        self.assertEqual(set(self.load("ann")["channels"]), {b"cnew", b"cin"})

    # --- guests ---

    def guests(self):
        return dict(zip(*[iter(self.r.redis.call("ZRANGE", key("G"), 0, -1, "WITHSCORES"))] * 2))

    def test_guests(self):
        self.assertEqual(self.save("g", ttl=1000)["due"], NOW + 1000)
        self.assertEqual(self.save("g", ttl=1000, now=NOW + 500)["due"], NOW + 1500)
        self.assertEqual(self.guests(), {b"g": b"%d" % (NOW + 1500)})
        self.assertEqual(self.forget("g", "guest", NOW + 1499), b"P")
        self.assertEqual(self.load("g")["due"], NOW + 1500)
        self.assertEqual(self.save("g", now=NOW + 600)["due"], 0)  # it is back
        self.assertEqual((self.guests(), self.load("g")["due"]), ({}, 0))
        self.assertEqual(self.save("g", ttl=1000, now=NOW + 700)["due"], 0)  # says a node that has not heard of it
        self.assertEqual((self.guests(), self.load("g")["due"]), ({}, 0))
        self.save("g", ttl=1000)
        self.r.redis.call("HSET", key("S", "g"), "31", "1")
        self.assertEqual(self.forget("g", "guest", NOW + 1000, living=[30, 31], newest=31), b"P")
        gone = self.twice(lambda: self.forget("g", "guest", NOW + 1000, living=[30], newest=31))
        self.assertEqual(gone, (b"N", b"N"))
        self.assertEqual(self.r.state(), {})

    def test_who_has_a_private_conversation_is_no_guest(self):
        self.save("g", ttl=1000)
        first, second = self.twice(lambda: self.r.call("paired", [key("u", "g"), key("G")]))
        self.assertEqual((first, second), (b"N\1" + u48(0),) * 2)
        # Who was about to forget it does not know that yet, and learns it by loading.
        self.assertEqual(self.twice(lambda: self.forget("g", "guest", NOW + 2000)), (b"P", b"P"))
        self.assertEqual(self.load("g")["was_guest"], 1)
        self.assertEqual(self.r.call("user_tidy", user_keys("u", "g"), 0), b"N\0\0\0\1")
        self.assertEqual(self.load("g")["was_guest"], 0)
        self.assertEqual((self.guests(), self.load("g")["due"]), ({}, 0))
        self.r.call("sent", user_keys("upr", "g"), 1, struct.pack(">Q", 1 << 22), "ann")
        self.assertEqual(self.save("g", ttl=1000)["due"], 0)  # nor does it become one again
        # One that was marked before the conversation began loses the mark when it would be forgotten.
        self.save("h", ttl=1000)
        self.r.call("sent", user_keys("upr", "h"), 1, struct.pack(">Q", 1 << 22), "ann")
        self.assertEqual(self.twice(lambda: self.forget("h", "guest", NOW + 2000)), (b"P", b"P"))
        self.assertEqual((self.guests(), self.load("h")["due"]), ({}, 0))

    # --- deletion ---

    def test_a_user_goes(self):
        self.save("ann", epoch=4, ttl=1000)
        self.sub_put("ann", 3)
        self.sub_put("ann", 5, conv=b"cleft")
        self.sub_del("ann", 6, conv=b"cleft")
        inbox_put(self.r, "ann", "bob", 1 << 22, 1, 1)
        sessions(self.r, "ann", 3)
        version = self.load("ann")["version"] + 1
        for step, recalls in (("keep", 0), ("recall", 1), ("keep", 1)):
            for reply in self.twice(lambda: self.forget("ann", step)):
                self.assertEqual(told(reply, "1 4 6"), ([recalls, 5, version], [3]))
        self.assertEqual(self.guests(), {b"ann": b"0"})
        user = self.load("ann")
        self.assertEqual((user["code"], user["epoch"], set(user["channels"])), ("W", 5, {ROOM, b"cleft"}))
        # Nothing is stored for it any more.
        before = self.r.state()
        self.assertEqual(self.save("ann"), "X")
        self.assertEqual(self.save("ann", create=1), "W")
        self.assertEqual(self.sub_put("ann", 9, conv=b"cother"), "X")
        self.assertEqual(self.r.call("paired", [key("u", "ann"), key("G")]), b"X")
        self.assertEqual(self.r.call("mark", user_keys("ur", "ann"), 9, ROOM, "")[:1], b"X")
        self.assertEqual(self.r.state(), before)
        # It leaves, then the rest goes; whom it blocks first.
        self.sub_del("ann", 4)
        for i in range(150):
            self.r.redis.call("HSET", key("u", "ann"), "bpeer%d" % i, 1)
        lifted = 0
        while True:
            reply = self.forget("ann", "end", newest=9)  # its node is dead
            if reply != b"N":
                self.assertEqual(reply[:1], b"B")
                peers, rest = [], reply[1:]
                while rest:
                    peers.append(rest[1:1 + rest[0]])
                    rest = rest[1 + rest[0]:]
                lifted += len(peers)
                self.assertEqual(self.r.call("unblocked", user_keys("u", "ann"), *peers),
                                 b"N" + struct.pack(">I", len(peers)))
                continue
            break
        self.assertEqual(lifted, 150)
        self.assertEqual(self.forget("ann", "end"), b"N")
        left = self.r.state()
        self.assertEqual(set(left), {key("u", "ann"), key("r", "ann")})
        self.assertEqual(set(left[key("u", "ann")]), {b"e", b"x", ROOM, b"cleft"})
        # An older half that comes late changes nothing, whoever has the id.
        self.assertEqual(self.sub_put("ann", 3), "X")
        self.assertEqual(self.save("ann"), "X")
        first, second = self.twice(lambda: self.save("ann", create=1, name="New", version=99))
        self.assertEqual((first["epoch"], second["epoch"]), (5, 5))
        self.assertEqual(self.sub_put("ann", 3)[0], "D")
        self.assertEqual((self.sub("ann"), self.load("ann")["inbox"]), ((4,), 0))
        # What had entered its inbox is known still, so that the next message does enter.
        self.assertEqual(inbox_put(self.r, "ann", "bob", 2 << 22, 2, 2)[0], "N")
        self.assertEqual(inbox_put(self.r, "ann", "bob", 1 << 22, 1, 1)[0], "D")

    def test_ids_of_the_next_user_are_larger(self):
        def until():
            reply = self.r.call("paired", [key("u", "ann"), key("G")])
            self.assertEqual(reply[:2], b"N\1")
            return int.from_bytes(reply[2:], "big")
        self.save("ann", create=1)
        self.assertEqual(until(), 0)
        last = 0
        for i in range(3):  # within one millisecond
            self.forget("ann", "keep")
            self.forget("ann", "end")
            self.save("ann", create=1, version=100 + i)
            self.assertGreater(until(), max(last, NOW))
            last = until()

    def test_steps_of_a_deletion_that_is_none(self):
        self.assertEqual(self.twice(lambda: self.forget("ann", "keep")), (b"X", b"X"))
        self.save("ann")
        before = self.r.state()
        self.assertEqual(self.forget("ann", "end"), b"N")
        self.assertEqual(self.r.state(), before)

    # --- memberships ---

    def test_join_and_leave(self):
        self.assertEqual(self.join("ann", create=0), "X")
        first, second = self.twice(lambda: self.join("ann"))
        self.assertEqual((first["created"], first["existed"], first["members"], first["channels"]), (1, 0, 1, 1))
        self.assertEqual((second["created"], second["existed"], second["version"]), (0, 1, first["version"]))
        self.assertEqual(self.join("bob", create=0)["members"], 2)
        self.assertEqual(self.members(), (["ann", "bob"], False))
        self.assertEqual(self.members(limit=1), (["ann"], True))
        self.assertEqual(self.members(after="ann", limit=1), (["bob"], False))
        first, second = self.twice(lambda: self.leave("ann"))
        self.assertEqual((first["existed"], first["gone"], first["members"]), (1, 0, 1))
        self.assertEqual((second["existed"], second["version"]), (0, first["version"]))  # its half may not be done
        last = self.leave("bob")
        self.assertEqual((last["gone"], last["members"], last["channels"]), (1, 0, 0))
        self.assertIsNone(head(self.r, ROOM))
        self.assertEqual((self.members(), self.leave("cid")), ("X", "X"))
        self.assertEqual(self.leave("bob")["version"], last["version"])
        # Made again, versions go on: what is late of before is older.
        self.assertGreater(self.join("bob")["version"], last["version"])

    def test_the_newest_intent_stands(self):
        field = b"j" + ROOM + b"\0ann"
        for version, f in ((1, lambda: self.join("ann", set=PUSH, push=2)), (2, lambda: self.leave("ann", keep=1)),
                           (3, lambda: self.join("ann")), (4, lambda: self.join("ann", set=EVENTS, events=1))):
            self.assertEqual(f()["version"], version)
            self.assertEqual(take("6 6", self.r.redis.call("HGET", key("o"), field))[:2], [NOW, version])
        self.assertEqual(self.r.call("settle", [key("o")], field, u48(3)), b"N\0\0\0\0")
        self.assertEqual(self.r.call("settle", [key("o")], field, u48(4)), b"N\0\0\0\1")
        self.join("ann")  # nothing changes: no intent
        self.assertEqual(self.r.redis.call("EXISTS", key("o")), 0)

    def test_a_subscription(self):
        self.save("ann")
        first, second = self.twice(lambda: self.sub_put("ann", 5, set=PUSH, push=2, events=1, seq=9))
        self.assertEqual((first, second), (("N", 1, 2, 0, 1), ("N", 1, 2, 0, 0)))
        self.assertEqual(self.sub("ann"), (2, 0, 9, 5))
        self.assertEqual(self.sub_put("ann", 6, set=EVENTS, push=1, events=1, seq=20), ("N", 1, 2, 1, 1))
        self.assertEqual(self.sub("ann"), (2, 1, 9, 6))  # the read mark is that of the first one
        self.assertEqual(self.sub_put("ann", 9, set=4), ("N", 1, 2, 1, 0))  # a look
        self.assertEqual(self.sub("ann"), (2, 1, 9, 6))
        self.assertEqual(self.sub_put("ann", 7), ("N", 1, 2, 1, 0))
        self.assertEqual(self.sub("ann"), (2, 1, 9, 7))
        self.assertEqual(self.sub_put("ann", 5, set=PUSH, push=0), ("D", 1, 2, 1, 0))
        self.assertEqual(self.sub_del("ann", 5), ("D", 0))
        first, second = self.twice(lambda: self.sub_del("ann", 8))
        self.assertEqual((first, second, self.sub("ann")), (("N", 1), ("N", 0), (8,)))
        self.assertEqual(self.sub_put("ann", 7, set=PUSH, push=1), ("D", 0, 0, 0, 0))
        self.assertEqual(self.sub_put("ann", 9, seq=30), ("N", 1, 0, 0, 1))
        self.assertEqual(self.sub("ann"), (0, 0, 30, 9))

    def test_nodes_that_are_told(self):
        r = self.r
        version = self.save("ann")["version"]
        put = lambda *args: told(r.call("sub_put", user_keys("uS", "ann"), ROOM, *args), "1 1 1 1 6")
        self.assertEqual(put(2, 1, PUSH, 9, 5, 0), ([1, 2, 0, 1, version + 1], []))
        sessions(r, "ann", 7, 12)
        # Whoever repeats it because no reply came learns of the version all the same, and whom to tell.
        self.assertEqual(put(2, 1, PUSH, 9, 5, 0), ([1, 2, 0, 0, version + 1], [7, 12]))
        self.assertEqual(put(0, 0, PUSH, 9, 4, 0), ([1, 2, 0, 0, version + 1], [7, 12]))  # D
        self.assertEqual(put(0, 0, 4, 9, 9, 0), ([1, 2, 0, 0, version + 1], [7, 12]))  # a look
        delete = lambda v: told(r.call("sub_del", user_keys("uS", "ann"), ROOM, NOW, v), "1 6")
        self.assertEqual([delete(4), delete(8), delete(8)], [([0, version + 1], [7, 12]), ([1, version + 2], [7, 12]),
                                                             ([0, version + 2], [7, 12])])
        save = lambda: told(r.call("user_set", user_keys("u", "ann") + [key("G"), key("p", "ann"), key("S", "ann")],
                                   NOW, NOW, 0, "Ann", 3, "", 1), "4 6 6 6 1")
        self.assertEqual([save(), save()], [([3, 0, NOW, version + 3, 0], [7, 12]),
                                            ([3, 0, NOW, version + 4, 0], [7, 12])])
        inbox = lambda: told(r.call("inbox_put", user_keys("uiIprS", "ann"), u48(3) + u48(1) + u48(NOW) + u48(0) +
                                    bytes(4), struct.pack(">Q", 1 << 22), "bob"), "6 6")
        self.assertEqual([inbox(), inbox()], [([1, 1], [7, 12])] * 2)
        acked = lambda: told(r.call("inbox_ack", user_keys("iIS", "ann"), rule(), b"\xff" * 8, b""), "1 4 4")
        self.assertEqual([acked(), acked(), inbox()], [([0, 1, 0], [7, 12]), ([0, 0, 0], [7, 12]), ([0, 1], [7, 12])])

    def test_who_is_forgotten_stays_so(self):
        self.assertEqual(self.sub_put("ann", 5, strict=1), "X")
        self.assertEqual(self.sub_del("ann", 6), ("N", 0))
        self.assertEqual(self.r.state(), {})

    def test_halves_in_any_order(self):
        """Joins and leaves of some users, whose second halves come late, twice, in any order; and those that no node
        has done are done from the intents. In the end both sides say the same."""
        rng = random.Random(5)
        users = ["u%d" % i for i in range(4)]
        for u in users:
            self.save(u)
        for _ in range(40):
            pending = []
            for _ in range(25):
                u = rng.choice(users)
                if rng.random() < 0.6:
                    which = dict(set=rng.randrange(4), push=rng.randrange(4), events=rng.randrange(2))
                    v = self.join(u, **which)
                    if v["existed"] and not which["set"]:
                        which["set"] = 4
                    pending.append((self.sub_put, u, v["version"], dict(which, seq=v["seq"])))
                else:
                    v = self.leave(u, keep=rng.randrange(2))
                    if v != "X" and v["version"]:
                        pending.append((self.sub_del, u, v["version"], {}))
                if rng.random() < 0.5 and pending:
                    for half, who, version, which in rng.choices(pending, k=2):
                        half(who, version, **which)
            rng.shuffle(pending)
            for half, who, version, which in pending[:len(pending) // 2]:
                half(who, version, **which)
            intents = self.r.redis.call("HGETALL", key("o"))
            for field, v in zip(intents[::2], intents[1::2]):  # the sweep
                u = field.split(b"\0")[1].decode()
                _, version, what, push, events, set, seq, _ = take("6 6 1 1 1 1 6", v)
                if what:
                    self.sub_put(u, version, set=set, push=push, events=events, seq=seq)
                else:
                    self.sub_del(u, version)
                self.assertEqual(self.r.call("settle", [key("o")], field, u48(version)), b"N\0\0\0\1")
            for half, who, version, which in pending[len(pending) // 2:]:  # and then those that are late
                half(who, version, **which)
            there = self.members()
            there = there[0] if there != "X" else []
            self.assertEqual([u for u in users if len(self.sub(u) or ()) == 4], there)
            h = head(self.r, ROOM)
            self.assertEqual(h.members if h else 0, len(there))

    # --- channels that go ---

    def test_a_channel_with_something_visible_stays(self):
        self.join("ann")
        for ttl in (5000, 0, 1000):
            append(self.r, ROOM, "ann", ttl=ttl)
        alive = rule(born=(0, NOW, 0))
        left = self.leave("ann", rules=alive)
        self.assertEqual((left["gone"], left["members"]), (0, 0))
        go = lambda rules: self.r.call("vacate", [key("m", ROOM), key("M", ROOM), key("e"), key("A"), key("c")], ROOM,
                                       rules)
        self.assertEqual(go(rule(NOW + 1500, born=(0, NOW, 0))), b"N\0" + bytes(4))
        self.assertEqual(go(rule(NOW + 1500, born=(0, NOW + 1, 0))), b"N\0" + bytes(4))  # the one with 5 s
        self.join("bob")
        self.assertEqual(go(rule(NOW + 9000, born=(0, NOW + 1, 0))), b"N\0" + bytes(4))  # a member
        self.leave("bob", keep=1)
        first, second = self.twice(lambda: go(rule(NOW + 9000, born=(0, NOW + 1, 0))))
        self.assertEqual((first, second), (b"N\1" + bytes(4), b"N\0" + bytes(4)))
        h = head(self.r, ROOM)
        self.assertEqual((h.flags, h.seq, h.low, h.members, self.r.redis.call("HLEN", key("m", ROOM))), (0, 3, 3, 0, 1))
        again = self.join("ann")
        self.assertEqual((again["created"], again["seq"], again["low"], again["channels"]), (1, 3, 3, 1))
        self.assertEqual(append(self.r, ROOM, "ann").seq, 4)

    def test_a_channel_is_deleted(self):
        self.assertEqual((self.close(), self.wiping("wipe")), (b"X", b"X"))
        for u in ("ann", "bob"):
            self.join(u)
        for _ in range(200):
            append(self.r, ROOM, "ann", due=NOW + 1000)
        self.assertEqual(self.wiping("wipe"), b"X")
        first, second = self.twice(self.close)
        self.assertEqual((first, first[1:5]), (second, struct.pack(">I", 2)))
        self.assertEqual(self.r.redis.call("ZSCORE", key("e"), ROOM), b"0")
        self.assertEqual((self.join("cid"), self.members(), append(self.r, ROOM, "ann").code), ("W", "X", "X"))
        self.assertEqual(self.members(going=1), (["ann", "bob"], False))
        self.assertEqual(self.wiping("wipe"), b"P\0\0\0\2")
        for u in ("ann", "bob"):
            self.assertEqual(self.leave(u)["gone"], 0)
        first, second = self.twice(lambda: self.wiping("wipe"))
        self.assertEqual((first, second), (b"N" + bytes(4) + u48(4), b"X"))
        self.assertEqual(self.r.redis.call("HKEYS", key("m", ROOM)), [b"h"])
        self.assertEqual(self.r.redis.call("EXISTS", key("e"), key("M", ROOM)), 0)
        self.assertEqual(self.close(), b"X")
        self.assertEqual(self.join("ann")["seq"], 200)

    def room(self, i, messages):
        """A channel that had so many messages, and is gone. Its key."""
        conv = b"croom %d" % i
        self.join("ann", conv)
        for _ in range(messages):
            append(self.r, conv, "ann")
        self.assertEqual(self.leave("ann", conv, rules=rule(NOW + 9, born=(0, NOW + 9, 0)))["gone"], 1)
        return conv

    def test_names_of_channels_that_are_gone(self):
        rooms = [self.room(i, 1 + i % 3) for i in range(10)]
        self.room(10, 0)  # of one that never had a message nothing is kept
        self.assertEqual(self.names(), rooms)
        self.assertEqual(self.names(3), rooms[:3])
        # One that is made again is none of them, and when it goes again it is the last.
        self.assertEqual(self.join("ann", rooms[0])["seq"], 1)
        self.assertEqual(self.names(), rooms[1:])
        self.assertEqual(self.leave("ann", rooms[0], rules=rule(NOW + 9, born=(0, NOW + 9, 0)))["gone"], 1)
        self.assertEqual(self.names(), rooms[1:] + rooms[:1])
        # Those that are dropped leave nothing but floors; one that was made again meanwhile stays.
        was = self.join("ann", rooms[3])
        self.twice(lambda: self.drop(*rooms[1:6]))
        self.assertEqual(self.names(), rooms[6:] + rooms[:1])
        self.assertEqual(self.r.redis.call("EXISTS", *(key("m", c) for c in rooms[1:6])), 1)
        self.assertEqual(self.join("bob", rooms[3])["seq"], was["seq"])
        for i in (1, 2, 4, 5):
            again = self.join("ann", rooms[i])
            self.assertEqual((again["created"], again["low"]), (1, again["seq"]))
            self.assertIn(again["seq"], range(1 + i % 3, 4))
            self.assertGreater(again["version"], 2)  # that of its members' changes goes on as well
            self.assertEqual(append(self.r, rooms[i], "ann").seq, again["seq"] + 1)
        begins = [self.join("ann", b"cnew %d" % i)["seq"] for i in range(20)]
        self.assertGreater(begins.count(0), 15, "a name that nobody had begins at 1, but for a few")

    def test_very_many_names_are_dropped_by_and_by(self):
        """However many there are, what is dropped is bounded, and all of them have floors."""
        top, rooms = {}, [b"croom %d" % i for i in range(2000)]
        for i, conv in enumerate(rooms):
            top[conv] = 1 + i % 7
            self.r.redis.call("HSET", key("m", conv), "h", head_channel(top[conv], low=top[conv], flags=0, version=3))
            self.r.redis.call("HSET", key("c"), b"g" + conv, i)
        while self.names(1):
            found = self.names()
            self.assertLessEqual(len(found), 48)
            self.drop(*found)
        self.assertEqual(self.r.redis.call("EXISTS", *(key("m", c) for c in rooms)), 0)
        self.assertLessEqual(self.r.redis.call("HLEN", key("c")), 68)
        for conv in rooms[::50]:
            self.assertGreaterEqual(self.join("ann", conv)["seq"], top[conv])

    # --- lists ---

    def test_convs(self):
        for i in range(5):
            self.r.call("sent", user_keys("upr", "ann"), i + 1, struct.pack(">Q", (i + 1) << 22), "peer%d" % i)
        convs = lambda top, n: self.r.call("convs", user_keys("pr", "ann"), top, n)
        self.assertEqual(convs("+inf", 2), b"N\5peer4" + u48(5) + b"\5peer3" + u48(4))
        self.assertEqual(convs(2 * 4096, 9), b"N\5peer1" + u48(2) + b"\5peer0" + u48(1))
        self.assertEqual(convs(0, 9), b"N")

    def test_shares(self):
        self.sub_put("ann", 1, conv=b"ca")
        self.sub_put("ann", 1, conv=b"cb")
        self.sub_del("ann", 2, conv=b"cb")
        shares = lambda *convs: self.r.call("shares", user_keys("u", "ann"), *convs)
        self.assertEqual(shares(b"cx", b"ca"), b"N\1")
        self.assertEqual(shares(b"cb"), b"N\0")
        self.assertEqual(shares(*[b"c%d" % i for i in range(3000)], b"ca"), b"N\1")

    def sent(self, start=1, look=1000, want=64, sender="ann", top=2 ** 64 - 1):
        reply = self.r.call("sent_in", [key("m", ROOM)], start, look, want, sender, struct.pack(">Q", top))
        after, looked, rest = take("6 4", reply[1:])
        return after, looked, [int.from_bytes(rest[i:i + 6], "big") for i in range(0, len(rest), 6)]

    def test_sent(self):
        self.assertEqual(self.sent(), (0, 0, []))
        make(self.r, ROOM)
        ids = [append(self.r, ROOM, "ann" if i % 10 == 0 else "an" if i % 2 else "bob").id for i in range(1, 101)]
        change(self.r, ROOM, 50, edit=False)
        self.assertEqual(self.sent(), (0, 100, [10, 20, 30, 40, 60, 70, 80, 90, 100]))
        self.assertEqual(self.sent(want=3), (31, 30, [10, 20, 30]))
        self.assertEqual(self.sent(start=31, look=40), (95, 64, [40, 60, 70, 80, 90]))
        self.assertEqual(self.sent(start=95), (0, 6, [100]))
        self.assertEqual(self.sent(top=ids[29])[2], [10, 20, 30])
        self.assertEqual(self.sent(sender="nobody"), (0, 100, []))

    # --- notes ---

    def note(self, number, op, k, value, known=0):
        return self.r.call("note", [key("V"), key("L")], op, k, value, 1, number, known, NOW)

    def test_notes(self):
        self.assertEqual(self.note(1, "set", "k", "v"), b"N" + u48(1) + b"v")
        self.assertEqual(self.note(2, "set", "k", "w"), b"N" + u48(2) + b"w")
        self.assertEqual(self.note(2, "set", "k", "w"), b"D" + u48(2))  # a repeat
        self.assertEqual(self.r.redis.call("HGET", key("V"), "k"), b"w")
        self.assertEqual(self.note(3, "remove", "k", "v"), b"D" + u48(2))  # what stands begins otherwise
        self.assertEqual(self.note(4, "remove", "k", ""), b"N" + u48(3))
        self.assertEqual(self.note(5, "remove", "k", ""), b"N" + u48(4))
        self.assertEqual(self.r.redis.call("HGETALL", key("V")), [b"", b"4"])

    # --- a full Redis ---

    def test_a_full_redis(self):
        r = self.r = Alone(maxmemory_policy="noeviction")
        self.addCleanup(setattr, self, "r", type(self).r)
        self.addCleanup(r.close)
        for u in ("ann", "bob", "g"):
            self.save(u, ttl=1000 if u == "g" else "")
            version = self.join(u)["version"]
        append(r, ROOM, "ann")
        r.redis.call("CONFIG", "SET", "maxmemory", "1mb")
        for refused in (lambda: self.join("cid"), lambda: self.save("cid"), lambda: self.save("cid", create=1)):
            with self.assertRaisesRegex(RedisError, "^OOM"):
                refused()
        self.assertEqual(self.save("ann", epoch=9, fn="user_set")["epoch"], 9)  # a ban must not fail
        self.assertEqual(self.sub_put("ann", version)[0], "N")  # what has begun is ended
        self.assertEqual(self.load("ann")["name"], "N")
        self.assertEqual(self.members()[0], ["ann", "bob", "g"])
        self.assertEqual(self.leave("ann")["members"], 2)
        self.assertEqual(self.sub_del("ann", version + 1)[0], "N")
        self.assertEqual(r.call("paired", [key("u", "bob"), key("G")])[:1], b"N")
        self.assertEqual(self.forget("g", "guest", NOW + 2000), b"N")
        self.assertEqual(self.forget("bob", "recall")[:2], b"N\1")
        self.assertEqual(self.forget("bob", "end"), b"N")
        self.assertEqual(r.call("user_tidy", user_keys("u", "ann"), NOW, ROOM)[:1], b"N")
        self.assertEqual(r.call("unblocked", user_keys("u", "ann"), "bob")[:1], b"N")
        self.assertEqual(r.call("convs", user_keys("pr", "ann"), "+inf", 9), b"N")
        self.assertEqual(r.call("shares", user_keys("u", "ann"), ROOM), b"N\0")
        self.assertEqual(self.sent()[2], [1])
        self.assertEqual(self.note(1, "set", "ban", "x")[:1], b"N")
        self.assertEqual(self.close()[:1], b"N")
        for u in ("bob", "g"):
            self.leave(u)
        self.assertEqual(r.call("vacate", [key("m", ROOM), key("M", ROOM), key("e"), key("A"), key("c")], ROOM,
                                rule())[:1], b"N")
        self.assertEqual(self.wiping("wipe")[:1], b"N")
        self.drop(ROOM)


if __name__ == "__main__":
    unittest.main()
