#!/usr/bin/env python3
"""The layers of core/ and storage/ (docs/architecture.md) and the rooms within them: no lower one includes an upper
one, siblings do not know each other, a header that is not public stays in its room, what a header declares the file of
its name defines, and every header compiles alone. Prints every offence as FILE:LINE, and last "N passed, N failed"."""

import concurrent.futures
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Room:
    """A folder, or a single file, of the source.

    may:     the rooms whose public headers it includes; naming a layer ("core/hub", "storage") names all rooms in it.
             A header may stand here too.
    public:  the headers that other layers include; None: all but *_private.h
    inner:   headers that only the other rooms of the same layer include; *_private.h among them where a folder is
             divided into rooms, for these
    checked: what its headers declare is defined in the .c of the same name (x.h and x_private.h: x.c, or x_*.c), or by
             a macro there
    only:    public headers that are for some layers alone: {header: layers}
    """

    def __init__(self, may, public=None, inner=(), checked=False, only=None):
        self.may, self.public, self.inner, self.checked, self.only = may, public, inner, checked, only or {}


# The rooms of the hub, lowest first, and the layers that it stands on.
LOW = ["core/base", "core/net", "storage"]
HUB = ["core/hub/shard", "core/hub/registry", "core/hub/people", "core/hub/talk", "core/hub/act", "core/hub/host"]

# What each room of the engine over Redis stands on; its rooms know each other as far as they say.
REDIS = ["core/base", "storage", "storage/redis"]

