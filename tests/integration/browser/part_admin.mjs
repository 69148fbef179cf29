/** The dashboard as operators use it. */
import { assert, axe, bot, complaints, fresh, member, order, person, same, setting, shoot, until } from "./kit.mjs";

async function operator(hash = "", options = {}) {
  const who = await person({ hash: `admin/${hash}`, ...options });
  await who.page.getByLabel("Password").fill(setting.password);
  await who.page.getByRole("button", { name: "Log in" }).click();
  await who.page.locator("#frame").waitFor();
  return who;
}

const heading = (who, name) => who.page.getByRole("heading", { level: 1, name }).waitFor();
const open = async (who, name) => {
  await who.page.locator("#menu").getByRole("link", { name, exact: true }).click();
  await heading(who, name);
};
const toast = (who, text) => who.page.locator(".toast", { hasText: text }).first().waitFor();

async function door() {
  const who = await person({ hash: "admin/" });
  await shoot(who, "admin-door");
  await axe(who, "the door");
  await who.page.getByLabel("Password").fill("guessed");
  await who.page.keyboard.press("Enter");
  await who.page.locator("#sign-in .error", { hasText: "not the password" }).waitFor();
  assert(/status of 401/u.test(complaints.splice(0).join()), "the browser tells of the refusal");
  await who.page.getByLabel("Password").fill(setting.password);
  await who.page.keyboard.press("Enter");
  await heading(who, "Overview");
  const [cookie] = await who.context.cookies();
  same([cookie.httpOnly, cookie.sameSite, cookie.secure], [true, "Strict", false], "the cookie");
  same(await who.page.evaluate(() => document.cookie), "", "what scripts see of it");
  await who.page.reload();
  await heading(who, "Overview");
  await who.page.getByRole("button", { name: "Log out" }).click();
  await who.page.locator("#door").waitFor();
  await who.page.reload();
  await who.page.locator("#door").waitFor();
}

async function charts() {
  const room = fresh("busy");
  const talker = await bot("Talker", room);
  const who = await operator();
  const card = who.page.locator(".chart", { has: who.page.getByRole("heading", { name: "Messages" }) });
  await until(async () => {
    for (let i = 0; i < 5; i++) await talker.channel(room).send("tick");
    return (
      (await card.locator("strong").textContent()) !== "0/s" &&
      (await card.locator(".curve").getAttribute("d")).split("L").length > 3
    );
  }, "a chart with points");
  await who.page.getByRole("link", { name: room }).waitFor();
  await axe(who, "the overview");
  await shoot(who, "admin-overview");
}

async function user() {
  const victim = await member("Victim of Kicks", fresh());
  const id = (await order(`list users "Victim of Kicks"`)).match(/(\S+)\s+"Victim of Kicks"/)[1];
  const who = await operator();
  await open(who, "Users");
  await who.page.getByRole("searchbox").fill("ictim of Ki");
  await who.page.keyboard.press("Enter");
  await until(async () => (await who.page.locator("tbody tr").count()) === 1, "the one user");
  await shoot(who, "admin-users");
  await who.page.getByRole("link", { name: id }).click();
  await heading(who, `User ${id}`);
  await who.page.getByRole("button", { name: "Kick…" }).waitFor();
  await axe(who, "a user");
  await shoot(who, "admin-user");
  await who.page.getByRole("button", { name: "Kick…" }).click();
  await axe(who, "the question");
  await who.page.getByLabel("Reason").fill("enough for today");
  await shoot(who, "admin-kick");
  await who.page.getByRole("button", { name: "Kick", exact: true }).click();
  await toast(who, "connections 1");
  await victim.page.getByText("enough for today").first().waitFor();
  const log = await order("log tail 50");
  assert(
    /console\.command .*who="web 127\.0\.0\.1 session \d+" command="kick user"/u.test(log),
    `the log tells of it: ${log}`,
  );
  // Mute, and lift it.
  await who.page.getByRole("button", { name: "Mute…" }).click();
  await who.page.getByRole("button", { name: "Mute", exact: true }).click();
  await who.page.getByRole("button", { name: "Lift the mute" }).click();
  await who.page.getByRole("button", { name: "Mute…" }).waitFor();
  // The id must be given once more before a user is deleted.
  await who.page.getByRole("button", { name: "Delete…" }).click();
  await who.page.getByLabel("The id once more").fill("somebody");
  await who.page.getByRole("button", { name: "Delete", exact: true }).click();
  await who.page.getByText("That is another id.").waitFor();
  await who.page.keyboard.press("Escape");
}

