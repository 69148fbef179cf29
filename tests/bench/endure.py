"""Parts of `./dev bench` about what must not disturb and what must not stay: a crowd, receivers that do not read,
clients that come and go."""

import resource
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from growth import SPARE
from harness import BENCH, Failed, Server, load, metric
from million import Turns
from parts import Row, wait_connections


class Generator:
    """A magpie-bench that runs until it is no longer wanted; what it prints is of no interest. `nice` 19: on another
    machine, as far as one machine can show that."""

    def __init__(self, server, scenario, *options, nice=0):
        command = [BENCH, "-a", "127.0.0.1:%d" % server.tcp, "-q", "--json", "--pid", str(server.pid), scenario, "-d",
                   "600"] + [str(o) for o in options]
        if nice:
            command = ["nice", "-n", str(nice)] + command
        self.run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.run.terminate()
        self.run.wait()


# --- A small channel beside a large one -------------------------------------------------------------------------------

CROWD = 100000      # members that the large channel is meant to have
CROWD_RATE = 2      # messages a second to it
GENERATORS = 4      # processes that hold its members
# their niceness: they, and whoever writes there, do not compete with the server and the small channel's clients
ELSEWHERE = 19


def small_channel(server, seconds):
    """The p99 of the deliveries to ten clients of a channel of their own, ms."""
    return load(server, "channel", "-c", 10, "-k", 1, "--rate", 50, "-d", seconds, "--warmup",
                0.5)["delivery_latency_us"]["p99"] / 1e3


def beside_a_crowd(quick):
    """The p99 of a small channel's deliveries while a large one is busy, against the same while that is silent; in
    turns. Of that the server's own part: a message meets a turn of the loop under way when it comes, and another when
    the store answers; in its own turns nothing of the crowd's comes before it. So it waits for two turns, as a ping
    does (see Turns)."""
    crowd, seconds, rounds = (500, 1, 1) if quick else (min(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE,
                                                            CROWD), 2, 5)
    each = crowd // GENERATORS
    alone, beside, own = [], [], []
    with ExitStack() as stack:
        server = stack.enter_context(Server(threads=0))
        for i in range(GENERATORS):
            last = stack.enter_context(Generator(server, "connect", "-c", each - 1, "--channel", "crowd", "--source",
                                                 "127.0.%d.1" % (i + 1), nice=ELSEWHERE))
        wait_connections(server, each * GENERATORS, last.run)
        for _ in range(rounds):
            alone.append(small_channel(server, seconds))
            with Generator(server, "channel", "-c", 1, "-k", 1, "--rate", CROWD_RATE, "--channel", "crowd",
                           nice=ELSEWHERE):
                wait_connections(server, each * GENERATORS + 2)
                turns = Turns(server)
                beside.append(small_channel(server, seconds))
                own.append(Turns(server).since(turns)[2])
            wait_connections(server, each * GENERATORS)
    name = "p99 of 10, beside %d%s" % (each * GENERATORS,
                                       "" if quick or crowd == CROWD else " (descriptors allow no more)")
    yield Row("crowd", name, statistics.median(beside) - statistics.median(alone), "ms more", None, 5)
    yield Row("crowd.server", "  the server's own part at most", statistics.median(own), "ms", None, 5)


# --- Silent receivers -------------------------------------------------------------------------------------------------

READERS, SILENT = 900, 100
QUEUE = 1 << 20          # limits.output_queue, as shipped
SHARE = 1 << 16          # of limits.output_total, for each of them


def fill(server, channel, n, size=16000, messages=50, under_way=8):
    """Until the n members that do not read are all skipped: then their sockets are full, and the soft half of their
    queues, or all together."""
    for _ in range(20):
        before = metric(server, "magpie_skipped_total")
        load(server, "channel", "-c", 1, "-k", under_way, "-n", messages, "--warmup", 0, "-s", size, "--channel",
             channel)
        if metric(server, "magpie_skipped_total") - before == messages * n:
            return
    raise Failed("those who do not read are not full after %d messages of %d bytes" % (20 * messages, size))


