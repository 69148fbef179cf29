"""Clients that send while something breaks, and the check that nothing acknowledged is lost, doubled or moved."""

import threading
import time

from client import INBOX, SEND_CHANNEL, SEND_USER, Client
from wire import Closed, Timeout

PATIENCE_SECONDS = 60  # after which what is not acknowledged is a failure


class Sender(threading.Thread):
    """Sends numbered messages, one after the other, each with a clientId: the next one when the last is acknowledged.
    What is refused as `unavailable`, or not answered, is sent again, over a new connection if need be."""

    def __init__(self, server, name, token, action, target):
        super().__init__(daemon=True)
        self.server, self.name_, self.token, self.action, self.target = server, name, token, action, target
        self.acknowledged = []  # (content, id, seq), in the order sent
        self.refusals = 0       # how often `unavailable` was the answer
        self.longest = 0.0      # seconds that an acknowledgement took
        self.stopping = False
        self.trouble = None
        self.client = None

    def once(self, content):
        """(id, seq), or None: it is to be sent again."""
        try:
            if self.client is None:
                self.client = Client(self.server)
                answer = self.client.ask(1, token=self.token)
                if "error" in answer:
                    raise Closed("login: %s" % answer["error"])
            answer = self.client.ask(self.action, content=content, clientId=content, **self.target)
            self.client.kept = []  # pushes
        except (Closed, Timeout, OSError):
            if self.client:
                self.client.close()
            self.client = None
            time.sleep(0.1)
            return None
        if "error" not in answer:
            return answer["id"], answer["seq"]
        if answer["error"]["code"] != "unavailable":
            raise AssertionError("%s: refused: %s" % (content, answer["error"]))
        self.refusals += 1
        time.sleep(0.1)
        return None

    def run(self):
        try:
            n = 0
            while not self.stopping:
                n += 1
                content, began = "%s %d" % (self.name_, n), time.monotonic()
                while (told := self.once(content)) is None:
                    if time.monotonic() - began > PATIENCE_SECONDS:
                        raise AssertionError("%s: not acknowledged in %d s" % (content, PATIENCE_SECONDS))
                self.longest = max(self.longest, time.monotonic() - began)
                self.acknowledged.append((content,) + told)
        except BaseException as e:
            self.trouble = e
        finally:
            if self.client:
                self.client.close()


class Load:
    """A ring of users, each of whom sends to the next one and to one of three rooms.

        load = Load(test, server)
        load.start(); …; load.stop()
        load.check()
    """

    def __init__(self, test, server, users=6):
        self.test, self.server = test, server
        self.people = [test.user("User %d" % i, server=server) for i in range(users)]
        self.rooms = [test.channel(*self.people) for _ in range(3)]
        self.senders = []
        for i, p in enumerate(self.people):
            peer = self.people[(i + 1) % users]
            self.senders.append(Sender(server, "dm%d" % i, p.token, SEND_USER, {"receiverId": peer.id}))
            self.senders.append(Sender(server, "room%d" % i, p.token, SEND_CHANNEL, {"channel": self.rooms[i % 3]}))

    def start(self):
        for s in self.senders:
            s.start()

    def acknowledged(self):
        return sum(len(s.acknowledged) for s in self.senders)

    def wait(self, more, timeout=60):
        """Until so many more are acknowledged by each sender."""
        before = [len(s.acknowledged) for s in self.senders]
        self.test.eventually(lambda: any(s.trouble for s in self.senders) or all(
            len(s.acknowledged) >= n + more for s, n in zip(self.senders, before)), timeout)

    def stop(self):
        for s in self.senders:
            s.stopping = True
        for s in self.senders:
            s.join(PATIENCE_SECONDS + 30)
            if s.trouble:
                raise s.trouble

    def history(self, reader, **conversation):
        messages, after = [], 0
        while True:
            page = reader.request(5, after=after, limit=200, **conversation)
            messages += page["messages"]
            if not page["more"]:
                return messages
            after = page["messages"][-1]["seq"]

    def inbox(self, reader):
        messages, after = [], None
        while True:
            page = reader.request(INBOX, limit=200, **({"after": after} if after else {}))
            messages += page["messages"]
            if not page["more"]:
                return messages
            after = page["messages"][-1]["id"]

    def check_conversation(self, messages, senders):
        test = self.test
        test.assertEqual([m["seq"] for m in messages], list(range(1, len(messages) + 1)), "no gap, no number twice")
        ids = [m["id"] for m in messages]
        test.assertEqual(ids, sorted(set(ids)), "ids ascend")
        contents = [m["content"] for m in messages]
        test.assertEqual(len(contents), len(set(contents)), "a repeated clientId was stored once")
        stored = {m["content"]: (m["id"], m["seq"]) for m in messages}
        for s in senders:
            for content, id_, seq in s.acknowledged:
                test.assertEqual(stored.get(content), (id_, seq), "acknowledged, and not there as told: " + content)
            own = [c for c in contents if c.startswith(s.name_ + " ")]
            test.assertEqual(own, ["%s %d" % (s.name_, n + 1) for n in range(len(own))], "in the order sent")
            test.assertIn(len(own) - len(s.acknowledged), (0, 1))

    def check(self):
        """With the server as it is now."""
        readers = [self.test.again(p, server=self.server) for p in self.people]
        total = len(self.people)
        for i, p in enumerate(self.people):
            sender, peer = self.senders[2 * i], self.people[(i + 1) % total]
            messages = self.history(readers[i], peerId=peer.id)
            self.check_conversation(messages, [sender])
            inbox = [m["content"] for m in self.inbox(readers[(i + 1) % total])]
            self.test.assertEqual(inbox, [m["content"] for m in messages], "the inbox: all, once, in order")
        for r, room in enumerate(self.rooms):
            self.check_conversation(self.history(readers[0], channel=room),
                                    [s for i, s in enumerate(self.senders) if i % 2 and i // 2 % 3 == r])
