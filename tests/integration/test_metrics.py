"""What the server counts, as Prometheus reads it: each figure moves with what it counts, and nothing else does."""

import os
import socket
import subprocess
import time
import urllib.request

import certs
import scrape
from base import Test, embedded, one_process, smoke, variants
from client import LOGOUT, SEND_CHANNEL, SEND_USER
from plugin_base import Console
from server import MAGPIED, ROOT


@one_process("figures of one process")
class Counted(Test):
    abstract = True
    config = {"plugins": {"load": {"metrics": {}}}, "listen": {"metrics": "127.0.0.1:0"}}

    def setUp(self):
        super().setUp()
        self.eventually(lambda: self.settled(0))  # the clients of the test before have gone …
        self.eventually(self.still)  # … and all that they were is told

    def still(self):
        """No shard has told of an end since two ticks: those that were never opened are in no sum."""
        names = ("magpie_connections_lost_total", "magpie_connections_refused_total", "magpie_closes_total")
        before = self.figures()
        time.sleep(0.6)
        now = self.figures()
        return all(self.total(before, n) == self.total(now, n) for n in names)

    def settled(self, clients):
        """Every connection that was opened is there, or has been counted as closed; the scrape's own is neither."""
        now = self.figures()
        closed = self.total(now, "magpie_closes_total")
        return now["magpie_connections"] == clients + 1 and now["magpie_connections_opened_total"] - closed == clients

    def families(self, server=None):
        port = (server or self.server).metrics
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=30) as answer:
            return scrape.families(answer.read().decode())

    def figures(self, server=None):
        return {key: value for _, samples in self.families(server).values() for key, value in samples.items()}

    def rises(self, before, wanted, server=None):
        """These figures rise by so much; shards tell them some times a second."""
        def seen():
            now = self.figures(server)
            return {key: now.get(key, 0) - before.get(key, 0) for key in wanted}

        try:
            self.eventually(lambda: seen() == wanted)
        except AssertionError:
            self.assertEqual(seen(), wanted)

    @staticmethod
    def total(figures, name):
        return sum(value for key, value in figures.items() if key.startswith(name + "{"))