def deliveries(server, receivers, rate, seconds):
    """The p99 of the channel's deliveries, ms, and their cost, processor seconds a million."""
    f = load(server, "channel", "-c", receivers, "-k", 8, "--rate", rate, "-d", seconds, "--warmup", 0.5, "--channel",
             "channel")
    return f["delivery_latency_us"]["p99"] / 1e3, f["server_cpu_s_per_million"]


def silent(quick):
    """900 receivers with 100 more that never read, against the same without: two servers at the same time, so that
    whatever else happens hits both. The rates differ a little, and are swapped, so that neither is always second."""
    readers, n = (90, 10) if quick else (READERS, SILENT)
    rounds, seconds = (1, 0.5) if quick else (6, 4)
    with Server(threads=0) as without, Server(threads=0) as beside, ThreadPoolExecutor() as pool:
        before = beside.own_memory()
        with Generator(beside, "connect", "--silent", "-c", n, "--channel", "channel") as quiet:
            wait_connections(beside, n + 1, quiet.run)
            fill(beside, "channel", n)
            grown = (beside.own_memory() - before) / n
            pairs = [list(pool.map(deliveries, (without, beside), (readers, readers), (24, 25) if i % 2 else (25, 24),
                                   (seconds, seconds)))
                     for i in range(rounds)]
            queued = metric(beside, "magpie_output_queued_bytes") / n
    with Server(threads=0, limits={"connections": 0, "output_total": SHARE * n}) as server:
        with Generator(server, "connect", "--silent", "-c", n, "--channel", "channel") as quiet:
            wait_connections(server, n + 1, quiet.run)
            fill(server, "channel", n, 4000, 400, 1)
            total = metric(server, "magpie_output_queued_bytes")
    p99, cost = ([statistics.median(pair[side][figure] for pair in pairs) for side in (0, 1)] for figure in (0, 1))
    yield Row("silent", "p99 of %d, beside %d that never read" % (readers, n), p99[1], "ms", p99[0], 1.1)
    yield Row("silent.cost", "  what a delivery costs", cost[1], "CPU s/M", cost[0], 1.1)
    yield Row("silent.queue", "  unsent for one that never reads", queued, "bytes", None, QUEUE)
    yield Row("silent.total", "  of output_total, when all of them are full", total, "bytes", SHARE * n, 1.1)
    yield Row("silent.memory", "  memory for one that never reads", grown, "bytes", None, QUEUE)


# --- Clients that come and go -----------------------------------------------------------------------------------------

USERS = 16    # who come again, at once as well: more would come without a token at first, and be new
SETTLE_S = 6  # within five seconds the server gives back what it needs no more


def memory(server, seconds):
    """Bytes of the process, and of it what is not the database's, when the server has settled."""
    time.sleep(seconds)
    m = server.console("show memory")
    if m["connections"]:
        raise Failed("%d connections have not gone" % m["connections"])
    return m["rss"], m["rss"] - m["storage"]


def come_and_go(warm, n, settle, *options):
    """What is resident after `warm` logins with a subscription whose clients go at once, and after n more."""
    with Server(threads=0) as server:
        load(server, "connect", "--leave", "-c", warm, "-d", 0, "--channel", "gone", *options)
        before = memory(server, settle)
        load(server, "connect", "--leave", "-c", n, "-d", 0, "--channel", "gone", *options)
        after = memory(server, settle)
    return before, after


def reconnect(quick, n=100000, key="reconnect"):
    """Resident size after clients came and went, against after the first of them: known users with their tokens; and
    guests, each of them new, whose rows the database keeps for a day."""
    n, settle = (1000, 1) if quick else (n, SETTLE_S)
    warm = n // 10
    before, after = come_and_go(warm, n, settle, "--users", USERS, "--concurrency", USERS)
    yield Row(key, "process, after %d logins and closes" % n, after[0] / 2**20, "MiB", before[0] / 2**20, 1.01)
    before, after = come_and_go(warm, n, settle)
    yield Row(key + ".guests", "  without the database, each a new guest", after[1] / 2**20, "MiB", before[1] / 2**20,
              1.1)


def reconnect_million(quick):
    yield from reconnect(quick, 1000000, "reconnects")
