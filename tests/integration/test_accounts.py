"""Users and channels that operators make, list and delete; messages that they recall; what of it a kill leaves."""

import calendar
import concurrent.futures
import json
import time

from base import Test, numbers
from client import USER_MESSAGE
from console import Console, ConsoleTest
from server import CLUSTER, PATIENCE, Server
from test_scripts import Scripted

HISTORY, CONVERSATIONS, INBOX, RECALLED, RECALL, EDIT = 5, 10, 7, 109, 14, 17


class Accounts(ConsoleTest):
    abstract = False

    def refused(self, client, code, action, **body):
        e = client.error(action, **body)
        self.assertEqual(e.code, code, e)
        return e

    @staticmethod
    def name(stem):
        return "%s-%d" % (stem, next(numbers))

    def test_a_user_before_its_first_login(self):
        bob = self.user("Bob")
        self.ask("user add shop.1 Anna from the shop")
        self.denied("forbidden", "user add shop.1 Other")
        for wrong in ("user add a/b Name", "user add system Name", "user add shop.2 SYSTEM", 'user add shop.2 "a\\nb"'):
            self.denied("bad_request", wrong)
        bob.tell("shop.1", "welcome")
        room = self.name("room")
        bob.subscribe(room)
        token = self.json("user token shop.1")["token"]
        self.denied("not_found", "user token nobody")
        anna = self.connect()
        answer = anna.request(1, token=token)
        self.assertEqual((answer["id"], answer["name"], answer["inbox"]), ("shop.1", "Anna from the shop", 1))
        self.assertEqual(anna.request(INBOX)["messages"][0]["content"], "welcome")
        self.assertEqual([u for u in self.json("list users all shop") if u["user"] == "shop.1"],
                         [{"user": "shop.1", "name": "Anna from the shop", "guest": False}])
        log = self.server.whole_log()
        self.assertNotIn(token, log)

    def test_everything_there_is_page_by_page(self):
        for i in range(1203):
            self.console.send("user add list.%04d N%d\n" % (i, i))
        for i in range(1203):
            self.assertEqual(self.console.reply()[0], "OK")
        ids = [u["user"] for u in self.json("list users all list.")]
        if CLUSTER:  # whose lists have no order
            ids.sort()
        self.assertEqual(ids, ["list.%04d" % i for i in range(1203)])
        few = [u["user"] for u in self.json("list users all list.01 limit 3")]
        self.assertEqual(len(few), 3)
        self.assertTrue(all(u.startswith("list.01") for u in few))
        if not CLUSTER:
            self.assertEqual(few, ["list.0100", "list.0101", "list.0102"])
        self.assertEqual(len(self.json("list users all limit 7")), 7)
        self.assertEqual(self.json("list users all nothing.of.the.kind"), [])
        self.denied("bad_request", "list users all a b c")
        self.denied("bad_request", "list users x limit 3 4")
        ada = self.user()
        prefix = self.name("chan")
        for i in range(5):
            ada.subscribe("%s/%d" % (prefix, i))
        ada.say("%s/3" % prefix, "x")
        listed = [(c["channel"], c["members"], c["last"], c["tier"]) for c in
                  self.json('list channels all "%s/"' % prefix)]
        self.assertEqual(sorted(listed) if CLUSTER else listed,
                         [("%s/%d" % (prefix, i), 1, int(i == 3), "small") for i in range(5)])
        self.assertIn("user  ", self.ask("list users all list. limit 1"))

    def test_a_user_is_deleted(self):
        ada, bob = self.users("Ada", "Bob")
        room = self.name("room")
        for c in (ada, bob):
            c.subscribe(room)
        ada.say(room, "in public")
        ada.tell(bob.id, "in private")
        bob.tell(ada.id, "answer")
        self.assertEqual(self.json("user delete %s" % ada.id), {"connections": 1, "channels": 1, "recalled": 0})
        self.assertEqual(ada.closing()["reason"], "kicked")
        self.denied("not_found", "user delete %s" % ada.id)
        self.denied("not_found", "show user %s" % ada.id)
        again = self.connect()
        self.refused(again, "unauthorized", 1, token=ada.token)
        self.refused(bob, "not_found", 2, receiverId=ada.id, content="late")
        deleted = {"id": ada.id, "name": ""}
        self.assertEqual(bob.history(room)["messages"][0]["sender"], deleted)
        self.assertEqual([m["sender"]["name"] for m in bob.history(peer=ada.id)["messages"]], ["", "Bob"])
        self.assertEqual(bob.request(INBOX)["messages"][0]["sender"], deleted)
        lasts = [c["last"]["sender"]["name"] for c in bob.request(CONVERSATIONS)["conversations"]]
        self.assertEqual(sorted(lasts), ["", "Bob"])
        self.assertEqual(bob.request(13, name=room)["members"], [{"id": bob.id, "name": "Bob", "online": True}])
        self.assertEqual([u for u in self.json("list users all") if u["user"] == ada.id], [])
        # The id again is somebody else, and the old token opens nothing.
        self.ask("user add %s Another" % ada.id)
        self.refused(again, "unauthorized", 1, token=ada.token)
        again.request(1, token=self.json("user token %s" % ada.id)["token"])
        self.assertEqual(again.request(CONVERSATIONS)["conversations"], [])
        bob.tell(ada.id, "hello")
        self.assertEqual(again.push(USER_MESSAGE)["content"], "hello")
        self.assertEqual(bob.history(room)["messages"][0]["sender"], deleted)

    def another(self, old):
        """Who has the id of a deleted user now."""
        self.ask("user delete %s" % old.id)
        self.ask("user add %s Another" % old.id)
        new = self.connect()
        new.login(token=self.json("user token %s" % old.id)["token"])
        return new

    def test_whoever_has_the_id_next_changes_nothing_of_the_former(self):
        ada, bob = self.users("Ada", "Bob")
        room = self.name("room")
        for c in (ada, bob):
            c.subscribe(room)
        ada.say(room, "hers")
        ada.tell(bob.id, "hers")
        new = self.another(ada)
        new.subscribe(room)
        for where in ({"channel": room}, {"peerId": bob.id}):
            self.refused(new, "forbidden", EDIT, seq=1, content="forged", **where)
            self.refused(new, "forbidden", RECALL, seq=1, **where)
        new.say(room, "mine")
        new.tell(bob.id, "mine")
        for where in ({"channel": room}, {"peerId": bob.id}):
            new.request(EDIT, seq=2, content="mine, too", **where)
            new.request(RECALL, seq=2, **where)
        for messages in (bob.history(room)["messages"], bob.history(peer=ada.id)["messages"]):
            self.assertEqual([m["content"] for m in messages], ["hers", ""])

    def test_what_the_former_sent_is_no_repeat(self):
        ada, bob = self.users("Ada", "Bob")
        room = self.name("room")
        for c in (ada, bob):
            c.subscribe(room)
        ada.say(room, "hers", clientId="1")
        ada.tell(bob.id, "hers", clientId="1")
        new = self.another(ada)
        new.subscribe(room)
        for _ in range(2):  # the second one is a repeat
            self.assertEqual(new.say(room, "mine", clientId="1")["seq"], 2)
            self.assertEqual(new.tell(bob.id, "mine", clientId="1")["seq"], 2)
        for messages in (bob.history(room)["messages"], bob.history(peer=ada.id)["messages"]):
            self.assertEqual([m["content"] for m in messages], ["hers", "mine"])

    def test_the_former_ones_letters_are_not_read(self):
        ada, bob = self.users("Ada", "Bob")
        for i in range(5):
            ada.tell(bob.id, "to Bob %d" % i)
            bob.tell(ada.id, "to Ada %d" % i)
        new = self.another(ada)
        nothing = {"messages": [], "first": 11, "last": 10, "more": False}
        for bounds in ({}, {"after": 2}, {"before": 8}, {"after": 2, "before": 8}, {"before": 100, "limit": 3}):
            self.assertEqual(new.history(peer=bob.id, **bounds), nothing)
        for i in range(5):
            new.tell(bob.id, "new %d" % i)

        def page(**bounds):
            got = new.history(peer=bob.id, **bounds)
            self.assertEqual((got["first"], got["last"]), (11, 15))
            return [m["seq"] for m in got["messages"]], got["more"]

        self.assertEqual(page(), ([11, 12, 13, 14, 15], False))
        self.assertEqual(page(limit=2), ([14, 15], True))
        self.assertEqual(page(after=3, limit=2), ([11, 12], True))
        self.assertEqual(page(before=13), ([11, 12], False))
        self.assertEqual(page(before=13, limit=1), ([12], True))
        self.assertEqual(page(after=3, before=13), ([11, 12], False))
        self.assertEqual(page(before=11), ([], False))
        self.assertEqual(len(bob.history(peer=ada.id)["messages"]), 15)

    def test_who_is_written_to_has_the_conversation(self):
        ada, bob = self.users("Ada", "Bob")
        ada.tell(bob.id, "hers")
        bob.tell(ada.id, "to her")
        new = self.another(ada)
        for n in (1, 2):
            bob.tell(new.id, "new %d" % n)
            got = new.request(CONVERSATIONS)["conversations"]
            self.assertEqual([(c["peerId"], c["seq"], c["unread"], c["last"]["content"]) for c in got],
                             [(bob.id, 2 + n, n, "new %d" % n)])
        self.assertEqual(new.request(12, ids=[bob.id])["online"], [bob.id])

    def test_and_its_messages_with_it(self):
        ada, bob = self.users("Ada", "Bob")
        room, left = self.name("room"), self.name("left")
        for channel in (room, left):
            for c in (ada, bob):
                c.subscribe(channel)
            ada.say(channel, "secret")
            bob.say(channel, "kept")
        ada.request(6, name=left)
        ada.tell(bob.id, "secret")
        self.denied("bad_request", "user delete %s messages burn" % ada.id)
        self.denied("bad_request", "user delete %s recall" % ada.id)
        self.assertEqual(self.json("user delete %s messages recall" % ada.id)["recalled"], 3)
        self.assertEqual(len(bob.pushes(RECALLED, 3)), 3)
        for channel in (room, left):
            self.assertEqual([(m["content"], m.get("recalled", False)) for m in bob.history(channel)["messages"]],
                             [("", True), ("kept", False)])
        self.assertTrue(bob.history(peer=ada.id)["messages"][0]["recalled"])

    def test_a_banned_user_is_deleted(self):
        ada = self.user("Ada")
        self.ask("ban user %s" % ada.id)
        self.ask("mute user %s" % ada.id)
        self.ask("user delete %s" % ada.id)
        self.assertEqual([b for b in self.json("list bans") if b.get("user") == ada.id], [])

    def test_a_channel_is_deleted(self):
        ada, bob, eve = self.users("Ada", "Bob", "Eve")
        room = self.name("room")
        for c in (ada, bob):
            c.subscribe(room)
        for i in range(3):
            ada.say(room, "%d" % i)
        self.ask("channel %s ban %s" % (room, eve.id))
        self.ask("channel %s limit 5" % room)
        self.assertEqual(self.json("channel %s delete" % room), {"members": 2})
        self.denied("not_found", "channel %s delete" % room)
        self.denied("not_found", "channel nowhere delete")
        self.refused(ada, "not_found", 4, channel=room, content="x")
        self.refused(ada, "not_found", 5, channel=room)
        self.assertEqual(ada.request(CONVERSATIONS)["conversations"], [])
        made = eve.subscribe(room)
        self.assertEqual((made["seq"], made["first"], made["members"]), (3, 4, 1))
        self.assertEqual(eve.history(room)["messages"], [])
        self.assertEqual(eve.say(room, "new")["seq"], 4)
        self.assertEqual(self.json("channel %s limit" % room)["limit"], "auto")

    def test_any_message_is_recalled(self):
        ada, bob = self.users("Ada", "Bob")
        room = self.name("room")
        for c in (ada, bob):
            c.subscribe(room)
        m = ada.say(room, "rude")
        p = ada.tell(bob.id, "rude")
        self.assertEqual(self.json("recall channel %s 1" % room), {"again": False})
        self.assertEqual(self.json("recall channel %s 1" % room), {"again": True})
        for c in (ada, bob):
            self.assertEqual(c.push(RECALLED), {"channel": room, "seq": 1, "id": m["id"]})
        self.ask("recall user %s %s 1" % (bob.id, ada.id))
        self.assertEqual(bob.push(RECALLED), {"peerId": ada.id, "seq": 1, "id": p["id"]})
        self.assertEqual(ada.push(RECALLED), {"peerId": bob.id, "seq": 1, "id": p["id"]})
        for nothing in ("recall channel %s 2" % room, "recall channel nowhere 1", "recall user a b 1"):
            self.denied("not_found", nothing)
        for wrong in ("recall channel %s x" % room, "recall channel %s 0" % room, "recall user a b"):
            self.denied("bad_request", wrong)

    def test_a_mute_says_until_when(self):
        ada = self.user("Ada")
        room = self.name("room")
        ada.subscribe(room)
        self.ask("mute user %s %s 3600" % (ada.id, room))
        e = self.refused(ada, "forbidden", 4, channel=room, content="x")
        until = calendar.timegm(time.strptime(e.message, "you are muted until %Y-%m-%dT%H:%M:%SZ"))
        self.assertTrue(3500000 < e.retry_after <= 3600000, e)
        self.assertLess(abs(until - time.time() - 3600), 60)
        self.ask("mute user %s" % ada.id)
        e = self.refused(ada, "forbidden", 4, channel=room, content="x")
        self.assertEqual((e.message, e.retry_after), ("you are muted", None))


