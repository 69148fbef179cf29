"""Secrets come from files or the environment and stay there: in no log, no answer of the console, no list of processes,
and in no file but those that are for them."""

import http.client
import json
import os
import re
import subprocess
import time
import unittest

import certs
from base import Test, embedded
from client import LOGIN, PING
from console import Console
from plugin_base import check
from server import MAGPIED, PATIENCE, ROOT, Raw, Server
from test_plugin_auth_jwt import claims, hs
from wire import Closed, WsWire

CTL = os.path.join(os.path.dirname(MAGPIED), "magpiectl")
BENCH = os.path.join(os.path.dirname(MAGPIED), "magpie-bench")

# Every option that is a secret: the variable of the environment that it comes from, and what is in that.
PLANTED = {name: ("MAGPIE_T%d" % i, "planted-%s-0123456789abcdef" % name.replace(".", "-").replace("_", "-"))
           for i, name in enumerate(("auth.secret", "console.password", "http_api.keys", "metrics.bearer",
                                     "webhook.secret", "ask.secret", "auth_jwt.secret"))}
# Secrets of a node of a cluster: tests/cluster/test_start.py plants them, beside a Redis.
CLUSTERED = {"cluster.password", "cluster.archive.url"}
# What looks like a secret by its name, and is none.
HARMLESS = {"tls.key": "a file's name", "auth_jwt.key_files": "names of files"}


def source(*path):
    with open(os.path.join(ROOT, *path)) as f:
        return f.read()


def options():
    """{name: whether it is declared a secret} of every option of the core and of shipped plugins."""
    found = {}
    for name, rest in re.findall(r"^    [A-Z]+\(([\w.]+),((?:[^\n]|\n        )*)",
                                 source("core/config/config_schema.c"), re.M):
        found[name] = bool(re.search(r"\bSECRET\b", rest))
    for plugin in sorted(os.listdir(os.path.join(ROOT, "plugins"))):
        path = os.path.join("plugins", plugin, plugin + ".c")
        if not os.path.exists(os.path.join(ROOT, path)):
            continue
        for table in re.findall(r"struct mp_option \w+\[\] = \{(.*?)^\};", source(path), re.S | re.M):
            for row in re.split(r"\n    (?=\{)", table):
                name = re.search(r'\.name = "(\w+)"', row)
                if name:
                    found[plugin + "." + name.group(1)] = "MP_OPT_F_SECRET" in row
    return found


@embedded("runs no server")
class Declared(unittest.TestCase):
    """The tests below know every secret that there is, and whatever looks like one is declared."""

    def test_all_are_planted(self):
        self.assertEqual({name for name, secret in options().items() if secret},
                         set(PLANTED) | CLUSTERED)

    def test_what_looks_like_one_is_one(self):
        found = options()
        self.assertGreater(len(found), 80)
        looks = {n for n in found if re.search(r"secret|password|passwd|token|bearer|credential|(^|[._])keys?($|_)", n)}
        self.assertEqual({n for n in looks if not found[n]}, set(HARMLESS))


def env(name):
    return Raw('env("%s")' % PLANTED[name][0])


def settings(level, form):
    return {
        "listen": {"console": "unix:console.sock"},
        "log": {"level": level, "format": form},
        "auth": {"mode": "jwt", "secret": env("auth.secret")},
        "console": {"password": env("console.password")},
        "tls": {},
        "plugins": {"load": {
            "http_api": {"keys": [env("http_api.keys")]},
            "metrics": {"bearer": env("metrics.bearer")},
            "webhook": {"url": "http://name:planted-in-the-url@127.0.0.1:9/planted-in-the-path", "timeout_ms": 200,
                        "secret": env("webhook.secret")},
            "ask": {"message": "http://name:planted-in-the-url@127.0.0.1:9/planted-in-the-path", "timeout_ms": 100,
                    "secret": env("ask.secret")},
            "auth_jwt": {"algorithm": "HS256", "secret": env("auth_jwt.secret")},
        }},
    }


ENVIRONMENT = dict(PLANTED.values())


