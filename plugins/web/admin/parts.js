/** Parts that the pages are made of: tables, dialogs, short words, numbers for people. */
import { $, h } from "./dom.js";

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const number = (n) => (n >= 100000 ? short.format(n) : plain.format(n));

export const count = (n, what) => `${number(n)} ${what}${n === 1 ? "" : "s"}`;

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${plain.format(n >= 100 ? Math.round(n) : n)} ${units[i]}`;
}

export function duration(seconds) {
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [Math.floor(seconds) % 60, "s"],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(" ");
}

export function when(ms) {
  return h("time", { datetime: new Date(ms).toISOString(), text: new Date(ms).toLocaleString() });
}

export const link = (kind, id, text = id) =>
  h("a", { href: `#/${kind}/${encodeURIComponent(id)}` }, h("bdi", { text }));

/** A value for people: nothing, yes or no, a number, a text. */
export function shown(value) {
  if (value === null || value === undefined || value === "") return h("span", { class: "none", text: "–" });
  if (value === true || value === false) return value ? "yes" : "no";
  if (typeof value === "number") return plain.format(value);
  if (typeof value === "object")
    return h("bdi", {
      text: Object.entries(value)
        .map(([k, v]) => `${k} ${v}`)
        .join(", "),
    });
  return h("bdi", { text: String(value) });
}

/** Rows as a table. columns: {key, label, show(value, row), number}. name: what it is a table of. */
export function table(name, columns, rows, empty = "There is nothing.") {
  if (!rows.length) return h("p", { class: "hint empty", text: empty });
  const head = columns.map((c) =>
    h("th", { scope: "col", class: c.number && "number" }, c.label || h("span", { class: "spoken", text: "Orders" })),
  );
  const line = (row) =>
    h("tr", {}, ...columns.map((c) => h("td", { class: c.number && "number" }, (c.show ?? shown)(row[c.key], row))));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": name },
    h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows.map(line))),
  );
}

/** Names and values, side by side. */
export function facts(list) {
  const items = list.map(([name, value]) =>
    h("div", {}, h("dt", { text: name }), h("dd", {}, value instanceof Node ? value : shown(value))),
  );
  return h("dl", { class: "facts" }, ...items);
}

export function button(text, click, look = "secondary") {
  return h("button", { type: "button", class: look, text, on: { click } });
}

/** Short words that go away by themselves; screen readers say them. */
export function say(text) {
  const box = $("#toasts");
  const toast = h("p", { class: "toast", text });
  if (box.matches(":popover-open")) box.hidePopover();
  box.showPopover();
  box.append(toast);
  while (box.children.length > 3) box.firstChild.remove();
  setTimeout(
    () => {
      toast.remove();
      if (!box.children.length && box.matches(":popover-open")) box.hidePopover();
    },
    4000 + text.length * 60,
  );
}

/** What an order answered, in a few words. */
export function outcome(answer) {
  if (answer === null || answer === undefined) return "Done.";
  if (typeof answer === "string") return `Done: ${answer}.`;
  const words = Object.entries(answer).filter(([, value]) => ["number", "string", "boolean"].includes(typeof value));
  return words.length ? `Done: ${words.map(([key, value]) => `${key} ${value}`).join(", ")}.` : "Done.";
}

let dialogs = 0;

/**
 * A question before an order. fields: {name, label, type, placeholder, hint, required, options}. act(values) gives the
 * order; where it is refused, the dialog stays and says why. Resolves with whether it was done.
 */
export function ask({ title, text, fields = [], yes, danger = false, act }) {
  const id = `dialog-${++dialogs}`;
  const error = h("p", { class: "error", role: "alert" });
  const submit = h("button", { type: "submit", class: danger ? "primary risky" : "primary", text: yes });
  const input = ({ label, options, hint, ...rest }) =>
    h(
      "label",
      {},
      label,
      options
        ? h("select", rest, ...options.map(([value, words]) => h("option", { value, text: words })))
        : h("input", { autocomplete: "off", spellcheck: "false", ...rest }),
      hint && h("small", { class: "hint", text: hint }),
    );
  const form = h(
    "form",
    {},
    h("h2", { id, text: title }),
    text && h("p", { class: "hint", text }),
    ...fields.map(input),
    error,
    h(
      "p",
      { class: "buttons" },
      button("Cancel", () => dialog.close()),
      submit,
    ),
  );
  const dialog = h("dialog", { "aria-labelledby": id }, form);
  let done = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    error.textContent = "";
    try {
      const values = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
      say(outcome(await act(values)));
      done = true;
      dialog.close();
    } catch (e) {
      error.textContent = e.message;
    }
    submit.disabled = false;
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    }),
  );
}

/** Gives an order without a question; what is refused is said. */
export async function order(act, then = () => {}) {
  try {
    say(outcome(await act()));
    await then();
  } catch (e) {
    say(e.message);
  }
}

export const page = (title, ...children) => [h("h1", { tabindex: "-1" }, ...[title].flat()), ...children];
