// A client over npm's ws, for test_node.py:  node ws_client.js PORT binary|text DEFLATE [wss]
// Goes through a conversation and prints what it saw as one JSON document.
"use strict";

const WebSocket = require("ws");

const [port, form, deflate] = [process.argv[2], process.argv[3], process.argv[4] === "deflate"];
const [scheme, host] = process.argv[5] === "wss" ? ["wss", "localhost"] : ["ws", "127.0.0.1"];

class Client {
  constructor() {
    // What a site's cookies come to is no reason to refuse an upgrade.
    const headers = { Cookie: "c".repeat(12000), Origin: `${scheme === "wss" ? "https" : "http"}://${host}:${port}` };
    this.socket = new WebSocket(`${scheme}://${host}:${port}/some/path`, { perMessageDeflate: deflate, headers });
    this.seq = 0;
    this.waiting = new Map(); // seq: resolve
    this.pushes = [];
    this.forms = new Set();
    this.socket.on("message", (data, isBinary) => this.received(data, isBinary));
    this.closed = new Promise((resolve) => this.socket.on("close", (code) => resolve(code)));
  }

  open() {
    return new Promise((resolve, reject) => this.socket.on("open", resolve).on("error", reject));
  }

  received(data, isBinary) {
    this.forms.add(isBinary ? "binary" : "text");
    let action, seq, body;
    if (isBinary) {
      [action, seq] = [data.readUInt16BE(0), data.readUInt16BE(2)];
      body = data.length > 4 ? JSON.parse(data.subarray(4).toString()) : {};
    } else {
      ({ action, seq, body } = JSON.parse(data.toString()));
    }
    if (seq !== 0 && this.waiting.has(seq)) {
      this.waiting.get(seq)(body);
      this.waiting.delete(seq);
    } else {
      this.pushes.push({ action, body });
    }
  }

  request(action, body) {
    const seq = ++this.seq;
    if (form === "text") {
      this.socket.send(JSON.stringify({ action, seq, body }));
    } else {
      const text = Buffer.from(JSON.stringify(body));
      const head = Buffer.alloc(4);
      head.writeUInt16BE(action, 0);
      head.writeUInt16BE(seq, 2);
      this.socket.send(Buffer.concat([head, text]));
    }
    return new Promise((resolve) => this.waiting.set(seq, resolve));
  }

  async pushed(n) {
    while (this.pushes.length < n) await new Promise((resolve) => setTimeout(resolve, 5));
    return this.pushes.splice(0, n);
  }
}

async function main() {
  const [ada, bob] = [new Client(), new Client()];
  await Promise.all([ada.open(), bob.open()]);
  const [me, you] = [await ada.request(1, { name: "Ada" }), await bob.request(1, { name: "Bob", accept: ["merge"] })];
  await ada.request(3, { name: "tea" });
  await bob.request(3, { name: "tea" });
  const content = "hällo 😀 ".repeat(100);
  const sent = [];
  for (let n = 0; n < 20; n++) sent.push(ada.request(4, { channel: "tea", content: content + n }));
  const answers = await Promise.all(sent);
  const pushes = await bob.pushed(20);
  await ada.request(2, { receiverId: you.id, content });
  const [direct] = await bob.pushed(1);
  const history = await bob.request(5, { channel: "tea", limit: 200 });
  const error = await bob.request(4242, {});
  const pong = new Promise((resolve) => bob.socket.on("pong", (data) => resolve(data.toString())));
  bob.socket.ping("are you there");
  // Requests and the Close frame right behind them: the answers come first.
  const cy = new Client();
  await cy.open();
  await cy.request(1, { name: "Cy" });
  const last = [cy.request(3, { name: "tea" })];
  for (let n = 0; n < 30; n++) last.push(cy.request(4, { channel: "tea", content: "last " + n }));
  cy.socket.close(4001, "done");
  const [lastAnswers, lastCode] = await Promise.all([Promise.all(last), cy.closed]);
  const result = {
    last: [lastAnswers.length, lastAnswers.every((a) => !a.error || a.error.code === "rate_limited"), lastCode],
    seqs: answers.map((a) => a.seq),
    pushed: pushes.map((p) => [p.action, p.body.seq, p.body.content === content + (p.body.seq - 1),
        p.body.sender.id === me.id]),
    direct: [direct.action, direct.body.content === content],
    history: history.messages.map((m) => m.seq),
    error: error.error.code,
    pong: await pong,
    forms: [...new Set([...ada.forms, ...bob.forms])],
    deflate: ada.socket.extensions,
  };
  bob.socket.close(1000, "bye");
  result.closed = await bob.closed;
  ada.request(16, {});
  result.loggedOut = await ada.closed;
  console.log(JSON.stringify(result));
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
setTimeout(() => process.exit(2), 60000).unref();
