"""Bad days, under load: nothing acknowledged is lost, doubled or out of order, and nothing is acknowledged that is not
in as many processes as `cluster.copies` says."""

import time

from base import Test
from client import CHANNEL_MESSAGE, HISTORY, INBOX, SEND_CHANNEL, SEND_USER, USER_MESSAGE
from load import Load
from redis_cluster import RedisCluster
from server import Server

CONFIG = {"log": {"level": "info"}, "limits": {"inbox": 0}, "tiers": {"small": {"max": 0}, "dm": {"max": 0}}}


class Day(Test):
    abstract = True
    settings = CONFIG

    @classmethod
    def setUpClass(cls):
        cls.redis = RedisCluster()

    @classmethod
    def tearDownClass(cls):
        cls.redis.close()

    def setUp(self):
        super().setUp()
        self.redis.healthy()
        self.server = Server(self.settings, redis=self.redis.addresses)
        self.addCleanup(self.server.close)

    def under_load(self, f, more=20):
        """Breaks something while clients send, and looks whether all is there afterwards."""
        load = Load(self, self.server)
        load.start()
        try:
            load.wait(more)
            f(load)
            load.wait(more)
        finally:
            load.stop()
        load.check()
        return load


class Masters(Day):
    def test_killed(self):
        def kill(load):
            master = self.redis.master_of(0)
            master.kill()
            load.wait(20)
            self.assertNotEqual(self.redis.master_of(0), master)
            self.server.wait_log("in_place_of=%s" % master.address, 30)  # of cluster.master_found
            master.start()
        load = self.under_load(kill)
        self.assertIn("cluster.master_lost", self.server.log())
        self.assertLess(max(s.longest for s in load.senders), 30)

    def test_hangs(self):
        """It goes on after another was elected, and does what was in its sockets: nobody believes it."""
        def hang(load):
            master = self.redis.masters()[1]
            master.stop()
            try:
                load.wait(20)
            finally:
                master.cont()
            self.redis.healthy()
        self.under_load(hang)

    def test_moved(self):
        """By an operator: nothing is refused."""
        def move(load):
            for master in self.redis.masters():
                self.redis.failover(self.redis.replicas_of(master)[0])
                load.wait(5)
        load = self.under_load(move)
        self.assertEqual(sum(s.refusals for s in load.senders), 0)


class Copies(Day):
    def test_a_replica_is_killed(self):
        def kill(load):
            replica = self.redis.replicas_of(self.redis.master_of(0))[0]
            replica.kill()
            load.wait(20)
            replica.start()
        load = self.under_load(kill)
        self.assertEqual(sum(s.refusals for s in load.senders), 0)

    def test_all_replicas_of_a_master_are_killed(self):
        """What is acknowledged is in two processes: so it survives that the master is gone for good, too."""
        master = self.redis.master_of(0)
        replicas = self.redis.replicas_of(master)
        load = Load(self, self.server)
        load.start()
        try:
            load.wait(20)
            for n in replicas:
                n.kill()
            self.eventually(lambda: sum(s.refusals for s in load.senders) > 10, 30)
            master.kill()
            for n in replicas:  # which never hear of what they had not got
                n.start()
            last = replicas[-1]  # of the two the one that was killed last: it has all that was acknowledged
            self.redis.take_over(last)
            load.wait(20)
        finally:
            master.process.running() or master.start()
            load.stop()
        load.check()


