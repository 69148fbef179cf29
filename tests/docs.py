#!/usr/bin/env python3
"""Runs the examples of the documents, so that none is wrong: fenced blocks of every *.md, by what stands behind the
language.

    ```sh test         run by bash in a copy of the environment, from the top of the repository; must exit with 0
    ```python test     run by python3, in the same way
    ```lua config      a whole config file: `magpied -t` must take it (a bare table `{ ... }` gets its `return`)
    ```lua wrong       must be refused; a ```text output block that follows holds the errors
    ```lua script      a script: `magpied -t` must load it
    ```lua test        a test of the script before: `magpied --run-script-tests` must pass
    ```text output     what the block before must have printed; "…" stands for anything

Examples talk to the default addresses; they get a server of their own, on other ports, and those are put in their place
(so is build/magpied, by $MAGPIED, and build/magpiectl beside it). Also checked: links between documents lead somewhere,
the man pages (manpages.py), and that the tests which docs/security.md names are there (promises.py). Last line: "N
passed, N failed".
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import manpages
import promises

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAGPIED = os.environ.get("MAGPIED", os.path.join(ROOT, "build", "magpied"))
FENCE = re.compile(r"^```(\w+) (test|config|wrong|output|script)\s*$")
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
TIMEOUT = 60


def documents():
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f not in ("build", "node_modules", ".git", "data", "__pycache__"))
        for name in sorted(files):
            if name.endswith(".md"):
                yield os.path.join(folder, name)


def blocks(text):
    """(line, language, kind, text) of each marked block."""
    found, start, kind, lines = [], 0, None, []
    for number, line in enumerate(text.split("\n"), 1):
        if kind is None:
            m = FENCE.match(line)
            if m:
                start, kind, lines = number, m.groups(), []
        elif line.startswith("```"):
            found.append((start, *kind, "\n".join(lines) + "\n"))
            kind = None
        else:
            lines.append(line)
    return found


def lua_text(text):
    """A string of Lua."""
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


# How a path stands in an example, by its language: as a word of a shell, inside a string of Python, or in what is
# printed.
QUOTED = {"sh": shlex.quote, "python": lambda path: re.sub(r"([\\\\'\"])", r"\\\1", path), "text": str}

# Files that examples of configs name: they get others in their place.
FILES = {
    "words.txt": "darn\n",
    "login.pem": """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END PUBLIC KEY-----
""",
}
# Variables that they read with env().
VARIABLES = {"MAGPIE_API_KEY": "0123456789abcdef", "MAGPIE_CONSOLE_PASSWORD": "0123456789abcdef",
             "MAGPIE_WEBHOOK_SECRET": "0123456789abcdef"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server for the examples, with its own ports and data."""

    def __init__(self, folder):
        self.folder = folder
        self.tcp, self.websocket, self.console = free_port(), free_port(), free_port()
        config = os.path.join(folder, "docs.lua")
        with open(config, "w") as f:
            f.write('return { listen = { tcp = "127.0.0.1:%d", websocket = "127.0.0.1:%d", console = "127.0.0.1:%d" }, '
                    'data = %s, threads = 2 }\n' % (self.tcp, self.websocket, self.console, lua_text(folder + "/data")))
        self.log = open(os.path.join(folder, "log"), "w+")
        self.process = subprocess.Popen([MAGPIED, "-c", config], stderr=self.log, cwd=folder)

    def wait(self):
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", self.websocket)).close()
                return True
            except OSError:
                if self.process.poll() is not None:
                    return False
                time.sleep(0.1)
        return False

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def placed(self, text, language="text"):
        text = re.sub(r"\b8081\b", str(self.tcp), text)
        text = re.sub(r"\b8082\b", str(self.websocket), text)
        text = re.sub(r"\b8083\b", str(self.console), text)
        for program in ("magpiectl", "magpied"):
            path = QUOTED[language](os.path.join(os.path.dirname(MAGPIED), program))
            text = re.sub(r"(?<![\w/])(\./)?build/%s\b" % program, lambda m: path, text)
        return text

    def placed_config(self, text):
        """Of a config: the files that it names, and where plugins are installed."""
        for name, content in FILES.items():
            path = os.path.join(self.folder, name)
            with open(path, "w") as f:
                f.write(content)
            text = re.sub('"(?:/etc/magpie/)?%s"' % re.escape(name), lambda m: lua_text(path), text)
        plugins = lua_text(os.path.join(os.path.dirname(MAGPIED), "plugins"))
        # as if they lay in the working directory
        text = text.replace("plugins = { load", "plugins = { path = %s, load" % plugins)
        return text.replace('"/usr/lib/magpie/plugins"', plugins)


