"""What packagers set, and debian/: what it says fits what cmake --install brings. With MAGPIE_PACKAGE=1 the packages
are built, unpacked and run from there, which takes minutes and wants debhelper."""

import fnmatch
import glob
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from base import embedded
from server import MAGPIED, PATIENCE, ROOT, SANITIZED

BUILT = os.path.dirname(MAGPIED)
DEBIAN = os.path.join(ROOT, "debian")
# Debian's unit is put where its release of debhelper wants it (debian/rules).
BY_RULES = ["usr/lib/systemd/system/magpied.service"]


def text(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=more.pop("timeout", 120 * PATIENCE),
                          stdin=subprocess.DEVNULL, **more)


def paragraphs(body):
    """Of a control file: a dict each; a field that goes on over lines has them joined."""
    for part in re.split(r"\n\n+", body.strip()):
        fields = {}
        for line in part.split("\n"):
            if line[:1] in (" ", "\t"):
                fields[name] += "\n" + line.strip()
            else:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        yield fields


def names(field):
    """The packages that a field of dependencies names first."""
    return {re.match(r"[\w.+-]+", d.strip())[0] for d in field.replace("\n", " ").split(",") if d.strip()
            and not d.strip().startswith("${")}


@embedded("runs no server")
class Control(unittest.TestCase):
    def setUp(self):
        self.source, *self.binary = paragraphs(text(DEBIAN, "control"))

    def test_packages(self):
        found = {p["Package"] for p in self.binary}
        self.assertLessEqual({"magpie", "magpie-dev", "magpie-plugins"}, found)
        for p in self.binary:
            lines = p["Description"].split("\n")
            self.assertLess(len(lines[0]), 80)
            self.assertGreater(len(lines), 2)
            self.assertTrue(os.path.exists(os.path.join(DEBIAN, p["Package"] + ".install")), p["Package"])
            for field in ("Depends", "Suggests", "Recommends"):
                for name in names(p.get(field, "")):
                    if "magpie" in name:
                        self.assertIn(name, found)
        lists = {os.path.basename(p)[:-len(".install")] for p in glob.glob(os.path.join(DEBIAN, "*.install"))}
        self.assertEqual(lists, found)

    def test_build_depends_on_what_dev_installs(self):
        packages = re.search(r'^packages="(.*?)"', text(ROOT, "dev"), re.S | re.M)[1].split()
        wanted = {p for p in packages if p.endswith("-dev")} - {"libcmocka-dev", "libxxhash-dev"} | {"cmake"}
        self.assertEqual({n for n in names(self.source["Build-Depends"]) if n.endswith("-dev") or n == "cmake"}, wanted)

    def test_version_and_licence(self):
        version = re.search(r"project\(magpie VERSION ([\d.]+)", text(ROOT, "CMakeLists.txt"))[1]
        head = re.match(r"magpie \((\S+)\) \w+; urgency=\w+\n\n  \* ", text(DEBIAN, "changelog"))
        self.assertEqual(head[1].rpartition("-")[0], version)
        plain = re.sub(r"^ \.?", "", text(DEBIAN, "copyright"), flags=re.M)
        self.assertIn(" ".join(text(ROOT, "LICENSE").split("\n\n", 2)[2].split()), " ".join(plain.split()))

    @unittest.skipUnless(shutil.which("dpkg-parsechangelog"), "there is no dpkg-dev here")
    def test_dpkg_reads_the_changelog(self):
        r = run("dpkg-parsechangelog", "--all", "-l", os.path.join(DEBIAN, "changelog"))
        self.assertEqual((r.returncode, r.stderr), (0, ""))

    def test_programs_are_executable(self):
        for name in ("rules", "tests/smoke"):
            self.assertTrue(os.access(os.path.join(DEBIAN, name), os.X_OK), name)
        r = run("sh", "-n", os.path.join(DEBIAN, "tests/smoke"))
        self.assertEqual(r.returncode, 0, r.stderr)


@embedded("runs no server")
@unittest.skipUnless(shutil.which("cmake") and os.path.exists(os.path.join(BUILT, "cmake_install.cmake")),
                     "$MAGPIED is in no folder that CMake built")
