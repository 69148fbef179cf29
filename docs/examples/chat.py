#!/usr/bin/env python3
"""A chat in a terminal, in Python's standard library alone:  chat.py NAME [--channel lobby] [--server 127.0.0.1:8081]

A line you type goes to the channel; "@ID text" goes to one user (the id is shown when somebody writes); /quit leaves. The token that the server
gives is printed once: --token TOKEN brings the same user back, with its private messages and channels.
"""

import argparse
import json
import socket
import struct
import sys
import threading

LOGIN, SEND_USER, SUBSCRIBE, SEND_CHANNEL, HISTORY, INBOX, ACKNOWLEDGE = 1, 2, 3, 4, 5, 7, 8
NEW_USER_MESSAGE, NEW_CHANNEL_MESSAGE, INBOX_WAITING, CLOSING = 101, 102, 103, 105


class Connection:
    """Frames over TCP: length, action and seq (big-endian), then JSON."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port))
        self.seq = 0

    def send(self, action, **body):
        self.seq = self.seq % 65535 + 1
        data = json.dumps(body, ensure_ascii=False).encode()
        self.socket.sendall(struct.pack(">IHH", 8 + len(data), action, self.seq) + data)
        return self.seq

    def read_exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def receive(self):
        length, action, seq = struct.unpack(">IHH", self.read_exactly(8))
        return action, seq, json.loads(self.read_exactly(length - 8) or b"{}")

    def request(self, action, **body):
        """For the beginning, when nothing else is under way."""
        seq = self.send(action, **body)
        while True:
            got, number, answer = self.receive()
            if (got, number) == (action, seq):
                if "error" in answer:
                    sys.exit("%(code)s: %(message)s" % answer["error"])
                return answer


def plain(text):
    """Nothing that a sender could do to the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def show(message):
    where = "#" + message["channel"] if "channel" in message else "private"
    print("[%s] %s (%s): %s" % (plain(where), plain(message["sender"]["name"]), message["sender"]["id"], plain(message["content"])), flush=True)


def listen(connection):
    try:
        while True:
            action, _, body = connection.receive()
            if action in (NEW_USER_MESSAGE, NEW_CHANNEL_MESSAGE):
                show(body)
                if action == NEW_USER_MESSAGE:
                    connection.send(ACKNOWLEDGE, ids=[body["id"]])
            elif action == CLOSING:
                print("the server closes: " + body["reason"])
            elif "error" in body:
                print("%(code)s: %(message)s" % body["error"], flush=True)
    except (EOFError, OSError):
        print("disconnected", flush=True)


def main():
    parser = argparse.ArgumentParser(description="A chat in a terminal")
    parser.add_argument("name")
    parser.add_argument("--channel", default="lobby")
    parser.add_argument("--server", default="127.0.0.1:8081")
    parser.add_argument("--token")
    options = parser.parse_args()
    host, _, port = options.server.rpartition(":")
    connection = Connection(host, int(port))

    who = {"name": options.name}
    if options.token:
        who["token"] = options.token
    me = connection.request(LOGIN, **who)
    print("you are %s; to come back as the same user: --token %s" % (me["id"], me["token"]))
    connection.request(SUBSCRIBE, name=options.channel)
    for message in connection.request(HISTORY, channel=options.channel, limit=10)["messages"]:
        show(message)
    waiting = connection.request(INBOX)["messages"]
    for message in waiting:
        show(message)
    if waiting:
        connection.request(ACKNOWLEDGE, upTo=waiting[-1]["id"])
    print("in #%s; a line you type goes there, @ID text to one user, /quit leaves" % options.channel, flush=True)

    threading.Thread(target=listen, args=(connection,), daemon=True).start()
    for line in sys.stdin:
        line = line.rstrip("\n")
        if line == "/quit":
            break
        if line.startswith("@") and " " in line:
            receiver, content = line[1:].split(" ", 1)
            connection.send(SEND_USER, receiverId=receiver, content=content)
        elif line:
            connection.send(SEND_CHANNEL, channel=options.channel, content=line)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit("no server there: %s" % error)
