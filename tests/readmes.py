#!/usr/bin/env python3
"""The READMEs against the folders that they describe: every source file has its row in the table of its folder, once,
and no row names what is not there; every folder with a README is linked from the one above; no text names a document
that is not in the repository. Prints every offence as FILE:LINE, and last "N passed, N failed"."""

import collections
import fnmatch
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCES = (".c", ".h", ".py", ".lua", ".js", ".mjs")
NAMED = SOURCES + (".cmake", ".conf", ".json", ".service", ".so", ".supp")  # what a first cell names as a file
TEXTS = SOURCES + (".md", ".cmake", ".conf", ".service", ".1", ".5", ".8", "dev", ".txt", ".supp", ".cpp", ".hpp")

SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)(?:#[^)]*)?\)")
FILE = re.compile(r"^[\w./*-]+\.(?:c|h|py|js|mjs|cmake|supp)$")
DOCUMENT = re.compile(r"(?<![\w/.$*-])((?:[\w.-]+/)*[\w-]+\.md)\b")


def tracked():
    """Every file of the repository, or of a copy that came without it."""
    try:
        r = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                           capture_output=True,
                           text=True, check=True)
        return sorted(p for p in set(r.stdout.splitlines()) if os.path.exists(os.path.join(ROOT, p)))
    except (OSError, subprocess.CalledProcessError):
        out = []
        for folder, folders, names in os.walk(ROOT):
            folders[:] = [f for f in folders if f not in ("build", "node_modules", "__pycache__", ".git", "data")]
            out += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]
        return sorted(out)


def noun(name):
    """What a row names: x.c and x.h are one thing, x_test.lua belongs to x.lua."""
    stem, ext = os.path.splitext(name)
    if ext in (".c", ".h"):
        return stem
    return stem.removesuffix("_test") + ext if ext == ".lua" else name


def rows(text):
    """(line number, first cell) of every table row, headings and rules left out."""
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        following = lines[number] if number < len(lines) else ""
        if line.startswith("|") and not re.match(r"^\|[\s:|-]+\|$", line) and not re.match(r"^\|[\s:|-]+\|$",
                                                                                           following):
            yield number, re.split(r"(?<!\\)\|", line)[1]


def pattern(span):
    """A span as a glob: NAME stands for any name."""
    return span.replace("NAME", "*")


def check_rows(readme, text, names):
    """names: the files that stand in the folder itself, and its sub-folders' as paths."""
    wrong, seen = [], collections.defaultdict(list)
    nouns = {noun(n) for n in names if n.endswith(SOURCES) and "/" not in n}
    globs = []
    for number, cell in rows(text):
        here = set()
        for span in SPAN.findall(cell):
            if "*" in pattern(span):
                globs.append(pattern(span))
                if span.endswith(NAMED) and not fnmatch.filter(names, pattern(span)):
                    wrong.append(f"{readme}:{number}: `{span}` is no file of this folder")
            elif span.endswith(NAMED) and span not in names:
                wrong.append(f"{readme}:{number}: `{span}` is no file of this folder")
            elif span.endswith(NAMED):
                here.add(noun(span))
        for target in LINK.findall(cell):
            here.add(target)
        for name in here:
            seen[name].append(number)
    for name, lines in seen.items():
        if len(lines) > 1:
            wrong.append(f"{readme}:{lines[1]}: {name} has a row already, in line {lines[0]}")
    files = {n for n in names if "/" not in n}
    alone = nouns == {os.path.basename(os.path.dirname(readme))}  # echo/echo.c needs no table
    for missing in sorted(nouns - set(seen)):
        covered = any(fnmatch.filter([f for f in files if noun(f) == missing], g) for g in globs)
        if not covered and not alone:
            wrong.append(f"{readme}:1: no row names {missing}")
    return wrong


def check_folders(readme, text, below):
    """below: the folders in this one that have a README."""
    linked = [t for _, cell in rows(text) for t in LINK.findall(cell)]
    return [f"{readme}:1: no row links {b}/README.md" for b in below if f"{b}/README.md" not in linked]


def check_spans(path, text, files):
    """Source files that prose names exist, somewhere."""
    wrong = []
    for number, line in enumerate(text.split("\n"), 1):
        for span in SPAN.findall(line):
            if not FILE.match(span) or re.match(r"^\w\.\w$", span):  # x.c stands for any
                continue
            glob = pattern(span)
            if not any(fnmatch.fnmatch(f, glob) or fnmatch.fnmatch(f, "*/" + glob) for f in files):
                wrong.append(f"{path}:{number}: there is no `{span}`")
    return wrong


def check_documents(path, text, files):
    """Documents that any text names exist: beside it, at the top, in docs, or by the end of their path."""
    wrong = []
    for number, line in enumerate(text.split("\n"), 1):
        for name in DOCUMENT.findall(line):
            name = re.sub(r"^(\.\./)+", "", name)
            if not any(f == name or f.endswith("/" + name) for f in files):
                wrong.append(f"{path}:{number}: there is no document {name}")
    return wrong


def self_test():
    """The check itself: what it must refuse and what not."""
    table = "| file | noun |\n| --- | --- |\n"
    names = ["a.c", "a.h", "b.c", "cmd_x.c", "sub/README.md", "s.lua", "s_test.lua"]
    full = (table + "| `a.c`, `a.h` | x |\n| `b.c` | x |\n| `cmd_*.c` | x |\n| `s.lua` | x |\n"
            "| [sub](sub/README.md) | x |\n")
    cases = [(full, 0), (full + "| `b.c` | again |\n", 1), (full.replace("| `b.c` | x |\n", ""), 1),
             (full + "| `c.c` | x |\n", 1),
             (full.replace("cmd_", "cmt_"), 2), (full + "| [sub](sub/README.md) | x |\n", 1),
             (full + "| `OPTION` | x |\n", 0)]
    wrong = [f"tests/readmes.py:1: {check_rows('x/README.md', t, names)} rather than {n} offences in:\n{t}"
             for t, n in cases
             if len(check_rows("x/README.md", t, names)) != n]
    wrong += [] if check_folders("x/README.md", table, ["sub"]) and not check_folders("x/README.md", full,
                                                                                      ["sub"]) else \
        ["tests/readmes.py:1: folders that are not linked pass"]
    wrong += [] if len(check_spans("x", "`ab.c` and `core/x/ab.c`, `yz.c`, `test_NAME.c`",
                                   ["core/x/ab.c", "t/test_q.c"])) == 1 \
        else ["tests/readmes.py:1: check_spans()"]
    wrong += [] if len(check_documents("x", "see docs/a.md, a.md and gone.md", ["docs/a.md"])) == 1 else \
        ["tests/readmes.py:1: check_documents()"]
    return wrong


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def main():
    files = tracked()
    results = [self_test()]
    for readme in [f for f in files if os.path.basename(f) == "README.md"]:
        folder = os.path.dirname(readme)
        inside = [os.path.relpath(f, folder or ".") for f in files if f.startswith(folder + "/" if folder else "")]
        below = [os.path.dirname(n) for n in inside if n.count("/") == 1 and n.endswith("/README.md")]
        text = read(readme)
        results.append(check_rows(readme, text, inside) + (check_folders(readme, text, below) if folder else []))
    for path in files:
        if path.endswith(".md"):
            results.append(check_spans(path, read(path), files))
        if path.endswith(TEXTS) and not path.startswith("tests/fuzz/corpus/") and path != "tests/readmes.py":
            results.append(check_documents(path, read(path), files))
    for lines in results:
        for line in lines:
            print(line)
    failed = sum(1 for lines in results if lines)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
