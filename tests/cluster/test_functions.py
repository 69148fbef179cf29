#!/usr/bin/env python3
"""What the functions inside Redis do, one by one, and each of them twice. Needs redis-server alone.

    python3 tests/cluster/test_functions.py [NAME…]"""

import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from functions import *  # noqa: E402,F403

ROOM = b"croom"
ANN_BOB = pair("ann", "bob")


class Functions(OneRedis):
    # --- append ---

    def test_numbers(self):
        r = self.r
        make(r, ROOM, members=3)
        a, b = append(r, ROOM, "ann"), append(r, ROOM, "ann", now=NOW - 5000)
        self.assertEqual((a.code, a.seq, a.created, a.members, a.tier), ("N", 1, NOW, 3, 1))
        self.assertEqual((b.code, b.seq), ("N", 2))
        self.assertEqual(a.id >> 22, NOW - YEAR_2020)
        self.assertEqual(a.id >> 12 & 1023, 7)
        self.assertGreater(b.id, a.id)
        row = Record(r.redis.call("HGET", key("m", ROOM), 2))
        self.assertEqual((row.sender, row.name, row.content, row.id, row.birth),
                         (b"ann", b"Name", b"text", b.id, NOW - 5000))
        h = head(r, ROOM)
        self.assertEqual((h.seq, h.last, h.used, h.members), (2, b.id, 2, 3))

    def test_ids_ascend_whatever_clocks_do(self):
        r, last, seen = self.r, 0, set()
        convs = [b"c%d" % i for i in range(5)]
        for c in convs:
            make(r, c)
        now = NOW
        for i in range(9000):  # a counter runs over its 4096 within a millisecond
            now += r.rng.choice([0] * 200 + [-3, 2, 5000, -4000])
            a = append(r, r.rng.choice(convs), "ann", now=now)
            self.assertGreater(a.id, last)
            last = a.id
            seen.add(a.id)
        self.assertEqual(len(seen), 9000)

    def test_ids_are_not_below_the_place_asked_for(self):
        r = self.r
        make(r, ROOM)
        place = (NOW - YEAR_2020) * 4096 + 5
        self.assertEqual([append(r, ROOM, "ann", place=p).id & 4095 for p in (place, place, place + 3, place - 5)],
                         [5, 6, 8, 9])

    def test_refusals_write_nothing(self):
        r = self.r
        self.assertEqual(append(r, ROOM, "ann").code, "X")
        make(r, ROOM, flags=3)
        self.assertEqual(append(r, ROOM, "ann").code, "X")
        make(r, ROOM)
        before = r.state()
        self.assertEqual(append(r, ROOM, "ann", bits=MEMBERS_ONLY).code, "F")
        self.assertEqual(append(r, ROOM, "ann", bits=ONLY_REPEAT, digest=b"d" * 16).code, "X")
        self.assertEqual(append(r, ANN_BOB, "ann", receiver="bob").code, "G")
        self.assertEqual(r.state(), before)
        r.redis.call("ZADD", key("M", ROOM), 0, "ann")
        self.assertEqual(append(r, ROOM, "ann", bits=MEMBERS_ONLY).code, "N")
        for blocker, high in (("ann", 0), ("bob", 1)):
            r.call("block", [key("m", ANN_BOB)], bytes([high, 1]), ANN_BOB)
            before = r.state()
            other = "bob" if blocker == "ann" else "ann"
            self.assertEqual(append(r, ANN_BOB, other, receiver=blocker, bits=UNBLOCKED | PAIRED).code, "B")
            self.assertEqual(r.state(), before)
            r.call("block", [key("m", ANN_BOB)], bytes([high, 0]), ANN_BOB)
        r.call("block", [key("m", ANN_BOB)], bytes([0, 1]), ANN_BOB)
        self.assertEqual(append(r, ANN_BOB, "ann", receiver="bob", bits=UNBLOCKED | PAIRED).code, "N")
        self.assertEqual(append(r, ANN_BOB, "bob", receiver="ann", bits=PAIRED).code, "N")

    def test_repeats(self):
        r = self.r
        make(r, ROOM)
        first, again = self.twice(lambda: append(r, ROOM, "ann", digest=b"1" * 16))
        self.assertEqual((first.code, again.code), ("N", "D"))
        self.assertEqual((first.id, first.seq, first.created), (again.id, again.seq, again.created))
        again = append(r, ROOM, "ann", digest=b"1" * 16, bits=ONLY_REPEAT, now=NOW + 300000)
        self.assertEqual((again.code, again.id), ("D", first.id))
        place = (first.id >> 22) * 4096 + first.id % 4096
        later = append(r, ROOM, "ann", digest=b"1" * 16, border=place)  # by somebody who had the id before
        self.assertEqual((later.code, later.seq), ("N", 2))
        self.assertGreater(later.id, first.id)

    def test_repeats_across_the_border_of_a_window(self):
        """Clocks of two nodes are 5 s apart, and the border of two windows lies between them."""
        r = self.r
        make(r, ROOM)
        border = NOW // 600000 * 600000
        for i, (one, other) in enumerate([(border + 10, border - 4990), (border - 10, border + 4990),
                                          (border, border - 1), (border - 1, border)]):
            digest = b"%016d" % i
            a, b = append(r, ROOM, "ann", digest=digest, now=one), append(r, ROOM, "ann", digest=digest, now=other)
            self.assertEqual((a.code, b.code, b.id, b.seq), ("N", "D", a.id, a.seq))
        # Nearly as old as the window, in the one before; and as old.
        a = append(r, ROOM, "ann", digest=b"e" * 16, now=border - 1)
        self.assertEqual(append(r, ROOM, "ann", digest=b"e" * 16, now=border + 599998).id, a.id)
        self.assertEqual(append(r, ROOM, "ann", digest=b"e" * 16, now=border + 599999).code, "N")

    def test_private(self):
        r = self.r
        def send(sender, receiver, digest=b""):
            return append(r, ANN_BOB, sender, receiver=receiver, digest=digest, bits=PAIRED)
        a, b, c = send("ann", "bob"), send("bob", "ann"), send("ann", "bob", b"1" * 16)
        self.assertEqual([x.k for x in (a, b, c)], [1, 1, 2])
        self.assertTrue(a.pending and c.pending)
        h = head(r, ANN_BOB)
        self.assertEqual((h.kind, h.k_low, h.k_high, h.used), (2, 2, 1, 1))
        intent = r.redis.call("HGET", key("o"), b"p" + c.raw_id)
        self.assertEqual(take("6 6 6 6 1", intent), [NOW, 3, 2, 0, 0, ANN_BOB])
        self.assertEqual(take("6 6 6 6 1", r.redis.call("HGET", key("o"), b"p" + b.raw_id)),
                         [NOW, 2, 1, 0, 1, ANN_BOB])
        d = send("ann", "bob", b"1" * 16)
        self.assertEqual((d.code, d.pending, d.k, d.seq), ("D", 1, 2, 3))
        self.assertEqual(r.call("settle", [key("o")], b"p" + c.raw_id, b"", b"p" + b.raw_id, b""), b"N\0\0\0\2")
        d = send("ann", "bob", b"1" * 16)
        self.assertEqual((d.code, d.pending, d.seq), ("D", 0, 3))
        self.assertEqual(r.redis.call("HKEYS", key("o")), [b"p" + a.raw_id])

    def test_settle_asks_for_the_version(self):
        r = self.r
        field = b"jcroom\0ann"
        r.redis.call("HSET", key("o"), field, u48(NOW) + u48(7) + b"rest")
        self.assertEqual(r.call("settle", [key("o")], field, u48(6)), b"N\0\0\0\0")
        self.assertEqual(self.twice(lambda: r.call("settle", [key("o")], field, u48(7))),
                         (b"N\0\0\0\1", b"N\0\0\0\0"))
        self.assertEqual(r.redis.call("EXISTS", key("o")), 0)

    def test_least(self):
        r = self.r
        make(r, ROOM)
        append(r, ROOM, "ann")
        self.assertEqual(append(r, ROOM, "ann", least=9).seq, 10)
        self.assertEqual(append(r, ROOM, "ann", least=4).seq, 11)

    def test_trims_in_runs(self):
        r = self.r
        make(r, ROOM)
        lows = []
        for i in range(200):
            append(r, ROOM, "ann", maxes=(0, 10, 0))
            lows.append(head(r, ROOM).low)
        self.assertEqual(sorted(set(lows)), [0, 64, 128])
        self.assertEqual(lows.index(64), 73)  # the 74th message: 64 rows beyond the ten
        self.assertEqual(r.redis.call("HLEN", key("m", ROOM)), 200 - 128 + 1)
        append(r, ROOM, "ann", tier=2, maxes=(0, 10, 0))  # one without a count holds all back
        for i in range(100):
            append(r, ROOM, "ann", maxes=(0, 10, 0))
        self.assertEqual(head(r, ROOM).low, 128)

    def test_trims_nothing_that_the_archive_lacks(self):
        r = self.r
        for i in range(100):
            append(r, ANN_BOB, "ann", bits=PAIRED | ARCHIVED, maxes=(10, 0, 0), receiver="bob")
        self.assertEqual(head(r, ANN_BOB).low, 0)
        self.assertEqual(r.redis.call("ZRANGE", key("A"), 0, -1), [ANN_BOB])
        v = r.redis.call("HGET", key("m", ANN_BOB), "h")
        r.redis.call("HSET", key("m", ANN_BOB), "h", v[:32] + u48(70) + v[38:])
        append(r, ANN_BOB, "ann", bits=PAIRED | ARCHIVED, maxes=(10, 0, 0), receiver="bob")
        self.assertEqual(head(r, ANN_BOB).low, 64)

    def test_what_a_count_hid_stays_hidden(self):
        r = self.r
        make(r, ROOM)
        def visible(maxes):
            h, first, (probe, metas), rows = ranged(r, ROOM, maxes=maxes, limit=100)
            return first
        for i in range(10):
            append(r, ROOM, "ann", maxes=(0, 4, 0))
        self.assertEqual(visible((0, 4, 0)), 7)
        self.assertEqual(visible((0, 0, 0)), 7)  # the option was raised since
        self.assertEqual(visible((0, 2, 0)), 9)
        append(r, ROOM, "ann", maxes=(0, 0, 0))
        self.assertEqual(head(r, ROOM).floors, [0, 6, 0])
        self.assertEqual(visible((0, 0, 0)), 7)
        append(r, ROOM, "ann", own=2)
        self.assertEqual(visible((0, 0, 0)), 11)
        append(r, ROOM, "ann", maxes=(0, 0, 0))
        self.assertEqual(head(r, ROOM).floors, [0, 10, 0])
        self.assertEqual(visible((0, 0, 0)), 11)

    def test_counts_of_before(self):
        """A count was lowered and raised again, and nothing was said meanwhile: it hides what it hid."""
        r = self.r
        make(r, ROOM)
        for i in range(10):
            last = append(r, ROOM, "ann", maxes=(0, 100, 0))
        place = (last.id >> 22) * 4096 + last.id % 4096
        for until, count, hidden in ((place, 4, 6), (place + 9, 5, 5), (place - 1, 4, 0), (place, 200, 0)):
            rules = rule(maxes=(0, 100, 0)) + past((until, count))
            self.assertEqual([change(r, ROOM, s, edit=False, rules=rules)[0] == "X" for s in range(1, 11)],
                             [s <= hidden for s in range(1, 11)])
        before = past((place, 7), (place - 1, 3))
        a = append(r, ROOM, "ann", maxes=(0, 100, 0), before=before)
        self.assertEqual(head(r, ROOM).floors, [0, 3, 0])
        append(r, ROOM, "ann", maxes=(0, 100, 0), before=before)
        self.assertEqual(head(r, ROOM).floors, [0, 3, 0])
        append(r, ROOM, "ann", maxes=(0, 100, 0), before=past((a.id, 1)))
        self.assertEqual(head(r, ROOM).floors, [0, 11, 0])

    def test_counts_of_two_tiers(self):
        r = self.r
        make(r, ROOM)
        maxes = (0, 6, 3)
        for i in range(1, 6):
            append(r, ROOM, "ann", tier=2 if i in (2, 4) else 1, maxes=maxes)
        h, first, _, rows = ranged(r, ROOM, maxes=maxes)
        self.assertEqual((h.used, first, len(rows)), (6, 1, 5))
        append(r, ROOM, "ann", tier=2, maxes=(0, 6, 100))  # large's count is raised, 2 was beyond it
        self.assertEqual(head(r, ROOM).floors, None)  # it is seen to by what newer rows leave
        append(r, ROOM, "ann", tier=2, maxes=(0, 6, 100))

    def test_an_own_count_brings_nothing_back_that_a_tier_hid(self):
        r = self.r
        make(r, ROOM)
        maxes = (0, 9, 3)
        for i in range(1, 9):
            append(r, ROOM, "ann", tier=2 if i == 2 else 1, maxes=maxes)  # 2 is beyond the count of its tier
        append(r, ROOM, "ann", maxes=maxes, own=20)
        self.assertEqual(head(r, ROOM).floors, [0, 0, 5])
        append(r, ROOM, "ann", maxes=maxes)
        self.assertEqual(head(r, ROOM).floors, [0, 0, 5])

    def test_due(self):
        r = self.r
        make(r, ROOM)
        append(r, ROOM, "ann", due=NOW + 500)
        append(r, ROOM, "ann", due=NOW + 900)
        self.assertEqual(r.redis.call("ZSCORE", key("e"), ROOM), b"%d" % (NOW + 500))
        append(r, ROOM, "ann", due=NOW + 100, ttl=100)
        self.assertEqual(r.redis.call("ZSCORE", key("e"), ROOM), b"%d" % (NOW + 100))

    # --- range ---

    def fill(self, n, content="text"):
        make(self.r, ROOM)
        return [append(self.r, ROOM, "ann", content=content).id for _ in range(n)]

    def test_range(self):
        r = self.r
        self.assertEqual(ranged(r, ROOM), (b"", 0, (0, []), []))
        ids = self.fill(150)
        def seqs(*a, **k):
            h, first, probe, rows = ranged(r, ROOM, *a, **k)
            return first, [row and ids.index(Record(row).id) + 1 for row in rows]
        self.assertEqual(seqs(1, 0, True, 3), (1, [1, 2, 3]))
        self.assertEqual(seqs(1, 0, False, 3), (150, [150, 149, 148]))
        self.assertEqual(seqs(10, 12, False, 9), (12, [12, 11, 10]))
        self.assertEqual(seqs(148, 200, True, 9), (148, [148, 149, 150]))
        self.assertEqual(seqs(151, 0, True, 9), (151, []))
        self.assertEqual(len(seqs(1, 0, True, 150)[1]), 150)
        r.redis.call("HDEL", key("m", ROOM), 11)
        self.assertEqual(seqs(10, 12, True, 9), (10, [10, None, 12]))
        h, _, (probe, metas), rows = ranged(r, ROOM, limit=0, probe=9, probes=4)
        self.assertEqual((probe, [m and int.from_bytes(m[3:11], "big") for m in metas], rows),
                         (9, [ids[8], ids[9], None, ids[11]], []))
        self.assertEqual({len(m) for m in metas if m}, {31})
        self.assertEqual(len(ranged(r, ROOM, limit=0, probe=149, probes=9)[2][1]), 2)
        self.assertEqual(ranged(r, ROOM, limit=0, probe=151)[2], (151, []))
        for name in ("head", "look"):
            self.assertEqual(ranged(r, ROOM, limit=0, name=name)[0].seq, 150)

    def test_a_reply_is_not_too_large(self):
        self.fill(30, content="x" * 20000)
        rows = ranged(self.r, ROOM, limit=30)[3]
        self.assertEqual(len(rows), 13)
        r = self.r
        append(r, ROOM, "ann", content="y" * 400000)
        self.assertEqual(len(ranged(r, ROOM, up=False, limit=30)[3]), 1)  # one at least
        reply = r.call("rows", [key("m", ROOM)], b"".join(map(u48, [31, 1, 2])))
        self.assertEqual(len(reply), 2)
        reply = r.call("rows", [key("m", ROOM)], b"".join(map(u48, [5, 99, 2])))
        self.assertEqual([x and len(x) for x in reply[1:]], [20046, None, 20046])
        self.assertEqual(Head(reply[0][1:]).seq, 31)
        self.assertEqual(r.call("rows", [key("m", b"cnone")], u48(1)), [b"N", None])

    # --- change ---

    def test_recall_and_edit(self):
        r = self.r
        ids = self.fill(3)
        (code, mid, created, edited, rev, name), again = self.twice(
            lambda: change(r, ROOM, 2, content="better", now=NOW + 10))
        self.assertEqual((code, mid, created, edited, rev, name), ("N", ids[1], NOW, NOW + 10, 1, b"Name"))
        self.assertEqual(again[0], "D")
        self.assertEqual(again[1:], (mid, created, edited, rev, name))
        # Several in one millisecond, or with a clock that is behind: each is later.
        times = [change(r, ROOM, 2, content=c, now=NOW - 100)[3] for c in ("a", "b", "c")]
        self.assertEqual(times, [NOW + 11, NOW + 12, NOW + 13])
        self.assertEqual(change(r, ROOM, 2, content="c", now=NOW + 500)[0:5:3], ("N", NOW + 500))
        row = Record(r.redis.call("HGET", key("m", ROOM), 2))
        self.assertEqual((row.content, row.rev, row.edited, row.id, row.birth), (b"c", 5, NOW + 500, ids[1], NOW))
        self.assertEqual(head(r, ROOM).edits, 5)
        first, again = self.twice(lambda: change(r, ROOM, 2, edit=False))
        self.assertEqual((first[0], again[0]), ("N", "D"))
        row = Record(r.redis.call("HGET", key("m", ROOM), 2))
        self.assertEqual((row.flags, row.content, row.edited, row.rev), (1, b"", 0, 6))
        self.assertEqual(change(r, ROOM, 2, content="c"), ("X", b"\0"))
        self.assertEqual(change(r, ROOM, 2, edit=False, window=1, now=NOW + 99999)[0], "D")

    def test_change_refused(self):
        r = self.r
        ids = self.fill(70)
        before = r.state()
        for edit in (True, False):
            def code(seq=5, **k):
                return change(r, ROOM, seq, edit=edit, **k)
            self.assertEqual(code(0), ("X", b"\0"))
            self.assertEqual(code(71), ("X", b"\0"))
            self.assertEqual(code(sender="bob")[0], "P")
            self.assertEqual(code(window=99, now=NOW + 100)[0], "T")
            self.assertEqual(code(border=(ids[4] >> 22) * 4096 + ids[4] % 4096)[0], "P")
            self.assertEqual(code(rules=rule(born=(0, NOW + 1, 0)))[0], "X")
            self.assertEqual(code(rules=rule(maxes=(0, 65, 0)))[0], "X")
            self.assertEqual(change(r, b"cnone", 1, edit=edit)[0], "X")
            self.assertEqual(r.state(), before)
            self.assertEqual(code(6 + edit, sender="")[0], "N")
            before = r.state()
        self.assertEqual(change(r, ROOM, 6, rules=rule(maxes=(0, 65, 0)))[0], "X")  # recalled
        for _ in range(30):
            append(r, ROOM, "ann", maxes=(0, 10, 0))
        self.assertEqual(change(r, ROOM, 5), ("X", b"\1"))  # it has left Redis

    def test_change_sends_to_the_archive_again(self):
        r = self.r
        for i in range(5):
            append(r, ANN_BOB, "ann", bits=PAIRED, receiver="bob", now=NOW + i)
        v = r.redis.call("HGET", key("m", ANN_BOB), "h")
        r.redis.call("HSET", key("m", ANN_BOB), "h", v[:32] + u48(4) + v[38:])
        change(r, ANN_BOB, 5, content="new")
        self.assertEqual((head(r, ANN_BOB).archived, r.redis.call("EXISTS", key("A"))), (4, 0))
        change(r, ANN_BOB, 3, content="new")
        self.assertEqual(head(r, ANN_BOB).archived, 2)
        self.assertEqual(r.redis.call("ZSCORE", key("A"), ANN_BOB), b"%d" % (NOW + 2))

    def test_block_and_tier(self):
        r = self.r
        for high, flag in ((0, 4), (1, 8)):
            for on in (1, 0, 1):
                self.twice(lambda: r.call("block", [key("m", ANN_BOB)], bytes([high, on]), ANN_BOB))
                h = head(r, ANN_BOB)
                self.assertEqual(h.flags & flag if h else 0, on * flag)
        r.call("block", [key("m", b"pa\0b")], b"\0\0", b"pa\0b")
        self.assertIsNone(head(r, b"pa\0b"))
        self.assertEqual(r.call("tier", [key("m", ROOM)], 2), b"X")
        make(r, ROOM, members=5)
        first, second = self.twice(lambda: r.call("tier", [key("m", ROOM)], 2))
        self.assertEqual((first, second), (b"N" + struct.pack(">I", 5) + u48(0),) * 2)
        self.assertEqual(head(r, ROOM).tier, 2)

    # --- inboxes ---

    def test_inbox_once_ever(self):
        """Whoever repeats a second half, in whatever order, and after however many acknowledgements."""
        r, placed = self.r, []
        ids = {k: ((NOW - YEAR_2020 + k) << 22) for k in range(1, 301)}
        order = list(ids)
        r.rng.shuffle(order)
        for at, k in enumerate(order):
            for _ in range(r.rng.randrange(1, 4)):
                code, place, arrivals = inbox_put(r, "bob", "ann", ids[k], k, k)
                if code == "N":
                    placed.append(k)
                    self.assertEqual(place, len(placed))
                else:
                    self.assertEqual(code, "D")
            if at % 7 == 0:
                ack(r, "bob", up_to=2 ** 64 - 1)
            earlier = order[r.rng.randrange(at + 1)]
            self.assertEqual(inbox_put(r, "bob", "ann", ids[earlier], earlier, earlier)[0], "D")
        self.assertEqual(placed, order)
        self.assertEqual(len(r.redis.call("HGET", key("r", "bob"), "ann")), 20)  # nothing is early any more
        ack(r, "bob", up_to=2 ** 64 - 1)
        for k in order:  # 300 acknowledgements later
            self.assertEqual(inbox_put(r, "bob", "ann", ids[k], k, k), ("D", 0, 300))
        self.assertEqual(inbox(r, "bob")[0], [])

    def test_inbox_after_a_double_fault(self):
        """The pair was taken back: k that were there come again, with newer ids."""
        r = self.r
        for k in range(1, 6):
            inbox_put(r, "bob", "ann", (100 + k) << 22, k, k)
        self.assertEqual(inbox_put(r, "bob", "ann", 200 << 22, 4, 4)[0], "N")
        self.assertEqual(inbox_put(r, "bob", "ann", 200 << 22, 4, 4)[0], "D")
        self.assertEqual(inbox_put(r, "bob", "ann", 201 << 22, 5, 5)[0], "N")
        self.assertEqual(inbox_put(r, "bob", "ann", 202 << 22, 6, 6)[0], "N")

    def test_inbox_gap_that_never_closes(self):
        r = self.r
        for k in range(2, 1100):
            self.assertEqual(inbox_put(r, "bob", "ann", k << 22, k, k, maximum=5)[0], "N")
        self.assertEqual(len(r.redis.call("HGET", key("r", "bob"), "ann")), 20)
        self.assertEqual(inbox_put(r, "bob", "ann", 1, 1, 1)[0], "D")

    def test_inbox_full(self):
        r = self.r
        for k in range(1, 9):
            inbox_put(r, "bob", "ann", k << 22, k, k, maximum=3)
        self.assertEqual(inbox(r, "bob")[0], [6 << 22, 7 << 22, 8 << 22])
        self.assertEqual(r.redis.call("HLEN", key("I", "bob")), 3)
        inbox_put(r, "bob", "ann", 9 << 22, 9, 9, maximum=1)
        self.assertEqual(inbox(r, "bob")[0], [9 << 22])

    def test_inbox_pages(self):
        r = self.r
        ids = [(i * 7 % 101 + 1) << 22 for i in range(100)]  # arrival is not the order of ids
        for i, mid in enumerate(ids):
            inbox_put(r, "bob", "peer%d" % i, mid, 1, 1)
        self.assertEqual(inbox(r, "bob"), (ids, False, 100))
        self.assertEqual(inbox(r, "bob", limit=10), (ids[:10], True, 10))
        self.assertEqual(inbox(r, "bob", after=10, limit=10), (ids[10:20], True, 20))
        self.assertEqual(inbox(r, "bob", behind=struct.pack(">Q", ids[41]), limit=3)[0], ids[42:45])
        ack(r, "bob", ids=[ids[41]])
        self.assertEqual(inbox(r, "bob", behind=struct.pack(">Q", ids[41]))[0],
                         [i for i in ids if i > ids[41]])  # not there: by comparison
        # The partition stands above the counter: the id before one is in the place of another.
        self.assertEqual(inbox(r, "bob", behind=struct.pack(">Q", ids[99] - 1))[0],
                         [i for i in ids if i >= ids[99] and i != ids[41]])
        self.assertEqual(ack(r, "bob", up_to=ids[41]), (0, 99, 1))
        self.assertEqual(ack(r, "bob", ids=[ids[0], ids[0], 12345, ids[5]]), (2, 97, 1))
        self.assertEqual(ack(r, "bob", up_to=ids[80]), (78, 19, 2))
        self.assertEqual(inbox(r, "bob")[0], ids[81:])
        self.assertEqual(ack(r, "bob", up_to=2 ** 64 - 1), (19, 0, 1))
        self.assertEqual(r.redis.call("HLEN", key("I", "bob")), 0)
        self.assertEqual(inbox(r, "bob"), ([], False, 0))

    def test_inbox_counts_what_has_not_ended(self):
        r = self.r
        for k in range(1, 101):
            inbox_put(r, "bob", "ann", k << 22, k, k, birth=NOW + k, ttl=0)
        self.assertEqual(ack(r, "bob", ids=[90 << 22], rules=rule(born=(NOW + 81, 0, 0))), (1, 19, 1))
        self.assertEqual(ack(r, "bob", ids=[5 << 22], rules=rule(born=(NOW + 81, 0, 0))), (0, 19, 1))
        self.assertEqual(ack(r, "bob", ids=[5 << 22], rules=rule(born=(NOW + 500, 0, 0))), (0, 0, 1))
        self.assertEqual(ack(r, "bob", ids=[5 << 22]), (0, 98, 1))

    def test_deleted_users(self):
        r = self.r
        gone = struct.pack(">Q", 50 << 22)
        there = lambda user: r.call("there", user_keys("u", user))  # noqa: E731
        self.assertEqual(there("bob"), b"N\0" + bytes(6))
        r.redis.call("HSET", key("u", "bob"), "n", "Bob", "g", 5)
        self.assertEqual(there("bob"), b"N\3" + bytes(6))
        self.assertEqual(inbox_put(r, "bob", "ann", 1 << 22, 1, 1)[0], "N")
        r.redis.call("UNLINK", key("u", "bob"), key("i", "bob"), key("I", "bob"), key("p", "bob"))
        r.redis.call("HSET", key("u", "bob"), "x", gone + b"\1")
        self.assertEqual(there("bob"), b"X\0" + u48(YEAR_2020 + 50))
        self.twice(lambda: inbox_put(r, "bob", "ann", 2 << 22, 2, 2))
        self.assertEqual(inbox_put(r, "bob", "ann", 3 << 22, 3, 3), "X")
        self.assertEqual(r.call("sent", user_keys("upr", "bob"), 3, gone, "ann"), b"X")
        self.assertEqual(r.call("mark", user_keys("ur", "bob"), 3, "", "ann"), b"X")
        self.assertEqual(r.call("blocks", user_keys("u", "bob"), "ann", 1), b"X")
        self.assertEqual(r.redis.call("EXISTS", key("p", "bob"), key("i", "bob")), 0)
        # Another bob: its inbox goes on behind what the former's was, and has read what was before.
        r.redis.call("HSET", key("u", "bob"), "x", gone + b"\0", "n", "Bob")
        self.assertEqual(there("bob"), b"N\1" + u48(YEAR_2020 + 50))
        self.assertEqual(inbox_put(r, "bob", "ann", 3 << 22, 3, 3)[0], "D")
        self.assertEqual(inbox_put(r, "bob", "ann", 90 << 22, 9, 4)[0], "N")
        self.assertEqual(inbox(r, "bob")[0], [90 << 22])
        self.assertEqual(r.redis.call("HGET", key("r", "bob"), "ann")[:6], u48(8))
        self.assertEqual(inbox_put(r, "bob", "ann", 91 << 22, 10, 5)[0], "N")
        self.assertEqual(r.redis.call("HGET", key("r", "bob"), "ann")[:6], u48(8))

    def test_who_was_deleted(self):
        r = self.r
        for u in ("a", "b", "c"):
            self.twice(lambda: r.call("gone_put", [key("D")], u))
        self.assertEqual(r.call("gone_list", [key("D")], 0, 2), b"N\1a\1b")
        self.assertEqual(r.call("gone_list", [key("D")], 2, 9), b"N\1c")
        self.assertEqual(r.call("gone_list", [key("D")], 3, 9), b"N")

    # --- marks ---

    def test_marks(self):
        r = self.r
        def mark(seq, channel="", peer=""):
            reply = r.call("mark", user_keys("ur", "bob"), seq, channel, peer)
            return tuple(take("6 1", reply[1:])[:2])
        self.assertEqual([mark(4, peer="ann"), mark(4, peer="ann"), mark(2, peer="ann"), mark(9, peer="ann")],
                         [(4, 1), (4, 0), (4, 0), (9, 1)])
        inbox_put(r, "bob", "ann", 5 << 22, 10, 1)
        self.assertEqual(mark(10, peer="ann"), (10, 1))
        self.assertEqual(inbox_put(r, "bob", "ann", 5 << 22, 10, 1)[0], "D")
        self.assertEqual(mark(4, channel="croom"), (0, 0))  # no member
        r.redis.call("HSET", key("u", "bob"), "croom", struct.pack(">BBB", 1, 2, 1) + u48(3) + u48(77))
        self.assertEqual([mark(4, "croom"), mark(4, "croom"), mark(1, "croom")], [(4, 1), (4, 0), (4, 0)])
        self.assertEqual(r.redis.call("HGET", key("u", "bob"), "croom"),
                         struct.pack(">BBB", 1, 2, 1) + u48(4) + u48(77))
        r.redis.call("HSET", key("u", "bob"), "croom", b"\0" + u48(NOW) + u48(78))
        self.assertEqual(mark(9, "croom"), (0, 0))  # it has left
        sessions(r, "bob", 3, 900)
        self.assertEqual(told(r.call("mark", user_keys("urS", "bob"), 11, "", "ann"), "6 1"), ([11, 1], [3, 900]))

    def test_sent(self):
        r = self.r
        def sent(seq, mid):
            return r.call("sent", user_keys("upr", "ann"), seq, struct.pack(">Q", mid), "bob")
        inbox_put(r, "ann", "bob", 3 << 22, 1, 1)
        self.twice(lambda: sent(7, 9 << 22))
        sessions(r, "ann", 3)
        self.assertEqual(told(r.call("sent", user_keys("uprS", "ann"), 7, struct.pack(">Q", 9 << 22), "bob"), "")[1],
                         [3])
        self.assertEqual(sent(5, 8 << 22), b"N")
        self.assertEqual(r.redis.call("ZSCORE", key("p", "ann"), "bob"), b"%d" % (9 * 4096))
        self.assertEqual(r.redis.call("HGET", key("r", "ann"), "bob"), u48(7) + u48(1) + struct.pack(">Q", 3 << 22))

    def test_blocks(self):
        r = self.r
        self.twice(lambda: r.call("blocks", user_keys("u", "bob"), "ann", 1))
        self.assertEqual(r.redis.call("HKEYS", key("u", "bob")), [b"bann"])
        self.twice(lambda: r.call("blocks", user_keys("u", "bob"), "ann", 0))
        self.assertEqual(r.redis.call("EXISTS", key("u", "bob")), 0)


