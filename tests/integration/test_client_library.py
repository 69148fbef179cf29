"""libmagpie-client as it is installed: programs outside of the repository build against it by pkg-config, and talk."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

import certs
from base import Test
from server import MAGPIED, PATIENCE, ROOT

BUILD = os.path.dirname(MAGPIED)
SANITIZED = bool(os.environ.get("MAGPIE_SANITIZED"))
HEADER = os.path.join(ROOT, "core", "client", "magpie_client.h")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wundef", "-Werror"]


def run(*command, **options):
    r = subprocess.run(command, capture_output=True, text=True, timeout=120 * PATIENCE, **options)
    if r.returncode:
        raise AssertionError("%s\n%s%s" % (" ".join(command), r.stdout, r.stderr))
    return r.stdout


@unittest.skipIf(SANITIZED, "a program without sanitizers cannot load what has them")
@unittest.skipUnless(shutil.which("pkg-config") and shutil.which("cc"), "no compiler or no pkg-config")
class ClientLibrary(Test):
    """libmagpie-client as it is installed."""

    config = {"tls": {}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prefix = tempfile.mkdtemp(prefix="magpie-client-")
        for component in ("client", "client_development"):
            run("cmake", "--install", BUILD, "--component", component, "--prefix", cls.prefix)
        cls.pc = next(os.path.join(folder, "magpie-client.pc") for folder, _, names in os.walk(cls.prefix)
                      if "magpie-client.pc" in names)
        cls.lib = os.path.dirname(os.path.dirname(cls.pc))
        cls.environment = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(cls.pc), LD_LIBRARY_PATH=cls.lib)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.prefix)
        super().tearDownClass()

    def flags(self, *options):
        return run("pkg-config", *options, "magpie-client", env=self.environment).split()

    def build(self, static=False):
        """docs/examples/hello.c, as its comment says."""
        out = os.path.join(self.prefix, "hello-static" if static else "hello")
        source = os.path.join(ROOT, "docs", "examples", "hello.c")
        if static:
            libraries = [f.replace("-lmagpie-client", "-l:libmagpie-client.a")
                         for f in self.flags("--libs", "--static")]
        else:
            libraries = self.flags("--libs")
        run("cc", "-std=c11", *WARNINGS, "-o", out, source, *self.flags("--cflags"), *libraries)
        return out

    def talk(self, address, program=None, environment=None):
        """hello.c hears, and is heard."""
        a = self.user("Ada")
        channel = self.channel(a)
        p = subprocess.Popen([program or self.build(), address, channel, "sch\u00f6n"], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, env=environment or self.environment)
        try:
            self.assertEqual(a.push(102)["content"], "sch\u00f6n")
            seq = a.say(channel, "\u65e5\u672c \"quoted\"\n")["seq"]
            a.request(17, channel=channel, seq=seq, content="mended")
            self.user("Grace").subscribe(channel)
            a.say(channel, "bye")
            out = p.communicate(timeout=60 * PATIENCE)[0]
        finally:
            p.kill()
            p.wait()
            p.stdout.close()
        self.assertEqual(p.returncode, 0, out)
        for part in ("it is message ", "Ada: \u65e5\u672c \"quoted\"\n", "is now: mended\n", "Grace has joined\n",
                     "Ada: bye\n"):
            self.assertIn(part, out)

    def test_a_program_with_the_shared_library(self):
        program = self.build()
        self.assertIn("libmagpie-client.so.1", run("readelf", "-d", program))
        self.talk("localhost:%d" % self.server.tcp, program)

    def test_a_program_with_the_static_library(self):
        program = self.build(static=True)
        self.assertNotIn("libmagpie-client", run("readelf", "-d", program))
        self.talk("localhost:%d" % self.server.tcp, program)

    def test_errors_are_sentences(self):
        program = self.build()
        for address, text in (("localhost:1", "Connection refused"), ("nonsense", "expected HOST:PORT"),
                              ("gopher://localhost/", "expected ws://"),
                              ("ws://localhost:%d/" % self.server.tcp, "hello: "),
                              ("no.such.host.invalid:1", "hello: "), ("ws://h/ a", "path"),
                              ("unix:/nonexistent", "No such file")):
            with self.subTest(address):
                r = subprocess.run([program, address, "talk", "x"], capture_output=True, text=True,
                                   timeout=60 * PATIENCE, env=self.environment)
                self.assertEqual(r.returncode, 1)
                self.assertIn(text, r.stderr)

    def test_websockets(self):
        self.talk("ws://localhost:%d/chat?x=1" % self.server.websocket)

    def test_tls(self):
        """Whom the certificate is for, and who signed it, is looked at."""
        for address in ("tcps://localhost:%d" % self.server.tcps, "wss://127.0.0.1:%d/" % self.server.wss):
            self.talk(address, environment=dict(self.environment, SSL_CERT_FILE=certs.authority()[0]))
        for address, ca, text in (("tcps://localhost:%d" % self.server.tcps, "stranger", "certificate"),
                                  ("tcps://127.1:%d" % self.server.tcps, "ca", "mismatch"),
                                  ("tcps://localhost:%d" % self.server.tcp, "ca", "hello: ")):
            with self.subTest(address):
                r = subprocess.run([self.build(), address, "safe", "x"], capture_output=True, text=True,
                                   timeout=60 * PATIENCE,
                                   env=dict(self.environment, SSL_CERT_FILE=certs.authority(ca)[0]))
                self.assertEqual(r.returncode, 1)
                self.assertIn(text, r.stderr)

    def declared(self):
        """The header's functions."""
        with open(HEADER, encoding="utf-8") as f:
            text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
        return set(re.findall(r"\b(magpie_\w+)\(", text)) - {"magpie_answer_fn"}

    def names(self, *command):
        """Those that a library gives to programs."""
        return {line.split()[-1].split("@")[0] for line in run("nm", *command).splitlines()
                if len(line.split()) >= 3 and line.split()[-2] in "TDBRVW"}

    def test_only_the_headers_names_are_given(self):
        declared = self.declared()
        self.assertIn("magpie_edit", declared)
        for command in (("-D", "--defined-only", os.path.join(self.lib, "libmagpie-client.so")),
                        ("-g", "--defined-only", os.path.join(self.lib, "libmagpie-client.a"))):
            self.assertEqual(self.names(*command) - {"MAGPIE_CLIENT_1"}, declared, command)

    def test_the_header_compiles_alone(self):
        header = os.path.join(self.prefix, "include", "magpie_client.h")
        for compiler, language, standard in (("cc", "c", "c99"), ("cc", "c", "c17"), ("c++", "c++", "c++11"),
                                             ("c++", "c++", "c++20")):
            if shutil.which(compiler):
                run(compiler, "-x", language, "-std=" + standard, *WARNINGS, "-fsyntax-only", "-include", header,
                    "/dev/null")

    def test_the_page_of_the_manual_names_all_functions(self):
        with open(os.path.join(ROOT, "docs", "man", "libmagpie-client.3"), encoding="utf-8") as f:
            page = f.read().replace("\\-", "-")
        self.assertEqual([name for name in sorted(self.declared()) if name not in page], [])
