"""etc/: what it says of the server is so. Dashboards and alerts name figures that exist, completion knows the commands,
the log's events are all in docs/operations.md, a bad config fails the reload."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
import urllib.request

import scrape
from base import Test, embedded
from plugin_base import Console
from server import MAGPIED, PATIENCE, ROOT, Server

ETC = os.path.join(ROOT, "etc")


def read(*path):
    with open(os.path.join(ROOT, *path)) as f:
        return f.read()


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=60 * PATIENCE, stdin=subprocess.DEVNULL,
                          **more)


def alerts():
    """Name → expression, of alerts.yml: of it as it is written, since Python has no YAML of its own."""
    return dict(re.findall(r"- alert: (\w+)\n +expr: (.+)\n", read("etc", "prometheus", "alerts.yml")))


class Figures(Test):
    config = {"plugins": {"load": {"metrics": {}}}, "listen": {"metrics": "127.0.0.1:0"},
              "scripts": {"load": ["ratelimit", "merge_push", "tiered_expiry"]}}

    def scraped(self):
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.server.metrics, timeout=30) as answer:
            return scrape.families(answer.read().decode())

    def exists(self, expression, families, where):
        """Every figure of it is served, with the labels that it asks for."""
        named = re.findall(r"\b((?:magpie|process)_[a-z0-9_]+)(?:\{([^}]*)\})?", expression)
        self.assertTrue(named or expression.startswith("up{"), where)
        for name, labels in named:
            family = next((n for n in (name, name.removesuffix("_bucket")) if n in families), None)
            self.assertIsNotNone(family, "%s: there is no %s" % (where, name))
            self.assertEqual(family != name, families[family][0] == "histogram", where)
            served = {label for sample in families[family][1] for label in re.findall(r'[{,](\w+)="', sample)}
            for label, value in re.findall(r'(\w+)=~?"([^"]*)"', labels):
                if label in ("instance", "job"):
                    continue  # Prometheus's own
                self.assertIn(label, served, where)
                self.assertTrue(any('%s="%s"' % (label, value) in s for s in families[family][1]), where)
        known = {label for name, _ in named for f in (name, name.removesuffix("_bucket"))
                 for sample in families.get(f, (None, {}))[1] for label in re.findall(r'[{,](\w+)="', sample)}
        for by in re.findall(r"by \(([^)]*)\)", expression):
            self.assertEqual(set(re.split(r", *", by)) - known - {"instance", "job"}, set(), where)
        return known

    def test_alerts(self):
        families, rules = self.scraped(), alerts()
        self.assertGreaterEqual(len(rules), 10)
        self.assertEqual(read("etc", "prometheus", "alerts.yml").count("- alert:"), len(rules))
        for name, expression in rules.items():
            self.exists(expression, families, name)

    def test_alerts_are_explained(self):
        part = read("docs", "operations.md").split("## Monitoring")[1].split("\n## ")[0]
        self.assertEqual(set(re.findall(r"`(Magpie\w+)`", part)), set(alerts()))

    def test_promtool(self):
        tool = shutil.which("promtool")
        if not tool:
            self.skipTest("promtool is not installed (Debian's package prometheus)")
        r = run(tool, "check", "rules", os.path.join(ETC, "prometheus", "alerts.yml"))
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.server.metrics, timeout=30) as answer:
            r = subprocess.run([tool, "check", "metrics"], input=answer.read(), capture_output=True, timeout=60)
        self.assertEqual((r.returncode, r.stderr), (0, b""))

    @embedded("the dashboard has the disk of RocksDB")
    def test_dashboard(self):
        board, families = json.loads(read("etc", "grafana", "magpie.json")), self.scraped()
        panels = board["panels"]
        self.assertEqual(len({p["id"] for p in panels}), len(panels))
        self.assertEqual(len({p["title"] for p in panels}), len(panels))
        places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}
        self.assertEqual(len(places), len(panels), "none lies on another")
        variables = {v["name"] for v in board["templating"]["list"]}
        for p in panels:
            self.assertTrue(p["targets"], p["title"])
            for t in p["targets"]:
                labels = self.exists(t["expr"], families, p["title"])
                self.assertEqual(set(re.findall(r"\{\{(\w+)\}\}", t["legendFormat"])) - labels - {"instance"}, set(),
                                 p["title"])
                self.assertEqual(set(re.findall(r"\$(\w+)", t["expr"])) - variables - {"__rate_interval"}, set())
            self.assertEqual(p["datasource"]["uid"], "${datasource}")


@embedded("runs no server")
class Units(unittest.TestCase):
    def directives(self, *path):
        return [line for line in read("etc", *path).splitlines() if line and not line.startswith("#")]

    def test_several_nodes(self):
        """magpied@.service is magpied.service, each instance with places of its own."""
        one = [line.replace("/etc/magpie/magpie.lua", "/etc/magpie/%i.lua")
               for line in self.directives("magpied.service")]
        for name in ("StateDirectory=magpie", "WorkingDirectory=/var/lib/magpie", "RuntimeDirectory=magpie",
                     "Description=Magpie instant-messaging server"):
            at = one.index(name)
            one[at] += ", node %i" if name.startswith("Description") else "/%i"
        self.assertEqual(self.directives("systemd", "magpied@.service"), one)

    def test_redis_waits(self):
        lines = self.directives("systemd", "redis-magpie@.service")
        for line in ("ExecStartPre=/bin/sleep 15", "RestartSec=15", "Restart=always"):
            self.assertIn(line, lines)

    def test_systemd_reads_them(self):
        tool = shutil.which("systemd-analyze")
        if not tool:
            self.skipTest("there is no systemd-analyze")
        folder = tempfile.mkdtemp(prefix="magpie-units-")
        self.addCleanup(shutil.rmtree, folder)
        for name in ("magpied@.service", "redis-magpie@.service"):
            text = re.sub(r"^(Exec\w+=)\S+", r"\1/bin/true", read("etc", "systemd", name), flags=re.M)
            with open(os.path.join(folder, name), "w") as f:
                f.write(re.sub(r"^(User|Group)=.*", r"\1=nobody", text, flags=re.M))
            r = run(tool, "verify", os.path.join(folder, name.replace("@", "@1")))
            self.assertNotRegex(r.stderr, r"Unknown|Failed to parse|Invalid", name)


class Completion(Test):
    config = {"listen": {"console": "127.0.0.1:0"}}

    def commands(self):
        console = Console(self.server)
        self.addCleanup(console.close)
        return sorted(c["name"] for c in console("help"))

    def test_lists(self):
        """The static lists are the server's own commands, all of them and no others."""
        listed = read("etc", "bash-completion", "magpie").split('_magpie_commands="')[1].split('"')[0]
        self.assertEqual([c.strip() for c in " ".join(listed.split()).split(";")], self.commands())
        listed = read("etc", "zsh", "_magpie").split("_magpie_commands=(")[1].split("\n)")[0]
        self.assertEqual(re.findall(r"'([^']+)'", listed), self.commands())

    def completed(self, *words):
        """What bash offers for the last word."""
        script = '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _"$1"; printf "%s\\n" "${COMPREPLY[@]}"'
        r = run("bash", "-uc", script, "bash", os.path.join(ETC, "bash-completion", "magpie"), *words)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        return r.stdout.split()

    def test_bash(self):
        names = self.commands()
        self.assertEqual(self.completed("magpiectl", ""), sorted({n.split()[0] for n in names}))
        self.assertEqual(self.completed("magpiectl", "st"), ["status", "storage"])
        self.assertEqual(self.completed("magpiectl", "-s", "unix:x", "-f", "json", "storage", "c"),
                         ["checkpoint", "clock", "compact"])
        self.assertEqual(self.completed("magpiectl", "storage", "nothing", ""), [])
        self.assertEqual(self.completed("magpiectl", "-f", ""), ["text", "json"])
        usage = run(os.path.join(os.path.dirname(MAGPIED), "magpiectl"), "--help").stdout
        for option in self.completed("magpiectl", "-"):
            self.assertIn(option, usage)
        usage = run(MAGPIED, "--help").stdout
        for option in self.completed("magpied", "-"):
            self.assertIn(option, usage)

    def test_zsh(self):
        if not shutil.which("zsh"):
            self.skipTest("zsh is not installed")
        r = run("zsh", "-n", os.path.join(ETC, "zsh", "_magpie"))
        self.assertEqual((r.returncode, r.stderr), (0, ""))


