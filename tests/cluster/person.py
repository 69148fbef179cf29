"""Somebody who chats over a cluster of nodes, for checker.py: writes, reads, comes, goes and roams, repeats elsewhere
what nobody answered, and complains of what cannot be."""

import collections
import random
import threading
import time

from client import (ACK, BEHIND, CHANNEL_MESSAGE, CLOSING, HISTORY, INBOX, INBOX_WAITING, PRESENCE_CHANGED, READ,
                    SEND_CHANNEL, SEND_USER, SUBSCRIBE, UNSUBSCRIBE, USER_MESSAGE, WATCH, Client)
from server import PATIENCE
from wire import Closed, Refused, Timeout

STUCK = 90       # seconds that a request may be refused or unanswered, repeated all the while
ANSWER = 12      # seconds that one answer may take: more than a node's patience
FAR = 200        # messages missed at once, above which pushes may jump
COMPLAINTS = 60  # that are told of
PAGE = 200

# How often people do what: Person's methods.
SHARES = {"send": 60, "read_somewhere": 12, "acknowledge": 8, "mark_some": 8, "come_or_go": 6, "drop": 2, "roam": 2,
          "idle": 4}
DEVICE = "phone"  # of each person, who so has one connection: a login elsewhere ends it
LOST = (Closed, Refused, Timeout, OSError)  # what ends a connection, or an attempt at one


class Stuck(AssertionError):
    """A request that could not be done in STUCK seconds."""


