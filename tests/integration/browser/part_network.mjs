/** Connections that break: nothing is lost, nothing is doubled, and people see how it stands. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import {
  assert, bot, cable, fresh, member, person, same, say, sees, setting, shoot, shown, until, watch,
} from "./kit.mjs";

export default {
  async "offline and back: nothing lost, nothing doubled, in order"() {
    const channel = fresh();
    const line = await cable();
    const ann = await member("Ann", channel, { cable: line });
    const bob = await bot("Bob", channel);
    await bob.channel(channel).send("0");
    await sees(ann, "0");
    line.cut();
    await ann.page.locator("#connection").waitFor();
    await say(ann, "sent without a connection");
    await say(ann, "and another");
    await until(async () => (await ann.page.locator("#log .state.clock").count()) === 2, "two that wait");
    await shoot(ann, "offline");
    for (let i = 1; i <= 5; i++) await bob.channel(channel).send(String(i));
    line.mend();
    // Or it has come back by itself in that moment.
    await ann.page.getByRole("button", { name: "Try now" }).click({ timeout: 2000 }).catch(() => {});
    await ann.page.locator("#connection").waitFor({ state: "hidden" });
    await until(async () => (await ann.page.locator("#log .state.check").count()) === 2, "both are stored");
    const wanted = ["0", "1", "2", "3", "4", "5", "sent without a connection", "and another"];
    await until(async () => (await shown(ann)).length >= wanted.length, "all is there");
    same(await shown(ann), wanted, "what is shown");
    const { messages } = await bob.channel(channel).history();
    same(messages.map((m) => m.content), wanted, "what is stored");
    line.end();
  },

  async "a page that was closed before its message was sent sends it the next time, once"() {
    const channel = fresh();
    const line = await cable();
    const ann = await member("Ann", channel, { cable: line });
    await say(ann, "first");
    await ann.page.locator("#log .state.check").waitFor();
    line.cut();
    await ann.page.locator("#connection").waitFor();
    await say(ann, "second");
    await ann.page.locator("#log .state.clock").waitFor();
    line.mend();
    await ann.page.reload();
    await until(async () => (await ann.page.locator("#log .state.check").count()) === 2, "both are stored");
    same(await shown(ann), ["first", "second"], "what is shown");
    line.end();
  },

  async "the shell opens without a server"() {
    const line = await cable();
    const ann = await member("Ann", fresh("news"), { cable: line });
    await say(ann, "hello");
    await ann.page.evaluate(() => navigator.serviceWorker.ready);
    // Once more, so that the worker has the page in hand.
    await ann.page.reload();
    await ann.page.locator("#log").waitFor();
    line.cut();
    await ann.page.reload();
    await ann.page.locator("#connection").waitFor();
    await ann.page.locator("#filter").waitFor();
    await ann.page.locator("#rooms .name", { hasText: "news" }).waitFor();
    same(await ann.page.locator("#me bdi").textContent(), "Ann", "who one is");
    await shoot(ann, "shell-offline");
    line.mend();
    await ann.page.locator("#composer textarea").waitFor();
    line.end();
  },

  async "it can be installed"() {
    const { page, context } = await member("Ann");
    const cdp = await context.newCDPSession(page);
    await page.evaluate(() => navigator.serviceWorker.ready);
    const { errors } = await cdp.send("Page.getAppManifest");
    same(errors, [], "what is wrong with the manifest");
    const { installabilityErrors } = await cdp.send("Page.getInstallabilityErrors");
    // Browser contexts of tests are private windows, from which nothing is installed.
    same(installabilityErrors.map((e) => e.errorId).filter((e) => e !== "in-incognito"), [], "why not");
  },

  async "a gap is repaired"() {
    const channel = fresh();
    const ann = await member("Ann");
    let drop = 0;
    await ann.page.routeWebSocket(/./, (ws) => {
      const server = ws.connectToServer();
      server.onMessage((data) => {
        if (drop > 0 && JSON.parse(data).action === 102) drop--;
        else ws.send(data);
      });
    });
    await ann.page.reload();
    await ann.page.locator("#nothing").waitFor();
    await ann.page.locator("#nothing").getByRole("button", { name: "Another channel" }).click();
    await ann.page.getByRole("textbox", { name: "Channel" }).fill(channel);
    await ann.page.keyboard.press("Enter");
    await ann.page.locator("#composer textarea").waitFor();
    const bob = await bot("Bob", channel);
    await bob.channel(channel).send("1");
    await sees(ann, "1");
    drop = 3;
    for (let i = 2; i <= 6; i++) await bob.channel(channel).send(String(i));
    await until(async () => (await shown(ann)).length === 6, "all six");
    same(await shown(ann), ["1", "2", "3", "4", "5", "6"], "what is shown");
    same(drop, 0, "what was dropped");
  },

  async "a refused message says why, and is tried again with the same clientId"() {
    const ann = await member("Ann");
    const bob = await bot("Bob");
    const id = await ann.page.evaluate(() => {
      document.querySelector("#me").click();
      const text = document.querySelector("#my-id").textContent;
      document.querySelector("#settings").close();
      return text;
    });
    await bob.block(id);
    await ann.page.evaluate((to) => (location.hash = `#/user/${to}`), bob.id);
    await ann.page.locator("#composer textarea").waitFor();
    const ids = [];
    await ann.page.exposeFunction("note", (text) => ids.push(text));
    await ann.page.evaluate(() => {
      const send = WebSocket.prototype.send;
      WebSocket.prototype.send = function (data) {
        const { action, body } = JSON.parse(data);
        if (action === 2) window.note(body.clientId);
        return send.call(this, data);
      };
    });
    await say(ann, "hello?");
    await ann.page.locator("#log .failed").waitFor();
    await shoot(ann, "not-sent");
    await bob.block(id, false);
    await ann.page.getByRole("button", { name: "Try again" }).click();
    await ann.page.locator("#log .state.check").waitFor();
    await until(() => ids.length === 2, "two attempts");
    same(ids[0], ids[1], "clientId");
    same(await shown(ann), ["hello?"], "what is shown");
  },

  async "what a slice leaves out is fetched on demand"() {
    const channel = fresh();
    const ann = await member("Ann", channel);
    await ann.page.getByRole("button", { name: "Details" }).click();
    await ann.page.getByRole("radio", { name: /In slices/ }).check();
    await ann.page.waitForTimeout(300);
    const bob = await bot("Bob", channel);
    await Promise.all(Array.from({ length: 120 }, (_, i) => bob.call(4, { channel, content: `m${i + 1}` })));
    const more = ann.page.locator("#log .more");
    await more.first().waitFor();
    await until(async () => (await shown(ann)).includes("m120"), "the newest");
    await shoot(ann, "slices");
    for (let i = 0; (await more.count()) && i < 10; i++) {
      await more.first().click();
      await ann.page.waitForTimeout(200);
    }
    await until(async () => (await shown(ann)).length === 120, "all");
    same(await shown(ann), Array.from({ length: 120 }, (_, i) => `m${i + 1}`), "what is shown");
  },

  async "ten lines in a page of somebody else's"() {
    const readme = readFileSync(new URL("../../../plugins/web/client/README.md", import.meta.url), "utf8");
    const server = `127.0.0.1:${setting.port}`;
    const lines = /```html\n(.*?)```/s.exec(readme)[1].replace('"/client', `"http://${server}/client`);
    const elsewhere = createServer((_, answer) => {
      answer.setHeader("Content-Type", "text/html; charset=utf-8");
      answer.end(lines.replace("localhost:8082", server).replace("console.log(", "document.body.append("));
    });
    await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
    const { context } = await person();
    const page = await context.newPage();
    watch(page);
    await page.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
    await page.getByText("AnnHello!").waitFor();
    elsewhere.close();
  },

  async "two tabs of one user"() {
    const channel = fresh();
    const ann = await member("Ann", channel);
    const page = await ann.context.newPage();
    watch(page);
    await page.goto(`${ann.home}#/channel/${channel}`);
    await page.locator("#composer textarea").waitFor();
    await say({ page }, "from the second");
    await sees(ann, "from the second");
    same(await shown(ann), ["from the second"], "in the first");
    same(await shown({ page }), ["from the second"], "in the second");
    assert(await page.locator("#log .state.check").count(), "it is stored");
  },
};
