"""Guests, and clients of the demo that know nothing of tokens."""

import json
import os
import re
import socket
import struct
import time

from base import Test, smoke, variants
from client import HISTORY, MEMBERS, SEND_USER


class DemoClient:
    """The Go demo's client: raw packets, `name` alone in the login, no seq (always 0), nothing of inbox or merge."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(20)

    def send(self, action, **body):
        data = json.dumps(body).encode()
        self.socket.sendall(struct.pack(">IHH", 8 + len(data), action, 0) + data)

    def receive(self):
        head = self.exactly(8)
        length, action, seq = struct.unpack(">IHH", head)
        return action, seq, json.loads(self.exactly(length - 8))

    def exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def close(self):
        self.socket.close()


class Demo(Test):
    @smoke
    def test_a_demo_client(self):
        a, b = DemoClient(self.server.tcp), DemoClient(self.server.tcp)
        a.send(1, name="Ada")
        b.send(1, name="Bob")
        action, seq, me = a.receive()
        self.assertEqual((action, seq), (1, 0))
        _, _, you = b.receive()
        for c in (a, b):
            c.send(3, name="lobby")
            self.assertEqual(c.receive()[0], 3)
        a.send(4, channel="lobby", content="hello")
        action, seq, answer = a.receive()
        self.assertEqual((action, seq, answer["seq"]), (4, 0, 1))
        for c in (a, b):
            action, seq, push = c.receive()
            self.assertEqual((action, seq, push["content"], push["sender"]["name"], push["channel"]),
                             (102, 0, "hello", "Ada", "lobby"))
        b.send(2, receiverId=me["id"], content="psst")
        self.assertEqual(b.receive()[0], 2)
        action, seq, push = a.receive()
        self.assertEqual((action, push["content"], push["receiverId"], push["sender"]["id"]),
                         (101, "psst", me["id"], you["id"]))
        a.send(5, channel="lobby")
        self.assertEqual([m["content"] for m in a.receive()[2]["messages"]], ["hello"])
        # Nobody who never logs in gets in its way, and a bare listener gets everything, one by one.
        for n in range(30):
            a.send(4, channel="lobby", content=str(n))
        got = []
        while len(got) < 30:
            action, _, push = b.receive()
            self.assertEqual(action, 102)
            got.append(push["content"])
        self.assertEqual(got, [str(n) for n in range(30)])
        a.close(), b.close()


@variants(("tcp", 1), ("tcp", 2))
class Guests(Test):
    config = {"limits": {"guest": 2}}

    def members(self, client, name):
        return {m["id"] for m in client.request(MEMBERS, name=name, limit=200)["members"]}

    def test_500_reconnects_leave_nothing_behind(self):
        a = self.user("Ada")
        self.again(a)  # no guest any more
        name = self.channel(a)
        ids = []
        for n in range(500):
            c = DemoClient(self.server.tcp)
            c.send(1, name="Demo")
            ids.append(c.receive()[2]["id"])
            c.send(3, name=name)
            self.assertEqual(c.receive()[0], 3)
            if n % 10 == 0:
                c.send(4, channel=name, content="hello")
                self.assertEqual(c.receive()[0], 4)
            c.close()
        self.assertGreater(a.subscribe(name)["members"], 1)
        self.eventually(lambda: a.subscribe(name)["members"] == 1, timeout=30, every=0.2)
        self.assertEqual(self.members(a, name), {a.id})
        self.assertEqual(a.subscribe(name)["tier"], "small")
        self.assertEqual(a.history(name, limit=1)["last"], 50, "what they said stays")
        for id in ids[:3] + ids[-3:]:
            self.refused("not_found", a, SEND_USER, receiverId=id, content="are you there?")

    def test_who_is_no_guest(self):
        stays = self.user("Token")
        token_used = self.connect()
        token_used.login(token=stays.token)
        writes, gets = self.users("Writes", "Gets")
        writes.tell(gets, "x")
        online = self.user("Online")
        goes = self.user("Goes")
        name = self.channel(online, stays, writes, gets, goes)
        for c in (stays, token_used, writes, gets, goes):
            c.close()
        self.eventually(lambda: goes.id not in self.members(online, name), timeout=30, every=0.2)
        time.sleep(1.5)
        self.assertEqual(self.members(online, name), {online.id, stays.id, writes.id, gets.id})
        for c in (stays, writes, gets):
            self.assertEqual(self.connect().login(token=c.token)["id"], c.id)
        self.refused("unauthorized", self.connect(), 1, token=goes.token)
        online.request(9)

    def test_a_guest_that_comes_back_in_time(self):
        a, other = self.users("Ada", "Other")
        name = self.channel(a, other)
        a.close()
        time.sleep(0.5)
        b = self.connect()
        b.login(token=a.token)
        b.close()
        time.sleep(5)
        self.assertIn(a.id, self.members(other, name))
        self.assertEqual(self.connect().login(token=a.token)["id"], a.id)

    def test_after_a_restart(self):
        a, online = self.users("Ada", "Online")
        name = self.channel(a, online)
        self.again(online)
        token = online.token
        self.server.restart()
        b = self.connect()
        b.login(token=token)
        self.eventually(lambda: self.members(b, name) == {online.id}, timeout=30, every=0.2)
