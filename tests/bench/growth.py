"""Parts of `./dev bench` about sizes: what must cost the same however many users, members and messages there are."""

import json
import os
import resource
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import time

from harness import BENCH, BUILD, TOOLS, Failed, Server, load, say
from parts import Row, wait_connections

SPARE = 1500  # descriptors that are no connections of a crowd


class Client:
    """A raw client that pipelines: requests go out together, answers are only counted."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.tcp))
        self.socket.settimeout(120)
        self.rest = b""

    def send(self, *requests):
        data = b""
        for action, body in requests:
            text = json.dumps(body).encode()
            data += struct.pack(">IHH", 8 + len(text), action, 1) + text
        self.socket.sendall(data)

    def answers(self, n):
        """The bodies of the next n answers; pushes are left out."""
        out = []
        while len(out) < n:
            while len(self.rest) >= 8 and len(self.rest) >= struct.unpack(">I", self.rest[:4])[0]:
                length, action = struct.unpack(">IH", self.rest[:6])
                if action < 100:
                    out.append(json.loads(self.rest[8:length] or b"{}"))
                self.rest = self.rest[length:]
            if len(out) < n:
                part = self.socket.recv(65536)
                if not part:
                    raise Failed("the server closed a client's connection")
                self.rest += part
        for body in out:
            if "error" in body:
                raise Failed("refused: %s" % body["error"])
        return out

    def ask(self, action, body):
        self.send((action, body))
        return self.answers(1)[0]

    def close(self):
        self.socket.close()


def populated(base, users, channels):
    folder = os.path.join(base, "of-%d" % users)
    os.makedirs(folder)
    run = subprocess.run([os.path.join(TOOLS, "populate"), os.path.join(folder, "data"), str(users), str(channels)],
                         stderr=subprocess.PIPE, text=True)
    if run.returncode != 0:
        raise Failed("populate: " + run.stderr[-300:])
    return folder


# --- What is measured, each as µs of the server's processor time an operation -----------------------------------------

def cost_login(server, n, channel):
    """Of a known user, by its token, with a new connection."""
    client = Client(server)
    token = client.ask(1, {"name": "known"})["token"]
    client.close()
    before = server.cpu()
    for _ in range(n):
        client = Client(server)
        token = client.ask(1, {"token": token})["token"]
        client.close()
    return (server.cpu() - before) * 1e6 / n


def cost_join(server, n, channel):
    """Of joining the channel `all` and leaving it again, half of it each."""
    clients = [Client(server) for _ in range(16)]
    for i, client in enumerate(clients):
        client.ask(1, {"name": "joiner%02d" % i})
    rounds = max(n // len(clients), 1)
    before = server.cpu()
    for client in clients:
        client.send(*[(3, {"name": "all"}), (6, {"name": "all"})] * rounds)
    for client in clients:
        client.answers(2 * rounds)
    cost = (server.cpu() - before) * 1e6 / (2 * rounds * len(clients))
    for client in clients:
        client.close()
    return cost


def cost_send(server, n, channel):
    """Of a message to the channel that nobody who is online gets: what is measured is not its delivery."""
    client = Client(server)
    client.ask(1, {"name": "sender"})
    client.ask(3, {"name": channel, "push": "none"})
    before = server.cpu()
    for _ in range(n // 32):
        client.send(*[(4, {"channel": channel, "content": "x" * 128})] * 32)
        client.answers(32)
    cost = (server.cpu() - before) * 1e6 / (n // 32 * 32)
    client.close()
    return cost


def cost_history(server, n, channel):
    """Of a page of 50 of the channel."""
    client = Client(server)
    client.ask(1, {"name": "reader"})
    client.ask(3, {"name": channel, "push": "none"})
    for _ in range(4):
        client.send(*[(4, {"channel": channel, "content": "x" * 128})] * 32)
        client.answers(32)
    before = server.cpu()
    for _ in range(n // 8):
        client.send(*[(5, {"channel": channel, "limit": 50})] * 8)
        client.answers(8)
    cost = (server.cpu() - before) * 1e6 / (n // 8 * 8)
    client.close()
    return cost


OPERATIONS = [("login", cost_login, 1500), ("join and leave", cost_join, 3000), ("send", cost_send, 6000),
              ("history", cost_history, 1500)]


def settle(server):
    """Waits until the database has put away what it was filled with: its threads' time is the process's."""
    for _ in range(30):
        before = server.cpu()
        time.sleep(1)
        if server.cpu() - before < 0.05:
            return


def compare(small, large, rounds, divide, label, key, channel):
    """Each operation on both servers in turns; a row each. Joins are into `all`; `channel` is what is sent to and
    read."""
    settle(small)
    settle(large)
    for name, cost, n in OPERATIONS:
        figures = ([], [])
        for i in range(rounds + 1):
            for server, out in zip((small, large), figures):
                value = cost(server, max(n // divide, 64), channel)
                if i:  # the first round warms caches up
                    out.append(value)
        yield Row("%s.%s" % (key, name.split()[0]), "%s, %s" % (name, label), statistics.median(figures[1]), "CPU µs",
                  statistics.median(figures[0]), 1.5)


def growth(quick):
    """A million known users, all members of one channel, against a thousand; then a crowd that is online against
    ten."""
    few, many, channels = (100, 5000, 500) if quick else (1000, 1000000, 100000)
    base = tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("MAGPIE_BENCH_DATA", BUILD))
    rounds, divide = (1, 10) if quick else (3, 1)
    try:
        folders = [populated(base, few, 10), populated(base, many, channels)]
        with Server(data=folders[0]) as small, Server(data=folders[1]) as large:
            yield from compare(small, large, rounds, divide, "%d users and members, not %d" % (many, few), "known",
                               "all")
        yield from restart_of(folders[1], many, channels)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    crowd = 500 if quick else min(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE, 100000)
    with Server() as small, Server() as large:
        with Crowd(small, 10), Crowd(large, crowd):
            yield from compare(small, large, rounds, divide, "%d members online, not 10" % crowd, "online", "quiet")


def restart_of(folder, users, channels):
    times = []
    for _ in range(3):
        with Server(data=folder) as server:
            times.append(server.listen_seconds)
    yield Row("restart", "listens again, with %d users, %d channels" % (users, channels), statistics.median(times), "s",
              None, 1.0)


class Crowd:
    """Clients that are members of `all` and hold still."""

    def __init__(self, server, n, channel="all"):
        self.server, self.n, self.channel = server, n, channel

    def __enter__(self):
        self.run = subprocess.Popen([BENCH, "-a", "127.0.0.1:%d" % self.server.tcp, "-q", "--json", "--pid",
                                     str(self.server.pid), "connect", "-c",
                                     str(self.n), "-d", "600", "--channel", self.channel], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE, text=True)
        wait_connections(self.server, self.n + 1, self.run)
        return self

    def __exit__(self, *unused):
        self.run.terminate()
        self.run.wait()
