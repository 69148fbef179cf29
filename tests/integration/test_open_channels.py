"""channels.send = "any": whoever is logged in may send to a channel, and all other rules hold for strangers too."""

from base import Test, smoke
from client import CHANNEL_MESSAGE, HISTORY, MEMBERS, RECALL, SEND_CHANNEL, UNSUBSCRIBE
from console import UNIX, ConsoleTest, Console


class OpenChannels(ConsoleTest):
    abstract = False
    config = dict(UNIX, channels={"send": "any"})

    @smoke
    def test_strangers_send(self):
        for wire in ("tcp", "binary", "text"):
            a, b, eve = self.users("Ada", "Bob", "Eve", wire=wire)
            name = self.channel(a, b)
            sent = eve.say(name, "from outside", clientId="1")
            self.assertEqual(sent["seq"], 1)
            for c in (a, b):
                push = c.push(CHANNEL_MESSAGE)
                self.assertEqual((push["content"], push["sender"]["name"]), ("from outside", "Eve"))
            self.assertEqual(eve.say(name, "from outside", clientId="1"), sent, "a repeat is answered as before")
            eve.quiet(CHANNEL_MESSAGE)
            self.assertEqual([m["content"] for m in a.history(name)["messages"]], ["from outside"])

    def test_reading_needs_a_subscription(self):
        a, eve = self.users("Ada", "Eve")
        name = self.channel(a)
        eve.say(name, "x")
        for action, body in ((HISTORY, {"channel": name}), (MEMBERS, {"name": name})):
            self.refused("forbidden", eve, action, **body)
        self.assertEqual(a.request(MEMBERS, name=name)["members"][0]["name"], "Ada")
        self.assertEqual(len(a.request(MEMBERS, name=name)["members"]), 1, "sending makes nobody a member")
        a.say(name, "y")
        self.refused("forbidden", eve, RECALL, channel=name, seq=2)
        self.assertEqual(eve.request(RECALL, channel=name, seq=1), {}, "what one may send one may take back")

    def test_after_leaving(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        b.request(UNSUBSCRIBE, name=name)
        b.say(name, "still here")
        self.assertEqual(a.push(CHANNEL_MESSAGE)["content"], "still here")

    def test_what_still_is_refused(self):
        a, eve = self.users("Ada", "Eve")
        name = self.channel(a)
        self.refused("not_found", eve, SEND_CHANNEL, channel="no such " + name, content="x")
        self.refused("unauthorized", self.connect(), SEND_CHANNEL, channel=name, content="x")
        self.ask("mute user %s %s" % (eve.id, name))
        self.assertIn("muted", self.refused("forbidden", eve, SEND_CHANNEL, channel=name, content="x").message)
        self.ask("unmute user %s %s" % (eve.id, name))
        self.ask("channel %s ban %s" % (name, eve.id))
        self.assertIn("banned", self.refused("forbidden", eve, SEND_CHANNEL, channel=name, content="x").message)
        self.ask("channel %s unban %s" % (name, eve.id))
        self.assertEqual(eve.say(name, "at last")["seq"], 1, "what was refused took no seq")

    def test_a_ban_ends_sending_of_members(self):
        a, b = self.users("Ada", "Bob")
        name = self.channel(a, b)
        b.say(name, "x")
        self.ask("channel %s ban %s" % (name, b.id))
        self.refused("forbidden", b, SEND_CHANNEL, channel=name, content="y")

    def test_a_closed_channel(self):
        a, eve = self.users("Ada", "Eve")
        name = self.channel(a)
        eve.say(name, "x")
        self.ask("channel %s close" % name)
        self.refused("forbidden", eve, SEND_CHANNEL, channel=name, content="y")


class Reloaded(Test):
    """The rule may change while the server runs."""

    config = UNIX

    def test_reload(self):
        a, eve = self.users("Ada", "Eve")
        name = self.channel(a)
        self.refused("forbidden", eve, SEND_CHANNEL, channel=name, content="x")
        self.server.rewrite({"channels": {"send": "any"}})
        self.server.reload()
        self.eventually(lambda: "error" not in eve.ask(SEND_CHANNEL, channel=name, content="x"))
        console = Console(self.server)
        self.addCleanup(console.close)
        self.assertIn("any", console.ask("show config channels.send"))
        self.server.rewrite({"channels": {"send": "members"}})
        self.server.reload()
        self.eventually(lambda: "error" in eve.ask(SEND_CHANNEL, channel=name, content="x"))