class Planted(Test):
    """Everything that a secret passes through is done, rightly and wrongly, at every level of the log and in both its
    formats."""

    @classmethod
    def setUpClass(cls):
        cls.server = None

    @classmethod
    def tearDownClass(cls):
        pass

    def secrets(self):
        with open(certs.settings()["key"]) as f:
            line = f.read().split("\n")[1]  # of the private key's text
        return ["planted-", line]

    def clean(self, text, where):
        for secret in self.secrets():
            at = text.find(secret)
            self.assertLess(at, 0, "%s: %s" % (where, text[max(at - 200, 0):at + 100]))

    def console(self, s):
        """What the console says to everything that could show a secret."""
        c, said = Console(s), []
        for line in ("auth typed-wrong-password", 'auth "%s"' % PLANTED["console.password"][1], "show config",
                     "config diff", "show config auth", "show config auth.secret", "show config console",
                     "show config console.password", "show config plugins", "show config plugins.load",
                     "show config tls",
                     "set auth.secret typed-by-set-0123456789", "set console.password typed-by-set",
                     "set plugins.load typed-by-set", "typed-command x", "plugin load typed-plugin",
                     "plugin list", "plugin info webhook", "plugin info http_api", "plugin info ask",
                     "plugin info auth_jwt", "plugin info metrics", "list hooks", "show metrics", "list connections",
                     "list routes", "status", "config reload"):
            for form in ("", "json "):
                status, body = c.raw(form + line)
                said.append("\n".join([status] + body))
        c.close()
        return "\n".join(said)

    def http(self, s, method, path, key, body=None):
        c = http.client.HTTPConnection("127.0.0.1", s.websocket, timeout=30 * PATIENCE)
        c.request(method, path, body, {"Authorization": "Bearer " + key} if key else {})
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        return r.status, text

    def use(self, s):
        """Clients of every kind, with the right secrets and with wrong ones; returns what they were answered."""
        said = []
        right = hs(claims(), PLANTED["auth_jwt.secret"][1])
        wrong = hs(claims(name="planted-name"), "planted-wrong-0123456789abcdef0123456789")
        a = self.connect("tcp", s)
        a.request(LOGIN, token=right)
        said.append(json.dumps(self.connect("text", s).ask(LOGIN, token=wrong)))
        self.connect("tls-tcp", s).request(PING)
        a.request(2, receiverId="ada", content="x")
        for path, name in (("/api/v1/users/ada", "http_api.keys"), ("/metrics", "metrics.bearer")):
            key = PLANTED[name][1]
            self.assertEqual(self.http(s, "GET", path, key)[0], 200)
            for method in ("GET", "POST", "OPTIONS"):
                for bad in ("planted-wrong-key-0123456789", None):
                    status, text = self.http(s, method, path, bad, "{}" if method == "POST" else None)
                    self.assertIn(status, (401, 403, 404, 405))
                    said.append(text)
        try:
            w = WsWire(s.websocket, path="/?token=planted-in-the-query")
            w.close()
        except (Closed, AssertionError):
            pass
        return "\n".join(said)

    def wrong_configs(self, s):
        """Reloads of configs that are refused, each with its errors."""
        for over in ({"auth": {"secret": "planted-short"}}, {"auth": {"secret": 17}},
                     {"console": {"password": ["planted-in-a-list"]}}, {"plugins": {"load": {"http_api": {"keys": [
                         "planted-x"]}}}}, {"plugins": {"load": {"webhook": {"secret": "planted-x"}}}},
                     {"plugins": {"load": {"ask": {"secret": {"planted-key": "planted-x"}}}}},
                     {"plugins": {"load": {"auth_jwt": {"secret": "planted-x"}}}},
                     {"plugins": {"load": {"metrics": {"bearer": " planted-blank "}}}},
                     {"auth": {"secret": Raw("planted-unquoted")}}):
            before = s.config
            s.rewrite(over)
            s.reload()
            yield over
            s.config = before

    def test_every_level_and_format(self):
        for level, form in (("debug", "text"), ("debug", "json"), ("info", "text"), ("warn", "json"),
                            ("error", "text")):
            with self.subTest(level=level, form=form):
                s = Server(settings("debug", form), start=False, environment=ENVIRONMENT)
                try:
                    s.start()
                    if level != "debug":  # the ports are read from the log
                        c = Console(s)
                        c.ask('auth "%s"' % PLANTED["console.password"][1])
                        c.ask("log " + level)
                        c.close()
                    self.clean(self.use(s), "answers")
                    self.clean(self.console(s), "the console")
                    with open("/proc/%d/cmdline" % s.process.pid) as f:
                        self.clean(f.read(), "the command line")
                    if level == "debug":
                        for _ in self.wrong_configs(s):
                            pass
                    for c in self.clients:
                        c.close()
                    time.sleep(0.5)  # webhook and ask fail meanwhile
                    self.assertEqual(s.stop(), 0)
                    self.clean(s.whole_log(), "the log")
                    for typed in ("typed-wrong-password", "typed-by-set"):  # told to nobody but who typed it
                        self.assertNotIn(typed, s.whole_log())
                    self.files(s)
                finally:
                    s.discard()

    def files(self, s):
        """What it stored: texts, the journal of the webhook, tickets."""
        for folder, _, names in os.walk(os.path.join(s.folder, "data")):
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    self.clean(f.read().decode("latin-1"), name)

    def test_checked_configs(self):
        """magpied -t, with what is right and what is not."""
        s = Server(settings("debug", "text"), start=False, environment=ENVIRONMENT)
        try:
            for name, (variable, text) in PLANTED.items():
                os.environ[variable] = text
            status, said = check(s)
            self.assertEqual(status, 0, said)
            self.clean(said, "-t")
            refused = 0
            for name, (variable, _) in PLANTED.items():
                for bad in ("planted-", " planted-\x01 ", ""):  # too short, or no bearer
                    os.environ[variable] = bad
                    status, said = check(s)
                    refused += status != 0
                    self.clean(said, "-t with a bad " + name)
                del os.environ[variable]
                status, said = check(s)
                self.assertEqual(status, 1)
                self.assertIn(variable, said)
                self.clean(said, "-t without " + variable)
                os.environ[variable] = PLANTED[name][1]
            self.assertGreater(refused, 10)
        finally:
            for variable, _ in PLANTED.values():
                os.environ.pop(variable, None)
            s.discard()