class Repeats(Day):
    """What was stored while its send was answered `unavailable`: its sender's repeat lets others know of it."""

    settings = dict(CONFIG, cluster={"patience": 2})

    def without_copies(self, f):
        replicas = [r for m in self.redis.masters() for r in self.redis.replicas_of(m)]
        for r in replicas:
            r.stop()
        try:
            f()
        finally:
            for r in replicas:
                r.cont()
        self.redis.healthy()

    def sent(self, client, action, **body):
        """The answer, once it is none of an error: the node may take a moment to see that copies are back."""
        def once():
            answer = client.ask(action, **body)
            return None if "error" in answer else answer
        return self.eventually(once, 30)

    def test_members_hear_of_it(self):
        a, b = self.users("Ada", "Bob")
        room = self.channel(a, b)
        a.say(room, "before")
        self.assertEqual(b.push(CHANNEL_MESSAGE)["seq"], 1)
        self.without_copies(lambda: self.refused("unavailable", a, SEND_CHANNEL, channel=room, content="x",
                                                 clientId="repeated"))
        b.quiet(CHANNEL_MESSAGE)
        sent = self.sent(a, SEND_CHANNEL, channel=room, content="x", clientId="repeated")
        push = b.push(CHANNEL_MESSAGE)
        self.assertEqual((push["seq"], push["id"], push["content"]), (sent["seq"], sent["id"], "x"))
        self.assertEqual(a.say(room, "x", clientId="repeated")["id"], sent["id"])
        b.quiet(CHANNEL_MESSAGE)

    def test_with_what_came_later(self):
        """The gap says that something is missing: it is read, and pushed first. Its repeat then pushes nothing."""
        a, b = self.users("Ada", "Bob")
        room = self.channel(a, b)
        self.without_copies(lambda: self.refused("unavailable", a, SEND_CHANNEL, channel=room, content="x",
                                                 clientId="repeated"))
        later = self.sent(b, SEND_CHANNEL, channel=room, content="later", clientId="later")
        self.assertEqual(later["seq"], 2)
        self.assertEqual([b.push(CHANNEL_MESSAGE)["seq"] for _ in range(2)], [1, 2])
        self.assertEqual(a.say(room, "x", clientId="repeated")["seq"], 1)
        b.quiet(CHANNEL_MESSAGE)

    def test_a_receiver_hears_of_it(self):
        a, b = self.users("Ada", "Bob")
        a.tell(b, "before")
        self.assertEqual(b.push(USER_MESSAGE)["seq"], 1)
        self.without_copies(lambda: self.refused("unavailable", a, SEND_USER, receiverId=b.id, content="x",
                                                 clientId="repeated"))
        sent = self.sent(a, SEND_USER, receiverId=b.id, content="x", clientId="repeated")
        self.assertEqual(b.push(USER_MESSAGE)["id"], sent["id"])
        a.tell(b, "x", clientId="repeated")
        b.quiet(USER_MESSAGE)
        self.assertEqual([m["content"] for m in b.request(INBOX)["messages"]], ["before", "x"])


class Full(Day):
    def test_sends_are_refused_and_the_rest_goes_on(self):
        a, b = self.users("Ada", "Bob")
        room = self.channel(a, b)
        sent = [a.tell(b, "m%d" % n) for n in range(5)]
        a.say(room, "hello")
        before = [(m, m.config("maxmemory")) for m in self.redis.masters()]
        for m, _ in before:
            m.config("maxmemory", "1mb")
        try:
            self.refused("unavailable", a, SEND_USER, receiverId=b.id, content="x", clientId="full")
            self.refused("unavailable", a, SEND_CHANNEL, channel=room, content="x", clientId="full")
            self.assertEqual(len(b.request(HISTORY, peerId=a.id)["messages"]), 5)
            self.assertEqual(len(b.request(INBOX)["messages"]), 5)
            b.request(8, ids=[sent[0]["id"]])
            self.assertEqual(len(b.request(INBOX)["messages"]), 4)
            self.assertEqual(self.again(a).id, a.id)  # a login
        finally:
            for m, was in before:
                m.config("maxmemory", was)
        denied = [line for line in self.server.log().splitlines() if " warn cluster.denied " in line]
        self.assertEqual(len(denied), len({line.split(" port=")[1].split()[0] for line in denied}), "each once")
        self.assertTrue(denied and all('error="OOM ' in line for line in denied), denied)
        self.assertEqual(a.tell(b, "x", clientId="full")["seq"], 6)
        self.assertEqual(a.say(room, "x", clientId="full")["seq"], 2)
        self.assertEqual(len(b.request(INBOX)["messages"]), 5)


class Nodes(Day):
    def test_killed_and_started_again(self):
        def kill(load):
            for _ in range(3):
                self.server.kill()
                self.server.start()
                load.wait(10)
        self.under_load(kill)

    def test_second_halves_reach_the_inbox(self):
        """Whoever dies between a message and its inbox: the next node finishes it within seconds."""
        def kill(load):
            self.server.kill()
            time.sleep(1)
            self.server.start()
        self.under_load(kill)
