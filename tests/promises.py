#!/usr/bin/env python3
"""The tables of docs/security.md against what they name: every promise and every attack has a test or a target, each of
these exists, and every class of tests/integration/test_attacks*.py is in one of the tables. For docs.py; alone the last
line is "N passed, N failed"."""

import ast
import functools
import os
import re
import sys

sys.dont_write_bytecode = True

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOCUMENT = os.path.join(ROOT, "docs", "security.md")
CHAPTERS = ("Promises, and what shows them", "Attacks that were tried")
SPAN = re.compile(r"`([^`]+)`")


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def rows(text):
    """(line, cells) of the tables of these chapters."""
    inside = begun = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("## "):
            inside, begun = line[3:] in CHAPTERS, False
        elif inside and re.match(r"^\|[\s:|-]+\|$", line):
            begun = True
        elif inside and begun and line.startswith("|"):
            yield number, [cell.strip() for cell in line.strip("|").split("|")]


@functools.lru_cache(None)
def all_tests():
    """(file, class, tests) of everything that the runner of the integration tests finds, and how it chooses."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
    import run
    return run, list(run.classes())


def words_of(path, name):
    """The first words of the rows of a list of this name, in a Python file."""
    for node in ast.parse(read(path)).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            items = [item.elts if isinstance(item, ast.Tuple) else item.args for item in node.value.elts]
            return {item[0].value for item in items}
    return set()


def command_wrong(words):
    """What is wrong with `./dev VERB …`; None: nothing."""
    verbs = re.search(r'^verbs="([^"]*)"', read("dev"), re.M).group(1).split()
    if not words or words[0] not in verbs:
        return "dev knows no verb %s" % " ".join(words[:1])
    rest = [w for w in words[1:] if not w.isdigit()]
    known = {"soak": lambda: words_of("tests/soak.py", "PARTS"),
             "asan": lambda: {"--cluster"}, "tsan": lambda: {"--cluster"},
             "bench": lambda: words_of("tests/bench/run.py", "PARTS") | words_of("tests/bench/run.py", "MORE"),
             "fuzz": lambda: {n[5:-2] for n in os.listdir(os.path.join(ROOT, "tests", "fuzz"))
                              if re.match(r"fuzz_\w+\.c$", n)}}.get(words[0], set)()
    unknown = [w for w in rest if w not in known]
    return "%s has no %s" % (words[0], ", ".join(unknown)) if unknown else None


def span_wrong(span):
    """What is wrong with what a row names as its test; None: nothing."""
    if span.startswith("./dev "):
        return command_wrong(span.split()[1:])
    if span.startswith("unit/"):
        return None if os.path.exists(os.path.join(ROOT, "tests", span + ".c")) else "there is no unit test %s" % span
    if span.startswith("cluster/"):
        return None if os.path.exists(os.path.join(ROOT, "tests", span + ".py")) else "there is no file of %s" % span
    run, found = all_tests()
    if not re.match(r"^test_\w+(\.\w+){0,2}$", span):
        return "%s is no name of a test" % span
    if not any(run.chosen([span], *each) for each in found if each[0] == span.split(".")[0]):
        return "tests/integration/run.py finds no %s" % span
    return None


def check(text=None):
    """(ok, where, what) of each row, and of each class of attacks."""
    text = text or read("docs", "security.md")
    named = set()
    for number, cells in rows(text):
        spans = SPAN.findall(cells[1])
        wrong = [w for w in map(span_wrong, spans) if w] if spans else ["it names no test"]
        named.update(spans)
        yield not wrong, "docs/security.md:%d" % number, "; ".join(wrong)
    whole = {".".join(span.split(".")[:2]) for span in named}
    for file, name, cls in all_tests()[1]:
        if file.startswith("test_attacks"):
            full = "%s.%s" % (file, getattr(cls, "family", name))
            yield any(full.startswith(w) for w in whole), "docs/security.md", "no row names %s" % full


def self_test():
    """What the check must refuse."""
    table = "## Attacks that were tried\n\n| attack | tried by |\n| --- | --- |\n"
    for cell in ("nothing", "`test_nowhere.Frames`", "`test_attacks.Nobody`", "`test_attacks.Frames.test_nobody`",
                 "`./dev dance`", "`./dev soak nothing`", "`./dev bench nothing`", "`./dev fuzz 60 nothing`",
                 "`unit/test_nothing`"):
        first = next(check(table + "| x | %s |\n" % cell))
        yield not first[0], "tests/promises.py", "it takes %s" % cell
    for cell in ("`test_attacks.Frames`", "`test_attacks.Frames.test_any_bytes_at_all`", "`./dev bench silent`",
                 "`./dev soak kills`", "`./dev fuzz 60 json tcp`", "`unit/test_jwt_verify`"):
        first = next(check(table + "| x | %s |\n" % cell))
        yield first[0], "tests/promises.py", "it refuses %s: %s" % (cell, first[2])


def everything():
    yield from self_test()
    yield from check()


def main():
    passed = failed = 0
    for ok, where, what in everything():
        passed, failed = passed + ok, failed + (not ok)
        if not ok:
            print("%s: %s" % (where, what))
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
