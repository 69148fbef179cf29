/**
 * The messages of the open conversation. Only a window of them is in the document: it moves as one scrolls, and while
 * one reads the newest, what leaves it at the top makes place for what comes.
 */
import { avatar, h, icon, setChildren } from "./dom.js";
import { copy } from "./notices.js";
import { because, count, day, dayOf, fullTime, nodes, people, time } from "./text.js";

const FIRST = 80; // rows that a conversation opens with
const STEP = 60; // rows that come when one scrolls to an end
const MOST = 240; // rows in the document
const NEAR = 700; // px from an end of the window, from where it moves
const BOTTOM = 60; // px from the end, within which new messages are followed
const TOGETHER = 300000; // ms: messages of one sender within that stand under one name

export class Timeline {
  #model;
  #log;
  #room = null;
  #from = 0; // the window, in the room's numbers
  #to = 0;
  #rows = new Map(); // item → {row, signature}
  #follow = true;
  #pinned = 0; // px: where the end was when it was last gone to
  #day = 0; // of the row above the one that is made
  #tools;
  #jump;
  #actions;

  /**
   * log: the scrolling element. actions: edit, recall, retry, discard and fill, each with an item; older(), seen(),
   * focus().
   */
  constructor(model, log, jump, actions) {
    this.#model = model;
    this.#log = log;
    this.#jump = jump;
    this.#actions = actions;
    this.#tools = this.#makeTools();
    log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // A finger that is lifted leaves too, before its click comes.
    const mouse = (act) => (event) => event.pointerType === "mouse" && act(event);
    log.addEventListener("pointerover", mouse((event) => this.#showTools(event.target.closest?.(".row"))));
    log.addEventListener("pointerleave", mouse(() => this.#showTools(null)));
    log.addEventListener("focusin", (event) => this.#showTools(event.target.closest(".row")));
    log.addEventListener("click", (event) => this.#showTools(event.target.closest(".row")));
    log.addEventListener("keydown", (event) => this.#key(event));
    jump.addEventListener("click", () => {
      this.toEnd();
      this.#actions.focus();
    });
    // Pictures of the keyboard, of a phone that is turned: the end stays the end.
    new ResizeObserver(() => this.#follow && this.#pin()).observe(log);
  }

  show(room) {
    this.#room = room;
    this.#rows.clear();
    this.#log.replaceChildren();
    this.#from = this.#to = 0;
    this.#follow = true;
    if (room) this.update();
  }

  get following() {
    return this.#follow;
  }

  toEnd() {
    this.#follow = true;
    this.update();
  }

  /** Brings the document in line with the room. */
  update() {
    const room = this.#room;
    if (!room) return;
    if (!room.loaded) return this.#log.replaceChildren(...this.#placeholder());
    this.#move();
    const anchor = this.#follow ? null : this.#anchor();
    const wanted = this.#wanted();
    setChildren(this.#log, wanted);
    if (this.#rows.size > 2 * MOST) this.#forget(wanted);
    if (this.#follow) this.#pin();
    else if (anchor?.row.isConnected) this.#log.scrollTop = anchor.row.offsetTop - anchor.top;
    this.#showJump();
    this.#reach();
  }

  /** What was fetched, or is fetched next, where one is already at the top: no scrolling would ask for it. */
  #reach() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    const { base, more } = this.#room;
    if (this.#follow) return void (more && scrollHeight <= clientHeight && this.#actions.older());
    if (scrollTop >= NEAR || this.#from <= base) return;
    this.#from = Math.max(base, this.#from - STEP);
    this.#to = Math.min(this.#to, this.#from + MOST);
    this.update();
  }

  // --- The window ----------------------------------------------------------------------------------------------------

  #move() {
    const { base, end } = this.#room;
    if (this.#follow) {
      this.#to = end;
      const rows = end - this.#from;
      if (this.#from < base || rows > MOST || rows < Math.min(FIRST, end - base))
        this.#from = Math.max(base, end - FIRST);
    }
    this.#to = Math.min(Math.max(this.#to, base), end);
    this.#from = Math.min(Math.max(this.#from, base), this.#to);
  }

  #scrolled() {
    if (!this.#room?.loaded) return;
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    const below = scrollHeight - scrollTop - clientHeight;
    const { base, end } = this.#room;
    const followed = this.#follow;
    this.#follow = below < BOTTOM && this.#to === end;
    // Only people scroll up. What grew by itself, as text does whose font comes late, is followed.
    if (followed && !this.#follow && scrollTop >= this.#pinned - 1) {
      this.#follow = true;
      return this.#pin();
    }
    if (scrollTop < NEAR && this.#from > base) {
      this.#from = Math.max(base, this.#from - STEP);
      if (!this.#follow) this.#to = Math.min(this.#to, this.#from + MOST);
      this.update();
    } else if (below < NEAR && this.#to < end) {
      this.#to = Math.min(end, this.#to + STEP);
      this.#from = Math.max(this.#from, this.#to - MOST);
      this.update();
    } else if (followed !== this.#follow) this.#showJump();
    if (scrollTop < NEAR && this.#from === base) this.#actions.older();
    if (this.#follow) this.#actions.seen();
  }

  /** The first row that is seen, and where it stands: it stays there while others come and go. */
  #anchor() {
    const top = this.#log.scrollTop;
    for (const row of this.#log.children)
      if (row.offsetTop + row.offsetHeight > top && row.classList.contains("row"))
        return { row, top: row.offsetTop - top };
    return null;
  }

  #pin() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#pinned = this.#log.scrollTop;
  }

  #forget(wanted) {
    const there = new Set(wanted);
    for (const [item, { row }] of this.#rows) if (!there.has(row)) this.#rows.delete(item);
  }

  #showJump() {
    const room = this.#room;
    const away = room.loaded && !this.#follow;
    this.#jump.hidden = !away;
    const words = room.unread ? `${count(room.unread, "new message")}` : "To the newest";
    if (this.#jump.lastChild.textContent !== words) this.#jump.lastChild.textContent = words;
  }

  // --- Rows ----------------------------------------------------------------------------------------------------------

  #placeholder() {
    const room = this.#room;
    if (room.failed) return [h("p", { class: "hint" }, because(room.failed))];
    if (room.kind === "channel" && !room.joined) return [];
    const lines = [60, 85, 40, 70].map((n) => h("div", { class: `ghost g${n}` }));
    return [h("div", { class: "ghosts", "aria-label": "Loading" }, ...lines)];
  }

  #wanted() {
    const room = this.#room;
    const out = [];
    if (this.#from === room.base) out.push(this.#top());
    let before = this.#from > room.base ? room.item(this.#from - 1) : null;
    this.#day = before ? dayOf(timeOf(before) ?? 0) : 0;
    for (let n = this.#from; n < this.#to; n++) {
      const item = room.item(n);
      out.push(this.#row(item, before));
      before = item;
    }
    if (this.#to === room.end)
      for (const item of room.pending) {
        if (item.shown && item.state !== "failed") continue;
        const mine = { ...item, kind: "message", sender: { id: this.#model.me, name: "" }, createdAt: item.since };
        out.push(this.#row(item, before, mine));
        before = mine;
      }
    return out;
  }

  #topRow = null;
  #top() {
    const room = this.#room;
    const title = this.#model.title(room);
    const words = room.more
      ? "Older messages are being fetched …"
      : room.begins
        ? room.kind === "channel"
          ? `This is where #${title} begins.`
          : `This is where your conversation with ${title} begins.`
        : "Older messages are not kept.";
    if (this.#topRow?.textContent !== words) this.#topRow = h("p", { class: "top", text: words });
    return this.#topRow;
  }

  #row(item, before, shown = item) {
    const isMessage = shown.kind === "message";
    const at = timeOf(shown);
    const newDay = at !== undefined && dayOf(at) !== this.#day;
    if (newDay) this.#day = dayOf(at);
    const isNew = isMessage && shown.seq !== undefined && shown.seq === this.#room.unreadFrom;
    const joined =
      isMessage && !newDay && !isNew && before?.kind === "message" && before.sender.id === shown.sender.id &&
      at - before.createdAt < TOGETHER;
    const name = isMessage ? this.#nameOf(shown) : "";
    const signature = `${item.version ?? 0} ${item.state ?? ""} ${joined} ${newDay} ${isNew} ${name}`;
    const known = this.#rows.get(item);
    if (known?.signature === signature) return known.row;
    const row = this.#make(shown, item, { joined, newDay, isNew, name });
    if (known?.row.contains(document.activeElement)) queueMicrotask(() => row.focus());
    this.#rows.set(item, { row, signature });
    row.item = item;
    return row;
  }

  #nameOf({ sender }) {
    return sender.id === this.#model.me ? "You" : (this.#model.names.get(sender.id) ?? sender.name);
  }

  #make(shown, item, look) {
    const row = h("article", { class: shown.kind === "message" ? "row" : "row quiet", tabindex: "-1" });
    const at = timeOf(shown);
    if (look.newDay) row.append(h("div", { class: "day" }, h("span", { text: day(at) })));
    if (look.isNew) row.append(h("div", { class: "new" }, h("span", { text: "New" })));
    if (shown.kind === "message") this.#makeMessage(row, shown, item, look);
    else if (shown.kind === "notice") row.append(h("p", { class: "notice" }, ...notice(shown)));
    else if (shown.kind === "omitted") row.append(this.#makeOmitted(shown));
    else row.append(h("p", { class: "notice", text: `${count(shown.to - shown.from + 1, "message")} not kept` }));
    return row;
  }

  #makeMessage(row, shown, item, { joined, name }) {
    const mine = shown.sender.id === this.#model.me;
    const at = shown.createdAt;
    row.classList.toggle("joined", joined);
    row.classList.toggle("own", mine);
    row.classList.toggle("called", !mine && !shown.recalled && this.#model.mentions(shown));
    const stamp = { datetime: new Date(at).toISOString(), title: fullTime(at), text: time(at) };
    const head = h("header", {}, h("bdi", { class: "who", text: name }), " ", h("time", stamp));
    const text = shown.recalled
      ? h("div", { class: "text gone", text: "This message was recalled" })
      : h("div", { class: "text", dir: "auto" }, ...nodes(shown.content));
    if (shown.editedAt && !shown.recalled)
      text.append(h("span", { class: "edited", title: fullTime(shown.editedAt), text: "edited" }));
    const body = h("div", { class: "body" }, head, text);
    if (mine && !shown.recalled) body.append(...this.#state(item));
    row.append(avatar(shown.sender.id, mine ? this.#model.myName : name), body);
  }

  /** What became of one's own message. */
  #state(item) {
    if (item.state === "failed") {
      const button = (text, action) => h("button", { type: "button", class: "link", text, on: { click: action } });
      const words = h("span", { text: `Not sent. ${because(item.error)} ` });
      const again = button("Try again", () => this.#actions.retry(item));
      const discard = button("Discard", () => this.#actions.discard(item));
      return [h("p", { class: "failed" }, icon("alert"), words, again, " ", discard)];
    }
    const [name, words] = item.state === "sending" ? ["clock", "Sending"] : ["check", "Stored"];
    return [h("span", { class: `state ${name}`, title: words, role: "img", "aria-label": words }, icon(name))];
  }

  #makeOmitted(item) {
    const n = item.to - item.from + 1;
    const button = h("button", { type: "button", class: "more", text: `${count(n, "more message")}: show` });
    button.addEventListener("click", async () => {
      button.disabled = true;
      this.#follow = false;
      const before = this.#room.items.length;
      await this.#actions.fill(item);
      // The window grows by what came into it.
      this.#to += Math.max(0, this.#room.items.length - before);
      this.update();
      button.disabled = false;
    });
    return h("div", { class: "omitted" }, button);
  }

  // --- What can be done with a message -------------------------------------------------------------------------------

  #makeTools() {
    const button = (name, words, click) => {
      const about = { title: words, "aria-label": words, data: { does: name } };
      return h("button", { type: "button", tabindex: "-1", ...about, on: { click } }, icon(name));
    };
    const item = () => this.#tools.parentElement?.item;
    return h(
      "div",
      { class: "tools", role: "toolbar", "aria-label": "Message" },
      button("copy", "Copy the text", () => copy(item().content, "Copied.")),
      button("edit", "Edit", () => this.#actions.edit(item())),
      button("recall", "Recall", () => this.#actions.recall(item())),
    );
  }

  #showTools(row) {
    const item = row?.item;
    if (!item || item.kind !== "message" || item.recalled) return this.#tools.remove();
    if (this.#tools.parentElement === row) return;
    const mine = item.sender.id === this.#model.me;
    for (const tool of this.#tools.children) tool.hidden = tool.dataset.does !== "copy" && !mine;
    row.append(this.#tools);
  }

  /** Arrows walk from message to message, and within one's tools. */
  #key(event) {
    const row = event.target.closest(".row");
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step) {
      const rows = [...this.#log.querySelectorAll(".row")];
      const next = row ? rows[rows.indexOf(row) + step] : step < 0 ? rows.at(-1) : undefined;
      event.preventDefault();
      if (next) {
        next.focus({ preventScroll: true });
        next.scrollIntoView({ block: "nearest" });
      } else if (step > 0) this.#actions.focus();
    } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const tools = [...this.#tools.children].filter((t) => !t.hidden);
      const at = tools.indexOf(document.activeElement) + (event.key === "ArrowRight" ? 1 : -1);
      if (!row || this.#tools.parentElement !== row) return;
      event.preventDefault();
      (tools[at] ?? row).focus();
    } else if (event.key === "End" && !event.target.closest("button")) this.toEnd();
    else if (event.key === "Escape") this.#actions.focus();
  }
}

/** When it was; undefined where that is not known. */
const timeOf = (item) => item.createdAt ?? item.at;

/** A line about people who came and went. */
function notice({ change, names }) {
  const words = {
    joined: "joined",
    left: "left",
    kicked: names[0] === "You" ? "were removed" : names.length > 1 ? "were removed" : "was removed",
    banned: names[0] === "You" ? "were banned" : names.length > 1 ? "were banned" : "was banned",
    closed: "saw the channel close",
  };
  const verb = change === "closed" && names[0] === "You" ? "left: the channel was closed" : words[change];
  return [h("bdi", { text: people(names) }), ` ${verb ?? change}`];
}
