"""Order of requests, pipelining, repeated sends."""

import json
import random
import socket
import struct
import time

from base import Test, smoke, variants
from client import HISTORY, LOGIN, PING, READ, SEND_CHANNEL, SEND_USER, SUBSCRIBE, UNSUBSCRIBE, Client
from wire import CLOSE, Closed


@variants(("tcp", 1), ("binary", 2), ("tcp", 4), ("tcp", 4, "own"))
class Order(Test):
    @smoke
    def test_requests_about_one_conversation_are_answered_in_order(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        requests = []
        for n in range(100):
            requests += [(SEND_CHANNEL, {"channel": name, "content": "m%d" % n}),
                         (HISTORY, {"channel": name, "limit": 1}),
                         (SEND_CHANNEL, {"channel": name, "content": ""})]
        seqs = a.send_all(requests)
        answers = []
        while len(answers) < len(seqs):
            frame = a.receive()
            if frame[0] < 100:
                answers.append(frame)
        self.assertEqual([f[1] for f in answers], seqs)
        for n in range(100):
            self.assertEqual(answers[3 * n][2]["seq"], n + 1)
            self.assertEqual(answers[3 * n + 1][2]["messages"][0]["content"], "m%d" % n)
            self.assertEqual(answers[3 * n + 2][2]["error"]["code"], "bad_request")

    def test_subscribe_send_unsubscribe_in_one_packet(self):
        a, b = self.users("Ada", "Bob")
        for _ in range(20):
            name = self.channel(b)
            seqs = a.send_all([(SEND_CHANNEL, {"channel": name, "content": "0"}), (SUBSCRIBE, {"name": name}),
                               (SEND_CHANNEL, {"channel": name, "content": "1"}),
                               (UNSUBSCRIBE, {"name": name}), (SEND_CHANNEL, {"channel": name, "content": "2"}),
                               (SUBSCRIBE, {"name": name}),
                               (SEND_CHANNEL, {"channel": name, "content": "3"}), (HISTORY, {"channel": name}),
                               (READ, {"channel": name, "seq": 2})])
            actions = (4, 3, 4, 6, 4, 3, 4, 5, 11)
            answers = [a.answer(x, seq) for x, seq in zip(actions, seqs)]
            self.assertEqual([x.get("error", {}).get("code") for x in answers],
                             ["forbidden", None, None, None, "forbidden", None, None, None, None])
            self.assertEqual([m["content"] for m in answers[7]["messages"]], ["1", "3"])
            self.assertEqual(answers[8], {"unread": 0})
            self.assertEqual([b.push(102)["content"] for _ in range(2)], ["1", "3"])

    def test_many_conversations_at_once(self):
        a = self.user()
        names = [self.channel(a) for _ in range(10)]
        rng = random.Random(7)
        requests = [(SEND_CHANNEL, {"channel": rng.choice(names), "content": str(n)}) for n in range(1000)]
        seqs = a.send_all(requests)
        heads = {name: 0 for name in names}
        by_seq = {seq: body["channel"] for seq, (_, body) in zip(seqs, requests)}
        last = {name: 0 for name in names}
        for seq in seqs:
            answer = a.answer(SEND_CHANNEL, seq)
            name = by_seq[seq]
            heads[name] += 1
            self.assertEqual(answer["seq"], heads[name])
        for _ in range(1000):
            push = a.push(102)
            self.assertEqual(push["seq"], last[push["channel"]] + 1)
            last[push["channel"]] += 1

    def test_a_client_that_sends_and_goes(self):
        """What was sent before the end of the stream is done."""
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a.send_all([(SEND_CHANNEL, {"channel": name, "content": str(n)}) for n in range(50)])
        import socket
        a.wire.stream.socket.shutdown(socket.SHUT_WR)
        got = [b.push(102)["content"] for _ in range(50)] if self.wire == "tcp" else None
        if got:
            self.assertEqual(got, [str(n) for n in range(50)])

    def test_senders_side_by_side(self):
        users = self.users(*["U%d" % n for n in range(8)])
        name = self.channel(*users)
        for u in users:
            u.send_all([(SEND_CHANNEL, {"channel": name, "content": "%s %d" % (u.name, n)}) for n in range(50)])
        for u in users:
            got = [u.push(102) for _ in range(400)]
            self.assertEqual([m["seq"] for m in got], list(range(1, 401)))
            for v in users:
                self.assertEqual([m["content"] for m in got if m["sender"]["id"] == v.id],
                                 ["%s %d" % (v.name, n) for n in range(50)])


@variants(("tcp", 1), ("tcp", 2), ("text", 4), ("binary", 4, "openssl"))
class Repeats(Test):
    @smoke
    def test_a_repeat_gets_the_first_answer(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        first = a.say(name, "hello", clientId="x")
        self.assertEqual(a.say(name, "hello", clientId="x"), first)
        self.assertEqual(a.say(name, "another text", clientId="x"), first)
        self.assertEqual(self.again(a).say(name, "hello", clientId="x"), first)
        self.assertEqual(a.say(name, "next", clientId="y")["seq"], 2)
        self.assertEqual([b.push(102)["content"] for _ in range(2)], ["hello", "next"])
        b.quiet()
        first = a.tell(b, "hello", clientId="x")
        self.assertEqual(first["seq"], 1, "another conversation")
        self.assertEqual(a.tell(b, "hello", clientId="x"), first)
        self.assertEqual(b.push(101)["id"], first["id"])
        b.quiet()
        self.assertEqual(len(b.request(7)["messages"]), 1)
        self.assertEqual(b.say(name, "mine", clientId="x")["seq"], 3, "another sender")
        self.assertEqual(b.tell(a, "mine", clientId="x")["seq"], 2)

    def test_any_clientId(self):
        a = self.user()
        name = self.channel(a)
        for n, client_id in enumerate(("1", "x" * 64, "é" * 32, " ", "\u0001", "日本", '"\\')):
            first = a.say(name, "x", clientId=client_id)
            self.assertEqual(first["seq"], n + 1)
            self.assertEqual(a.say(name, "x", clientId=client_id), first)
        self.assertNotEqual(a.say(name, "x", clientId=None)["seq"], a.say(name, "x", clientId=None)["seq"])

    def test_a_repeat_while_the_first_is_under_way(self):
        a, b = self.users("Ada", "Bob")
        a2 = self.again(a)
        name = self.channel(a, b)
        for round in range(10):
            body = {"channel": name, "content": "x", "clientId": "r%d" % round}
            seqs, seqs2 = a.send_all([(SEND_CHANNEL, body)] * 10), a2.send_all([(SEND_CHANNEL, body)] * 10)
            answers = [a.answer(SEND_CHANNEL, s) for s in seqs] + [a2.answer(SEND_CHANNEL, s) for s in seqs2]
            self.assertEqual([x.get("seq") for x in answers], [round + 1] * 20)
            self.assertEqual(len({x["id"] for x in answers}), 1)
            body = {"receiverId": b.id, "content": "x", "clientId": "r%d" % round}
            seqs, seqs2 = a.send_all([(SEND_USER, body)] * 10), a2.send_all([(SEND_USER, body)] * 10)
            answers = [a.answer(SEND_USER, s) for s in seqs] + [a2.answer(SEND_USER, s) for s in seqs2]
            self.assertEqual([x.get("seq") for x in answers], [round + 1] * 20)
        b.pushes(102, 10)
        b.pushes(101, 10)
        b.quiet()

    def test_repeats_over_a_restart(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        want = [a.say(name, "x", clientId="1"), a.tell(b, "x", clientId="1")]
        token = a.token
        self.server.restart()
        a = self.connect()
        a.login(token=token)
        self.assertEqual([a.say(name, "x", clientId="1"), a.tell(b, "x", clientId="1")], want)


class RepeatWindow(Test):
    config = {"limits": {"dedup_window": 2}}

    def test_after_the_window(self):
        a = self.user()
        name = self.channel(a)
        self.assertEqual(a.say(name, "x", clientId="1")["seq"], 1)
        self.assertEqual(a.say(name, "x", clientId="1")["seq"], 1)
        time.sleep(2.3)
        self.assertEqual(a.say(name, "x", clientId="1")["seq"], 2)


@variants(("tcp", 1), ("tcp", 4), ("binary", 2), ("text", 4))
class Ended(Test):
    """Requests and the end of the client's half, or a Close frame, behind them: all that was taken is answered, then
    the server ends."""

    config = {"rate": {"user": 0, "channel": 0}}

    def answers(self, c):
        """Every frame until the server's end, by seq."""
        got = {}
        try:
            while True:
                action, seq, body = c.receive()
                if action < 100:
                    self.assertNotIn(seq, got)
                    got[seq] = body
        except Closed:
            pass
        return got

    def requests(self, name, peer, n):
        return [(SEND_CHANNEL, {"channel": name, "content": "m%d" % i}) if i % 3
                else (SEND_USER, {"receiverId": peer, "content": "p%d" % i}) for i in range(n)] + [(HISTORY,
                                                                                                    {"channel": name})]

    def check(self, c, name, seqs, got):
        self.assertEqual(sorted(got), sorted(seqs))
        for seq in seqs:
            self.assertNotIn("error", got[seq])
        self.assertEqual(len(got[seqs[-1]]["messages"]), 50)

    def test_half_closed(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        seqs = a.send_all(self.requests(name, b.id, 150))
        a.wire.stream.socket.shutdown(socket.SHUT_WR)
        self.check(a, name, seqs, self.answers(a))

    def test_all_in_one_packet(self):
        """As from a program in a pipe: it logs in, asks, and closes its half without waiting."""
        b = self.user("Bob")
        c = self.connect()
        name = "pipe-%d" % time.monotonic_ns()
        seqs = c.send_all([(LOGIN, {"name": "Ada"}), (SUBSCRIBE, {"name": name})] + self.requests(name, b.id, 90))
        c.wire.stream.socket.shutdown(socket.SHUT_WR)
        got = self.answers(c)
        self.server.secrets.add(got[seqs[0]]["token"])
        self.check(c, name, seqs, got)
        self.assertEqual(b.push(101)["content"], "p0")

    def test_nothing_under_way(self):
        c = self.user()
        c.wire.stream.socket.shutdown(socket.SHUT_WR)
        began = time.monotonic()
        self.assertEqual(self.answers(c), {})
        self.assertLess(time.monotonic() - began, 8, "no timeout is waited for")

    def test_gone_altogether(self):
        """Who closes for good costs nothing more than its requests."""
        for _ in range(20):
            c = self.user()
            name = self.channel(c)
            c.send_all(self.requests(name, c.id, 60))
            if _ % 2:
                c.wire.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
        c = self.user()
        self.eventually(lambda: c.request(12, ids=[x.id for x in self.clients if x.id])["online"] is not None)
        self.assertIn("time", c.request(PING))

    def test_close_frame(self):
        if self.wire == "tcp":
            self.skipTest("a WebSocket's")
        for payload, code in ((struct.pack(">H", 4001) + b"bye", 4001), (b"", 1005)):
            a, b = self.users("Ada", "Bob")
            name = self.channel(a)
            requests = self.requests(name, b.id, 150)
            seqs = [a.next_seq() for _ in requests]
            data = b"".join(a.wire.pack(action, seq, json.dumps(body).encode())
                            for seq, (action, body) in zip(seqs, requests))
            a.wire.stream.write(data + a.wire.frame(CLOSE, payload) +
                                a.wire.pack(SEND_CHANNEL, 9999, b'{"channel":"%s","content":"late"}' % name.encode()))
            self.check(a, name, seqs, self.answers(a))
            self.assertEqual(a.wire.close_code, code)
            late = self.again(a)
            self.assertNotIn("late", [m["content"] for m in late.history(name)["messages"]])
