import { Conversation, sleep } from "./conversation.js";
import { Emitter } from "./emitter.js";
import { MagpieError } from "./error.js";
import { Link } from "./link.js";

const LOGIN = 1, INBOX = 7, ACKNOWLEDGE = 8, CONVERSATIONS = 10, PRESENCE = 12, BLOCK = 15, LOGOUT = 16, WATCH = 18;

const DEFAULTS = {
  name: undefined,
  token: undefined,
  getToken: undefined,
  device: undefined,
  binary: false,
  positions: {},
  acknowledge: true,
  fillMerged: false,
  catchUp: 1000,
  jitter: 200,
  minDelay: 500,
  maxDelay: 20000,
  timeout: 10000,
  pingEvery: 25000,
  retryFor: 480000,
};

/** A user's connection to a Magpie server, made again whenever it is lost. index.d.ts says what each option means. */
export class Magpie extends Emitter {
  #url;
  #link = null;
  #conversations = new Map(); // key → Conversation
  #waiting = []; // calls until there is a connection: {go, reject, timer}
  #connecting = null; // {promise, resolve, reject} of connect()
  #attempts = 0;
  #timer = null;
  #retryAfter = 0;
  #watched = new Set();
  #acks = new Set();
  #ackTimer = null;
  #inbox = null; // the promise of a fetch under way
  #inboxAgain = false;
  #inboxRead = false; // whether all that waits in it has been received here
  #clients = 0;
  #prefix = Math.random().toString(36).slice(2, 10) + Date.now().toString(36);
  #online = () => this.#hurry();

  constructor(url, options = {}) {
    super();
    for (const key of Object.keys(options))
      if (!(key in DEFAULTS) && key !== "WebSocket") throw new TypeError(`Magpie has no option "${key}"`);
    this.#url = url;
    this.options = { WebSocket: globalThis.WebSocket, ...DEFAULTS, ...options };
    if (!this.options.WebSocket) throw new TypeError("there is no WebSocket here: give one as options.WebSocket");
    this.state = "idle"; // "connecting", "connected", "waiting", "closed"
    this.id = this.limits = null;
    this.name = this.options.name ?? null;
    this.token = this.options.token ?? null;
    for (const key of Object.keys(this.options.positions)) {
      if (key[0] === "#") this.channel(key.slice(1));
      else this.user(key.slice(1));
    }
  }

  // --- The connection ----------------------------------------------------------------------------------------------

  /**
   * Resolves at the first login. It rejects when the server refuses the user; anything else is tried again. While the
   * next attempt is waited for, a call makes that at once.
   */
  connect() {
    if (this.state === "closed") return Promise.reject(new MagpieError("closed", "the client is closed"));
    if (!this.#connecting) {
      const c = (this.#connecting = {});
      c.promise = new Promise((resolve, reject) => Object.assign(c, { resolve, reject }));
      c.promise.catch(() => {});
      globalThis.addEventListener?.("online", this.#online);
      this.#open();
    }
    this.#hurry();
    return this.#connecting.promise;
  }

  /** Ends it for good. What was sent and not answered is rejected with "closed". */
  close() {
    this.#finish(new MagpieError("closed", "the client was closed"));
  }

  /** Ends all of the user's tokens, then closes. */
  async logout() {
    await this.call(LOGOUT, {});
    this.token = null;
    this.close();
  }

  #setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.emit("state", state);
  }

  #open() {
    clearTimeout(this.#timer);
    this.#setState("connecting");
    const handlers = {
      open: () => this.#login(link),
      push: (action, body) => link === this.#link && this.#push(action, body),
      end: (error) => this.#ended(link, error),
    };
    let link;
    try {
      link = this.#link = new Link(this.#url, this.options, handlers);
    } catch (error) {
      this.#finish(error); // an address that is none
    }
  }

  #hurry() {
    if (this.state === "waiting") this.#open();
  }

  async #login(link) {
    try {
      if (this.options.getToken) this.token = await this.options.getToken();
      const body = { accept: ["merge"] };
      if (this.token) body.token = this.token;
      if (this.options.name !== undefined && (!this.token || this.id === null)) body.name = this.options.name;
      if (this.options.device !== undefined) body.device = this.options.device;
      this.#loggedIn(await link.request(LOGIN, body));
    } catch (error) {
      if (link !== this.#link) return;
      const passing = ["disconnected", "timeout", "rate_limited", "unavailable", "internal"];
      if (error instanceof MagpieError && !passing.includes(error.code)) return this.#finish(error);
      if (!(error instanceof MagpieError)) this.emit("error", error); // getToken() failed: it may work the next time
      this.#retryAfter = error.retryAfter || 0;
      link.end("disconnected", error.message);
    }
  }

