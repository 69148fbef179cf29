"""cmake --install: what it brings, that it hangs together, and that it runs from where it lies."""

import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from base import embedded
from server import MAGPIED, PATIENCE, ROOT, SANITIZED

BUILT = os.path.dirname(MAGPIED)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=120 * PATIENCE, stdin=subprocess.DEVNULL,
                          **more)


def install(prefix, destination=None):
    environment = dict(os.environ)
    environment.pop("DESTDIR", None)
    if destination:
        environment["DESTDIR"] = destination
    r = run("cmake", "--install", BUILT, "--prefix", prefix, env=environment)
    if r.returncode != 0:
        raise AssertionError(r.stdout + r.stderr)


@embedded("the engine is not what is installed")
@unittest.skipUnless(shutil.which("cmake") and os.path.exists(os.path.join(BUILT, "cmake_install.cmake")),
                     "$MAGPIED is in no folder that CMake built")
@unittest.skipIf(SANITIZED, "what is installed is the same")
class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        r = run("cmake", "--build", BUILT, "--target", "documents", "magpied", "magpiectl", "magpie-bench", "plugins")
        assert r.returncode == 0, r.stdout + r.stderr
        cls.folder = tempfile.mkdtemp(prefix="magpie-install-")
        cls.prefix = os.path.join(cls.folder, "pre fix")
        cls.root = os.path.join(cls.folder, "root")
        install(cls.prefix)
        install("/usr", cls.root)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    def documents(self, prefix):
        found = glob.glob(os.path.join(prefix, "share", "**", "*.md"), recursive=True)
        self.assertGreater(len(found), 25)
        return found

    def text(self, *path):
        with open(os.path.join(*path), encoding="utf-8") as f:
            return f.read()

    def test_links_lead_somewhere(self):
        for prefix in (self.prefix, os.path.join(self.root, "usr")):
            links = 0
            for path in self.documents(prefix):
                text = re.sub(r"^```.*?^```", "", self.text(path), flags=re.S | re.M)
                for target in LINK.findall(text):
                    if "://" in target:
                        continue
                    links += 1
                    to = os.path.realpath(os.path.join(os.path.dirname(path), target))
                    self.assertTrue(os.path.exists(to), "%s: the link to %s leads nowhere" % (path, target))
                    self.assertTrue(to.startswith(prefix), "%s: the link to %s leaves the prefix" % (path, target))
            self.assertGreater(links, 50)

    def test_what_documents_lead_to_is_there(self):
        share = os.path.join(self.prefix, "share")
        for path in ("doc/magpie/LICENSE", "doc/magpie/docs/examples/chat.py",
                     "doc/magpie/plugins/http_api/openapi.json", "doc/magpie/plugins/echo/echo.c",
                     "doc/magpie/etc/sysctl.d/magpie.conf", "doc/magpie/docs/screenshot.png",
                     "magpie/scripts/ratelimit.lua", "magpie/client/index.js",
                     "magpie/client/index.d.ts", "magpie/client/package.json"):
            self.assertTrue(os.path.exists(os.path.join(share, path)), path)
        for name in os.listdir(os.path.join(ROOT, "scripts", "examples")):
            self.assertTrue(os.path.exists(os.path.join(share, "magpie/scripts/examples", name)), name)
        r = run(self.program("magpied"), "--run-script-tests", os.path.join(share, "magpie/scripts/examples"))
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)

    def test_documents_keep_their_words(self):
        """Only links differ from the sources'."""
        def plain(text):
            return re.sub(r"!?\[([^]]*)\]\([^)\s]*\)", r"\1", text)
        for path in glob.glob(os.path.join(ROOT, "docs", "*.md")):
            installed = os.path.join(self.prefix, "share/doc/magpie/docs", os.path.basename(path))
            self.assertEqual(plain(self.text(installed)), plain(self.text(path)))

    def program(self, name):
        return os.path.join(self.prefix, "bin", name)

    def test_the_config_is_good(self):
        config = os.path.join(self.prefix, "etc/magpie/magpie.lua")
        r = run(self.program("magpied"), "-t", "-c", config, cwd=self.folder)
        self.assertEqual((r.returncode, r.stdout + r.stderr), (0, "%s: good\n" % config))

    def test_a_config_that_is_there_stays(self):
        prefix = os.path.join(self.folder, "again")
        install(prefix)
        config = os.path.join(prefix, "etc/magpie/magpie.lua")
        with open(config, "w", encoding="utf-8") as f:
            f.write("-- mine\n")
        install(prefix)
        self.assertEqual(self.text(config), "-- mine\n")
        self.assertIn("listen", self.text(config + ".new"))

    def test_paths_that_config_and_unit_name(self):
        for root, prefix, etc in (("", self.prefix, self.prefix + "/etc"), (self.root, "/usr", "/etc")):
            config = self.text(root + etc + "/magpie/magpie.lua")
            named = re.findall(r'path = "([^"]*)"', config)
            self.assertEqual(len(named), 2, config)
            for path in named:
                self.assertTrue(os.path.isdir(root + path), path)
            for name in re.findall(r"^            (\w+) = {}", config, re.M):
                self.assertTrue(os.path.exists("%s%s/%s.so" % (root, named[1], name)), name)
            unit = self.text(root + prefix + "/lib/systemd/system/magpied.service")
            quoted = re.findall(r'^Exec(?:StartPre|Start)="?(/.*?)"? (?:-t )?-c "?(/.*?)"?$', unit, re.M)
            self.assertEqual(quoted, [(prefix + "/bin/magpied", etc + "/magpie/magpie.lua")] * 2)
            for path in quoted[0]:
                self.assertTrue(os.path.exists(root + path), path)
            documentation = re.search(r"^Documentation=file://(.*)$", unit, re.M)[1]
            self.assertTrue(os.path.exists(root + documentation), documentation)

    def test_paths_that_man_pages_name(self):
        for root, prefix, etc in (("", self.prefix, self.prefix + "/etc"), (self.root, "/usr", "/etc")):
            pages = glob.glob(root + prefix + "/share/man/man*/*")
            self.assertEqual({os.path.basename(p) for p in pages},
                             {os.path.basename(p) for p in glob.glob(os.path.join(ROOT, "docs/man/*"))})
            seen = set()
            for page in pages:
                for path in re.findall(r"^\.I (/.*)$", self.text(page), re.M):
                    seen.add(path)
                    if not path.startswith(("/run/", "/var/")):
                        self.assertTrue(os.path.exists(root + path), "%s names %s" % (page, path))
            self.assertIn(etc + "/magpie/magpie.lua", seen)

    def test_magpiectl_finds_the_console(self):
        """The address in the installed config is one that the installed magpiectl tries of itself."""
        usage = run(self.program("magpiectl"), "--help").stdout
        for config in (self.prefix + "/etc/magpie/magpie.lua", self.root + "/etc/magpie/magpie.lua"):
            console = re.search(r'console = "([^"]*)"', self.text(config))[1]
            self.assertRegex(usage, r"(?<![\w:/.])%s\b" % re.escape(console))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MAGPIE_")}
        if not os.path.exists("/run/magpie/console"):
            r = run(self.program("magpiectl"), "status", env=environment)
            if r.returncode != 0:
                self.assertIn("unix:/run/magpie/console (No such file or directory)", r.stderr)
                self.assertIn("$MAGPIE_CONSOLE", r.stderr)

    def test_plugins_are_compiled(self):
        """Away from the sources: by the installed script, and by pkg-config."""
        folder = tempfile.mkdtemp(dir=self.folder)
        echo = os.path.join(self.prefix, "share/doc/magpie/plugins/echo/echo.c")
        r = run(self.program("magpie-plugin"), echo, "-Werror", cwd=folder)
        self.assertEqual((r.returncode, r.stdout + r.stderr), (0, ""))
        self.assert_loads(folder, "echo")
        if not shutil.which("pkg-config"):
            return
        environment = dict(os.environ, PKG_CONFIG_PATH=os.path.join(self.prefix, "lib/pkgconfig"))
        r = run("sh", "-ec", """
            mkdir other
            eval cc -shared -fPIC $(pkg-config --cflags magpie-plugin) -o other/echo.so '"$0"'
            pkg-config --atleast-version=1.3 magpie-plugin
            pkg-config --variable=plugindir magpie-plugin""", echo, cwd=folder, env=environment)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertTrue(os.path.exists(os.path.join(r.stdout.strip(), "web.so")), r.stdout)
        self.assert_loads(os.path.join(folder, "other"), "echo")

    def assert_loads(self, folder, name):
        with open(os.path.join(folder, "magpie.lua"), "w", encoding="utf-8") as f:
            f.write('return { scripts = { load = {} }, plugins = { path = ".", load = { %s = {} } } }' % name)
        r = run(self.program("magpied"), "-t", "-c", "magpie.lua", cwd=folder)
        self.assertEqual((r.returncode, r.stdout + r.stderr), (0, "magpie.lua: good\n"))

    def test_plugins_that_cannot_be_compiled(self):
        folder = tempfile.mkdtemp(dir=self.folder)
        for name, text in (("none.c", "int x;"), ("undefined.c", "#include <magpie_plugin.h>\nint there_is_no(void);\n"
                                                  "static int init(mp_self *s, const struct mp_api *m, const "
                                                  "mp_options *o, void **t)\n{ return there_is_no(); }\n"
                                                  'MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "undefined", .init = init};')):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(text)
        for status, about, arguments in ((1, "there is no file x.c", ["x.c"]), (2, "no source", []),
                                         (2, "no source", ["-O3"]), (2, "-o needs a value", ["-o"]),
                                         (2, "-o comes first", ["none.c", "-o", "x.so"]),
                                         (2, "expected a file NAME.so", ["-o", "x", "none.c"]),
                                         (2, "letters, digits", ["-o", "a b.so", "none.c"]),
                                         (1, "magpie_plugin", ["none.c"]), (1, "there_is_no", ["undefined.c"])):
            r = run(self.program("magpie-plugin"), *arguments, cwd=folder)
            self.assertEqual(r.returncode, status, (arguments, r.stderr))
            self.assertIn(about, r.stderr)
        self.assertEqual(glob.glob(os.path.join(folder, "*.so")), [])

    def test_it_runs(self):
        """On ports of its own, but with everything else as it was installed."""
        folder = tempfile.mkdtemp(dir=self.folder)
        text = self.text(self.prefix, "etc/magpie/magpie.lua")
        text = re.sub(r'"127\.0\.0\.1:808([123])"', lambda m: '"unix:s%s"' % m[1], text)
        with open(os.path.join(folder, "magpie.lua"), "w", encoding="utf-8") as f:
            f.write(text)
        with open(os.path.join(folder, "log"), "w", encoding="utf-8") as log:
            server = subprocess.Popen([self.program("magpied"), "-c", "magpie.lua"], cwd=folder, stderr=log)
        try:
            run("sh", "-c", "for i in $(seq 600); do [ -S s3 ] && grep -q server.ready log && break; sleep 0.1; done",
                cwd=folder)
            self.assertIsNone(server.poll(), self.text(folder, "log"))
            environment = dict(os.environ, MAGPIE_CONSOLE="unix:s3")
            r = run(self.program("magpiectl"), "list", "plugins", cwd=folder, env=environment)
            self.assertEqual(r.returncode, 0, r.stderr)
            self.assertIn("web", r.stdout)
            r = run(self.program("magpiectl"), "list", "scripts", cwd=folder, env=environment)
            self.assertIn("ratelimit", r.stdout)
        finally:
            server.terminate()
            self.assertEqual(server.wait(60 * PATIENCE), 0)


if __name__ == "__main__":
    unittest.main()
