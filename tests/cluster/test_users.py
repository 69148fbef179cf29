"""What one node decides of a user while another one is letting it in: the decision stands on all of them."""

import threading

from client import MEMBERS, MEMBERSHIP, PING, SEND_CHANNEL, SUBSCRIBE, Error
from test_as_one import Nodes


class Decisions(Nodes):
    abstract = False

    def members(self, who, room):
        return {m["id"] for m in who.request(MEMBERS, name=room)["members"]}

    def test_a_ban_while_joining(self):
        """Whoever joins on one node while another bans it is no member, and hears nothing more."""
        a, b, _ = self.three()
        console = self.console(2)
        for _ in range(10):
            room = self.channel(b)
            stop = threading.Event()

            def join():
                while not stop.is_set():
                    try:
                        a.subscribe(room)
                    except Error as e:
                        if e.code != "forbidden":
                            raise
                        stop.set()
            t = threading.Thread(target=join)
            t.start()
            console.ask("channel %s ban %s" % (room, a.id))
            t.join(20)
            self.assertFalse(t.is_alive())
            self.assertEqual(self.members(b, room), {b.id})
            self.refused("forbidden", a, SUBSCRIBE, name=room)
            self.refused("forbidden", a, SEND_CHANNEL, channel=room, content="x")

    def test_a_ban_while_logging_in(self):
        """A user who is banned on one node while it logs in on another is connected to none afterwards."""
        for i in range(6):
            a = self.on(0, "Ada%d" % i)
            again, refused = [], []

            def login():
                for n in (1, 2, 1, 2):
                    c = self.connect(server=self.nodes[n])
                    try:
                        c.login(token=a.token)
                        again.append(c)
                    except (Error, ConnectionError) as e:
                        refused.append(e)
            t = threading.Thread(target=login)
            t.start()
            self.console(2).ask("ban user %s" % a.id)
            t.join(20)
            self.assertFalse(t.is_alive())
            for c in [a] + again:
                self.assertEqual(c.closing()["reason"], "kicked")
            for n in range(3):
                self.assertIn(self.connect(server=self.nodes[n]).error(1, token=a.token).code,
                              ("forbidden", "unauthorized"))

    def test_kicked_out_of_a_channel(self):
        """A kick on one node: nothing of the channel is heard on others, once it is answered."""
        a, b, _ = self.three()
        a2 = self.also(1, a)
        room = self.channel(a, b)
        self.eventually(lambda: a2.push(MEMBERSHIP)["change"] == "joined")
        self.console(2).ask("channel %s kick %s" % (room, a.id))
        for who in (a, a2):
            self.assertEqual(who.push(MEMBERSHIP)["change"], "kicked")
        b.say(room, "x")
        for who in (a, a2):
            who.quiet()
            who.request(PING)
