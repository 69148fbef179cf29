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

    def test_at_random(self):
        self.under_load(*[self.partition] * CUTS)