async function channel() {
  const room = fresh("watched");
  const people = await Promise.all(["Ann", "Ben", "Cleo"].map((name) => bot(name, room)));
  await people[0].channel(room).send("to be recalled");
  await people[1].channel(room).send("to stay");
  const who = await operator(`#/channel/${room}`);
  await heading(who, `Channel ${room}`);
  await who.page.getByText("to be recalled").waitFor();
  await axe(who, "a channel");
  await shoot(who, "admin-channel");
  const row = who.page.locator("tr", { hasText: "to be recalled" });
  await row.getByRole("button", { name: "Recall…" }).click();
  await who.page.getByRole("button", { name: "Recall", exact: true }).click();
  await who.page.getByText("recalled", { exact: true }).waitFor();
  await who.page.getByLabel("Tier").selectOption("large");
  await until(async () => /tier: large/.test(await order(`channel ${room} tier`)), "the tier");
  await who.page.locator("tr", { hasText: "Cleo" }).getByRole("button", { name: "Put out" }).click();
  await who.page.getByRole("heading", { name: "Members: 2" }).waitFor();
  await who.page.getByRole("button", { name: "Close…" }).click();
  await who.page.getByRole("button", { name: "Close", exact: true }).click();
  await who.page.getByRole("button", { name: "Open again" }).waitFor();
  await who.page.getByText("Nobody.").waitFor();
}

async function tools() {
  const room = fresh("asked");
  const [ann, ben] = await Promise.all(["Ann", "Ben"].map((name) => bot(name, room)));
  const sent = await ann.channel(room).send("did it arrive?");
  const crowd = await Promise.all(Array.from({ length: 60 }, (_, i) => bot(`Crowd ${String(i).padStart(2, "0")}`)));
  const who = await operator();
  await open(who, "Connections");
  await who.page.getByRole("searchbox").fill("Crowd");
  await who.page.keyboard.press("Enter");
  await until(async () => (await who.page.locator("tbody tr").count()) === 50, "a page of fifty");
  await shoot(who, "admin-connections");
  await who.page.getByRole("button", { name: "Next" }).click();
  await until(async () => (await who.page.locator("tbody tr").count()) === 10, "the rest");
  await who.page.goBack();
  await until(async () => (await who.page.locator("tbody tr").count()) === 50, "the page before");
  for (const name of ["Slow receivers", "Bans and mutes", "Plugins", "Hooks", "Scripts", "Channels"]) {
    await open(who, name);
    await until(async () => !(await who.page.locator("#view").textContent()).includes("…\n"), "the list");
    await axe(who, name);
  }
  await who.page.getByRole("button", { name: "All that are stored" }).click();
  await who.page.getByRole("columnheader", { name: "Last seq" }).waitFor();
  await open(who, "Why");
  await who.page.getByLabel("Receiver's id").fill(ben.id);
  await who.page.getByLabel("Message id").fill(sent.id);
  await who.page.keyboard.press("Enter");
  await who.page.locator(".verdict").waitFor();
  await axe(who, "why");
  await shoot(who, "admin-why");
  await open(who, "Log");
  await who.page.locator(".log p", { hasText: "web.admin_in" }).first().waitFor();
  const log = await who.page.locator(".log").textContent();
  assert(!log.includes(setting.password), "the password stands in the log");
  await axe(who, "the log");
  await shoot(who, "admin-log");
  for (const one of crowd) one.close();
}

async function text() {
  const name = `<img src=x onerror="document.title='hit'">`;
  const room = fresh(`<b>bold</b>&amp;`);
  const evil = await bot(name, room);
  await evil.channel(room).send(`<script>document.title = "hit"</script>`);
  const who = await operator(`#/channel/${encodeURIComponent(room)}`);
  await heading(who, `Channel ${room}`);
  await who.page.getByText("<script>document.title").waitFor();
  await who.page.getByText(name).first().waitFor();
  same(await who.page.locator("#view img, #view script, #view b").count(), 0, "elements that names made");
  assert(!(await who.page.title()).startsWith("hit"), "a script ran");
}

async function phone() {
  const who = await operator("", {
    viewport: { width: 390, height: 780 },
    hasTouch: true,
    isMobile: true,
    colorScheme: "dark",
  });
  await until(async () => (await who.page.locator(".chart .curve").count()) > 5, "charts");
  const wide = () => who.page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert(!(await wide()), "the overview is wider than the phone");
  await axe(who, "the overview, dark, on a phone");
  await shoot(who, "admin-phone");
  await open(who, "Connections");
  assert(!(await wide()), "the list is wider than the phone");
  const dark = await operator("", { colorScheme: "dark" });
  await until(async () => (await dark.page.locator(".chart .curve").count()) > 5, "charts");
  await axe(dark, "the overview, dark");
  await shoot(dark, "admin-dark");
  // With the keyboard alone: past the menu, to a list, to its search.
  await dark.page.reload();
  await heading(dark, "Overview");
  await dark.page.keyboard.press("Tab");
  await dark.page.keyboard.press("Enter");
  same(await dark.page.evaluate(() => document.activeElement.id), "view", "the skip link leads to the content");
  await dark.page.locator("#menu a").nth(1).focus();
  await dark.page.keyboard.press("Enter");
  await heading(dark, "Connections");
  await until(() => dark.page.evaluate(() => document.activeElement.tagName === "H1"), "the heading has the focus");
  await dark.page.keyboard.press("Tab");
  same(await dark.page.evaluate(() => document.activeElement.name), "q", "the first field");
}

export default {
  "the dashboard: the door": door,
  "the dashboard: charts that go on": charts,
  "the dashboard: a user is found and kicked": user,
  "the dashboard: a channel, its members and messages": channel,
  "the dashboard: lists, why, scripts, the log": tools,
  "the dashboard: names stay text": text,
  "the dashboard: on a phone, in the dark, with the keyboard": phone,
};
