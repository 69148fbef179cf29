"""Frames over TCP, requests and their errors in general."""

import json
import struct
import time

from base import Test, smoke, variants
from client import HISTORY, LOGIN, PING, SEND_CHANNEL, SEND_USER, SUBSCRIBE
from wire import Closed, TcpWire


def error_code(frame):
    return frame[2]["error"]["code"]


class TcpFrames(Test):
    config = {"limits": {"frame": 4096, "content": 2048}}

    def broken(self, data, code, login=False):
        """After these bytes: an error frame with action 0, and the end."""
        c = self.user() if login else self.connect()
        c.wire.stream.write(data)
        frames = c.rest()
        self.assertEqual(frames[0][0], 0, frames)
        self.assertEqual(error_code(frames[0]), code)
        self.assertTrue(all(f[0] == 105 and f[2]["reason"] == "protocol" for f in frames[1:]), frames)

    @smoke
    def test_lengths_that_cannot_be(self):
        for length in (0, 1, 7):
            self.broken(struct.pack(">I", length) + b"x" * 20, "bad_request")
            self.broken(struct.pack(">I", length) + b"x" * 20, "bad_request", login=True)
        for length in (4097, 1 << 20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            self.broken(struct.pack(">I", length) + b"x", "too_large")
            self.broken(struct.pack(">I", length) + b"x", "too_large", login=True)
        # Its four bytes are enough to tell.
        self.broken(struct.pack(">I", 0xFFFFFFFF), "too_large")

    def test_the_largest_frame(self):
        c = self.user()
        body = b'{"x":"' + b"a" * (4096 - 8 - 8) + b'"}'
        self.assertEqual(len(body), 4088)
        self.assertIn("time", c.ask_raw(PING, body))
        self.broken(TcpWire.pack(PING, 1, body + b" "), "too_large", login=True)

    @smoke
    def test_an_empty_body_is_an_empty_object(self):
        c = self.user()
        self.assertIn("time", c.ask_raw(PING, b""))
        self.assertIn("conversations", c.ask_raw(10, b""))
        self.assertEqual(c.ask_raw(SEND_USER, b"")["error"]["code"], "bad_request")

    def test_byte_by_byte(self):
        c = self.connect()
        for action, body in ((LOGIN, b'{"name":"Ada"}'), (PING, b"{}")):
            for byte in TcpWire.pack(action, 7, body):
                c.wire.stream.write(bytes([byte]))
            self.assertEqual(c.receive()[:2], (action, 7))

    def test_many_in_one_packet(self):
        c = self.user()
        seqs = c.send_all([(PING, {})] * 3000)
        self.assertEqual([c.receive()[1] for _ in range(3000)], seqs)

    def test_seq_is_echoed(self):
        c = self.user()
        for seq in (0, 1, 255, 256, 32768, 65535):
            c.send_raw(PING, b"", seq=seq)
            self.assertEqual(c.receive()[:2], (PING, seq))
            c.send_raw(4242, b"", seq=seq)
            self.assertEqual(c.receive()[:2], (4242, seq))

    def test_half_a_frame_and_the_end(self):
        c = self.user()
        c.wire.stream.write(struct.pack(">IHH", 100, 9, 1) + b"{")
        c.close()
        self.assertIn("time", self.user().request(PING))


@variants(("tcp", 2), ("binary", 1), ("text", 2))
class Requests(Test):
    config = {"limits": {"content": 2048}}

    @smoke
    def test_unknown_actions(self):
        c = self.user()
        for action in (0, 19, 99, 100, 101, 109, 199, 200, 999, 1000, 1999, 2000, 32767):
            self.refused("unknown_action", c, action)

    def test_bit_15_without_gzip(self):
        c = self.connect()
        for action in (1, 9, 2, 5000):
            seq = c.send_raw(action | 0x8000, b'{"name":"Ada"}')
            frame = c.receive()
            self.assertEqual((frame[0] & 0x7FFF, frame[1], error_code(frame)), (action, seq, "unauthorized"))
        c.login("Ada")
        for action in (1, 9, 2, 5000):
            seq = c.send_raw(action | 0x8000, b"{}")
            frame = c.receive()
            self.assertEqual((frame[0] & 0x7FFF, frame[1], error_code(frame)), (action, seq, "bad_request"))

    def test_nobody_can_send_pushes(self):
        c = self.user()
        for action in range(101, 110):
            self.refused("unknown_action", c, action, channel="x", content="y")

    def test_fields_of_the_wrong_type(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        for action, field, body in [
                (2, "receiverId", {"content": "x"}), (2, "receiverId", {"receiverId": 5, "content": "x"}),
            (2, "receiverId", {"receiverId": None, "content": "x"}),
                (2, "content", {"receiverId": b.id}), (2, "content", {"receiverId": b.id, "content": 5}),
            (2, "content", {"receiverId": b.id, "content": ""}),
                (2, "content", {"receiverId": b.id, "content": ["x"]}),
            (2, "clientId", {"receiverId": b.id, "content": "x", "clientId": ""}),
                (2, "clientId", {"receiverId": b.id, "content": "x", "clientId": "c" * 65}),
            (2, "clientId", {"receiverId": b.id, "content": "x", "clientId": 1}),
                (3, "name", {}), (3, "name", {"name": 1}), (3, "name", {"name": ""}), (3, "name", {"name": " x"}),
            (3, "name", {"name": "x "}),
                (3, "name", {"name": "a\nb"}), (3, "name", {"name": "x" * 65}),
            (3, "push", {"name": name, "push": "some"}),
                (3, "push", {"name": name, "push": 1}), (3, "push", {"name": name, "push": ""}),
            (3, "push", {"name": name, "push": True}),
                (4, "channel", {"content": "x"}), (4, "channel", {"channel": {}, "content": "x"}),
            (4, "content", {"channel": name}),
                (4, "clientId", {"channel": name, "content": "x", "clientId": ""}),
            (4, "clientId", {"channel": name, "content": "x", "clientId": {}}),
                (5, "channel", {}), (5, "peerId", {}), (5, "channel", {"channel": name, "peerId": b.id}),
            (5, "limit", {"channel": name, "limit": 0}),
                (5, "limit", {"channel": name, "limit": -1}), (5, "limit", {"channel": name, "limit": "5"}),
            (5, "limit", {"channel": name, "limit": 1.5}),
                (5, "before", {"channel": name, "before": "1"}), (5, "after", {"channel": name, "after": "1"}),
            (5, "after", {"channel": name, "after": 0.5}),
                (5, "after", {"channel": name, "after": True}), (5, "peerId", {"peerId": "no such/id"}),
            (5, "peerId", {"peerId": ""}),
                (6, "name", {}), (6, "name", {"name": []}), (7, "limit", {"limit": 0}), (7, "after", {"after": 5}),
            (7, "after", {"after": "5"}),
                (8, "upTo", {}), (8, "upTo", {"upTo": 5}), (8, "upTo", {"upTo": "x" * 19}), (8, "ids", {"ids": "x"}),
            (8, "ids", {"ids": [1]}),
                (8, "ids", {"ids": ["x"]}), (10, "limit", {"limit": 0}), (10, "limit", {"limit": []}),
            (10, "cursor", {"cursor": 1}),
                (11, "seq", {"channel": name}), (11, "seq", {"channel": name, "seq": "1"}), (11, "channel", {"seq": 1}),
            (11, "seq", {"channel": name, "seq": -1}),
                (12, "ids", {}), (12, "ids", {"ids": "x"}), (12, "ids", {"ids": [1]}),
            (12, "ids", {"ids": [b.id] * 101}), (12, "ids", {"ids": ["a b"]}),
                (13, "name", {}), (13, "limit", {"name": name, "limit": 0}),
            (13, "cursor", {"name": name, "cursor": 5}),
                (14, "seq", {"channel": name}), (14, "channel", {"seq": 1}), (14, "seq", {"channel": name, "seq": "1"}),
                (15, "id", {"blocked": True}), (15, "blocked", {"id": b.id}),
            (15, "blocked", {"id": b.id, "blocked": 1}), (15, "id", {"id": 1, "blocked": True})]:
            with self.subTest(action=action, body=str(body)[:80]):
                self.assertIn(field, self.refused("bad_request", a, action, **body).message)
        a.request(PING)
        b.quiet()

    def test_nothing_is_changed_by_a_refused_send(self):
        a = self.user()
        name = self.channel(a)
        for body in ({"content": ""}, {"content": "x" * 2049}, {"content": 1}, {}):
            code = a.error(SEND_CHANNEL, channel=name, clientId="same", **body).code
            self.assertEqual(code, "too_large" if len(str(body.get("content"))) > 100 else "bad_request")
        sent = a.say(name, "good", clientId="same")
        self.assertEqual(sent["seq"], 1)
        self.assertEqual([m["content"] for m in a.history(name)["messages"]], ["good"])


JSON_BAD = [
    b"x", b"{", b"}", b"[]", b"5", b'"x"', b"null", b"true", b"{}x", b"{} {}", b"{},", b"{,}", b'{"a":1,}', b'{"a"}',
    b'{"a":}', b"{a:1}", b"{'a':1}",
    b'{"a":01}', b'{"a":+1}', b'{"a":.5}', b'{"a":1.}', b'{"a":1e}', b'{"a":1e+}', b'{"a":-}', b'{"a":NaN}',
    b'{"a":Infinity}', b'{"a":1e999}',
    b'{"a":0x10}', b'{"a":"\\u0000"}', b'{"\\u0000":1}',
    b'{"a":"\\ud800"}', b'{"a":"\\udc00"}', b'{"a":"\\ud800\\u0041"}', b'{"a":"\\ud83d\\ud83d"}', b'{"a":"\\x"}',
    b'{"a":"\\u12"}', b'{"a":"\\u12g4"}',
    b'{"a":"\x00"}', b'{"a":"\x1f"}', b'{"a":"\t"}', b'{"a":"\n"}', b'{"a":"x', b'{"a":1,"a":2}',
    b'{"a":1,"\\u0061":2}', b'{"a":{"b":1,"b":1}}',
    b'{"a":tru}', b'{"a":True}', b'{"a":nul}', b'{"a":[1,]}', b'{"a":[1 2]}', b"\xef\xbb\xbf{}", b"{}\x00",
    b'{"a":"\x00"}', b"/**/{}", b'{"a":1/**/}',
    b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", b"[" * 4000, b"{\"a\":" * 3000, b" ", b"\n\t ",
]

JSON_NOT_UTF8 = [
    b'{"a":"\xff"}', b'{"a":"\xc0\x80"}', b'{"a":"\xc1\xbf"}', b'{"a":"\xe0\x80\x80"}', b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\xed\xbf\xbf"}', b'{"a":"\xf4\x90\x80\x80"}',
    b'{"a":"\xf8\x88\x80\x80\x80"}', b'{"a":"\xc3"}', b'{"a":"\xe2\x82"}', b'{"a":"\xf0\x9f\x98"}', b'{"a":"\x80"}',
    b'{"\xff":1}',
]

JSON_GOOD = [
    b"{}", b" {} ", b"\t\r\n{ }\n", b'{"a":1e2}', b'{"a":1.0}', b'{"a":-0}', b'{"a":9007199254740991}',
    b'{"a":-9007199254740991}', b'{"a":1E-7}',
    b'{"a":"\\ud83d\\ude00"}', b'{"a":"\\u0001"}', b'{"a":"\\u007f"}', b'{"a":"\x7f"}', b'{"a":"\xef\xbf\xbf"}',
    b'{"a":"\xf4\x8f\xbf\xbf"}',
    b'{"a":"\\/\\b\\f\\n\\r\\t\\"\\\\"}', b'{"a":null,"b":true,"c":false,"d":[],"e":{}}', b'{"a":1,"A":2}', b'{"":1}',
    b'{"a":' + b"[" * 31 + b"]" * 31 + b"}",
    b'{"a":[{"b":1},{"b":1}]}',
    # What stands in a field that nobody knows: numbers of 64 bits are usual in other languages.
    b'{"a":9007199254740993}', b'{"a":-9007199254740992}', b'{"a":18446744073709551616}',
    b'{"a":[{"b":9223372036854775807}]}',
]


@variants(("tcp", 1), ("binary", 2))
class Json(Test):
    @smoke
    def test_malformed_bodies_cost_only_the_request(self):
        c = self.user()
        for body in JSON_BAD + JSON_NOT_UTF8:
            with self.subTest(body=body[:60]):
                answer = c.ask_raw(PING, body)
                self.assertIn("error", answer)
                self.assertEqual(answer["error"]["code"], "bad_request")
        self.assertIn("time", c.request(PING))

    @smoke
    def test_what_is_json(self):
        c = self.user()
        for body in JSON_GOOD:
            with self.subTest(body=body[:60]):
                self.assertIn("time", c.ask_raw(PING, body))

    def test_malformed_before_login(self):
        c = self.connect()
        self.assertEqual(c.ask_raw(SEND_USER, b"{")["error"]["code"], "unauthorized")
        self.assertEqual(c.ask_raw(LOGIN, b"{")["error"]["code"], "bad_request")
        self.assertEqual(c.ask_raw(PING, b"{")["error"]["code"], "bad_request")
        c.login("Ada")

    def test_numbers(self):
        a = self.user()
        name = self.channel(a)
        for n in range(12):
            a.say(name, str(n))
        q = json.dumps(name).encode()
        for limit, count in ((b"1", 1), (b"1.0", 1), (b"1e0", 1), (b"0.1e2", 10), (b"50", 12), (b"200", 12),
                             (b"201", 12), (b"9007199254740991", 12), (b"1e2", 12), (b"null", 12)):
            answer = a.ask_raw(HISTORY, b'{"channel":%s,"limit":%s}' % (q, limit))
            self.assertEqual(len(answer.get("messages", ())), count, "%s: %.300s" % (limit, answer))
        for limit in (b"0", b"-1", b"1.5", b"1e-1", b"0.0", b"9007199254740992", b"1e300", b'"1"', b"true", b"[]"):
            self.assertEqual(a.ask_raw(HISTORY, b'{"channel":%s,"limit":%s}' % (q, limit))["error"]["code"],
                             "bad_request", limit)
        self.assertEqual(len(a.ask_raw(HISTORY, b'{"channel":%s,"after":2e0,"before":5.0}' % q)["messages"]), 2)

    def test_content_is_delivered_as_sent(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        for content in ("x", "\u0001\u001f\u007f\u0085", "\n\t\r", '"\\/', "é", "日本語", "😀👩‍👩‍👧", "\u2028\u2029",
                        "\ufeff", "\uffff", "</script>", " ", "{}", "e\u0301", "\U0010ffff",
                        "a" * 16384, "ü" * 8192):
            sent = a.say(name, content)
            self.assertEqual(b.push(102)["content"], content)
            self.assertEqual(b.history(name, limit=1)["messages"][0]["content"], content)
            self.assertEqual(a.tell(b, content)["seq"], sent["seq"])
            self.assertEqual(b.push(101)["content"], content)
        # Whatever way it was escaped.
        a.ask_raw(SEND_CHANNEL, b'{"channel":%s,"content":"\\u0041\\ud83d\\ude00\\/\\u00e9"}' %
                  json.dumps(name).encode())
        self.assertEqual(b.push(102)["content"], "A😀/é")
        self.assertEqual(a.ask(SEND_CHANNEL, channel=name, content="a" * 16385)["error"]["code"], "too_large")
        self.assertEqual(a.ask(SEND_CHANNEL, channel=name, content="ü" * 8193)["error"]["code"], "too_large")

    def test_channel_names(self):
        a = self.user()
        for name in ("x", "x" * 64, "ü" * 32, "a b", "#general", "../..", "日本語", "*", "+/#", "😀", "\u00a0", 'q"\\',
                     "system", "A", "a"):
            self.assertEqual(a.subscribe(name)["name"], name)
            a.say(name, "hello")
            self.assertEqual(a.push(102)["channel"], name)
        for name in ("", "x" * 65, "ü" * 33, " x", "x ", " ", "a\u0000b", "a\u001fb", "a\u007fb", "a\u0080b",
                     "a\u009fb", "\n"):
            self.assertEqual(a.error(SUBSCRIBE, name=name).code, "bad_request")

    def test_user_ids(self):
        a = self.user()
        for receiver in ("x" * 64, "Az09_.:-", "nobody"):
            self.refused("not_found", a, SEND_USER, receiverId=receiver, content="x")
        for receiver in ("", "x" * 65, "a b", "a/b", "ü", "#", "+", "*", "a\u0000", "../x"):
            self.refused("bad_request", a, SEND_USER, receiverId=receiver, content="x")
