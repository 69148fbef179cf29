/** The lists of the console, with search and paging. */
import { run } from "./api.js";
import { h } from "./dom.js";
import { ask, button, bytes, link, number, order, page, shown, table, when } from "./parts.js";

const PAGE = 50;
const user = (v) => (v ? link("user", v) : shown(v));
const channel = (v) => (v ? link("channel", v) : shown(v));
const connection = (v) => link("connection", v);
const size = (v) => (v === null ? shown(v) : bytes(v));

/** seconds and a reason, of bans and mutes. */
export const SECONDS = {
  name: "seconds",
  label: "For how many seconds",
  type: "number",
  min: 0,
  placeholder: "until it is lifted",
};
export const REASON = {
  name: "reason",
  label: "Reason",
  maxlength: 200,
  placeholder: "told to the user; may be left out",
};

export const kickConnection = (id) =>
  ask({
    title: "Close this connection?",
    text: "The client may come back at once.",
    fields: [REASON],
    yes: "Close it",
    danger: true,
    act: ({ reason }) => run("kick", "connection", id, ...(reason ? [reason] : [])),
  });

export const banIp = (ip = "") =>
  ask({
    title: "Ban an address",
    text: "Its connections are closed, and new ones refused.",
    fields: [
      { name: "ip", label: "Address or network", value: ip, required: true, placeholder: "192.0.2.0/24" },
      SECONDS,
      REASON,
    ],
    yes: "Ban",
    danger: true,
    act: ({ ip: whom, seconds, reason }) => run("ban", "ip", whom, seconds || 0, ...(reason ? [reason] : [])),
  });

function lift(row) {
  if (row.ip) return ["unban", "ip", row.ip];
  if (row.kind.includes("mute")) return ["unmute", "user", row.user, ...(row.channel ? [row.channel] : [])];
  return row.channel ? ["channel", row.channel, "unban", row.user] : ["unban", "user", row.user];
}

/** all: there is a list of what is stored too. local: the server's list is short and takes no search. */
export const LISTS = {
  connections: {
    title: "Connections",
    search: "A part of a user, name or address",
    columns: (again) => [
      { key: "connection", label: "Connection", show: connection },
      { key: "user", label: "User", show: user },
      { key: "name", label: "Name" },
      { key: "ip", label: "Address" },
      { key: "transport", label: "By" },
      { key: "silent", label: "Silent, s", number: true },
      { key: "queued", label: "Waiting", number: true, show: size },
      {
        key: "",
        label: "",
        show: (_, row) => button("Close…", async () => (await kickConnection(row.connection)) && again()),
      },
    ],
  },
  users: {
    title: "Users",
    search: "A part of an id or name",
    all: "The beginning of an id",
    columns: (again, all) =>
      [
        { key: "user", label: "User", show: user },
        { key: "name", label: "Name" },
        !all && { key: "connections", label: "Connections", number: true },
        !all && { key: "channels", label: "Channels", number: true },
        { key: "guest", label: "Guest" },
      ].filter(Boolean),
  },
  channels: {
    title: "Channels",
    search: "A part of a name",
    all: "The beginning of a name",
    columns: (again, all) =>
      [
        { key: "channel", label: "Channel", show: channel },
        { key: "members", label: "Members", number: true },
        { key: "tier", label: "Tier" },
        !all && { key: "push", label: "Push" },
        all ? { key: "last", label: "Last seq", number: true } : { key: "rate", label: "Messages/s", number: true },
      ].filter(Boolean),
  },
  slow: {
    title: "Slow receivers",
    search: "A part of a user, name or address",
    columns: () => [
      { key: "connection", label: "Connection", show: connection },
      { key: "user", label: "User", show: user },
      { key: "ip", label: "Address" },
      { key: "queued", label: "Waiting", number: true, show: size },
      { key: "skipping", label: "Skipping" },
    ],
  },
  bans: {
    title: "Bans and mutes",
    search: "A part of a user, channel or address",
    tools: (again) => [button("Ban an address…", async () => (await banIp()) && again())],
    columns: (again) => [
      { key: "kind", label: "Kind" },
      { key: "user", label: "User", show: user },
      { key: "channel", label: "Channel", show: channel },
      { key: "ip", label: "Address" },
      { key: "until", label: "Until", show: (v) => (v ? when(v) : "it is lifted") },
      { key: "reason", label: "Reason" },
      { key: "", label: "", show: (_, row) => button("Lift", () => order(() => run(...lift(row)), again)) },
    ],
  },
  plugins: {
    title: "Plugins",
    local: true,
    columns: () => [
      { key: "name", label: "Name" },
      { key: "state", label: "State" },
      { key: "version", label: "Version" },
      { key: "memory", label: "Memory", number: true, show: size },
      { key: "summary", label: "What it does" },
    ],
  },
  hooks: {
    title: "Hooks",
    search: "A part of an event or owner",
    columns: () => [
      { key: "event", label: "Event" },
      { key: "priority", label: "Priority", number: true },
      { key: "owner", label: "Owner" },
    ],
  },
};

