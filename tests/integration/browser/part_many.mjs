/** Much at once: 10,000 messages in a channel, and a hundred more each second. */
import { assert, bot, fresh, member, setting, shoot, shown, sleep, until } from "./kit.mjs";

const LONG = 50; // ms: no frame is longer
const SECONDS = 4;
const CATEGORIES = "devtools.timeline,disabled-by-default-devtools.timeline,toplevel,__metadata";

/** What the page's main thread did, in tasks: the longest, in ms of processor time. */
async function traced({ page, context }, run) {
  const cdp = await context.newCDPSession(page);
  const events = [];
  cdp.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  await cdp.send("Tracing.start", { transferMode: "ReportEvents", categories: CATEGORIES });
  await run();
  const complete = new Promise((resolve) => cdp.once("Tracing.tracingComplete", resolve));
  await cdp.send("Tracing.end");
  await complete;
  // The thread that runs this page: the one that draws its frames.
  const mains = new Set(
    events.filter((e) => e.name === "thread_name" && e.args.name === "CrRendererMain").map((e) => `${e.pid}.${e.tid}`),
  );
  const tasks = events.filter((e) => /RunTask$/.test(e.name) && e.ph === "X" && mains.has(`${e.pid}.${e.tid}`));
  const longest = tasks.reduce((most, e) => Math.max(most, (e.tdur ?? e.dur) / 1000), 0);
  const frames = events.filter((e) => e.name === "FireAnimationFrame").length;
  return { tasks: tasks.length, frames, longest: Math.round(longest * 10) / 10 };
}

export default {
  async "10,000 messages, and a hundred a second"() {
    const channel = fresh("busy");
    const bob = await bot("Bob", channel, { timeout: 60000 });
    for (let i = 0; i < 10000; i += 500)
      await Promise.all(
        Array.from({ length: 500 }, (_, k) =>
          bob.call(4, { channel, content: `${i + k + 1}: the quick brown fox jumps over the lazy dog` }),
        ),
      );
    const ann = await member("Ann", channel);
    await until(async () => (await shown(ann)).at(-1)?.startsWith("10000:"), "the newest");
    let sent = 10000;
    const flood = () => {
      const timer = setInterval(() => {
        for (let i = 0; i < 5; i++)
          bob.call(4, { channel, content: `${++sent}: and another one https://example.org/${sent}` }).catch(() => {});
      }, 50);
      return () => clearInterval(timer);
    };
    const rows = () => ann.page.locator("#log > *").count();
    // This machine may be busy: the best of three is what the page can do.
    let best = null;
    for (let tries = 0; tries < 3 && !(best?.longest <= LONG); tries++) {
      const stop = flood();
      const measured = await traced(ann, async () => {
        await sleep((SECONDS / 2) * 1000);
        await ann.page.locator("#log").hover();
        for (let i = 0; i < SECONDS * 5; i++) {
          await ann.page.mouse.wheel(0, -900);
          await sleep(50);
        }
        for (let i = 0; i < SECONDS * 5; i++) {
          await ann.page.mouse.wheel(0, 900);
          await sleep(50);
        }
      });
      stop();
      if (!best || measured.longest < best.longest) best = measured;
    }
    assert(best.tasks > 50 && best.frames > 20, `nothing was measured: ${JSON.stringify(best)}`);
    assert(best.longest <= LONG, `a task of ${best.longest} ms`);
    assert((await rows()) < 500, `${await rows()} rows in the document`);
    const jump = ann.page.locator("#jump");
    if (await jump.isVisible()) await jump.click();
    await until(async () => (await shown(ann)).at(-1)?.startsWith(`${sent}:`), "the newest");
    const last = (await shown(ann)).map((t) => parseInt(t, 10));
    assert(last.every((n, i) => !i || n === last[i - 1] + 1), `not in order: ${last}`);
    await shoot(ann, "many");
    return `longest task ${best.longest} ms of ${best.tasks}, ${best.frames} frames`;
  },

  async "history comes as one scrolls up, and what one reads stays where it is"() {
    const channel = fresh("long");
    const bob = await bot("Bob", channel);
    for (let i = 0; i < 600; i += 200)
      await Promise.all(Array.from({ length: 200 }, (_, k) => bob.call(4, { channel, content: `line ${i + k + 1}` })));
    const ann = await member("Ann", channel);
    await until(async () => (await shown(ann)).at(-1) === "line 600", "the newest");
    await ann.page.locator("#log").focus();
    const top = () => ann.page.evaluate(() => document.querySelector("#log .text").textContent);
    await until(async () => {
      await ann.page.evaluate(() => (document.querySelector("#log").scrollTop = 0));
      return (await top()) === "line 1";
    }, "the first one");
    await until(() => ann.page.locator("#log .top", { hasText: "begins" }).count(), "where it begins");
    const place = () =>
      ann.page.evaluate(() => {
        const log = document.querySelector("#log");
        const row = [...log.querySelectorAll(".row")].find((r) => r.textContent.includes("line 30"));
        return Math.round(row.getBoundingClientRect().top);
      });
    await ann.page.evaluate(() => (document.querySelector("#log").scrollTop = 400));
    await sleep(200);
    const before = await place();
    for (let i = 0; i < 20; i++) await bob.call(4, { channel, content: "more" });
    await ann.page.locator("#jump", { hasText: "20 new messages" }).waitFor();
    assert(Math.abs((await place()) - before) <= 1, `it moved by ${(await place()) - before} px`);
    await ann.page.locator("#jump").click();
    await until(async () => (await shown(ann)).at(-1) === "more", "the newest");
    await until(() => ann.page.locator("#jump").isHidden(), "nothing is new");
    // What grows by itself does not count as scrolling up.
    await ann.page.evaluate(() => {
      const log = document.querySelector("#log");
      log.lastElementChild.style.minHeight = "400px";
      log.dispatchEvent(new Event("scroll"));
    });
    await bob.call(4, { channel, content: "the end" });
    await until(async () => (await shown(ann)).at(-1) === "the end", "the last one");
    await until(
      () => ann.page.evaluate(() => {
        const log = document.querySelector("#log");
        return log.scrollHeight - log.scrollTop - log.clientHeight < 2;
      }),
      "the end is in sight",
    );
  },
};

export { setting };
