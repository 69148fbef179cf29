#!/usr/bin/env python3
"""The functions that have to do with the archive, in one Redis: what waits for it, what the head is told, what is kept
of it. Each schedule in which a recall could die between Redis and the archive (tests of the whole: test_archive.py)."""

import struct
import sys
import unittest

from functions import NOW, OneRedis, u48
from test_functions_time import head_pair, row

P = "pab"


def key(kind, rest=""):
    return "m%s{1}%s" % (kind, ":" + rest if rest else "")


class TestCold(OneRedis):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.redis = cls.r.redis

    def put(self, head, rows):
        self.redis.call("HSET", key("m", P), "h", head, *(w for s in rows for w in (s, row(NOW + s, tier=0))))

    def head(self):
        return self.redis.call("HGET", key("m", P), "h")

    def score(self, kind):
        v = self.redis.call("ZSCORE", key(kind), P)
        return None if v is None else int(v)

    def waiting(self, low=0, limit=64):
        out = self.r.call("waiting", [key("m", P)], struct.pack(">BH", low, limit))
        if out[0] == b"X":
            return None
        self.assertEqual(out[0][:1], b"N")
        return int.from_bytes(out[0][1:7], "big"), out[0][7:], [v is not None for v in out[1:]]

    def archived(self, upto, edits, first=1, hot=3, leave=100, look=0, checked=1):
        return self.r.call("archived", [key("m", P), key("e"), key("A")],
                           struct.pack(">B", checked) + u48(upto) + u48(first) +
                           struct.pack(">II", edits, hot) + u48(leave) + u48(look) + u48(NOW + 50), P)

    def test_what_waits(self):
        self.assertIsNone(self.waiting())
        head = head_pair(10, low=2, archived=4)
        self.put(head, [3, 4, 5, 7, 8, 9, 10])  # 6 was left out
        self.assertEqual(self.waiting(), (5, head, [True, False, True, True, True, True]))
        self.assertEqual(self.waiting(limit=2), (5, head, [True, False]))
        self.assertEqual(self.waiting(low=1, limit=3), (3, head, [True, True, True]))
        self.redis.call("HSET", key("m", P), "h", head_pair(10, low=10, archived=4))
        self.assertEqual(self.waiting()[2], [])
        self.redis.call("HSET", key("m", "cx"), "h", struct.pack(">BBBB", 1, 1, 1, 0) + bytes(38))
        self.assertEqual(self.r.call("waiting", [key("m", "cx")], struct.pack(">BH", 0, 9)), [b"X"])

    def test_large_rows_come_in_pieces(self):
        self.put(head_pair(64), [])
        self.redis.call("HSET", key("m", P), *(w for s in range(1, 65) for w in (s, row(NOW) + b"x" * 65000)))
        self.assertEqual(len(self.waiting()[2]), 4)

    def test_the_head_is_told(self):
        self.redis.call("ZADD", key("A"), NOW + 1, P)
        self.put(head_pair(10, edits=4), range(1, 11))
        self.assertEqual(self.archived(5, 3), b"D")  # changed since it was read
        self.assertEqual((self.head(), self.score("A")), (head_pair(10, edits=4), NOW + 1))
        self.assertEqual(self.archived(5, 4), b"N" + u48(5))
        self.assertEqual(self.head(), head_pair(10, archived=5, first=1, edits=4))
        self.assertEqual((self.score("A"), self.score("e")), (NOW + 6, NOW + 101))  # the next; the oldest leaves then
        for _ in range(2):  # called twice
            self.assertEqual(self.archived(10, 4), b"N" + u48(10))
            self.assertEqual((self.score("A"), self.score("e")), (None, NOW + 101))
        self.assertEqual(self.archived(2, 4, first=3), b"N" + u48(10))  # late: neither goes back
        self.assertEqual(self.archived(2, 4, first=2), b"N" + u48(10))
        self.assertEqual(self.head(), head_pair(10, archived=10, first=3, edits=4))
        self.assertEqual(self.archived(99, 4), b"N" + u48(10))  # numbers that Redis has lost
        self.assertEqual(self.archived(0, 0, first=7, look=NOW + 90, checked=0), b"N" + u48(10))
        self.assertEqual((self.head(), self.score("e")), (head_pair(10, archived=10, first=7, edits=4), NOW + 90))

    def test_numbers_that_were_left_out(self):
        self.redis.call("ZADD", key("A"), NOW + 1, P)
        self.put(head_pair(10), [1, 2, 3, 9, 10])
        self.assertEqual(self.archived(3, 0, hot=100), b"N" + u48(3))
        self.assertEqual((self.score("A"), self.score("e")), (NOW + 50, None))  # 9 and 10 are not forgotten

    def change(self, seq, content=b"new", edit=1):
        return self.r.call("change", [key("m", P), key("A")],
                           u48(NOW + 500) + u48(seq) + u48(0) + bytes([edit]) + bytes(7) + u48(NOW + 500) + bytes(18) +
                           bytes(12), "", content, P)[:1]

    def test_a_change_between_read_and_told(self):
        self.put(head_pair(10), range(1, 11))
        _, head, _ = self.waiting()
        self.assertEqual(self.change(5), b"N")
        self.assertEqual(self.archived(10, 0), b"D")
        self.assertEqual(self.waiting()[0], 1)
        self.assertEqual(self.archived(10, 1), b"N" + u48(10))

    def test_a_change_after_it_was_told(self):
        self.put(head_pair(10), range(1, 11))
        self.assertEqual(self.archived(10, 0), b"N" + u48(10))
        self.assertEqual(self.change(5), b"N")
        self.assertEqual((self.waiting()[0], self.score("A")), (5, NOW + 5))  # it is archived anew
        self.assertEqual(self.archived(10, 0), b"D")  # a slow sweeper that has the old text
        self.assertEqual(self.waiting()[0], 5)

    def test_kept_blocks_end_with_a_change(self):
        x = [key("x", P + ":%d" % b) for b in range(3)]
        self.put(head_pair(10, low=10, archived=10, edits=7), [])
        for edits, k in ((7, x[0]), (6, x[1])):
            self.assertEqual(self.r.call("keep", [k], struct.pack(">I", edits) + b"rows", 600000), b"N")
        self.assertEqual(self.r.call("kept", x, struct.pack(">I", 7)),
                         [b"N", struct.pack(">I", 7) + b"rows", None, None])
        self.assertGreater(self.redis.call("PTTL", x[0]), 590000)
        self.assertEqual(self.change(5), b"X")
        self.assertEqual(self.r.call("touched", [key("m", P)]), b"N")
        self.assertEqual(self.head(), head_pair(10, low=10, archived=10, edits=8))
        self.assertEqual(self.r.call("kept", x, struct.pack(">I", 8)), [b"N", None, None, None])
        self.assertEqual(self.r.call("touched", [key("m", "pxy")]), b"X")


if __name__ == "__main__":
    program = unittest.main(argv=[sys.argv[0]] + sys.argv[1:], exit=False)
    result = program.result
    bad = len(result.failures) + len(result.errors)
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    sys.exit(bad != 0)
