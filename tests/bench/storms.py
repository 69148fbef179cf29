"""Part of `./dev bench` about storms: how many pushes 111 and 112 come of many who join, or go and come back. The
figures are counts, and their bounds those of docs/protocol.md."""

import json
import selectors
import socket
import struct
import time

from harness import Failed, Server, raise_descriptors
from parts import Row

JOINERS, LARGE = 10000, 500  # users that join one channel; tiers.large.members
WATCHERS, WATCHED = 10, 1000  # connections that watch; users that each of them watches
PRESENCE, MEMBERSHIP = 111, 112


class Crowd:
    """Connections that log in and say what they are told to; pushes are counted by action."""

    def __init__(self, port):
        self.port, self.selector = port, selectors.DefaultSelector()
        self.pushes, self.answers, self.bodies = {}, 0, {}

    def open(self, n):
        return [self.add() for _ in range(n)]

    def add(self):
        s = socket.create_connection(("127.0.0.1", self.port))
        s.setblocking(False)
        self.selector.register(s, selectors.EVENT_READ, bytearray())
        return s

    def say(self, s, action, **body):
        text = json.dumps(body).encode()
        s.sendall(struct.pack(">IHH", 8 + len(text), action, 1) + text)

    def close(self, s):
        self.selector.unregister(s)
        s.close()

    def read(self, s, data):
        data += s.recv(1 << 20)
        while len(data) >= 8:
            length, action, _ = struct.unpack(">IHH", data[:8])
            if len(data) < length:
                break
            if action >= 100:
                self.pushes[action] = self.pushes.get(action, 0) + 1
            else:
                self.answers += 1
                self.bodies[s] = bytes(data[8:length])
            del data[:length]

    def turn(self, seconds):
        ready = self.selector.select(seconds)
        for key, _ in ready:
            self.read(key.fileobj, key.data)
        return bool(ready)

    def all(self, sockets, action, body):
        """A request of each, some at a time, and its answer."""
        for start in range(0, len(sockets), 500):
            some = sockets[start:start + 500]
            want, end = self.answers + len(some), time.monotonic() + 120
            for s in some:
                self.say(s, action, **(body(s) if callable(body) else body))
            while self.answers < want:
                if time.monotonic() > end:
                    raise Failed("action %d was not answered" % action)
                self.turn(1)

    def settle(self, seconds):
        """Until nothing has come for so long."""
        while self.turn(seconds):
            pass

    def end(self):
        for key in list(self.selector.get_map().values()):
            self.close(key.fileobj)
        self.selector.close()


def joins(quick):
    """All subscribe with `events`: what is pushed is bounded by the size at which a channel is large."""
    raise_descriptors()
    joiners, large = (300, 50) if quick else (JOINERS, LARGE)
    with Server(threads=2, tiers={"large": {"members": large}}) as server:
        crowd = Crowd(server.tcp)
        sockets = crowd.open(joiners)
        crowd.all(sockets, 1, {"name": "u"})
        crowd.all(sockets, 3, {"name": "room", "events": True})
        crowd.settle(3)
        told = crowd.pushes.get(MEMBERSHIP, 0)
        crowd.end()
    bound = (large - 1) * (large - 2) // 2
    yield Row("storms.joins", "pushes 112 when %d users join one channel" % joiners, told, "pushes", bound=bound)


def returns(quick):
    """Those who are watched lose their connections and come back at once: each watch is told of twice at most."""
    watchers, watched = (3, 50) if quick else (WATCHERS, WATCHED)
    with Server(threads=2) as server:
        crowd = Crowd(server.tcp)
        seen, eyes = crowd.open(watched), crowd.open(watchers)
        crowd.all(seen + eyes, 1, {"name": "u"})
        users = [json.loads(crowd.bodies[s]) for s in seen]
        crowd.all(seen + eyes, 3, {"name": "room"})
        for start in range(0, watched, 100):
            crowd.all(eyes, 18, {"ids": [u["id"] for u in users[start:start + 100]], "watch": True})
        crowd.pushes.clear()
        for s in seen:
            crowd.close(s)
        again = crowd.open(watched)
        tokens = dict(zip(again, (u["token"] for u in users)))
        crowd.all(again, 1, lambda s: {"token": tokens[s]})
        crowd.settle(3)
        told = crowd.pushes.get(PRESENCE, 0)
        crowd.end()
    yield Row("storms.returns", "pushes 111 when %d go and come, each watched %d times" % (watched, watchers), told,
              "pushes", bound=2 * watchers * watched)


def storms(quick):
    yield from joins(quick)
    yield from returns(quick)
