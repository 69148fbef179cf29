"""Action 17 edit message, push 110, and what an edited message looks like everywhere else."""

import time

from base import Test, one_process, smoke, variants
from client import (BLOCK, CONVERSATIONS, EDIT, EDITED, INBOX, RECALL, RECALLED, SEND_CHANNEL, SEND_USER, SUBSCRIBE,
                    UNSUBSCRIBE)
from plugin_base import Console, PluginTest
from server import Server
from test_scripts import Scripted
from test_slow import Reader
from wire import Timeout


@variants(("tcp", 1), ("binary", 3), ("text", 3))
class Edit(Test):
    config = {"listen": {"console": "127.0.0.1:0"}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.console = Console(cls.server)

    @smoke
    def test_in_a_channel(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a2 = self.again(a)
        sent = a.say(name, "teh")
        a.say(name, "next")
        for c in (a, a2, b):
            c.pushes(102, 2)
        before = int(time.time() * 1000)
        edited = a.request(EDIT, channel=name, seq=1, content="the \"\u2603\"")
        self.keys(edited, "editedAt")
        self.assertGreaterEqual(edited["editedAt"], max(sent["createdAt"], before - 2000))
        want = {"channel": name, "seq": 1, "id": sent["id"], "content": "the \"\u2603\"", **edited}
        for c in (a, a2, b):
            self.assertEqual(c.push(EDITED), want)
        messages = b.history(name)["messages"]
        self.assertEqual(messages[0], {"id": sent["id"], "content": "the \"\u2603\"", "seq": 1, "channel": name,
                                       "sender": {"id": a.id, "name": "Ada"}, "createdAt": sent["createdAt"],
                                       **edited})
        self.assertNotIn("editedAt", messages[1])
        again = a.request(EDIT, channel=name, seq=1, content="the end")
        self.assertGreater(again["editedAt"], edited["editedAt"])
        self.assertEqual(b.push(EDITED)["content"], "the end")
        a.request(EDIT, channel=name, seq=2, content="last")
        self.assertEqual(self.last(b)["content"], "last")
        self.assertIn("editedAt", self.last(b))

    def last(self, client):
        return client.request(CONVERSATIONS)["conversations"][0]["last"]

    @smoke
    def test_in_a_pair(self):
        a, b = self.users("Ada", "Bob")
        a2, b2 = self.again(a), self.again(b)
        sent = a.tell(b, "teh")
        edited = a.request(EDIT, peerId=b.id, seq=1, content="the")
        body = {"seq": 1, "id": sent["id"], "content": "the", **edited}
        for c in (b, b2):
            self.assertEqual(c.push(EDITED), {"peerId": a.id, **body})
        self.assertEqual(a2.push(EDITED), {"peerId": b.id, **body})
        a.quiet(EDITED)
        for c, other in ((a, b), (b, a)):
            self.assertEqual(c.history(peer=other)["messages"][0]["content"], "the")
            self.assertEqual(c.history(peer=other)["messages"][0]["editedAt"], edited["editedAt"])
        waiting = b.request(INBOX)["messages"]
        self.assertEqual([(m["content"], m["editedAt"]) for m in waiting], [("the", edited["editedAt"])])
        self.assertEqual(self.last(b)["content"], "the")
        # To oneself.
        a.tell(a, "note")
        a.request(EDIT, peerId=a.id, seq=1, content="a note")
        self.assertEqual(a2.push(EDITED)["content"], "a note")
        a.quiet(EDITED)

    def test_refused(self):
        a, b, c = self.users("Ada", "Bob", "Cy")
        name = self.channel(a, b)
        a.say(name, "x")
        a.tell(b, "x")
        self.refused("forbidden", b, EDIT, channel=name, seq=1, content="y")
        self.refused("forbidden", b, EDIT, peerId=a.id, seq=1, content="y")
        self.refused("forbidden", c, EDIT, channel=name, seq=1, content="y")
        self.refused("not_found", a, EDIT, channel=name, seq=2, content="y")
        self.refused("not_found", a, EDIT, channel="no such " + name, seq=1, content="y")
        self.refused("not_found", a, EDIT, peerId=b.id, seq=2, content="y")
        self.refused("not_found", a, EDIT, peerId="nobody", seq=1, content="y")
        for body, field in (({"seq": 1}, "content"), ({"seq": 1, "content": ""}, "content"),
                            ({"seq": 1, "content": 7}, "content"), ({"content": "y"}, "seq"),
                            ({"seq": 0, "content": "y"}, "seq"), ({"seq": "1", "content": "y"}, "seq")):
            self.assertIn(field, self.refused("bad_request", a, EDIT, channel=name, **body).message)
        self.refused("bad_request", a, EDIT, seq=1, content="y")
        self.refused("bad_request", a, EDIT, channel=name, peerId=b.id, seq=1, content="y")
        self.refused("too_large", a, EDIT, channel=name, seq=1, content="y" * 20000)
        self.refused("unauthorized", self.connect(), EDIT, channel=name, seq=1, content="y")
        b.quiet(EDITED)
        self.assertEqual(b.history(name)["messages"][0]["content"], "x")
        self.assertEqual(b.history(peer=a)["messages"][0]["content"], "x")

    def test_obeys_membership_block_and_mute(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a.say(name, "x")
        a.tell(b, "x")
        b.request(BLOCK, id=a.id, blocked=True)
        self.refused("forbidden", a, EDIT, peerId=b.id, seq=1, content="y")
        b.request(BLOCK, id=a.id, blocked=False)
        a.request(EDIT, peerId=b.id, seq=1, content="y")
        self.console("mute user %s" % a.id)
        self.refused("forbidden", a, EDIT, peerId=b.id, seq=1, content="z")
        self.refused("forbidden", a, EDIT, channel=name, seq=1, content="z")
        self.console("unmute user %s" % a.id)
        a.request(UNSUBSCRIBE, name=name)
        self.refused("forbidden", a, EDIT, channel=name, seq=1, content="z")
        a.request(SUBSCRIBE, name=name)
        a.request(EDIT, channel=name, seq=1, content="z")
        self.console("channel %s ban %s" % (name, a.id))
        self.refused("forbidden", a, EDIT, channel=name, seq=1, content="a")

    def test_recalled_is_not_found_and_a_recall_takes_the_edit(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a.say(name, "x")
        a.request(EDIT, channel=name, seq=1, content="y")
        a.request(RECALL, channel=name, seq=1)
        self.refused("not_found", a, EDIT, channel=name, seq=1, content="z")
        message = b.history(name)["messages"][0]
        self.assertEqual((message["content"], message["recalled"]), ("", True))
        self.assertNotIn("editedAt", message)

    def test_an_edit_and_a_recall_race(self):
        a, b = self.users("Ada", "Bob")
        a2 = self.again(a)
        name = self.channel(a, b)
        for seq in range(1, 21):
            a.say(name, "x")
            one = a.send(EDIT, channel=name, seq=seq, content="y")
            two = a2.send(RECALL, channel=name, seq=seq)
            self.assertNotIn("error", a2.answer(RECALL, two))
            self.assertIn(a.answer(EDIT, one).get("error", {}).get("code"), (None, "not_found"))
            message = b.history(name)["messages"][-1]
            self.assertEqual((message["content"], message.get("recalled")), ("", True))
            # What receivers hear last is that it is gone.
            b.push(RECALLED)
            b.quiet(EDITED, wait=0.02) if not any(f[0] == EDITED for f in b.kept) else b.kept.clear()

    def test_edits_of_two_connections_have_an_order(self):
        a, b = self.users("Ada", "Bob")
        a2 = self.again(a)
        name = self.channel(a, b)
        a.say(name, "x")
        seqs = [(c, c.send(EDIT, channel=name, seq=1, content="%s%d" % (c is a, n))) for n in range(5) for c in (a, a2)]
        times = [c.answer(EDIT, seq)["editedAt"] for c, seq in seqs]
        self.assertEqual(len(set(times)), len(times))
        pushes = [b.push(EDITED)]
        while pushes[-1]["editedAt"] != max(times):
            pushes.append(b.push(EDITED))
        heard = [p["editedAt"] for p in pushes]
        if len(self.server.nodes) == 1:
            self.assertEqual(heard, sorted(times))
        self.assertEqual(heard, sorted(set(heard)))  # of those of two nodes an older one may be passed over
        self.assertEqual(b.history(name)["messages"][0]["content"], pushes[-1]["content"])
        self.assertEqual(b.history(name)["messages"][0]["editedAt"], pushes[-1]["editedAt"])

    def test_requests_keep_their_order(self):
        """Send, edit and read in one write: each is answered as if the one before were done."""
        a = self.user("Ada")
        name = self.channel(a)
        seqs = a.send_all([(SEND_CHANNEL, {"channel": name, "content": "x"}),
                           (EDIT, {"channel": name, "seq": 1, "content": "y"}), (5, {"channel": name})])
        self.assertEqual(a.answer(SEND_CHANNEL, seqs[0])["seq"], 1)
        self.assertIn("editedAt", a.answer(EDIT, seqs[1]))
        self.assertEqual(a.answer(5, seqs[2])["messages"][0]["content"], "y")
        self.assertEqual(a.push(102)["content"], "x")
        self.assertEqual(a.push(EDITED)["content"], "y")

    def test_console(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        sent = a.say(name, "x")
        got = a.request(EDIT, channel=name, seq=1, content="y")
        message = self.console("history channel %s" % name)[0]
        self.assertEqual((message["content"], message["editedAt"]), ("y", got["editedAt"]))
        why = self.console("why %s %s" % (b.id, sent["id"]))
        self.assertTrue(why["edited"] and why["recalled"] is None, why)
        a.request(RECALL, channel=name, seq=1)
        why = self.console("why %s %s" % (b.id, sent["id"]))
        self.assertTrue(why["edited"] and why["recalled"], why)


class Slices(Test):
    config = {"push": {"slice_ms": 600, "max": 5}, "rate": {"user": 0, "channel": 0}, "threads": 3}

    def test_in_an_open_slice_the_text_is_replaced(self):
        a = self.user("Ada")
        b, c = self.user("Bob", accept=["merge"]), self.user("Cy")
        name = self.channel(a)
        b.subscribe(name, push="merged")
        c.subscribe(name, push="merged")
        sent = a.say(name, "teh")
        a.say(name, "next")
        edited = a.request(EDIT, channel=name, seq=1, content="the longer one")
        self.assertEqual(a.push(EDITED)["content"], "the longer one")
        message = b.push(104)["messages"][0]
        self.assertEqual(message, {"id": sent["id"], "content": "the longer one", "seq": 1, "channel": name,
                                   "sender": {"id": a.id, "name": "Ada"}, "createdAt": sent["createdAt"], **edited})
        self.assertEqual([m["content"] for m in c.pushes(102, 2)], ["the longer one", "next"])
        b.quiet(EDITED), c.quiet(EDITED)
        # The slice is out: now they hear of it.
        a.request(EDIT, channel=name, seq=1, content="later")
        for client in (a, b, c):
            self.assertEqual(client.push(EDITED)["content"], "later")

    def test_what_a_slice_left_out(self):
        a, b = self.user("Ada"), self.user("Bob", accept=["merge"])
        name = self.channel(a)
        b.subscribe(name, push="merged")
        for n in range(8):
            a.say(name, "m%d" % n)
        a.request(EDIT, channel=name, seq=1, content="edited")
        got = b.push(104)
        self.assertEqual((got["omitted"], [m["seq"] for m in got["messages"]]), (3, [4, 5, 6, 7, 8]))
        b.quiet(EDITED)
        self.assertEqual(b.history(name, limit=8)["messages"][0]["content"], "edited")

    def test_who_wants_no_pushes(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        b.subscribe(name, push="none")
        a.say(name, "x")
        a.request(EDIT, channel=name, seq=1, content="y")
        b.quiet()


class Limits(Test):
    config = {"limits": {"edit": 1, "content": 100}, "rate": {"user": 3, "channel": 0}, "threads": 2}

    def test_too_late(self):
        a, b = self.users("Ada", "Bob")
        a.tell(b, "x")
        time.sleep(1.2)
        self.refused("forbidden", a, EDIT, peerId=b.id, seq=1, content="y")
        self.refused("too_large", a, EDIT, peerId=b.id, seq=1, content="y" * 101)

    def test_edits_count_like_sends(self):
        a, b = self.users("Ada", "Bob")
        a.tell(b, "x")
        got = [a.ask(EDIT, peerId=b.id, seq=1, content="y%d" % n) for n in range(6)]
        refused = [g["error"] for g in got if "error" in g]
        self.assertTrue(refused and all(e["code"] == "rate_limited" and e["retryAfter"] > 0 for e in refused), got)
        self.assertEqual(a.error(SEND_USER, receiverId=b.id, content="z").code, "rate_limited")


class Complete(Test):
    """Policy complete spares receivers by slices of new messages; an edit over the limit waits for none."""
    config = {"rate": {"user": 0, "channel": 3, "policy": "complete"}, "threads": 2}

    def test_edits_over_the_limit(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a.say(name, "x")
        codes = [a.ask(EDIT, channel=name, seq=1, content="y%d" % n).get("error", {}).get("code") for n in range(6)]
        self.assertEqual(codes[0], None)
        self.assertEqual(codes[-1], "rate_limited")
        self.assertEqual(set(codes), {None, "rate_limited"})


class EditSlow(Test):
    config = {"listen": {"console": "127.0.0.1:0"},
              "limits": {"output_queue": 65536, "page": 16384}, "threads": 2, "rate": {"user": 0, "channel": 0}}

    def test_slow_receivers_miss_it(self):
        """110 of a pair are skipped like those of a channel: whoever does not read is not closed for them."""
        a = self.user("Ada")
        b = self.connect(receive_buffer=4096)
        b.login("Slow")
        a.tell(b, "x")
        for n in range(1500):
            a.request(EDIT, peerId=b.id, seq=1, content="%04d" % n + "y" * 4000)
        got = []
        try:
            while True:
                got.append(b.receive(1))
        except Timeout:
            pass
        edits = [f[2]["content"][:4] for f in got if f[0] == EDITED]
        self.assertTrue(0 < len(edits) < 1500, len(edits))
        self.assertEqual(edits, sorted(edits))
        self.assertFalse(any(f[0] == 105 for f in got))
        a.request(EDIT, peerId=b.id, seq=1, content="now")
        self.assertEqual(b.push(EDITED)["content"], "now")

    def test_whoever_was_removed_gets_nothing_more(self):
        a, b = self.user("Ada"), self.connect(receive_buffer=4096)
        b.login("Slow")
        other = self.user("Reader")
        name = self.channel(a, b, other)
        reader = Reader(other)
        a.say(name, "x")
        for n in range(700):
            a.request(EDIT, channel=name, seq=1, content="%04d" % n + "y" * 4000)
        Console(self.server)("channel %s ban %s" % (name, b.id))
        a.request(EDIT, channel=name, seq=1, content="secret")
        self.eventually(lambda: any(f[2].get("content") == "secret" for f in list(reader.frames)))
        got = b.drain(1)
        self.assertNotIn("secret", str(got))


class Kept(Test):
    """What was edited is as durable as what was sent."""

    def test_over_kill_9(self):
        server = Server({"threads": 2})
        try:
            a, b = self.user("Ada", server=server), self.user("Bob", server=server)
            name = self.channel(a, b)
            a.say(name, "x"), a.tell(b, "x")
            at = a.request(EDIT, channel=name, seq=1, content="y")["editedAt"]
            a.request(EDIT, peerId=b.id, seq=1, content="y")
            server.kill()
            server.start()
            b2 = self.again(b, server=server)
            message = b2.history(name)["messages"][0]
            self.assertEqual((message["content"], message["editedAt"]), ("y", at))
            self.assertEqual(b2.request(INBOX)["messages"][0]["content"], "y")
        finally:
            server.close()


class Hooks(Scripted):
    abstract = False
    config = {"threads": 1}
    files = {"edits": """
local said = {}
magpie.on("message", function(e)
    if e.edit then said[#said + 1] = "message " .. e.content end
    if e.edit and e.content == "bad word" then return magpie.reject("forbidden", "no bad words") end
    if e.content == "shout" then e.content = "SHOUT" end
    if e.edit and e.content == "ignored" then return magpie.drop() end
end)
magpie.on("conversation", function(e)
    if e.edit and e.content == "closed" then return magpie.reject("forbidden", "not here") end
end)
magpie.on("edit", function(e)
    said[#said + 1] = "edit " .. e.user.id .. " " .. (e.channel or e.peer) .. " " .. e.seq .. " " .. e.content
    if e.content == "never" then return magpie.reject("forbidden", "never") end
end)
magpie.on("recall", function(e)
    said[#said + 1] = "recall " .. e.user.name .. " " .. (e.channel or e.peer) .. " " .. e.seq
    if e.seq == 2 then return magpie.reject("forbidden", "kept") end
end)
magpie.on("edited", function(e) magpie.shared.set("edited", e.user.id .. " " .. e.seq .. " " .. e.content) end)
magpie.on("recalled", function(e) magpie.shared.set("recalled", e.user.id .. " " .. e.seq .. " " .. e.id) end)
magpie.action(201, function(e) local s = said; said = {}
    return {said = s, edited = magpie.shared.get("edited"), recalled = magpie.shared.get("recalled")} end)
"""}

    def test_edit_and_recall(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        a.say(name, "x"), a.say(name, "y")
        self.assertIn("no bad words", self.refused("forbidden", a, EDIT, channel=name, seq=1,
                                                   content="bad word").message)
        self.refused("forbidden", a, EDIT, channel=name, seq=1, content="closed")
        self.refused("forbidden", a, EDIT, channel=name, seq=1, content="never")
        self.assertIn("editedAt", a.request(EDIT, channel=name, seq=1, content="ignored"))
        self.assertEqual(b.history(name)["messages"][0]["content"], "x")
        b.quiet(EDITED)
        a.request(EDIT, channel=name, seq=1, content="shout")
        self.assertEqual(b.push(EDITED)["content"], "SHOUT")
        self.refused("forbidden", a, RECALL, channel=name, seq=2)
        a.request(RECALL, channel=name, seq=1)
        got = a.request(201)
        self.assertEqual(got["said"], ["message bad word", "message closed", "edit %s %s 1 closed" % (a.id, name),
                                       "message never", "edit %s %s 1 never" % (a.id, name), "message ignored",
                                       "message shout", "edit %s %s 1 SHOUT" % (a.id, name),
                                       "recall Ada %s 2" % name, "recall Ada %s 1" % name])
        self.assertEqual(got["edited"], "%s 1 SHOUT" % a.id)
        self.assertTrue(got["recalled"].startswith("%s 1 " % a.id))
        a.tell(b, "p")
        a.request(EDIT, peerId=b.id, seq=1, content="q")
        self.assertIn("edit %s %s 1 q" % (a.id, b.id), a.request(201)["said"])


class Plugins(PluginTest):
    """Plugins hear of edits and recalls, may refuse them, and answer later."""

    load = {"later": {}, "hooks": {}}
    config = {"threads": 2, "rate": {"user": 0, "channel": 0}}

    @one_process("a plugin counts what its node sees")
    def test_hooks(self):
        a, b = self.users("Ada", "Bob")
        before = self.console("hooks seen")
        a.tell(b, "x")
        self.refused("forbidden", a, EDIT, peerId=b.id, seq=1, content="never edit")
        a.request(EDIT, peerId=b.id, seq=1, content="improve")
        self.assertEqual(b.push(EDITED)["content"], "improved")
        self.refused("rate_limited", a, EDIT, peerId=b.id, seq=1, content="reject")
        a.request(RECALL, peerId=b.id, seq=1)
        a.subscribe("kept")
        a.say("kept", "x")
        self.refused("forbidden", a, RECALL, channel="kept", seq=1)
        after = self.console("hooks seen")
        self.assertEqual({k: after[k] - before[k] for k in ("edit", "edited", "recall", "recalled", "message")},
                         {"edit": 2, "edited": 1, "recall": 2, "recalled": 1, "message": 5})

    def test_later(self):
        a, b = self.users("Ada", "Bob")
        a.tell(b, "x")
        b.push(101)
        a.request(EDIT, peerId=b.id, seq=1, content="later pass")
        self.assertEqual(b.push(EDITED)["content"], "later pass")
        a.request(EDIT, peerId=b.id, seq=1, content="later replace")
        self.assertEqual(b.push(EDITED)["content"], "replaced later")
        a.request(EDIT, peerId=b.id, seq=1, content="later drop")
        self.refused("rate_limited", a, EDIT, peerId=b.id, seq=1, content="later reject")
        self.assertEqual(b.history(peer=a)["messages"][0]["content"], "replaced later")
        # What comes behind it is done behind it.
        first, second = a.send(EDIT, peerId=b.id, seq=1, content="later pass"), a.send(RECALL, peerId=b.id, seq=1)
        self.assertIn("editedAt", a.answer(EDIT, first))
        self.assertEqual(a.answer(RECALL, second), {})
        self.assertEqual(b.push(EDITED)["content"], "later pass")
        b.push(RECALLED)