def same_output(expected, got):
    """Whether the printed text is the expected one, "…" standing for anything."""
    parts = [re.escape(part) for part in expected.strip().split("…")]
    return re.fullmatch(".*".join(parts), got.strip(), re.S) is not None


def run(server, language, kind, text, folder):
    """(ok, output) of one block."""
    if kind in ("config", "wrong"):
        path = os.path.join(folder, "example.lua")
        with open(path, "w") as f:
            f.write(server.placed_config("return " + text if text.lstrip().startswith("{") else text))
        command, wanted = [MAGPIED, "-t", "-c", path], 0 if kind == "config" else 1
        shown = path
    elif language == "lua":
        # The scripts of a document lie in a folder of their own; a test is for the one before it.
        scripts = os.path.join(folder, "scripts")
        os.makedirs(scripts, exist_ok=True)
        with open(os.path.join(scripts, "example.lua" if kind == "script" else "example_test.lua"), "w") as f:
            f.write(text)
        shown, path, wanted = None, os.path.join(folder, "scripts.lua"), 0
        with open(path, "w") as f:
            f.write('return { scripts = { path = %s, load = { "example" } } }\n' % lua_text(scripts))
        command = [MAGPIED, "-t", "-c", path] if kind == "script" else [MAGPIED, "--run-script-tests", scripts]
    else:
        command = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else ["python3", "-c"]
        command, wanted, shown = command + [server.placed(text, language)], 0, None
    environment = dict(os.environ, **VARIABLES, TMPDIR=folder, PYTHONDONTWRITEBYTECODE="1",
                       MAGPIE_CONSOLE="127.0.0.1:%d" % server.console)
    try:
        r = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT,
                           stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return False, "took more than %d s" % TIMEOUT
    output = r.stdout + r.stderr
    if shown:
        output = output.replace(shown, "magpie.lua")
    return r.returncode == wanted, output


class Tally:
    def __init__(self):
        self.passed = self.failed = 0

    def count(self, ok, where, what):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print("%s: %s" % (where, what))


def check_examples(tally, server, path, text, folder):
    output, name = None, os.path.relpath(path, ROOT)
    for line, language, kind, body in blocks(text):
        where = "%s:%d" % (name, line)
        if kind == "output":
            tally.count(output is not None and same_output(server.placed(body), output), where,
                        "the block before printed:\n%s" % output)
            continue
        ok, output = run(server, language, kind, body, folder)
        tally.count(ok, where, "this example fails:\n%s" % output)


def check_links(tally, path, text):
    name = os.path.relpath(path, ROOT)
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    for target in LINK.findall(text):
        if "://" not in target and not target.startswith("mailto:"):
            tally.count(os.path.exists(os.path.join(os.path.dirname(path), target)), name,
                        "the link to %s leads nowhere" % target)


def main():
    tally = Tally()
    folder = tempfile.mkdtemp(prefix="magpie-docs-")
    server = Server(folder)
    try:
        if not server.wait():
            server.log.seek(0)
            tally.count(False, "tests/docs.py", "the server does not start:\n" + server.log.read())
            return tally
        for path in documents():
            with open(path, encoding="utf-8") as f:
                text = f.read()
            check_links(tally, path, text)
            check_examples(tally, server, path, text, folder)
        for ok, where, what in manpages.check(os.path.dirname(MAGPIED), server, folder):
            tally.count(ok, where, what)
        for ok, where, what in promises.everything():
            tally.count(ok, where, what)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return tally


if __name__ == "__main__":
    result = main()
    print("%d passed, %d failed" % (result.passed, result.failed))
    sys.exit(1 if result.failed else 0)
