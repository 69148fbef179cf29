"""`./dev bench redis`: a node on a Redis Cluster of three masters and six replicas, all on this machine, against a
bare client that makes the same function calls; what a message costs each process; what Redis holds of everything."""

import os
import sys
import time

from harness import ROOT, Failed
from parts import Row, program

for folder in ("integration", "cluster"):
    sys.path.append(os.path.join(ROOT, "tests", folder))

CONTENT = "x" * 200
RECORD = 235  # bytes of a message's record whose memory is measured, as in the figures that it is compared with
FIXED = 39    # of them: all but the sender's id, its name and the content (storage/redis/layout.h)
# The figures of redis_bench: key, name, what the ratio is meant to be, and whether more is better. Of what the engine's
# thread takes, what the bare client takes is left out: key, name, and what the rest is meant to be.
FIGURES = {"appends": ("append", "channel messages, thousands under way", 0.8, True),
           "masters": ("append.masters", "  what one costs the masters, together", None, False),
           "replicas": ("append.replicas", "  … the replicas", None, False),
           "private messages": ("private", "private messages, thousands under way", None, True),
           "masters, private": ("private.masters", "  what one costs the masters, together", None, False),
           "replicas, private": ("private.replicas", "  … the replicas", None, False),
           "one alone, p50": ("alone", "one message alone, p50, against the round trip and WAIT", 1.3, False),
           "a page of 50 alone, p50": ("page", "a page of 50, against HMGET and WAIT", 1.5, False)}
ADDED = {"engine thread": ("cpu", "  the engine's thread more than the bare client", 8),
         "engine thread, private": ("private.cpu", "  the engine's thread more than the bare client", 20)}


def cpu(processes):
    """Seconds of processor time so far."""
    ticks = 0
    for p in processes:
        with open("/proc/%d/stat" % p.pid) as f:
            ticks += sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(server):
    """Bytes of all keys of that node, on the masters: one copy."""
    from redis_cluster import everywhere
    return sum(c.call("MEMORY", "USAGE", key, "SAMPLES", 0) or 0 for c, key in everywhere(server.redis, server.keys))


def measured(server, count, f):
    """What each of `count` things that f() makes holds."""
    before = memory(server)
    f()
    return (memory(server) - before) / count


def sent(client, action, bodies):
    """Sends them all, a thousand under way."""
    for i in range(0, len(bodies), 1000):
        seqs = client.send_all([(action, b) for b in bodies[i:i + 1000]])
        for seq in seqs:
            answer = client.answer(action, seq, timeout=60)
            if "error" in answer:
                raise Failed("cluster: %s" % answer["error"])
        client.kept = []


def known(server, tokens):
    """Connections of users who have been here before, and so are no guests; those of new ones have ended."""
    from client import Client
    out = []
    for t in tokens:
        c = Client(server)
        c.login(token=t)
        out.append(c)
    return out


def new_users(server, n):
    """The tokens of so many users who are known and not connected."""
    from client import Client
    from redis_cluster import everywhere
    tokens = []
    for _ in range(n):
        with Client(server) as c:
            tokens.append(c.login("u")["token"])
    for c in known(server, tokens):
        c.close()
    end = time.monotonic() + 60
    while any(everywhere(server.redis, server.keys + "S{")):
        if time.monotonic() > end:
            raise Failed("cluster: sessions stay that have ended")
        time.sleep(0.1)
    return tokens


def memory_rows(server, quick):
    from client import SEND_CHANNEL, SEND_USER
    n = 300 if quick else 3000
    tokens = []
    yield Row("cluster.memory.user", "Redis holds of a user", measured(server, n // 10, lambda: tokens.extend(
        new_users(server, n // 10))), "bytes", None, 200)
    people = []
    yield Row("cluster.memory.session", "  of a user's connection to a node", measured(
        server, len(tokens), lambda: people.extend(known(server, tokens))), "bytes", None, 200)
    a, b = people[:2]
    content = "x" * (RECORD - FIXED - len(a.id) - len(a.name))

    def room(name, **body):
        """What each of n messages in a new channel holds: as many in each, for hash tables grow by doubling."""
        a.subscribe(name)
        bodies = [dict(body, channel=name, content=content) for _ in range(n)]
        for i, body in enumerate(bodies):
            if "clientId" in body:
                body["clientId"] = "id-%d" % i
        return measured(server, n, lambda: sent(a, SEND_CHANNEL, bodies))

    message = room("plain")
    yield Row("cluster.memory.message", "  of a channel message, its record of %d bytes" % RECORD, message, "bytes",
              None, 320)
    yield Row("cluster.memory.dedup", "  of its clientId", room("known", clientId="") - message, "bytes", None, 110)
    names = [{"name": "memory %d" % i} for i in range(min(n, 900))]
    yield Row("cluster.memory.subscription", "  of a channel and its one member",
              measured(server, len(names), lambda: sent(a, 3, names)), "bytes", None, 600)
    private = [{"receiverId": b.id, "content": content} for _ in range(n)]
    yield Row("cluster.memory.private", "  of a private message that waits in an inbox",
              measured(server, n, lambda: sent(a, SEND_USER, private)), "bytes", None, 520)
    for c in people:
        c.close()


def cpu_rows(redis, server, quick):
    from client import SEND_CHANNEL, SEND_USER, Client
    n = 2000 if quick else 20000
    a, b = Client(server), Client(server)
    a.login("Ada")
    b.login("Bob")
    rooms = ["room %d" % i for i in range(30)]
    for r in rooms:
        a.subscribe(r)
    masters = redis.masters()
    replicas = [x.process for x in redis.nodes if x not in masters]
    parts = {"node": [server.process], "masters": [m.process for m in masters], "replicas": replicas}
    for key, name, action, bodies in (
            ("message", "a channel message", SEND_CHANNEL,
             [{"channel": rooms[i % 30], "content": CONTENT, "clientId": "c%d" % i} for i in range(n)]),
            ("private", "a private message", SEND_USER,
             [{"receiverId": b.id, "content": CONTENT, "clientId": "p%d" % i} for i in range(n // 4)])):
        before = {k: cpu(v) for k, v in parts.items()}
        sent(a, action, bodies)
        for k, v in parts.items():
            yield Row("cluster.%s.%s" % (key, k), "%s costs the %s" % (name, k),
                      1e6 * (cpu(v) - before[k]) / len(bodies), "CPU µs")
    a.close()
    b.close()


def cluster(quick):
    from redis_cluster import RedisCluster
    from server import Server
    with RedisCluster() as redis:
        for f in program("redis_bench", "--seconds", "1", "--rounds", "1" if quick else "5", redis.addresses):
            if f["name"] in ADDED:
                key, name, bound = ADDED[f["name"]]
                yield Row("cluster." + key, name, f["engine"] - f["bare"], "CPU µs", None, bound)
            else:
                key, name, bound, more = FIGURES[f["name"]]
                yield Row("cluster." + key, name, f["engine"], f["unit"].replace("us", "µs"), f["bare"], bound, more)
        config = {"limits": {"inbox": 0}, "log": {"level": "warn"}, "rate": {"user": 0, "channel": 0}}
        with Server(dict(config, log={"level": "info"}), redis=redis.addresses) as server:
            yield from cpu_rows(redis, server, quick)
            yield from memory_rows(server, quick)
