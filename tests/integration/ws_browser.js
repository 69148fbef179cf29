// A client over the WebSocket of browsers, which Node has too (undici), for test_node.py:
//   node ws_browser.js PORT binary|text
// Goes through a conversation and prints what it saw as one JSON document.
"use strict";

const [port, form] = [process.argv[2], process.argv[3]];

async function main() {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  socket.binaryType = "arraybuffer";
  const waiting = new Map();
  const pushes = [];
  let seq = 0;
  socket.onmessage = (e) => {
    let action, number, body;
    if (typeof e.data === "string") {
      ({ action, seq: number, body } = JSON.parse(e.data));
    } else {
      const view = new DataView(e.data);
      [action, number] = [view.getUint16(0), view.getUint16(2)];
      body = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(e.data.slice(4)) || "{}");
    }
    if (number) waiting.get(number)(body);
    else pushes.push(body);
  };
  const closed = new Promise((resolve) => (socket.onclose = (e) => resolve(e.code)));
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("refused"));
  });
  const request = (action, body) => {
    const number = ++seq;
    if (form === "text") {
      socket.send(JSON.stringify({ action, seq: number, body }));
    } else {
      const text = new TextEncoder().encode(JSON.stringify(body));
      const message = new Uint8Array(4 + text.length);
      new DataView(message.buffer).setUint16(0, action);
      new DataView(message.buffer).setUint16(2, number);
      message.set(text, 4);
      socket.send(message);
    }
    return new Promise((resolve) => waiting.set(number, resolve));
  };
  await request(1, { name: "Ada" });
  await request(3, { name: "browser " + form });
  const sizes = [1, 100, 300, 600, 2000, 8000, 15000];
  const texts = sizes.map((n) => "Elster сорока かささぎ 😀 ".repeat(n / 20 + 1).slice(0, n / 3 + 1));
  for (const content of texts) await request(4, { channel: "browser " + form, content });
  const history = await request(5, { channel: "browser " + form, limit: 50 });
  while (pushes.length < texts.length) await new Promise((resolve) => setTimeout(resolve, 5));
  socket.close(1000, "bye");
  console.log(
    JSON.stringify({
      extensions: socket.extensions,
      pushed: pushes.map((p, i) => p.content === texts[i]),
      history: history.messages.map((m, i) => m.content === texts[i]),
      closed: await closed,
    }),
  );
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
setTimeout(() => process.exit(2), 60000).unref();
