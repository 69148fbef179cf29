/** All sorts of people: with a phone, in the dark, without a mouse, with a screen reader. */
import {
  axe, bot, fresh, join, member, person, row, same, say, sees, shoot, shown, signIn, sleep, until,
} from "./kit.mjs";

const PHONE = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

async function talk(channel) {
  const bob = await bot("Bob Baker", channel);
  const cat = await bot("Cät Ωmega", channel);
  const lines = [
    "Morning, all.",
    "The new build is on staging: https://example.org/builds/412",
    "Does it have the fix?",
    "It has, and a test that fails without it.",
    "Lovely. Then I will write to the customers today.",
  ];
  for (const [i, line] of lines.entries()) await (i % 2 ? cat : bob).channel(channel).send(line);
  return { bob, cat };
}

export default {
  async "the picture of the README"() {
    const ann = await member("Ann Archer", "magpie", { viewport: { width: 1120, height: 700 } });
    const bob = await bot("Bob Baker", "magpie");
    const cat = await bot("Cato Lund", "magpie");
    const eve = await bot("Eve Moreau", "lobby");
    await join(ann, "lobby");
    await eve.channel("lobby").send("Welcome to whoever is new today!");
    await join(ann, "releases");
    await sleep(300);
    await row(ann, "magpie").click();
    const channel = (who) => who.channel("magpie");
    await channel(bob).send("The reconnect work is in. You can pull the cable now and nothing gets lost.");
    await channel(cat).send("I did, forty times. Nothing lost, nothing twice.");
    await sees(ann, "forty times");
    await say(ann, "Lovely! Notes are here: https://example.org/notes/412");
    await ann.page.locator("#log .state.check").waitFor();
    await channel(bob).send("@Ann Archer could you look at the phone layout, too?");
    await sees(ann, "phone layout");
    await say(ann, "Doing that this afternoon.\nThe list and the conversation each get the whole screen.");
    await until(async () => (await ann.page.locator("#log .state.check").count()) === 2, "both are stored");
    const { members } = await channel(bob).memberList();
    const id = members.find((m) => m.name === "Ann Archer").id;
    await cat.user(id).send("Lunch at one?");
    await bob.user(id).send("One more thing about the tests …");
    await eve.channel("lobby").send("Coffee is ready.");
    await channel(cat).send("Dark mode already looks great.");
    await ann.page.getByRole("button", { name: "Details" }).click();
    await ann.page.locator(".members li").nth(2).waitFor();
    await row(ann, "Bob Baker").locator(".badge").waitFor();
    await sleep(400);
    await shoot(ann, "readme");
  },

  async "on a phone"() {
    const channel = fresh("project");
    await talk(channel);
    const ann = await signIn(await person(PHONE), "Ann");
    await shoot(ann, "phone-first");
    await axe(ann, "phone, nothing yet");
    await join(ann, channel);
    await sees(ann, "Lovely");
    await say(ann, "From the bus: yes!");
    await ann.page.locator("#log .state.check").waitFor();
    await shoot(ann, "phone-chat");
    await axe(ann, "phone, a conversation");
    const wide = await ann.page.evaluate(() => document.documentElement.scrollWidth);
    same(wide, 390, "the page's width");
    await ann.page.getByRole("button", { name: "Back to the list" }).click();
    await row(ann, channel).waitFor();
    await shoot(ann, "phone-list");
    await row(ann, channel).tap();
    await ann.page.locator("#composer").waitFor();
    await ann.page.locator("#log .row", { hasText: "From the bus" }).tap();
    await ann.page.getByRole("button", { name: "Recall" }).tap();
    await ann.page.locator("#ask").getByRole("button", { name: "Cancel" }).tap();
    await ann.page.getByRole("button", { name: "Details", exact: true }).tap();
    await ann.page.locator(".members", { hasText: "Bob Baker" }).waitFor();
    await shoot(ann, "phone-details");
    await axe(ann, "phone, details");
    await ann.page.getByRole("button", { name: "Close the details" }).tap();
    await ann.page.goBack();
    await row(ann, channel).waitFor();
  },

  async "in the dark"() {
    const channel = fresh("project");
    await talk(channel);
    const ann = await person({ colorScheme: "dark" });
    await shoot(ann, "dark-sign-in");
    await axe(ann, "dark, signing in");
    await signIn(ann, "Ann Archer");
    await ann.page.locator("#nothing").waitFor();
    await axe(ann, "dark, nothing yet");
    await join(ann, channel);
    await sees(ann, "Lovely");
    await say(ann, "I can read this at night.");
    await ann.page.locator("#log .state.check").waitFor();
    const ground = () => ann.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    same(await ground(), "rgb(18, 26, 32)", "the ground");
    await shoot(ann, "dark-chat");
    await axe(ann, "dark, a conversation");
    await ann.page.getByRole("button", { name: /Settings/ }).click();
    await axe(ann, "dark, settings");
    await ann.page.getByRole("radio", { name: "Light" }).check();
    same(await ground(), "rgb(255, 255, 255)", "the ground by choice");
    await ann.page.keyboard.press("Escape");
    await ann.page.reload();
    same(await ground(), "rgb(255, 255, 255)", "the choice is kept");
  },

  async "in the light, by axe"() {
    const channel = fresh("project");
    const ann = await person();
    await shoot(ann, "sign-in");
    await axe(ann, "signing in");
    await signIn(ann, "Ann");
    await ann.page.locator("#nothing").waitFor();
    await shoot(ann, "first");
    await axe(ann, "nothing yet");
    await join(ann, channel);
    const { bob } = await talk(channel);
    await sees(ann, "Lovely");
    await bob.user((await bob.channel(channel).memberList()).members.find((m) => m.name === "Ann").id).send("psst");
    await row(ann, "Bob Baker").locator(".badge").waitFor();
    await ann.page.locator("#log .row").last().hover();
    await axe(ann, "a conversation");
    for (const name of ["Join a channel", "New private message"]) {
      await ann.page.getByRole("button", { name }).click();
      await axe(ann, name);
      await shoot(ann, name.toLowerCase().replaceAll(" ", "-"));
      await ann.page.keyboard.press("Escape");
    }
  },

  async "with the keyboard alone"() {
    const ann = await person();
    const { page } = ann;
    const press = async (...keys) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    const focused = () => page.evaluate(() => document.activeElement.textContent || document.activeElement.id);
    const tabTo = async (words) => {
      for (let i = 0; i < 30; i++) {
        await press("Tab");
        const label = await page.evaluate(() => {
          const { activeElement: e } = document;
          return e === document.body ? "" : e.getAttribute("aria-label") || e.textContent;
        });
        if (label.includes(words)) return;
      }
      throw new Error(`no way to "${words}" by Tab`);
    };
    await page.keyboard.type("Ann");
    await press("Enter");
    await page.locator("#nothing").waitFor();
    await tabTo("Another channel");
    await press("Enter");
    const channel = fresh("keys");
    await page.keyboard.type(channel);
    await press("Enter");
    await page.locator("#composer textarea").waitFor();
    await page.keyboard.type("one");
    await press("Enter");
    await page.keyboard.type("two");
    await press("Shift+Enter");
    await page.keyboard.type("lines");
    await press("Enter");
    await until(async () => (await page.locator("#log .state.check").count()) === 2, "both are stored");
    same(await shown(ann), ["one", "two\nlines"], "what is shown");
    // Back to the messages, and to the tools of one.
    await press("Shift+Tab");
    await press("ArrowUp", "ArrowUp");
    same((await focused()).includes("one"), true, "the message");
    await press("ArrowRight", "ArrowRight", "Enter");
    await page.locator(".editing").waitFor();
    await press("Control+A");
    await page.keyboard.type("uno");
    await press("Enter");
    await until(async () => (await shown(ann))[0] === "uno", "the edit");
    await press("ArrowUp");
    await page.locator(".editing").waitFor();
    await press("Escape");
    await page.locator(".editing").waitFor({ state: "hidden" });
    // To another conversation and back.
    await tabTo("Join a channel");
    await press("Enter");
    await page.keyboard.type(`${channel}-too`);
    await press("Enter");
    await page.locator("#title", { hasText: `${channel}-too` }).waitFor();
    await press("Alt+ArrowDown");
    await until(async () => (await page.locator("#title").textContent()) === `#${channel}`, "the first one");
    await press("Control+k");
    await page.keyboard.type("too");
    await press("Enter");
    await until(async () => (await page.locator("#title").textContent()) === `#${channel}-too`, "the second one");
    await tabTo("Details");
    await press("Enter");
    await page.locator("#details").waitFor();
    await press("Escape");
    await page.locator("#details").waitFor({ state: "hidden" });
  },
};
