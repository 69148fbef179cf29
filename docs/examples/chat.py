#!/usr/bin/env python3
"""A chat in a terminal, in Python's standard library alone, and a client to copy from.

    chat.py NAME [--channel lobby] [--server HOST | HOST:PORT | ws://HOST:PORT/ | wss://HOST/]

A line you type goes to the channel, "@ID text" to one user, whose id stands beside each message; "/edit text" gives
your last message another text, /quit leaves. The token that the server gives is kept in ~/.magpie-chat, so that the
same name is the same user the next time.

What a client does beside sending: it connects again when the connection is lost (Chat.run), sends again with the same
clientId what was not answered (Chat.send_next), and fetches what a jump in the seqs shows to be missing
(Chat.catch_up).
"""

import argparse
import base64
import collections
import json
import os
import random
import select
import signal
import socket
import ssl
import struct
import sys
import time
import urllib.parse
import uuid
import zlib

LOGIN, SEND_USER, SUBSCRIBE, SEND_CHANNEL, HISTORY, INBOX, ACKNOWLEDGE, PING = 1, 2, 3, 4, 5, 7, 8, 9
EDIT, WATCH = 17, 18
USER_MESSAGE, CHANNEL_MESSAGE, CLOSING, ANNOUNCEMENT, BEHIND = 101, 102, 105, 106, 107
RECALLED, EDITED, PRESENCE, MEMBERSHIP = 109, 110, 111, 112
STDIN = 0
SILENT = 20  # seconds after which the server is asked whether it is there, and after which an answer is missed


class Lost(Exception):
    """The connection is lost; another one may be better."""


class Refused(Exception):
    """The server says no to a request."""

    def __init__(self, error):
        super().__init__("%(code)s: %(message)s" % error)
        self.code, self.wait = error["code"], error.get("retryAfter", 1000) / 1000


# --- Frames --------------------------------------------------------------------------------------------------------


class Connection:
    """Frames over TCP: length, action and seq (big-endian), then JSON."""

    def __init__(self, host, port, tls=False):
        self.seq, self.data = 0, b""  # of the newest request; received, not taken yet
        try:
            self.socket = socket.create_connection((host, port), SILENT)
            if tls:
                self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=host)
        except OSError as e:
            raise Lost(e.strerror or e)

    def send(self, action, **body):
        """The seq that its answer will have."""
        self.seq = self.seq % 65535 + 1
        self.write_frame(action, self.seq, json.dumps(body, ensure_ascii=False).encode())
        return self.seq

    def receive(self):
        """Waits for a frame: (action, seq, body)."""
        while True:
            for frame in self.frames():
                return frame
            self.read()

    def request(self, action, **body):
        """Waits for the answer, for programs that need no pushes: those that come meanwhile are passed over."""
        seq = self.send(action, **body)
        while True:
            _, number, answer = self.receive()
            if number == seq and "error" in answer:
                raise Refused(answer["error"])
            if number == seq:
                return answer

    def frames(self):
        """Those that have been read: (action, seq, body) of each."""
        if self.data.startswith(b"HTTP"):
            sys.exit("that is the port for WebSockets: --server ws://HOST:PORT/")
        while len(self.data) >= 8:
            length, action, seq = struct.unpack(">IHH", self.data[:8])
            if not 8 <= length < 1 << 27:
                sys.exit("that is no server of Magpie")
            if len(self.data) < length:
                break
            body = self.take(length)[8:]
            if action & 0x8000:  # compressed, which the login has said we read
                action, body = action & 0x7FFF, zlib.decompress(body, 31)
            yield action, seq, json.loads(body or b"{}")

    def close(self):
        """An open socket that is only forgotten may swallow the Ctrl-C that comes at that moment."""
        self.socket.close()

    def write_frame(self, action, seq, body):
        self.write(struct.pack(">IHH", 8 + len(body), action, seq) + body)

    def write(self, data):
        try:
            self.socket.sendall(data)
        except OSError as e:
            raise Lost(e.strerror or e)

    def read(self):
        """Waits for bytes and keeps them."""
        try:
            data = self.socket.recv(65536)
            while isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
                data += self.socket.recv(65536)
        except OSError as e:
            raise Lost(e.strerror or e)
        if not data:
            raise Lost("the server closed the connection")
        self.data += data

    def take(self, n):
        taken, self.data = self.data[:n], self.data[n:]
        return taken


