"""Three machines on one: network namespaces, each joined to each by a cable of its own, which can be cut, one way too;
and to us by one that cannot. Needs root, and Debian's package iproute2."""

import os
import random
import re
import shutil
import subprocess

NOWHERE = "02:00:00:00:00:99"  # an address that no interface has: what is sent there is lost, silently


def ip(*arguments, batch=None):
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, input=batch).stdout


def possible():
    """Whether this process may make namespaces."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        return False
    name = "magpie-try-%d" % os.getpid()
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
        return True
    except (OSError, subprocess.CalledProcessError):
        return False


class Machines:
    """machines.hosts: their addresses, by which they reach each other, and we them. machines.inside(host): the command
    that runs a command there.

        cut(0, 1)        neither hears the other
        deaf(0, 1)       what 0 sends to 1 is lost
        alone(0)         no other machine hears it, nor does it hear them
        heal()           all is well
    """

    def __init__(self, n=3):
        self.sweep()
        self.n, self.names = n, ["mp%d-%d" % (os.getpid(), i) for i in range(n)]
        self.net = "10.%d" % random.randrange(150, 250)
        self.hosts = ["%s.0.%d" % (self.net, i + 1) for i in range(n)]
        try:
            self.build()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def sweep():
        """Removes those of processes that were killed."""
        for line in ip("netns", "list").splitlines():
            found = re.match(r"mp(\d+)-\d+\b", line)
            if found and not os.path.exists("/proc/" + found[1]):
                subprocess.run(["ip", "netns", "del", found[0]], capture_output=True)

    def inside(self, host):
        return ["ip", "netns", "exec", self.names[self.hosts.index(host)]]

    def at(self, i, *arguments):
        return ip("-n", self.names[i], *arguments)

    def build(self):
        for i in range(self.n):
            ip("netns", "add", self.names[i])
            self.at(i, "link", "set", "lo", "up")
            self.at(i, "addr", "add", self.hosts[i] + "/32", "dev", "lo")
            # The cable to us.
            ours, theirs = "%s.200.%d" % (self.net, 4 * i + 1), "%s.200.%d" % (self.net, 4 * i + 2)
            name = "mp%x-%d" % (os.getpid() & 0xffffff, i)
            ip("link", "add", name, "type", "veth", "peer", "name", "us", "netns", self.names[i])
            ip("addr", "add", ours + "/30", "dev", name)
            ip("link", "set", name, "up")
            self.at(i, "addr", "add", theirs + "/30", "dev", "us")
            self.at(i, "link", "set", "us", "up")
            self.at(i, "route", "add", "default", "via", ours, "src", self.hosts[i])
            ip("route", "add", self.hosts[i] + "/32", "via", theirs)
        for i in range(self.n):
            for j in range(i + 1, self.n):
                ip("link", "add", "to%d" % j, "netns", self.names[i], "type", "veth", "peer", "name", "to%d" % i,
                   "netns", self.names[j])
                for a, b in ((i, j), (j, i)):
                    self.at(a, "addr", "add", self.end(a, b) + "/30", "dev", "to%d" % b)
                    self.at(a, "link", "set", "to%d" % b, "up")
                for a, b in ((i, j), (j, i)):
                    self.at(a, "route", "add", self.hosts[b] + "/32", "via", self.end(b, a), "src", self.hosts[a])
        self.heal()

    def end(self, i, j):
        """The address of i's end of its cable to j."""
        low, high = min(i, j), max(i, j)
        return "%s.%d.%d" % (self.net, 10 + low * self.n + high, 1 if i == low else 2)

    def send_to(self, i, addresses):
        """{j: where what i sends to j goes}, all at once: a moment in which one link works and the other does not would
        be a fault of its own."""
        ip("-n", self.names[i], "-batch", "-", batch="".join(
            "neigh replace %s lladdr %s dev to%d nud permanent\n" % (self.end(j, i), address, j)
            for j, address in addresses.items()))

    def others(self, i):
        return [j for j in range(self.n) if j != i]

    def deaf(self, i, *others):
        self.send_to(i, {j: NOWHERE for j in others})

    def cut(self, i, j):
        self.deaf(i, j)
        self.deaf(j, i)

    def alone(self, i):
        self.unheard(i)
        for j in self.others(i):
            self.deaf(j, i)

    def unheard(self, i):
        """It hears the others, and they do not hear it."""
        self.deaf(i, *self.others(i))

    def heal(self):
        for i in range(self.n):
            self.send_to(i, {j: self.at(j, "-br", "link", "show", "to%d" % i).split()[2] for j in self.others(i)})

    def close(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
