"""Processes that a test starts and that never outlive it, free ports, and folders for what they keep."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PORTS = 40        # that are claimed together
claims = []       # sockets whose names say which
PLENTY = 2 << 30  # bytes that must be free in /dev/shm


def folder(prefix):
    """A new temporary folder, in memory where there is room: nine Redis that fsync each write are slow on a disk. Those
    of processes that were killed are removed first."""
    try:
        s = os.statvfs("/dev/shm")
        shm = "/dev/shm" if s.f_bavail * s.f_frsize >= PLENTY and os.access("/dev/shm", os.W_OK) else None
    except OSError:
        shm = None
    parent = shm or tempfile.gettempdir()
    for name in os.listdir(parent):
        if name.startswith(prefix) and not os.path.exists("/proc/" + name[len(prefix):].split("-")[0]):
            remove(os.path.join(parent, name))
    return tempfile.mkdtemp(prefix="%s%d-" % (prefix, os.getpid()), dir=parent)


def can_bind(host, port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(count, host="127.0.0.1"):
    """The first of so many ports in a row that are free, below those that the kernel gives to outgoing connections.
    Whoever else asks here, in whatever process, gets others for as long as this process lives."""
    for _ in range(1000):
        base = random.randrange(11000, 32000 - PORTS, PORTS)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind("\0magpie-test-ports-%d" % base)
        except OSError:
            claim.close()
            continue
        if count <= PORTS and all(can_bind(host, base + i) for i in range(count)):
            claims.append(claim)
            return base
        claim.close()
    raise OSError("no %d free ports in a row" % count)


class Process:
    """A program that dies with the thread which started it (PR_SET_PDEATHSIG, by setpriv), whatever ends that.

    user: (uid, gid) to run as; death: the signal at that time."""

    def __init__(self, argv, log, user=None, death="KILL", cwd=None):
        self.argv, self.log_path, self.user, self.death, self.cwd = argv, log, user, death, cwd
        self.popen = None

    def start(self):
        prefix = ["setpriv", "--pdeathsig", self.death]
        if self.user:
            prefix += ["--reuid", str(self.user[0]), "--regid", str(self.user[1]), "--clear-groups"]
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(prefix + ["--"] + self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          cwd=self.cwd, start_new_session=True)

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen is not None and self.popen.poll() is None

    def kill(self):
        """kill -9, whether it is stopped or not."""
        if self.running():
            self.popen.kill()
            self.popen.wait()

    def stop(self):
        """SIGSTOP: it hangs, its connections stay."""
        self.popen.send_signal(signal.SIGSTOP)

    def cont(self):
        self.popen.send_signal(signal.SIGCONT)

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except OSError:
            return ""


def remove(path):
    shutil.rmtree(path, ignore_errors=True)


def eventually(f, what, timeout=30, every=0.02):
    """Until f() returns something true; returns it. OSError counts as not yet."""
    end = time.monotonic() + timeout
    why = None
    while True:
        try:
            got = f()
            if got:
                return got
        except OSError as e:
            why = e
        if time.monotonic() > end:
            raise TimeoutError("%s: not in %g s%s" % (what, timeout, " (%s)" % why if why else ""))
        time.sleep(every)
