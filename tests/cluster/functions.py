"""The functions of storage/redis/functions in one Redis, called without Magpie: for tests of what they do."""

import os
import random
import struct
import unittest

from process import Process, eventually, folder, free_ports, remove
from resp import Redis, RedisError

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "storage", "redis", "functions")
NOW = 1700000000000
YEAR_2020 = 1577836800000
ONLY_REPEAT, ARCHIVED, MEMBERS_ONLY, UNBLOCKED, FROM_HIGH, PAIRED, INBOX = 1, 2, 4, 8, 16, 32, 128


def u48(v):
    return struct.pack(">Q", v)[2:]


def take(fmt, v):
    """Unpacks from the front of v: a list of numbers by their bytes in fmt ("8 6 1"), and the rest."""
    out = []
    for n in map(int, fmt.split()):
        out.append(int.from_bytes(v[:n], "big"))
        v = v[n:]
    return out + [v]


class Alone:
    """One Redis, without a cluster, that knows the functions. The tag of all keys is {1}."""

    def __init__(self, **settings):
        self.folder = folder("magpie-functions-")
        self.port = free_ports(1)
        argv = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        for name, value in settings.items():
            argv += ["--" + name.replace("_", "-"), str(value)]
        self.process = Process(argv, os.path.join(self.folder, "log"))
        self.process.start()
        self.redis = Redis("127.0.0.1", self.port)
        eventually(lambda: self.redis.call("PING"), "Redis answers")
        self.redis.call("FUNCTION", "LOAD", library())
        self.rng = random.Random(1)

    def close(self):
        self.redis.close()
        self.process.kill()
        remove(self.folder)

    def call(self, name, keys, *args):
        return self.redis.call("FCALL", "mtest00_" + name, len(keys), *keys, *args)

    def state(self):
        """All that is stored."""
        r, out = self.redis, {}
        for key in sorted(r.call("KEYS", "*")):
            kind = r.call("TYPE", key)
            if kind == b"hash":
                flat = r.call("HGETALL", key)
                out[key] = dict(zip(flat[::2], flat[1::2]))
            elif kind == b"zset":
                flat = r.call("ZRANGE", key, 0, -1, "WITHSCORES")
                out[key] = dict(zip(flat[::2], flat[1::2]))
            else:
                out[key] = r.call("GET", key)
        return out


class OneRedis(unittest.TestCase):
    """Tests that share one Redis, which is empty when each begins."""

    @classmethod
    def setUpClass(cls):
        cls.r = Alone()

    @classmethod
    def tearDownClass(cls):
        cls.r.close()

    def setUp(self):
        self.r.redis.call("FLUSHALL")

    def twice(self, f):
        """Whatever f() does, it does it once: a second time it changes nothing. What it says each time."""
        first, before = f(), self.r.state()
        second = f()
        self.assertEqual(self.r.state(), before)
        return first, second


def library():
    """The text that is loaded: the files in the order that the build gives them, as far as they are there."""
    names = sorted(n for n in os.listdir(SOURCES) if n.endswith(".lua") and n != "head.lua")
    text = "#!lua name=magpie_test00\n"
    for name in ["head.lua"] + names:
        with open(os.path.join(SOURCES, name)) as f:
            text += f.read().replace("@", "test00")
    return text


def key(kind, rest=None):
    k = kind.encode() + b"{1}"
    return k if rest is None else k + b":" + (rest if isinstance(rest, bytes) else rest.encode())


def pair(a, b):
    return b"p" + min(a, b).encode() + b"\0" + max(a, b).encode()


def texts(sender, name="Name", content="text"):
    sender, name = sender.encode(), name.encode()
    content = content if isinstance(content, bytes) else content.encode()
    return bytes([len(sender), len(name)]) + sender + name + content


def rule(now=NOW, born=(0, 0, 0), maxes=(0, 0, 0)):
    return u48(now) + b"".join(map(u48, born)) + struct.pack(">III", *maxes)


