/** The list of conversations. Its rows stay what they are; only what changed is touched. */
import { avatar, h, icon, setAttribute, setChildren, setText } from "./dom.js";
import { count, when } from "./text.js";

const EVERY = 200; // ms between two updates at most

export class Sidebar {
  #model;
  #list;
  #filter;
  #none;
  #rows = new Map(); // room → its parts
  #timer = null;
  #told = 0;

  constructor(model, { list, filter, none }) {
    this.#model = model;
    this.#list = list;
    this.#filter = filter;
    this.#none = none;
    filter.addEventListener("input", () => this.update());
    filter.addEventListener("keydown", (event) => this.#filterKey(event));
    list.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Soon; not for every message. */
  update() {
    this.#timer ??= setTimeout(() => this.#draw(), Math.max(0, this.#told + EVERY - Date.now()));
  }

  #wanted() {
    const part = this.#filter.value.trim().replace(/^[#@]/u, "").toLowerCase();
    return [...this.#model.rooms.values()]
      .filter((room) => room.joined || room === this.#model.open || room.pending.length)
      .filter((room) => !part || this.#model.title(room).toLowerCase().includes(part))
      .sort((a, b) => b.at - a.at || (a.key < b.key ? -1 : 1));
  }

  #draw() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#told = Date.now();
    const rooms = this.#wanted();
    const focused = document.activeElement;
    setChildren(
      this.#list,
      rooms.map((room) => this.#row(room)),
    );
    if (this.#list.contains(focused) && document.activeElement !== focused) focused.focus({ preventScroll: true });
    for (const room of this.#rows.keys()) if (!this.#model.rooms.has(room.key)) this.#rows.delete(room);
    this.#none.hidden = rooms.length > 0 || !this.#model.ready;
    setText(this.#none, this.#filter.value ? "Nothing of that name." : "No conversations yet.");
  }

  #row(room) {
    let row = this.#rows.get(room);
    if (!row) this.#rows.set(room, (row = this.#make(room)));
    const title = this.#model.title(room);
    if (row.title !== title || row.pictured !== title) this.#picture(row, room, title);
    const { unread } = room;
    setText(row.preview, this.#preview(room));
    setText(row.time, room.at ? when(room.at) : "");
    setText(row.badge, unread > 999 ? "999+" : unread ? String(unread) : "");
    setText(row.spoken, unread ? `, ${count(unread, "unread message")}` : "");
    row.badge.hidden = !unread;
    row.badge.classList.toggle("called", room.mentioned || room.kind === "user");
    row.item.classList.toggle("unread", unread > 0);
    row.dot.hidden = room.online !== true;
    setAttribute(row.link, "aria-current", room === this.#model.open ? "page" : null);
    return row.item;
  }

  #make(room) {
    const parts = {
      picture: h("span", { class: "picture" }),
      name: h("bdi", { class: "name" }),
      preview: h("span", { class: "preview", dir: "auto" }),
      time: h("span", { class: "time" }),
      badge: h("span", { class: "badge", "aria-hidden": "true" }),
      spoken: h("span", { class: "spoken" }),
      dot: h("span", { class: "dot", role: "img", "aria-label": "online" }),
    };
    const lines = h(
      "span",
      { class: "lines" },
      h("span", { class: "line" }, parts.name, parts.spoken, parts.time),
      h("span", { class: "line" }, parts.preview, parts.badge),
    );
    parts.link = h("a", { href: address(room) }, parts.picture, lines);
    parts.item = h("li", {}, parts.link);
    return parts;
  }

  #picture(row, room, title) {
    row.pictured = title;
    setText(row.name, title);
    const name = room.name === this.#model.me ? this.#model.myName : title;
    const hash = () => h("span", { class: "avatar channel" }, icon("hash"));
    const picture = room.kind === "user" ? avatar(room.name, name) : hash();
    row.picture.replaceChildren(picture, row.dot);
  }

  #preview(room) {
    if (room.draft && room !== this.#model.open) return `Draft: ${room.draft}`;
    const waiting = room.pending.findLast((p) => !p.shown || p.state === "failed");
    if (waiting) return `${waiting.state === "failed" ? "Not sent" : "Sending"}: ${waiting.content}`;
    if (!room.joined) return "You are not in it";
    if (!room.last) return room.kind === "channel" && !room.guessed ? "No messages yet" : "";
    const { sender, content, recalled } = room.last;
    const text = recalled ? "recalled a message" : content.slice(0, 200);
    if (sender.id === this.#model.me) return `You: ${text}`;
    return room.kind === "channel" ? `${sender.name}: ${text}` : text;
  }

  // --- Keys ----------------------------------------------------------------------------------------------------------

  #filterKey(event) {
    if (event.key === "Enter" || event.key === "ArrowDown") this.#draw(); // what was typed just now counts
    const first = this.#list.querySelector("a");
    if (event.key === "Enter" && first) first.click();
    else if (event.key === "ArrowDown" && first) first.focus();
    else if (event.key === "Escape") this.#filter.value = "";
    else return;
    event.preventDefault();
    if (event.key !== "ArrowDown") this.#filter.value = "";
    this.update();
  }

  #key(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step) return;
    const links = [...this.#list.querySelectorAll("a")];
    const next = links.indexOf(document.activeElement) + step;
    event.preventDefault();
    (links[next] ?? (next < 0 ? this.#filter : links.at(-1))).focus();
  }

  /** The conversation above or below the open one. */
  beside(step) {
    const rooms = this.#wanted();
    return rooms[rooms.indexOf(this.#model.open) + step];
  }
}

/** A conversation's address on the page. */
export function address(room) {
  return `#/${room.kind}/${encodeURIComponent(room.name)}`;
}

/** The key of the conversation that an address names; null: none. */
export function addressed(hash) {
  const found = /^#\/(channel|user)\/(.+)$/u.exec(hash);
  if (!found) return null;
  try {
    return (found[1] === "channel" ? "#" : "@") + decodeURIComponent(found[2]);
  } catch {
    return null;
  }
}
