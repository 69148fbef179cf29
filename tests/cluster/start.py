#!/usr/bin/env python3
"""Starts what a node of a cluster needs, on loopback: a Redis Cluster of three masters and six replicas, or PostgreSQL,
or both. Prints the addresses in one line, in that order, and ends all of it when its input closes, at SIGINT, SIGTERM
or SIGHUP, or with the command that it was given.

    start.py [redis] [postgres]                 prints "HOST:PORT,HOST:PORT,…" and "postgresql://…"
    start.py redis postgres -- COMMAND…         runs it with MAGPIE_TEST_REDIS and MAGPIE_TEST_POSTGRES set
    start.py redis --user magpie:SECRET         Redis knows that user too, with the rights of docs/cluster.md; a command
                                                finds it in MAGPIE_TEST_REDIS_USER

As a module: `from start import RedisCluster, Postgres`.
"""

import argparse
import contextlib
import os
import re
import select
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from postgres import Postgres  # noqa: E402
from redis_cluster import RedisCluster  # noqa: E402

VARIABLES = {"redis": "MAGPIE_TEST_REDIS", "postgres": "MAGPIE_TEST_POSTGRES"}


class Ended(BaseException):
    """A signal says that it is enough."""


def ended(number, frame):
    raise Ended()


def pairs(settings):
    out = {}
    for s in settings:
        name, equals, value = s.partition("=")
        if not equals:
            raise SystemExit("start.py: --set wants NAME=VALUE, not %s" % s)
        out[name] = value
    return out


def arguments(argv):
    command = None
    if "--" in argv:
        at = argv.index("--")
        argv, command = argv[:at], argv[at + 1:]
    p = argparse.ArgumentParser(usage="start.py [redis] [postgres] [OPTIONS] [-- COMMAND…]")
    p.add_argument("what", nargs="*", choices=[[], "redis", "postgres"], help="redis, if nothing is named")
    p.add_argument("--port-base", type=int, default=0,
                   help="the first of 48 ports: Redis from there on, PostgreSQL the 33rd; 0: any that are free")
    p.add_argument("--password", help="Redis asks for it")
    p.add_argument("--user", metavar="NAME:PASSWORD", help="one with the rights of docs/cluster.md, for keys t…")
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of redis.conf")
    p.add_argument("--hosts", type=int, default=3, help="addresses that the members of Redis are spread over")
    a = p.parse_args(argv)
    if a.user and not re.fullmatch(r"\w+:\S+", a.user):
        p.error("--user wants NAME:PASSWORD, not %s" % a.user)
    a.what, a.command, a.set = a.what or ["redis"], command, pairs(a.set)
    return a


def wait_for_end():
    """Until the input closes; what it says does not matter."""
    while True:
        select.select([0], [], [])
        if not os.read(0, 4096):
            return


def main(argv):
    a = arguments(argv)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    with contextlib.ExitStack() as stack:
        found = {}
        try:
            if "redis" in a.what:
                found["redis"] = stack.enter_context(
                    RedisCluster(a.port_base, hosts=a.hosts, settings=a.set, password=a.password,
                                 user=a.user)).addresses
            if "postgres" in a.what:
                found["postgres"] = stack.enter_context(Postgres(a.port_base and a.port_base + 32)).url
            if a.command:
                environment = {VARIABLES[k]: v for k, v in found.items()}
                if a.user:
                    environment["MAGPIE_TEST_REDIS_USER"] = a.user
                return subprocess.run(a.command, env=dict(os.environ, **environment)).returncode
            print(" ".join(found.values()), flush=True)
            wait_for_end()
        except Ended:
            return 1 if a.command else 0
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # ending is not to be ended
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