class CommandLines(Test):
    """No program takes a secret from its command line: everybody on the machine can read that."""

    config = {"listen": {"console": "unix:console.sock"}, "console": {"password": "planted-password"}}

    def ctl(self, *arguments, stdin="", password=None):
        environment = {k: v for k, v in os.environ.items() if k != "MAGPIE_PASSWORD"}
        if password:
            environment["MAGPIE_PASSWORD"] = password
        return subprocess.run([CTL, "-s", "unix:" + os.path.join(self.server.folder, "console.sock"), *arguments],
                              input=stdin, capture_output=True, text=True, timeout=60 * PATIENCE, env=environment)

    def test_magpiectl(self):
        for words in (("auth", "planted-password"), ("auth planted-password",), ("json", "auth", "planted-password")):
            r = self.ctl(*words)
            self.assertEqual(r.returncode, 2, r.stdout + r.stderr)
            self.assertIn("MAGPIE_PASSWORD", r.stderr)
            self.assertNotIn("planted", r.stdout + r.stderr)
        self.assertNotIn("console.auth", self.server.log())
        # What it takes instead: the environment, or lines that it reads.
        self.assertIn("name: magpied", self.ctl("version", password="planted-password").stdout)
        self.assertIn("name: magpied", self.ctl(stdin="auth planted-password\nversion\n").stdout)
        self.assertEqual(self.ctl("version").returncode, 1)

    def test_no_option_is_a_secret(self):
        for program in (MAGPIED, CTL, BENCH):
            text = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=30).stdout
            self.assertTrue(text)
            self.assertEqual(re.findall(r"--\w*(?:password|secret|token)\w*", text), [])