# Lowest first. A file belongs to the longest name that it begins with. A layer is a top folder here; its rooms are the
# names that continue it, and those must name each other one by one. A new header is nobody's but its room's until it is
# listed.
ROOMS = {
    "core/base": Room([], checked=True),
    "core/net/tls": Room(["core/base", "core/net/stream.h"], ["context.h", "rows.h", "session.h", "tickets.h", "tls.h"],
                         ["records.h"], checked=True),
    "core/net": Room(["core/base"],
                     ["accept.h", "address.h", "conn.h", "counts.h", "http.h", "http_conn.h", "input.h", "listener.h",
                      "net.h", "net_shared.h", "proxy.h", "send.h", "stream.h", "url.h", "websocket.h"], checked=True),
    "storage": Room(["core/base"], ["store.h", "conv_key.h", "bus.h", "cluster.h", "dump.h"],
                    ["archive.h", "clock_moves.h", "engine.h", "bus_engine.h", "directory.h", "dump.h", "expiry.h",
                     "page.h"],
                    checked=True, only={"bus.h": ["core/hub"], "dump.h": ["core/server"]}),
    "storage/archive": Room(["core/base", "storage"], [], ["pg.h"], checked=True),
    "storage/archive.c": Room(["core/base", "storage", "storage/archive"]),  # which opens the one that a URL names
    "storage/kv": Room(["core/base", "storage/expiry.h"], [], ["kv.h", "row.h"], checked=True),
    "storage/local": Room(["core/base", "storage", "storage/kv"], [], ["export.h", "import.h", "local.h"],
                          checked=True),
    "storage/redis/client": Room(REDIS + ["storage/redis/bus"], [],
                                 ["broken.h", "call.h", "fan.h", "group.h", "library.h", "link.h", "partition.h",
                                  "queue.h", "resp.h", "slots.h", "walk.h"], checked=True),
    "storage/redis/start": Room(REDIS + ["storage/redis/nodes"], [],
                                ["ask.h", "check.h", "constant.h", "same_archive.h", "view.h"], checked=True),
    "storage/redis/nodes": Room(REDIS + ["storage/redis/client", "storage/redis/ops", "storage/redis/start"], [],
                                ["balance.h", "cluster_clock.h", "node.h", "node_cut.h", "notes.h", "notes_log.h",
                                 "time.h"], checked=True),
    "storage/redis/cold": Room(REDIS + ["storage/redis/client", "storage/redis/nodes"], [],
                               ["behind.h", "cold.h", "cold_change.h"], checked=True),
    "storage/redis/bus": Room(REDIS + ["storage/redis/client", "storage/redis/nodes", "storage/redis/ops"], [],
                              ["bus_private.h", "ear.h", "sessions.h", "tell.h"], checked=True),
    "storage/redis/ops": Room(REDIS + ["storage/redis/client", "storage/redis/nodes", "storage/redis/cold",
                                       "storage/redis/bus"], [],
                              ["channels.h", "gone.h", "halves.h", "history.h", "known.h", "lost.h", "marks.h",
                               "member_half.h", "op.h", "settle.h", "untold.h", "windows.h"], checked=True),
    "storage/redis/dump": Room(REDIS + ["storage/redis/client", "storage/redis/nodes", "storage/redis/ops",
                                        "storage/redis/start"], [], ["export.h", "heads.h", "import.h"], checked=True),
    "storage/redis": Room(REDIS[:2] + ["storage/redis/client", "storage/redis/start", "storage/redis/nodes",
                                       "storage/redis/cold", "storage/redis/bus", "storage/redis/ops"], [],
                          ["io.h", "layout.h", "redis.h", "redis_private.h", "rule.h", "sweep.h", "task.h"],
                          checked=True),
    "storage/store.c": Room(["core/base", "storage", "storage/local", "storage/redis",
                             "storage/redis/dump"]),  # opens the engine asked for
    "core/hub/shard": Room(LOW, ["figures.h", "metric.h", "nodes.h", "note_ears.h", "note_sweep.h", "notes_load.h",
                                "options.h", "process.h", "shard.h", "shards.h", "why.h"],
                         ["bucket.h", "op.h", "token.h", "user_ids.h"], checked=True),
    "core/hub/registry": Room(LOW + HUB[:1],
                              ["action.h", "auth.h", "code.h", "command.h", "hook.h", "hook_wait.h", "route.h",
                               "tables.h"],
                         [], checked=True),
    "core/hub/people": Room(LOW + HUB[:2], ["ban.h", "call.h", "later.h", "trace.h"],
                         ["chan.h", "copy.h", "field.h", "grant.h", "req.h", "session.h", "user.h", "user_news.h",
                          "watch.h"],
                         checked=True),
    "core/hub/talk": Room(LOW + HUB[:3], [],
                         ["change.h", "channel_news.h", "conv.h", "encode.h", "follow.h", "interest.h",
                          "member_news.h", "membership.h", "news.h", "offline.h", "order.h", "publish.h", "send.h",
                          "user_mail.h", "walk.h"], checked=True),
    "core/hub/act": Room(LOW + HUB[:4], ["policy.h", "provider.h"],
                         ["acts.h", "admit.h", "device.h", "guest.h", "heard.h", "login.h", "pending.h",
                          "recover.h", "resync.h", "roam.h"], checked=True),
    "core/hub/host": Room(LOW + HUB[:5],
                          ["ban_change.h", "host.h", "host_account.h", "host_delete.h", "host_edit.h",
                           "host_member.h", "host_recall.h", "host_rule.h", "host_send.h", "snapshot.h"],
                          ["ban_ear.h", "ban_ip.h", "host_announce.h", "host_op.h", "ordered.h"], checked=True),
    "core/hub": Room(LOW + HUB, ["hub.h"], checked=True),  # the roof: hub.c, door.c, turn.c, parts.c
    "core/script": Room(["core/base", "core/net", "storage", "core/hub"], ["scripts.h", "tester.h"], checked=True),
    "core/plugin": Room(["core/base", "core/net", "storage", "core/hub", "plugins/magpie_plugin.h"], ["plugins.h"],
                        checked=True),
    "core/console": Room(["core/base", "core/net", "storage", "core/hub"], ["console.h"]),
    "core/config": Room(["core/base", "core/net", "storage", "core/hub"],
                        ["config.h", "config_commands.h", "config_options.h", "config_value.h", "machine.h",
                         "secret.h"], checked=True),
    "core/client": Room(["core/base"], ["client.h", "client_fields.h", "magpie_client.h"], checked=True),
    "core/tools": Room(["core/base", "core/client"], [], checked=True),
    "core/server": Room(["core/base", "core/net", "storage", "core/hub", "core/script", "core/plugin", "core/console",
                         "core/config"],
                        ["moving.h", "server.h", "settings.h"], checked=True),
    "core/main.c": Room(["core/base", "core/config", "core/script", "core/server"]),
}

# Libraries that only some rooms know: system headers by prefix → who may include them.
LIBRARIES = {
    "rocksdb/": ["storage/kv"],
    "libpq": ["storage/archive"],
    "hiredis/": ["storage/redis/client", "storage/redis/start"],
    "lua": ["core/script", "core/config"],
    "lauxlib": ["core/script", "core/config"],
    "lj_": [],
}

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def in_rooms(name):
    """Whether it is a folder that is divided into rooms, or one of these: they share what is private to it."""
    return "storage/redis" in (name, os.path.dirname(name))


def within(path, name):
    return path == name or path.startswith(name + "/")


def room_of(path):
    return max((name for name in ROOMS if within(path, name)), key=len, default=None)


def layer_of(room):
    """The outermost room around it, which for "storage/store.c" is "storage"."""
    return min((name for name in ROOMS if within(room, name)), key=len)


