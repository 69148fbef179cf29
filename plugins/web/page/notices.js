/** What comes up beside the messages: the state of the connection, short words, announcements, notifications. */
import { $, h, icon, setText } from "./dom.js";
import * as keep from "./keep.js";
import { count, time } from "./text.js";

/** Short words that go away by themselves. Screen readers say them. */
export function say(text) {
  const box = $("#toasts");
  const toast = h("p", { class: "toast", text });
  // Shown anew, so that they lie above a dialog that has been opened meanwhile.
  if (box.matches(":popover-open")) box.hidePopover();
  box.showPopover();
  box.append(toast);
  $("#spoken").replaceChildren(h("p", { text }));
  while (box.children.length > 3) box.firstChild.remove();
  setTimeout(() => {
    toast.remove();
    if (!box.children.length && box.matches(":popover-open")) box.hidePopover();
  }, 3000 + text.length * 60);
}

/** Puts a text where it can be pasted from. Pages that came by http from another machine may not. */
export async function copy(text, said) {
  try {
    await navigator.clipboard.writeText(text);
    say(said);
  } catch {
    say("This browser does not let the page copy.");
  }
}

/** An announcement stays until it is put away. */
export function announce({ content, createdAt }) {
  const words = { "aria-label": "Put away", title: "Put away" };
  const close = h("button", { type: "button", class: "plain", ...words }, icon("close"));
  const box = h(
    "div",
    { class: "announcement" },
    icon("horn"),
    h("p", {}, h("strong", { text: "Announcement " }), h("time", { text: time(createdAt) }), h("br"), content),
    close,
  );
  close.addEventListener("click", () => box.remove());
  const all = $("#announcements");
  all.append(box);
  while (all.children.length > 3) all.firstChild.remove();
}

const QUICK = 1200; // ms

/** The bar that says that there is no connection, and when the next attempt comes. */
export class ConnectionBar {
  #bar = $("#connection");
  #until = 0;
  #timer = null;
  #late = null;

  constructor(chat) {
    $("button", this.#bar).addEventListener("click", () => chat.connect().catch(() => {}));
    chat.on("state", (state) => {
      clearInterval(this.#timer);
      if (state === "connected" || state === "closed") {
        clearTimeout(this.#late);
        this.#late = null;
        this.#bar.hidden = true;
      } else if (state === "connecting" && !this.#bar.hidden) this.#show("Connecting …", false);
    });
    chat.on("disconnected", ({ delay }) => {
      this.#until = Date.now() + delay;
      this.#timer = setInterval(() => this.#bar.hidden || this.#tick(), 1000);
      if (!this.#bar.hidden) return this.#tick();
      // A connection that is quickly made again is not worth a word.
      this.#late ??= setTimeout(() => this.#tick(), QUICK);
    });
  }

  #tick() {
    const left = Math.ceil((this.#until - Date.now()) / 1000);
    const words = navigator.onLine === false ? "You are offline." : "The connection was lost.";
    this.#show(left > 1 ? `${words} Next attempt in ${count(left, "second")}.` : words, true);
  }

  #show(words, waiting) {
    this.#bar.hidden = false;
    setText($("span", this.#bar), words);
    $("button", this.#bar).hidden = !waiting;
  }
}

/** What a screen reader is told of the open conversation: each message, or how many there were when there are many. */
export class Reader {
  #box = $("#spoken");
  #waiting = [];
  #timer = null;

  message(name, content) {
    this.#waiting.push(`${name}: ${content}`);
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      const said = this.#waiting.splice(0);
      const text = said.length > 3 ? count(said.length, "new message") : said.join(". ");
      this.#box.replaceChildren(h("p", { text }));
    }, 1000);
  }
}

/** The count in the title, and on the icon of the installed page. */
export class TitleCount {
  #plain = document.title;
  #shown = 0;
  #where = "";

  update(unread, where) {
    if (unread === this.#shown && where === this.#where) return;
    this.#shown = unread;
    this.#where = where;
    document.title = `${unread ? `(${unread > 99 ? "99+" : unread}) ` : ""}${where ? `${where} – ` : ""}${this.#plain}`;
    if (unread) navigator.setAppBadge?.(unread).catch(() => {});
    else navigator.clearAppBadge?.().catch(() => {});
  }
}

export const notifying = {
  get possible() {
    return typeof Notification === "function" && Notification.permission !== "denied";
  },
  get on() {
    return typeof Notification === "function" && Notification.permission === "granted" && keep.get("notify", false);
  },
  async turn(on) {
    if (on && Notification.permission !== "granted") await Notification.requestPermission();
    keep.set("notify", on && Notification.permission === "granted");
    return this.on;
  },
  async show(title, body, address, go) {
    const options = { body: body.slice(0, 300), tag: address, icon: "icon.svg", data: address };
    try {
      const notification = new Notification(title, options);
      notification.addEventListener("click", () => {
        window.focus();
        notification.close();
        go();
      });
    } catch {
      // Phones show them through the service worker only.
      const worker = await navigator.serviceWorker?.getRegistration();
      worker?.showNotification(title, options).catch(() => {});
    }
  },
};
