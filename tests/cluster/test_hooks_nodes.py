"""Hooks of scripts run once, on the node that has the request, wherever those are who hear of it."""

from client import CHANNEL_MESSAGE, USER_MESSAGE
from console import Console
from three_nodes import ThreeNodes

EVENTS = ("create", "subscribe", "message", "conversation", "delivered", "offline", "unsubscribe")
SCRIPT = """
local magpie = require "magpie"
for _, event in ipairs{%s} do
    magpie.on(event, function(e) magpie.store.incr(event) end)
end
magpie.command("seen", "how often", function()
    local out = {}
    for _, event in ipairs{%s} do out[event] = magpie.store.get(event) or 0 end
    return out
end)
""" % ((", ".join('"%s"' % e for e in EVENTS),) * 2)


class Hooks(ThreeNodes):
    script = SCRIPT

    def console(self, node, command):
        c = Console(self.nodes[node])
        try:
            return c.json(command)
        finally:
            c.close()

    def seen(self, node):
        return self.console(node, "seen")

    def test_who_has_just_left_another_node_is_offline(self):
        """Although others were told a moment ago that it is connected."""
        a = self.user("Ada", server=self.nodes[0])
        for i in range(3):
            b = self.user("Bob", server=self.nodes[1 + i % 2])
            room = self.channel(a, b)
            before = self.seen(0)["offline"]
            a.say(room, "are you there?")
            b.push(CHANNEL_MESSAGE)
            b.close()
            self.eventually(lambda: not self.console(0, "show user " + b.id)["online"], every=0.01)
            for _ in range(3):
                a.say(room, "hello")
            # Of the first one too, where Bob has gone before anybody asked.
            self.eventually(lambda: self.seen(0)["offline"] >= before + 3)

    def test_once(self):
        a, b, c = (self.user(name, server=self.nodes[n]) for n, name in enumerate(("Ada", "Bob", "Cid")))
        room = self.channel(a, b, c)
        c.close()
        self.eventually(lambda: not self.console(0, "show user " + c.id)["online"])
        for who in (a, b) * 3:
            who.say(room, "hello")
        for who in (a, b):
            who.pushes(CHANNEL_MESSAGE, 6)
        a.tell(b, "private")
        b.push(USER_MESSAGE)
        a.tell(c, "for later")
        expected = {"create": 1, "subscribe": 3, "message": 8, "conversation": 8, "delivered": 8}
        for n in range(3):
            self.eventually(lambda: {k: self.seen(n)[k] for k in expected} == expected)
        # Of the channel's messages Cid hears later, who is connected to no node; and of the one for it alone.
        self.eventually(lambda: self.seen(2)["offline"] == 7)
        self.assertEqual(self.seen(0), self.seen(1))
