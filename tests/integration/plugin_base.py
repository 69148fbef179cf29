"""What the tests of plugins share: a server with the plugins of tests/plugins, its console, HTTP requests."""

import http.client
import json
import os
import re
import socket
import subprocess
import threading

from base import Test
from server import MAGPIED, PATIENCE, ROOT, Server

TEST_PLUGINS = os.path.join(os.path.dirname(MAGPIED), "tests", "plugins")
SHIPPED_PLUGINS = os.path.join(os.path.dirname(MAGPIED), "plugins")

with open(os.path.join(ROOT, "plugins", "magpie_plugin.h")) as header:
    MAJOR, MINOR = (int(n) for n in re.search(r"#define MP_ABI_MAJOR (\d+)\n#define MP_ABI_MINOR (\d+)",
                                                   header.read()).groups())
ABI = "%d.%d" % (MAJOR, MINOR)  # of the server


def check(server, settings=None):
    """`magpied -t` with the server's settings (or these laid over them): (status, what it says)."""
    server.write_config(settings)
    done = subprocess.run([MAGPIED, "-t", "-c", server.config_path], capture_output=True, text=True, cwd=server.folder,
                          timeout=30 * PATIENCE)
    return done.returncode, done.stdout + done.stderr


class Console:
    """The console of a server: c("plugin list") → the body as JSON; AssertionError with the server's words when it is
    refused."""

    def __init__(self, server):
        port = int(re.findall(r"listen\.open\W.*?127\.0\.0\.1:(\d+)\W.*?console", server.log())[0])
        self.socket = socket.create_connection(("127.0.0.1", port), 30 * PATIENCE)
        self.file = self.socket.makefile("rwb")

    def line(self, command):
        """(status line, body lines)"""
        self.file.write(command.encode() + b"\n")
        self.file.flush()
        status, body = self.file.readline().decode().rstrip("\n"), []
        while True:
            line = self.file.readline().decode()
            if line in ("", ".\n"):
                return status, body
            body.append(line[1:] if line.startswith("..") else line)

    def __call__(self, command):
        status, body = self.line("json " + command)
        if not status.startswith("OK"):
            raise AssertionError("%s: %s" % (command, status))
        return json.loads("".join(body) or "null")

    def refused(self, command):
        status, _ = self.line(command)
        if not status.startswith("ERR"):
            raise AssertionError("%s was not refused: %s" % (command, status))
        return status

    def close(self):
        self.file.close()
        self.socket.close()


class PluginTest(Test):
    """`load`: plugins.load of the config."""

    load = {}
    path = TEST_PLUGINS
    config = {}

    @classmethod
    def setUpClass(cls):
        config = dict(cls.config)
        config["listen"] = {"console": "127.0.0.1:0"}
        config["plugins"] = {"path": cls.path, "load": cls.load}
        cls.server = Server(config)

    def setUp(self):
        super().setUp()
        self.console = Console(self.server)

    def tearDown(self):
        self.console.close()
        super().tearDown()

    def http(self, method, path, body=None, headers=None, timeout=20):
        """(status, headers, body) of a request to the WebSocket port."""
        c = http.client.HTTPConnection("127.0.0.1", self.server.websocket, timeout=timeout * PATIENCE)
        try:
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return r.status, dict((k.lower(), v) for k, v in r.getheaders()), r.read()
        finally:
            c.close()

    def in_background(self, f, *args):
        """Runs f(*args) on a thread; call the result to join it and get what f returned."""
        box = []

        def run():
            try:
                box.append(f(*args))
            except BaseException as e:  # noqa: B902 (handed on to the one who joins)
                box.append(e)

        t = threading.Thread(target=run, daemon=True)
        t.start()

        def join(timeout=60):
            t.join(timeout * PATIENCE)
            self.assertFalse(t.is_alive(), "it does not end")
            if isinstance(box[0], BaseException):
                raise box[0]
            return box[0]

        return join
