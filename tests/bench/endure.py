"""Parts of `./dev bench` about what must not disturb and what must not stay: receivers that do not read, clients that come and go."""

import statistics
import subprocess
import time

from harness import BENCH, Failed, Server, load, metric
from parts import Row, wait_connections

# --- Silent receivers ----------------------------------------------------------------------------------------------------------

READERS, SILENT = 900, 100
QUEUE = 1 << 20          # limits.output_queue, as shipped
FILL_BYTES = 16000       # contents that fill the queues of those who do not read


class Silent:
    """Members of the channel that read nothing, with their queues full."""

    def __init__(self, server, n, channel):
        self.server, self.n, self.channel = server, n, channel

    def __enter__(self):
        self.run = subprocess.Popen([BENCH, "-a", "127.0.0.1:%d" % self.server.tcp, "-q", "--json", "--pid", str(self.server.pid), "connect", "--silent", "-c",
                                     str(self.n), "-d", "600", "--channel", self.channel], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_connections(self.server, self.n + 1, self.run)
        return self

    def fill(self):
        """Until all of them are skipped: then their sockets are full, and the soft half of their queues."""
        for _ in range(20):
            before = metric(self.server, "magpie_skipped_total")
            load(self.server, "channel", "-c", 1, "-k", 8, "-n", 50, "--warmup", 0, "-s", FILL_BYTES, "--channel", self.channel)
            if metric(self.server, "magpie_skipped_total") - before == 50 * self.n:
                return
        raise Failed("those who do not read are not full after 1000 messages of %d bytes" % FILL_BYTES)

    def __exit__(self, *unused):
        self.run.terminate()
        self.run.wait()


def silent(quick):
    """The p99 of 900 receivers' deliveries with 100 more that never read, against the same without; two servers in turns."""
    readers, n = (90, 10) if quick else (READERS, SILENT)
    rounds, seconds = (1, 0.5) if quick else (9, 1.5)
    with Server(threads=0) as without, Server(threads=0) as beside:
        before = beside.own_memory()
        with Silent(beside, n, "channel") as quiet:
            quiet.fill()
            grown = (beside.own_memory() - before) / n
            figures = ([], [])
            for i in range(rounds):
                for server, out in zip((without, beside) if i % 2 else (beside, without), figures[::1] if i % 2 else figures[::-1]):
                    f = load(server, "channel", "-c", readers, "-k", 4, "--rate", 100, "-d", seconds, "--warmup", 0.3, "--channel", "channel")
                    out.append(f["delivery_latency_us"]["p99"] / 1e3)
            queued = metric(beside, "magpie_output_queued_bytes") / n
    yield Row("silent", "p99 of %d receivers, beside %d that never read" % (readers, n), statistics.median(figures[1]), "ms", statistics.median(figures[0]), 1.1)
    yield Row("silent.queue", "unsent for one that never reads", queued, "bytes", None, QUEUE)
    yield Row("silent.memory", "memory for one that never reads", grown, "bytes", None, QUEUE)


# --- Clients that come and go ----------------------------------------------------------------------------------------------------

SETTLE_S = 6  # within five seconds the server gives back what it needs no more


def memory(server):
    """Bytes of the process, and of it what is not the database's, when the server has settled."""
    time.sleep(SETTLE_S)
    m = server.console("show memory")
    if m["connections"]:
        raise Failed("%d connections have not gone" % m["connections"])
    return m["rss"], m["rss"] - m["storage"]


def come_and_go(n, kind, *options, warm):
    """n logins with a subscription that go at once: what is resident after them, against after the first `warm` of them."""
    with Server(threads=0) as server:
        load(server, "connect", "--leave", "-c", warm, "-d", 0, "--channel", "gone", *options)
        before = memory(server)
        load(server, "connect", "--leave", "-c", n, "-d", 0, "--channel", "gone", *options)
        after = memory(server)
    return before, after


def reconnect(quick, n=None):
    """Resident size after clients came and went, against after the first of them: known users with their tokens; and guests, each of them new, whose
    rows the database keeps for a day."""
    n = n or (2000 if quick else 100000)
    warm = max(n // 10, 1000)
    before, after = come_and_go(n, "known", "--users", 100, warm=warm)
    yield Row("reconnect", "process, after %d logins and closes" % n, after[0] / 2**20, "MiB", before[0] / 2**20, 1.01)
    before, after = come_and_go(n, "new", warm=warm)
    yield Row("reconnect.guests", "  without the database, each a new guest", after[1] / 2**20, "MiB", before[1] / 2**20, 1.01)


def reconnect_million(quick):
    yield from reconnect(quick, 20000 if quick else 1000000)