@variants(("tcp", 1), ("text", 2))
class OfClients(Counted):
    @smoke
    def test_build_and_shards(self):
        figures = self.figures()
        version = subprocess.run([MAGPIED, "--version"], stdout=subprocess.PIPE, text=True).stdout.split()[1]
        self.assertEqual(figures['magpie_build_info{version="%s"}' % version], 1)
        shards = self.config["threads"]
        for name in ("magpie_shard_cpu_seconds_total", "magpie_shard_users"):
            self.assertEqual([k for k in figures if k.startswith(name)],
                             ['%s{shard="%d"}' % (name, i) for i in range(shards)])

    def test_refusals(self):
        """Whoever answers: a handler at once, after the store, the net, before login."""
        ada, bob = self.users("Ada", "Bob")
        before = self.figures()
        self.refused("not_found", ada, SEND_USER, content="x", receiverId="nobody")
        self.refused("unknown_action", ada, 999)
        self.refused("bad_request", ada, SEND_USER, content=7)
        self.connect().ask(SEND_USER, content="x", receiverId=bob.id)
        wanted = {'magpie_refusals_total{code="%s"}' % code: 1 for code in ("not_found", "unknown_action",
                                                                            "bad_request", "unauthorized")}
        self.rises(before, dict(wanted, **{'magpie_refusals_total{code="internal"}': 0}))

    def test_framing_is_a_refusal_too(self):
        before = self.figures()
        with socket.create_connection(("127.0.0.1", self.server.tcp)) as s:
            s.sendall(b"\x7f\xff\xff\xff")
            while s.recv(4096):
                pass
        with socket.create_connection(("127.0.0.1", self.server.tcp)) as s:
            s.sendall(b"\0\0\0\1")
            while s.recv(4096):
                pass
        self.rises(before, {'magpie_refusals_total{code="too_large"}': 1,
                            'magpie_refusals_total{code="bad_request"}': 1,
                            'magpie_closes_total{reason="protocol"}': 2,
                            'magpie_connections_lost_total{stage="login"}': 2})

    def test_logins_and_closes(self):
        before = self.figures()
        ada = self.user("Ada", device="d")
        again = self.again(ada, device="d")
        ada.closing()
        again.request(LOGOUT)
        self.connect().close()
        self.rises(before, {"magpie_logins_total": 2, 'magpie_closes_total{reason="replaced"}': 1,
                            'magpie_closes_total{reason="logout"}': 1, 'magpie_closes_total{reason="peer"}': 1,
                            'magpie_closes_total{reason="kicked"}': 0,
                            'magpie_connections_lost_total{stage="login"}': 1})
        self.eventually(lambda: self.settled(0))

    def test_latencies(self):
        """One in eight is timed, of channels and of private messages: so sixteen of them, each after the other."""
        ada, bob = self.users("Ada", "Bob")
        name = self.channel(ada, bob)
        before = self.figures()
        for i in range(16):
            ada.say(name, "x%d" % i)
            bob.push(102)
        now = self.figures()
        appends = "magpie_store_append_seconds_count"
        self.assertGreaterEqual(now[appends], before[appends] + 2)
        self.eventually(lambda: self.figures()["magpie_delivery_seconds_count"] >=
                        before["magpie_delivery_seconds_count"] + 2)
        middle = self.figures()
        for i in range(16):
            ada.tell(bob.id, "x%d" % i)
            bob.push(101)
        now = self.figures()
        self.assertGreaterEqual(now[appends], middle[appends] + 2)
        self.assertGreaterEqual(now["magpie_delivery_seconds_count"], middle["magpie_delivery_seconds_count"] + 2)
        self.assertGreater(now["magpie_delivery_seconds_sum"], before["magpie_delivery_seconds_sum"])
        # Private messages are answered once they are safe.
        self.assertGreater(now["magpie_store_sync_seconds_count"], before["magpie_store_sync_seconds_count"])
        self.assertEqual(now["magpie_store_sync_seconds_count"], now["magpie_store_syncs_total"])

    def test_process(self):
        pid = self.server.process.pid
        figures = self.figures()
        with open("/proc/%d/stat" % pid) as f:
            ticks = int(f.read().rsplit(")", 1)[1].split()[19])
        with open("/proc/stat") as f:
            boot = [int(line.split()[1]) for line in f if line.startswith("btime")][0]
        self.assertAlmostEqual(figures["process_start_time_seconds"], boot + ticks / os.sysconf("SC_CLK_TCK"), delta=1)
        with open("/proc/%d/limits" % pid) as f:
            limit = [line.split()[3] for line in f if line.startswith("Max open files")][0]
        self.assertEqual(figures["process_max_fds"], float(limit))
        # But for those of the scrape itself.
        self.assertAlmostEqual(figures["process_open_fds"], len(os.listdir("/proc/%d/fd" % pid)), delta=3)
        clients = [self.connect() for _ in range(20)]
        self.eventually(lambda: self.figures()["process_open_fds"] >= figures["process_open_fds"] + 18)
        self.assertEqual(len(clients), 20)
        self.assertGreater(figures["process_virtual_memory_bytes"], figures["process_resident_memory_bytes"])
        self.assertGreater(figures["process_resident_memory_bytes"], 1 << 20)
        self.assertGreater(figures["process_cpu_seconds_total"], 0)


