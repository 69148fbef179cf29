/** The page: signing in, and what holds the parts together. */
import { Magpie } from "./client/index.js";
import { Composer } from "./composer.js";
import { Details } from "./details.js";
import * as dialogs from "./dialogs.js";
import { $, avatar, setAttribute, setText } from "./dom.js";
import * as keep from "./keep.js";
import { Model } from "./model.js";
import { announce, ConnectionBar, notifying, Reader, say, TitleCount } from "./notices.js";
import { address, addressed, Sidebar } from "./sidebar.js";
import { because, count } from "./text.js";
import { Timeline } from "./timeline.js";

dialogs.applyTheme();
dialogs.prepare();

// --- Signing in ------------------------------------------------------------------------------------------------------

function client(options) {
  const url = new URL(".", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return new Magpie(url.href, options);
}

/** Shows the form until a login was right; then the chat. */
function signIn(because = "") {
  const form = $("#sign-in");
  $("#app").hidden = true;
  $("#door").hidden = false;
  $(".error", form).textContent = because;
  form.elements.name.value ||= keep.get("name", "");
  form.elements.name.focus();
}

$("#sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const { name, token } = event.target.elements;
  const options = {};
  if (name.value.trim()) options.name = name.value.trim();
  if (token.value.trim()) options.token = token.value.trim();
  if (!options.name && !options.token) {
    $("#sign-in .error").textContent = "Say how you want to be called.";
    name.focus();
    return;
  }
  begin(options);
});

/** `known`: the user was here before; then the page opens at once, connected or not. */
function begin(options, known = false) {
  const chat = client(options);
  const form = $("#sign-in");
  const button = $("[type=submit]", form);
  button.disabled = true;
  setText($("span", button), "Signing in …");
  const late = setTimeout(() => ($(".error", form).textContent = "The server does not answer; trying on …"), 4000);
  chat.on("connected", () => {
    keep.set("token", chat.token); // the server's newest, or the one that was given where it makes none
    keep.set("name", chat.name);
    keep.set("rename", null);
  });
  const done = () => {
    clearTimeout(late);
    button.disabled = false;
    setText($("span", button), "Sign in");
  };
  const open = () => {
    run(chat);
    chat.on("closed", (error) => over(error));
  };
  if (known) open();
  chat.connect().then(
    () => {
      done();
      form.elements.token.value = "";
      if (!known) open();
    },
    (error) => {
      done();
      if (known) return; // over() says it
      $(".error", form).textContent = refusal(error);
      if (error.code === "unauthorized") $("details", form).open = true;
    },
  );
}

function refusal(error) {
  if (error.code === "unauthorized") return "This was not accepted: the server wants a token, or another one.";
  if (error.code === "forbidden") return `You may not sign in. ${error.message.replace(/^\w+: /, "")}`;
  return because(error);
}

/** The client has ended for good: signed out, sent away, replaced, refused. */
function over(error) {
  if (error.code === "closed") return;
  if (error.code === "unauthorized") {
    keep.set("token", null);
    return signIn("You were signed out. Sign in again.");
  }
  $("#over").hidden = false;
  const words = {
    kicked: "You were sent away.",
    replaced: "You went on somewhere else.",
    forbidden: "You may not sign in.",
  };
  const said = error.message.replace(/^\w+:? ?/, "");
  $("#over p").textContent = `${words[error.code] ?? because(error)} ${error.code in words ? said : ""}`;
  $("#over button").focus();
}

$("#over button").addEventListener("click", () => location.reload());

// --- The chat --------------------------------------------------------------------------------------------------------

let running = false;

function run(chat) {
  if (running) return location.reload();
  running = true;
  $("#door").hidden = true;
  $("#app").hidden = false;
  new Page(chat);
}

class Page {
  #chat;
  #model;
  #sidebar;
  #timeline;
  #composer;
  #details;
  #room = null;
  #reader = new Reader();
  #title = new TitleCount();

  constructor(chat) {
    this.#chat = chat;
    const model = (this.#model = new Model(chat));
    this.#sidebar = new Sidebar(model, { list: $("#rooms"), filter: $("#filter"), none: $("#no-rooms") });
    this.#timeline = new Timeline(model, $("#log"), $("#jump"), {
      edit: (item) => this.#composer.edit(item),
      recall: (item) => this.#recall(item),
      retry: (item) => model.retry(this.#room, item),
      discard: (item) => model.discard(this.#room, item),
      fill: (item) => model.fill(this.#room, item).catch((error) => say(because(error))),
      older: () => model.older(this.#room).catch(() => {}),
      seen: () => this.#see(),
      focus: () => this.#composer.focus(),
    });
    this.#composer = new Composer(model, $("#composer"), {
      send: (text) => {
        model.send(this.#room, text);
        this.#timeline.toEnd();
      },
      edit: (item, text) => this.#edit(item, text),
      limit: () => chat.limits?.content ?? 16384,
    });
    this.#details = new Details(model, chat, $("#details"), {
      leave: (room) => this.#leave(room),
      talk: (id) => this.#go("@" + id),
      close: () => this.#toggleDetails(false),
    });
    new ConnectionBar(chat);
    this.#listen();
    this.#me(keep.get("name", ""));
    this.#buttons();
    this.#route();
    if (chat.state === "connected") this.#connected();
  }