class Ledger:
    """What anybody has seen of any message, and what is wrong with it. All threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.complaints = []
        self.seen = {}                                  # (conversation, seq) → (id, sender, content, createdAt, how)
        self.newest = {}                                # conversation → the highest seq that anybody has seen
        self.told = collections.defaultdict(list)       # (conversation, sender) → [(content, seq, id)], as acknowledged
        self.counts = collections.Counter()

    def complain(self, text):
        with self.lock:
            self.counts["complaints"] += 1
            if len(self.complaints) < 100 * COMPLAINTS and text not in self.complaints:
                self.complaints.append(text)

    def saw(self, conversation, m, how):
        """A message, as a push, a page or an answer showed it: what was ever shown stays."""
        what = (m["id"], m["sender"]["id"], m["content"], m["createdAt"])
        with self.lock:
            before = self.seen.setdefault((conversation, m["seq"]), what + (how,))
            self.newest[conversation] = max(m["seq"], self.newest.get(conversation, 0))
        if before[:-1] != what:
            self.complain("%s %d: %s showed %s, and %s %s" %
                          (name_of(conversation), m["seq"], before[-1], before[:-1], how, what))

    def acknowledged(self, conversation, sender, content, answer):
        with self.lock:
            self.told[conversation, sender].append((content, answer["seq"], answer["id"]))
            self.counts["acknowledged"] += 1


def name_of(conversation):
    return conversation if isinstance(conversation, str) else "/".join(conversation)


class Heard:
    """What somebody has got of a conversation, by pushes or pulls: all after `base`."""

    def __init__(self, base):
        self.upto, self.early = base, set()  # all up to there; what came before what is missing

    def add(self, seq):
        if seq <= self.upto:
            return
        self.early.add(seq)
        while self.upto + 1 in self.early:
            self.upto += 1
            self.early.discard(self.upto)


class Person(threading.Thread):
    """A user with one connection, now to this node, now to that one. Its thread makes all its requests and takes its
    pushes; after finish() the checker does, the thread being over."""

    def __init__(self, checker, number):
        super().__init__(daemon=True)
        self.checker, self.ledger, self.number = checker, checker.ledger, number
        self.random = random.Random(checker.seed * 1000 + number)
        self.client = self.node = self.id = self.token = None
        self.said = 0
        self.rooms = {}       # channel → "in" or "out"; while it joins or leaves it is "between"
        self.heard = {}       # conversation → Heard
        self.pushed = {}      # conversation → the last seq pushed over this connection
        self.marks = {}       # conversation → [at least, at most]: where the read mark is
        self.order = {}       # id of an inbox entry → when it came, as the first page that had it showed
        self.removed = set()  # ids whose removal from the inbox was acknowledged
        self.gone = set()     # ids whose removal was asked for
        self.others = {}      # id → online, as watched
        self.waiting = False  # 103 came: the inbox is to be pulled
        self.behind = set()   # channels that 107 named
        self.stopping, self.trouble = False, None
        self.connections = 0
        self.shares = dict(SHARES, **checker.shares)
        self.stay = None      # the node that it always uses
        self.old = []         # [(connection that a later login ends, how many it had made, its node's label)]

    # --- Its connection

    def drop(self):
        if self.client:
            self.client.close()
        self.client = None

    def go(self):
        """Nothing of it is connected any more."""
        self.drop()
        for entry in self.old:
            entry[0].close()
        self.old = []

    def connect(self, node=None):
        """To this node, or any; logged in, with what it missed pulled."""
        self.drop()
        node = node or self.stay or self.random.choice(self.checker.nodes)
        if not node.tcp:
            raise Closed("there is no such node now")
        client = Client(node, self.random.choice(("tcp", "binary")))
        try:
            answer = client.answer(1, client.send(1, device=DEVICE, **({"token": self.token} if self.token else
                                                                      {"name": "Person %d" % self.number})), ANSWER)
            if "error" in answer:
                if answer["error"]["code"] != "unavailable":
                    self.complain("login refused: %s" % answer["error"])
                raise Closed("login: %s" % answer["error"])
        except BaseException:
            client.close()
            raise
        self.client, self.node, self.connections = client, node, self.connections + 1
        self.id, self.token = answer["id"], answer["token"]
        self.pushed, self.behind, self.waiting = {}, set(), answer["inbox"] > 0

    def catch_up(self):
        """After each login: what was missed is pulled, and watches are put again."""
        for channel, state in self.rooms.items():
            if state == "in":
                self.pull(channel)
        for peer in self.checker.people:
            if peer is not self and peer.id:
                self.pull(self.pair(peer.id))
        self.watch()

    def complain(self, text):
        self.ledger.complain("%s on node %s: %s" % (self.id, getattr(self.node, "label", "?"), text))

    def pair(self, peer):
        return tuple(sorted((self.id, peer)))

    def where(self, conversation):
        if isinstance(conversation, str):
            return {"channel": conversation}
        return {"peerId": conversation[1] if conversation[0] == self.id else conversation[0]}

    # --- Requests

    def ask(self, action, body):
        """The answer over the connection that there is. Pushes are taken as they come, however late the answer is."""
        client, end = self.client, time.monotonic() + ANSWER * PATIENCE
        seq = client.send(action, **body)
        self.take_pushes()
        while True:
            frame = client.receive((end - time.monotonic()) / PATIENCE)
            if frame[:2] == (action, seq):
                return frame[2]
            self.take(frame[0], frame[2])

    def once(self, action, body):
        """The answer; None: nobody knows, or it is `unavailable`."""
        if self.client is None:
            self.connect()
            self.catch_up()
        answer = self.ask(action, body)
        if "error" not in answer:
            return answer
        self.ledger.counts[answer["error"]["code"]] += 1
        return answer if answer["error"]["code"] != "unavailable" else None

    def until_done(self, action, body, may=()):
        """The answer, the request being repeated, on other nodes too, until there is one. may: codes of errors that
        are answers."""
        began, why = time.monotonic(), "unavailable"
        while True:
            try:
                answer = self.once(action, body)
            except LOST as e:
                self.ledger.counts["lost"] += 1
                self.drop()
                answer, why = None, "%s: %s" % (type(e).__name__, e)
            if answer is not None:
                if "error" in answer and answer["error"]["code"] not in may:
                    self.complain("action %d %s is refused: %s" % (action, body, answer["error"]))
                return answer
            if time.monotonic() - began > STUCK * PATIENCE or self.checker.closing:
                raise Stuck("%s: action %d %s: not in %d s: %s" % (self.id, action, body, STUCK, why))
            time.sleep(0.05 + 0.2 * self.random.random())
            if self.client and self.random.random() < 0.5:
                self.drop()  # the next one goes to another node

    def send(self):
        rooms = [c for c, state in self.rooms.items() if state == "in"]
        self.said += 1
        content = "%d said %d" % (self.number, self.said)
        if rooms and self.random.random() >= self.checker.private:
            conversation = self.random.choice(rooms)
            action, body = SEND_CHANNEL, {"channel": conversation}
        else:
            peer = self.random.choice([p for p in self.checker.people if p is not self])
            conversation = self.pair(peer.id)
            action, body = SEND_USER, {"receiverId": peer.id}
        answer = self.until_done(action, dict(body, content=content, clientId=content.replace(" ", "-")))
        if "error" in answer:
            return
        self.ledger.acknowledged(conversation, self.id, content, answer)
        self.ledger.saw(conversation, dict(answer, sender={"id": self.id}, content=content), "an answer")
        mark = self.marks.setdefault(conversation, [0, 0])
        mark[1] = max(mark[1], answer["seq"])
        if not isinstance(conversation, str):
            self.hear(conversation, answer["seq"])  # the sending connection is pushed nothing

    def history(self, conversation, **bounds):
        return self.until_done(HISTORY, dict(bounds, **self.where(conversation)), ("not_found",))

    def page(self, conversation, **bounds):
        """Messages of a page, each of which is seen."""
        answer = self.history(conversation, **bounds)
        for m in answer.get("messages", ()):
            self.ledger.saw(conversation, m, "a page of %s" % getattr(self.node, "label", "?"))
        return answer

    def pull(self, conversation):
        """What it lacks of one."""
        heard = self.heard.setdefault(conversation, Heard(0))
        while True:
            answer = self.client_page(conversation, heard.upto)
            for m in answer.get("messages", ()):
                heard.add(m["seq"])
            if not answer.get("more"):
                return
            if not answer["messages"]:
                raise Closed("a page with nothing, and more")

    def client_page(self, conversation, after):
        """A page over the connection that there is: Closed when it cannot be had."""
        answer = self.ask(HISTORY, dict(self.where(conversation), after=after, limit=PAGE))
        if "error" in answer:
            if answer["error"]["code"] == "not_found" and not isinstance(conversation, str):
                return {}
            if answer["error"]["code"] == "unavailable":
                raise Closed("history: %s" % answer["error"])
            self.complain("history of %s is refused: %s" % (name_of(conversation), answer["error"]))
            return {}
        for m in answer["messages"]:
            self.ledger.saw(conversation, m, "a page of %s" % self.node.label)
        return answer

    def read_somewhere(self):
        conversation = self.random.choice([c for c in self.heard if self.rooms.get(c, "in") == "in"] or [None])
        if conversation is None:
            return
        top = self.heard[conversation].upto
        self.page(conversation, after=max(0, self.random.randrange(top + 1) - 20), limit=50)
        self.page(conversation, limit=20)

    def enter(self, channel):
        self.rooms[channel] = "between"
        answer = self.until_done(SUBSCRIBE, {"name": channel})
        if "error" in answer:
            return
        self.rooms[channel] = "in"
        before = self.heard.get(channel)
        self.heard[channel] = Heard(answer["seq"])
        for seq in before.early if before else ():  # pushed before the answer came
            self.heard[channel].add(seq)
        mark = self.marks.setdefault(channel, [0, 0])
        mark[1] = max(mark[1], answer["seq"])

    def leave(self, channel):
        self.rooms[channel] = "between"
        self.until_done(UNSUBSCRIBE, {"name": channel})
        self.rooms[channel] = "out"
        self.heard.pop(channel, None)
        self.pushed.pop(channel, None)
        self.marks.pop(channel, None)

    def mark(self, conversation, seq):
        mark = self.marks.setdefault(conversation, [0, 0])
        mark[1] = max(mark[1], seq)
        answer = self.until_done(READ, dict(seq=seq, **self.where(conversation)))
        if "error" not in answer:
            mark[0] = max(mark[0], seq)
        return answer

    def watch(self):
        ids = [p.id for p in self.checker.people if p is not self and p.id]
        self.others = {}
        answer = self.ask(WATCH, {"ids": ids, "watch": True})
        if "error" in answer:
            raise Closed("watch: %s" % answer["error"])
        # What was pushed before the answer is older than that.
        self.others = {i: i in answer["online"] for i in ids}

    # --- The inbox

    def inbox(self):
        """All entries, in order, that it has after what was acknowledged as removed before."""
        removed = set(self.removed)
        messages, after = [], None
        while True:
            answer = self.until_done(INBOX, dict({"limit": PAGE}, **({"after": after} if after else {})))
            page = answer.get("messages", [])
            messages += page
            if not answer.get("more") or not page:
                break
            after = page[-1]["id"]
        self.waiting = False
        newest = -1
        for m in messages:
            conversation = self.pair(m["sender"]["id"])
            self.ledger.saw(conversation, m, "an inbox")
            self.hear(conversation, m["seq"])
            if m["id"] in removed:
                self.complain("%s %d is in the inbox again" % (name_of(conversation), m["seq"]))
            place = self.order.setdefault(m["id"], len(self.order))
            if place <= newest:
                self.complain("%s %d: the inbox has another order than before, or has it twice" %
                              (name_of(conversation), m["seq"]))
            newest = place
        return messages

    def acknowledge(self):
        messages = self.inbox()
        if not messages:
            return
        if self.random.random() < 0.5:
            ids = [m["id"] for m in messages[:self.random.randrange(len(messages)) + 1]]
            body = {"upTo": ids[-1]}
        else:
            ids = self.random.sample([m["id"] for m in messages], self.random.randrange(min(len(messages), 20)) + 1)
            body = {"ids": ids}
        self.gone.update(ids)
        if "error" not in self.until_done(ACK, body):
            self.removed.update(ids)

    # --- Pushes

    def hear(self, conversation, seq):
        self.heard.setdefault(conversation, Heard(0)).add(seq)

    def take_pushes(self):
        frames, self.client.kept = self.client.kept, []
        for action, _, body in frames:
            self.take(action, body)

    def take(self, action, body):
        self.ledger.counts["pushes"] += 1
        if action == CHANNEL_MESSAGE:
            self.take_message(body["channel"], body)
            if self.rooms.get(body["channel"]) == "out":
                self.complain("push %d of %s after it had left" % (body["seq"], body["channel"]))
        elif action == USER_MESSAGE:
            sender, receiver = body["sender"]["id"], body["receiverId"]
            if self.id not in (sender, receiver):
                self.complain("a push between %s and %s" % (sender, receiver))
            else:
                self.take_message(self.pair(receiver if sender == self.id else sender), body)
        elif action == INBOX_WAITING:
            self.waiting = True
        elif action == BEHIND:
            self.behind.add(body["channel"])
        elif action == PRESENCE_CHANGED:
            self.others[body["id"]] = body["online"]
        elif action == CLOSING:
            self.ledger.counts["closed: " + body["reason"]] += 1

    def take_message(self, conversation, m):
        self.ledger.saw(conversation, m, "a push of %s" % self.node.label)
        before, channel = self.pushed.get(conversation), isinstance(conversation, str)
        if before is not None and m["seq"] <= before:
            self.complain("%s: %d is pushed after %d" % (name_of(conversation), m["seq"], before))
            return
        # Of a pair it is pushed what the other one sends alone.
        if channel and before is not None and before + 1 < m["seq"] and conversation not in self.behind:
            if m["seq"] < before + FAR:
                self.complain("%s: %d is pushed next after %d" % (name_of(conversation), m["seq"], before))
            self.behind.add(conversation)
        self.pushed[conversation] = m["seq"]
        if self.rooms.get(conversation, "in") == "between":
            self.heard.setdefault(conversation, Heard(m["seq"] - 1))
        self.hear(conversation, m["seq"])

    def listen(self, seconds):
        """Takes pushes for so long; what they ask to be pulled is pulled."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.client is None:
                    self.connect()
                    self.catch_up()
                try:
                    frame = self.client.receive(max(0.001, (end - time.monotonic()) / PATIENCE))
                    self.take(frame[0], frame[2])
                except Timeout:
                    pass
                for channel in [c for c in self.behind if self.rooms.get(c) == "in"]:
                    self.pull(channel)
                    self.behind.discard(channel)
                self.look_at_old()
            except LOST:
                self.ledger.counts["lost"] += 1
                self.drop()
                time.sleep(0.1)
        if self.waiting:
            self.inbox()

    def heard_of(self, conversation):
        """Whether it is one of its conversations."""
        if isinstance(conversation, str):
            return self.rooms.get(conversation) == "in"
        return self.id in conversation

    # --- Its life

    def act(self):
        getattr(self, self.random.choices(list(self.shares), list(self.shares.values()))[0])()

    def mark_some(self):
        conversation = self.random.choice([c for c in self.heard if self.rooms.get(c, "in") == "in"] or [None])
        if conversation is not None and self.heard[conversation].upto:
            self.mark(conversation, self.random.randrange(self.heard[conversation].upto) + 1)

    def come_or_go(self):
        channel = self.random.choice(self.checker.changing)
        if self.rooms.get(channel) == "in":
            self.leave(channel)
        else:
            self.enter(channel)

    def roam(self):
        """Logs in elsewhere without a word to the old node, which has to end that connection."""
        if self.client:
            self.old.append((self.client, self.connections, self.node.label))
            self.client = None

    def look_at_old(self):
        """What comes over connections that have been replaced, until they are closed."""
        for entry in list(self.old):
            try:
                action, _, body = entry[0].receive(0.001)
                if action == CHANNEL_MESSAGE:
                    self.ledger.saw(body["channel"], body, "a push of %s" % entry[2])
            except Timeout:
                pass
            except LOST:
                entry[0].close()
                self.old.remove(entry)

    def owed_ends(self):
        """Connections that a login since then has replaced, and that are open."""
        return [entry for entry in list(self.old) if entry[1] < self.connections]

    def read_rooms(self):
        self.page(self.random.choice(self.checker.rooms), limit=50)

    def idle(self):
        pass

    def run(self):
        try:
            while not self.stopping:
                self.act()
                self.listen(self.checker.pause * 2 * self.random.random())
        except Stuck as e:
            self.ledger.complain(str(e))
        except BaseException as e:
            self.trouble = e