class OfLimits(Counted):
    abstract = False
    config = {"plugins": {"load": {"metrics": {}}},
              "listen": {"metrics": "127.0.0.1:0", "console": "127.0.0.1:0", "proxy": ["127.0.0.3"]},
              "limits": {"connections_per_ip": 6}, "timeouts": {"login": 2},
              "rate": {"user": 0, "channel": 2, "policy": "drop"},
              "tls": certs.settings()}

    def gone(self, first, port=None, source=None):
        """A connection that says this, and nothing more until it is closed."""
        with socket.create_connection(("127.0.0.1", port or self.server.websocket), timeout=30,
                                      source_address=(source, 0) if source else None) as s:
            s.sendall(first)
            s.shutdown(socket.SHUT_WR)
            while s.recv(4096):
                pass

    def lost(self, stage, n=1):
        return {'magpie_connections_lost_total{stage="%s"}' % s: n if s == stage else 0
                for s in ("proxy", "tls", "http", "login")}

    def test_never_a_client(self):
        cases = [("http", {"first": b"GET / HTTP/1.1\r\n"}), ("http", {"first": b"nonsense\r\n\r\n"}),
                 ("http", {"first": b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"}),
                 ("http", {"first": b""}),
                 ("login", {"first": b"", "port": self.server.tcp}),
                 ("tls", {"first": b"", "port": self.server.wss}),
                 ("tls", {"first": b"no TLS at all\r\n", "port": self.server.tcps}),
                 ("proxy", {"first": b"PROXY TCP4 1.2", "source": "127.0.0.3"}),
                 (None, {"first": b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"}),
                 (None, {"first": b"GET / HTTP/1.1\r\n", "port": self.server.metrics})]
        for stage, how in cases:
            before = self.figures()
            try:
                self.gone(**how)
            except ConnectionResetError:
                pass
            with self.subTest(stage=stage, how=how):
                self.rises(before, self.lost(stage))

    def test_no_login_in_time(self):
        before = self.figures()
        c = self.connect()
        self.assertEqual(c.closing()["reason"], "idle")
        self.rises(before, dict(self.lost("login"), **{'magpie_closes_total{reason="idle"}': 1}))

    def test_a_client_is_not_lost(self):
        before = self.figures()
        self.user("Ada").close()
        self.rises(before, {'magpie_closes_total{reason="peer"}': 1})
        self.rises(before, self.lost(None))

    def test_refused(self):
        """At accept, and by a proxy that names somebody who has too many."""
        before = self.figures()
        key = 'magpie_connections_refused_total{limit="connections_per_ip"}'
        # From where nobody else comes: the server may not have seen yet that the last scrape has gone.
        kept = [socket.create_connection(("127.0.0.1", self.server.tcp), source_address=("127.0.0.4", 0))
                for _ in range(7)]
        self.addCleanup(lambda: [s.close() for s in kept])
        self.rises(before, {key: 1})
        named = b"PROXY TCP4 127.0.0.4 127.0.0.1 1 2\r\n"
        self.gone(named, self.server.tcp, source="127.0.0.3")
        self.rises(before, {key: 2, 'magpie_connections_refused_total{limit="connections"}': 0})

    def test_rates(self):
        ada = self.user("Ada")
        name = self.channel(ada)
        before = self.figures()
        codes = [ada.ask(SEND_CHANNEL, channel=name, content="x").get("error", {}).get("code") for _ in range(4)]
        self.assertEqual(codes, [None, None, "rate_limited", "rate_limited"])
        self.rises(before, {'magpie_rate_limited_total{effect="refused"}': 2,
                            'magpie_rate_limited_total{effect="sliced"}': 0,
                            'magpie_refusals_total{code="rate_limited"}': 2})
        self.server.rewrite({"rate": {"policy": "complete"}})
        self.server.reload()
        self.addCleanup(lambda: (self.server.rewrite({"rate": {"policy": "drop"}}), self.server.reload()))
        name = self.channel(ada)
        before = self.figures()
        for _ in range(4):
            ada.say(name, "x")
        self.rises(before, {'magpie_rate_limited_total{effect="refused"}': 0,
                            'magpie_rate_limited_total{effect="sliced"}': 2})

    @embedded("RocksDB's column families")
    def test_disk(self):
        families = self.families()["magpie_store_disk_bytes"][1]
        names = ("meta", "dm", "small", "large", "inbox", "user", "channel", "dedup")
        self.assertEqual(list(families), ['magpie_store_disk_bytes{family="%s"}' % n for n in names])
        ada = self.user("Ada")
        name = self.channel(ada)
        ada.say(name, "x" * 5000)
        console = Console(self.server)
        self.addCleanup(console.close)
        console("storage flush")
        now = self.figures()
        self.assertGreater(now['magpie_store_disk_bytes{family="small"}'],
                           families['magpie_store_disk_bytes{family="small"}'])
        fs = os.statvfs(os.path.join(self.server.folder, "data"))
        self.assertEqual(now["magpie_data_size_bytes"], fs.f_blocks * fs.f_frsize)
        self.assertGreater(now["magpie_data_free_bytes"], 0)
        self.assertLess(now["magpie_data_free_bytes"], now["magpie_data_size_bytes"])


class OfScripts(Counted):
    abstract = False
    config = {"plugins": {"load": {"metrics": {}}}, "listen": {"metrics": "127.0.0.1:0", "console": "127.0.0.1:0"},
              "rate": {"user": 0, "channel": 0},
              "scripts": {"load": ["ratelimit", "merge_push", "tiered_expiry", "examples/word_filter"]}}

    def test_labels(self):
        scripts = ("ratelimit", "merge_push", "tiered_expiry", "examples/word_filter")
        kinds = {"calls_total": "counter", "errors_total": "counter", "kills_total": "counter",
                 "cpu_seconds_total": "counter", "memory_bytes": "gauge"}
        families = self.families()
        self.assertEqual({n for n in families if n.startswith("magpie_script")}, {"magpie_script_" + k for k in kinds})
        for name, kind in kinds.items():
            self.assertEqual(families["magpie_script_" + name][0], kind)
            self.assertEqual(set(families["magpie_script_" + name][1]),
                             {'magpie_script_%s{script="%s"}' % (name, s) for s in scripts})
        ada = self.user("Ada")
        before = self.figures()
        ada.say(self.channel(ada), "x")
        self.rises(before, {'magpie_script_calls_total{script="examples/word_filter"}': 1})
        console = Console(self.server)
        self.addCleanup(console.close)
        self.eventually(lambda: "ratelimit" in console("top")["scripts"]["magpie_script_cpu_seconds_total"])
        rows = {(m["name"], m["labels"]): m for m in console("show metrics")}
        self.assertIn(("magpie_script_calls_total", 'script="ratelimit"'), rows)
        self.assertIn(("magpie_connections", ""), rows)