MODERATOR = """
magpie.action(300, function(e)
    local b = e.body
    local ok, why = pcall(magpie[b.what], b.a, b.b, b.c)
    if not ok then return magpie.reject("bad_request", why) end
end)
magpie.action(301, function(e)
    magpie.user_token(e.body.id, function(err, token) magpie.push(e.user.id, 400, {err = err, token = token}) end)
end)
"""


class ByScript(Scripted):
    files = {"moderator": MODERATOR}

    def order(self, client, what, *given):
        client.request(300, what=what, **dict(zip("abc", given)))

    def test_what_an_operator_may_do(self):
        ada, bob = self.users("Ada", "Bob")
        room = Accounts.name("by-script")
        self.order(ada, "join", bob.id, room)
        self.assertEqual(bob.push(112)["change"], "joined")
        bob.say(room, "rude")
        self.order(ada, "recall", room, 1)
        self.assertEqual(bob.push(RECALLED)["seq"], 1)
        private = bob.tell(ada.id, "rude")
        self.order(ada, "recall", "%s\t%s" % (ada.id, bob.id), 1)
        self.assertEqual(bob.push(RECALLED)["id"], private["id"])
        self.order(ada, "mute", bob.id, room, 600)
        self.eventually(lambda: "muted until" in str(bob.ask(4, channel=room, content="x")))
        self.order(ada, "unmute", bob.id, room)
        self.eventually(lambda: "error" not in bob.ask(4, channel=room, content="x"))
        self.order(ada, "leave", bob.id, room, "kicked")
        self.assertEqual(bob.push(112)["change"], "kicked")
        self.order(ada, "ban", bob.id, room)
        self.eventually(lambda: "banned" in str(bob.ask(3, name=room)))
        self.order(ada, "unban", bob.id, room)
        self.eventually(lambda: "error" not in bob.ask(3, name=room))
        self.order(ada, "channel_delete", room)
        while bob.push(112)["change"] != "closed":  # the ban may have come after a subscription, and ended it
            pass
        self.assertIn("server's own", ada.error(300, what="user_add", a="system").message)

    def test_accounts(self):
        ada = self.user("Ada")
        self.order(ada, "user_add", "made.1", "Maid")
        self.eventually(lambda: "error" not in ada.ask(2, receiverId="made.1", content="x"))
        ada.request(301, id="made.1")
        maid = self.connect()
        self.assertEqual(maid.request(1, token=ada.push(400)["token"])["name"], "Maid")
        ada.request(301, id="nobody")
        self.assertEqual(ada.push(400), {"err": "not_found"})
        self.order(ada, "user_delete", "made.1", "recall")
        self.assertEqual(maid.closing()["reason"], "kicked")
        self.order(ada, "user_add", ada.id)  # there is one: the log tells
        self.eventually(lambda: "script.refused" in self.server.whole_log())
        self.assertIn("order=user_add", self.server.whole_log())