def windows(now, window=600000):
    """The windows in which a repeat may stand, that of now first."""
    length = 600000
    first = now // length
    all_of = range((now - window - 10000) // length, (now + 10000) // length + 1)
    return [first] + [b for b in all_of if b != first]


def past(*entries):
    """Counts of before, for small: (place, count)."""
    out = b"".join(struct.pack(">Q", place)[1:] + struct.pack(">I", count) for place, count in entries)
    return bytes(33) + out.ljust(33, b"\0") + bytes(33)


class Numbers:
    """What `append` says."""

    def __init__(self, reply):
        self.code = reply[:1].decode()
        if len(reply) > 1:
            (self.id, self.seq, self.created, self.k, self.members, self.tier, self.version, self.pending,
             rest) = take("8 6 6 6 4 1 6 1", reply[1:])
            assert rest == b"", rest
        else:
            self.id = self.seq = self.k = self.pending = None

    @property
    def raw_id(self):
        return struct.pack(">Q", self.id)


def append(redis, conv, sender, digest=b"", receiver="", now=NOW, bits=0, tier=None, ttl=0, maxes=(0, 0, 0), least=0,
           border=0, due=0, place=0, own=0, before=b"", content="text", part=7, name="Name"):
    if conv[:1] == b"p":
        bits |= FROM_HIGH if conv.split(b"\0")[1] == sender.encode() else 0
    bits |= INBOX if receiver else 0
    tier = (0 if conv[:1] == b"p" else 1) if tier is None else tier
    packed = (u48(now) + struct.pack(">HBB", part, bits, tier) + u48(ttl) + struct.pack(">III", *maxes) + u48(least) +
              struct.pack(">Q", border)[1:] + u48(due) + u48(now - 599999) +
              struct.pack(">Q", place or (now - YEAR_2020) * 4096)[1:] + struct.pack(">I", own) + before)
    keys = [key("m", conv), key("M", conv), key("o"), key("g"), key("e"), key("A")]
    if digest:
        keys += [key("d", str(b)) for b in windows(now)]
    return Numbers(redis.call("append", keys, packed, digest, texts(sender, name, content), conv))


def make(redis, conv, members=0, tier=1, flags=1):
    redis.redis.call("HSET", key("m", conv), "h",
                     struct.pack(">BBBB", 1, flags, tier, 0) + bytes(28) + struct.pack(">I", members) + bytes(6))


class Head:
    def __init__(self, v):
        (self.kind, self.flags, self.tier, self.used, self.seq, self.low, self.last, self.max, self.edits,
         rest) = take("1 1 1 1 6 6 8 4 4", v)
        if self.kind == 1:
            self.members, self.version, rest = take("4 6", rest)
        else:
            self.archived, self.first, self.k_low, self.k_high, rest = take("6 6 6 6", rest)
        self.floors = take("6 6 6", rest)[:3] if self.flags & 128 else None
        assert len(rest) == (18 if self.flags & 128 else 0)


def head(redis, conv):
    v = redis.redis.call("HGET", key("m", conv), "h")
    return v and Head(v)


class Record:
    def __init__(self, v):
        (version, self.flags, self.tier, self.id, self.created, self.birth, self.ttl, self.rev, self.edited, n, m,
         rest) = take("1 1 1 8 6 6 6 2 6 1 1", v)
        assert version == 1
        self.sender, self.name, self.content = rest[:n], rest[n:n + m], rest[n + m:]


def ranged(redis, conv, start=1, end=0, up=True, limit=50, probe=0, probes=1, maxes=(0, 0, 0), name="range"):
    """Head, where rows begin, beginnings of rows from probe on, rows."""
    packed = u48(start) + u48(end) + struct.pack(">BH", up, limit) + u48(probe) + bytes([probes]) + \
        struct.pack(">III", *maxes)
    reply = redis.call(name, [key("m", conv)], packed)
    first, probe, probes, v = take("6 6 1", reply[0][1:])
    return v and Head(v), first, (probe, reply[1:1 + probes]), reply[1 + probes:]


def change(redis, conv, seq, sender="ann", content="", edit=True, now=NOW, window=0, border=0, rules=None):
    packed = u48(now) + u48(seq) + u48(window) + bytes([edit]) + struct.pack(">Q", border)[1:] + (rules or rule(now))
    reply = redis.call("change", [key("m", conv), key("A")], packed, sender, content, conv)
    if reply[:1] in b"ND":
        return (reply[:1].decode(),) + tuple(take("8 6 6 2", reply[1:]))
    return (reply[:1].decode(), reply[1:])


def user_keys(kinds, user):
    return [key(k, user) for k in kinds]


def sessions(redis, user, *incarnations):
    """The user is connected to these nodes, to each with a device."""
    for inc in incarnations:
        redis.redis.call("HSET", key("S", user), inc, 1, "dphone%d" % inc, "%d.1.2.3" % inc)


def told(reply, fmt):
    """The numbers of a reply, and the nodes behind them."""
    assert reply[:1] in b"ND", reply
    *numbers, rest = take(fmt, reply[1:])
    n, rest = take("2", rest)
    *nodes, rest = take(" ".join("6" * n), rest)
    assert rest == b"", rest
    return numbers, sorted(nodes)


def inbox_put(redis, user, peer, message_id, seq, k, birth=NOW, ttl=0, maximum=0):
    packed = u48(seq) + u48(k) + u48(birth) + u48(ttl) + struct.pack(">I", maximum)
    reply = redis.call("inbox_put", user_keys("uiIpr", user), packed, struct.pack(">Q", message_id), peer)
    return reply[:1].decode() if reply == b"X" else (reply[:1].decode(),) + tuple(take("6 6", reply[1:])[:2])


def inbox(redis, user, after=0, limit=100, behind=b""):
    """Ids, whether there is more, the place to go on from."""
    reply = redis.call("inbox_peek", user_keys("iI", user), u48(after) + struct.pack(">H", limit), behind)
    more, last, _ = take("1 6", reply[0][1:])
    return [int.from_bytes(e[6:14], "big") for e in reply[1:]], bool(more), last


def ack(redis, user, up_to=None, ids=(), rules=None):
    """Removed in all, remaining, calls that it took."""
    removed, calls = 0, 0
    while True:
        reply = redis.call("inbox_ack", user_keys("iI", user), rules or rule(),
                           struct.pack(">Q", up_to) if up_to else b"", b"".join(struct.pack(">Q", i) for i in ids))
        more, here, remaining, _ = take("1 4 4", reply[1:])
        removed, calls = removed + here, calls + 1
        if not more:
            return removed, remaining, calls