/** query: what stands behind the page's address: q, from, all. */
export function listing(kind, query, go) {
  const list = LISTS[kind];
  const all = list.all && query.get("all") === "1";
  const words = query.get("q") ?? "";
  const from = Math.max(0, Number(query.get("from")) || 0);
  const place = h("div", { class: "card flush" }, h("p", { class: "hint empty", text: "…" }));
  const pages = h("p", { class: "pages" });
  const to = (changes) => {
    const next = new URLSearchParams({ q: words, from, all: all ? 1 : "", ...changes });
    for (const [key, value] of [...next]) if (!value || value === "0") next.delete(key);
    go(`list/${kind}`, next);
  };

  const load = async () => {
    let rows = await run(
      "list",
      kind,
      ...(list.local ? [] : [...(all ? ["all"] : []), ...(words ? [words] : []), "limit", PAGE + 1, "skip", from]),
    );
    if (list.local)
      rows = rows
        .filter((row) => JSON.stringify(row).toLowerCase().includes(words.toLowerCase()))
        .slice(from, from + PAGE + 1);
    const more = rows.length > PAGE;
    rows = rows.slice(0, PAGE);
    place.replaceChildren(
      table(list.title, list.columns(load, all), rows, words ? "Nothing is found." : "There is none."),
    );
    const before = button("Previous", () => to({ from: Math.max(0, from - PAGE) }));
    const after = button("Next", () => to({ from: from + PAGE }));
    before.disabled = from === 0;
    after.disabled = !more;
    pages.replaceChildren(rows.length ? `${number(from + 1)} to ${number(from + rows.length)}` : "", before, after);
    pages.hidden = from === 0 && !more;
  };

  const field = h("input", {
    type: "search",
    name: "q",
    value: words,
    placeholder: (all ? list.all : list.search) ?? "Find",
    "aria-label": `Find in: ${list.title}`,
    autocomplete: "off",
    spellcheck: "false",
  });
  const search = h(
    "form",
    { role: "search", class: "find" },
    field,
    h("button", { type: "submit", class: "secondary", text: "Find" }),
  );
  search.addEventListener("submit", (event) => {
    event.preventDefault();
    to({ q: field.value.trim(), from: 0 });
  });
  const which =
    list.all &&
    h(
      "div",
      { class: "switch", role: "group", "aria-label": "Which ones" },
      ...[
        ["", kind === "users" ? "Online" : "In memory"],
        ["1", "All that are stored"],
      ].map(([value, text]) =>
        h("button", {
          type: "button",
          class: "secondary",
          "aria-pressed": String(Boolean(value) === Boolean(all)),
          text,
          on: { click: () => to({ all: value, from: 0, q: "" }) },
        }),
      ),
    );
  const open =
    (kind === "users" || kind === "channels") &&
    button(kind === "users" ? "Open by id…" : "Open by name…", () => {
      const what = kind === "users" ? "user" : "channel";
      ask({
        title: `Open a ${what}`,
        fields: [{ name: "id", label: what === "user" ? "Id" : "Name", required: true, maxlength: 64 }],
        yes: "Open",
        act: async ({ id }) => {
          await run("show", what, id);
          go(`${what}/${encodeURIComponent(id)}`);
          return null;
        },
      });
    });
  const tools = h(
    "div",
    { class: "tools-row" },
    search,
    which,
    open,
    ...(list.tools?.(load) ?? []),
    button("Refresh", () => load()),
  );
  return { nodes: page(list.title, tools, place, pages), tick: load };
}
