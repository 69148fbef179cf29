"""A connection to Redis for tests: RESP2 over a socket."""

import socket


class RedisError(Exception):
    """An error that Redis answered; its text begins with the code, as "MOVED 3560 127.0.0.1:7000"."""


class Redis:
    """One connection, opened with the first call. Replies are bytes, int, None, or lists of these."""

    def __init__(self, host, port, password=None, timeout=5):
        self.address, self.password, self.timeout = (host, port), password, timeout
        self.socket = self.file = None

    def open(self):
        self.socket = socket.create_connection(self.address, self.timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        if self.password:
            self._call("AUTH", self.password)

    def close(self):
        if self.socket:
            self.file.close()
            self.socket.close()
            self.socket = None

    def call(self, *args):
        """A command's reply; raises RedisError, or OSError when the connection is lost (the next call opens anew)."""
        try:
            if not self.socket:
                self.open()
            return self._call(*args)
        except OSError:
            self.close()
            raise

    def send(self, *args):
        """A command whose reply `reply()` reads."""
        words = [w if isinstance(w, bytes) else str(w).encode() for w in args]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RedisError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        raise ConnectionError("no RESP: %r" % line[:40])

    def _call(self, *args):
        self.send(*args)
        return self.reply()


def slot(key):
    """The hash slot of a key: CRC16 (XMODEM) of it, or of its {tag}."""
    key = key if isinstance(key, bytes) else key.encode()
    begin = key.find(b"{")
    end = key.find(b"}", begin + 1) if begin >= 0 else -1
    if end > begin + 1:
        key = key[begin + 1:end]
    crc = 0
    for byte in key:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xffff
    return crc % 16384