@embedded("runs no server")
class Machine(unittest.TestCase):
    def test_reload_checks_first(self):
        """systemd runs the lines one after the other and stops at the first that fails."""
        lines = re.findall(r"^ExecReload=(.+)$", read("etc", "magpied.service"), re.M)
        self.assertEqual(lines, ["/usr/bin/magpied -t -c /etc/magpie/magpie.lua", "/bin/kill -HUP $MAINPID"])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "magpie.lua")
            good = "return { data = '%s' }" % folder
            for text, status in ((good, 0), ("return { nonsense = 1 }", 1), ("return {", 1)):
                with open(path, "w") as f:
                    f.write(text)
                self.assertEqual(run(MAGPIED, "-t", "-c", path, cwd=ROOT).returncode, status, text)

    def test_systemd_takes_them(self):
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(os.path.join(folder, "etc"))
            for tool, name in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")):
                with self.subTest(tool=tool):
                    if not shutil.which(tool):
                        self.skipTest(tool + " is not installed")
                    more = ["--create"] if tool == "systemd-tmpfiles" else []
                    r = run(tool, "--root=" + folder, *more, os.path.join(ETC, name, "magpie.conf"))
                    if "perat" in r.stderr and os.geteuid() != 0:
                        self.skipTest(tool + " wants to be root")
                    self.assertEqual(r.returncode, 0, r.stderr)
            with open(os.path.join(folder, "etc", "passwd")) as f:
                self.assertRegex(f.read(), r"^magpie:x:\d+:\d+:Magpie instant messaging:/var/lib/magpie:")

    def test_logrotate(self):
        """Whoever rotates as the file says loses no line."""
        tool = shutil.which("logrotate") or "/usr/sbin/logrotate"
        if not os.path.exists(tool):
            self.skipTest("logrotate is not installed")
        r = run(tool, "-d", os.path.join(ETC, "logrotate.d", "magpie"))
        self.assertNotIn("error:", r.stderr.replace("error: skipping", "").replace("unknown user", ""))

    def test_descriptors(self):
        """limits.connections is what the machine has; who asks for more by hand is told."""
        for limits, told in (({}, False), ({"connections": 700}, False), ({"connections": 5000}, True)):
            with Server({"listen": {"console": "127.0.0.1:0"}, "limits": limits, "threads": 1},
                        prefix=["prlimit", "--nofile=800:800"]) as s:
                console = Console(s)
                number = console("show config limits.connections")["limits.connections"]
                console.close()
                self.assertEqual("limit.descriptors" in s.whole_log(), told, limits)
                if limits:
                    self.assertEqual(number, limits["connections"])
                else:
                    self.assertTrue(700 < number < 800 or number > 100000, number)  # or it may raise the limit