def sources():
    for top in ("core", "storage", "plugins"):
        for folder, _, files in os.walk(os.path.join(ROOT, top)):
            for name in sorted(files):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), ROOT)


def may_include(mine, theirs):
    """Whether room `mine` names `theirs`: within a layer each room by itself, from another one the layer as a whole."""
    if layer_of(mine) == layer_of(theirs):
        return theirs in ROOMS[mine].may
    return any(within(theirs, name) for name in ROOMS[mine].may)


def is_open(mine, theirs, header):
    """Whether that header of room `theirs` is for room `mine`."""
    room = ROOMS[theirs]
    if layer_of(mine) == layer_of(theirs) and header in room.inner:
        return True
    if layer_of(mine) != layer_of(theirs) and header in room.only:
        return layer_of(mine) in room.only[header]
    return header in room.public if room.public is not None else not header.endswith("_private.h")


def offence(path, kind, target):
    """Why this include is wrong; None when it is right."""
    mine = room_of(path)
    if mine is None:  # a plugin: its own folder and the one header
        own = ("", os.path.dirname(path), "plugins/common")
        if kind == '"' and target != "plugins/magpie_plugin.h" and os.path.dirname(target) not in own:
            return "a plugin includes plugins/magpie_plugin.h, plugins/common and its own folder only"
        return None
    if kind == "<":
        for prefix, allowed in LIBRARIES.items():
            if target.startswith(prefix) and mine not in allowed:
                return f"<{target}> belongs to {', '.join(allowed) or 'nobody'}"
        return None
    if not os.path.exists(os.path.join(ROOT, target)):
        return f'"{target}" is no path from the top of the repository'
    theirs = room_of(target)
    if theirs == mine or target in ROOMS[mine].may:
        return None
    if theirs is None or not may_include(mine, theirs):
        allowed = ", ".join(ROOMS[mine].may) or "itself only"
        return f"{mine} may include {allowed}, not {theirs or os.path.dirname(target)}"
    header = os.path.relpath(target, theirs)
    if not is_open(mine, theirs, header):
        if header in ROOMS[theirs].only:
            return f"{target} is for {', '.join(ROOMS[theirs].only[header])} alone"
        return f"{target} is not public: {theirs} has it for itself (tests/layers.py, ROOMS)"
    return None


def check_includes(path):
    wrong = []
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            m = INCLUDE.match(line)
            why = m and offence(path, m.group(1), m.group(2))
            if why:
                wrong.append(f"{path}:{number}: {why}")
    return wrong


COMMENT = re.compile(r"/\*.*?\*/", re.S)
DECLARED = re.compile(r"^(?!static|typedef|extern|_Static_assert|#|\s)\w[\w \*\(\),]*?\b(\w+)\([^;{}]*?\);", re.M)
DEFINED = re.compile(r"^(?!static|typedef|#|\s)\w[\w \*]*?\b(\w+)\([^;{}]*?\)\s*\{", re.M)
ROW = re.compile(r"^ +[A-Z]\(\w+, +(\w+)", re.M)  # of a list of macros: W(APPEND, append, …)
PASTED = re.compile(r"^ +\w[\w \*]*?\b(\w*##\w+)\([^;{}]*?\)\s*\\?\n? *\{", re.M)


def source_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return COMMENT.sub("", f.read())


def undefined(header, source, rows=()):
    """What the text of a header declares and the text of a source does not define. rows: the names that a list of
    macros has; store_##name defines store_append if append is one of them."""
    defined = set(DEFINED.findall(source))
    defined.update(re.sub(r"##\w+", row, name) for name in PASTED.findall(source) for row in rows)
    return [name for name in DECLARED.findall(header) if name not in defined]


def check_doors(header):
    """What the header declares, and the .c files of its name do not define."""
    stem = header[:-len(".h")].removesuffix("_private")
    folder = os.path.dirname(header)
    files = [os.path.join(folder, name) for name in os.listdir(os.path.join(ROOT, folder))]
    text = "\n".join(source_of(f) for f in files if f == stem + ".c" or (f.startswith(stem + "_") and f.endswith(".c")))
    rows = [name for f in files if f.endswith(".h") for name in ROW.findall(source_of(f))]
    return [f"{header}:1: {name}() is declared here and not defined in {stem}.c or {stem}_*.c"
            for name in undefined(source_of(header), text, rows)]


def check_name(header):
    """One suffix for headers that are a room's own: x_private.h."""
    odd = re.search(r"_(internal|priv|impl|inner|intern)\.h$", header)
    return [f"{header}:1: private headers are called *_private.h"] if odd else []


