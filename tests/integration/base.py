"""What the tests stand on: a server for each class, clients that are closed at the end, and helpers."""

import itertools
import time
import unittest

from client import Client, Error  # noqa: F401  (for the tests)
from server import CLUSTER, NODES, PATIENCE, Server

numbers = itertools.count(1)


def smoke(f):
    """Marks a test of the quick selection (`run.py smoke`)."""
    f.smoke = True
    return f


def embedded(why):
    """Marks a test, or a class, that is about the embedded engine alone, or about no engine, and says why: it is left
    out where servers are nodes of a cluster (./dev test --cluster)."""
    return unittest.skipIf(CLUSTER, why)


def one_process(why):
    """Marks a test, or a class, that is about what one process has or does, and says why: of several nodes
    (MAGPIE_TEST_NODES) its clients all use the first, and there is no other where the class says so."""

    def mark(what):
        what.one_process = why
        return what

    return mark


def several_nodes():
    """Whether the clients of this test are spread over several nodes."""
    return Server.spread and NODES > 1


def variants(*combinations):
    """Makes a class for each (wire, threads[, tls]) of a class, in its module: the same tests over another transport
    and number of shards. A third one is how clients come by TLS: "own", "openssl" (the records of TLS 1.3), "1.2"."""
    import sys

    def make(cls):
        module = sys.modules[cls.__module__]
        for wire, threads, *tls in combinations:
            name = "_".join([cls.__name__, wire, str(threads)] + ["tls_" + t.replace(".", "") for t in tls])
            config = dict(cls.config, threads=threads)
            made = type(name, (cls,), {"wire": wire, "config": config, "__module__": cls.__module__, "abstract": False,
                                       "tls": tls[0] if tls else None, "family": cls.__name__})
            setattr(module, name, made)
        cls.abstract = True
        return cls

    return make


class Test(unittest.TestCase):
    """A class of tests that share one server. `config` is laid over Server's; `wire` is how clients connect unless they
    say."""

    config = {}
    wire = "tcp"
    tls = None
    abstract = False
    one_process = None
    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.config, tls=cls.tls)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def run(self, result=None):
        before = Server.spread
        Server.spread = before and not getattr(getattr(self, self._testMethodName), "one_process", None)
        try:
            return super().run(result)
        finally:
            Server.spread = before

    def setUp(self):
        self.clients = []

    def tearDown(self):
        for c in self.clients:
            c.close()

    # --- Clients

    def connect(self, wire=None, server=None, **options):
        c = Client(server or self.server, wire or self.wire, **options)
        self.clients.append(c)
        return c

    def user(self, name="Ada", wire=None, server=None, **login):
        """A new user's connection."""
        c = self.connect(wire, server)
        c.login(name, **login)
        return c

    def users(self, *names, **login):
        return [self.user(name, **login) for name in names]

    def again(self, client, wire=None, server=None, **login):
        """Another connection of the same user, by its token."""
        c = self.connect(wire, server or client.server)
        c.login(token=client.token, **login)
        return c

    def channel(self, *clients, **subscribe):
        """The name of a new channel that these are subscribed to."""
        name = "c%d-%d" % (next(numbers), time.monotonic_ns() % 1000000)
        for c in clients:
            c.subscribe(name, **subscribe)
        return name

    # --- Assertions

    def refused(self, code, client, action, **body):
        """The request is refused with this code; returns the error."""
        e = client.error(action, **body)
        self.assertEqual(e.code, code, "action %d %s: %s" % (action, str(body)[:200], e))
        self.assertTrue(e.message, "an error without a message")
        return e

    def eventually(self, f, timeout=10, every=0.05):
        """Until f() returns something true; returns it."""
        end = time.monotonic() + timeout * PATIENCE
        while True:
            got = f()
            if got:
                return got
            if time.monotonic() > end:
                self.fail("did not come true in time")
            time.sleep(every)

    def in_order(self, got, want):
        """What was told of several conversations, or of messages and members, came as it was done. Of several nodes
        only one conversation's messages have an order, and its changes of members have one."""
        (self.assertCountEqual if several_nodes() else self.assertEqual)(got, want)

    def keys(self, body, *names):
        self.assertEqual(sorted(body), sorted(names))
