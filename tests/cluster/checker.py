"""People on all nodes who write, read, come, go and roam while something breaks, and the check that none of them could
tell: what section 12 of the contract asks for, in docs/cluster.md's words.

    checker = Checker(test, nodes)        # Servers, each of one node
    checker.start()
    …                                     # break something
    checker.healed()                      # all is well again: within 15 s everybody hears what was said until now
    checker.finish()                      # they stop
    checker.check()                       # then every node is asked for everything

What is found wrong on the way is a complaint; check() fails with all of them. `python3 tests/cluster/test_checker.py`
shows that it complains where it must."""

import collections
import random
import time

from client import ACK, CONVERSATIONS, MEMBERS, PRESENCE
from person import COMPLAINTS, LOST, PAGE, STUCK, Heard, Ledger, Person, Stuck, name_of
from server import PATIENCE

SETTLE = 15  # seconds within which all is heard once nothing is broken any more
CLOCKS = 60  # seconds from the true time within which messages are created, whatever single clocks say


class Checker:
    """people: how many; rooms: channels that all stay in; changing: channels that they join and leave. pause: seconds
    between two requests of a person, about. private: the share of messages that are.
    shares: over SHARES. readers: how many of the people do nothing but read the rooms. settle: instead of SETTLE."""

    def __init__(self, test, nodes, people=6, rooms=2, changing=2, pause=0.05, private=0.4, shares=None, readers=0,
                 settle=SETTLE, seed=None):
        self.test, self.nodes, self.pause, self.private = test, nodes, pause, private
        self.shares, self.settle = shares or {}, settle
        self.seed = random.randrange(1 << 30) if seed is None else seed
        self.ledger = Ledger()
        self.slowest = 0.0  # seconds after a healing until all had heard
        self.began = time.time()
        self.closing = False
        for i, n in enumerate(nodes):
            n.label = "%d" % (i + 1)
        unique = "%x" % (time.monotonic_ns() % 0xffffff)
        self.rooms = ["room %d %s" % (i, unique) for i in range(rooms)]
        self.changing = ["changing %d %s" % (i, unique) for i in range(changing)]
        self.people = [Person(self, i) for i in range(people)]
        for p in self.people[:readers]:
            p.shares = {"read_rooms": 1}
        for p in self.people:  # all there, and acquainted, before anything breaks
            p.connect()
        for p in self.people:
            for channel in self.rooms + (self.changing if p is self.people[0] else []):
                p.enter(channel)
            for peer in self.people:
                if peer.number > p.number:
                    p.heard[p.pair(peer.id)] = Heard(0)
                    peer.heard[p.pair(peer.id)] = Heard(0)
        for p in self.people:
            p.watch()

    # --- Running

    def start(self):
        for p in self.people:
            p.start()

    def acknowledged(self):
        return self.ledger.counts["acknowledged"]

    def wait(self, more, timeout=STUCK):
        """Until so many more messages are acknowledged, of anybody."""
        before = self.acknowledged()
        self.test.eventually(lambda: self.acknowledged() >= before + more or any(p.trouble for p in self.people),
                             timeout)
        self.look()

    def look(self):
        for p in self.people:
            if p.trouble:
                raise p.trouble

    def healed(self):
        """All is well again. From now on it takes SETTLE seconds at most until everybody who is there has heard what
        anybody had seen by now, pushed or pulled, and each connection that was replaced by now has been closed."""
        began = time.monotonic()
        newest = dict(self.ledger.newest)
        ends = [(p, entry) for p in self.people for entry in p.owed_ends()]
        while missing := self.missing(self.people, newest, ends):
            self.look()
            if time.monotonic() - began > self.settle * PATIENCE:
                for text in missing:
                    self.complain("%s, %d s after all was well" % (text, self.settle))
                break
            time.sleep(0.02)
        self.slowest = max(self.slowest, time.monotonic() - began)

    def missing(self, people, newest, ends):
        """What these people have not heard up to `newest`, and which of `ends` has not come."""
        out = []
        for p in people:
            for conversation, seq in newest.items():
                heard = p.heard.get(conversation)
                if heard and p.heard_of(conversation) and heard.upto < seq:
                    out.append("%s on node %s has heard %s to %d of %d" %
                               (p.id, p.node.label, name_of(conversation), heard.upto, seq))
        return out + ["%s: its connection to node %s is open, though a login on another has replaced it" %
                      (p.id, entry[2]) for p, entry in ends if entry in p.old]

    def stop(self):
        for p in self.people:
            p.stopping = True
        for p in self.people:
            if p.is_alive():
                p.join()

    def close(self):
        """They end, whatever they wait for, and so do their connections."""
        self.closing = True
        self.stop()
        for p in self.people:
            p.go()

    def finish(self):
        """Stops them. Whoever is connected must have heard all within SETTLE seconds, and watch what is so."""
        self.stop()
        self.look()
        # Some go, so that there is something to watch.
        self.away = self.people[::3][1:] or self.people[:1]
        for p in self.away:
            p.go()
        here = [p for p in self.people if p not in self.away]
        end, missing = time.monotonic() + self.settle * PATIENCE, ["?"]
        while missing and time.monotonic() < end:
            for p in here:
                p.listen(0.05)
            missing = self.missing(here, self.ledger.newest, [(p, e) for p in here for e in p.owed_ends()])
            missing += ["%s watches %s as %s" % (p.id, q.id, p.others.get(q.id)) for p in here for q in self.people
                        if q is not p and p.client and p.others.get(q.id) != (q in here)]
        for text in missing:
            self.ledger.complain("%s, after %d s" % (text, self.settle))

    def check(self):
        """Asks every node for everything."""
        histories = [self.histories(n) for n in self.nodes]
        for n, h in zip(self.nodes[1:], histories[1:]):
            for conversation in set(h) | set(histories[0]):
                if h.get(conversation) != histories[0].get(conversation):
                    self.complain("%s: node %s and node %s show different messages" %
                                  (name_of(conversation), self.nodes[0].label, n.label))
        for conversation, messages in histories[0].items():
            self.check_history(conversation, messages)
        self.check_seen(histories[0])
        for p in self.people:
            self.check_inbox(p, histories[0])
            self.check_marks(p, histories[0])
        self.check_members()
        self.check_presence()
        self.look()
        summary = ", ".join("%d %s" % (n, what) for what, n in sorted(self.ledger.counts.items()))
        summary += ", all heard %.1f s after it was healed" % self.slowest
        if self.ledger.complaints:
            self.test.fail("%d complaints (seed %d; %s):\n%s" % (self.ledger.counts["complaints"], self.seed, summary,
                                                                 "\n".join(self.ledger.complaints[:COMPLAINTS])))
        return summary

    # --- What is checked

    def complain(self, text):
        self.ledger.complain(text)

    def conversations(self):
        """{conversation: somebody who may read it}"""
        out = {c: self.people[0] for c in self.rooms}
        for c in self.changing:
            reader = next((p for p in self.people if p.rooms.get(c) == "in"), None)
            if reader is None:
                reader = self.people[0]
                reader.enter(c)
            out[c] = reader
        for i, p in enumerate(self.people):
            for q in self.people[i + 1:]:
                out[p.pair(q.id)] = p
        return out

    def at(self, person, node):
        """Has it connected to that node."""
        if person.client and person.node is node:
            return person
        why, end = None, time.monotonic() + STUCK
        while time.monotonic() < end:
            try:
                person.connect(node)
                return person
            except LOST as e:
                why = e
                time.sleep(0.1)
        raise Stuck("%s cannot log in on node %s: %s" % (person.id, node.label, why))

    def histories(self, node):
        """{conversation: [(seq, id, sender, content, createdAt)]} as that node shows them."""
        out = {}
        for conversation, reader in sorted(self.conversations().items(), key=lambda x: x[1].number):
            messages, after = [], 0
            while True:
                self.at(reader, node)
                answer = reader.page(conversation, after=after, limit=PAGE)
                page = answer.get("messages", [])
                messages += [(m["seq"], m["id"], m["sender"]["id"], m["content"], m["createdAt"]) for m in page]
                if not page or not answer.get("more"):
                    break
                after = page[-1]["seq"]
            out[conversation] = messages
        return out

    def check_history(self, conversation, messages):
        where = name_of(conversation)
        seqs = [m[0] for m in messages]
        if seqs != list(range(1, len(seqs) + 1)):
            wrong = next((i for i, s in enumerate(seqs) if s != i + 1), 0)
            self.complain("%s: its numbers have a gap or one twice at %s" % (where, seqs[max(0, wrong - 1):wrong + 2]))
        ids = [m[1] for m in messages]
        if ids != sorted(set(ids)):
            self.complain("%s: its ids do not ascend" % where)
        contents = collections.Counter(m[3] for m in messages)
        for content, n in contents.items():
            if n > 1:
                self.complain("%s: %r is there %d times" % (where, content, n))
        stored = {m[3]: m[:4] for m in messages}
        for m in messages:
            if not self.began - CLOCKS < m[4] / 1000 < time.time() + CLOCKS:
                self.complain("%s %d: was created %d s from now" % (where, m[0], m[4] / 1000 - time.time()))
        for (of, sender), told in self.ledger.told.items():
            if of != conversation:
                continue
            for content, seq, id_ in told:
                if stored.get(content) != (seq, id_, sender, content):
                    self.complain("%s: %r of %s was acknowledged as %d, %s; there is %s" %
                                  (where, content, sender, seq, id_, stored.get(content)))
            if [t[1] for t in told] != sorted(t[1] for t in told):
                self.complain("%s: what %s said later stands before what was acknowledged" % (where, sender))

    def check_seen(self, histories):
        """What any read or push ever showed is there."""
        for (conversation, seq), what in self.ledger.seen.items():
            messages = histories.get(conversation, [])
            there = messages[seq - 1] if 0 < seq <= len(messages) else None
            if there is None or there[1:] != what[:-1]:
                self.complain("%s %d: %s showed %s; there is %s" % (name_of(conversation), seq, what[-1], what[:-1],
                                                                    there))

    def check_inbox(self, person, histories):
        """Each private message to it once, ever, and in one order."""
        self.at(person, self.nodes[person.number % len(self.nodes)])
        left = [m["id"] for m in person.inbox()]
        for n in self.nodes:
            self.at(person, n)
            if [m["id"] for m in person.inbox()] != left:
                self.complain("%s: its inbox is another one on node %s" % (person.id, n.label))
        sent = {m[1] for c, messages in histories.items() if not isinstance(c, str) and person.id in c
                for m in messages if m[2] != person.id}
        here = set(left)
        for id_ in sent - here - person.gone:
            self.complain("%s: message %s never was in its inbox" % (person.id, id_))
        for id_ in here - sent:
            self.complain("%s: message %s is in its inbox alone" % (person.id, id_))
        if left:
            person.until_done(ACK, {"upTo": left[-1]})
            person.removed.update(left)
            for n in self.nodes:
                self.at(person, n)
                if person.inbox():
                    self.complain("%s: its inbox is not empty on node %s" % (person.id, n.label))

    def check_marks(self, person, histories):
        for conversation, messages in histories.items():
            if not messages or not person.heard_of(conversation):
                continue
            last = len(messages)
            self.at(person, self.random_node())
            shown = self.shown(person).get(conversation)
            least, most = person.marks.get(conversation, [0, 0])
            if shown is None or not least <= shown["read"] <= max(most, least):
                self.complain("%s: its read mark of %s is %s, not within %d-%d" %
                              (person.id, name_of(conversation), shown and shown["read"], least, most))
            mark = random.randrange(max(most, 1), last + 1) if max(most, 1) <= last else last
            answer = person.mark(conversation, mark)
            if answer.get("unread") != last - mark:
                self.complain("%s: unread of %s is %s, not %d - %d" % (person.id, name_of(conversation), answer, last,
                                                                       mark))
        for n in self.nodes:
            self.at(person, n)
            shown = self.shown(person)
            for conversation, messages in histories.items():
                if not messages or not person.heard_of(conversation):
                    continue
                there, least = shown.get(conversation), person.marks[conversation][0]
                if there is None or (there["seq"], there["unread"]) != (len(messages), len(messages) - least):
                    self.complain("%s: node %s shows %s as %s; read are %d of %d" %
                                  (person.id, n.label, name_of(conversation), there, least, len(messages)))
            for conversation in shown:
                if isinstance(conversation, str) and person.rooms.get(conversation) != "in":
                    self.complain("%s: node %s has it in %s" % (person.id, n.label, conversation))

    def shown(self, person):
        """{conversation: row} of its conversations."""
        out, cursor = {}, None
        while True:
            answer = person.until_done(CONVERSATIONS, dict({"limit": PAGE}, **({"cursor": cursor} if cursor else {})))
            for row in answer.get("conversations", ()):
                out[row["channel"] if "channel" in row else person.pair(row["peerId"])] = row
            cursor = answer.get("cursor")
            if not cursor:
                return out

    def check_members(self):
        for channel in self.rooms + self.changing:
            wanted = sorted(p.id for p in self.people if p.rooms.get(channel) == "in")
            asker = next(p for p in self.people if p.rooms.get(channel) == "in")
            for n in self.nodes:
                self.at(asker, n)
                answer = asker.until_done(MEMBERS, {"name": channel, "limit": PAGE})
                members = sorted(m["id"] for m in answer.get("members", ()))
                if members != wanted:
                    self.complain("%s: node %s has the members %s, not %s" % (channel, n.label, members, wanted))

    def check_presence(self):
        for p in self.away:
            p.go()
        here = [p for p in self.people if p not in self.away]
        for i, p in enumerate(here):
            self.at(p, self.nodes[i % len(self.nodes)])
        for n in self.nodes:
            asker = self.at(here[0], n)

            def online():
                answer = asker.until_done(PRESENCE, {"ids": [p.id for p in self.people]})
                return sorted(answer.get("online", ()))
            wanted, end = sorted(p.id for p in here), time.monotonic() + self.settle * PATIENCE
            while (found := online()) != wanted and time.monotonic() < end:
                time.sleep(0.2)
            if found != wanted:
                self.complain("node %s has %s online, not %s" % (n.label, found, wanted))

    def random_node(self):
        return random.choice(self.nodes)
