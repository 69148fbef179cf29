"""`./dev bench nodes`: one chat on one, two and three nodes. What a message of a channel with members on all of them
costs the nodes and the masters, a channel of 18,000, and the return of those whose node has died. All on this machine,
so it is the processor time of a message that tells, and not how many there are a second."""

import json
import os
import signal
import sys
import time

from cluster import CONTENT, cpu
from harness import ROOT, Failed, Server, raise_descriptors
from parts import Row
from storms import Crowd

for folder in ("integration", "cluster"):
    sys.path.append(os.path.join(ROOT, "tests", folder))

LOGIN, SUBSCRIBE, SEND = 1, 3, 4
MESSAGE = 102
MANY = 20     # messages that are sent and not answered yet: what is under way together leaves by one call
GROWTH = 1.1  # times the processor time of a delivery at one node that it may take at three, by as many calls


class Chat:
    """N nodes on one prefix, and a crowd whose connections are spread over them."""

    def __init__(self, redis, n, prefix):
        config = {"cluster": {"redis": redis.addresses.split(","), "prefix": prefix}, "limits": {"connections": 0},
                  "tiers": {"large": {"members": 0}}}
        self.redis, self.nodes = redis, []
        for _ in range(n):
            self.nodes.append(Server(**config))
        self.crowd, self.tokens = Crowd(self.nodes[0].tcp), {}

    def open(self, n):
        """So many connections, each on the next node; all log in."""
        out = []
        for i in range(n):
            self.crowd.port = self.nodes[i % len(self.nodes)].tcp
            out.append(self.crowd.add())
        self.crowd.all(out, LOGIN, {"name": "u"})
        for s in out:
            self.tokens[s] = json.loads(self.crowd.bodies[s])["token"]
        return out

    def seconds(self):
        masters = [m.process for m in self.redis.masters()]
        return sum(s.cpu() for s in self.nodes), cpu(masters)

    def send(self, senders, channel, n, receivers, under_way):
        """n messages in turns, so many under way, and all their deliveries; (nodes, masters): processor seconds, and
        the time it took."""
        c, before = self.crowd, self.seconds()
        began, c.pushes[MESSAGE], answers = time.monotonic(), 0, c.answers
        sent, end = 0, time.monotonic() + 300
        while c.answers - answers < n or c.pushes[MESSAGE] < n * receivers:
            came = c.answers - answers if under_way > 1 else c.pushes[MESSAGE] // receivers
            while sent < n and sent < came + under_way:
                c.say(senders[sent % len(senders)], SEND, channel=channel, content=CONTENT)
                sent += 1
            if time.monotonic() > end:
                raise Failed("nodes: %d of %d deliveries came" % (c.pushes[MESSAGE], n * receivers))
            c.turn(1)
        took = time.monotonic() - began
        after = self.seconds()
        return after[0] - before[0], after[1] - before[1], took

    def close(self):
        self.crowd.end()
        for s in self.nodes:
            s.stop()


def growth(redis, quick):
    """The same channel, members and messages on one to three nodes: what each further node adds to a message."""
    members, n = (30, 100) if quick else (300, 3000)
    alone = None
    for count in (1, 2, 3):
        chat = Chat(redis, count, "grow%d" % count)
        people = chat.open(members)
        chat.crowd.all(people, SUBSCRIBE, {"name": "room"})
        chat.send(people[:count], "room", n // 10, members, MANY)
        nodes, masters, took = chat.send(people[:count], "room", n, members, MANY)
        chat.close()
        cost = 1e6 * nodes / n
        alone = alone or cost
        key, where = "nodes.%d" % count, "%d node%s" % (count, "" if count == 1 else "s")
        yield Row(key + ".node", "a message to %d members on %s costs the nodes" % (members, where), cost, "CPU µs")
        if count > 1:
            yield Row(key + ".more", "  each further node more than one", (cost - alone) / (count - 1), "CPU µs")
        yield Row(key + ".masters", "  the masters", 1e6 * masters / n, "CPU µs")
        yield Row(key + ".rate", "  deliveries", n * members / took, "/s")


def large(redis, quick):
    """One channel with most of the connections that a machine lets a process have."""
    members, n = (90, 10) if quick else (min(18000, (raise_descriptors() - 500) // 3 * 3), 60)
    alone = None
    for count in (1, 3):
        chat = Chat(redis, count, "large%d" % count)
        people = chat.open(members)
        chat.crowd.all(people, SUBSCRIBE, {"name": "room"})
        one, many = (1e6 * chat.send(people[:count], "room", n, members, w)[0] / n / members for w in (1, MANY))
        alone = alone or one
        key, where = "nodes.large.%d" % count, "%d node%s" % (count, "" if count == 1 else "s")
        yield Row(key, "a delivery in a channel of %d on %s, one message at a time" % (members, where), one, "CPU µs",
                  alone, GROWTH)
        yield Row(key + ".many", "  %d under way" % MANY, many, "CPU µs")
        if count == 3:
            yield from storm(chat, people)
        chat.close()


def storm(chat, people):
    """A node dies; those who were there log in at the others."""
    dead = chat.nodes.pop()
    os.kill(dead.pid, signal.SIGKILL)
    dead.process.wait()
    lost = people[2::3]
    for s in lost:
        chat.crowd.close(s)
    began, before = time.monotonic(), sum(s.cpu() for s in chat.nodes)
    back = []
    for i in range(len(lost)):
        chat.crowd.port = chat.nodes[i % 2].tcp
        back.append(chat.crowd.add())
    tokens = dict(zip(back, (chat.tokens[s] for s in lost)))
    chat.crowd.all(back, LOGIN, lambda s: {"token": tokens[s]})
    yield Row("nodes.storm.cpu", "a login of %d whose node died, at the two others" % len(back),
              1e6 * (sum(s.cpu() for s in chat.nodes) - before) / len(back), "CPU µs")
    yield Row("nodes.storm.rate", "  logins", len(back) / (time.monotonic() - began), "/s")


def nodes(quick):
    from redis_cluster import RedisCluster
    with RedisCluster() as redis:
        yield from growth(redis, quick)
        yield from large(redis, quick)
