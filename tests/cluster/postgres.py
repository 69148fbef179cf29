"""A PostgreSQL of one's own on loopback."""

import glob
import os
import pwd
import secrets
import signal
import subprocess

from process import Process, eventually, folder, free_ports, remove


def programs():
    """The folder of the newest PostgreSQL's programs; Debian keeps them out of PATH."""
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if not found:
        raise AssertionError("there is no PostgreSQL: install postgresql-15")
    return os.path.dirname(max(found, key=lambda p: int(p.split("/")[4])))


def unprivileged():
    """(uid, gid) that a PostgreSQL runs as which root starts: it refuses root. None for anybody else."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
        except KeyError:
            continue
    raise AssertionError("neither postgres nor nobody is a user here")


class Postgres:
    """Starts and ends it:

        with Postgres() as pg:
            pg.url                    "postgresql://magpie:PASSWORD@127.0.0.1:PORT/postgres"
            pg.query("select 1")      the result as psql -A -t prints it
            pg.kill(), pg.start()     kill -9, and again on the same data
            pg.stop(), pg.cont()      it hangs (SIGSTOP, every process of it), and goes on

    place: a folder that is there, for what it keeps; else one of its own.
    """

    def __init__(self, port=0, settings=None, start=True, place=None):
        self.folder = folder("magpie-postgres-") if place is None else place
        self.data = os.path.join(self.folder, "data")
        self.port = port or free_ports(1)
        self.password = secrets.token_hex(8)
        self.user = unprivileged()
        self.settings = dict({"fsync": "off", "max_connections": "50", "shared_buffers": "32MB"}, **(settings or {}))
        if self.user:
            os.chown(self.folder, *self.user)
        arguments = {"dynamic_shared_memory_type": "mmap", "listen_addresses": "127.0.0.1", "port": str(self.port),
                     "unix_socket_directories": ""}
        options = [o for k, v in dict(arguments, **self.settings).items() for o in ("-c", "%s=%s" % (k, v))]
        # QUIT: at once, and its processes with it.
        self.process = Process([os.path.join(programs(), "postgres"), "-D", self.data] + options,
                               os.path.join(self.folder, "log"), self.user, "QUIT", "/")
        if start:
            try:
                self.make()
                self.start()
            except BaseException:
                self.close()
                raise

    @property
    def url(self):
        return "postgresql://magpie:%s@127.0.0.1:%d/postgres" % (self.password, self.port)

    def make(self):
        """initdb."""
        file = os.path.join(self.folder, "password")
        with open(file, "w") as f:
            f.write(self.password)
        if self.user:
            os.chown(file, *self.user)
        init = Process([os.path.join(programs(), "initdb"), "-D", self.data, "-U", "magpie", "--pwfile", file, "-A",
                        "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions",
                        "--wal-segsize", "1"],
                       os.path.join(self.folder, "initdb.log"), self.user, cwd="/")
        init.start()
        if init.popen.wait(120) != 0:
            raise AssertionError("initdb failed:\n" + init.log())

    def start(self):
        self.process.start()
        eventually(self.answers, "PostgreSQL on port %d" % self.port, 60)

    def answers(self):
        if not self.process.running():
            raise AssertionError("postgres ended:\n" + self.process.log()[-2000:])
        return self.psql("select 1").returncode == 0

    def psql(self, sql):
        return subprocess.run([os.path.join(programs(), "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1",
                               self.url, "-c", sql], capture_output=True, text=True, timeout=60,
                              env=dict(os.environ, PGCONNECT_TIMEOUT="5"))

    def query(self, sql):
        r = self.psql(sql)
        if r.returncode != 0:
            raise AssertionError(r.stderr.strip())
        return r.stdout.strip()

    def family(self):
        """The postmaster and its processes."""
        try:
            with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as f:
                return [self.process.pid] + [int(p) for p in f.read().split()]
        except OSError:
            return [self.process.pid]

    def signal(self, number):
        for pid in self.family():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def kill(self):
        """kill -9 of all of it: alone, its processes would serve on for a moment, and stopped ones for ever."""
        if self.process.running():
            self.signal(signal.SIGKILL)
            self.process.kill()

    def stop(self):
        self.signal(signal.SIGSTOP)

    def cont(self):
        self.signal(signal.SIGCONT)

    def close(self):
        if self.process.running():
            self.cont()
            self.process.popen.send_signal(signal.SIGQUIT)  # which leaves no shared memory behind, as a kill would
            try:
                self.process.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        remove(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind and hasattr(value, "add_note"):
            value.add_note("postgres: " + self.process.log()[-1500:])
        self.close()
