"""A Redis Cluster of one's own on loopback: three masters with two replicas each, on three "machines" (addresses)."""

import contextlib
import os
import time

from process import Process, can_bind, eventually, folder, free_ports, remove
from resp import Redis, RedisError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONFIG = os.path.join(ROOT, "etc", "redis-cluster.conf")
DOCUMENT = os.path.join(ROOT, "docs", "cluster.md")
SLOTS = 16384
PARTITION = 16  # each partition of Magpie has the slot 16 times its number
BUS = 16  # the cluster bus's port is that much above the port


def everywhere(addresses, prefix):
    """(connection, key) of every key that begins with the prefix. Whoever does not answer is passed over."""
    for address in addresses.split(","):
        host, _, port = address.rpartition(":")
        c = Redis(host, int(port))
        try:
            if c.call("ROLE")[0] != b"master":
                continue
            cursor = b"0"
            while True:
                cursor, keys = c.call("SCAN", cursor, "MATCH", prefix + "*", "COUNT", 1000)
                for key in keys:
                    yield c, key
                if cursor == b"0":
                    break
        except (OSError, RedisError):
            pass
        finally:
            c.close()


def forget(addresses, prefix):
    """Removes those keys: what a test with a prefix of its own leaves behind."""
    for c, key in everywhere(addresses, prefix):
        c.call("UNLINK", key)


def rights(prefix):
    """What docs/cluster.md lets a node's user do, as arguments of ACL SETUSER, for keys that begin with the prefix."""
    with open(DOCUMENT, encoding="utf-8") as f:
        given = [line.split() for line in f if line.startswith("    ACL SETUSER magpie ")]
    if len(given) != 1 or given[0][3:7] != ["on", ">PASSWORD", "~m*", "&m*"]:
        raise AssertionError("docs/cluster.md: what rights does the user magpie have? %s" % given)
    return ["~%s*" % prefix, "&%s*" % prefix] + given[0][7:]


class Shared:
    """The Redis Cluster of MAGPIE_TEST_REDIS, which other tests use at the same time: they see nothing of each other,
    for each server has a prefix of its own, and none does anything to Redis itself."""

    def __init__(self, addresses):
        self.addresses, self.connections = addresses, []

    def master_of(self, slot):
        """A connection to the process that serves a slot now: one looks there, and changes nothing."""
        host, _, port = self.addresses.split(",")[0].rpartition(":")
        with contextlib.closing(Redis(host, int(port))) as first:
            at = next(master for low, high, master, *_ in first.call("CLUSTER", "SLOTS") if low <= slot <= high)
        self.connections.append(Redis(at[0].decode(), at[1]))
        return self.connections[-1]

    def close(self):
        for c in self.connections:
            c.close()


def shared():
    """That one, or where there is none one that is started for the class."""
    addresses = os.environ.get("MAGPIE_TEST_REDIS") or os.environ.get("MAGPIE_TEST_CLUSTER")
    return Shared(addresses) if addresses else RedisCluster()


