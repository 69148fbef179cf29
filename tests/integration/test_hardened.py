"""How the programs are built and confined: flags of the compiler and linker, looked for in what they made; and the
systemd unit."""

import glob
import os
import re
import shutil
import struct
import subprocess
import unittest

from base import Test, embedded, one_process
from client import PING
from server import MAGPIED, PATIENCE, ROOT, SANITIZED, Server

BUILT = os.path.dirname(MAGPIED)
UNIT = os.path.join(ROOT, "etc", "magpied.service")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60 * PATIENCE,
                          env=dict(os.environ, LC_ALL="C")).stdout


def programs():
    return [MAGPIED, os.path.join(BUILT, "magpiectl")]


def plugins():
    """Those that are shipped, without those made for tests."""
    return [p for p in sorted(glob.glob(os.path.join(BUILT, "plugins", "*.so")))
            if os.path.isdir(os.path.join(ROOT, "plugins", os.path.basename(p)[:-3]))]


@embedded("runs no server")
@unittest.skipUnless(shutil.which("readelf") and shutil.which("nm"), "there are no binutils here")
class Binaries(unittest.TestCase):
    def setUp(self):
        self.assertGreater(len(plugins()), 5)

    def imported(self, path):
        return set(re.findall(r" U (\w+)", output("nm", "-D", "--undefined-only", path)))

    def test_position_independent(self):
        for path in programs():
            self.assertRegex(output("readelf", "-hW", path), r"Type:\s+DYN", path)
            self.assertRegex(output("readelf", "-dW", path), r"FLAGS_1\).*\bPIE\b", path)

    def test_no_relocation_is_left_to_write_to(self):
        for path in programs() + plugins():
            self.assertIn("GNU_RELRO", output("readelf", "-lW", path), path)
            dynamic = output("readelf", "-dW", path)
            self.assertRegex(dynamic, r"\((FLAGS\)\s+BIND_NOW|FLAGS_1\).*\bNOW\b)", path)
            self.assertNotIn("TEXTREL", dynamic, path)

    def test_nothing_is_written_and_run(self):
        for path in programs() + plugins():
            segments = re.findall(r"^\s+(LOAD|GNU_STACK) .* ([R ][W ][E ]) 0x", output("readelf", "-lW", path), re.M)
            self.assertIn("GNU_STACK", [kind for kind, _ in segments], path + ": the stack is executable")
            self.assertEqual([s for s in segments if "W" in s[1] and "E" in s[1]], [], path)

    @unittest.skipIf(SANITIZED, "sanitizers bring checks of their own")
    def test_checked_while_they_run(self):
        """Stack protector and fortified functions."""
        fortified = 0
        for path in programs() + plugins():
            names = self.imported(path)
            self.assertIn("__stack_chk_fail", names, path)
            checked = {n for n in names if n.endswith("_chk")}
            fortified += len(checked) > 0
            if path in programs():
                self.assertTrue({"__memcpy_chk", "__snprintf_chk", "__vsnprintf_chk"} & checked, checked)
        self.assertGreater(fortified, len(plugins()) // 2, "of plugins, those that call what can be checked")

    @unittest.skipIf(SANITIZED, "sanitizers have stacks of their own")
    @unittest.skipUnless(os.uname().machine == "x86_64", "read for x86-64 only")
    def test_branches_and_stacks(self):
        """Functions whose addresses stand in tables begin with endbr64; large frames are touched page by page."""
        found = {}
        for path in programs() + plugins():
            functions = self.functions(path)
            pointed = {int(a, 16) for a in re.findall(r"R_X86_64_RELATIVE\s+([0-9a-f]+)",
                                                      output("readelf", "-rW", path))}
            taken = [(functions[a], a) for a in pointed if a in functions]
            found[path] = len(taken)
            with open(path, "rb") as f:
                data = f.read()
            wrong = [name for name, a in taken if data[self.offset(data, a):][:4] != b"\xf3\x0f\x1e\xfa"]
            self.assertEqual(wrong, [], path)
        self.assertGreater(found[MAGPIED], 200)
        self.assertGreater(sum(found[p] > 0 for p in plugins()), len(plugins()) // 2)
        # or $0, (%rsp), or with a displacement: nothing else is written so.
        text = output("objdump", "-d", "--no-show-raw-insn", "-j", ".text", MAGPIED)
        self.assertRegex(text, r"or[lq]? +\$0x0,(0x[0-9a-f]+)?\(%rsp\)")

    def functions(self, path):
        """Address: name, of those that are its own."""
        runtime = ("_init", "_fini", "_start", "frame_dummy", "deregister_tm_clones", "register_tm_clones",
                   "__do_global_dtors_aux")
        return {int(a, 16): name for a, name in re.findall(r"^([0-9a-f]+) [tT] (\S+)", output("nm", path), re.M)
                if name not in runtime}

    @staticmethod
    def offset(data, address):
        """Where in the file the byte at an address is."""
        at, size, n = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
        for i in range(n):
            kind, _, start, virtual, _, length = struct.unpack_from("<IIQQQQ", data, at + i * size)
            if kind == 1 and virtual <= address < virtual + length:
                return address - virtual + start
        raise AssertionError("no segment has %x" % address)

    @unittest.skipIf(SANITIZED, "sanitizers bring checks of their own")
    @unittest.skipUnless(shutil.which("hardening-check"), "there is no hardening-check here (devscripts)")
    def test_hardening_check(self):
        # What it says of control flow is about the C library as well; the test above looks for itself.
        for files, wanted in ((programs(), ("Position Independent", "Stack protected", "Fortify", "Read-only",
                                            "Immediate")), (plugins(), ("Stack protected", "Read-only", "Immediate"))):
            for path in files:
                said = subprocess.run(["hardening-check", path], capture_output=True, text=True,
                                      timeout=60 * PATIENCE).stdout
                for line in wanted:
                    self.assertRegex(said, r"(?m)^ %s.*: yes" % line, path)


@unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd here")
class Unit(Test):
    EXPOSURE = 15  # tenths

    @classmethod
    def setUpClass(cls):
        cls.server = None

    @classmethod
    def tearDownClass(cls):
        pass

    def test_exposure(self):
        if "--threshold" not in output("systemd-analyze", "--help"):
            self.skipTest("this systemd-analyze reads no units by itself (252 and later do)")
        r = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=%d" % self.EXPOSURE,
                            "--no-pager", UNIT], capture_output=True, text=True, timeout=60 * PATIENCE)
        self.assertEqual(r.returncode, 0, r.stdout[-200:] + r.stderr)
        self.assertRegex(r.stdout, r"Overall exposure level for magpied.service: \d")

    def allowed(self):
        """The system calls that the unit's filters leave."""
        with open(UNIT) as f:
            filters = re.findall(r"^SystemCallFilter=(~?)(.*)$", f.read(), re.M)
        self.assertTrue(filters)

        def members(word):
            if not word.startswith("@"):
                return {word}
            lines = [line.strip() for line in output("systemd-analyze", "syscall-filter", word).split("\n")[1:]]
            return set().union(*[members(line) for line in lines if line and not line.startswith("#")])
        left = set()
        for negated, words in filters:
            named = set().union(*[members(word) for word in words.split()])
            left = left - named if negated else left | named
        return left

    @unittest.skipIf(SANITIZED, "sanitizers make calls of their own")
    @unittest.skipUnless(shutil.which("strace"), "there is no strace here")
    @one_process("one trace is read")
    def test_every_system_call_is_allowed(self):
        """What the server asks the kernel for from its start to its end, with plugins, scripts, reload and TLS."""
        allowed = self.allowed()
        self.assertIn("accept4", allowed)
        self.assertNotIn("mount", allowed)
        s = Server({"plugins": {"load": {"echo": {}, "metrics": {}, "http_api": {"keys": ["0123456789abcdef"]},
                                         "webhook": {"url": "http://127.0.0.1:9/"}}}, "tls": {},
                    "scripts": {"load": ["ratelimit", "merge_push", "tiered_expiry"]}}, start=False)
        trace = os.path.join(s.folder, "trace")
        s.prefix = ["strace", "-f", "-qq", "-o", trace, "-e", "trace=all", "-e", "signal=none"]
        try:
            s.start()
        except AssertionError as e:
            s.discard()
            if "ptrace" in str(e).lower():
                self.skipTest("strace may not attach here")
            raise
        try:
            for wire in ("tcp", "text", "tls-tcp", "tls-binary"):
                a, b = self.user("Ada", wire, s), self.user("Bob", wire, s)
                room = self.channel(a, b)
                a.say(room, "hello")
                a.tell(b, "x" * 5000)
                self.assertIn("time", b.request(PING))
            with open(trace) as f:  # the server, which strace runs
                pid = int(f.readline().split()[0])
            os.kill(pid, 1)
            s.wait_log("config.reload")
            os.kill(pid, 15)
            self.assertEqual(s.process.wait(60 * PATIENCE), 0)
            with open(trace) as f:
                called = set(re.findall(r"^\d+ +(\w+)\(", f.read(), re.M))
        finally:
            s.discard()
        self.assertIn("accept4", called)
        self.assertEqual(called - allowed - {"execve"}, set())
