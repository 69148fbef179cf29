#!/usr/bin/env python3
"""The layers of core/ and storage/ (README.md, "Layers"): no lower one includes an upper one, siblings do not know each other, and every header
compiles alone. Prints every offence as FILE:LINE, and last "N passed, N failed"."""

import concurrent.futures
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Folder (or file) of the source → folders it may include from, itself aside. The longest match counts.
LAYERS = {
    "core/base": [],
    "core/net": ["core/base"],
    "storage": ["core/base"],
    "core/hub": ["core/base", "core/net", "storage"],
    "core/script": ["core/base", "core/net", "storage", "core/hub"],
    "core/plugin": ["core/base", "core/net", "storage", "core/hub", "plugins/magpie_plugin.h"],
    "core/console": ["core/base", "core/net", "storage", "core/hub"],
    "core/config": ["core/base", "core/net", "storage", "core/hub"],
    "core/client": ["core/base"],
    "core/tools": ["core/base", "core/client"],
    "core/server": ["core/base", "core/net", "storage", "core/hub", "core/script", "core/plugin", "core/console", "core/config"],
    "core/main.c": ["core/base", "core/config", "core/script", "core/server"],
}

# Libraries that only some layers know: system headers by prefix → who may include them.
LIBRARIES = {
    "rocksdb/": ["storage"],
    "lua": ["core/script", "core/config"],
    "lauxlib": ["core/script", "core/config"],
    "lj_": [],
}

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def layer_of(path):
    fits = [name for name in LAYERS if path == name or path.startswith(name + "/")]
    return max(fits, key=len) if fits else None


def sources():
    for top in ("core", "storage", "plugins"):
        for folder, _, files in os.walk(os.path.join(ROOT, top)):
            for name in sorted(files):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), ROOT)


def offence(path, kind, target):
    """Why this include is wrong; None when it is right."""
    mine = layer_of(path)
    if mine is None:  # a plugin: its own folder and the one header
        if kind == '"' and target != "plugins/magpie_plugin.h" and os.path.dirname(target) not in ("", os.path.dirname(path)):
            return "a plugin includes plugins/magpie_plugin.h and its own folder only"
        return None
    if kind == "<":
        for prefix, allowed in LIBRARIES.items():
            if target.startswith(prefix) and mine not in allowed:
                return f"<{target}> belongs to {', '.join(allowed) or 'nobody'}"
        return None
    theirs = layer_of(target)
    if not os.path.exists(os.path.join(ROOT, target)):
        return f'"{target}" is no path from the top of the repository'
    if theirs == mine or target in LAYERS[mine] or theirs in LAYERS[mine]:
        return None
    return f"{mine} may include {', '.join(LAYERS[mine]) or 'itself only'}, not {theirs or os.path.dirname(target)}"


def check_includes(path):
    wrong = []
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            m = INCLUDE.match(line)
            why = m and offence(path, m.group(1), m.group(2))
            if why:
                wrong.append(f"{path}:{number}: {why}")
    return wrong


def pkg_config_flags():
    flags = []
    for package in ("luajit", "libcjson", "libcrypto"):
        r = subprocess.run(["pkg-config", "--cflags", package], capture_output=True, text=True)
        flags += r.stdout.split()
    return flags


def check_header(path, flags):
    command = ["gcc", "-std=gnu11", "-D_GNU_SOURCE", '-DMAGPIE_VERSION="0"', "-I", ROOT, "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
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
    for top in ("core", "tests", "plugins"):
        for name in sorted(os.listdir(os.path.join(ROOT, top))):
            path = os.path.join(top, name)
            if os.path.isdir(os.path.join(ROOT, path)) and name not in ("node_modules", "__pycache__"):
                yield path


def self_test():
    """The check itself: what it must refuse."""
    wrong = [("core/base/log.c", '"', "core/net/conn.h"), ("core/net/tcp.c", '"', "storage/store.h"), ("storage/kv/kv.c", '"', "core/hub/hub.h"),
             ("core/config/config.c", '"', "core/client/client.h"), ("core/tools/bench.c", '"', "core/hub/hub.h"),
             ("core/client/client.c", '"', "core/net/conn.h"), ("core/hub/hub.c", "<", "rocksdb/c.h"), ("core/hub/hub.c", '"', "hub.h"),
             ("core/config/config_commands.c", '"', "core/server/server.h"), ("core/server/parts.c", '"', "core/client/client.h"),
             ("plugins/echo/echo.c", '"', "core/hub/hub.h")]
    right = [("core/hub/hub.c", '"', "core/net/conn.h"), ("core/main.c", '"', "core/server/server.h"), ("core/server/parts.c", '"', "core/plugin/plugins.h"),
             ("storage/kv/kv.c", "<", "rocksdb/c.h"),
             ("plugins/echo/echo.c", '"', "plugins/magpie_plugin.h")]
    return ([f"tests/layers.py:1: let {c} pass" for c in wrong if not offence(*c)] +
            [f"tests/layers.py:1: refused {c}: {offence(*c)}" for c in right if offence(*c)])


def main():
    results = [self_test()]
    paths = list(sources())
    results += [check_includes(p) for p in paths]
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
