/**
 * All that the page knows of the user's conversations, kept up by the client. Views are told of changes by "change",
 * once for all that came since the last one.
 */
import { Emitter } from "./client/index.js";
import * as keep from "./keep.js";
import { Room } from "./room.js";

const PAGE = 60; // messages of a page of history
const RESEND = 480000; // ms: for so long a repeated clientId is surely known to the server
const NAMED = 20; // of the conversations that are listed first, the peers' names are looked for
const WATCHED = 500; // users
const KEPT = 50; // conversations that the browser remembers

export class Model extends Emitter {
  rooms = new Map(); // key → Room
  names = new Map(); // user → name
  open = null; // the Room that is shown
  ready = false; // the conversations were listed
  #chat;
  #dirty = new Set();
  #scheduled = false;
  #watching = new Set();

  constructor(chat) {
    super();
    this.#chat = chat;
    for (const [id, name] of Object.entries(keep.get("names", {}))) this.names.set(id, name);
    // What was there the last time, until the server says what there is.
    for (const { key, at } of keep.get("rooms", [])) this.find(key, { at, joined: true, guessed: true });
    if (chat.state === "connected") this.#list();
    chat.on("connected", () => this.#list());
    chat.on("disconnected", () => this.#touchAll());
    chat.on("message", (message, conversation) => this.#message(message, conversation));
    chat.on("edit", ({ seq, content, editedAt }, c) => this.#change(c, seq, { content, editedAt }));
    chat.on("recall", ({ seq }, c) => this.#change(c, seq, { content: "", recalled: true }));
    chat.on("omitted", ({ from, to }, c) => this.#marker(c, "omitted", from, to));
    chat.on("gap", ({ from, to, skipped }, c) => this.#marker(c, skipped ? "omitted" : "gap", from, to));
    chat.on("read", ({ seq }, c) => this.#read(c, seq));
    chat.on("membership", (change, c) => this.#membership(change, c));
    chat.on("presence", ({ id, online }) => this.#presence(id, online));
  }

  get me() {
    return this.#chat.id;
  }

  get myName() {
    return this.#chat.name ?? "";
  }

  /** A conversation's title: for a user the name, where it is known. */
  title(room) {
    return room.kind === "channel" ? room.name : this.nameOf(room.name);
  }

  nameOf(id) {
    if (id === this.me) return `${this.myName} (you)`;
    return this.names.get(id) ?? id;
  }

  /** The users that are known here by that name, or by a part of it: for finding them. */
  known(part) {
    const wanted = part.toLowerCase();
    return [...this.names]
      .filter(([id, name]) => id !== this.me && (name.toLowerCase().includes(wanted) || id === part))
      .sort(([, a], [, b]) => a.localeCompare(b));
  }

  learn(id, name, keepIt = false) {
    if (!name || id === this.me) return;
    const known = this.names.get(id) === name;
    this.names.set(id, name);
    if (keepIt && !(known && keep.get("names", {})[id] === name)) keep.update("names", (all) => (all[id] = name));
    if (!known && this.rooms.has("@" + id)) this.touch(this.rooms.get("@" + id));
  }

  // --- Telling the views ---------------------------------------------------------------------------------------------

  /** The views are told soon: with the next frame, or a little later where nobody looks. */
  touch(room) {
    if (room) this.#dirty.add(room);
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (document.hidden) setTimeout(() => this.#tell(), 200);
    else {
      // A tab that is hidden meanwhile draws no frame.
      const late = setTimeout(() => this.#tell(), 400);
      requestAnimationFrame(() => {
        clearTimeout(late);
        this.#tell();
      });
    }
  }

  #tell() {
    if (!this.#scheduled) return;
    this.#scheduled = false;
    const dirty = this.#dirty;
    this.#dirty = new Set();
    this.emit("change", dirty);
  }

  #touchAll() {
    for (const room of this.rooms.values()) this.touch(room);
    this.touch(null);
  }

  // --- Conversations -------------------------------------------------------------------------------------------------

  room(conversation) {
    let room = this.rooms.get(conversation.key);
    if (!room) {
      room = new Room(conversation);
      room.draft = keep.get("drafts", {})[room.key] ?? "";
      this.rooms.set(room.key, room);
      this.touch(room);
    }
    return room;
  }

  /** The room of a key, "#channel" or "@user"; made where there is none, with these fields. */
  find(key, fields = {}) {
    const made = !this.rooms.has(key);
    const room = this.room(key[0] === "#" ? this.#chat.channel(key.slice(1)) : this.#chat.user(key.slice(1)));
    if (made) Object.assign(room, { joined: room.kind === "user" || room.conversation.subscribed }, fields);
    return room;
  }

  /** Which conversations there are, for the next time: no more than their names. */
  #keepRooms() {
    const newest = [...this.rooms.values()].filter((r) => r.joined && r.seq).sort((a, b) => b.at - a.at);
    keep.set("rooms", newest.slice(0, KEPT).map(({ key, at }) => ({ key, at })));
  }

  drop(room) {
    this.rooms.delete(room.key);
    if (this.ready) this.#keepRooms();
    room.clear();
    this.touch(room);
  }

  /** After each login: what there is, and what is unread, as the server knows it. */
  async #list() {
    const listed = new Set();
    let cursor;
    try {
      do {
        const page = await this.#chat.conversations({ limit: 200, cursor });
        for (const info of page.conversations) listed.add(this.#listed(info).key);
        cursor = page.cursor;
      } while (cursor !== undefined);
    } catch {
      return; // the next login asks again
    }
    for (const room of [...this.rooms.values()]) {
      if (listed.has(room.key)) continue;
      if (room.kind === "channel") room.joined = room.conversation.subscribed;
      if (room.guessed && room !== this.open && !room.pending.length) this.drop(room);
    }
    this.#keepRooms();
    const first = !this.ready;
    this.ready = true;
    this.#touchAll();
    if (first) {
      this.#resend();
      this.emit("ready");
    }
    this.#nameThem();
    this.#watch();
  }

  #listed({ channel, peerId, seq, read, unread, last }) {
    const room = this.room(channel !== undefined ? this.#chat.channel(channel) : this.#chat.user(peerId));
    room.conversation.begin(seq);
    room.joined = true;
    room.guessed = false;
    room.conversation.subscribed = channel !== undefined;
    room.seq = Math.max(room.seq, seq);
    room.readTo = Math.max(room.readTo, read);
    // unread = seq - max(read, first - 1)
    room.first = Math.max(room.first, seq - unread + 1);
    if (last) {
      this.learn(last.sender.id, last.sender.name, room.kind === "user" && last.sender.id === peerId);
      if (!room.last || last.seq >= room.last.seq) room.last = last;
      room.at = Math.max(room.at, last.createdAt);
    }
    return room;
  }

  /** Of a private conversation in which one spoke last, the list does not have the other's name. */
  async #nameThem() {
    const unnamed = [...this.rooms.values()].filter((r) => r.kind === "user" && !this.names.has(r.name));
    for (const room of unnamed.sort((a, b) => b.at - a.at).slice(0, NAMED)) {
      try {
        const { messages } = await room.conversation.history({ limit: 50 });
        const theirs = messages.findLast((m) => m.sender.id === room.name);
        if (theirs) this.learn(room.name, theirs.sender.name, true);
      } catch {
        return;
      }
    }
  }

  /** Loads a room's newest messages, once. */
  load(room) {
    if (room.loaded || (room.kind === "channel" && !room.joined)) return Promise.resolve();
    room.loading ??= this.#fetch(room, {})
      .then((page) => {
        room.loaded = true;
        room.begins = !page.more && page.first <= 1;
      })
      .catch((error) => {
        room.clear();
        throw error;
      })
      .finally(() => {
        room.loading = null;
        this.touch(room);
      });
    return room.loading;
  }

  /** Loads older ones. */
  async older(room) {
    if (!room.loaded || room.loading || !room.more) return;
    room.loading = this.#fetch(room, { before: room.oldestSeq() ?? undefined }).finally(() => (room.loading = null));
    const page = await room.loading;
    room.begins = !page.more && page.first <= 1;
    this.touch(room);
  }

  async #fetch(room, bounds) {
    const page = await room.conversation.history({ ...bounds, limit: PAGE });
    if (bounds.before === undefined) room.conversation.begin(page.last);
    this.#learnAll(room, page.messages, bounds.before !== undefined);
    room.addPage(page.messages);
    room.first = Math.max(room.first, page.first);
    room.seq = Math.max(room.seq, page.last);
    room.more = page.more;
    return page;
  }

  /** `old`: there are newer messages, and in them perhaps newer names. */
  #learnAll(room, messages, old) {
    for (const { sender } of messages)
      if (!old || !this.names.has(sender.id)) this.learn(sender.id, sender.name, room.kind === "user");
  }

  /** Fetches the newest of what a marker stands for. */
  async fill(room, marker) {
    const page = await room.conversation.history({ after: marker.from - 1, before: marker.to + 1, limit: 200 });
    this.#learnAll(room, page.messages, true);
    const full = page.messages.length === 200;
    room.shrink(marker, full ? page.messages[0].seq : marker.from);
    for (const m of page.messages) room.add(m);
    this.touch(room);
  }

  async join(name, { push } = {}) {
    const conversation = this.#chat.channel(name);
    const answer = await conversation.subscribe({ push, events: true });
    const room = this.room(conversation);
    if (!room.joined || !room.seq) {
      room.readTo = Math.max(room.readTo, answer.seq);
      room.seq = Math.max(room.seq, answer.seq);
    }
    room.first = Math.max(room.first, answer.first);
    room.at ||= Date.now();
    room.joined = true;
    this.#keepRooms();
    this.count(room, answer.members);
    return room;
  }

  count(room, members) {
    room.members = members;
    this.touch(room);
  }

  async leave(room) {
    await room.conversation.unsubscribe();
    this.drop(room);
  }

  /** What is up to the newest message was seen. */
  see(room) {
    if (!room.loaded || room.readTo >= room.seq) return;
    room.readTo = room.seq;
    room.mentioned = false;
    room.conversation.read(room.seq);
    this.touch(room);
  }

  // --- Presence ------------------------------------------------------------------------------------------------------

  /** Users whose presence is shown: those with whom there is a private conversation. */
  async #watch() {
    const ids = [...this.rooms.values()]
      .filter((r) => r.kind === "user" && r.name !== this.me && !this.#watching.has(r.name))
      .sort((a, b) => b.at - a.at)
      .slice(0, WATCHED - this.#watching.size)
      .map((r) => r.name);
    if (!ids.length) return;
    for (const id of ids) this.#watching.add(id);
    try {
      const online = new Set(await this.#chat.watch(ids));
      for (const id of ids) this.#presence(id, online.has(id));
    } catch {
      for (const id of ids) this.#watching.delete(id);
    }
  }

  #presence(id, online) {
    const room = this.rooms.get("@" + id);
    if (!room || room.online === online) return;
    room.online = online;
    this.touch(room);
  }

  // --- What comes ----------------------------------------------------------------------------------------------------

  #message(message, conversation) {
    const known = this.rooms.has(conversation.key);
    const room = this.room(conversation);
    const mine = message.sender.id === this.me;
    room.joined = true;
    this.learn(message.sender.id, message.sender.name, room.kind === "user");
    if (mine) {
      room.readTo = Math.max(room.readTo, message.seq);
      this.#arrived(room, message);
    }
    room.hear(message);
    if (room !== this.open) room.trim();
    if (!mine && this.mentions(message)) room.mentioned = true;
    if (!known && room.kind === "user") this.#watch();
    this.touch(room);
    this.emit("heard", room, message);
  }

  /** Whether the message names the user: "@Ann". */
  mentions({ content }) {
    const at = content.toLowerCase().indexOf("@" + this.#chat.name.toLowerCase());
    return at >= 0 && !/[\p{L}\p{N}_]/u.test(content[at + 1 + this.#chat.name.length] ?? " ");
  }

  #change(conversation, seq, fields) {
    const room = this.rooms.get(conversation.key);
    if (!room) return;
    room.change(seq, fields);
    this.touch(room);
  }

  #marker(conversation, kind, from, to) {
    const room = this.room(conversation);
    if (room.loaded) room.addMarker(kind, from, to);
    else room.seq = Math.max(room.seq, to);
    this.touch(room);
  }

  #read(conversation, seq) {
    const room = this.rooms.get(conversation.key);
    if (!room) return;
    room.readTo = Math.max(room.readTo, seq);
    if (room.readTo >= room.seq) room.mentioned = false;
    this.touch(room);
  }

  #membership({ id, name, change, members }, conversation) {
    if (id === this.me) {
      const room = this.room(conversation);
      room.joined = change === "joined";
      room.members = members;
      if (change === "left" && room !== this.open) return this.drop(room);
      if (change !== "joined") this.#notice(room, change, "You");
      room.at ||= Date.now();
      return this.touch(room);
    }
    const room = this.rooms.get(conversation.key);
    if (!room) return;
    this.learn(id, name);
    this.#notice(room, change, name);
    this.count(room, members);
    this.emit("members", room);
  }

  /** What comes while the messages are still being fetched is shown too: who looks at a room was there. */
  #notice(room, change, name) {
    if (room.loaded || room.loading || room === this.open) room.addNotice(change, name, Date.now());
  }

  // --- Sending -------------------------------------------------------------------------------------------------------

  send(room, content) {
    const clientId = crypto.randomUUID?.() ?? `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
    const item = { content, clientId, since: Date.now(), state: "sending" };
    room.pending.push(item);
    room.at = Date.now();
    this.#keepOutbox(room, item);
    this.#send(room, item);
  }

  async #send(room, item) {
    item.state = "sending";
    item.version = (item.version ?? 0) + 1;
    this.touch(room);
    try {
      const sent = await room.conversation.send(item.content, { clientId: item.clientId });
      this.#gone(room, item);
      const sender = { id: this.me, name: this.#chat.name };
      // Pushed to the others only: in private conversations, and where the channel's push mode is "none".
      if (sent.seq) room.hear({ ...sent, content: item.content, sender });
      room.readTo = Math.max(room.readTo, sent.seq);
    } catch (error) {
      if (error.code === "closed") return; // it stays in the outbox for the next time
      item.state = "failed";
      item.error = error;
      item.version++;
    }
    this.touch(room);
  }

  retry(room, item) {
    if (item.state === "failed") this.#send(room, item);
  }

  discard(room, item) {
    this.#gone(room, item);
    this.touch(room);
  }

  /** One's own message came back before its answer: what waited is no longer shown beside it. */
  #arrived(room, message) {
    const first = room.pending[0];
    if (first && first.state === "sending" && first.content === message.content) first.shown = true;
  }

  #gone(room, item) {
    const at = room.pending.indexOf(item);
    if (at >= 0) room.pending.splice(at, 1);
    keep.update("outbox", (all) => delete all[item.clientId]);
  }

  #keepOutbox(room, { content, clientId, since }) {
    keep.update("outbox", (all) => (all[clientId] = { key: room.key, content, since }));
  }

  /** What an earlier page could not send. While the server knows a clientId, a repeat is no second message. */
  #resend() {
    for (const [clientId, { key, content, since }] of Object.entries(keep.get("outbox", {}))) {
      const room = this.find(key);
      if (room.pending.some((p) => p.clientId === clientId)) continue;
      const item = { content, clientId, since, state: "failed" };
      room.pending.push(item);
      room.at = Math.max(room.at, since);
      if (Date.now() - since < RESEND) this.#send(room, item);
      else item.error = new Error("whether it was stored is not known: the page was closed meanwhile");
    }
  }

  keepDraft(room, text) {
    room.draft = text;
    keep.update("drafts", (all) => {
      if (text) all[room.key] = text;
      else delete all[room.key];
    });
    this.touch(room);
  }
}
