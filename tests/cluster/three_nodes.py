"""Three nodes of one cluster with one script, which all tests of a class share."""

import os
import shutil
import tempfile

from base import Test
from redis_cluster import shared
from together import start_nodes


class ThreeNodes(Test):
    abstract = True
    one_process = "its nodes are its own"
    settings = {}
    script, limits = "", {}  # limits: of scripts

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="magpie-scripts-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        with open(os.path.join(cls.folder, "all.lua"), "w") as f:
            f.write(cls.script)
        cls.redis = shared()
        cls.addClassCleanup(cls.redis.close)
        cls.nodes = start_nodes(dict({"log": {"level": "info"}, "listen": {"console": "unix:console.sock"}},
                                     **cls.settings, scripts=dict(path=cls.folder, load=["all"], **cls.limits)),
                                cls.redis.addresses, numbered=True)
        cls.server = cls.nodes[0]

    @classmethod
    def tearDownClass(cls):
        for n in cls.nodes:
            n.close()
