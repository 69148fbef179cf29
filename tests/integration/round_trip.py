"""What a server leaves behind goes out and in again: with MAGPIE_ROUND_TRIP=1 each server that ends well is exported,
imported, and exported once more, and with MAGPIE_TEST_REDIS through that Redis Cluster too. All exports must say the
same."""

import os
import subprocess
import sys

import export_file

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REDIS = os.environ.get("MAGPIE_TEST_REDIS", "")
USER, _, PASSWORD = os.environ.get("MAGPIE_TEST_REDIS_USER", "").partition(":")


def magpied(program, *arguments):
    r = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=300)
    if r.returncode != 0:
        raise AssertionError("%s: exit status %d\n%s" % (" ".join(arguments), r.returncode, r.stderr))


def config(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as f:
        f.write(text)
    return path


def said(path, cluster=False):
    """An export as what is in it: without the clocks, and what an engine does not keep."""
    out = []
    for r in export_file.records(path):
        if r[0] == "store" or (cluster and r[0] in ("dedup", "digest", "floor")):
            continue
        if cluster and r[0] == "conv":
            seq, given = r[2], r[3]  # a jump to come is made at once
            r = (*r[:2], max(seq, given), max(seq, given), *r[4:6], 0, 0, 0, *r[9:])
        if cluster and r[0] == "deleted" and not r[4]:
            r = (*r[:3], 0, r[4])
        out.append(r)
    return sorted(out)


def same(what, a, b):
    if a != b:
        lost, more = [r for r in a if r not in b][:5], [r for r in b if r not in a][:5]
        raise AssertionError("round trip %s: lost %s, more %s" % (what, lost, more))


def through_cluster(program, folder, first):
    from redis_cluster import forget
    prefix = "t%d:" % os.getpid()
    members = ", ".join('"%s"' % a for a in REDIS.split(","))
    user = 'username = "%s", password = "%s", ' % (USER, PASSWORD) if USER else ""
    path = config(folder, "round-redis.lua",
                  'return { data = "%s/none", cluster = { redis = { %s }, %sprefix = "%s" } }'
                  % (folder, members, user, prefix))
    try:
        magpied(program, "--import", first, "-c", path)
        magpied(program, "--export", first + ".redis", "-c", path)
    finally:
        forget(REDIS, prefix)
    same("through Redis", said(first, True), said(first + ".redis", True))


def check(program, server):
    """Of a server that has ended, and whose data directory is still there."""
    if not os.path.exists(os.path.join(server.folder, "data", "db", "CURRENT")):
        return
    first, second = os.path.join(server.folder, "round-1"), os.path.join(server.folder, "round-2")
    again = config(server.folder, "round.lua", 'return { data = "%s/round" }' % server.folder)
    # By the limits of no config, so that nothing ends on the way.
    old = config(server.folder, "round-old.lua", 'return { data = "%s/data" }' % server.folder)
    magpied(program, "--export", first, "-c", old)
    magpied(program, "--import", first, "-c", again)
    magpied(program, "--export", second, "-c", again)
    same("through another directory", said(first), said(second))
    if REDIS:
        sys.path.insert(0, os.path.join(ROOT, "tests", "cluster"))
        through_cluster(program, server.folder, first)
