"""The wire in Python's standard library: frames over TCP, and over WebSocket (RFC 6455) in binary and in text
messages; each of them compressed too."""

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import time
import zlib

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


class Closed(Exception):
    """The server has closed the connection."""


class Refused(Exception):
    """The upgrade was not made; `status` is HTTP's, `head` the whole answer."""

    def __init__(self, status, head):
        super().__init__("HTTP %s" % status)
        self.status, self.head = status, head


class Timeout(AssertionError):
    pass


class Stream:
    """A socket with a buffer, read with deadlines. `source`: the address that it comes from; `first`: what is sent
    before all else; `tls`: an SSL context, and the server is `localhost`."""

    def __init__(self, address, receive_buffer=None, source=None, first=b"", tls=None, session=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(30)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(address)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if first:
            self.socket.sendall(first)
        if tls:
            try:
                self.socket = tls.wrap_socket(self.socket, server_hostname="localhost", session=session)
            except (ssl.SSLError, ConnectionError) as e:
                raise Closed("no handshake: %s" % e) from None
        self.buffer = bytearray()

    def write(self, data):
        try:
            self.socket.settimeout(60)
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as e:
            raise Closed(str(e)) from None

    def fill(self, n, deadline):
        """Reads until n bytes are in the buffer."""
        while len(self.buffer) < n:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout("nothing came in time")
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(262144)
            except (TimeoutError, socket.timeout):
                raise Timeout("nothing came in time") from None
            except (ConnectionResetError, ssl.SSLError):
                raise Closed("reset") from None
            if not data:
                raise Closed("end of stream")
            self.buffer += data

    def take(self, n, deadline):
        self.fill(n, deadline)
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    def close(self):
        self.socket.close()


class TcpWire:
    form = "tcp"

    def __init__(self, port, host="127.0.0.1", **options):
        self.stream = Stream(port if isinstance(port, str) else (host, port), **options)

    @staticmethod
    def pack(action, seq, body):
        return struct.pack(">IHH", 8 + len(body), action, seq) + body

    def send(self, action, seq, body):
        self.stream.write(self.pack(action, seq, body))

    def receive(self, deadline):
        """(action, seq, body) of the next frame."""
        self.stream.fill(8, deadline)
        length, action, seq = struct.unpack(">IHH", self.stream.buffer[:8])
        if length < 8:
            raise AssertionError("a frame of length %d" % length)
        frame = self.stream.take(length, deadline)
        return action, seq, frame[8:]

    def close(self):
        self.stream.close()


class GzipWire(TcpWire):
    """Bodies may be gzip, both ways, once the login has agreed upon it (Client.login lists it in `accept`)."""

    form = "gzip"

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.agreed = False  # what is sent is compressed
        self.packed = self.plain = 0  # bytes of bodies that came compressed, and of the others

    def pack(self, action, seq, body):
        if self.agreed:
            return TcpWire.pack(action | 0x8000, seq, zlib.compress(body, 6, 31))
        return TcpWire.pack(action, seq, body)

    def receive(self, deadline):
        action, seq, body = super().receive(deadline)
        if not action & 0x8000:
            self.plain += len(body)
            return action, seq, body
        assert self.agreed, "compressed before that was agreed upon"
        self.packed += len(body)
        unpacker = zlib.decompressobj(31)
        plain = unpacker.decompress(body)
        assert unpacker.eof and not unpacker.unused_data and len(plain) > len(body)
        return action & 0x7FFF, seq, plain


class WsWire:
    form = "binary"
    reserved = 0  # bits of a frame's first byte that the server may set

    def __init__(self, port, host="127.0.0.1", path="/", headers=(), handshake=True, **options):
        self.stream = Stream((host, port), **options)
        self.close_code = None  # of the server's Close, once it came
        self.close_text = b""
        self.pings = 0
        self.pong = True  # answer PINGs
        if handshake:
            self.handshake("%s:%d" % ("localhost" if options.get("tls") else host, port), path, headers)

    def handshake(self, host, path="/", headers=()):
        key = base64.b64encode(os.urandom(16)).decode()
        head = ("GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\n" % (path, host))
        head += "Sec-WebSocket-Key: %s\r\n" % key + "".join("%s: %s\r\n" % h for h in headers) + "\r\n"
        self.stream.write(head.encode())
        self.head = self.read_head()
        status = self.head.split()[1]
        if status != "101":
            raise Refused(int(status), self.head)
        fields = self.fields()
        want = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        assert fields["sec-websocket-accept"] == want, self.head
        assert fields["upgrade"].lower() == "websocket" and "upgrade" in fields["connection"].lower(), self.head

    def fields(self):
        return {k.strip().lower(): v.strip()
                for k, _, v in (line.partition(":") for line in self.head.split("\r\n")[1:])}

    def read_head(self, timeout=20):
        deadline = time.monotonic() + timeout
        while b"\r\n\r\n" not in self.stream.buffer:
            self.stream.fill(len(self.stream.buffer) + 1, deadline)
        return self.stream.take(self.stream.buffer.index(b"\r\n\r\n") + 4, deadline).decode("latin-1")

    @staticmethod
    def frame(opcode, payload, fin=True, mask=True, reserved=0, length=None):
        """One frame; `length` lies about its payload."""
        first = (0x80 if fin else 0) | reserved << 4 | opcode
        n = len(payload) if length is None else length
        bit = 0x80 if mask else 0
        if n < 126:
            head = struct.pack(">BB", first, bit | n)
        elif n < 65536:
            head = struct.pack(">BBH", first, bit | 126, n)
        else:
            head = struct.pack(">BBQ", first, bit | 127, n)
        if not mask:
            return head + payload
        key = os.urandom(4)
        pad = (key * (len(payload) // 4 + 1))[:len(payload)]
        return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(payload), "big")

    def send_frame(self, opcode, payload, **options):
        self.stream.write(self.frame(opcode, payload, **options))

    def pack(self, action, seq, body):
        return self.frame(BINARY, struct.pack(">HH", action, seq) + body)

    def send(self, action, seq, body):
        self.stream.write(self.pack(action, seq, body))

    def receive_frame(self, deadline):
        """(opcode, fin, payload) of one frame as it is on the wire."""
        self.stream.fill(2, deadline)
        first, second = self.stream.buffer[:2]
        assert not second & 0x80, "a server's frame is masked"
        assert not first & 0x70 & ~self.reserved, "reserved bits"
        n, at = second & 0x7F, 2
        if n >= 126:
            size = 2 if n == 126 else 8
            self.stream.fill(2 + size, deadline)
            n, at = int.from_bytes(self.stream.buffer[2:2 + size], "big"), 2 + size
        data = self.stream.take(at + n, deadline)
        return first & 15, bool(first & 0x80), self.opened(first, data[at:])

    def opened(self, first, payload):
        return payload

    def receive_message(self, deadline):
        """(opcode, payload) of the next data message; control frames are dealt with."""
        kind, parts = None, []
        while True:
            opcode, fin, payload = self.receive_frame(deadline)
            if opcode == PING:
                self.pings += 1
                if self.pong:
                    self.send_frame(PONG, payload)
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big") if payload else 1005
                self.close_text = payload[2:]
                try:
                    self.send_frame(CLOSE, payload[:2])
                    self.stream.fill(len(self.stream.buffer) + 1, deadline)
                except (Closed, Timeout):
                    pass
                raise Closed("close %d" % self.close_code)
            elif opcode in (TEXT, BINARY, CONTINUATION):
                kind = kind or opcode
                parts.append(payload)
                if fin:
                    return kind, b"".join(parts)

    def receive(self, deadline):
        kind, payload = self.receive_message(deadline)
        assert kind == BINARY, "a text message on a connection that began with binary"
        action, seq = struct.unpack(">HH", payload[:4])
        return action, seq, payload[4:]

    def close(self):
        self.stream.close()


class WsTextWire(WsWire):
    form = "text"

    def pack(self, action, seq, body):
        """The body as it stands, so that tests can put anything there."""
        text = b'{"action":%d,"seq":%d%s}' % (action, seq, b',"body":' + body if body else b"")
        return self.frame(TEXT, text)

    def receive(self, deadline):
        kind, payload = self.receive_message(deadline)
        assert kind == TEXT, "a binary message on a connection that began with text"
        message = json.loads(payload.decode())
        assert set(message) == {"action", "seq", "body"}, message
        return message["action"], message["seq"], json.dumps(message["body"]).encode()


class Deflated:
    """permessage-deflate (RFC 7692), for either form. What is sent is always compressed; `offer` are its parameters."""

    reserved = 0x40

    def __init__(self, port, offer="", headers=(), **options):
        self.packed = self.plain = 0  # bytes of payloads that came compressed, and of the others
        offered = "permessage-deflate" + offer
        super().__init__(port, headers=(*headers, ("Sec-WebSocket-Extensions", offered)), **options)

    def handshake(self, host, path="/", headers=()):
        super().handshake(host, path, headers)
        answer = [p.strip() for p in self.fields()["sec-websocket-extensions"].split(";")]
        assert answer[:3] == ["permessage-deflate", "server_no_context_takeover", "client_no_context_takeover"], answer
        self.bits = int(answer[3].partition("=")[2]) if len(answer) > 3 else 15

    @staticmethod
    def squeeze(payload, level=6, bits=15, flush=zlib.Z_SYNC_FLUSH):
        packer = zlib.compressobj(level, zlib.DEFLATED, -bits)
        data = packer.compress(payload) + packer.flush(flush)
        return data[:-4] if flush == zlib.Z_SYNC_FLUSH else data

    def frame(self, opcode, payload, fin=True, **options):
        """Whole messages are compressed; what is given bits of its own, or is a fragment, goes as it is."""
        if opcode in (TEXT, BINARY) and fin and not options:
            return WsWire.frame(opcode, self.squeeze(payload), reserved=4)
        return WsWire.frame(opcode, payload, fin=fin, **options)

    def opened(self, first, payload):
        if not first & 0x40:
            self.plain += len(payload)
            return payload
        assert first & 15 in (TEXT, BINARY) and first & 0x80, "RSV1 on what is no beginning of a message"
        self.packed += len(payload)
        unpacker, tail, parts = zlib.decompressobj(-self.bits), payload + b"\0\0\xff\xff", []
        while tail:  # a small window is gone through in small steps, so that it matters
            parts.append(unpacker.decompress(tail, 64 if self.bits < 15 else 1 << 25))
            tail = unpacker.unconsumed_tail
        plain = b"".join(parts) + unpacker.decompress(b"")
        assert not unpacker.eof, "a block that is marked as the last"
        assert len(plain) > len(payload), "compressed, and no smaller"
        return plain


class DeflateWire(Deflated, WsWire):
    pass


class DeflateTextWire(Deflated, WsTextWire):
    pass


WIRES = {"tcp": TcpWire, "binary": WsWire, "text": WsTextWire, "gzip": GzipWire, "deflate": DeflateWire,
         "deflate-text": DeflateTextWire}
# "tls-": the same over TLS.
WIRES.update({"tls-" + name: wire for name, wire in WIRES.items()})
