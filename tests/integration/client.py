"""A client of the protocol: requests, answers and pushes over any wire."""

import json
import time

from server import PATIENCE
from wire import WIRES, Closed, Timeout

LOGIN, SEND_USER, SUBSCRIBE, SEND_CHANNEL, HISTORY, UNSUBSCRIBE, INBOX, ACK, PING = range(1, 10)
CONVERSATIONS, READ, PRESENCE, MEMBERS, RECALL, BLOCK, LOGOUT, EDIT, WATCH = range(10, 19)
(USER_MESSAGE, CHANNEL_MESSAGE, INBOX_WAITING, MERGED, CLOSING, ANNOUNCEMENT, BEHIND, READ_ELSEWHERE,
 RECALLED, EDITED, PRESENCE_CHANGED, MEMBERSHIP) = range(101, 113)


class Error(AssertionError):
    """A request that was answered with an error."""

    def __init__(self, action, error):
        super().__init__("action %d: %s: %s" % (action, error.get("code"), error.get("message")))
        self.code, self.message, self.retry_after = error.get("code"), error.get("message"), error.get("retryAfter")


class Client:
    """c = Client(server); c.login("Ada"); c.request(4, channel="tea", content="hello"); c.push(102)

    Frames that are not the answer awaited are kept, in order, for push() and answer().
    """

    def __init__(self, server, wire="tcp", **options):
        self.server = server
        wire = server.over(wire)
        if wire.startswith("tls-"):
            port = server.tcps if wire in ("tls-tcp", "tls-gzip") else server.wss
            options.setdefault("tls", server.tls_client())
        else:
            port = server.tcp if wire in ("tcp", "gzip") else server.websocket
        if server.host != "127.0.0.1":
            options.setdefault("host", server.host)
        self.wire = WIRES[wire](port, **options)
        self.seq = 0
        self.kept = []  # frames received and not yet asked for: (action, seq, body)
        self.id = self.name = self.token = None
        self.closed_by_server = False

    # --- Sending

    def next_seq(self):
        self.seq = self.seq % 65535 + 1
        return self.seq

    def send_raw(self, action, body, seq=None):
        seq = self.next_seq() if seq is None else seq
        self.wire.send(action, seq, body)
        return seq

    def send(self, action, **body):
        """Sends a request without awaiting the answer; returns its seq."""
        return self.send_raw(action, json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass") if body
                             else b"")

    def send_all(self, requests):
        """Many (action, body) in one write; returns their seqs."""
        seqs, data = [], b""
        for action, body in requests:
            seqs.append(self.next_seq())
            data += self.wire.pack(action, seqs[-1], json.dumps(body, ensure_ascii=False).encode())
        self.wire.stream.write(data)
        return seqs

    # --- Receiving

    def receive(self, timeout=10):
        """The next frame from the wire (kept ones are passed over): (action, seq, body)."""
        try:
            action, seq, body = self.wire.receive(time.monotonic() + timeout * PATIENCE)
        except Closed:
            self.closed_by_server = True
            raise
        return action, seq, json.loads(body.decode()) if body else {}

    def find(self, wanted, timeout, what):
        for i, frame in enumerate(self.kept):
            if wanted(frame):
                return self.kept.pop(i)
        end = time.monotonic() + timeout * PATIENCE
        while True:
            left = (end - time.monotonic()) / PATIENCE
            try:
                if left <= 0:
                    raise Timeout()
                frame = self.receive(left)
            except Timeout:
                raise Timeout("%s did not come; kept: %.600s" % (what, self.kept)) from None
            if wanted(frame):
                return frame
            self.kept.append(frame)

    def answer(self, action, seq, timeout=10):
        """The answer's body, an error or not."""
        return self.find(lambda f: f[0] == action and f[1] == seq, timeout,
                         "the answer to action %d, seq %d" % (action, seq))[2]

    def ask(self, action, **body):
        """The answer's body, an error or not."""
        return self.answer(action, self.send(action, **body))

    def ask_raw(self, action, body):
        return self.answer(action, self.send_raw(action, body))

    def request(self, action, **body):
        """The answer's body; Error when it is one."""
        answer = self.ask(action, **body)
        if "error" in answer:
            raise Error(action, answer["error"])
        return answer

    def error(self, action, **body):
        """The error that this request must be answered with."""
        answer = self.ask(action, **body)
        if "error" not in answer:
            raise AssertionError("action %d was not refused: %.300s" % (action, answer))
        return Error(action, answer["error"])

    def push(self, action, timeout=10):
        """The next push of this action."""
        got = self.find(lambda f: f[0] == action, timeout, "push %d" % action)
        assert got[1] == 0, "a push with seq %d" % got[1]
        return got[2]

    def pushes(self, action, n, timeout=10):
        return [self.push(action, timeout) for _ in range(n)]

    def quiet(self, *actions, wait=0.3):
        """Nothing of these actions (none given: no push at all) comes within the time."""
        end = time.monotonic() + wait * PATIENCE
        self.ask(PING)
        while time.monotonic() < end:
            try:
                self.kept.append(self.receive((end - time.monotonic()) / PATIENCE))
            except Timeout:
                break
        found = [f for f in self.kept if (f[0] in actions if actions else f[0] >= 100)]
        assert not found, "not expected: %.600s" % found

    def drain(self, wait=0.3):
        """Takes whatever comes until nothing came for that long; returns all kept frames and forgets them."""
        try:
            while True:
                self.kept.append(self.receive(wait))
        except (Timeout, Closed):
            frames, self.kept = self.kept, []
            return frames

    def rest(self, timeout=10):
        """Everything until the server closes; the kept frames first."""
        end = time.monotonic() + timeout * PATIENCE
        try:
            while True:
                self.kept.append(self.receive(max(0.001, (end - time.monotonic()) / PATIENCE)))
        except Closed:
            frames, self.kept = self.kept, []
            return frames
        except Timeout:
            raise Timeout("the connection is still open; got %.600s" % self.kept) from None

    def closing(self, timeout=10):
        """The body of push 105 with which the server closes."""
        frames = self.rest(timeout)
        found = [f[2] for f in frames if f[0] == CLOSING]
        assert len(found) == 1 and frames[-1][0] == CLOSING, "no 105 at the end: %.600s" % frames
        return found[0]

    # --- What everybody does

    def login(self, name=None, **body):
        if name is not None:
            body["name"] = name
        if self.wire.form == "gzip":
            body["accept"] = [*body.get("accept", ()), "gzip"]
        answer = self.request(LOGIN, **body)
        if self.wire.form == "gzip":
            self.wire.agreed = True
        self.id, self.name, self.token = answer["id"], answer["name"], answer["token"]
        self.server.secrets.add(self.token)
        return answer

    def subscribe(self, channel, **body):
        return self.request(SUBSCRIBE, name=channel, **body)

    def say(self, channel, content, **body):
        return self.request(SEND_CHANNEL, channel=channel, content=content, **body)

    def tell(self, receiver, content, **body):
        return self.request(SEND_USER, receiverId=getattr(receiver, "id", receiver), content=content, **body)

    def history(self, channel=None, peer=None, **body):
        if channel is not None:
            body["channel"] = channel
        if peer is not None:
            body["peerId"] = getattr(peer, "id", peer)
        return self.request(HISTORY, **body)

    def close(self):
        self.wire.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
