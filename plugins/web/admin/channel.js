/** A channel's page. */
import { run } from "./api.js";
import { h } from "./dom.js";
import { SECONDS } from "./lists.js";
import { ask, button, facts, link, number, order, page, table } from "./parts.js";
import { messages } from "./tools.js";

const PAGE = 50;

/** A rule that can be chosen. */
function choice(name, label, options, value, then) {
  const select = h(
    "select",
    { name },
    ...options.map((o) => h("option", { value: o, text: o, selected: o === value })),
  );
  select.addEventListener("change", () => then(select.value));
  return h("label", {}, label, select);
}

/** Members, found and paged here: the console tells them all. */
function members(name, list, then) {
  const place = h("div");
  let from = 0;
  const field = h("input", {
    type: "search",
    placeholder: "A part of an id or name",
    "aria-label": "Find a member",
    autocomplete: "off",
  });
  const columns = [
    { key: "user", label: "User", show: (v) => link("user", v) },
    { key: "name", label: "Name" },
    {
      key: "",
      label: "",
      show: (_, row) =>
        h(
          "span",
          { class: "pair" },
          button("Put out", () => order(() => run("channel", name, "kick", row.user), then)),
          button(
            "Ban…",
            async () =>
              (await ask({
                title: "Ban from this channel?",
                text: "The membership ends, and subscribing is refused.",
                fields: [SECONDS],
                yes: "Ban",
                danger: true,
                act: ({ seconds }) => run("channel", name, "ban", row.user, ...(seconds ? [seconds] : [])),
              })) && then(),
          ),
        ),
    },
  ];
  const draw = () => {
    const words = field.value.trim().toLowerCase();
    const found = list.filter((m) => `${m.user} ${m.name ?? ""}`.toLowerCase().includes(words));
    const before = button("Previous", () => move(-PAGE));
    const after = button("Next", () => move(PAGE));
    before.disabled = from === 0;
    after.disabled = from + PAGE >= found.length;
    const pages = h("p", { class: "pages" }, `${number(found.length)} found`, before, after);
    pages.hidden = found.length <= PAGE;
    place.replaceChildren(table("Members", columns, found.slice(from, from + PAGE), "Nobody."), pages);
  };
  const move = (by) => {
    from += by;
    draw();
  };
  field.addEventListener("input", () => {
    from = 0;
    draw();
  });
  draw();
  return h(
    "section",
    { class: "card flush" },
    h("h2", { text: `Members: ${number(list.length)}` }),
    list.length > 10 && h("div", { class: "find inside" }, field),
    place,
  );
}

export function channelPage(name, go) {
  const place = h("div", { class: "stack" }, h("p", { class: "hint", text: "…" }));
  const again = async () => {
    const [c, rule] = await Promise.all([run("show", "channel", name), run("channel", name, "tier")]);
    const list = await run("channel", name, "members").catch((e) => e);
    const set = (what) => (value) => order(() => run("channel", name, what, value), again);
    const limit = h("input", {
      class: "narrow",
      name: "limit",
      value: rule.limit,
      "aria-label": "Messages a second: a number, or auto",
    });
    const limits = h(
      "form",
      { class: "limit" },
      h("label", {}, "Messages a second", limit),
      h("button", { type: "submit", class: "secondary", text: "Set" }),
    );
    limits.addEventListener("submit", (event) => {
      event.preventDefault();
      set("limit")(limit.value.trim() || "auto");
    });
    place.replaceChildren(
      facts([
        ["Members", c.members],
        ["Online", c.online],
        ["Tier", c.tier],
        ["Push", c.push],
        ["Messages/s", c.rate],
        ["Seqs", `${c.first} to ${c.last}`],
        ["Closed", rule.closed],
      ]),
      h(
        "section",
        { class: "card rules" },
        h("h2", { text: "Its own rules" }),
        h(
          "div",
          { class: "tools-row" },
          choice("tier", "Tier", ["auto", "small", "large"], rule.tier, set("tier")),
          choice("push", "Push", ["auto", "all", "merged", "none"], rule.push, set("push")),
          limits,
        ),
        h(
          "div",
          { class: "tools-row" },
          rule.closed
            ? button("Open again", () => order(() => run("channel", name, "open"), again))
            : button(
                "Close…",
                async () =>
                  (await ask({
                    title: "Close this channel?",
                    text: "All memberships end, and new ones are refused. The history stays.",
                    yes: "Close",
                    danger: true,
                    act: () => run("channel", name, "close"),
                  })) && again(),
              ),
          button(
            "Delete…",
            async () =>
              (await ask({
                title: "Delete this channel for good?",
                text: "Members are put out; messages, bans and rules go. This cannot be undone.",
                fields: [{ name: "again", label: "Its name once more, to be sure", required: true }],
                yes: "Delete",
                danger: true,
                act: ({ again: same }) => {
                  if (same !== name) throw new Error("That is another name.");
                  return run("channel", name, "delete");
                },
              })) && go("list/channels"),
            "secondary danger",
          ),
        ),
      ),
      list instanceof Error ? h("p", { class: "error", text: `Members: ${list.message}` }) : members(name, list, again),
      h("section", { class: "card flush" }, h("h2", { text: "Newest messages" }), messages(["channel", name])),
    );
  };
  return { nodes: page(["Channel ", h("bdi", { text: name })], place), tick: again };
}
