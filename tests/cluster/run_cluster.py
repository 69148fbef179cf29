#!/usr/bin/env python3
"""`./dev run --cluster [N]`: a Redis Cluster of three masters and six replicas, and N nodes on it, in the foreground
and on loopback. Ctrl-C ends all of it; what was kept is there the next time.

    run_cluster.py [N] [--folder build/cluster] [--port 8081] [--redis-port 7001]

Node i has TCP at --port + 10 (i - 1), WebSocket with the chat page one above it, and its console two above it.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from process import can_bind, eventually  # noqa: E402
from redis_cluster import ROOT, RedisCluster  # noqa: E402

NODES_MAX = 32
STOP_SECONDS = 10

CONFIG = """\
-- Node {number} of ./dev run --cluster, which writes this file at each start.
return {{
    listen = {{ tcp = "127.0.0.1:{tcp}", websocket = "127.0.0.1:{websocket}", console = "127.0.0.1:{console}" }},
    data = {data},
    node = {number},
    cluster = {{ redis = {{ {redis} }} }},
    scripts = {{ path = {scripts} }},
    plugins = {{ path = {plugins}, load = {{ web = {{}}, metrics = {{}} }} }},
    timeouts = {{ drain = 2 }},
}}
"""


def quoted(text):
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')


class Node:
    def __init__(self, number, folder, port, redis):
        self.number = number
        self.tcp, self.websocket, self.console = port, port + 1, port + 2
        self.config = os.path.join(folder, "node%d.lua" % number)
        self.popen, self.stopping = None, False
        build = os.path.dirname(magpied())
        with open(self.config, "w") as f:
            f.write(CONFIG.format(number=number, tcp=self.tcp, websocket=self.websocket, console=self.console,
                                  data=quoted(os.path.join(folder, "node%d" % number)),
                                  redis=", ".join(quoted(a) for a in redis.split(",")),
                                  scripts=quoted(os.path.join(ROOT, "scripts")),
                                  plugins=quoted(os.path.join(build, "plugins"))))

    def start(self):
        """In a session of its own, so that Ctrl-C comes here alone; it dies with us, whatever ends us."""
        self.popen = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", magpied(), "-c", self.config],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      start_new_session=True, text=True, errors="replace")
        threading.Thread(target=self.tell, daemon=True).start()

    def tell(self):
        for line in self.popen.stdout:
            say("%d | %s" % (self.number, line.rstrip("\n")))
        status = self.popen.wait()
        if not self.stopping:
            say("%d | has ended (%s); again: %s -c %s" % (self.number, status, magpied(), self.config))

    def serves(self):
        if self.popen.poll() is not None:
            raise SystemExit("node %d did not start; see above" % self.number)
        with urllib.request.urlopen("http://127.0.0.1:%d/ready" % self.websocket, timeout=5) as r:
            return r.status == 200


def magpied():
    return os.environ.get("MAGPIED") or os.path.join(ROOT, "build", "magpied")


def say(line):
    print(line, flush=True)


def arguments(argv):
    p = argparse.ArgumentParser(prog="run --cluster", usage="./dev run --cluster [N]")
    p.add_argument("nodes", nargs="?", type=int, default=3, metavar="N", help="how many nodes (3)")
    p.add_argument("--folder", default=os.path.join(ROOT, "build", "cluster"))
    p.add_argument("--port", type=int, default=8081)
    p.add_argument("--redis-port", type=int, default=7001)
    a = p.parse_args(argv)
    if not 1 <= a.nodes <= NODES_MAX:
        p.error("from 1 to %d nodes, not %d" % (NODES_MAX, a.nodes))
    a.folder = os.path.abspath(a.folder)
    return a


def ports_free(a):
    """Refused before anything is started: who has it is asked by the one who reads this."""
    for i in range(a.nodes):
        for port in range(a.port + 10 * i, a.port + 10 * i + 3):
            if not can_bind("127.0.0.1", port):
                raise SystemExit("run --cluster: port %d is in use (a server of ./dev run?)" % port)


def stop(nodes):
    """All drain at once, for so long as that may take."""
    for n in nodes:
        n.stopping = True
        if n.popen and n.popen.poll() is None:
            n.popen.terminate()
    for n in nodes:
        try:
            if n.popen:
                n.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            n.popen.kill()


def table(nodes, redis, folder):
    out = ["", "One chat on %d nodes; data in %s; Ctrl-C stops all of it." % (len(nodes), folder), ""]
    for n in nodes:
        out.append("  node %d   chat http://127.0.0.1:%d/   TCP 127.0.0.1:%d   console: build/magpiectl -s 127.0.0.1:%d"
                   % (n.number, n.websocket, n.tcp, n.console))
    out += ["", "  Redis    " + " ".join(n.address for n in redis.nodes[:3]) + " …, whose logs are in that folder",
            "  Kill what you like, and start it again (that one you end yourself):",
            "    nodes  kill -9 %s" % " ".join(str(n.popen.pid) for n in nodes),
            "    Redis  kill -9 %s" % " ".join(str(n.process.pid) for n in redis.nodes),
            "           redis-server %s/redis/%d/redis.conf, or another port" % (folder, redis.nodes[0].port), ""]
    return "\n".join(out)


def run(a):
    os.makedirs(a.folder, exist_ok=True)
    ports_free(a)
    say("run --cluster: nine redis-server from port %d on …" % a.redis_port)
    nodes = []
    try:
        redis = RedisCluster(a.redis_port, keep=os.path.join(a.folder, "redis"), settings={"maxmemory": "512mb"})
    except OSError as e:
        raise SystemExit("run --cluster: Redis did not start: %s" % e)
    try:
        for i in range(a.nodes):
            nodes.append(Node(i + 1, a.folder, a.port + 10 * i, redis.addresses))
            nodes[-1].start()
        for n in nodes:
            eventually(n.serves, "node %d serves" % n.number, 120)
        say(table(nodes, redis, a.folder))
        while True:
            signal.pause()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        stop(nodes)
        redis.close()


class Ended(BaseException):
    """A signal says that it is enough."""


def ended(number, frame):
    raise Ended()


def main(argv):
    a = arguments(argv)
    if not shutil.which("redis-server"):
        raise SystemExit("run --cluster: there is no redis-server (Debian's package redis-server)")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    try:
        run(a)
    except Ended:
        say("run --cluster: all has ended; what was kept is in %s" % a.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
