"""The script `dev` and the runner of the documents' examples: their words, and paths with blanks and quotes. Nothing is
built here."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from base import embedded
from server import MAGPIED

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VERBS = ("run", "test", "build", "bench", "million", "fuzz", "soak", "asan", "tsan", "format", "lint", "package",
         "help")


@embedded("runs no server")
class Dev(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.join(tempfile.mkdtemp(prefix="magpie-dev-"), "it's a folder")
        os.makedirs(os.path.join(self.folder, "tests"))
        shutil.copy(os.path.join(ROOT, "dev"), self.folder)
        shutil.copy(os.path.join(ROOT, "tests", "soak.py"), os.path.join(self.folder, "tests"))
        shutil.copytree(os.path.join(ROOT, "tests", "bench"), os.path.join(self.folder, "tests", "bench"),
                        ignore=shutil.ignore_patterns("__pycache__"))

    def tearDown(self):
        shutil.rmtree(os.path.dirname(self.folder))

    def dev(self, *arguments):
        return subprocess.run([os.path.join(self.folder, "dev"), *arguments], capture_output=True, text=True,
                              timeout=60, stdin=subprocess.DEVNULL, cwd="/",
                              env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))

    def test_help_runs_nothing(self):
        for verb in VERBS:
            for arguments in ((verb, "--help"), (verb, "-h"), (verb, "x", "--help"), ("help", verb)):
                with self.subTest(arguments):
                    r = self.dev(*arguments)
                    self.assertEqual((r.returncode, r.stderr), (0, ""))
                    self.assertTrue(r.stdout.startswith("./dev %s" % verb), r.stdout)
        # Neither built nor installed anything.
        self.assertEqual(sorted(os.listdir(self.folder)), ["dev", "tests"])

    def test_the_list(self):
        for arguments in ((), ("help",), ("--help",), ("-h",)):
            r = self.dev(*arguments)
            self.assertEqual(r.returncode, 0)
            self.assertEqual([line.split()[1] for line in r.stdout.splitlines()], list(VERBS))

    def test_wrong_words(self):
        for arguments, about in ((("tset",), "unknown verb tset"), (("help", "tset"), "unknown verb tset"),
                                 (("--hlep",), "unknown verb --hlep"),
                                 (("test", "--hlep"), "what is --hlep?"),
                                 (("test", "x", "--cluster"), "what is --cluster?"),
                                 (("asan", "x", "--cluster"), "what is --cluster?"), (("asan", "-x"), "what is -x?"),
                                 (("tsan", "-x"), "what is -x?"),
                                 (("run", "x"), "takes no arguments"), (("run", "--cluster", "x"), "how many nodes"),
                                 (("run", "--cluster", "0"), "how many nodes"),
                                 (("run", "--cluster", "2", "3"), "how many nodes"), (("format", "x"), "what is x?"),
                                 (("package", "x"), "takes no arguments"),
                                 (("lint", "x.c"), "there is no file x.c"), (("lint", "x"), "x is no .c file"),
                                 (("fuzz", "x"), "how many seconds")):
            with self.subTest(arguments):
                r = self.dev(*arguments)
                self.assertNotEqual(r.returncode, 0)
                self.assertIn(about, r.stderr)


@embedded("runs no server")
class Units(unittest.TestCase):
    """Which unit tests `./dev test --cluster` runs."""

    def test_all_that_ask_for_a_cluster(self):
        with open(os.path.join(ROOT, "dev")) as f:
            function = re.search(r"^units_of_redis\(\) \{\n.*?^\}\n", f.read(), re.M | re.S).group()
        r = subprocess.run(["bash", "-c", function + "units_of_redis"], cwd=ROOT, capture_output=True, text=True)
        chosen = set(r.stdout.strip().split("|"))
        folder, asking = os.path.join(ROOT, "tests", "unit"), set()
        for name in os.listdir(folder):
            if name.endswith(".c"):
                with open(os.path.join(folder, name)) as f:
                    if re.search(r"\bredis_kit_(need|addresses)\b", f.read()):
                        asking.add(name[:-2])
        self.assertIn("test_redis_order", asking)
        self.assertEqual(asking - chosen, set())


@embedded("runs no server")
class Documents(unittest.TestCase):
    """tests/docs.py puts the built programs into examples, wherever they lie."""

    def test_odd_paths(self):
        parent = tempfile.mkdtemp(prefix="magpie-dev-")
        try:
            for name in ("a folder", "it's", 'a "folder"', "back\\slash", "$HOME `x` & *"):
                with self.subTest(name):
                    folder = os.path.join(parent, name)
                    os.mkdir(folder)
                    os.symlink(os.path.dirname(MAGPIED), os.path.join(folder, "build"))
                    code = ("import docs, tempfile; s = docs.Server.__new__(docs.Server); s.folder = "
                            "tempfile.mkdtemp(dir=%r); s.tcp = s.websocket = s.console = 1\n"
                            "for language, kind, text in (('sh', 'test', 'build/magpied --version | grep -c "
                            "magpied'),\n"
                            "        ('python', 'test', 'import subprocess; subprocess.check_call([\"build/magpied\", "
                            "\"--version\"])'),\n"
                            "        ('python', 'test', \"import subprocess; subprocess.check_call(['./build/magpied', "
                            "'--version'])\"),\n"
                            "        ('lua', 'config', '{ plugins = { load = { filter = { file = \"words.txt\" } } } "
                            "}'), ('lua', 'script', 'require(\"magpie\").on(\"connect\", print)')):\n"
                            "    print(*docs.run(s, language, kind, text, s.folder))\n" % folder)
                    r = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                                       stdin=subprocess.DEVNULL,
                                       env=dict(os.environ, PYTHONPATH=os.path.join(ROOT, "tests"),
                                                PYTHONDONTWRITEBYTECODE="1",
                                                MAGPIED=os.path.join(folder, "build", "magpied")))
                    self.assertEqual(r.stderr, "")
                    self.assertEqual([line.split()[0] for line in r.stdout.splitlines()
                                      if line.startswith(("True", "False"))], ["True"] * 5, r.stdout)
        finally:
            shutil.rmtree(parent)
