#!/usr/bin/env python3
"""What the functions of session.lua do, one by one, and each of them twice. Needs redis-server alone.

    python3 tests/cluster/test_functions_session.py [NAME…]"""

import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from functions import *  # noqa: E402,F403
from resp import RedisError  # noqa: E402


def incs(v):
    """A list of incarnations from the front of v, and the rest."""
    n = int.from_bytes(v[:2], "big")
    return sorted(int.from_bytes(v[2 + 6 * i:8 + 6 * i], "big") for i in range(n)), v[2 + 6 * n:]


class Put:
    """What session_put says."""

    def __init__(self, reply):
        self.code = reply[:1].decode()
        if len(reply) > 1:
            self.version, self.epoch, self.arrivals, self.s, n, v = take("6 4 6 6 1", reply[1:])
            self.before, v = v[:n], v[n:]
            self.sessions, v = incs(v)
            self.watchers, v = incs(v)
            assert v == b"", v


class Sessions(OneRedis):
    def setUp(self):
        super().setUp()
        self.user("ann", v=7, e=3, i=12)

    def user(self, name, **fields):
        for field, v in dict(fields, n="Name").items():
            self.r.redis.call("HSET", key("u", name), field, v)

    def put(self, inc, device="", at="0.1.2", user="ann", now=NOW, restore=0, newest=0, living=()):
        return Put(self.r.call("session_put", user_keys("uSW", user), inc, now, device, "%d.%s" % (inc, at), restore,
                               newest, b"".join(map(u48, living))))

    def drop(self, inc, user="ann", now=NOW, dead=0):
        reply = self.r.call("session_del", user_keys("uSW", user), inc, now, dead)
        s, v = take("6", reply[1:])
        sessions, v = incs(v)
        watchers, v = incs(v)
        self.assertEqual(v, b"")
        return reply[:1].decode(), s, sessions, watchers

    def watch(self, inc, on, user="ann"):
        reply = self.r.call("watch", user_keys("uSW", user), inc, on)
        s, v = take("6", reply[1:])
        return s, incs(v)[0]

    def presence(self, user, *channels):
        reply = self.r.call("presence", user_keys("uS", user), *channels)
        return reply[1], incs(reply[2:])[0]

    def forget(self, user, step, newest=0, living=()):
        return self.r.call("forget", user_keys("upriISW", user) + [key("G")], step, NOW, newest,
                           b"".join(map(u48, living)))

    def test_a_session(self):
        a = self.put(5)
        self.assertEqual((a.code, a.version, a.epoch, a.arrivals, a.s, a.before, a.sessions, a.watchers),
                         ("N", 7, 3, 12, NOW, b"", [5], []))
        before = self.r.state()
        self.assertEqual((self.put(5).code, self.put(5).s), ("D", NOW))
        self.assertEqual(self.r.state(), before)
        b = self.put(9, now=NOW - 500)  # a clock that is behind
        self.assertEqual((b.code, b.s, b.sessions), ("N", NOW + 1, [5, 9]))
        self.assertEqual(self.presence("ann"), (0, [5, 9]))
        self.assertEqual(self.drop(5, now=NOW + 10), ("N", NOW + 10, [9], []))
        before = self.r.state()
        self.assertEqual(self.drop(5, now=NOW + 20), ("D", NOW + 10, [9], []))
        self.assertEqual(self.r.state(), before)
        self.assertEqual(self.drop(9, now=NOW + 20), ("N", NOW + 20, [], []))
        self.assertEqual(self.r.redis.call("EXISTS", key("S", "ann")), 0)

    def test_nobody_and_who_is_being_deleted_has_none(self):
        self.assertEqual(self.put(5, user="nobody").code, "X")
        self.user("bob", f=1)
        self.assertEqual(self.put(5, user="bob").code, "X")
        self.assertEqual(self.drop(5, user="nobody")[0], "D")
        self.assertEqual(self.r.redis.call("KEYS", "*nobody"), [])

    def test_a_device_is_taken_from_another_node(self):
        self.assertEqual(self.put(5, "phone", "1.2.3").before, b"")
        self.assertEqual(self.put(5, "phone", "1.2.3").before, b"")
        self.assertEqual(self.put(5, "phone", "1.9.9").before, b"")  # its own node sees to that
        for _ in range(2):  # whoever repeats it is told the same
            self.assertEqual(self.put(6, "phone", "0.7.1").before, b"5.1.9.9")
        self.assertEqual(self.put(6, "phone", "0.7.2").before, b"5.1.9.9")  # the one before may have failed by then
        self.assertEqual(self.put(6, "tablet", "0.7.2").before, b"")
        self.assertEqual(self.put(7, "phone", "0.0.0").before, b"6.0.7.2 5.1.9.9")  # so may that of another node
        self.assertEqual(self.put(4, "phone", "0.0.0").before, b"7.0.0.0 6.0.7.2")
        # A node that has died since may have told nobody; back at the first one there is nobody to be told.
        self.assertEqual(self.put(8, "phone", "0.0.1", newest=8, living=(6, 8)).before, b"6.0.7.2")
        self.assertEqual(self.put(6, "phone", "0.7.3", newest=8, living=(6,)).before, b"")

    def test_devices_go_with_their_node(self):
        self.put(5, "phone", "1.2.3")
        self.put(50, "tablet", "1.2.3")
        self.put(6, "watch", "4.4.4")
        self.drop(5)
        self.assertEqual(self.put(6, "phone", "1.1.1").before, b"")
        self.assertEqual(self.put(6, "tablet", "1.1.1").before, b"50.1.2.3")

    def test_a_device_whose_login_failed_stays_known(self):
        """5 has it; the login at 6 ended before it told 5: whoever comes next does."""
        self.put(5, "phone", "1.2.3")
        for again in (False, True):
            self.put(6, "phone", "4.4.4")
            self.drop(6)
            if again:
                self.put(6, "watch", "4.4.5")
                self.drop(6)
            self.assertEqual(self.put(7, "phone", "0.0.1").before, b"5.1.2.3")
            self.drop(7)
        self.assertEqual(self.put(9, "phone", "1.1.1", restore=1, newest=9, living=[5, 9]).code, "N")
        self.drop(9)
        self.drop(5)
        self.assertEqual(self.r.redis.call("EXISTS", key("S", "ann")), 0)

    def test_a_device_of_a_node_where_the_user_is_no_more(self):
        for first, last in ((5, 6), (6, 5)):
            self.put(5, "phone", "1.2.3")
            self.put(6, "phone", "4.4.4")
            self.drop(first)
            self.assertEqual(self.put(7, "phone", "0.0.1").before, b"6.4.4.4" if last == 6 else b"5.1.2.3")
            self.drop(7)
            self.drop(last)
            self.assertEqual(self.r.redis.call("EXISTS", key("S", "ann")), 0)

    def test_restored_it_takes_no_device_from_the_living(self):
        self.put(5, "phone", "1.2.3")
        self.put(6, "phone", "4.4.4")
        before = self.r.state()
        for newest, living in ((9, [6, 9]), (5, [5])):  # one that is newer than any known lives
            self.assertEqual(self.put(9, "phone", "1.2.3", restore=1, newest=newest, living=living).code, "P")
        self.assertEqual(self.r.state(), before)
        a = self.put(9, "phone", "1.2.3", restore=1, newest=9, living=[7, 9])
        self.assertEqual((a.code, a.before), ("N", b""))
        self.assertEqual(self.put(9, "phone", "1.2.3", restore=1, newest=9, living=[6, 9]).code, "D")
        self.assertEqual(self.put(9, "", restore=1, newest=9, living=[6, 9]).code, "D")

    def test_devices_are_bounded(self):
        for i in range(400):
            self.put(5, "d%d" % i, "0.0.%d" % i)
        self.assertLessEqual(self.r.redis.call("HLEN", key("S", "ann")), 258)
        self.assertEqual(self.put(6, "d399", "0.0.0").before, b"5.0.0.399")
        self.assertEqual(self.presence("ann"), (0, [5, 6]))

    def test_watchers(self):
        self.assertEqual(self.watch(20, 1), (0, []))
        self.assertEqual(self.watch(20, 1), (0, []))
        self.assertEqual(self.put(5).watchers, [20])
        self.assertEqual(self.watch(21, 1), (NOW, [5]))
        self.assertEqual(self.drop(5, now=NOW + 1), ("N", NOW + 1, [], [20, 21]))
        self.assertEqual(self.watch(20, 0), (NOW + 1, []))
        self.assertEqual(self.watch(20, 0), (NOW + 1, []))
        self.assertEqual(self.put(5).watchers, [21])

    def test_a_dead_node_goes_with_its_watches(self):
        self.put(5, "phone")
        self.put(6)
        self.watch(5, 1)
        self.watch(6, 1)
        self.assertEqual(self.drop(5, dead=1), ("N", NOW + 2, [6], [6]))
        before = self.r.state()
        self.assertEqual(self.drop(5, dead=1)[0], "D")
        self.assertEqual(self.r.state(), before)
        self.assertEqual(self.drop(6)[3], [6])  # it lives, and watches on

    def test_a_change_never_gets_an_older_number(self):
        """Even when the user was forgotten meanwhile."""
        s = [self.put(5).s]
        self.forget("ann", "keep")
        self.forget("ann", "end", 9, [9])
        self.user("ann")
        s += [self.put(5, now=NOW + 1000).s, self.drop(5, now=NOW + 1000)[1]]
        self.assertEqual(s, [NOW, NOW + 1000, NOW + 1001])

    def test_presence_of_who_shares_a_channel(self):
        r = self.r.redis
        r.call("HSET", key("u", "ann"), "croom", struct.pack(">BBB", 1, 0, 0) + bytes(12))
        r.call("HSET", key("u", "ann"), "cleft", b"\0" + bytes(12))
        self.assertEqual(self.presence("ann", "croom"), (1, []))
        self.assertEqual(self.presence("ann", "cleft", "cother"), (0, []))
        self.assertEqual(self.presence("ann", *["c%d" % i for i in range(1200)], "croom"), (1, []))
        self.assertEqual(self.presence("nobody", "croom"), (0, []))

    def test_look(self):
        self.assertEqual(take("6 4 6", self.r.call("user_look", [key("u", "ann")])[1:])[:3], [7, 3, 12])
        self.assertEqual(self.r.call("user_look", [key("u", "nobody")]), b"X")

    def test_a_guest_with_a_session_stays(self):
        self.user("g", g=NOW - 1)
        self.put(5, user="g")
        self.assertEqual(self.forget("g", "guest", 9, [5, 9]), b"P")
        self.assertEqual(self.forget("g", "guest", 4, [4]), b"P")  # it is newer than any known
        self.assertEqual(self.forget("g", "guest", 9, [9]), b"N")
        self.assertEqual(self.r.redis.call("KEYS", "*:g"), [])

    def test_forgetting_takes_sessions_and_watches(self):
        """Those of dead nodes. The others take themselves out, of which the watchers hear; and they watch on."""
        self.put(5, "phone")
        self.put(6, "pad")
        self.put(7, "watch")
        self.watch(5, 1)
        self.watch(8, 1)
        self.forget("ann", "keep")
        self.assertEqual(self.drop(7, now=NOW - 500), ("N", NOW + 3, [5, 6], [5, 8]))
        self.forget("ann", "end", 9, [6, 7, 8, 9])
        self.assertEqual(self.drop(6, now=NOW - 500), ("N", NOW + 4, [], [8]))  # whatever its clock says
        self.assertEqual(self.r.redis.call("EXISTS", key("S", "ann")), 0)
        self.user("ann")
        self.assertEqual(self.put(9, now=NOW).watchers, [8])


class Full(unittest.TestCase):
    """A Redis that takes no more."""

    def test_sessions_go_on(self):
        r = Alone(maxmemory="6mb", maxmemory_policy="noeviction")
        try:
            r.redis.call("HSET", key("u", "ann"), "n", "Ann")
            with self.assertRaises(RedisError):
                for i in range(100000):
                    r.redis.call("SET", "fill%d" % i, "x" * 5000)
            keys = user_keys("uSW", "ann")
            self.assertEqual(r.call("session_put", keys, 5, NOW, "", "5.0.0.0", 0, 0, "")[:1], b"N")
            self.assertEqual(r.call("watch", keys, 5, 1)[:1], b"N")
            self.assertEqual(r.call("presence", keys[:2])[:1], b"N")
            self.assertEqual(r.call("session_del", keys, 5, NOW, 0)[:1], b"N")
        finally:
            r.close()


if __name__ == "__main__":
    unittest.main()
