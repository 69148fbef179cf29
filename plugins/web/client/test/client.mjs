/** What the documents promise, against a server whose channels keep 20 messages: node client.mjs HOST:PORT. */
import assert from "node:assert/strict";
import { Magpie, MagpieError } from "../index.js";
import { WebSocket } from "./websocket.mjs";

const url = `ws://${process.argv[2]}/`;
const made = [];

async function user(name, options = {}) {
  const chat = new Magpie(url, { name, WebSocket, minDelay: 20, maxDelay: 100, jitter: 5, ...options });
  chat.heard = [];
  for (const event of ["message", "gap", "omitted", "edit", "recall"])
    chat.on(event, (what, c) => chat.heard.push([event, c.key, what.seq ?? `${what.from}..${what.to}`, what.content]));
  made.push(chat);
  await chat.connect();
  return chat;
}

async function until(condition, what) {
  for (const end = Date.now() + 20000; !condition(); ) {
    assert.ok(Date.now() < end, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/**
 * A WebSocket whose frames, all text, pass `out(frame, socket)` and `into(frame, socket)`: what these return goes on in
 * their place, and nothing if that is null.
 */
const between = ({ out = (frame) => frame, into = (frame) => frame }) =>
  class extends WebSocket {
    send(data) {
      const frame = out(JSON.parse(data), this);
      if (frame) super.send(JSON.stringify(frame));
    }
    set onmessage(listener) {
      this.listener = listener;
      super.onmessage = ({ data }) => {
        const frame = into(JSON.parse(data), this);
        if (frame) listener({ data: JSON.stringify(frame) });
      };
    }
  };

/** Ann and Bob, who is away; "1" waits in his inbox. */
async function waiting() {
  const ann = await user("Ann"), bob = await user("Bob"), { token, id } = bob;
  bob.close();
  await ann.user(id).send("1");
  return { ann, id, token };
}

/** The inbox is emptied, and what was told stays. */
async function told(chat, contents) {
  await until(() => chat.heard.length >= contents.length, contents.join());
  for (const end = Date.now() + 20000; (await chat.call(7)).messages.length; ) assert.ok(Date.now() < end);
  assert.deepEqual(chat.heard.map((h) => h[3]), contents);
}

let n = 0;
const fresh = () => `client-${process.pid}-${++n}`;
const refused = (promise, code) =>
  assert.rejects(promise, (error) => error instanceof MagpieError && error.code === code);

const tests = {
  async "messages come in order, each once, over both forms"() {
    const ann = await user("Ann"), bob = await user("Bob", { binary: true }), name = fresh();
    await ann.channel(name).subscribe();
    assert.equal((await bob.channel(name).subscribe({ push: "all" })).members, 2);
    const sent = await Promise.all(["one", "two", "thrée"].map((text) => ann.channel(name).send(text)));
    assert.deepEqual(sent.map((s) => s.seq), [1, 2, 3]);
    const key = "#" + name;
    await until(() => bob.heard.length === 3 && ann.heard.length === 3, "three messages");
    for (const chat of [ann, bob])
      assert.deepEqual(
        chat.heard,
        ["one", "two", "thrée"].map((text, i) => ["message", key, i + 1, text]),
      );
  },

  async "private messages wait in the inbox until they were told"() {
    const ann = await user("Ann"), bob = await user("Bob"), token = bob.token, id = bob.id;
    bob.close();
    await ann.user(id).send("are you there?");
    await ann.user(id).send("well, later");
    const again = await user(undefined, { token });
    assert.equal(again.name, "Bob");
    await until(() => again.heard.length === 2, "what waited");
    assert.deepEqual(again.heard.map((h) => h[2]), [1, 2]);
    await until(() => again.user(ann.id).last === 2, "both");
    for (const end = Date.now() + 10000; (await again.call(7)).messages.length; ) assert.ok(Date.now() < end);
    assert.equal(ann.heard.length, 2, "one's own are told too");
  },

  async "a connection that is lost while the inbox is read loses nothing of it"() {
    const { ann, id, token } = await waiting();
    let lost = 0;
    const Cut = between({
      out(frame) {
        if (frame.action !== 7 || lost) return frame;
        lost++;
        ann.user(id).send("2");
        return null;
      },
      into(frame, socket) {
        if (frame.action === 101 && frame.body.content === "2") setTimeout(() => socket.close());
        return frame;
      },
    });
    const bob = await user(undefined, { token, WebSocket: Cut });
    await told(bob, ["1", "2"]);
    assert.equal(lost, 1);
  },

  async "what the server says too late of the inbox comes in order all the same"() {
    const { ann, id, token } = await waiting();
    const Silent = between({
      into: (frame) => (frame.action === 103 ? null : frame.action === 1 ? (frame.body.inbox = 0, frame) : frame),
    });
    const bob = await user(undefined, { token, WebSocket: Silent });
    await ann.user(id).send("2");
    await told(bob, ["1", "2"]);
  },

  async "what comes into the inbox behind a later one is told late, and once"() {
    const { ann, id, token } = await waiting();
    let late = true, socket, answers = 0;
    const Late = between({
      into(frame, of) {
        socket = of;
        if (late && frame.action === 103) return null;
        if (late && frame.action === 1) frame.body.inbox = 0;
        if (frame.action === 7 && frame.body.messages) {
          answers++;
          if (late) frame.body.messages = frame.body.messages.filter((m) => m.content !== "1");
        }
        return frame;
      },
    });
    const bob = await user(undefined, { token, WebSocket: Late, acknowledge: false });
    await ann.user(id).send("2");
    await until(() => bob.heard.length === 1, "the later one");
    late = false;
    for (let i = 0; i < 2; i++) {
      const before = answers;
      socket.listener({ data: JSON.stringify({ action: 103, seq: 0, body: { inbox: 2 } }) });
      await until(() => answers > before, "the inbox");
    }
    await until(() => bob.heard.length === 2, "the earlier one");
    assert.deepEqual(bob.heard.map((h) => h[3]), ["2", "1"]);
  },

  async "who writes first hears what the other wrote before"() {
    const ann = await user("Ann");
    let kept;
    const Behind = between({
      into(frame) {
        if (frame.action !== 101) return frame;
        kept = frame;
        return null;
      },
    });
    const bob = await user("Bob", { WebSocket: Behind });
    await ann.user(bob.id).send("1");
    await until(() => kept, "the push");
    await bob.user(ann.id).send("2");
    await told(bob, ["1", "2"]);
  },

  async "a page that comes back goes on where it was"() {
    const ann = await user("Ann"), bob = await user("Bob"), name = fresh(), key = "#" + name;
    await ann.channel(name).subscribe();
    await bob.channel(name).subscribe();
    await ann.channel(name).send("1");
    await until(() => bob.heard.length === 1, "the first");
    const positions = bob.positions(), token = bob.token;
    assert.equal(positions[key], 1);
    bob.close();
    await ann.channel(name).send("2");
    const again = await user(undefined, { token, positions });
    await until(() => again.heard.length === 1, "the second");
    assert.deepEqual(again.heard, [["message", key, 2, "2"]]);
  },

  async "what is gone for ever is a gap"() {
    const ann = await user("Ann"), bob = await user("Bob"), name = fresh(), key = "#" + name;
    await ann.channel(name).subscribe();
    await bob.channel(name).subscribe();
    const positions = bob.positions(), token = bob.token;
    bob.close();
    for (let i = 1; i <= 50; i++) await ann.channel(name).send(String(i));
    const again = await user(undefined, { token, positions });
    await until(() => again.channel(name).last === 50, "the newest");
    assert.equal(again.heard[0][0], "gap");
    assert.match(again.heard[0][2], /^1\.\.\d+$/);
    const messages = again.heard.filter((h) => h[0] === "message");
    assert.equal(messages.at(-1)[3], "50");
    assert.equal(again.heard.length, messages.length + 1);
    assert.equal(Number(again.heard[0][2].slice(3)) + messages.length, 50);
    assert.ok(key);
  },

  async "of too many only the newest are fetched"() {
    const ann = await user("Ann"), bob = await user("Bob", { catchUp: 3 }), name = fresh();
    await ann.channel(name).subscribe();
    await bob.channel(name).subscribe();
    const positions = bob.positions(), token = bob.token;
    bob.close();
    for (let i = 1; i <= 10; i++) await ann.channel(name).send(String(i));
    const again = await user(undefined, { token, positions, catchUp: 3 });
    await until(() => again.channel(name).last === 10, "the newest");
    assert.deepEqual(again.heard.map((h) => h[2]), ["1..7", 8, 9, 10]);
    assert.deepEqual((await again.channel(name).range(2, 4)).map((m) => m.content), ["2", "3", "4"]);
  },

  async "errors say why, and nothing hangs"() {
    const ann = await user("Ann"), name = fresh();
    await refused(ann.channel(name).send("nobody is here"), "not_found");
    await refused(ann.user("nobody").send("hello"), "not_found");
    await refused(ann.call(777), "unknown_action");
    await refused(ann.channel(" bad").subscribe(), "bad_request");
    assert.throws(() => new Magpie(url, { WebSocket, nmae: "Ann" }), /no option "nmae"/);
    const stranger = new Magpie(url, { token: "no token", WebSocket });
    stranger.on("error", () => {});
    await refused(stranger.connect(), "unauthorized");
    assert.equal(stranger.state, "closed");
    await refused(stranger.channel(name).send("x"), "closed");
    const alone = new Magpie("ws://127.0.0.1:1/", { name: "Al", WebSocket, timeout: 200 });
    alone.connect();
    await refused(alone.call(9), "timeout");
    const waiting = alone.channel(name).send("x");
    assert.equal(alone.channel(name).waiting.length, 1);
    alone.close();
    await refused(waiting, "closed");
    const stop = new AbortController();
    stop.abort();
    await refused(ann.channel(name).send("x", { signal: stop.signal }), "aborted");
  },

  async "the same clientId is stored once"() {
    const ann = await user("Ann"), name = fresh();
    await ann.channel(name).subscribe();
    const send = () => ann.channel(name).send("x", { clientId: "c" });
    const [a, b] = [await send(), await send()];
    assert.deepEqual([a.id, a.seq], [b.id, b.seq]);
  },

  async "recalls, reads and members"() {
    const ann = await user("Ann"), bob = await user("Bob"), name = fresh();
    await ann.channel(name).subscribe();
    await bob.channel(name).subscribe();
    await ann.channel(name).send("oops");
    await until(() => bob.heard.length === 1, "it");
    await ann.channel(name).recall(1);
    await until(() => bob.heard.length === 2, "the recall");
    assert.deepEqual(bob.heard[1].slice(0, 3), ["recall", "#" + name, 1]);
    const unread = new Promise((resolve) => bob.channel(name).once("unread", resolve));
    bob.channel(name).read();
    assert.equal(await unread, 0);
    const { members } = await bob.channel(name).memberList();
    assert.deepEqual(members.map((m) => m.name).sort(), ["Ann", "Bob"]);
    assert.deepEqual(await bob.presence([ann.id]), [ann.id]);
    assert.equal((await bob.conversations()).conversations[0].channel, name);
  },

  async "telling begins where begin() says, over a lost connection too"() {
    const ann = await user("Ann"), name = fresh(), sockets = [];
    const { token } = await user("Bob").then(async (bob) => {
      await bob.channel(name).subscribe();
      bob.close();
      return bob;
    });
    await ann.channel(name).subscribe();
    await ann.channel(name).send("1");
    const Kept = class extends WebSocket {
      constructor(...options) {
        super(...options);
        sockets.push(this);
      }
    };
    const bob = await user(undefined, { token, WebSocket: Kept });
    const [{ seq }] = (await bob.conversations()).conversations;
    bob.channel(name).begin(seq);
    bob.channel(name).begin(0); // where something is known already, it changes nothing
    const lost = new Promise((resolve) => bob.once("disconnected", resolve));
    sockets.at(-1).close();
    await lost;
    for (const text of ["2", "3"]) await ann.channel(name).send(text);
    await until(() => bob.heard.length === 2, "what was missed");
    assert.deepEqual(bob.heard.map((h) => h[3]), ["2", "3"]);
  },

  async "connect() does not wait for the next attempt"() {
    const sockets = [];
    const Kept = class extends WebSocket {
      constructor(...options) {
        super(...options);
        sockets.push(this);
      }
    };
    const ann = await user("Ann", { WebSocket: Kept, minDelay: 600000, maxDelay: 600000 });
    sockets[0].close();
    await until(() => ann.state === "waiting", "the loss");
    await ann.connect();
    await until(() => ann.state === "connected", "the next connection");
    assert.equal(sockets.length, 2);
  },

  async "presence is watched, joins and leaves are told"() {
    const ann = await user("Ann"), bob = await user("Bob"), name = fresh(), told = [];
    assert.equal((await ann.channel(name).subscribe({ events: true })).events, true);
    ann.on("membership", ({ id, change, members }, c) => told.push([c.key, id, change, members]));
    await bob.channel(name).subscribe();
    await until(() => told.length === 1, "the join");
    assert.deepEqual(told[0], ["#" + name, bob.id, "joined", 2]);
    assert.equal(ann.channel(name).members, 2);
    assert.deepEqual(await ann.watch([bob.id, "nobody"]), [bob.id]);
    const gone = new Promise((resolve) => ann.once("presence", resolve));
    await bob.channel(name).unsubscribe();
    await until(() => told.length === 2, "the leave");
    assert.equal(told[1][2], "left");
    bob.close();
    assert.deepEqual(await gone, { id: bob.id, online: false });
  },

  async "edits are told and kept"() {
    const ann = await user("Ann"), bob = await user("Bob"), name = fresh();
    await ann.channel(name).subscribe();
    await bob.channel(name).subscribe();
    await ann.channel(name).send("tpyo");
    await until(() => bob.heard.length === 1, "it");
    const { editedAt } = await ann.channel(name).edit(1, "typo");
    await until(() => bob.heard.length === 2, "the edit");
    assert.deepEqual(bob.heard[1], ["edit", "#" + name, 1, "typo"]);
    assert.equal((await bob.channel(name).history()).messages[0].editedAt, editedAt);
  },

  async "who is replaced does not fight"() {
    const one = await user("Ann", { device: "phone" });
    one.on("error", () => {});
    const closed = new Promise((resolve) => one.once("closed", resolve));
    await user(undefined, { token: one.token, device: "phone" });
    assert.equal((await closed).code, "replaced");
    assert.equal(one.state, "closed");
  },
};

for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
  } catch (error) {
    console.error(`${name}: ${error.stack}`);
    process.exitCode = 1;
  }
}
for (const chat of made) chat.close();
if (!process.exitCode) console.log("all well");
