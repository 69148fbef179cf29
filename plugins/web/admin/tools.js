/** Messages with recall, `why`, scripts, announcements, the log. */
import { run } from "./api.js";
import { h } from "./dom.js";
import { ask, button, bytes, facts, link, number, order, page, shown, table, when } from "./parts.js";

/** The newest messages of a conversation: ["channel", NAME] or ["user", A, B]. */
export function messages(conversation) {
  const place = h("div");
  const load = async () => {
    let list;
    try {
      list = await run("history", ...conversation, "limit", 50);
    } catch (e) {
      place.replaceChildren(h("p", { class: "error empty", text: e.message }));
      return;
    }
    const recall = (row) =>
      ask({
        title: "Recall this message?",
        text: "Its content is gone for everybody, for good.",
        yes: "Recall",
        danger: true,
        act: () => run("recall", ...conversation, row.seq),
      });
    const columns = [
      { key: "seq", label: "Seq", number: true, show: (v) => String(v) },
      { key: "createdAt", label: "When", show: when },
      { key: "sender", label: "From", show: (v) => link("user", v) },
      {
        key: "content",
        label: "Content",
        show: (v) =>
          v === null ? h("i", { class: "none", text: "recalled" }) : h("bdi", { class: "content", text: v }),
      },
      { key: "id", label: "Id", show: (v) => h("code", { text: v }) },
      {
        key: "",
        label: "",
        show: (_, row) => row.content !== null && button("Recall…", async () => (await recall(row)) && load()),
      },
    ];
    place.replaceChildren(table("Messages", columns, list.reverse(), "There are no messages."));
  };
  load();
  return place;
}

/** What became of one message for one receiver. */
export function why(query, go) {
  const result = h("div", { class: "stack", role: "status" });
  const [user, message] = [query.get("user") ?? "", query.get("message") ?? ""];
  const field = (name, label, value, more) =>
    h(
      "label",
      {},
      label,
      h("input", { name, value, required: true, autocomplete: "off", spellcheck: "false", ...more }),
    );
  const form = h(
    "form",
    { class: "card ask-why" },
    field("user", "Receiver's id", user, { maxlength: 64 }),
    field("message", "Message id", message, { inputmode: "numeric", maxlength: 19, placeholder: "19 digits" }),
    h("button", { type: "submit", class: "primary", text: "Why?" }),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go("why", new URLSearchParams([...new FormData(form)].map(([k, v]) => [k, v.trim()])));
  });
  const load = async () => {
    if (!user || !message) return;
    try {
      const { verdict, ...rest } = await run("why", user, message);
      const name = (k) => k[0].toUpperCase() + k.slice(1);
      const value = (k, v) =>
        ["stored", "pushed", "acknowledged", "queued", "written"].includes(k) && v > 1e12 ? when(v) : v;
      result.replaceChildren(
        h("p", { class: "verdict", text: verdict }),
        facts(Object.entries(rest).map(([k, v]) => [name(k), value(k, v)])),
      );
    } catch (e) {
      result.replaceChildren(h("p", { class: "error", text: e.message }));
    }
  };
  const hint = h("p", {
    class: "hint",
    text: "What happened to a message for one receiver. Message ids stand on the pages of channels and users.",
  });
  return { nodes: page("Why", hint, form, result), tick: load };
}

export function scripts() {
  const place = h("div", { class: "card flush" });
  const load = async () => {
    const list = await run("script", "list");
    const columns = [
      { key: "name", label: "Script" },
      { key: "state", label: "State" },
      { key: "hooks", label: "Hooks", number: true },
      { key: "calls", label: "Calls", number: true, show: number },
      { key: "cpu_ms", label: "CPU", number: true, show: (v) => `${number(v)} ms` },
      {
        key: "each",
        label: "Per call",
        number: true,
        show: (_, r) => (r.calls ? `${number((r.cpu_ms * 1000) / r.calls)} µs` : shown(null)),
      },
      { key: "memory", label: "Memory", number: true, show: bytes },
      { key: "errors", label: "Errors", number: true },
      { key: "kills", label: "Stopped", number: true },
      {
        key: "",
        label: "",
        show: (_, r) =>
          button(r.state === "disabled" ? "Enable" : "Disable", () =>
            order(() => run("script", r.state === "disabled" ? "enable" : "disable", r.name), load),
          ),
      },
    ];
    place.replaceChildren(table("Scripts", columns, list, "No script is loaded."));
  };
  const tools = h(
    "div",
    { class: "tools-row" },
    button("Reload all", () => order(() => run("script", "reload"), load)),
    button("Refresh", load),
  );
  return { nodes: page("Scripts", tools, place), tick: load, each: 5000 };
}

export function log() {
  const lines = h("div", {
    class: "log",
    role: "log",
    "aria-live": "off",
    tabindex: "0",
    "aria-label": "The log's newest lines",
  });
  const field = h("input", {
    type: "search",
    placeholder: "Lines with …",
    "aria-label": "Show lines with",
    autocomplete: "off",
    spellcheck: "false",
  });
  let all = [];
  let drawn = null;
  const draw = () => {
    const words = field.value.trim().toLowerCase();
    const wanted = all.filter((line) => line.toLowerCase().includes(words));
    const key = JSON.stringify(wanted);
    if (key === drawn) return;
    drawn = key;
    const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    const level = (line) =>
      /^\S+ (debug|info|warn|error)\b|"level":"(debug|info|warn|error)"/u.exec(line)?.slice(1).find(Boolean) ?? "info";
    lines.replaceChildren(...wanted.map((line) => h("p", { class: level(line), text: line })));
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  };
  field.addEventListener("input", draw);
  const tick = async () => {
    all = await run("log", "tail", 200);
    draw();
  };
  return { nodes: page("Log", h("div", { class: "find" }, field), lines), tick, each: 2000 };
}

export function announceDialog() {
  return ask({
    title: "Announce",
    text: "Every connection of this server is told at once. It is not kept.",
    fields: [{ name: "text", label: "Text", required: true }],
    yes: "Announce",
    act: ({ text }) => run("announce", text),
  });
}
