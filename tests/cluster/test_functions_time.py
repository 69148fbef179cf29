#!/usr/bin/env python3
"""node.lua and sweep.lua: what each function does, and does when it is called twice or by two at once. Needs
redis-server alone.

    python3 tests/cluster/test_functions_time.py [NAME…]"""

import os
import struct
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from functions import Alone, key, rule, texts, u48  # noqa: E402
from process import eventually, free_ports  # noqa: E402
from resp import RedisError  # noqa: E402

NOW, DAY = 1800000000000, 86400000


def record(version, era, rest=b"rest"):
    """A record of the clock, as far as functions look at it."""
    return b"\1" + version.to_bytes(4, "big") + b"\0" + era.to_bytes(4, "big") + rest


class Packed:
    """Reads a packed reply from its beginning."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, n):
        self.at += n
        assert self.at <= len(self.data), "the reply is too short"
        return self.data[self.at - n:self.at]

    def number(self, size):
        return int.from_bytes(self.bytes(size), "big")

    def text(self, size):
        """Bytes with their length before them."""
        return self.bytes(self.number(size))

    def left(self):
        return len(self.data) - self.at


def head_channel(seq, low=0, members=0, version=0, flags=1, tier=1):
    return (struct.pack(">BBBB", 1, flags, tier, 0) + u48(seq) + u48(low) + bytes(16) + struct.pack(">I", members) +
            u48(version))


def head_pair(seq, low=0, archived=0, first=0, edits=0):
    return (struct.pack(">BBBB", 2, 0, 0, 0) + u48(seq) + u48(low) + struct.pack(">QII", 0, 0, edits) + u48(archived) +
            u48(first) + bytes(12))


def row(birth, tier=1, ttl=0):
    return (struct.pack(">BBBQ", 1, 0, tier, birth) + u48(birth) + u48(birth) + u48(ttl) + bytes(8) + texts("ann"))


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.r = Alone(cluster_enabled="yes", cluster_port=free_ports(1))  # which knows which of its processes it is
        cls.r.redis.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        eventually(lambda: b"cluster_state:ok" in cls.r.redis.call("CLUSTER", "INFO"), "it serves all slots")

    @classmethod
    def tearDownClass(cls):
        cls.r.close()

    def setUp(self):
        self.redis = self.r.redis
        self.redis.call("FLUSHALL")


class TestNotes(Case):
    def note(self, op, k, value=b"", inc=1, number=None, least=0, now=NOW):
        self.last = self.last + 1 if number is None else number
        reply = self.r.call("note", [key("V"), key("L")], op, k, value, inc, self.last, least, now)
        return reply[:1], int.from_bytes(reply[1:7], "big"), reply[7:]

    def setUp(self):
        super().setUp()
        self.last = 0

    def value(self, k):
        return self.redis.call("HGET", key("V"), k)

    def row(self, place):
        """flags, incarnation, number, key, value"""
        p = Packed(self.redis.call("HGET", key("L"), place))
        self.assertEqual(p.number(1), 1)
        return p.number(1), p.number(6), p.number(6), p.text(2), p.bytes(p.left())

    def test_changes_have_places(self):
        self.assertEqual(self.note("set", "a", b"1"), (b"N", 1, b"1"))
        self.assertEqual(self.note("set", "b", b"2"), (b"N", 2, b"2"))
        self.assertEqual(self.note("remove", "a"), (b"N", 3, b""))
        self.assertEqual(self.note("pass", "hello", b"all"), (b"N", 4, b"all"))
        self.assertEqual((self.value("a"), self.value("b"), self.value("hello"), self.value("")),
                         (None, b"2", None, b"4"))
        self.assertEqual([self.row(i) for i in range(1, 5)],
                         [(0, 1, 1, b"a", b"1"), (0, 1, 2, b"b", b"2"), (1, 1, 3, b"a", b""),
                          (2, 1, 4, b"hello", b"all")])

    def test_a_repeat_changes_nothing(self):
        for op, value in ("set", b"1"), ("add", b"0 n 5"), ("remove", b""), ("pass", b"x"):
            code, place, _ = self.note(op, "k", value)
            self.note("set", "k", b"0 n 100", inc=2)  # somebody else's, in between
            before = self.r.state()
            self.assertEqual(self.note(op, "k", value, number=self.last - 1)[:2], (b"D", place))
            self.assertEqual(self.r.state(), before)
            self.last += 10

    def test_sums(self):
        self.assertEqual(self.note("add", "n", b"0 n 2"), (b"N", 1, b"0 n 2"))
        self.assertEqual(self.note("add", "n", b"0 n 0.5"), (b"N", 2, b"0 n 2.5"))
        self.assertEqual(self.row(2)[3:], (b"n", b"0 n 2.5"))
        self.assertEqual(self.value("n"), b"0 n 2.5")
        self.note("set", "n", b"%d n 7" % (NOW + 5))
        self.assertEqual(self.note("add", "n", b"0 n 1")[2], b"%d n 8" % (NOW + 5))  # its end stays
        self.assertEqual(self.note("add", "n", b"0 n 1", now=NOW + 5)[2], b"0 n 1")  # it has ended
        self.note("set", "n", b"0 s text")
        self.assertEqual(self.note("add", "n", b"0 n 1")[2], b"0 s text")  # no number: it stays

    def test_what_has_ended_is_removed_as_it_was(self):
        self.note("set", "a", b"77 s x")
        self.note("set", "b", b"1")
        before = self.r.state()
        self.assertEqual(self.note("remove", "a", b"78 ")[:2], (b"D", 2))  # it was set anew meanwhile
        self.assertEqual(self.note("remove", "none", b"78 ")[:2], (b"D", 2))
        self.assertEqual(self.r.state(), before)
        self.assertEqual(self.note("remove", "a", b"77 "), (b"N", 3, b""))
        self.assertIsNone(self.value("a"))
        self.assertEqual(self.row(3)[3:], (b"a", b""))

    def test_numbering_goes_on_above_what_was_told(self):
        self.note("set", "a", b"1")
        self.redis.call("FLUSHALL")
        self.assertEqual(self.note("set", "a", b"2", least=7)[1], 8)
        self.assertEqual(self.note("set", "a", b"2", least=3)[1], 9)

    def test_the_log_is_cut(self):
        self.note("set", "a", b"1")
        self.note("set", "b", b"1", least=9999)
        self.assertIsNotNone(self.redis.call("HGET", key("L"), 1))
        self.note("set", "c", b"1", least=10000)  # 10,000 above the first
        self.assertEqual(self.redis.call("HLEN", key("L")), 4)
        self.assertEqual(self.value(""), b"10001")


class TestBeat(Case):
    def beat(self, inc, token, number=0, beat=1, clock=NOW, record=b"", about=b"about", highest=0):
        reply = self.r.call("beat", [key("N"), key("V")], inc, number, token, beat, clock, record, about, highest)
        p, code = Packed(reply), reply[:1]
        p.bytes(1)
        if code == b"D":
            return code, (p.number(6), p.number(2), p.number(6), p.bytes(8), p.bytes(p.left())) if p.left() else None
        if code != b"N":
            return code, None
        out = {"inc": p.number(6), "number": p.number(2), "time": p.number(6), "master": p.bytes(16),
               "clock": p.number(6), "log": p.number(6), "record": p.text(2), "nodes": {}}
        for _ in range(p.number(2)):
            inc = p.number(6)
            out["nodes"][inc] = (p.number(2), p.number(6), p.text(2))
        self.assertEqual(p.left(), 0)
        return code, out

    def bury(self, inc, beat="", clock=0):
        return self.r.call("bury", [key("N")], inc, beat, clock)

    def test_taking(self):
        code, a = self.beat(0, b"token..a")
        self.assertEqual((code, a["inc"], a["number"], a["clock"]), (b"N", 1, 1, NOW))
        self.assertLess(abs(a["time"] - time.time() * 1000), 60000)
        self.assertEqual(a["nodes"], {1: (1, 1, b"about")})
        # A repeat, when nobody knows whether it was done: the same incarnation.
        self.assertEqual(self.beat(0, b"token..a")[1]["inc"], 1)
        code, b = self.beat(0, b"token..b", number=7, about=b"b")
        self.assertEqual((b["inc"], b["number"]), (2, 7))
        self.assertEqual(set(b["nodes"]), {1, 2})
        self.assertEqual(self.beat(0, b"token..c")[1]["number"], 2)  # the smallest that is free
        # The number is taken: by whom.
        self.assertEqual(self.beat(0, b"token..d", number=7), (b"D", (2, 7, 1, b"token..b", b"b")))
        self.assertEqual(set(self.beat(1, b"token..a")[1]["nodes"]), {1, 2, 3})
        self.assertEqual(self.bury(2), b"N")
        self.assertEqual(self.beat(0, b"token..d", number=7)[1]["inc"], 4)  # never one twice
        # Not even when the table was lost: whoever takes one says which was the highest that it has seen.
        self.redis.call("DEL", key("N"))
        self.assertEqual(self.beat(4, b"token..d")[0], b"P")
        self.assertEqual(self.beat(0, b"token..e", highest=4)[1]["inc"], 5)
        self.assertEqual(self.beat(0, b"token..f", highest=2)[1]["inc"], 6)

    def test_clock_is_the_largest_told(self):
        self.beat(0, b"token..a", clock=NOW)
        self.assertEqual(self.beat(1, b"token..a", clock=NOW + 5)[1]["clock"], NOW + 5)
        self.assertEqual(self.beat(1, b"token..a", clock=NOW - 5000)[1]["clock"], NOW + 5)

    def test_record_follows_the_one_that_stands(self):
        self.assertEqual(self.beat(0, b"token..a", record=record(1, 0))[1]["record"], record(1, 0))
        self.beat(0, b"token..b")
        # Two change it at once: the one that comes second has not seen the first, and loses.
        first, second = record(2, 0, b"first"), record(2, 0, b"second")
        self.assertEqual(self.beat(1, b"token..a", record=first)[1]["record"], first)
        self.assertEqual(self.beat(2, b"token..b", record=second)[1]["record"], first)
        self.assertEqual(self.beat(1, b"token..a", record=first)[1]["record"], first)  # a repeat
        self.assertEqual(self.beat(2, b"token..b", record=record(9, 0))[1]["record"], first)
        # Another era: the clock was set, even back.
        self.assertEqual(self.beat(2, b"token..b", clock=NOW - 9 * DAY, record=record(3, 1))[1]["clock"], NOW - 9 * DAY)
        self.assertEqual(self.beat(2, b"token..b", clock=NOW - 8 * DAY, record=record(3, 1))[1]["clock"], NOW - 8 * DAY)

    def test_bury(self):
        self.beat(0, b"token..a", beat=1)
        self.beat(1, b"token..a", beat=2)
        self.assertEqual(self.bury(1, 1), b"P")  # it has beaten since
        self.assertEqual(self.beat(1, b"token..a", beat=3)[0], b"N")
        self.assertEqual(self.bury(1, 3), b"N")
        self.assertEqual(self.bury(1, 3), b"N")
        self.assertEqual(self.beat(1, b"token..a", beat=4), (b"P", None))
        self.assertEqual(self.bury(99, 1), b"N")
        self.beat(0, b"token..b", clock=NOW)
        self.assertEqual(self.bury(2, clock=NOW + 5), b"N")  # itself
        self.assertEqual(self.redis.call("HGET", key("N"), "clock"), b"%d" % (NOW + 5))

    def test_no_number_is_free(self):
        N = key("N")
        for i in range(1, 1024):
            self.redis.call("HSET", N, "i%d" % i, i.to_bytes(2, "big") + u48(1) + b"%08d" % i)
        self.redis.call("HSET", N, "#", 5000)
        self.assertEqual(self.beat(0, b"token..a"), (b"D", None))
        self.redis.call("HDEL", N, "i512")
        self.assertEqual(self.beat(0, b"token..a")[1]["number"], 512)

    def test_once(self):
        C = key("C")
        self.assertEqual(self.r.call("once", [C], "tokens", ""), b"X")
        self.assertEqual(self.r.call("once", [C], "tokens", "a"), b"Na")
        self.assertEqual(self.r.call("once", [C], "tokens", "b"), b"Na")
        self.assertEqual(self.r.call("once", [C], "tokens", ""), b"Na")


class TestSweep(Case):
    def keys(self, kinds, conv="cx"):
        return [key(k, conv) if k in "mM" else key(k) for k in kinds]

    def sweep(self, cursor="0", old=NOW, now=NOW, archive=NOW, limit=256):
        p = Packed(self.r.call("sweep", self.keys("oeAGcg"), cursor, old, now, archive, limit))
        self.assertEqual(p.bytes(1), b"N")
        out = {"channels": p.number(4), "fields": p.number(4), "window": p.number(6), "cursor": p.text(1).decode(),
               "intents": {p.text(2): p.text(2) for _ in range(p.number(2))}}
        for name in ("due", "archive", "guests"):
            out[name] = [(p.number(6), p.text(1)) for _ in range(p.number(2))]
        self.assertEqual(p.left(), 0)
        return out

    def put(self, head, rows, conv="cx", score=NOW):
        m = key("m", conv)
        self.redis.call("HSET", m, "h", head, *(w for seq, r in rows.items() for w in (seq, r)))
        self.redis.call("ZADD", key("e"), score, conv)

    def trim(self, now=NOW, born=(0, 0, 0), most=(0, 0, 0), keep=0, conv="cx", archive=()):
        p = Packed(self.r.call("trim", self.keys("mMeAc", conv), conv, rule(now, born, most), keep, *archive))
        code = p.bytes(1)
        return (code,) + ((p.number(6), p.number(6), p.number(1), p.number(1), p.number(4))[:4] if code == b"N" else ())

    def rows(self, conv="cx"):
        return sorted(int(k) for k in self.redis.call("HKEYS", key("m", conv)) if k != b"h")

    def look(self, conv="cx"):
        v = self.redis.call("ZSCORE", key("e"), conv)
        return None if v is None else int(v)

    def test_an_empty_partition(self):
        out = self.sweep()
        self.assertEqual((out["channels"], out["window"], out["cursor"]), (0, 1, "0"))
        self.assertFalse(out["intents"] or out["due"] or out["archive"] or out["guests"])
        self.redis.call("SET", key("g"), 4096)  # there was a message
        self.assertEqual(self.sweep()["window"], 0)
        self.redis.call("HSET", key("c"), "w", 77, "n", 2)
        out = self.sweep()
        self.assertEqual((out["window"], out["channels"], out["fields"]), (77, 2, 2))

    def test_what_is_due(self):
        self.redis.call("HSET", key("c"), "n", 3, "w", 2900000)
        self.redis.call("HSET", key("o"), "old", u48(NOW - 3000) + b"1", "young", u48(NOW) + b"2")
        self.redis.call("ZADD", key("e"), 0, "wiped", NOW, "due", NOW + 1, "later")
        self.redis.call("ZADD", key("A"), NOW - 1, "pa")
        self.redis.call("ZADD", key("G"), NOW - DAY, "guest", NOW + DAY, "other")
        out = self.sweep(old=NOW - 3000)
        self.assertEqual((out["channels"], out["window"]), (3, 2900000))
        self.assertEqual(out["intents"], {b"old": u48(NOW - 3000) + b"1"})
        self.assertEqual(out["due"], [(0, b"wiped"), (NOW, b"due")])
        self.assertEqual((out["archive"], out["guests"]), ([(NOW - 1, b"pa")], [(NOW - DAY, b"guest")]))
        self.assertEqual(self.sweep(cursor="")["intents"], {})

    def test_a_backlog_comes_by_pages(self):
        o, found, pages, cursor = key("o"), set(), 0, "0"
        for i in range(0, 5000, 500):
            pairs = (("p%07d" % k, u48(NOW - 5000) + b"x" * 90) for k in range(i, i + 500))
            self.redis.call("HSET", o, *(word for pair in pairs for word in pair))
        while pages == 0 or cursor != "0":
            out = self.sweep(cursor)
            self.assertLess(len(out["intents"]), 1024)
            found.update(out["intents"])
            cursor, pages = out["cursor"], pages + 1
        self.assertEqual(len(found), 5000)
        self.assertGreater(pages, 10)

    def test_rows_go_by_their_time(self):
        self.put(head_channel(5, members=1), {i: row(NOW + i) for i in range(1, 6)})
        self.assertEqual(self.trim(), (b"N", 0, 5, 0, 0))
        self.assertEqual(self.look(), NOW + DAY)  # for ever, but options change
        # A time to live of 1000 ms, now at NOW + 1002: rows born up to NOW + 2 have ended.
        self.assertEqual(self.trim(NOW + 1002, (0, NOW + 3, 0)), (b"N", 2, 5, 0, 0))
        self.assertEqual((self.rows(), self.look()), ([3, 4, 5], NOW + 1003))
        self.assertEqual(self.trim(NOW + 1002, (0, NOW + 3, 0)), (b"N", 2, 5, 0, 0))  # twice
        self.assertEqual(self.trim(NOW + 1005, (0, NOW + 6, 0)), (b"N", 5, 5, 0, 0))
        self.assertEqual((self.rows(), self.look()), ([], None))  # it has a member, and stays

    def test_a_time_to_live_of_its_own(self):
        self.put(head_channel(2, members=1), {1: row(NOW, ttl=10), 2: row(NOW, ttl=20)})
        self.assertEqual(self.trim(NOW + 9, (0, NOW + 9, 0)), (b"N", 0, 2, 0, 0))
        self.assertEqual(self.look(), NOW + 10)
        self.assertEqual(self.trim(NOW + 10), (b"N", 1, 2, 0, 0))
        self.assertEqual(self.trim(NOW + 20), (b"N", 2, 2, 0, 0))

    def test_rows_go_by_count_in_runs(self):
        self.put(head_channel(300, members=1), {i: row(NOW) for i in range(1, 301)})
        lows = []
        for _ in range(5):
            code, low, seq, again, gone = self.trim(most=(0, 100, 0))
            self.assertEqual((code, seq, gone), (b"N", 300, 0))
            lows.append((low, again))
            self.assertEqual(self.look(), NOW if again else NOW + DAY)
        self.assertEqual(lows, [(64, 1), (128, 1), (192, 1), (200, 0), (200, 0)])
        self.assertEqual(self.rows(), list(range(201, 301)))

    def test_holes_are_passed_over(self):
        self.put(head_channel(1000, members=1), {999: row(NOW), 1000: row(NOW)})
        turns = 1
        while self.trim()[3]:
            turns += 1
        self.assertEqual((turns, self.rows()), (16, [999, 1000]))

    def test_a_vacant_channel_goes(self):
        self.redis.call("HSET", key("c"), "n", 5)
        self.put(head_channel(2, members=0, version=9), {1: row(NOW), 2: row(NOW)})
        self.assertEqual(self.trim(NOW + 9, (0, NOW, 0)), (b"N", 0, 2, 0, 0))
        self.assertEqual(self.trim(NOW + 9, (0, NOW + 1, 0), keep=1), (b"N", 2, 2, 0, 0))
        self.assertEqual(self.look(), NOW + 9 + DAY)
        self.assertEqual(self.trim(NOW + 9, (0, NOW + 1, 0)), (b"N", 2, 2, 0, 1))
        for _ in range(2):
            self.assertEqual(self.redis.call("HGET", key("c"), "n"), b"4")
            head = self.redis.call("HGET", key("m", "cx"), "h")
            self.assertEqual(head, head_channel(2, low=2, version=9, flags=0))  # numbers and versions go on
            self.assertIsNone(self.look())
            self.assertEqual(self.trim(NOW + 9), (b"N", 2, 2, 0, 0))  # called twice

    def test_a_vacant_channel_that_never_had_a_message(self):
        self.put(head_channel(0, version=2), {})
        self.assertEqual(self.trim(), (b"N", 0, 0, 0, 1))
        self.assertEqual((self.redis.call("EXISTS", key("m", "cx")), self.look()), (0, None))
        self.assertEqual(self.trim(), (b"X",))

    def test_what_is_not_there_or_being_wiped(self):
        self.redis.call("ZADD", key("e"), NOW, "cx")
        self.assertEqual(self.trim(), (b"X",))
        self.assertIsNone(self.look())
        self.put(head_channel(2, flags=3), {1: row(NOW), 2: row(NOW)}, score=0)
        self.assertEqual(self.trim(), (b"W",))
        self.assertEqual((self.rows(), self.look()), ([1, 2], 0))

    def test_archived_rows_leave(self):
        self.put(head_pair(10, archived=4, first=1), {i: row(NOW + i, tier=0) for i in range(1, 11)}, "pab")
        # The newest three stay, and those born since NOW + 6.
        trim = lambda warm=6: self.trim(NOW + 1000, conv="pab", archive=(3, NOW + warm))  # noqa: E731
        self.assertEqual(trim(), (b"N", 4, 10, 0, 0))  # those above are not in the archive
        self.redis.call("HSET", key("m", "pab"), "h", head_pair(10, low=4, archived=10, first=1))
        self.assertEqual(trim(), (b"N", 5, 10, 0, 0))
        self.assertEqual((self.rows("pab"), self.look("pab")), ([6, 7, 8, 9, 10], NOW + 1001))
        self.assertEqual(trim(100), (b"N", 7, 10, 0, 0))
        self.assertEqual(self.redis.call("HGET", key("m", "pab"), "h"), head_pair(10, low=7, archived=10, first=1))
        # Without a word of the archive nothing leaves but by its time.
        self.assertEqual(self.trim(NOW + 1000, conv="pab"), (b"N", 7, 10, 0, 0))
        self.assertEqual(self.trim(NOW + 1000, (NOW + 9, 0, 0), conv="pab"), (b"N", 8, 10, 0, 0))
        # With no row left it is looked at still: rows end in the archive too.
        self.assertEqual(self.trim(NOW + 1000, (NOW + 99, 0, 0), conv="pab"), (b"N", 10, 10, 0, 0))
        self.assertEqual(self.look("pab"), NOW + 1000 + DAY)

    def test_windows(self):
        c = key("c")
        keys = [key("d", str(b)) for b in range(100, 103)]
        for k in keys:
            self.redis.call("HSET", k, "digest", "first")
        for w in (102, 102, 101):
            self.assertEqual(self.r.call("windows", [c] + keys[:2], w), b"N")
            self.assertEqual(self.redis.call("EXISTS", *keys), 1)
            self.assertEqual(self.redis.call("HGET", c, "w"), b"102")
        self.assertEqual(self.r.call("windows", [c], 103), b"N")
        self.assertEqual(self.redis.call("EXISTS", keys[2]), 1)

    def test_looking_changes_nothing(self):
        ro = lambda name, *a: self.redis.call("FCALL_RO", "mtest00_" + name, *a)  # noqa: E731
        self.assertEqual(ro("sweep", 6, *self.keys("oeAGcg"), "0", NOW, NOW, NOW, 256)[:1], b"N")
        with self.assertRaises(RedisError):
            ro("trim", 5, *self.keys("mMeAc"), "cx", rule(NOW), 0)


if __name__ == "__main__":
    unittest.main()
