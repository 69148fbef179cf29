"""The man pages, for docs.py: their examples are run (what stands between .nf and .fi: a config in section 5, else
commands), and what they say of options, environment, scenarios and sections is what the programs say. Each program has
a page, pages refer to pages that are there, and groff has nothing to complain of."""

import os
import re
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAN = os.path.join(ROOT, "docs", "man")
LIBRARIES = {"libmagpie-client": "core/client/magpie_client.h"}
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*(?![\w-])")
TIMEOUT = 60


def pages():
    """(name, section, text) of each."""
    for file in sorted(os.listdir(MAN)):
        name, _, section = file.rpartition(".")
        with open(os.path.join(MAN, file), encoding="utf-8") as f:
            yield name, section, f.read()


def plain(text):
    """Without roff's requests and escapes."""
    text = re.sub(r'^\.\\".*\n', "", text, flags=re.M)
    text = re.sub(r"^\.([BIR]{1,2}) (.*)$", lambda m: re.sub(r'"?([^"]*)"? ?', r"\1", m[2]) if m[1] in ("B", "I")
                  else joined(m[2]), text, flags=re.M)
    text = re.sub(r"^\.(SH|TP|TH|PP|nf|fi|br).*?$", lambda m: m[0][4:] if m[1] == "SH" else "", text, flags=re.M)
    return re.sub(r"\\f[BIRP]", "", text).replace(r"\-", "-").replace(r"\(aq", "'").replace(r"\e", "\\").replace("\\&",
                                                                                                                 "")


def joined(arguments):
    """Of a request with alternating fonts, whose arguments stand together."""
    return "".join(a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', arguments))


def examples(text):
    """(line, text) of each."""
    for m in re.finditer(r"^\.nf\n(.*?)^\.fi$", text, re.S | re.M):
        yield text.count("\n", 0, m.start()) + 2, plain(m[1])


def heads(text, section):
    """The words that are explained in a section: the lines behind its .TP."""
    m = re.search(r'^\.SH "?%s"?\n(.*?)(?=^\.SH|\Z)' % section, text, re.S | re.M)
    return re.findall(r"^\.TP\n(.*)$", m[1], re.M) if m else []


def run(command, stdin="", **more):
    try:
        r = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, input=stdin, **more)
    except subprocess.TimeoutExpired:
        return None, "took more than %d s" % TIMEOUT
    return r.returncode, r.stdout + r.stderr


def check_example(name, section, body, programs, server, folder):
    """(ok, output)"""
    if section == "5":
        path = os.path.join(folder, "man.lua")
        with open(path, "w", encoding="utf-8") as f:
            f.write(server.placed_config(body))
        status, output = run([os.path.join(programs, "magpied"), "-t", "-c", path])
    else:
        where = os.path.join(folder, "man-" + name)
        os.makedirs(where, exist_ok=True)
        environment = dict(os.environ, PATH=programs + os.pathsep + os.environ["PATH"],
                           MAGPIE_CONSOLE="127.0.0.1:%d" % server.console)
        status, output = run(["bash", "-euo", "pipefail", "-c", server.placed(body)], cwd=where, env=environment)
    return status == 0, output


def check_program(name, text, help_text):
    """(ok, complaint) of a page about a program."""
    # An example may call other programs; whether it is right, its run tells.
    own = re.sub(r"^\.nf\n.*?^\.fi$", "", text, flags=re.S | re.M)
    said, known = set(OPTION.findall(plain(own))), set(OPTION.findall(help_text))
    yield not said - known, "%s --help does not have %s" % (name, ", ".join(sorted(said - known)))
    if name == "magpie-bench":  # which leaves its options to --help
        scenarios = set(re.findall(r"^  ([a-z]+)  ", help_text, re.M))
        told = {plain(h + "\n").strip() for h in heads(text, "DESCRIPTION")}
        yield told == scenarios, "its scenarios are %s, not %s" % (sorted(scenarios), sorted(told))
    else:
        yield not known - said, "the page does not have %s" % ", ".join(sorted(known - said))
    variables = set(re.findall(r"\$([A-Z_]+)", help_text))
    missing = sorted(v for v in variables if not re.search(r"\b%s\b" % v, text))
    yield not missing, "the page does not have $%s" % ", $".join(missing)


def check_config(text, defaults):
    """(ok, complaint) of the page about the config."""
    known = set(re.findall(r"^    ([a-z]+) =", defaults, re.M))
    told = {word for head in heads(text, "SECTIONS") for word in re.findall(r"[a-z]+", plain(head + "\n"))}
    told -= {"and"}
    yield told == known, "sections of the config: missing %s, unknown %s" % (sorted(known - told), sorted(told - known))


def check_library(name, text):
    """(ok, complaint) of the page about a C library, against its header."""
    header = os.path.join(ROOT, LIBRARIES[name])
    with open(header, encoding="utf-8") as f:
        known = set(re.findall(r"^(?!typedef|static)[a-z][^;(]*?\b(magpie_\w+)\(", f.read(), re.M))
    told = set(re.findall(r"\b(magpie_\w+)\b(?=\(|[ \"]*\(\))", plain(text)))
    yield bool(known), "no functions are found in %s" % LIBRARIES[name]
    yield not told - known, "%s does not have %s" % (LIBRARIES[name], ", ".join(sorted(told - known)))
    yield not known - told, "the page does not have %s" % ", ".join(sorted(known - told))


def check_page(name, section, text, known):
    """(ok, complaint) of a page as a page. known: "NAME(SECTION)" of all of ours."""
    head = re.search(r"^\.TH (\S+) (\d)", text, re.M)
    yield (bool(head) and plain(head[1]).lower() == name and head[2] == section,
           ".TH does not say %s %s" % (name.upper(), section))
    yield plain(text.split(".SH NAME\n", 1)[-1]).startswith(name + " - "), "NAME does not begin with %s" % name
    referred = {plain(n) + "(%s)" % s for n, s in re.findall(r"^\.BR (\S+) \((\d)\)", text, re.M)}
    yield not referred - known, "it refers to %s, which is not ours" % ", ".join(sorted(referred - known))
    if shutil.which("groff"):
        status, output = run(["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z"], stdin=text)
        yield status == 0 and not output, "groff complains:\n" + output


def check(programs, server, folder):
    """(ok, where, complaint) of everything. programs: the folder of the built ones; server: docs.py's."""
    known = {"%s(%s)" % (name, section) for name, section, _ in pages()}
    for program in sorted(os.listdir(programs)):
        path = os.path.join(programs, program)
        if program.startswith("magpie") and os.path.isfile(path) and os.access(path, os.X_OK):
            yield {program + "(1)", program + "(8)"} & known, "docs/man", "%s has no page" % program
    for name, section, text in pages():
        where = "docs/man/%s.%s" % (name, section)
        for ok, complaint in check_page(name, section, text, known):
            yield ok, where, complaint
        for line, body in examples(text) if section != "3" else ():  # those are C: test_client_library.py's
            ok, output = check_example(name, section, body, programs, server, folder)
            yield ok, "%s:%d" % (where, line), "this example fails:\n" + output
        if section == "5":
            results = check_config(text, run([os.path.join(programs, "magpied"), "--defaults"])[1])
        elif section == "3":
            results = check_library(name, text)
        else:
            results = check_program(name, text, run([os.path.join(programs, name), "--help"])[1])
        for ok, complaint in results:
            yield ok, where, complaint
