/**
 * Clients whose connections are cut at random: nothing is lost, nothing doubled, everything in order.
 *
 *     node cuts.mjs HOST:PORT[,HOST:PORT...] CUTS [SEED]
 *
 * Each connection goes to the next of several servers that are one. Prints one line of JSON with what was counted, and
 * exits with 1 when anything was wrong.
 */
import net from "node:net";
import { Magpie } from "../index.js";
import { WebSocket } from "./websocket.mjs";

const [addresses, cuts = "100", seed = String(Date.now() % 1e9)] = process.argv.slice(2);
const servers = addresses.split(",").map((address) => address.split(":"));
const USERS = 4;
const wrong = [];
const complain = (text) => wrong.length < 20 && wrong.push(text);

let state = Number(seed) >>> 0 || 1; // xorshift32: a run can be repeated
function random(below) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

// --- A proxy that cuts ---------------------------------------------------------------------------------------------

const pairs = new Set();
let connections = 0;
const proxy = net.createServer((near) => {
  const [host, port] = servers[connections++ % servers.length];
  const far = net.connect(Number(port), host);
  const pair = { near, far, left: Infinity };
  pairs.add(pair);
  const end = () => {
    pairs.delete(pair);
    near.destroy();
    far.destroy();
  };
  for (const socket of [near, far]) socket.on("close", end).on("error", end);
  // A cut may come in the middle of what is passed on, either way.
  const pass = (from, to) =>
    from.on("data", (data) => {
      to.write(data.length > pair.left ? data.subarray(0, pair.left) : data);
      pair.left -= data.length;
      if (pair.left <= 0) setImmediate(end);
    });
  pass(near, far);
  pass(far, near);
});
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
const url = `ws://127.0.0.1:${proxy.address().port}/`;

let cut = 0;
const cutter = setInterval(() => {
  const all = [...pairs].filter((p) => p.left === Infinity);
  if (!all.length || cut >= Number(cuts)) return;
  all[random(all.length)].left = random(3) ? random(600) + 1 : 1;
  cut++;
}, 8);

// --- Clients -------------------------------------------------------------------------------------------------------

const channel = "cuts" + seed;
const told = []; // by client: key → seqs and contents in the order told
const sent = new Map(); // content → {seq, key}
const clients = [];
for (let i = 0; i < USERS; i++) {
  const client = new Magpie(url, {
    name: "User " + i,
    WebSocket,
    binary: i % 2 === 1,
    minDelay: 5,
    maxDelay: 40,
    jitter: 10,
    timeout: 3000,
    catchUp: 1e6,
  });
  const mine = new Map();
  told.push(mine);
  client.on("message", (m, c) => {
    if (!mine.has(c.key)) mine.set(c.key, []);
    const list = mine.get(c.key);
    // Of a conversation's first ones, several servers may store one in the inbox behind a later one.
    const late = servers.length > 1 && c.kind === "user" && m.seq < list[0]?.seq;
    if (list.length && !late && m.seq !== list.at(-1).seq + 1)
      complain(`${i} ${c.key}: ${m.seq} after ${list.at(-1).seq}`);
    list[late ? "unshift" : "push"]({ seq: m.seq, content: m.content });
  });
  client.on("gap", (g, c) => complain(`${i} ${c.key}: gap ${g.from}..${g.to}`));
  client.on("error", (e) => complain(`${i}: ${e.message}`));
  client.on("closed", (e) => e.code === "closed" || complain(`${i} closed: ${e.message}`));
  clients.push(client);
  await client.connect();
}

async function until(what, condition, seconds = 60) {
  for (const end = Date.now() + seconds * 1000; !condition(); ) {
    if (Date.now() > end) return complain("never: " + what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function again(f) {
  for (;;) {
    try {
      return await f();
    } catch (error) {
      if (error.code !== "disconnected" && error.code !== "timeout") throw error;
    }
  }
}

for (const client of clients) await again(() => client.channel(channel).subscribe());
// Until everybody is there nothing is sent, so that all must see it all.
const peers = (i) => [clients[(i + 1) % USERS], clients[(i + 2) % USERS]];
let n = 0;
async function talk(client, i) {
  while (cut < Number(cuts)) {
    const content = `${i}.${++n}`;
    const to = random(3) ? client.channel(channel) : client.user(peers(i)[random(2)].id);
    const sending = to.send(content).then(
      ({ seq }) => sent.set(content, { seq, from: i, key: to.key }),
      (error) => complain(`send ${content}: ${error.message}`),
    );
    // Some wait for the answer, some don't: several are under way then.
    if (random(2)) await sending;
    else await new Promise((resolve) => setTimeout(resolve, random(20)));
  }
}
await Promise.all(clients.map(talk));
clearInterval(cutter);
await until("all answered", () => sent.size === n);

// --- What must be --------------------------------------------------------------------------------------------------

const inChannel = [...sent].filter(([, s]) => s.key === "#" + channel);
for (const [i, mine] of told.entries()) {
  const list = () => mine.get("#" + channel) ?? [];
  await until(`client ${i} has the channel's ${inChannel.length}`, () => list().length >= inChannel.length);
  if (list().length !== inChannel.length) complain(`${i}: ${list().length} told, ${inChannel.length} sent`);
  for (const { seq, content } of list())
    if (sent.get(content)?.seq !== seq) complain(`${i}: ${content} told as ${seq}, not ${sent.get(content)?.seq}`);
  if (new Set(list().map((m) => m.content)).size !== list().length) complain(`${i}: a message twice`);
}
let direct = 0;
for (const [content, { seq, from, key }] of sent) {
  if (key[0] !== "@") continue;
  direct++;
  const to = clients.findIndex((c) => "@" + c.id === key);
  for (const [i, peer] of [
    [from, key],
    [to, "@" + clients[from].id],
  ]) {
    const find = () => (told[i].get(peer) ?? []).filter((m) => m.content === content);
    await until(`client ${i} has ${content}`, () => find().length > 0, 20);
    if (find().length !== 1 || find()[0].seq !== seq) complain(`${i}: ${content} told ${find().length} times`);
  }
}
for (const [i, client] of clients.entries())
  await until(`inbox of ${i} is empty`, () => client.inboxLeft === 0 || (ask(client), false), 20);
for (const client of clients) if (client.leftover !== "[]") complain(`left in the inbox: ${client.leftover}`);

function ask(client) {
  client.asked ??= client
    .call(7, { limit: 1 })
    .then(({ messages }) => {
      client.inboxLeft = messages.length;
      client.leftover = JSON.stringify(messages);
    })
    .catch(() => {})
    .finally(() => setTimeout(() => (client.asked = null), 50));
}

for (const client of clients) client.close();
proxy.close();
console.log(JSON.stringify({ seed, cuts: cut, channel: inChannel.length, direct, wrong }));
process.exit(wrong.length ? 1 : 0);
