"""magpied --export and --import: a server goes on somewhere else, with all that it had."""

import os
import shutil
import subprocess

import export_file
from base import Test, embedded
from client import CONVERSATIONS
from console import UNIX, Console
from server import MAGPIED, PATIENCE, Server
from test_durability import whole_history, whole_inbox


def run(server, *arguments, config=True, **more):
    """magpied with a server's config, by itself. Its exit status and what it said."""
    command = [MAGPIED, *arguments] + (["-c", server.config_path] if config else [])
    p = subprocess.run(command, capture_output=True, timeout=60 * PATIENCE, cwd=server.folder, **more)
    return p.returncode, p.stderr.decode()


@embedded("data directories; tests/cluster/test_moving.py is about clusters")
class Moving(Test):
    abstract = False

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def server(self, **config):
        config.update(UNIX)
        s = Server(config, start=False)
        self.addCleanup(s.discard)
        s.write_config()
        return s

    def file(self, server, name="export"):
        return os.path.join(server.folder, name)

    def filled(self, **config):
        """A server with this and that, and what is to be found again."""
        old = self.server(**config).start()
        ada, bob, eve = (self.user(n, server=old) for n in ("Ada", "Bob", "Eve"))
        for c in (ada, bob):
            c.subscribe("room")
        for i in range(30):
            ada.say("room", "message %d" % i, clientId="c%d" % i)
            ada.tell(bob.id, "private %d" % i)
        bob.request(8, upTo=whole_inbox(bob)[3]["id"])
        console = Console(old)
        console.ask("ban user %s 3600" % eve.id)
        console.close()
        return old, ada, bob, eve

    def seen(self, *clients):
        return [(whole_history(c, channel="room"), whole_inbox(c), c.request(CONVERSATIONS)) for c in clients]

    def test_everything_is_there_again(self):
        old, ada, bob, eve = self.filled()
        before = self.seen(ada, bob)
        self.assertEqual(len(before[1][1]), 26)
        old.stop()
        path = self.file(old)
        status, said = run(old, "--export", path)
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"^magpied: 3 users, 2 conversations, 60 messages, 2 memberships, .* exported to /")
        new = self.server(node=7)
        status, said = run(new, "--import", path)
        self.assertEqual(status, 0, said)
        self.assertIn("/data/secret: copy it", said)
        shutil.copy(old.folder + "/data/secret", new.folder + "/data/secret")
        new.start()
        again = [self.again(c, server=new) for c in (ada, bob)]
        self.assertEqual([c.id for c in again], [ada.id, bob.id])
        self.assertEqual(self.seen(*again), before)
        refused = self.connect(server=new).error(1, token=eve.token)
        self.assertEqual(refused.code, "forbidden")
        repeat = again[0].say("room", "message 29", clientId="c29")
        self.assertEqual(repeat["seq"], 30)
        sent = again[0].say("room", "and on")
        self.assertEqual(sent["seq"], 31)
        self.assertGreater(int(sent["id"]), int(repeat["id"]))
        new.close()

    def test_through_a_pipe_and_back(self):
        old, ada, bob, _ = self.filled()
        before = self.seen(ada, bob)
        old.stop()
        new = self.server()
        with subprocess.Popen([MAGPIED, "--export", "-", "-c", old.config_path], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as out:
            status, said = run(new, "--import", "-", stdin=out.stdout)
            self.assertEqual((status, out.wait()), (0, 0), said)
            self.assertIn("imported from standard input", said)
        shutil.copy(old.folder + "/data/secret", new.folder + "/data/secret")
        new.start()
        self.assertEqual(self.seen(*(self.again(c, server=new) for c in (ada, bob))), before)
        new.close()

    def test_what_stands_in_the_file(self):
        old, ada, bob, eve = self.filled()
        old.stop()
        run(old, "--export", self.file(old))
        records = export_file.records(self.file(old))
        of = lambda kind: [r for r in records if r[0] == kind]
        self.assertEqual([r[1].decode() for r in of("user")], sorted(c.id for c in (ada, bob, eve)))
        self.assertEqual(sorted(r[12].decode() for r in of("message") if r[1] == b"croom"),
                         sorted("message %d" % i for i in range(30)))
        self.assertEqual([(r[1].decode(), r[3]) for r in of("member")], sorted([(ada.id, 30), (bob.id, 0)]))
        self.assertEqual(len(of("inbox")), 26)
        self.assertEqual(sorted(r[3] for r in of("dedup") if r[2] == b"croom"), sorted(b"c%d" % i for i in range(30)))
        self.assertTrue([r for r in of("note") if eve.id.encode() in r[1]])

    def test_refusals(self):
        old, *_ = self.filled()
        path = self.file(old)
        status, said = run(old, "--export", path)
        self.assertEqual(status, 1)
        self.assertRegex(said, r"^magpied: the data directory .* is in use by another server\n$")
        self.assertFalse(os.path.exists(path) or os.path.exists(path + ".tmp"))
        old.stop()
        self.assertEqual(run(old, "--export", path)[0], 0)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        status, said = run(old, "--import", path)
        self.assertEqual(status, 1)
        self.assertRegex(said, r"^magpied: the data directory .* has a database already: an import needs one without$")
        new = self.server()
        status, said = run(new, "--export", path + ".2")
        self.assertEqual(status, 1)
        self.assertRegex(said, r"^magpied: there is no database in the data directory .*: No such file or directory\n$")
        self.assertFalse(os.path.exists(new.folder + "/data"))
        status, said = run(new, "--import", path + ".2")
        self.assertEqual((status, said), (1, "magpied: cannot read %s.2: No such file or directory\n" % path))
        with open(path, "rb") as f:
            whole = f.read()
        with open(path + ".2", "wb") as f:
            f.write(whole[:-1])
        status, said = run(new, "--import", path + ".2")
        self.assertEqual((status, said), (1, "magpied: %s.2 is cut short after %d bytes\n" % (path, len(whole) - 1)))
        self.assertFalse(os.path.exists(new.folder + "/data"))  # it was read through before anything was made
        self.assertEqual(run(old, "--export", "/nowhere/export"),
                         (1, "magpied: cannot write /nowhere/export.tmp: No such file or directory\n"))
        self.assertEqual(run(self.server(storage={"engine": "memory"}), "--export", path)[0], 1)

    def test_wrong_usage(self):
        s = self.server()
        for arguments, told in (
                (["--export"], "--export needs a file"), (["--import"], "--import needs a file"),
                (["--run-script-tests"], "--run-script-tests needs a folder"),
                (["--export", "x", "--import", "y"], "-t, --export and --import exclude each other"),
                (["--export", "x", "-t"], "-t, --export and --import exclude each other")):
            status, said = run(s, *arguments, config=len(arguments) > 1)
            self.assertEqual(status, 2)
            self.assertIn(told, said)
        status, said = run(s, "--export", "x", config=False)
        self.assertEqual(status, 2)
        self.assertIn("-c FILE is missing", said)
        with open(s.config_path, "w") as f:
            f.write("return { nonsense = 1 }")
        status, said = run(s, "--export", "x")
        self.assertEqual(status, 1)
        self.assertIn("nonsense", said)