class Killed(Test):
    """kill -9 in the middle of a deletion: the next start finishes it."""

    config = {"listen": {"console": "unix:console.sock"}, "limits": {"subscriptions": 0}, "threads": 2}
    MEMBERS = 3000

    @classmethod
    def setUpClass(cls):
        cls.server = None

    @classmethod
    def tearDownClass(cls):
        pass

    def many(self, console, lines):
        """Orders by the thousand, and whether each was OK."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sent = pool.submit(console.send, "".join(line + "\n" for line in lines))
            good = [console.reply()[0] == "OK" for _ in lines]
            sent.result()
        return good

    def until(self, condition, what):
        end = time.monotonic() + 30 * PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.05)

    def test_a_user(self):
        with Server(self.config) as s:
            ada, bob = self.user("Ada", server=s), self.user("Bob", server=s)
            rooms = ["room%d" % i for i in range(600)]
            bob.subscribe("room0")
            for c in rooms:
                ada.send(3, name=c)
                ada.send(4, channel=c, content="secret")
            ada.say("room599", "secret")
            ada.drain()
            console = Console(s)
            console.send("user delete %s messages recall\n" % ada.id)
            ada.closing()  # it has begun
            s.kill()
            self.assertNotIn("user.deleted", s.whole_log())
            s.start()
            console = Console(s)
            bob = self.again(bob, server=s)
            self.assertEqual(bob.error(2, receiverId=ada.id, content="x").code, "not_found")
            again = self.connect(server=s)
            self.assertEqual(again.error(1, token=ada.token).code, "unauthorized")
            self.until(lambda: "user.deleted" in s.log(), "the deletion does not go on")
            self.assertEqual([u for u in console.json("list users all") if u["user"] == ada.id], [])
            members = {c["channel"]: c["members"] for c in console.json("list channels all room")}
            self.assertEqual({c: n for c, n in members.items() if n}, {"room0": 1})
            self.assertTrue(all(m["recalled"] for m in bob.history("room0")["messages"]))
            console.ask("user add %s Anew" % ada.id)
            self.assertEqual(console.json("show user %s" % ada.id)["channels"], [])

    def fill(self, server, room, tokens):
        for first in range(0, len(tokens), 500):
            clients = [self.connect(server=server) for _ in tokens[first:first + 500]]
            for c, token in zip(clients, tokens[first:]):
                c.send(1, token=token)
                c.send(3, name=room, push="none")
            for c in clients:
                c.answer(3, c.seq)
                c.close()
                self.clients.remove(c)

    def test_a_channel(self):
        with Server(self.config) as s:
            ada = self.user("Ada", server=s)
            console = Console(s)
            self.assertTrue(all(self.many(console, ["user add u%d N" % i for i in range(self.MEMBERS)])))
            tokens = [json.loads("".join(body))["token"] for _, body in
                      self.replies(console, ["json user token u%d" % i for i in range(self.MEMBERS)])]
            for _ in range(8):  # until it is killed in the middle: a deletion takes 30 ms
                ada.subscribe("big")
                ada.say("big", "x")
                self.fill(s, "big", tokens)
                self.assertEqual(console.json("show channel big")["members"], self.MEMBERS + 1)
                console.send("channel big delete\n")
                # Messages that come before it begins are stored.
                while ada.ask(4, channel="big", content="x").get("error", {}).get("code") != "not_found":
                    pass
                s.kill()
                if "channel.deleted" not in s.log():
                    break
                s.start()
                console, ada = Console(s), self.again(ada, server=s)
            self.assertNotIn("channel.deleted", s.log())
            s.start()
            console = Console(s)
            ada = self.again(ada, server=s)
            self.until(lambda: "channel.deleted" in s.log(), "the deletion does not go on")
            self.assertEqual(console.json("list channels all big"), [])
            made = ada.subscribe("big")
            self.assertEqual((made["members"], made["first"]), (1, made["seq"] + 1))
            self.assertGreaterEqual(made["seq"], 1)
            self.assertEqual(console.json("show user u0")["channels"], [])

    def replies(self, console, lines):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sent = pool.submit(console.send, "".join(line + "\n" for line in lines))
            got = [console.reply() for _ in lines]
            sent.result()
        return got