class Node:
    """One Redis of the cluster."""

    def __init__(self, cluster, number, host, port):
        self.cluster, self.number, self.host, self.port = cluster, number, host, port
        self.folder = os.path.join(cluster.folder, str(port))
        os.makedirs(self.folder, exist_ok=cluster.kept)
        self.connection = Redis(host, port, cluster.password)
        self.process = Process(cluster.inside(host) + ["redis-server", os.path.join(self.folder, "redis.conf")],
                               os.path.join(self.folder, "log"), cwd=self.folder)
        self.id = None  # the node's id in the cluster

    @property
    def address(self):
        return "%s:%d" % (self.host, self.port)

    def call(self, *args):
        return self.connection.call(*args)

    def config(self, name, value=None):
        """Reads a setting as text, or sets it."""
        if value is None:
            return self.call("CONFIG", "GET", name)[1].decode()
        return self.call("CONFIG", "SET", name, value)

    def info(self, section="all"):
        """INFO as {name: value}."""
        lines = self.call("INFO", section).decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def start(self):
        """Starts it (again, with what is on its disk); returns when it answers."""
        self.process.start()
        eventually(self.answers, "redis-server on " + self.address)

    def answers(self):
        if not self.process.running():
            raise AssertionError("redis-server on %s ended:\n%s" % (self.address, self.process.log()[-2000:]))
        try:
            return self.call("PING") == b"PONG"
        except RedisError as e:
            return not str(e).startswith("LOADING")

    def replicate(self, master):
        """Follows it; False: this node has not heard of it yet."""
        try:
            return self.call("CLUSTER", "REPLICATE", master) == b"OK"
        except RedisError as e:
            if "Unknown node" not in str(e):
                raise
            return False

    def kill(self):
        self.process.kill()
        self.connection.close()

    def stop(self):
        """It hangs (SIGSTOP) until cont()."""
        self.process.stop()

    def cont(self):
        self.process.cont()

    def view(self):
        """The cluster as this node sees it: [{id, address, flags, master, link, slots, ranges}]."""
        out = []
        for line in self.call("CLUSTER", "NODES").decode().splitlines():
            id_, address, flags, master, _, _, _, link, *slots = line.split()
            out.append({"id": id_, "address": address.split("@")[0], "flags": flags.split(","), "link": link,
                        "master": None if master == "-" else master,
                        "slots": sum(span(s) for s in slots if not s.startswith("[")),
                        "ranges": " ".join(s for s in slots if not s.startswith("["))})
        return out

    def owner(self, slot):
        """The id of the node that serves it, as this one sees it."""
        return next((master[2].decode() for first, last, master, *_ in self.call("CLUSTER", "SLOTS")
                     if first <= slot <= last), None)

    def __repr__(self):
        return "<redis %s>" % self.address


def span(slots):
    """How many slots "0-5460" or "77" is."""
    first, _, last = slots.partition("-")
    return int(last or first) - int(first) + 1


