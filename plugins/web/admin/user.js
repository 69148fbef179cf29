/** A user's page, and a connection's. */
import { run } from "./api.js";
import { h } from "./dom.js";
import { kickConnection, REASON, SECONDS } from "./lists.js";
import { ask, button, bytes, facts, link, number, order, page, shown, table, when } from "./parts.js";
import { messages } from "./tools.js";

const optional = (value) => (value ? [value] : []);

function kick(id) {
  return ask({
    title: "Kick this user?",
    text: "All connections are closed. The client may come back, unless its tokens end too.",
    fields: [
      REASON,
      {
        name: "revoke",
        label: "Tokens",
        options: [
          ["", "stay as they are"],
          ["revoke", "end: it must sign in anew"],
        ],
      },
    ],
    yes: "Kick",
    danger: true,
    act: ({ reason, revoke }) => run("kick", "user", id, ...optional(revoke), ...optional(reason)),
  });
}

function ban(id) {
  return ask({
    title: "Ban this user?",
    text: "Its connections are closed, its tokens end, and its logins are refused.",
    fields: [SECONDS, REASON],
    yes: "Ban",
    danger: true,
    act: ({ seconds, reason }) => run("ban", "user", id, seconds || 0, ...optional(reason)),
  });
}

function mute(id) {
  return ask({
    title: "Mute this user?",
    text: "Its messages are refused; it reads on.",
    fields: [{ name: "channel", label: "In which channel", maxlength: 64, placeholder: "everywhere" }, SECONDS],
    yes: "Mute",
    act: ({ channel, seconds }) => run("mute", "user", id, ...(channel ? [channel, seconds || 0] : [seconds || 0])),
  });
}

function remove(id) {
  return ask({
    title: "Delete this user for good?",
    text: "Connections, tokens and memberships end. This cannot be undone.",
    fields: [
      {
        name: "messages",
        label: "Its messages",
        options: [
          ["keep", "stay, without its name"],
          ["recall", "are recalled"],
        ],
      },
      { name: "again", label: "The id once more, to be sure", required: true },
    ],
    yes: "Delete",
    danger: true,
    act: ({ messages: what, again }) => {
      if (again !== id) throw new Error("That is another id.");
      return run("user", "delete", id, "messages", what);
    },
  });
}

/** Bans and mutes of this user alone: the list finds parts of ids. */
async function restrictions(id) {
  return (await run("list", "bans", id, "limit", 1000)).filter((b) => b.user === id);
}

export function userPage(id, go) {
  const place = h("div", { class: "stack" }, h("p", { class: "hint", text: "…" }));
  const talk = h("div");
  const again = async () => {
    const [u, bans] = await Promise.all([run("show", "user", id), restrictions(id)]);
    const then = async (asked) => (await asked) && again();
    const lifted = (words) => order(() => run(...words), again);
    const banned = bans.find((b) => !b.channel && !b.kind.includes("mute"));
    const muted = bans.find((b) => !b.channel && b.kind.includes("mute"));
    place.replaceChildren(
      facts([
        ["Id", h("code", { text: u.user })],
        ["Name", u.name],
        ["Online", u.online],
        ["Guest", u.guest],
        ["Messages that wait", u.inbox],
      ]),
      h(
        "div",
        { class: "tools-row" },
        button("Kick…", () => then(kick(id))),
        banned ? button("Lift the ban", () => lifted(["unban", "user", id])) : button("Ban…", () => then(ban(id))),
        muted ? button("Lift the mute", () => lifted(["unmute", "user", id])) : button("Mute…", () => then(mute(id))),
        button("Delete…", async () => (await remove(id)) && go("list/users"), "secondary danger"),
      ),
      h(
        "section",
        { class: "card flush" },
        h("h2", { text: "Connections" }),
        table(
          "Connections",
          [
            { key: "connection", label: "Connection", show: (v) => link("connection", v) },
            { key: "ip", label: "Address" },
            { key: "transport", label: "By" },
            { key: "device", label: "Device" },
            { key: "silent", label: "Silent, s", number: true },
            { key: "queued", label: "Waiting", number: true, show: bytes },
            { key: "", label: "", show: (_, row) => button("Close…", () => then(kickConnection(row.connection))) },
          ],
          u.connections,
          "Not online.",
        ),
      ),
      h(
        "section",
        { class: "card flush" },
        h("h2", { text: `Channels: ${number(u.channels.length)}` }),
        table(
          "Channels",
          [
            { key: "channel", label: "Channel", show: (v) => link("channel", v) },
            { key: "push", label: "Push" },
          ],
          u.channels,
          "In no channel.",
        ),
      ),
      ...(bans.length
        ? [
            h(
              "section",
              { class: "card flush" },
              h("h2", { text: "Bans and mutes" }),
              table(
                "Bans and mutes",
                [
                  { key: "kind", label: "Kind" },
                  { key: "channel", label: "Channel", show: (v) => (v ? link("channel", v) : shown("everywhere")) },
                  { key: "until", label: "Until", show: (v) => (v ? when(v) : "it is lifted") },
                  { key: "reason", label: "Reason" },
                ],
                bans,
              ),
            ),
          ]
        : []),
    );
  };
  const other = h("input", {
    name: "other",
    required: true,
    maxlength: 64,
    autocomplete: "off",
    spellcheck: "false",
    "aria-label": "Private messages with (id)",
    placeholder: "The other user's id",
  });
  const form = h("form", { class: "find" }, other, h("button", { type: "submit", class: "secondary", text: "Show" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    talk.replaceChildren(messages(["user", id, other.value.trim()]));
  });
  const private_ = h("section", { class: "card flush" }, h("h2", { text: "Private messages" }), form, talk);
  return { nodes: page(["User ", h("bdi", { text: id })], place, private_), tick: again };
}

export function connectionPage(id, go) {
  const place = h("div", { class: "stack" }, h("p", { class: "hint", text: "…" }));
  const again = async () => {
    const c = await run("show", "connection", id);
    const { user, ...rest } = c;
    place.replaceChildren(
      facts([
        ["User", user ? link("user", user) : null],
        ...Object.entries(rest).map(([k, v]) => [k[0].toUpperCase() + k.slice(1), v]),
      ]),
      h(
        "div",
        { class: "tools-row" },
        button("Close…", async () => (await kickConnection(id)) && go("list/connections")),
      ),
    );
  };
  return { nodes: page(`Connection ${id}`, place), tick: again };
}
