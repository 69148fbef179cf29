"""magpie_plugin.h for every compiler that is here: C99 to C17 and C++11 to C++20, without a warning; plugins in C++
run."""

import os
import shutil
import subprocess
import tempfile
import unittest

from plugin_base import ABI, PluginTest
from server import PATIENCE, ROOT

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wundef", "-Werror", "-fvisibility=hidden",
            "-fPIC"]

# Every helper, and what plugins fill in; MAGPIE_TEST_* comes from the command line.
BODY = """
#include "magpie_plugin.h"

static const struct mp_api *mp_;
static mp_self *self_;

static void greet(mp_http *http, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    char id[20];
    struct mp_http_answer a;
    (void)shard, (void)ctx;
    memset(&a, 0, sizeof a);
    a.size = sizeof a;
    a.status = mp_eq(q->method, mp_str("GET")) && mp_same_secret(mp_str("secret"), q->bearer) && mp_bearer_good("x") ? 200 : 401;
    a.content_type = "text/plain";
    a.body = mp_str_of(mp_id_text(42, id), 19);
    mp_->http_answer(http, &a);
}

static int start(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    struct mp_route route;
    struct mp_field fields[2];
    memset(&route, 0, sizeof route);
    route.size = sizeof route;
    route.method = "GET";
    route.path = mp->option_text(o, "path");
    route.handle = greet;
    mp_ = mp;
    self_ = self;
    *state = &self_;
    fields[0] = mp_field_text("text", mp_str(NULL));
    fields[1] = mp_field_int("number", 1);
    mp->log(self, MP_INFO, "here", fields, 2);
    return mp->route(self, &route);
}
"""

DESIGNATED = BODY + """
static const struct mp_option options[] = {
    {.name = "path", .type = MP_OPT_TEXT, .flags = MP_OPT_F_RESTART | MP_OPT_F_REQUIRED, .help = "A path."},
};

static int check(const struct mp_api *mp, void *state, const mp_options *o, char *why, size_t why_size)
{
    const struct mp_hook h = {.size = sizeof h, .event = MP_ON_MESSAGE};
    const struct mp_command c = {.size = sizeof c, .name = "x", .help = "x"};
    const struct mp_metric m = {.size = sizeof m, .name = "x", .help = "x", .kind = MP_GAUGE};
    const struct mp_send s = {.size = sizeof s, .receiver = mp_str("x")};
    (void)o, (void)why;
    if (!state || why_size)
        return MP_OK;
    return mp->hook(self_, &h) + mp->command(self_, &c) + mp->metric(self_, &m) + mp->send(self_, &s, NULL, NULL, NULL);
}

MP_PLUGIN = {MP_PLUGIN_HEAD, MP_OPTIONS(options), .name = MAGPIE_TEST_NAME, .version = "1", .summary = "test", .check = check, .init = start};
"""

# C++ before 20 has no designated initializers.
FILLED_IN = BODY + """
static const struct mp_option options[] = {{"path", MP_OPT_TEXT, MP_OPT_F_REQUIRED, 0, 0, NULL, NULL, "A path."}};

static struct mp_plugin describe()
{
    struct mp_plugin p = mp_plugin_head();
    p.name = MAGPIE_TEST_NAME;
    p.version = "1";
    p.summary = "test";
    p.options = options;
    p.option_count = 1;
    p.init = start;
    return p;
}

MP_PLUGIN = describe();
"""


def compilers(*names):
    """Those that are here, each once."""
    found = {}
    for name in names:
        path = shutil.which(name)
        if path:
            found.setdefault(os.path.realpath(path), name)
    return list(found.values())


def build(compiler, standard, source, output=None):
    """'' or what the compiler says."""
    cpp = "++" in standard
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "plugin." + ("cc" if cpp else "c"))
        with open(path, "w") as f:
            f.write(source)
        command = [compiler, "-std=" + standard, "-I", os.path.join(ROOT, "plugins"), "-shared", "-o",
                   output or os.path.join(folder, "x.so"), path]
        command += WARNINGS + (["-Wold-style-cast"] if cpp else ["-Wstrict-prototypes"])
        name = os.path.basename(output or "x.so")[:-3]
        r = subprocess.run(command + ['-DMAGPIE_TEST_NAME="%s"' % name], capture_output=True, text=True,
                           timeout=120 * PATIENCE)
    return r.stderr if r.returncode or r.stderr else ""


class Header(PluginTest):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="magpie-header-")
        cls.path = cls.folder
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.folder)

    def test_c(self):
        for compiler in compilers("cc", "gcc", "clang", "clang-14"):
            for standard in ("c99", "c11", "c17"):
                with self.subTest(compiler + " " + standard):
                    self.assertEqual(build(compiler, standard, DESIGNATED), "")

    @unittest.skipUnless(compilers("c++", "g++", "clang++", "clang++-14"), "there is no C++ compiler here")
    def test_cpp(self):
        for compiler in compilers("c++", "g++", "clang++", "clang++-14"):
            for standard in ("c++11", "c++14", "c++17", "c++20"):
                with self.subTest(compiler + " " + standard):
                    name = (compiler + standard).replace("+", "p").replace("-", "_")
                    output = os.path.join(self.folder, name + ".so")
                    self.assertEqual(build(compiler, standard, DESIGNATED if standard == "c++20" else FILLED_IN,
                                           output), "")
                    self.runs(name)

    def runs(self, name):
        self.server.rewrite({"plugins": {"load": {name: {"path": "/" + name}}}})
        self.console("config reload")
        answer = (200, b"0" * 17 + b"42")
        self.eventually(lambda: self.http("GET", "/" + name, headers={"Authorization": "Bearer secret"})[::2] == answer)
        self.assertEqual(self.http("GET", "/" + name)[0], 401)
        self.assertEqual(self.console("plugin info " + name)["abi"], ABI)