class WebSocket(Connection):
    """Frames as binary messages (RFC 6455): action and seq, then JSON."""

    def __init__(self, host, port, path="/", tls=False):
        super().__init__(host, port, tls)
        self.message = b""  # fragments of one that is not whole yet
        self.write(("GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n"
                    % (path, host, port, base64.b64encode(os.urandom(16)).decode())).encode())
        while b"\r\n\r\n" not in self.data:
            self.read()
            if self.data[:4] != b"HTTP"[:len(self.data)]:
                sys.exit("that is no port for WebSockets; the one for TCP is given without ws://")
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        if head.split()[1:2] != [b"101"]:
            raise Lost(plain(head.split(b"\r\n")[0].decode(errors="replace")))

    def write_frame(self, action, seq, body):
        self.write_message(2, struct.pack(">HH", action, seq) + body)

    def write_message(self, opcode, data):
        size, mask = len(data), os.urandom(4)
        length = struct.pack(">B", 128 | size) if size < 126 else \
            struct.pack(">BH", 254, size) if size < 65536 else struct.pack(">BQ", 255, size)
        self.write(bytes([128 | opcode]) + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def frames(self):
        while len(self.data) >= 2:
            first, size, at = self.data[0], self.data[1], 2
            if size >= 126:
                at = 4 if size == 126 else 10
                size = int.from_bytes(self.data[2:at], "big")
            if len(self.data) < at + size:
                break
            data, opcode = self.take(at + size)[at:], first & 15
            if opcode == 8:
                raise Lost("the server closed the connection")
            if opcode == 9:
                self.write_message(10, data)
            elif opcode <= 2:
                self.message += data
                if first & 128:
                    data, self.message = self.message, b""
                    yield (*struct.unpack(">HH", data[:4]), json.loads(data[4:] or b"{}"))


# --- The chat ------------------------------------------------------------------------------------------------------


def plain(text):
    """Nothing that a sender could do to the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def say(text):
    print(text, flush=True)


def show(message):
    where = "#" + message["channel"] if "channel" in message else "private"
    content = "(recalled)" if message.get("recalled") else message["content"]
    content += " (edited)" if "editedAt" in message else ""
    say("[%s] %s (%s): %s" % (plain(where), plain(message["sender"]["name"]), message["sender"]["id"], plain(content)))


class Chat:
    def __init__(self, name, channel, url, token, file):
        self.name, self.channel, self.url, self.file = name, channel, url, file
        self.token, self.kept = token or kept_token(file), not token  # whether it is from an earlier day
        self.connection = None
        self.answers = {}  # those that are waited for, by seq; None until they come
        self.limits, self.heard = {}, 0  # as the login told them; when the server last sent anything
        self.seen, self.behind = None, False  # newest seq shown of the channel; whether there are newer ones
        self.private = collections.deque(maxlen=1000)  # ids of the private messages that were shown
        self.typed, self.ended = b"", sys.stdin is None  # what is no whole line yet; nothing more is typed
        self.interrupted = False
        self.lines = collections.deque()  # (action, body) not answered yet; the first one may be under way
        self.under_way, self.not_before = None, 0  # its seq; when it may be sent
        self.id, self.watched, self.last = None, set(), None  # users of the connection; where and what I sent last

    # Requests and pushes

    def request(self, action, **body):
        """The answer. Pushes and typed lines are served while it is waited for."""
        seq, end = self.connection.send(action, **body), time.monotonic() + SILENT
        self.answers[seq] = None
        while self.answers[seq] is None:
            if time.monotonic() > end:
                raise Lost("the server does not answer")
            self.turn(end - time.monotonic())
        answer = self.answers.pop(seq)
        if "error" not in answer:
            return answer
        refused = Refused(answer["error"])
        raise Lost(refused) if refused.code == "unavailable" else refused

    def turn(self, seconds):
        """Reads what there is to read, or waits so long for something."""
        if self.interrupted:
            raise KeyboardInterrupt
        sources = ([] if self.ended else [STDIN]) + ([self.connection.socket] if self.connection else [])
        ready = select.select(sources, [], [], max(0, seconds))[0]
        if STDIN in ready:
            self.read_lines()
        if self.connection and self.connection.socket in ready:
            self.connection.read()
            self.heard = time.monotonic()
            for action, seq, body in self.connection.frames():
                self.receive(action, seq, body)

    def receive(self, action, seq, body):
        if action == CHANNEL_MESSAGE and body["channel"] != self.channel:
            show(body)
        elif action in (CHANNEL_MESSAGE, BEHIND) and body["channel"] == self.channel:
            if self.seen is None or body["seq"] <= self.seen:
                pass  # the history has it
            elif action == CHANNEL_MESSAGE and body["seq"] == self.seen + 1:
                show(body)
                self.seen += 1
            else:
                self.behind = True  # this one comes with what is missing before it
        elif action == USER_MESSAGE:
            self.show_private([body])
        elif action in (EDITED, RECALLED):
            self.show_change(body)
        elif action == PRESENCE:
            say("%s is %s" % (body["id"], "online" if body["online"] else "offline"))
        elif action == MEMBERSHIP and body["channel"] == self.channel:
            who = "you are" if body["id"] == self.id else "%s (%s)" % (plain(body["name"]), body["id"])
            say("%s: %s, %d here" % (who, body["change"], body["members"]))
        elif action == ANNOUNCEMENT:
            say("announcement: " + plain(body["content"]))
        elif action == CLOSING:
            self.not_before = time.monotonic() + body.get("retryAfter", 0) / 1000
            if body["reason"] in ("kicked", "replaced"):
                sys.exit("the server closes: " + plain(body.get("message", body["reason"])))
        elif seq and seq == self.under_way:
            self.line_answered(body)
        elif seq in self.answers:
            self.answers[seq] = body

    def catch_up(self):
        """Shows all that is newer than what was shown."""
        self.behind = False
        page = {"more": True}
        while page["more"]:
            page = self.request(HISTORY, channel=self.channel, after=self.seen, limit=200)
            for message in page["messages"]:
                if message["seq"] > self.seen:  # it was not pushed meanwhile
                    show(message)
                    self.seen = message["seq"]
        self.seen = max(self.seen, page["last"])  # which may have expired

    def show_change(self, body):
        """A message that was edited or recalled. What was not shown yet comes from the history as it is by then."""
        if body.get("channel") == self.channel and (self.seen is None or body["seq"] > self.seen):
            return
        where = "#" + body["channel"] if "channel" in body else "private, with " + body["peerId"]
        what = "edited: " + plain(body["content"]) if "content" in body else "one was recalled"
        say("[%s] %s" % (plain(where), what))

    def watch(self, user):
        """From now on push 111 tells when that user comes and goes."""
        if user not in self.watched:
            self.watched.add(user)
            self.connection.send(WATCH, ids=[user], watch=True)

    def show_private(self, messages):
        """What is acknowledged leaves the inbox. What was shown, and the acknowledgement lost, comes again."""
        for message in messages:
            if message["id"] not in self.private:
                show(message)
                self.private.append(message["id"])
            if message["sender"]["id"] not in (self.id, "system"):
                self.watch(message["sender"]["id"])
        self.connection.send(ACKNOWLEDGE, ids=[message["id"] for message in messages])

    # Lines: one after the other, each until it is answered

    def read_lines(self):
        data = os.read(STDIN, 65536)
        *lines, self.typed = (self.typed + (data or b"\n")).split(b"\n")
        for line in lines:
            line = line.decode(errors="replace").rstrip("\r")
            receiver, blank, text = line[1:].partition(" ")
            number = uuid.uuid4().hex
            if self.ended or line == "/quit":
                self.ended = True
            elif line.startswith("@") and blank:
                self.lines.append((SEND_USER, {"receiverId": receiver, "content": text, "clientId": number}))
            elif line.startswith("/edit ") and self.last is None and not self.lines:
                say("there is nothing of yours to edit")
            elif line.startswith("/edit ") and line[6:]:
                self.lines.append((EDIT, {"content": line[6:]}))  # of what, is known when its turn comes
            elif line.startswith("/"):
                say("there is no command %s; there are /edit TEXT and /quit" % plain(line.split()[0]))
            elif line:
                self.lines.append((SEND_CHANNEL, {"channel": self.channel, "content": line, "clientId": number}))
        self.ended = self.ended or not data

    def send_next(self):
        """The clientId makes it safe to send again what may have arrived: it is stored once."""
        if self.lines and not self.under_way and time.monotonic() >= self.not_before:
            action, body = self.lines[0]
            if action == EDIT:
                body = {**(self.last or {}), **body}
            if len(json.dumps(body, ensure_ascii=False).encode()) + 8 > self.limits["frame"]:
                say("that line is too long")  # a frame over the limit would cost the connection
                self.lines.popleft()
            else:
                self.under_way = self.connection.send(action, **body)

    def line_answered(self, answer):
        self.under_way = None
        refused = Refused(answer["error"]) if "error" in answer else None
        if refused and refused.code in ("rate_limited", "unavailable"):
            self.not_before = time.monotonic() + refused.wait
            return
        if refused:
            say(plain(str(refused)))
        action, body = self.lines.popleft()
        if not refused and action == SEND_CHANNEL:
            self.last = {"channel": body["channel"], "seq": answer["seq"]}
        elif not refused and action == SEND_USER:
            self.last = {"peerId": body["receiverId"], "seq": answer["seq"]}
            self.watch(body["receiverId"])

    # Connections

    def connect(self):
        if self.url.scheme == "tcp":
            return Connection(self.url.hostname, self.url.port)
        return WebSocket(self.url.hostname, self.url.port, self.url.path or "/", self.url.scheme == "wss")

    def log_in(self):
        try:
            return self.request(LOGIN, name=self.name, accept=["gzip"],
                                **({"token": self.token} if self.token else {}))
        except Refused as refused:
            if refused.code != "unauthorized" or not self.token or not self.kept:
                raise
            say("the token is refused (%s); you are a new user" % plain(str(refused)))
            return self.request(LOGIN, name=self.name, accept=["gzip"])

    def session(self):
        """One connection, until all is said."""
        me = self.log_in()
        self.token, self.kept, self.limits, self.id = me["token"], False, me["limits"], me["id"]
        self.watched = set()  # it was the old connection that watched
        keep_token(self.file, self.token)
        self.request(SUBSCRIBE, name=self.channel, events=True)
        if self.seen is None:
            say("you are %s, in #%s; a line you type goes there, @ID text to one user, /edit mends it, /quit leaves"
                % (me["id"], plain(self.channel)))
            page = self.request(HISTORY, channel=self.channel, limit=10)
            for message in page["messages"]:
                show(message)
            self.seen = page["last"]
        else:
            say("connected again")
        self.catch_up()
        inbox = {"more": True, "messages": [{"id": None}]}
        while inbox["more"]:
            inbox = self.request(INBOX, after=inbox["messages"][-1]["id"], limit=200)
            if inbox["messages"]:
                self.show_private(inbox["messages"])
        while self.lines or not self.ended:
            self.send_next()
            if self.behind:
                self.catch_up()
            wait = self.not_before - time.monotonic()
            self.turn(wait if 0 < wait < SILENT else SILENT)
            if time.monotonic() - self.heard > SILENT:
                self.request(PING)

    def run(self):
        """One connection after the other, ever more rarely; the spread keeps many clients from coming back at once."""
        pause = 1
        while True:
            try:
                self.connection = self.connect()
                self.under_way, self.answers = None, {}
                self.session()
                return
            except Lost as lost:
                if not self.limits:  # it was never there
                    sys.exit("no chat at %s: %s" % (self.url.geturl(), lost))
                if self.connection:
                    self.connection.close()
                    say("disconnected: %s" % lost)
                    pause = 1
            self.connection = None
            end = max(time.monotonic() + pause * random.uniform(0.5, 1.5), self.not_before)
            pause = min(30, 2 * pause)
            while time.monotonic() < end and (self.lines or not self.ended):
                self.turn(end - time.monotonic())
            if self.ended and not self.lines:
                return


# --- The command line ----------------------------------------------------------------------------------------------


def server_url(text):
    """HOST, HOST:PORT, or a URL of a WebSocket."""
    ports = {"tcp": 8081, "ws": 80, "wss": 443}  # where none is given
    try:
        url = urllib.parse.urlsplit(text if "://" in text else "tcp://" + text)
        if url.scheme not in ports or not url.hostname or url.port == 0:
            raise ValueError("expected HOST:PORT, ws://HOST:PORT/ or wss://HOST/")
        return url if url.port else url._replace(netloc="%s:%d" % (url.netloc.rstrip(":"), ports[url.scheme]))
    except ValueError as e:
        raise argparse.ArgumentTypeError("%s: %s" % (text, e))


def kept_token(file):
    try:
        with open(file) as f:
            return f.read().strip()
    except (OSError, ValueError):
        return None


def keep_token(file, token):
    """For its owner alone: who has it is the user."""
    try:
        os.makedirs(os.path.dirname(file), 0o700, exist_ok=True)
        with open(os.open(file + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            f.write(token + "\n")
        os.replace(file + ".new", file)
    except OSError as e:
        say("the token cannot be kept: %s" % e)


def main():
    parser = argparse.ArgumentParser(description="A chat in a terminal")
    parser.add_argument("name")
    parser.add_argument("--channel", default="lobby")
    parser.add_argument("--server", type=server_url, default="127.0.0.1:8081", help="HOST:PORT, ws://… or wss://…")
    parser.add_argument("--token", help="be the user of this token rather than the one of the file")
    parser.add_argument("--token-file", help="default: one for each name and server in ~/.magpie-chat")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="replace")
    name = urllib.parse.quote("%s@%s" % (options.name, options.server.netloc), safe="@:")
    file = options.token_file or os.path.join(os.path.expanduser("~"), ".magpie-chat", name)
    chat = Chat(options.name, options.channel, options.server, options.token, file)

    def interrupt(*_):
        chat.interrupted = True  # an exception that comes while an object is let go of is swallowed
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        chat.run()
    except Refused as refused:
        sys.exit(plain(str(refused)))
    except KeyboardInterrupt:
        sys.exit("%d lines were not sent" % len(chat.lines) if chat.lines else 0)
    except BrokenPipeError:  # nobody reads what is shown
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, KeyError, TypeError, struct.error) as e:
        sys.exit("that cannot be understood: %r" % e)


if __name__ == "__main__":
    main()
