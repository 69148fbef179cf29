/** Chatting: what two people see of each other. */
import {
  assert, axe, bot, fresh, join, member, order, person, row, same, say, sees, setting, shoot, shown, signIn, until,
} from "./kit.mjs";

const SCRIPT = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>";

export default {
  async "two people chat"() {
    const channel = fresh("lobby");
    const ann = await member("Ann Archer", channel);
    const bob = await member("Bob", channel);
    await say(ann, "Good morning!");
    await sees(bob, "Good morning!");
    await ann.page.locator("#log .state.check").waitFor();
    await say(bob, "Look: https://example.org/a_(b). Or javascript:alert(1), https://bank.example@evil.example/");
    await sees(ann, "Look");
    const links = ann.page.locator("#log .text a");
    same(await links.count(), 1, "links");
    same(await links.getAttribute("href"), "https://example.org/a_(b)", "where it leads");
    assert(/noopener/.test(await links.getAttribute("rel")), "the other page knows where one came from");
    await say(bob, "one\ntwo");
    await sees(ann, "two");
    // An edit, and a recall.
    await bob.page.locator("#composer textarea").press("ArrowUp");
    await bob.page.locator(".editing").waitFor();
    await say(bob, "three");
    await sees(ann, "three");
    await ann.page.locator("#log .edited").waitFor();
    await bob.page.locator("#log .row", { hasText: "three" }).hover();
    await bob.page.getByRole("button", { name: "Recall" }).click();
    await bob.page.locator("#ask").getByRole("button", { name: "Recall" }).click();
    await sees(ann, "recalled");
    same((await shown(ann)).filter((t) => t === "three"), [], "what was recalled");
    await say(ann, "@Bob: shall we?");
    await bob.page.locator(".row.called").waitFor();
    await shoot(ann, "chat-light");
  },

  async "what people write stays text"() {
    const channel = fresh();
    const ann = await member("Ann", channel);
    const eve = await bot(SCRIPT.slice(0, 60), channel);
    await eve.channel(channel).send(SCRIPT);
    await eve.user(await idOf(ann)).send(SCRIPT);
    await order(`announce "<b>all</b>"`);
    await sees(ann, "<script>");
    same((await shown(ann)).at(-1), SCRIPT, "the message");
    await ann.page.getByRole("button", { name: "Details" }).click();
    await ann.page.locator(".members li").nth(1).waitFor();
    await ann.page.locator(".announcement", { hasText: "<b>all</b>" }).waitFor();
    await ann.page.locator("#rooms a", { hasText: "<img" }).first().waitFor();
    same(await ann.page.evaluate(() => [window.hacked ?? null, document.images.length]), [null, 3], "what ran");
    await join(ann, "<b>bold</b>");
    same(await ann.page.locator("#title").textContent(), "#<b>bold</b>", "the channel's name");
    await shoot(ann, "script-stays-text");
  },

  async "private messages, by name and by id"() {
    const channel = fresh();
    const ann = await member("Ann", channel);
    const bob = await member("Robert Bell", channel);
    await say(bob, "here I am");
    await sees(ann, "here I am");
    await ann.page.getByRole("button", { name: "New private message" }).click();
    await ann.page.getByRole("textbox", { name: "Name or id" }).fill("robert bell");
    await ann.page.keyboard.press("Enter");
    await say(ann, "just between us");
    await ann.page.locator("#log .state.check").waitFor();
    await row(bob, "Ann").locator(".badge").waitFor();
    same(await row(bob, "Ann").locator(".badge").textContent(), "1", "unread");
    await until(async () => /^\(1\)/.test(await bob.page.title()), "the count in the title");
    await row(bob, "Ann").click();
    await sees(bob, "just between us");
    await until(async () => !/^\(/.test(await bob.page.title()), "nothing is unread");
    // Somebody whom one never met: only by id.
    const carol = await bot("Carol");
    await ann.page.getByRole("button", { name: "New private message" }).click();
    await ann.page.getByRole("textbox", { name: "Name or id" }).fill("Nobody At All");
    await ann.page.keyboard.press("Enter");
    await ann.page.locator("#talk .error", { hasText: "id" }).waitFor();
    await ann.page.getByRole("textbox", { name: "Name or id" }).fill(carol.id);
    const told = new Promise((resolve) => carol.on("message", (m) => resolve(m.content)));
    await ann.page.keyboard.press("Enter");
    await ann.page.locator("#composer textarea").waitFor();
    await say(ann, "hello, stranger");
    same(await told, "hello, stranger", "what Carol got");
    await shoot(bob, "private");
  },

  async "unread counts, and the line where the new begins"() {
    const [one, two] = [fresh(), fresh()];
    const ann = await member("Ann", one);
    const bob = await bot("Bob", one);
    await bob.channel(one).send("old");
    await sees(ann, "old");
    await join(ann, two);
    for (const text of ["1", "2", "3"]) await bob.channel(one).send(text);
    await until(async () => (await row(ann, one).locator(".badge").textContent()) === "3", "three unread");
    await row(ann, one).click();
    await ann.page.locator("#log .new").waitFor();
    same(await ann.page.locator("#log .row", { has: ann.page.locator(".new") }).locator(".text").textContent(), "1",
      "where the new begins");
    await until(() => row(ann, one).locator(".badge").isHidden(), "all is read");
  },

  async "members, push mode, leaving"() {
    const channel = fresh();
    const ann = await member("Ann", channel);
    const bob = await bot("Bob", channel);
    await ann.page.getByRole("button", { name: "Details" }).click();
    await ann.page.locator(".members", { hasText: "Bob" }).waitFor();
    same(await ann.page.locator("#subtitle").textContent(), "2 members", "members");
    await shoot(ann, "details");
    await axe(ann, "details");
    await ann.page.getByRole("radio", { name: /None/ }).check();
    await ann.page.waitForTimeout(300);
    await bob.channel(channel).send("not pushed");
    await say(ann, "mine is shown all the same");
    await ann.page.locator("#log .state.check").waitFor();
    same((await shown(ann)).includes("not pushed"), false, "a message that is not pushed");
    await ann.page.getByRole("button", { name: "Leave the channel" }).click();
    await ann.page.locator("#ask").getByRole("button", { name: "Leave" }).click();
    await ann.page.locator("#nothing").waitFor();
    await until(async () => (await row(ann, channel).count()) === 0, "it is gone from the list");
  },

  async "presence, joins and leaves, and being taken out"() {
    const channel = fresh();
    const ann = await member("Ann", channel);
    const bob = await bot("Bob", channel);
    const cat = await bot("Cat", channel);
    await ann.page.locator("#log .notice", { hasText: "Bob and Cat joined" }).waitFor();
    same(await ann.page.locator("#subtitle").textContent(), "3 members", "members");
    await cat.channel(channel).unsubscribe();
    await ann.page.locator("#log .notice", { hasText: "Cat left" }).waitFor();
    await bob.user(await idOf(ann)).send("hello");
    await row(ann, "Bob").locator(".dot").waitFor();
    await row(ann, "Bob").click();
    await ann.page.locator("#subtitle", { hasText: "online" }).waitFor();
    bob.close();
    await ann.page.locator("#subtitle", { hasText: "offline" }).waitFor();
    await row(ann, "Bob").locator(".dot").waitFor({ state: "hidden" });
    await row(ann, channel).click();
    await order(`channel ${channel} kick ${await idOf(ann)}`);
    await ann.page.locator("#log .notice", { hasText: "You were removed" }).waitFor();
    await shoot(ann, "removed");
    same(await ann.page.locator("#composer").isVisible(), false, "that one can write");
    await ann.page.locator("#join-this").getByRole("button", { name: "Join" }).click();
    await ann.page.locator("#composer textarea").waitFor();
  },

  async "the same user on another device"() {
    const [one, two] = [fresh(), fresh()];
    const ann = await member("Ann", one);
    const token = await ann.page.evaluate(() => JSON.parse(localStorage.getItem("magpie:/:token")));
    const also = await bot(undefined, two, { token });
    await row(ann, two).waitFor();
    const bob = await bot("Bob", one);
    await join(ann, fresh());
    await bob.channel(one).send("read me");
    await row(ann, one).locator(".badge").waitFor();
    also.channel(one).read(1);
    await row(ann, one).locator(".badge").waitFor({ state: "hidden" });
    await also.channel(two).unsubscribe();
    await until(async () => (await row(ann, two).count()) === 0, "it is gone from the list");
    // Signing in there, by the token.
    const there = await person();
    await there.page.getByText("I have a token").click();
    await there.page.getByRole("textbox", { name: "Token" }).fill(token);
    await there.page.getByRole("button", { name: "Sign in" }).click();
    await row(there, one).waitFor();
    same(await there.page.locator("#me bdi").textContent(), "Ann", "who one is there");
    const nobody = await person();
    await nobody.page.getByText("I have a token").click();
    await nobody.page.getByRole("textbox", { name: "Token" }).fill("not a token");
    await nobody.page.keyboard.press("Enter");
    await nobody.page.locator("#sign-in .error", { hasText: "token" }).waitFor();
  },

  async "a new name, and signing out"() {
    const channel = fresh();
    const ann = await member("Ann", channel);
    await ann.page.getByRole("button", { name: /Settings/ }).click();
    await ann.page.getByRole("textbox", { name: "Name" }).fill("Anna");
    await ann.page.getByRole("button", { name: "Done" }).click();
    await until(async () => (await ann.page.locator("#me bdi").textContent()) === "Anna", "the new name");
    const bob = await bot("Bob", channel);
    same((await bob.channel(channel).memberList()).members.some((m) => m.name === "Anna"), true, "others know it");
    await ann.page.getByRole("button", { name: /Settings/ }).click();
    await ann.page.getByRole("button", { name: "Sign out" }).click();
    await ann.page.locator("#ask").getByRole("button", { name: "Sign out" }).click();
    await ann.page.locator("#door").waitFor();
    same(await ann.page.evaluate(() => Object.keys(localStorage)), [], "what is kept");
  },

  async "a channel's link; drafts; a reload"() {
    const channel = fresh();
    const bob = await bot("Bob", channel);
    await bob.channel(channel).send("before");
    const ann = await signIn(await person({ hash: `#/channel/${channel}` }), "Ann");
    await ann.page.locator("#join-this").getByRole("button", { name: "Join" }).click();
    await sees(ann, "before");
    await ann.page.locator("#composer textarea").fill("not finished");
    await ann.page.waitForTimeout(600);
    await ann.page.reload();
    await sees(ann, "before");
    same(await ann.page.locator("#composer textarea").inputValue(), "not finished", "the draft");
    same(await ann.page.locator("#me bdi").textContent(), "Ann", "who one is");
    await bob.channel(channel).send("after");
    await sees(ann, "after");
    same(await shown(ann), ["before", "after"], "what is shown");
  },

  async "announcements, and being sent away"() {
    const channel = fresh();
    const ann = await member("Ann", channel);
    await order(`announce "Maintenance at noon."`);
    await ann.page.locator(".announcement", { hasText: "Maintenance at noon." }).waitFor();
    await shoot(ann, "announcement");
    await ann.page.getByRole("button", { name: "Put away" }).click();
    await order(`kick user ${await idOf(ann)} "enough"`);
    await ann.page.locator("#over", { hasText: "enough" }).waitFor();
    await ann.page.getByRole("button", { name: "Come back" }).click();
    await ann.page.locator("#composer textarea").waitFor();
  },

  async "notifications and the title's count while nobody looks"() {
    const channel = fresh();
    const ann = await member("Ann", channel, { permissions: ["clipboard-read", "clipboard-write"] });
    const bob = await bot("Bob", channel);
    await ann.page.evaluate(() => {
      window.told = [];
      window.Notification = class {
        static permission = "granted";
        static requestPermission = async () => "granted";
        constructor(title, options) {
          window.told.push([title, options.body]);
        }
        addEventListener() {}
      };
    });
    await ann.page.getByRole("button", { name: /Settings/ }).click();
    await ann.page.getByRole("checkbox", { name: /Notify me/ }).check();
    await axe(ann, "settings");
    await ann.page.getByRole("button", { name: "Copy my id" }).click();
    await ann.page.locator(".toast", { hasText: "id was copied" }).waitFor();
    same(await ann.page.evaluate(() => navigator.clipboard.readText()), await idOf(ann), "what was copied");
    await ann.page.getByRole("button", { name: /Settings/ }).click();
    await ann.page.getByRole("button", { name: "Copy my token" }).click();
    await shoot(ann, "settings");
    await ann.page.keyboard.press("Escape");
    await ann.page.evaluate(() => Object.defineProperty(document, "hidden", { get: () => true }));
    await bob.channel(channel).send("to nobody");
    await bob.channel(channel).send("but @ann, look");
    await bob.user(await idOf(ann)).send("and in private");
    await until(async () => /^\(3\)/.test(await ann.page.title()), "three unread in the title");
    const where = ann.page.locator("#log .row", { has: ann.page.locator(".new") }).locator(".text");
    same(await where.textContent(), "to nobody", "where one looked away");
    const told = await ann.page.evaluate(() => window.told.map(([, body]) => body));
    same(told, ["but @ann, look", "and in private"], "what was notified of");
  },
};

async function idOf({ page }) {
  return page.evaluate(() => {
    document.querySelector("#me").click();
    const id = document.querySelector("#my-id").textContent;
    document.querySelector("#settings").close();
    return id;
  });
}

export { idOf, setting };
