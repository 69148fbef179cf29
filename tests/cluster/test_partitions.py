"""Three machines, of which some do not hear others for a while: each has a master, two replicas and a node; people
reach all nodes all the time. MAGPIE_CUTS: how often (2; `./dev soak` takes 20)."""

import os
import random
import time
import unittest

import machines
from redis_cluster import RedisCluster
from test_faults import CONFIG, Faults

CUTS = int(os.environ.get("MAGPIE_CUTS", "2"))


@unittest.skipUnless(machines.possible(), "network namespaces need root, and iproute2")
class Partitions(Faults):
    abstract = False
    settings = dict(CONFIG, auth={"allow_open": True})  # its addresses are none of loopback

    @classmethod
    def start_redis(cls):
        cls.machines = machines.Machines()
        cls.addClassCleanup(cls.machines.close)
        return RedisCluster(hosts=cls.machines.hosts, inside=cls.machines.inside)

    def place(self, node, n):
        node.host = self.machines.hosts[n % 3]
        node.prefix = self.machines.inside(node.host)

    def partition(self):
        first, second = random.sample(range(3), 2)
        what = random.choice(("alone", "alone", "apart", "unheard"))
        if what == "apart":
            self.machines.cut(first, second)
        else:
            getattr(self.machines, what)(first)
        try:
            time.sleep(random.uniform(3, 8))
        finally:
            self.machines.heal()

    def cut_off_most_masters(self):
        """Two masters are on a machine that is cut off, with a replica of the third, which they elect: it must have
        all that the third one has answered meanwhile, as others still reached that one."""
        host = random.choice(self.machines.hosts)
        shards = [[m] + self.redis.replicas_of(m) for m in self.redis.masters()]
        random.shuffle(shards)
        for i, shard in enumerate(shards):
            if (shard[0].host == host) != (i < 2):
                self.redis.failover(random.choice([n for n in shard[1:] if (n.host == host) == (i < 2)]))
        self.redis.healthy()
        self.redis.in_step()
        self.machines.alone(self.machines.hosts.index(host))
        try:
            time.sleep(6)
        finally:
            self.machines.heal()
        self.redis.healthy()
        self.assertEqual([m.host for m in self.redis.masters()], [host] * 3)

    def test_most_masters_are_cut_off(self):
        self.under_load(*[self.cut_off_most_masters] * CUTS, people=12, rooms=6)

    def test_at_random(self):
        self.under_load(*[self.partition] * CUTS)
