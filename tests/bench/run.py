#!/usr/bin/env python3
"""`./dev bench`: magpie-bench against a server of its own, with rate limits off.

    run.py                          every scenario, shortly
    run.py [--shards N] SCENARIO [OPTIONS of magpie-bench]    one scenario (see magpie-bench --help)

The server is build/magpied (or $MAGPIED), its data a folder below $MAGPIE_BENCH_DATA or build/ (so that private messages meet a real disk).
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build")
MAGPIED = os.environ.get("MAGPIED", os.path.join(BUILD, "magpied"))
BENCH = os.path.join(os.path.dirname(MAGPIED), "magpie-bench")

SHORT = [
    ["connect", "-c", "5000", "-d", "1"],
    ["channel", "-c", "1000", "-k", "4", "-d", "5"],
    ["channel", "-w", "-c", "1000", "-k", "4", "-d", "5"],
    ["channel", "-c", "5000", "-k", "2", "-d", "5"],
    ["dm", "-c", "100", "-k", "4", "-d", "5"],
    ["history", "-c", "10", "-d", "5"],
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_server(folder, shards):
    tcp, websocket = free_port(), free_port()
    config = os.path.join(folder, "bench.lua")
    with open(config, "w") as f:
        f.write('return { listen = { tcp = "127.0.0.1:%d", websocket = "127.0.0.1:%d", console = {} }, data = "%s/data", threads = %d,\n'
                '         limits = { connections = 0 }, rate = { user = 0, channel = 0 },\n'
                '         tiers = { large = { members = 0 } }, log = { level = "warn" } }\n' % (tcp, websocket, folder, shards))
    server = subprocess.Popen([MAGPIED, "-c", config])
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", websocket)).close()
            return server, tcp, websocket
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.1)
    server.kill()
    sys.exit("the server does not start")


def stop_server(server):
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(60)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def main(arguments):
    shards = 0
    if arguments[:1] == ["--shards"]:
        shards, arguments = int(arguments[1]), arguments[2:]
    runs = [arguments] if arguments else SHORT
    folder = tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("MAGPIE_BENCH_DATA", BUILD))
    server, tcp, websocket = start_server(folder, shards)
    status = 0
    try:
        for run in runs:
            port = websocket if "-w" in run or "--websocket" in run else tcp
            if not arguments:
                print("\n== magpie-bench " + " ".join(run), flush=True)
            status |= subprocess.call([BENCH, "-a", "127.0.0.1:%d" % port] + run)
    except KeyboardInterrupt:
        status = 130
    finally:
        stop_server(server)
        shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