def pkg_config_flags():
    flags = []
    for package in ("luajit", "libcjson", "libcrypto", "libpq"):
        r = subprocess.run(["pkg-config", "--cflags", package], capture_output=True, text=True)
        flags += r.stdout.split()
    return flags


def check_header(path, flags):
    command = ["gcc", "-std=gnu11", "-D_GNU_SOURCE", '-DMAGPIE_VERSION="0"', "-I", ROOT, "-Wall", "-Wextra", "-Werror",
               "-fsyntax-only",
               "-x", "c", "-include", os.path.join(ROOT, path), "/dev/null"] + flags
    r = subprocess.run(command, capture_output=True, text=True)
    if r.returncode == 0:
        return []
    first = next((line for line in r.stderr.splitlines() if "error" in line), r.stderr.strip())
    return [f"{path}:1: does not compile alone: {first.replace(ROOT + os.sep, '')}"]


def check_readme(folder):
    return [] if os.path.exists(os.path.join(ROOT, folder, "README.md")) else [f"{folder}:1: has no README.md"]


def folders():
    """Every folder that somebody may have to change something in."""
    yield from ("core", "storage", "plugins", "scripts", "etc", "docs", "tests")
    for top in ("core", "storage", "tests", "plugins"):
        for name in sorted(os.listdir(os.path.join(ROOT, top))):
            path = os.path.join(top, name)
            if os.path.isdir(os.path.join(ROOT, path)) and name not in ("node_modules", "__pycache__"):
                yield path


# Calls that move a connection's bytes, or end it: they stand in core/net/stream.c alone, so that another way for bytes
# to travel is another row there. A listening socket, an epoll set and a descriptor without a connection are none.
SOCKET = re.compile(r"(?<![\w.>])(recv|recvfrom|recvmsg|read|readv|send|sendto|sendmsg|write|writev|sendfile|shutdown)"
                    r"\s*\(|(?<![\w.>])close\(\s*\w+->fd\s*\)")


def socket_calls(text):
    """(line, call) of each of these in the text of a source."""
    code = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    code = re.sub(r'"(\\.|[^"\\\n])*"', '""', code)
    return [(code.count("\n", 0, m.start()) + 1, m.group().split("(")[0]) for m in SOCKET.finditer(code)]


def check_streams(path):
    if os.path.dirname(path) != "core/net" or path == "core/net/stream.c":
        return []
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return [f"{path}:{line}: {call}() of a connection belongs to core/net/stream.c"
                for line, call in socket_calls(f.read())]