class Full(unittest.TestCase):
    """Redis is full: what frees memory and what reads goes on, and so do second halves; nothing new is taken."""

    def test_flags(self):
        r = Alone(maxmemory_policy="noeviction")
        self.addCleanup(r.close)
        make(r, ROOM)
        ids = [append(r, ROOM, "ann").id for _ in range(5)]
        p = append(r, ANN_BOB, "ann", receiver="bob", bits=PAIRED)
        inbox_put(r, "bob", "ann", p.id, 1, p.k)
        r.redis.call("CONFIG", "SET", "maxmemory", "1mb")
        for refused in (lambda: append(r, ROOM, "ann"),
                        lambda: r.call("block", [key("m", ANN_BOB)], b"\0\1", ANN_BOB),
                        lambda: r.call("blocks", user_keys("u", "bob"), "ann", 1)):
            with self.assertRaisesRegex(RedisError, "^OOM"):
                refused()
        self.assertEqual(head(r, ROOM).seq, 5)
        self.assertEqual(len(ranged(r, ROOM)[3]), 5)
        self.assertEqual(len(ranged(r, ROOM, name="look")[3]), 5)
        self.assertEqual(change(r, ROOM, 1, edit=False)[0], "N")
        self.assertEqual(inbox_put(r, "bob", "ann", p.id, 1, p.k)[0], "D")
        self.assertEqual(r.call("sent", user_keys("upr", "ann"), 1, p.raw_id, "bob"), b"N")
        self.assertEqual(inbox(r, "bob")[0], [p.id])
        self.assertEqual(ack(r, "bob", up_to=p.id), (1, 0, 1))
        self.assertEqual(r.call("settle", [key("o")], b"p" + p.raw_id, b""), b"N\0\0\0\1")
        self.assertEqual(r.call("mark", user_keys("ur", "bob"), 1, "", "ann")[:1], b"N")
        self.assertEqual(r.call("tier", [key("m", ROOM)], 2)[:1], b"N")
        self.assertEqual(r.call("there", user_keys("u", "bob"))[:1], b"N")
        self.assertEqual(len(r.call("rows", [key("m", ROOM)], u48(2))), 2)
        self.assertEqual(r.call("gone_put", [key("D")], "bob"), b"N")


if __name__ == "__main__":
    unittest.main()
