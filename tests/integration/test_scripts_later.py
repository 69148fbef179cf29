"""What scripts ask and hear later, in the real server: members and history, who missed a message; reloads
meanwhile; and the examples that a unit test cannot show."""

import os
import time

from base import Test, smoke, variants
from client import BLOCK, PING
from plugin_base import Console
from server import CLUSTER, ROOT
from test_scripts import Scripted

READING = """
local function tell(e, what) return function(err, r) magpie.push(e.user.id, 200, {what = what, err = err, result = r}) end end
magpie.action(200, function(e) magpie.members(e.body.channel, tell(e, "members"), e.body.cursor) end)
magpie.action(201, function(e) magpie.history(e.body.of, e.body.options or {}, tell(e, "history")) end)
magpie.action(202, function(e)
    local user, n = e.user.id, 0
    local function next(err, r)
        n = n + 1
        if n == 50 then return magpie.push(user, 201, {n = n}) end
        magpie.members(e.body.channel, next)
    end
    next()
end)
magpie.action(203, function(e) magpie.members(e.body.channel, function() while true do end end) end)
"""


@variants(("tcp", 1), ("text", 3))
class Reading(Scripted):
    abstract = False
    files = {"reading": READING}

    def ask(self, client, action, **body):
        client.request(action, **body)
        return client.push(200)

    @smoke
    def test_members(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        got = self.ask(a, 200, channel=name)["result"]
        self.assertEqual(sorted(m["name"] for m in got["members"]), ["Ada", "Bob"])
        self.assertEqual(sorted(m["id"] for m in got["members"]), sorted([a.id, b.id]))
        self.assertNotIn("cursor", got)
        first, second = sorted([a.id, b.id])
        self.assertEqual([m["id"] for m in self.ask(a, 200, channel=name, cursor=first)["result"]["members"]], [second])
        self.assertEqual(self.ask(a, 200, channel="nowhere"), {"what": "members", "err": "not_found"})

    def test_many_members(self):
        a = self.user()
        name = self.channel(a, *[self.user("U%d" % i) for i in range(205)])
        page = self.ask(a, 200, channel=name)["result"]
        self.assertEqual(len(page["members"]), 200)
        rest = self.ask(a, 200, channel=name, cursor=page["cursor"])["result"]
        self.assertEqual(len(rest["members"]), 6)
        self.assertEqual(len({m["id"] for m in page["members"] + rest["members"]}), 206)

    def test_history(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a)
        sent = [a.say(name, "m%d" % i) for i in range(5)]
        got = self.ask(a, 201, of=name)["result"]
        self.assertEqual([(m["seq"], m["id"], m["content"]) for m in got["messages"]],
                         [(s["seq"], s["id"], "m%d" % i) for i, s in enumerate(sent)])
        self.assertEqual(got["messages"][0]["sender"], {"id": a.id, "name": "Ada"})
        self.assertEqual((got["first"], got["last"], got["more"]), (1, 5, False))
        got = self.ask(a, 201, of=name, options={"before": 4, "limit": 2})["result"]
        self.assertEqual([m["seq"] for m in got["messages"]], [2, 3])
        self.assertTrue(got["more"])
        got = self.ask(a, 201, of=name, options={"after": 3})["result"]
        self.assertEqual([m["seq"] for m in got["messages"]], [4, 5])
        a.tell(b, "psst")
        for pair in ("%s\t%s" % (a.id, b.id), "%s\t%s" % (b.id, a.id)):
            got = self.ask(a, 201, of=pair)["result"]
            self.assertEqual([m["content"] for m in got["messages"]], ["psst"])
        self.assertEqual(self.ask(a, 201, of="never")["result"]["messages"], [])

    def test_one_after_another(self):
        a = self.user()
        a.request(202, channel=self.channel(a))
        self.assertEqual(a.push(201), {"n": 50})

    def test_reloads_meanwhile(self):
        a = self.user()
        name = self.channel(a)
        console = Console(self.server)
        for _ in range(5):
            for _ in range(30):
                a.send(202, channel=name)
            console("script reload")
        self.assertEqual(len(self.ask(a, 200, channel=name)["result"]["members"]), 1)

    def test_a_function_that_takes_too_long(self):
        a = self.user()
        a.request(203, channel=self.channel(a))
        self.server.wait_log("script.error")
        self.eventually(lambda: any("in=members" in line and "CPU budget" in line
                                    for line in self.server.log().split("\n")))
        a.request(PING)


MISSED = """
magpie.on("offline", function(e)
    magpie.push(e.user.id, 200, {receivers = e.receivers, channel = e.channel, peer = e.peer, message = e.message})
end)
"""


@variants(("tcp", 1), ("text", 3))
class Missed(Scripted):
    abstract = False
    files = {"missed": MISSED}

    @smoke
    def test_who_missed_it(self):
        a, b, c = self.users("Ada", "Bob", "Cat")
        name = self.channel(a, b, c)
        a.say(name, "all here")
        a.tell(b, "here too")
        a.quiet(200)
        b.close()
        self.eventually(lambda: not self.is_online(a, b))
        if CLUSTER:
            time.sleep(1.2)  # for a second who was connected to another node counts as connected
        sent = a.say(name, "hello?")
        got = a.push(200)
        self.assertEqual((got["receivers"], got["channel"]), ([b.id], name))
        self.assertEqual(got["message"], {"id": sent["id"], "seq": sent["seq"], "createdAt": sent["createdAt"],
                                          "content": "hello?", "sender": {"id": a.id, "name": "Ada"}})
        a.tell(b, "psst")
        got = a.push(200)
        self.assertEqual((got["receivers"], got["peer"], got["message"]["content"]), ([b.id], b.id, "psst"))
        self.assertNotIn("channel", got)
        a.quiet(200)

    def is_online(self, asker, user):
        return user.id in asker.request(12, ids=[user.id])["online"]


class Examples(Test):
    abstract = False
    config = {"scripts": {"path": os.path.join(ROOT, "scripts"),
                          "load": ["examples/typing", "examples/read_receipts", "examples/invite_only"]}}

    def test_typing_and_receipts_obey_blocks(self):
        a, b = self.users("Ada", "Bob")
        for action, body in ((200, {"receiverId": b.id}), (201, {"peerId": b.id, "seq": 1})):
            a.request(action, **body)
            b.push(action)
        b.request(BLOCK, id=a.id, blocked=True)
        c = self.user("Cat")
        c.request(200, receiverId=b.id)
        b.push(200)
        a.request(200, receiverId=b.id)
        a.request(201, peerId=b.id, seq=2)
        b.quiet(200, 201)
        b.request(200, receiverId=a.id)  # who blocks is heard
        a.push(200)

    def test_clubs_keep_their_owner(self):
        a, b = self.users("Ada", "Bob")
        a.subscribe("club/chess")
        self.refused("forbidden", b, 3, name="club/chess")
        self.refused("forbidden", b, 210, channel="club/chess", userId=b.id)
        self.server.restart()
        a, b = self.again(a), self.again(b)
        self.refused("forbidden", b, 210, channel="club/chess", userId=b.id)
        a.request(210, channel="club/chess", userId=b.id)
        self.assertEqual(b.push(210)["channel"], "club/chess")
        self.server.restart()
        a, b = self.again(a), self.again(b)
        b.subscribe("club/chess")
        a.request(211, channel="club/chess", userId=b.id)
        b.close()
        # While one connection of it is there, another one's login restores nothing.
        self.eventually(lambda: a.request(12, ids=[b.id])["online"] == [])
        b = self.again(b)
        self.refused("forbidden", b, 4, channel="club/chess", content="let me in")
