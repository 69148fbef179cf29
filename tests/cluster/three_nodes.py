"""Three nodes of one cluster with one script, which all tests of a class share."""

import os
import shutil
import tempfile

from base import Test
from redis_cluster import RedisCluster
from server import Server


class ThreeNodes(Test):
    abstract = True
    one_process = "its nodes are its own"
    settings = {}
    script = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="magpie-scripts-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        with open(os.path.join(cls.folder, "all.lua"), "w") as f:
            f.write(cls.script)
        cls.redis = RedisCluster()
        cls.addClassCleanup(cls.redis.close)
        cls.nodes = []
        for n in range(3):
            cls.nodes.append(Server(dict({"log": {"level": "info"}, "listen": {"console": "unix:console.sock"}},
                                         **cls.settings, node=n + 1, scripts={"path": cls.folder, "load": ["all"]}),
                                    redis=cls.redis.addresses, nodes=1, keys=cls.nodes[0].keys if n else None))
        cls.server = cls.nodes[0]

    @classmethod
    def tearDownClass(cls):
        for n in cls.nodes:
            n.close()
