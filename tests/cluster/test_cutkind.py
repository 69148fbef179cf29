import os, random, time, unittest, shutil
import machines
import redis_cluster
from test_partitions import Partitions as P
from test_faults import Faults
KIND = os.environ.get("KIND", "alone")
N = int(os.environ.get("MAGPIE_CUTS", "20"))
OUT = os.environ.get("OUT", "/dev/shm/cuts-keep")
SHORT = float(os.environ.get("SHORT", "3")); LONG = float(os.environ.get("LONG", "8"))
EXTRA = dict(x.split("=") for x in os.environ.get("REDIS_EXTRA", "").split(";") if x)
class Cut(P):
    @classmethod
    def start_redis(cls):
        cls.machines = machines.Machines()
        cls.addClassCleanup(cls.machines.close)
        s = {"aof-timestamp-enabled": "yes", "auto-aof-rewrite-percentage": "0"}
        s.update(EXTRA)
        return redis_cluster.RedisCluster(hosts=cls.machines.hosts, inside=cls.machines.inside, settings=s)
    def say(self, *a):
        t = time.time()
        print("%s.%03d" % (time.strftime("%H:%M:%S", time.localtime(t)), t % 1 * 1000), *a, flush=True)
    def partition(self):
        ms = self.redis.masters()
        self.say("masters", [(m.port, m.host) for m in ms])
        c = self.checker.ledger.complaints
        if c:
            self.say("COMPLAINTS", c[:20]); raise AssertionError("found")
        first, second = random.sample(range(3), 2)
        what = random.choice(KIND.split(","))
        t = random.uniform(SHORT, LONG)
        self.say("cut", what, first, second, "%.3f" % t)
        if what == "apart":
            self.machines.cut(first, second)
        else:
            getattr(self.machines, what)(first)
        self.say("cut done")
        try:
            time.sleep(t)
        finally:
            self.say("heal")
            self.machines.heal()
            self.say("healed")
    def test_at_random(self):
        try:
            self.under_load(*[self.partition] * N)
        except BaseException:
            self.say("hosts", self.machines.hosts)
            c = self.checker.ledger.complaints
            for x in c[:30]: self.say("!", x)
            shutil.rmtree(OUT, ignore_errors=True)
            shutil.copytree(self.redis.folder, OUT + "/redis")
            for i, n in enumerate(self.nodes):
                shutil.copytree(n.folder, OUT + "/node%d" % (i + 1), ignore=lambda d, fs: [f for f in fs if f.endswith(".sock")])
            raise
del P, Faults