def self_test():
    """The check itself: what it must refuse."""
    wrong = [("core/base/log.c", '"', "core/net/conn.h"), ("core/net/tcp.c", '"', "storage/store.h"),
             ("storage/kv/kv.c", '"', "core/hub/hub.h"),
             ("core/config/config.c", '"', "core/client/client.h"), ("core/tools/bench.c", '"', "core/hub/hub.h"),
             ("core/client/client.c", '"', "core/net/conn.h"), ("core/hub/hub.c", "<", "rocksdb/c.h"),
             ("core/hub/hub.c", '"', "hub.h"),
             ("storage/local/local.c", "<", "rocksdb/c.h"), ("storage/kv/kv.c", '"', "storage/store.h"),
             ("storage/kv/kv.c", '"', "storage/local/local.h"),
             ("storage/local/local.c", '"', "storage/kv/kv_rocksdb_options.h"),
             ("storage/store.c", '"', "storage/kv/kv.h"),
             ("storage/store.c", '"', "storage/local/writer.h"),
             ("storage/store.c", '"', "storage/redis/client/call.h"),
             ("storage/redis/redis.c", '"', "storage/local/local.h"),
             ("storage/local/local.c", "<", "hiredis/read.h"), ("storage/engine.h", '"', "storage/local/local.h"),
             ("core/server/parts.c", '"', "storage/local/local.h"), ("core/hub/hub.c", '"', "storage/engine.h"),
             ("core/hub/hub.c", '"', "storage/dump.h"),
             ("core/server/parts.c", '"', "storage/bus.h"), ("core/console/console.c", '"', "storage/bus.h"),
             ("core/script/api.c", '"', "storage/bus.h"), ("core/plugin/host.c", '"', "storage/bus.h"),
             ("core/hub/talk/follow.c", '"', "storage/bus_engine.h"), ("storage/kv/kv.c", '"', "storage/bus.h"),
             ("core/plugin/host.c", '"', "core/net/outq.h"),
             ("core/server/parts.c", '"', "core/console/console_private.h"),
             ("core/config/config_commands.c", '"', "core/server/server.h"),
             ("core/server/parts.c", '"', "core/client/client.h"),
             ("core/hub/shard/shard.c", '"', "core/hub/people/user.h"),
             ("core/hub/people/user.c", '"', "core/hub/talk/conv.h"),
             ("core/hub/act/act_send.c", '"', "core/hub/host/host_op.h"),
             ("core/script/api.c", '"', "core/hub/people/req.h"),
             ("core/hub/talk/conv.c", '"', "core/hub/hub.h"), ("plugins/echo/echo.c", '"', "core/hub/hub.h")]
    right = [("core/hub/hub.c", '"', "core/net/conn.h"), ("core/hub/talk/follow.c", '"', "storage/bus.h"),
             ("storage/local/local.c", '"', "storage/bus_engine.h"), ("core/main.c", '"', "core/server/server.h"),
             ("core/server/parts.c", '"', "core/plugin/plugins.h"),
             ("storage/kv/kv.c", "<", "rocksdb/c.h"), ("storage/local/local.c", '"', "storage/kv/kv.h"),
             ("storage/local/local.c", '"', "storage/engine.h"),
             ("storage/store.c", '"', "storage/local/local.h"),
             ("storage/local/local.c", '"', "storage/local/writer.h"),
             ("plugins/echo/echo.c", '"', "plugins/magpie_plugin.h")]
    header = ("int door(struct a *a,\n         int b);\nMUST_CHECK int make_a(void);\n"
              "static inline int in(void)\n{\n}\nextern int n;\n")
    source = "#define MAKE(x) \\\n    int make_##x(void) \\\n    { \\\n        return door(); \\\n    }\n"
    doors = [(header, source + "int door(struct a *a, int b)\n{\n", ["a"], []),
             (header, source + "int door(struct a *a, int b)\n{\n", ["b"], ["make_a"]),
             (header, source + "static int door(struct a *a, int b)\n{\n", ["a"], ["door"]),
             (header, "int door(struct a *a, int b)\n{\n    make_a();\n", ["a"], ["make_a"])]
    calls = [("n = recv(fd, p, n, 0);", 1), ("(void)!send (fd, p, n, 0);", 1), ("close(c->fd);", 1),
             ("readv(fd, v, 2);", 1),
             ("/* recv(2) */ stream->recv(fd, p, n);", 0), ("conn_send(net, c, w); net->read + 1; o.send(fd);", 0),
             ('why("recv(");', 0), ("close(fd); net->read = malloc(n);", 0), ("shutdown(c->fd, SHUT_WR)", 1)]
    return ([f"tests/layers.py:1: {socket_calls(c)} in {c}" for c, n in calls if len(socket_calls(c)) != n] +
            [f"tests/layers.py:1: let {h} pass" for h in ("core/net/net_internal.h", "storage/kv/kv_impl.h")
             if not check_name(h)] +
            [f"tests/layers.py:1: {undefined(h, s, rows)} where {want} is not defined" for h, s, rows, want in doors
             if undefined(h, s, rows) != want] +
            [f"tests/layers.py:1: let {c} pass" for c in wrong if not offence(*c)] +
            [f"tests/layers.py:1: refused {c}: {offence(*c)}" for c in right if offence(*c)] +
            [f"tests/layers.py:1: {c} tries a header that is not there" for c in wrong + right
             if c[1] == '"' and "/" in c[2] and not os.path.exists(os.path.join(ROOT, c[2]))] +
            [f"tests/layers.py:1: {room} may include {name}, which is no room and no header"
             for room, r in ROOMS.items() for name in r.may
             if name not in ROOMS and not os.path.isfile(os.path.join(ROOT, name))] +
            [f"tests/layers.py:1: {room} lists {h}, which is not there, or private" for room, r in ROOMS.items()
             for h in [*(r.public or ()), *r.inner, *r.only] if not os.path.exists(os.path.join(ROOT, room, h))
             or (h.endswith("_private.h") and not (h in r.inner and in_rooms(room)))])


def main():
    results = [self_test()]
    paths = list(sources())
    results += [check_includes(p) for p in paths]
    results += [check_name(p) for p in paths]
    results += [check_streams(p) for p in paths]
    results += [check_doors(p) for p in paths if p.endswith(".h") and ROOMS.get(room_of(p), Room([])).checked]
    results += [check_readme(f) for f in folders()]
    flags = pkg_config_flags()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results += list(pool.map(lambda p: check_header(p, flags), [p for p in paths if p.endswith(".h")]))
    for lines in results:
        for line in lines:
            print(line)
    failed = sum(1 for lines in results if lines)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
