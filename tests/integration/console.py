"""The console as tests use it: a connection of one's own, and what a test class of it derives from."""

import json
import os
import socket

from base import Test
from server import PATIENCE

UNIX = {"listen": {"console": "unix:console.sock"}}


class Refused(AssertionError):
    def __init__(self, line):
        super().__init__(line)
        self.code = line.split(" ", 2)[1]
        self.text = line.split(" ", 2)[2] if line.count(" ") > 1 else ""


class Console:
    """A connection to the console: ask() for text, json() for JSON."""

    def __init__(self, server=None, address=None):
        if address:
            self.socket = socket.create_connection(address)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(os.path.join(server.folder, "console.sock"))
        self.socket.settimeout(15 * PATIENCE)
        self.file = self.socket.makefile("rb")
        self.events = []

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self):
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise EOFError(line)
        return line[:-1].decode()

    def reply(self):
        """(status line, body lines)."""
        status = self.line()
        while status.startswith("* "):
            self.events.append(status[2:])
            status = self.line()
        body = []
        while True:
            line = self.line()
            if line == ".":
                return status, body
            body.append(line[1:] if line.startswith(".") else line)

    def raw(self, command):
        self.send(command + "\n")
        return self.reply()

    def ask(self, command):
        status, body = self.raw(command)
        if status != "OK":
            raise Refused(status)
        return "\n".join(body)

    def json(self, command):
        return json.loads(self.ask("json " + command))

    def event(self):
        if not self.events:
            line = self.line()
            assert line.startswith("* "), line
            self.events.append(line[2:])
        return self.events.pop(0)

    def ended(self):
        """Whether the server closes, whatever it says first."""
        try:
            while self.file.readline():
                pass
            return True
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False

    def close(self):
        self.file.close()
        self.socket.close()


class ConsoleTest(Test):
    abstract = True
    config = UNIX

    def setUp(self):
        super().setUp()
        self.console = Console(self.server)

    def tearDown(self):
        self.console.close()
        super().tearDown()

    def ask(self, command):
        return self.console.ask(command)

    def json(self, command):
        return self.console.json(command)

    def denied(self, code, command):
        status, _ = self.console.raw(command)
        self.assertTrue(status.startswith("ERR %s " % code), "%s: %s" % (command, status))
        return status
