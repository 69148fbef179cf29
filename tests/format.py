#!/usr/bin/env python3
"""How the sources are laid out: C as clang-format has it (.clang-format; `./dev format` does it), and no line of code,
comment or prose wider than 120 columns. A table row of Markdown may be wider, as it cannot be broken, and so may the
inside of a Python text of several lines, which is another language's. Prints every offence as FILE:LINE, and last
"N passed, N failed[, N skipped]"."""

import ast
import os
import re
import shutil
import subprocess
import sys

from readmes import ROOT, read, tracked

COLUMNS = 120
WIDE = (".c", ".h", ".cpp", ".hpp", ".lua", ".py", ".js", ".mjs", ".md", ".cmake", ".sh", "CMakeLists.txt", "dev")
FORMAT = "clang-format-14"


def foreign_lines(text):
    """The numbers of lines inside of Python texts of several lines, docstrings left out."""
    tree, docstrings, lines = ast.parse(text), set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            docstrings.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            if text.split("\n")[node.end_lineno - 1][:node.end_col_offset].endswith(('"""', "'''")):
                lines.update(range(node.lineno, node.end_lineno + 1))
    return lines


def too_wide(path, text):
    """Lines over the limit. What has no blank to break at, such as a link, is let pass."""
    wrong, foreign = [], foreign_lines(text) if path.endswith(".py") else ()
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) <= COLUMNS or (path.endswith(".md") and line.startswith("|")) or number in foreign:
            continue
        if " " in re.sub(r"^\W*", "", line.strip()):
            wrong.append(f"{path}:{number}: {len(line)} columns, {COLUMNS} at most")
    return wrong


def misformatted(paths):
    """What clang-format would lay out otherwise, by file; None where it is not installed."""
    if not shutil.which(FORMAT):
        return None
    r = subprocess.run([FORMAT, "--dry-run", "--style=file", *paths], cwd=ROOT, capture_output=True, text=True)
    found = {}
    for line in r.stderr.splitlines():
        m = re.match(r"^(.+?):(\d+):\d+: (?:warning|error): (.*)", line)
        if m:
            found.setdefault(os.path.normpath(m.group(1)), []).append(f"{m.group(1)}:{m.group(2)}: {m.group(3)}")
    if r.returncode != 0 and not found:
        found[".clang-format"] = [f".clang-format:1: {FORMAT} fails: {r.stderr.strip()}"]
    return found


def self_test():
    """The check itself: what it must refuse and what not."""
    long = "x " * 61
    cases = [("a.c", long, 1), ("a.c", "x " * 60, 0), ("README.md", "| " + long, 0), ("README.md", long, 1),
             ("a.py", "#" * 130, 0),
             ("README.md", "[link]:" + "x" * 140, 0), ("a.py", 'x = """\n%s\n"""' % long, 0),
             ("a.py", '"""\n%s\n"""' % long, 1), ("a.lua", "ä" * 60 + " " + "ö" * 59, 0)]
    return [f"tests/format.py:1: {path} {text[:20]!r}… gives {too_wide(path, text)}" for path, text, n in cases
            if len(too_wide(path, text)) != n]


def main():
    files = [f for f in tracked() if not f.startswith("tests/fuzz/corpus/")]
    results = [self_test()]
    results += [too_wide(f, read(f)) for f in files if f.endswith(WIDE)]
    sources = [f for f in files if f.endswith((".c", ".h"))]
    found = misformatted(sources)
    results += [found.get(f, []) for f in sources + [".clang-format"]] if found is not None else []
    for lines in results:
        for line in lines:
            print(line)
    failed = sum(1 for lines in results if lines)
    line = f"{len(results) - failed} passed, {failed} failed"
    print(line if found is not None else f"{line}, {len(sources)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