  #listen() {
    const model = this.#model;
    model.on("change", (rooms) => this.#changed(rooms));
    model.on("heard", (room, message) => this.#heard(room, message));
    model.on("ready", () => this.#route());
    this.#chat.on("connected", () => this.#connected());
    this.#chat.on("announcement", announce);
    this.#chat.on("error", (error) => this.#chat.state !== "closed" && say(because(error)));
    window.addEventListener("hashchange", () => this.#route());
    document.addEventListener("visibilitychange", () => this.#shown());
    window.addEventListener("focus", () => this.#see());
    navigator.serviceWorker?.addEventListener("message", ({ data }) => {
      if (data?.go) location.hash = data.go;
    });
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  #buttons() {
    const open = dialogs.prepareNew(this.#model, {
      join: async (name) => this.#go((await this.#model.join(name)).key),
      talk: (id) => this.#go("@" + id),
    });
    const settings = dialogs.prepareSettings(this.#chat, {
      rename: (name) => {
        keep.set("rename", name);
        location.reload();
      },
      signOut: () => this.#signOut(),
    });
    for (const button of document.querySelectorAll("[data-open]"))
      button.addEventListener("click", () => ({ ...open, settings })[button.dataset.open]());
    $("#back").addEventListener("click", () => (location.hash = "#/"));
    $("#about").addEventListener("click", () => this.#toggleDetails(!this.#details.open));
    $("#join-this button").addEventListener("click", async () => {
      try {
        const room = await this.#model.join(this.#room.name);
        room.loaded = false;
        this.#show(room);
      } catch (error) {
        say(because(error));
      }
    });
    $("#lobby").addEventListener("click", async () => {
      try {
        this.#go((await this.#model.join("lobby")).key);
      } catch (error) {
        say(because(error));
      }
    });
  }

  #me(name) {
    setText($("#me bdi"), name);
    $("#me .picture").replaceChildren(avatar(this.#chat.id ?? "", name));
  }

  #connected() {
    this.#me(this.#chat.name);
    if (this.#room && !this.#room.loaded) this.#load(this.#room);
  }

  /** A phone that was asleep may have a connection that is dead without knowing it. */
  #shown() {
    if (document.hidden) return;
    if (this.#chat.state === "waiting") this.#chat.connect().catch(() => {});
    else if (this.#chat.state === "connected") this.#chat.call(9).catch(() => {});
    this.#timeline.update();
    this.#see();
  }

  // --- Which conversation --------------------------------------------------------------------------------------------

  #go(key) {
    const hash = address({ kind: key[0] === "#" ? "channel" : "user", name: key.slice(1) });
    if (location.hash === hash) this.#route();
    else location.hash = hash;
  }

  #route() {
    const key = addressed(location.hash);
    // A channel's link that somebody was given: until the list is there it is not known whether one is in it.
    if (key?.[0] === "#" && !this.#model.ready && !this.#model.rooms.has(key)) return this.#frame();
    this.#show(key ? this.#model.find(key) : null);
  }

  #show(room) {
    const before = this.#room;
    if (before && before !== room) before.unreadFrom = 0;
    this.#room = this.#model.open = room;
    this.#composer.show(room);
    if (room) {
      room.unreadFrom = room.unread ? Math.max(room.readTo, room.first - 1) + 1 : 0;
      this.#timeline.show(room);
      this.#load(room);
    } else this.#timeline.show(null);
    this.#frame();
    if (this.#details.open) this.#toggleDetails(Boolean(room) && matchMedia("(min-width: 1100px)").matches);
    if (before) this.#model.touch(before);
    this.#model.touch(room);
    if (room && matchMedia("(hover: hover)").matches) this.#composer.focus();
    else if (room) $("#title").focus({ preventScroll: true });
  }

  async #load(room) {
    if (!this.#model.ready) return; // #route() comes again
    try {
      room.failed = null;
      if (room.kind === "channel" && room.joined && !room.conversation.events)
        await this.#model.join(room.name);
      await this.#model.load(room);
    } catch (error) {
      if (error.code === "not_found" && room.kind === "user") room.loaded = room.begins = true;
      else if (error.code !== "disconnected" && error.code !== "timeout") room.failed = error;
      this.#model.touch(room);
    }
    if (room === this.#room) this.#see();
  }

  #toggleDetails(on) {
    if (on && this.#room) this.#details.show(this.#room);
    else this.#details.hide();
    setAttribute($("#about"), "aria-expanded", String(this.#details.open));
    document.body.classList.toggle("with-details", this.#details.open);
  }

  // --- What the views show -------------------------------------------------------------------------------------------

  #changed(rooms) {
    this.#sidebar.update();
    if (!this.#room) this.#frame();
    if (rooms.has(this.#room)) {
      if (!this.#model.rooms.has(this.#room.key)) return void (location.hash = "#/");
      this.#timeline.update();
      this.#frame();
      this.#see();
      if (this.#timeline.following) this.#room.trim();
    }
    let unread = 0;
    for (const room of this.#model.rooms.values()) if (room.joined) unread += room.unread;
    this.#title.update(unread, this.#room ? this.#name(this.#room) : "");
  }

  #name(room) {
    return (room.kind === "channel" ? "#" : "") + this.#model.title(room);
  }

  /** What stands around the messages. */
  #frame() {
    const room = this.#room;
    document.body.classList.toggle("in-room", Boolean(room));
    document.body.classList.toggle("empty", this.#model.ready && !this.#model.rooms.size);
    $("#nothing").hidden = Boolean(room) || !this.#model.ready;
    $("#later").hidden = Boolean(room) || this.#model.ready;
    $("#room").hidden = !room;
    if (!room) return;
    setText($("#title bdi"), this.#name(room));
    const inIt = room.kind !== "channel" || room.joined;
    const known = room.members ? count(room.members, "member") : "";
    const online = room.online === null || room.name === this.#model.me ? "" : room.online ? "online" : "offline";
    setText($("#subtitle"), room.kind === "user" ? online : inIt ? known : "");
    $("#subtitle").classList.toggle("online", room.online === true);
    $("#composer").hidden = !inIt;
    $("#join-this").hidden = inIt;
    setAttribute($("#log"), "aria-label", `Messages: ${this.#name(room)}`);
  }

  /** What is seen is read. */
  #see() {
    const seen = !document.hidden && document.hasFocus() && this.#timeline.following;
    if (this.#room && seen) this.#model.see(this.#room);
  }

  #heard(room, message) {
    if (message.sender.id === this.#model.me) return;
    const away = document.hidden || !document.hasFocus();
    // The line "New" stands where one looked away.
    if (room === this.#room && away && room.readTo >= room.unreadFrom) room.unreadFrom = message.seq;
    if (room === this.#room && !away) this.#reader.message(message.sender.name, message.content);
    const meant = room.kind === "user" || this.#model.mentions(message);
    if (!away || !meant || !notifying.on || Date.now() - message.createdAt > 60000) return;
    const title = room.kind === "channel" ? `${message.sender.name} in #${room.name}` : message.sender.name;
    notifying.show(title, message.content, address(room), () => this.#go(room.key));
  }

  // --- What people do ------------------------------------------------------------------------------------------------

  async #edit(item, text) {
    const room = this.#room;
    try {
      const { editedAt } = await room.conversation.edit(item.seq, text);
      room.change(item.seq, { content: text, editedAt });
      this.#model.touch(room);
    } catch (error) {
      say(`Not changed. ${because(error)}`);
    }
  }

  async #recall(item) {
    const room = this.#room;
    if (!(await dialogs.ask("Recall this message?", "Its text goes for everybody.", "Recall"))) return;
    try {
      await room.conversation.recall(item.seq);
      room.change(item.seq, { content: "", recalled: true });
      this.#model.touch(room);
    } catch (error) {
      say(`Not recalled. ${because(error)}`);
    }
  }

  async #leave(room) {
    if (!(await dialogs.ask(`Leave #${room.name}?`, "You can join again at any time.", "Leave"))) return;
    this.#toggleDetails(false);
    try {
      await this.#model.leave(room);
      location.hash = "#/";
    } catch (error) {
      say(because(error));
    }
  }

  async #signOut() {
    try {
      await this.#chat.logout();
    } catch (error) {
      if (error.code !== "disconnected") return say(because(error));
    }
    keep.forget();
    location.hash = "";
    location.reload();
  }

  #key(event) {
    if (document.querySelector("dialog[open]")) return;
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      location.hash = matchMedia("(max-width: 720px)").matches ? "#/" : location.hash;
      $("#filter").focus();
      $("#filter").select();
    } else if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      const room = this.#sidebar.beside(event.key === "ArrowUp" ? -1 : 1);
      if (room) this.#go(room.key);
    } else if (plain && event.key === "Escape" && this.#details.open) this.#toggleDetails(false);
    else return;
    event.preventDefault();
  }
}

// --- The beginning ---------------------------------------------------------------------------------------------------

const token = keep.get("token");
if (token) begin({ token, ...(keep.get("rename") && { name: keep.get("rename") }) }, true);
else signIn();

if ("serviceWorker" in navigator && window.isSecureContext) {
  // The only text of the page that a browser would run: the policy lets it be this one alone.
  const path = "sw.js";
  const policy = window.trustedTypes?.createPolicy("magpie", {
    createScriptURL: (url) => {
      if (url !== path) throw new TypeError(`${url} is no script of this page`);
      return url;
    },
  });
  const script = policy ? policy.createScriptURL(path) : path;
  navigator.serviceWorker.register(script, { updateViaCache: "none" }).catch(() => {});
}