@unittest.skipIf(SANITIZED, "what is installed is the same")
class Lists(unittest.TestCase):
    """Each installed file is in one package, and each line of a list names some."""

    def test_lists_fit(self):
        root = tempfile.mkdtemp(prefix="magpie-package-")
        self.addCleanup(shutil.rmtree, root)
        r = run("cmake", "--install", BUILT, "--prefix", "/usr", env=dict(os.environ, DESTDIR=root))
        self.assertEqual(r.returncode, 0, r.stderr)
        files = {os.path.relpath(os.path.join(folder, name), root): []
                 for folder, _, found in os.walk(root) for name in found}
        for path in BY_RULES:
            files.pop(path)
        for path in glob.glob(os.path.join(DEBIAN, "*.install")):
            for pattern in [line.split()[0] for line in text(path).splitlines()]:  # a second word: where to
                # As debhelper sees them: libraries in a folder of the machine's kind.
                pattern = pattern.removeprefix("debian/tmp/").replace("usr/lib/*/", "usr/lib/")
                # debhelper looks in the sources first.
                self.assertFalse(not pattern.startswith("usr/") and pattern in text(path).splitlines(), pattern)
                hits = [f for f in files if self.fits(f, pattern)]
                self.assertTrue(hits, "%s: %s is nothing that is installed" % (path, pattern))
                for f in hits:
                    files[f].append(os.path.basename(path))
        for f, lists in files.items():
            self.assertEqual(len(lists), 1, "%s is in %s" % (f, lists or "no list of debian/"))

    def fits(self, path, pattern):
        """Whether a pattern names the file or a folder above it; * takes no slash."""
        parts, wanted = path.split("/"), pattern.split("/")
        return len(parts) >= len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


@embedded("runs no server")
@unittest.skipUnless(shutil.which("cmake") and shutil.which("ninja"), "no cmake, or no ninja")
@unittest.skipIf(SANITIZED, "what is configured is the same")
class Options(unittest.TestCase):
    """What packagers set: configured only, and a little of it built."""

    def configure(self, *arguments, ok=True):
        folder = tempfile.mkdtemp(prefix="magpie-options-")
        self.addCleanup(shutil.rmtree, folder)
        environment = {k: v for k, v in os.environ.items() if k not in ("CFLAGS", "LDFLAGS")}
        r = run("cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", *arguments, env=environment)
        self.assertEqual(r.returncode == 0, ok, r.stdout + r.stderr)
        return folder if ok else " ".join((r.stdout + r.stderr).split())  # CMake breaks lines

    def commands(self, folder):
        """{source, below the top: how it is compiled}"""
        with open(os.path.join(folder, "compile_commands.json"), encoding="utf-8") as f:
            return {os.path.relpath(c["file"], ROOT): c["command"] for c in json.load(f)}

    def plugins(self, commands):
        return {p.split("/")[1] for p in commands if p.startswith("plugins/")} - {"common"}

    def test_without(self):
        """Tests, libcurl: neither is asked for. pkg-config is told that they are not there."""
        wrapper = tempfile.mkdtemp(prefix="magpie-options-")
        self.addCleanup(shutil.rmtree, wrapper)
        program = os.path.join(wrapper, "pkg-config")
        with open(program, "w", encoding="utf-8") as f:
            f.write('#!/bin/sh\ncase " $* " in *cmocka* | *libcurl* | *libjwt*) exit 1 ;; esac\nexec "%s" "$@"\n' %
                    shutil.which("pkg-config"))
        os.chmod(program, 0o755)
        known = "-DPKG_CONFIG_EXECUTABLE=" + program
        self.assertIn("cmocka", self.configure(known, ok=False))
        self.assertIn("libcurl", self.configure(known, "-DMAGPIE_TESTS=OFF", ok=False))
        commands = self.commands(self.configure(known, "-DMAGPIE_TESTS=OFF", "-DMAGPIE_CURL=OFF"))
        self.assertFalse([c for c in commands if c.startswith("tests/")])
        self.assertNotIn("MAGPIE_HAVE_CURL", commands["core/script/fetcher.c"])
        self.assertEqual(self.plugins(commands) & {"ask", "webhook", "auth_jwt", "web"}, {"auth_jwt", "web"})
        self.assertFalse([c for c in commands.values() if "-Werror " in c])

    def test_plugins(self):
        off = "-DMAGPIE_TESTS=OFF"
        for value, plugins in (("web,metrics", {"web", "metrics"}), ("echo", {"echo"}), ("none", set())):
            folder = self.configure(off, "-DMAGPIE_PLUGINS=" + value)
            self.assertEqual(self.plugins(self.commands(folder)), plugins)
        self.assertIn("there is no plugin metric;", self.configure(off, "-DMAGPIE_PLUGINS=metric", ok=False))
        self.assertIn("ask needs libcurl", self.configure(off, "-DMAGPIE_PLUGINS=ask", "-DMAGPIE_CURL=OFF", ok=False))

    def test_flags_from_outside(self):
        """They hold, and do not meet ours in a warning."""
        for flags, build_type, fortified in (("-O2 -D_FORTIFY_SOURCE=3", "None", ["3"]), ("-O0 -g", "None", []),
                                             ("", "Release", ["2"]), ("-O0", "Debug", []),
                                             ("-O2 -Wp,-D_FORTIFY_SOURCE=2", "None", ["2"])):
            folder = self.configure("-DMAGPIE_TESTS=OFF", "-DMAGPIE_WERROR=ON", "-DCMAKE_C_FLAGS=" + flags,
                                    "-DCMAKE_BUILD_TYPE=" + build_type)
            command = self.commands(folder)["core/base/buf.c"]
            self.assertEqual(re.findall(r"-D_FORTIFY_SOURCE=(\d)", command), fortified, command)
            r = run("cmake", "--build", folder, "--target", "plugin_echo", "magpie_base")
            self.assertEqual(r.returncode, 0, r.stdout + r.stderr)

    @unittest.skipUnless(shutil.which("nm") and shutil.which("objdump"), "there are no binutils here")
    def test_optimized_as_a_whole(self):
        """The static library of clients is machine code all the same, and shows nothing but its own functions."""
        folder = self.configure("-DMAGPIE_TESTS=OFF", "-DMAGPIE_WERROR=ON", "-DCMAKE_C_FLAGS=-O1 -flto",
                                "-DCMAKE_BUILD_TYPE=None")
        r = run("cmake", "--build", folder, "--target", "magpie_client_static", "plugin_echo", timeout=300 * PATIENCE)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        library = os.path.join(folder, "lib", "libmagpie-client.a")
        shown = re.findall(r" [TDBR] (\w+)", run("nm", library).stdout)
        self.assertGreater(len(shown), 20)
        self.assertEqual([name for name in shown if not name.startswith("magpie_")], [])
        self.assertNotIn(".gnu.lto", run("objdump", "-h", library).stdout)


