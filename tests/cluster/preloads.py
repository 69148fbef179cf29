"""Libraries that are preloaded into processes of tests, built from preload/NAME.c."""

import os
import shutil
import subprocess
import tempfile
import unittest

from server import SANITIZED

HERE = os.path.dirname(os.path.abspath(__file__))


def preload(cls, name):
    """The path of that library, which is removed after the class's tests. Called in setUpClass: without a compiler, or
    under sanitizers, which a preloaded library disturbs, all of the class is skipped."""
    if SANITIZED or not shutil.which("cc"):
        raise unittest.SkipTest("no compiler here, or sanitizers, which a preloaded library disturbs")
    folder = tempfile.mkdtemp(prefix="magpie-test-")
    cls.addClassCleanup(shutil.rmtree, folder)
    library = os.path.join(folder, name + ".so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, os.path.join(HERE, "preload", name + ".c")],
                   check=True)
    return library


def preloaded(argv, library, **variables):
    """The command with the library, which is told so by these variables of its environment."""
    return ["env", "LD_PRELOAD=" + library] + ["%s=%s" % v for v in variables.items()] + argv
