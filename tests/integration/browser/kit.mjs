/** What the parts of the browser suite stand on: one Chromium, people with pages, bots, cables that break. */
import net from "node:net";
import { createRequire } from "node:module";
import { mkdirSync } from "node:fs";
import { Magpie } from "../../../plugins/web/client/index.js";

const require = createRequire(import.meta.url);
const { chromium } = require("playwright-core");
const { WebSocket } = require("ws");
export const axeSource = require("axe-core").source;

export const setting = JSON.parse(process.argv[2]); // {port, console, password, chromium, shots, patience}
export const PATIENCE = 10000 * setting.patience;
mkdirSync(setting.shots, { recursive: true });

export function assert(condition, words) {
  if (!condition) throw new Error(words);
}

export function same(found, wanted, words) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  assert(a === b, `${words}: ${a}, not ${b}`);
}

/** Until f() returns something true; returns it. */
export async function until(f, words) {
  for (const end = Date.now() + PATIENCE; ; ) {
    const got = await f();
    if (got) return got;
    assert(Date.now() < end, `never: ${words}`);
    await sleep(50);
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// --- The browser -----------------------------------------------------------------------------------------------------

const root = process.getuid?.() === 0; // Chromium has no sandbox then
export const browser = await chromium.launch({
  executablePath: setting.chromium,
  args: root ? ["--no-sandbox"] : [],
});

const opened = [];
export const complaints = []; // what pages threw, and what their policy forbade

/** A new person's browser: {page, context, …}. It is at `hash` of the page, over a cable of its own. */
export async function person({ hash = "", cable = null, ...options } = {}) {
  const size = { width: 1180, height: 760 };
  const context = await browser.newContext({ viewport: size, colorScheme: "light", locale: "en-GB", ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  watch(page);
  opened.push(context);
  const home = `http://127.0.0.1:${cable?.port ?? setting.port}/`;
  await page.goto(home + hash);
  return { context, page, home };
}

export function watch(page) {
  page.on("pageerror", (error) => complaints.push(error.stack));
  page.on("console", (message) => {
    const text = message.text();
    // A connection that is refused, as a test wants it.
    if (message.type() === "error" && !/net::ERR_|WebSocket connection/.test(text)) complaints.push(text);
  });
}

export async function signIn(who, name) {
  await who.page.getByRole("textbox", { name: "Name" }).fill(name);
  await who.page.getByRole("button", { name: "Sign in" }).click();
  await who.page.locator("#app").waitFor();
  await until(() => who.page.evaluate(() => document.querySelector("#me bdi").textContent), "one's name");
  return who;
}

/** Somebody who has signed in; in that channel, if one is named. */
export async function member(name, channel, options) {
  const who = await signIn(await person(options), name);
  if (channel) await join(who, channel);
  return who;
}

export async function join({ page }, channel) {
  await page.getByRole("button", { name: "Join a channel" }).click();
  await page.getByRole("textbox", { name: "Channel" }).fill(channel);
  await page.keyboard.press("Enter");
  await page.locator("#title", { hasText: channel }).waitFor();
  await page.locator("#composer textarea").waitFor();
}

export async function say({ page }, text) {
  await page.locator("#composer textarea").fill(text);
  await page.keyboard.press("Enter");
}

/** The texts of the messages that are shown, in order. */
export const shown = ({ page }) =>
  page.locator("#log .text").evaluateAll((all) => all.map((e) => e.firstChild?.textContent ?? ""));

export const sees = (who, text) =>
  who.page.locator("#log .text", { hasText: text }).last().waitFor({ timeout: PATIENCE });

/** A row of the list of conversations. */
export const row = ({ page }, name) => page.locator("#rooms a", { has: page.locator(".name", { hasText: name }) });

export async function shoot({ page }, name) {
  await page.screenshot({ path: `${setting.shots}/${name}.png`, animations: "disabled", caret: "hide" });
}

/** What axe finds wrong, by WCAG 2.2 AA. */
export async function axe({ page }, where) {
  await page.evaluate(axeSource);
  const found = await page.evaluate(async () => {
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const { violations } = await window.axe.run(document, { runOnly: { type: "tag", values: tags } });
    return violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
  });
  same(found, [], `axe, ${where}`);
}

// --- Others ----------------------------------------------------------------------------------------------------------

const bots = [];

/** A user without a browser: the client under Node. */
export async function bot(name, channel, options = {}) {
  const chat = new Magpie(`ws://127.0.0.1:${setting.port}/`, { name, WebSocket, ...options });
  bots.push(chat);
  await chat.connect();
  if (channel) await chat.channel(channel).subscribe();
  return chat;
}

/** A TCP connection to the server that can be cut, and stay so. */
export async function cable() {
  const pairs = new Set();
  let up = true;
  const server = net.createServer((near) => {
    if (!up) return near.destroy();
    const far = net.connect(setting.port, "127.0.0.1");
    const pair = [near, far];
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const socket of pair) socket.on("close", end).on("error", end);
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  const cut = () => {
    for (const [near, far] of pairs) {
      near.destroy();
      far.destroy();
    }
  };
  return {
    port: server.address().port,
    cut() {
      up = false;
      cut();
    },
    mend: () => (up = true),
    end() {
      server.close();
      cut();
    },
  };
}

/** A command at the server's console. */
export function order(command) {
  return new Promise((resolve, reject) => {
    const lines = `auth ${setting.password}\n${command}\n`;
    const socket = net.connect(setting.console, "127.0.0.1", () => socket.write(lines));
    let text = "";
    socket.setEncoding("utf8").on("error", reject);
    socket.on("data", (data) => {
      text += data;
      const replies = text.split(/^\.\n/m);
      if (replies.length < 3) return;
      socket.destroy();
      if (replies[1].startsWith("OK")) resolve(replies[1]);
      else reject(new Error(`${command}: ${replies[1]}`));
    });
  });
}

let channels = 0;
export const fresh = (what = "room") => `${what}-${++channels}`;

/** Closes what a part has opened. */
export async function tidy() {
  for (const context of opened.splice(0)) await context.close();
  for (const chat of bots.splice(0)) chat.close();
  return complaints.splice(0);
}