@embedded("the engine is not what is installed")
@unittest.skipUnless(os.environ.get("MAGPIE_PACKAGE") and shutil.which("dh"),
                     "builds packages only when MAGPIE_PACKAGE is set and debhelper is there")
class Built(unittest.TestCase):
    def test_they_run_unpacked(self):
        r = run(os.path.join(ROOT, "dev"), "package", timeout=3600)
        self.assertEqual(r.returncode, 0, r.stderr)
        debs = [p for p in r.stdout.split() if "-dbgsym" not in p]
        self.assertEqual(len(debs), len(list(paragraphs(text(DEBIAN, "control")))) - 1)
        root = tempfile.mkdtemp(prefix="magpie-package-")
        self.addCleanup(shutil.rmtree, root)
        for deb in debs:
            self.assertEqual(run("dpkg", "-x", deb, root).returncode, 0)
        fields = run("dpkg", "-f", next(d for d in debs if "/magpie_" in d)).stdout
        self.assertIn("librocksdb", fields)
        config = text(root, "etc/magpie/magpie.lua")
        here = re.sub(r'"(/usr/[^"]*)"', lambda m: '"%s%s"' % (root, m[1]), config)
        here = re.sub(r'"127\.0\.0\.1:(\d+)"', r'"unix:s\1"', here).replace("/run/magpie/console", "console")
        with open(os.path.join(root, "magpie.lua"), "w", encoding="utf-8") as f:
            f.write(here)
        magpied, ctl = os.path.join(root, "usr/bin/magpied"), os.path.join(root, "usr/bin/magpiectl")
        with open(os.path.join(root, "log"), "w", encoding="utf-8") as log:
            server = subprocess.Popen([magpied, "-c", "magpie.lua"], cwd=root, stderr=log)
        try:
            run("sh", "-c", "for i in $(seq 600); do grep -q server.ready log && break; sleep 0.1; done", cwd=root)
            r = run(ctl, "-s", "unix:console", "list", "plugins", cwd=root)
            self.assertIn("web", r.stdout, r.stderr + text(root, "log"))
            for name in ("echo", "filter"):
                r = run(ctl, "-s", "unix:console", "plugin", "load", name, cwd=root)
                self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        finally:
            server.terminate()
            self.assertEqual(server.wait(60), 0)


if __name__ == "__main__":
    unittest.main()