  #loggedIn({ id, name, token, inbox, limits }) {
    const again = this.id !== null;
    Object.assign(this, { id, name, limits, token: token ?? this.token });
    this.#attempts = this.#retryAfter = 0;
    this.#setState("connected");
    if (token) this.emit("token", token);
    this.emit("connected", { again, inbox });
    this.#connecting.resolve(this);
    if (inbox) this._fetchInbox();
    else this.#inboxIsRead();
    if (this.#watched.size) this.#watch([...this.#watched], true).catch(() => {});
    for (const { go, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer);
      go();
    }
    if (this.#conversations.size) this.#catchUp();
    for (const c of this.#conversations.values()) c._pump();
    this.#scheduleAcks();
  }

  #ended(link, error) {
    if (link !== this.#link) return;
    this.#link = null;
    this.#inboxRead = false;
    if (this.state === "closed") return;
    const { minDelay, maxDelay } = this.options;
    const least = Math.min(maxDelay, minDelay * 2 ** Math.min(this.#attempts++, 16)) * (0.5 + Math.random() / 2);
    const delay = Math.max(least, this.#retryAfter);
    this.#retryAfter = 0;
    this.#setState("waiting");
    this.emit("disconnected", { error, delay });
    if (this.state === "waiting") this.#timer = setTimeout(() => this.#open(), delay);
  }

  #finish(error) {
    if (this.state === "closed") return;
    this.#setState("closed");
    clearTimeout(this.#timer);
    clearTimeout(this.#ackTimer);
    globalThis.removeEventListener?.("online", this.#online);
    for (const { reject, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer);
      reject(error);
    }
    for (const c of this.#conversations.values()) c._close(error);
    this.#connecting?.reject(error);
    const link = this.#link;
    this.#link = null;
    link?.end(error.code, error.message);
    if (error.code !== "closed") this.emit("error", error);
    this.emit("closed", error);
  }

  // --- Requests ----------------------------------------------------------------------------------------------------

  /**
   * Any action. It waits for a connection; the connection's loss while it is under way rejects it with "disconnected",
   * since whether it took effect is not known then.
   */
  call(action, body = {}) {
    if (this.state === "connected") return this.#link.request(action, body);
    if (this.state === "closed") return Promise.reject(new MagpieError("closed", "the client is closed"));
    return new Promise((resolve, reject) => {
      const item = { reject };
      item.timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(item), 1);
        reject(new MagpieError("timeout", "there was no connection in time"));
      }, this.options.timeout);
      item.go = () => this.call(action, body).then(resolve, reject);
      this.#waiting.push(item);
    });
  }

  /** The same, but it fails at once without a connection. */
  _request(action, body) {
    if (this.state !== "connected") return Promise.reject(new MagpieError("disconnected", "there is no connection"));
    return this.#link.request(action, body);
  }

  channel(name) {
    return this.#conversation("channel", name);
  }

  user(id) {
    return this.#conversation("user", id);
  }

  #conversation(kind, name) {
    const made = new Conversation(this, kind, String(name));
    const known = this.#conversations.get(made.key);
    if (known) return known;
    made.last = this.options.positions[made.key] ?? null;
    this.#conversations.set(made.key, made);
    return made;
  }

  /** The newest seqs that were told, for options.positions of a later client: nothing is lost or doubled between. */
  positions() {
    const entries = [...this.#conversations.values()].filter((c) => c.last !== null).map((c) => [c.key, c.last]);
    return { ...this.options.positions, ...Object.fromEntries(entries) };
  }

  /** A page of the user's conversations, the newest activity first. */
  conversations({ limit, cursor } = {}) {
    const body = {};
    if (limit !== undefined) body.limit = limit;
    if (cursor !== undefined) body.cursor = cursor;
    return this.call(CONVERSATIONS, body);
  }

  async presence(ids) {
    return (await this.call(PRESENCE, { ids })).online;
  }

  /** Presence changes of these users come as "presence", over later connections too. Returns who is online now. */
  async watch(ids) {
    for (const id of ids) this.#watched.add(id);
    return this.#watch(ids, true);
  }

  async unwatch(ids) {
    for (const id of ids) this.#watched.delete(id);
    await this.#watch(ids, false);
  }

  async #watch(ids, watch) {
    const online = [];
    for (let i = 0; i < ids.length; i += 100)
      online.push(...(await this.call(WATCH, { ids: ids.slice(i, i + 100), watch })).online);
    return online;
  }

  async block(id, blocked = true) {
    await this.call(BLOCK, { id, blocked });
  }

  _clientId() {
    return `${this.#prefix}-${++this.#clients}`;
  }

  // --- Pushes ------------------------------------------------------------------------------------------------------

  #push(action, body) {
    const of = () => this.#conversation(body.channel !== undefined ? "channel" : "user", body.channel ?? body.peerId);
    const pushes = {
      0: () => this.emit("error", new MagpieError(body.error?.code ?? "bad_request", body.error?.message)),
      101: () => this.user(this.#peer(body))._receive(body),
      102: () => this.#heard(body.channel)._receive(body),
      103: () => this._fetchInbox(),
      104: () => this.#heard(body.channel)._receiveSlice(body),
      105: () => this.#closing(body),
      106: () => this.emit("announcement", body),
      107: () => this.#heard(body.channel)._behind(body.seq),
      108: () => (body.inbox === undefined ? this.#tellBoth(of(), "read", body) : this.emit("inbox", body.inbox)),
      109: () => of()._changed("recall", body),
      110: () => of()._changed("edit", body),
      111: () => this.emit("presence", body),
      112: () => this.channel(body.channel)._membership(body),
    };
    if (Object.hasOwn(pushes, action)) pushes[action]();
    else this.emit("push", action, body);
  }

  /** Who is sent a channel's messages is in it. */
  #heard(name) {
    const c = this.channel(name);
    c.subscribed = true;
    return c;
  }

  #peer(message) {
    return message.sender.id === this.id ? message.receiverId : message.sender.id;
  }

  #tellBoth(conversation, name, body) {
    conversation.emit(name, body);
    this.emit(name, body, conversation);
  }

  #closing(body) {
    this.emit("closing", body);
    this.#retryAfter = body.retryAfter ?? 0;
    const renewable = this.options.getToken && body.message === "token expired";
    // Who was sent away stays away; who was replaced would only replace the other one again.
    if (body.reason === "replaced" || (body.reason === "kicked" && !renewable))
      this.#finish(new MagpieError(body.reason, body.message));
  }

  // --- What was missed ---------------------------------------------------------------------------------------------

  /** After a connection was lost: which of the conversations known here have newer messages? */
  async #catchUp() {
    const unseen = new Set(this.#conversations.keys());
    const joined = [...this.#conversations.values()].filter((c) => c.subscribed);
    let cursor;
    try {
      do {
        const page = await this._request(CONVERSATIONS, cursor === undefined ? { limit: 200 } : { limit: 200, cursor });
        for (const { channel, peerId, seq } of page.conversations) {
          const key = channel !== undefined ? "#" + channel : "@" + peerId;
          const c = this.#conversations.get(key);
          unseen.delete(key);
          if (!c) continue;
          if (channel !== undefined) c.subscribed = true;
          c._behind(seq);
        }
        cursor = page.cursor;
      } while (cursor !== undefined && unseen.size);
      for (const c of joined) if (unseen.has(c.key)) c._gone();
    } catch (error) {
      if (error.code === "disconnected" || error.code === "timeout") return; // the next connection does it
      await sleep(error.retryAfter || 1000);
      if (this.state === "connected") this.#catchUp();
    }
  }

  _fetchInbox() {
    this.#inboxRead = false;
    this.#inboxAgain = true;
    this.#inbox ??= this.#readInbox().finally(() => {
      this.#inbox = null;
      if (this.#inboxAgain && this.state === "connected") this._fetchInbox();
    });
  }

  async #readInbox() {
    let after;
    while (this.#inboxAgain && this.state === "connected") {
      this.#inboxAgain = false;
      try {
        const body = { limit: 200 };
        if (after !== undefined) body.after = after;
        const { messages, more } = await this._request(INBOX, body);
        after = messages.at(-1)?.id ?? after;
        // It is in the order of arrival, which of several servers need not be that of a conversation. Ids are.
        for (const m of messages.sort((a, b) => (a.id < b.id ? -1 : 1))) this.user(this.#peer(m))._receive(m, true);
        if (more && messages.length) this.#inboxAgain = true;
        else if (!this.#inboxAgain) this.#inboxIsRead();
      } catch (error) {
        if (error.code === "disconnected" || error.code === "timeout") return; // the next login says what waits
        this.#inboxAgain = true;
        await sleep(error.retryAfter || 1000);
      }
    }
  }

  #inboxIsRead() {
    this.#inboxRead = true;
    for (const c of this.#conversations.values()) c._settle();
  }

  /** Whether the inbox may have something that was not received here. */
  get _inboxWaits() {
    return !this.#inboxRead;
  }

  /** A message was told, or had been before: it need not wait in the inbox any more. */
  _seen(conversation, message) {
    if (!this.options.acknowledge || conversation.kind !== "user" || !message.id) return;
    if (message.sender.id === this.id && conversation.name !== this.id) return;
    this.#acks.add(message.id);
    this.#scheduleAcks();
  }

  /** Takes messages out of the inbox, by id. For options.acknowledge = false. */
  acknowledge(ids) {
    for (const id of ids) this.#acks.add(id);
    this.#scheduleAcks();
  }

  #scheduleAcks() {
    if (this.#acks.size && this.state === "connected") this.#ackTimer ??= setTimeout(() => this.#tellAcks(), 50);
  }

  async #tellAcks() {
    this.#ackTimer = null;
    const ids = [...this.#acks].slice(0, 100);
    try {
      await this._request(ACKNOWLEDGE, { ids });
      for (const id of ids) this.#acks.delete(id);
      this.#scheduleAcks();
    } catch (error) {
      if (error.code === "bad_request") for (const id of ids) this.#acks.delete(id);
      else if (this.state === "connected")
        this.#ackTimer ??= setTimeout(() => this.#tellAcks(), error.retryAfter || 1000);
    }
  }
}