@embedded("runs no server")
class Events(unittest.TestCase):
    CALL = re.compile(r"\b(log_event|log_write|log_write_all|log_lines|log_line_format|put_event|told|log)\s*\("
                      r'((?:[^"();]|\([^()]*\))*)"([a-z0-9_]+\.[a-z0-9_]+)"')
    PLUGINS = re.compile(r"->log\(([^;]*?)\);", re.S)

    def sources(self):
        """Event → where it is."""
        found = {}
        for top in ("core", "storage", "plugins"):
            for folder, _, files in os.walk(os.path.join(ROOT, top)):
                for name in files:
                    path = os.path.relpath(os.path.join(folder, name), ROOT)
                    if not name.endswith(".c") or path.startswith(("core/tools/", "core/client/")):
                        continue
                    text = read(path)
                    for m in self.CALL.finditer(text):
                        found.setdefault(m[3], path)
                    for m in re.finditer(r'log_event\([^;"]*\? "([a-z0-9_.]+)"\s*: "([a-z0-9_.]+)"', text):
                        found.setdefault(m[1], path)
                        found.setdefault(m[2], path)
                    for m in re.finditer(r'\.event = "([a-z0-9_]+\.[a-z0-9_]+)"', text):  # of a table
                        found.setdefault(m[1], path)
                    if top == "plugins":
                        for m in self.PLUGINS.finditer(text):
                            for event in re.findall(r'"([a-z_]+)"', m[1]):
                                found.setdefault("%s.%s" % (os.path.basename(folder), event), path)
        return found

    def test_all_are_in_the_table(self):
        text = read("docs", "operations.md")
        table = text.split("| event | level |")[1].split("\n\n")[0]
        security = set(re.findall(r"`([a-z]+\.[a-z]+)`(?=[^|]*\|)", text.split("| event | |")[1].split("\n\n")[0]))
        security -= {"console.command"}
        written = {m[1] for p in ("core", "storage") for folder, _, files in os.walk(os.path.join(ROOT, p))
                   for f in files if f.endswith(".c")
                   for m in re.finditer(r'(?:security_event|login_note)\([^;]*?"([a-z]+\.[a-z]+)"',
                                        read(os.path.join(folder, f)))}
        self.assertEqual(security, written | {"ban.lifted", "ban.made"})
        rows = re.findall(r"^\| `([a-z0-9_]+\.[a-z0-9_]+)` \| ([a-z, ]+) \| (.+) \|$", table, re.M)
        self.assertEqual(len(rows), table.count("\n") - 1, "every row is read")
        names = [name for name, _, _ in rows]
        self.assertEqual(names, sorted(names), "and found quickly")
        found = self.sources()
        self.assertGreater(len(found), 70)
        self.assertEqual({e: p for e, p in found.items() if e not in names}, {}, "events that the table lacks")
        self.assertEqual(set(names) - set(found), set(), "events that nobody logs")
        for name, levels, _ in rows:
            self.assertEqual(set(levels.split(", ")) - {"debug", "info", "warn", "error"}, set(), name)
