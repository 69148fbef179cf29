"""`./dev bench redis`: a node on a Redis Cluster of three masters and six replicas, all on this machine, against a
bare client that makes the same function calls; what a message costs each process; what Redis holds of everything."""

import os
import sys

from harness import ROOT, Failed
from parts import Row, program

for folder in ("integration", "cluster"):
    sys.path.append(os.path.join(ROOT, "tests", folder))

CONTENT = "x" * 200
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


def memory_rows(server, quick):
    from client import SEND_CHANNEL, SEND_USER, Client
    n = 300 if quick else 3000
    clients = []

    def user(name="u"):
        c = Client(server)
        c.login(name)
        clients.append(c)
        return c

    a, b = user(), user()
    a.subscribe("memory")
    yield Row("cluster.memory.user", "Redis holds of a user", measured(server, n // 10, lambda: [
        user() for _ in range(n // 10)]), "bytes", None, 200)
    bodies = [{"channel": "memory", "content": CONTENT} for _ in range(n)]
    yield Row("cluster.memory.message", "  of a channel message of 200 bytes",
              measured(server, n, lambda: sent(a, SEND_CHANNEL, bodies)), "bytes", None, 320)
    with_id = [dict(body, clientId="id-%d" % i) for i, body in enumerate(bodies)]
    plain = measured(server, n, lambda: sent(a, SEND_CHANNEL, bodies))
    yield Row("cluster.memory.dedup", "  of its clientId",
              measured(server, n, lambda: sent(a, SEND_CHANNEL, with_id)) - plain, "bytes", None, 110)
    names = [{"name": "memory %d" % i} for i in range(min(n, 900))]
    yield Row("cluster.memory.subscription", "  of a channel and its one member",
              measured(server, len(names), lambda: sent(a, 3, names)), "bytes", None, 600)
    private = [{"receiverId": b.id, "content": CONTENT} for _ in range(n)]
    yield Row("cluster.memory.private", "  of a private message that waits in an inbox",
              measured(server, n, lambda: sent(a, SEND_USER, private)), "bytes", None, 520)
    for c in clients:
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