class RedisCluster:
    """Starts and ends it:

        with RedisCluster() as redis:
            redis.addresses                  "127.0.0.1:25000,127.0.0.2:25001,…", as MAGPIE_TEST_REDIS has them
            master = redis.master_of(0)      that of slot 0
            master.kill()                    kill -9; stop() and cont(): it hangs
            redis.replicas_of(master)
            redis.healthy()                  waits until every master has its replicas in step again
            redis.failover(replica)          CLUSTER FAILOVER
            redis.move_slot(slot, node)      with all its keys
            master.config("maxmemory", "1mb")

    port_base: the first of 48 ports; 0: any that are free. hosts: addresses that the members are spread over, so that
    no two copies of a master have the same, or how many of loopback. inside: of such an address the command by which
    commands are run there (machines.py). settings: {name: value} of redis.conf laid over etc/redis-cluster.conf.
    user: "NAME:PASSWORD" of one that has the rights of docs/cluster.md, for keys that begin with t as tests' do.
    keep: a folder that stays: the next one with the same ports goes on with what is there.
    """

    def __init__(self, port_base=0, masters=3, replicas=2, hosts=3, settings=None, password=None, start=True,
                 keep=None, inside=lambda host: [], user=None):
        self.kept = bool(keep)
        self.folder = keep or folder("magpie-redis-")
        self.masters_count, self.replicas_count, self.password = masters, replicas, password
        self.settings = dict({"maxmemory": "2gb"}, **(settings or {}))
        self.users = []
        if user:
            name, _, secret = user.partition(":")
            self.users.append(["user", name, "on", ">" + secret] + rights("t"))
        self.inside = inside
        if isinstance(hosts, int):
            hosts = ["127.0.0.%d" % (1 + i) for i in range(hosts)]
        count = masters * (1 + replicas)
        base = port_base or free_ports(BUS + count)
        self.nodes = []
        for i in range(count):
            # The first are the masters; the j-th replica of a master stands j machines further.
            host = hosts[(i % masters + i // masters) % len(hosts)]
            self.nodes.append(Node(self, i, host, base + i))
        if start:
            try:
                self.start()
            except BaseException:
                self.close()
                raise

    @property
    def addresses(self):
        return ",".join(n.address for n in self.nodes)

    def write_config(self, node):
        lines = ['include "%s"' % CONFIG, "port %d" % node.port, "cluster-port %d" % (node.port + BUS),
                 "bind %s" % node.host, "cluster-announce-ip %s" % node.host, 'dir "%s"' % node.folder,
                 "daemonize no", "io-threads 1", "loglevel notice", "protected-mode no"]
        if self.password:
            lines += ["requirepass %s" % self.password, "masterauth %s" % self.password]
        lines += ["%s %s" % (k, v) for k, v in self.settings.items()] + [" ".join(u) for u in self.users]
        with open(os.path.join(node.folder, "redis.conf"), "w") as f:
            f.write("\n".join(lines) + "\n")

    def start(self):
        for n in self.nodes:
            if not self.inside(n.host) and not (can_bind(n.host, n.port) and can_bind(n.host, n.port + BUS)):
                raise OSError("port %d or %d is in use" % (n.port, n.port + BUS))
            self.write_config(n)
            n.process.start()
        for n in self.nodes:
            eventually(n.answers, "redis-server on " + n.address, 60)
            n.id = n.call("CLUSTER", "MYID").decode()
        joined = os.path.join(self.folder, "joined")
        if not (self.kept and os.path.exists(joined)):
            self.join()
        self.healthy()
        if self.kept:
            with open(joined, "w"):
                pass

    def join(self):
        """Makes a cluster of them: slots, acquaintance of each with each (gossip alone is slow), then the replicas."""
        masters = self.nodes[:self.masters_count]
        for i, m in enumerate(masters):
            first, end = (SLOTS * j // len(masters) for j in (i, i + 1))
            m.call("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        for i, n in enumerate(self.nodes):
            n.call("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        for i, n in enumerate(self.nodes):
            for other in self.nodes[i + 1:]:
                n.call("CLUSTER", "MEET", other.host, other.port, other.port + BUS)
        for n in self.nodes[self.masters_count:]:
            master = masters[n.number % len(masters)]
            eventually(lambda: n.replicate(master.id), "%s follows %s" % (n.address, master.address))

    def healthy(self, timeout=60):
        """Waits until all that run agree: every slot served, every master with all its replicas."""
        eventually(self.is_healthy, "a healthy Redis Cluster", timeout, 0.05)

    def in_step(self, timeout=60):
        """Waits until all replicas have what their masters have now. A link that a cut has silenced may be silent for
        seconds more, though it counts as connected: another fault then would be two at once."""
        had = {}

        def all_have():
            for m in self.masters():
                role = m.call("ROLE")
                if role[0] != b"master":  # a node moves masters apart
                    return False
                if any(int(r[2]) < had.setdefault(m, role[1]) for r in role[2]):
                    return False
            return True
        eventually(all_have, "all replicas in step", timeout, 0.05)

    def is_healthy(self):
        whose = set()  # as each node sees it: after moves of slots they may disagree
        for n in self.running():
            try:
                if b"cluster_state:ok" not in n.call("CLUSTER", "INFO"):
                    return False
            except RedisError as e:  # a replica may load anew, when it copies its master
                if not str(e).startswith("LOADING"):
                    raise
                return False
            view = n.view()
            serving = [v for v in view if "master" in v["flags"] and v["slots"] and "fail" not in v["flags"]]
            if (len([v for v in view if "slave" in v["flags"]]) < len(self.nodes) - self.masters_count
                    or sum(v["slots"] for v in serving) != SLOTS or len(serving) != self.masters_count):
                return False
            whose.add(tuple(sorted((v["id"], v["ranges"]) for v in serving)))
            role = n.call("ROLE")
            if role[0] == b"slave" and role[3] != b"connected":
                return False
            if role[0] == b"master" and len(role[2]) < self.replicas_count:
                return False
        return len(whose) == 1

    def running(self):
        return [n for n in self.nodes if n.process.running()]

    def view(self):
        """As the first one sees it that answers."""
        for n in self.running():
            try:
                return n.view()
            except (OSError, RedisError):  # it loads what is on its disk
                continue
        raise OSError("no Redis answers")

    def by_id(self, id_):
        return next(n for n in self.nodes if n.id == id_)

    def masters(self):
        """Those with slots, as the cluster sees it now."""
        return [self.by_id(v["id"]) for v in self.view()
                if "master" in v["flags"] and v["slots"] and "fail" not in v["flags"]]

    def replicas_of(self, master):
        return [self.by_id(v["id"]) for v in self.view() if v["master"] == master.id and "fail" not in v["flags"]]

    def master_of(self, slot):
        """The node that serves a slot now."""
        for first, last, master, *_ in self.running()[0].call("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return self.by_id(master[2].decode())
        raise LookupError("nobody serves slot %d" % slot)

    def used_slots(self):
        """Those of partitions that have keys."""
        return [slot for m in self.masters() for first, last, master, *_ in m.call("CLUSTER", "SLOTS")
                if master[2].decode() == m.id for slot in range(first, last + 1)
                if slot % PARTITION == 0 and m.call("CLUSTER", "COUNTKEYSINSLOT", slot)]

    def failover(self, replica, how=None):
        """Makes a replica the master (how: FORCE, TAKEOVER); returns when all see it."""
        asked = None

        def moved():
            nonlocal asked
            if replica.call("ROLE")[0] != b"master":
                if not asked or time.monotonic() > asked + 6:  # Redis gives one up after 5 s, and tells nobody
                    asked = time.monotonic()
                    replica.call("CLUSTER", "FAILOVER", *([how] if how else []))
                return False
            return replica in self.masters() and self.is_healthy()

        eventually(moved, "a failover to " + replica.address, 60)

    def take_over(self, replica):
        """Makes it the master by its own word alone, as an operator does whose masters are gone."""
        def taken():
            if replica.call("ROLE")[0] != b"master":
                try:
                    replica.call("CLUSTER", "FAILOVER", "TAKEOVER")
                except RedisError:  # it has just started
                    pass
                return False
            return replica in self.masters()
        eventually(taken, "%s takes over" % replica.address, 30)

    def move_slot(self, slot, to, between=None):
        """Moves a slot with its keys to another master; returns when all know it: of slots that are moved faster than
        that, members of Redis may not agree ever after. between: called when half of it is there (TRYAGAIN, ASK)."""
        source = self.master_of(slot)
        to.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        half = source.call("CLUSTER", "COUNTKEYSINSLOT", slot) // 2
        auth = ["AUTH", self.password] if self.password else []
        while True:
            keys = source.call("CLUSTER", "GETKEYSINSLOT", slot, 1)
            if between and source.call("CLUSTER", "COUNTKEYSINSLOT", slot) <= half:
                between()
                between = None
                keys = source.call("CLUSTER", "GETKEYSINSLOT", slot, 1)
            if not keys:
                break
            source.call("MIGRATE", to.host, to.port, "", 0, 5000, *auth, "KEYS", *keys)
        for n in [to, source] + [m for m in self.masters() if m not in (to, source)]:
            n.call("CLUSTER", "SETSLOT", slot, "NODE", to.id)
        eventually(lambda: all(n.owner(slot) == to.id for n in self.running()), "all know whose slot %d is" % slot)

    def close(self):
        for n in self.nodes:
            n.kill()
        if not self.kept:
            remove(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind and hasattr(value, "add_note"):
            value.add_note("\n".join("%r: %s" % (n, n.process.log()[-600:]) for n in self.nodes))
        self.close()

