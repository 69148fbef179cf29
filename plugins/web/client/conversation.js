import { Emitter } from "./emitter.js";
import { MagpieError } from "./error.js";

const SEND_USER = 2, SUBSCRIBE = 3, SEND_CHANNEL = 4, HISTORY = 5, UNSUBSCRIBE = 6, READ = 11, MEMBERS = 13;
const RECALL = 14, EDIT = 17;
const PAGE = 200; // messages of a page of history at most

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * A channel or the messages with one user. Made by Magpie.channel() and Magpie.user().
 *
 * Messages are told in the order of their seqs, each once. What a jump shows to be missing is fetched before what came
 * after it is told; numbers that the server does not keep any more are told as a gap.
 */
export class Conversation extends Emitter {
  #chat;
  #held = new Map(); // seq → message that came too early
  #base = 0; // where telling began, if nobody said where: what is up to it was never told here
  #late = new Set(); // seqs up to #base that were told all the same
  #goal = 0; // the newest seq that is known of
  #filling = null; // the promise of a repair under way
  #queue = []; // sends, in order; the first may be under way
  #busy = false;
  #readTo = 0; // the newest seq that was to be marked read
  #readTold = 0;
  #readTimer = null;

  constructor(chat, kind, name) {
    super();
    this.#chat = chat;
    this.kind = kind; // "channel" or "user"
    this.name = name; // the channel's name, or the user's id
    this.key = (kind === "channel" ? "#" : "@") + name;
    this.last = null; // the newest seq that was told; null: none yet
    this.subscribed = false;
    this.push = this.tier = null;
    this.events = false;
    this.members = 0;
  }

  get #where() {
    return this.kind === "channel" ? { channel: this.name } : { peerId: this.name };
  }

  /** Sends waiting to be stored, the oldest first: {content, clientId, since}. */
  get waiting() {
    return this.#queue.map(({ content, clientId, since }) => ({ content, clientId, since }));
  }

  // --- Requests ----------------------------------------------------------------------------------------------------

  async subscribe({ push, events } = {}) {
    this.#needs("channel");
    const body = { name: this.name };
    if (push !== undefined) body.push = push;
    if (events !== undefined) body.events = events;
    const answer = await this.#chat.call(SUBSCRIBE, body);
    this.#joined(answer);
    return answer;
  }

  async unsubscribe() {
    this.#needs("channel");
    await this.#chat.call(UNSUBSCRIBE, { name: this.name });
    this.#leave();
  }

  /**
   * Resolves with {id, seq, createdAt, clientId} once the message is stored. It goes out after those sent here before,
   * again over each new connection until it is answered, and once: all attempts have one clientId.
   */
  send(content, { clientId = this.#chat._clientId(), signal } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new MagpieError("aborted", "the send was given up"));
      if (this.#chat.state === "closed") return reject(new MagpieError("closed", "the client is closed"));
      const item = { content, clientId, resolve, reject, since: Date.now(), begun: 0, tries: 0 };
      this.#queue.push(item);
      signal?.addEventListener("abort", () => this.#abort(item), { once: true });
      this._pump();
    });
  }

  async history({ before, after, limit } = {}) {
    const body = this.#where;
    for (const [key, value] of Object.entries({ before, after, limit })) if (value !== undefined) body[key] = value;
    return this.#chat.call(HISTORY, body);
  }

  /** Where nothing was told yet, telling begins behind `seq`: what is up to it is known from elsewhere. */
  begin(seq) {
    this.last ??= seq;
    this.#drain();
  }

  edit(seq, content) {
    return this.#chat.call(EDIT, { ...this.#where, seq, content });
  }

  async recall(seq) {
    await this.#chat.call(RECALL, { ...this.#where, seq });
  }

  /** Marks what is up to `seq` as read, the newest that was told if it is left out. Many calls are one request. */
  read(seq = this.last ?? 0) {
    this.#readTo = Math.max(this.#readTo, seq);
    if (this.#readTo > this.#readTold) this.#readTimer ??= setTimeout(() => this.#tellRead(), 300);
  }

  async memberList({ limit, cursor } = {}) {
    this.#needs("channel");
    const body = { name: this.name };
    if (limit !== undefined) body.limit = limit;
    if (cursor !== undefined) body.cursor = cursor;
    return this.#chat.call(MEMBERS, body);
  }

  /** The retained messages from..to, in order. For what a merged slice left out. */
  async range(from, to) {
    const messages = [];
    for (let after = from - 1; after < to; ) {
      const page = await this.history({ after, limit: Math.min(PAGE, to - after) });
      for (const m of page.messages) if (m.seq <= to) messages.push(m);
      const newest = page.messages.at(-1)?.seq ?? to;
      if (!page.more || newest <= after) break;
      after = newest;
    }
    return messages;
  }

  #needs(kind) {
    if (this.kind !== kind) throw new MagpieError("bad_request", `${this.key} is no ${kind}`);
  }

  #joined(answer) {
    const again = this.subscribed;
    Object.assign(this, { subscribed: true, push: answer.push, members: answer.members, tier: answer.tier });
    this.events = answer.events ?? false;
    if (this.last === null) this.last = answer.seq;
    else if (!again && answer.seq > this.last) this.#reach(answer.seq);
  }

  #leave() {
    this.subscribed = false;
    this.#held.clear();
  }

  async #tellRead() {
    this.#readTimer = null;
    const seq = this.#readTo;
    try {
      const { unread } = await this.#chat.call(READ, { ...this.#where, seq });
      this.#readTold = Math.max(this.#readTold, seq);
      this.emit("unread", unread);
    } catch {
      // A mark that is lost comes with the next one.
    }
  }

  // --- Sending -----------------------------------------------------------------------------------------------------

  #abort(item) {
    const at = this.#queue.indexOf(item);
    if (at < 0 || (at === 0 && this.#busy)) return; // under way: it may be stored already
    this.#queue.splice(at, 1);
    item.reject(new MagpieError("aborted", "the send was given up"));
  }

  /** Sends what waits, one after the other, so that a refused one is never overtaken by the next. */
  async _pump() {
    if (this.#busy) return;
    this.#busy = true;
    while (this.#queue.length && this.#chat.state === "connected") {
      const wait = await this.#attempt(this.#queue[0]);
      if (wait) await sleep(wait);
    }
    this.#busy = false;
  }

  /** Returns how many ms to wait before the next attempt. */
  async #attempt(item) {
    const { content, clientId } = item;
    const to = this.kind === "channel" ? { channel: this.name } : { receiverId: this.name };
    // Longer than the server remembers a clientId, a repeat could be stored twice.
    if (item.begun && Date.now() - item.begun > this.#chat.options.retryFor)
      return this.#settle(item, new MagpieError("timeout", "whether it was stored is not known"));
    item.begun ||= Date.now();
    try {
      const action = this.kind === "channel" ? SEND_CHANNEL : SEND_USER;
      const answer = await this.#chat._request(action, { ...to, content, clientId });
      this.#queue.shift();
      this.#stored(item, answer);
      item.resolve({ ...answer, clientId });
      return 0;
    } catch (error) {
      item.tries++;
      this.emit("retry", { clientId, error });
      if (error.code === "rate_limited") return error.retryAfter || 250;
      if (error.code === "disconnected" || error.code === "timeout") return 1; // the loop ends unless it is back
      if (error.code === "unavailable" || (error.code === "internal" && item.tries < 4))
        return Math.min(5000, 100 * 2 ** Math.min(item.tries, 6)) * (0.5 + Math.random() / 2);
      return this.#settle(item, error);
    }
  }

  #settle(item, error) {
    const at = this.#queue.indexOf(item);
    if (at >= 0) this.#queue.splice(at, 1);
    item.reject(error);
    this._settle();
    return 0;
  }

  /** A private message is not pushed to the connection that sent it. seq 0: a rule of the server's dropped it. */
  #stored({ content }, { id, seq, createdAt }) {
    if (this.kind !== "user" || !seq) return this._settle();
    const sender = { id: this.#chat.id, name: this.#chat.name };
    this._receive({ id, seq, createdAt, content, sender, receiverId: this.name });
  }

  // --- Receiving ---------------------------------------------------------------------------------------------------

  _receive(message, fromInbox = false) {
    const { seq } = message;
    if (this.last !== null && seq <= this.last) return this.#past(message);
    this.#held.set(seq, message);
    if (this.last !== null) return seq === this.last + 1 ? this.#drain() : this.#reach(seq);
    if (this.#early(fromInbox)) return;
    // What came before it is in the inbox, unless it was told: several servers may say that later.
    if (this.kind === "user" && seq > 1 && !fromInbox) this.#chat._fetchInbox();
    else this.#start();
  }

  #start() {
    this.last = this.#base = Math.min(...this.#held.keys()) - 1;
    this.#drain();
  }

  /** Of a message that is not above the newest told: late is better than never. */
  #past(message) {
    if (this.kind !== "user" || message.seq > this.#base || this.#late.has(message.seq))
      return this.#chat._seen(this, message);
    this.#late.add(message.seq);
    this.#announce(message);
  }

  /**
   * Whether an older message may still come of a conversation of which none was told yet: one that the inbox has, or
   * one's own that is stored and not answered.
   */
  #early(fromInbox = false) {
    return this.kind === "user" && (this.#queue.some((item) => item.begun) || (this.#chat._inboxWaits && !fromInbox));
  }

  /** A slice of messages from..to, of which some may be left out. */
  _receiveSlice({ messages, from, to, omitted }) {
    this.last ??= from - 1;
    if (from > this.last + 1 || (omitted && this.#chat.options.fillMerged)) return this.#reach(to);
    if (to <= this.last) return;
    for (const message of messages) {
      if (message.seq <= this.last) continue;
      if (message.seq > this.last + 1) this.#omit(this.last + 1, message.seq - 1);
      this.#tell(message);
    }
    if (this.last < to) {
      this.#omit(this.last + 1, to);
      this.last = to;
    }
    this.#drain();
  }

  /** The server knows of messages up to `seq`. A channel that was never heard begins there; a user, by the inbox. */
  _behind(seq) {
    const begins = this.kind === "channel" && (this.last === null || this.push === "none");
    if (begins) this.last = Math.max(seq, this.last ?? 0);
    else if (this.last !== null && seq > this.last) this.#reach(seq);
  }

  /** What came early begins the conversation, once nothing older can come. */
  _settle() {
    if (this.last === null && this.#held.size && !this.#early()) this.#start();
  }

  _changed(kind, body) {
    const held = this.#held.get(body.seq);
    if (kind === "edit" && held) Object.assign(held, { content: body.content, editedAt: body.editedAt });
    if (kind === "recall" && held) Object.assign(held, { content: "", recalled: true });
    this.emit(kind, body);
    this.#chat.emit(kind, body, this);
  }

  _membership(body) {
    this.members = body.members;
    if (body.id === this.#chat.id) {
      if (body.change === "joined") this.subscribed = true;
      else this.#leave();
    }
    this.emit("membership", body);
    this.#chat.emit("membership", body, this);
  }

  _gone() {
    if (!this.subscribed) return;
    this.#leave();
    const body = { channel: this.name, id: this.#chat.id, name: this.#chat.name, change: "left", members: 0 };
    this.emit("membership", body);
    this.#chat.emit("membership", body, this);
  }

  _close(error) {
    clearTimeout(this.#readTimer);
    for (const item of this.#queue.splice(0)) item.reject(error);
  }

  #omit(from, to) {
    this.emit("omitted", { from, to });
    this.#chat.emit("omitted", { from, to }, this);
  }

  #gap(from, to, skipped) {
    this.emit("gap", { from, to, skipped });
    this.#chat.emit("gap", { from, to, skipped }, this);
  }

  #tell(message) {
    this.last = message.seq;
    this.#held.delete(message.seq);
    this.#announce(message);
  }

  #announce(message) {
    this.emit("message", message);
    this.#chat.emit("message", message, this);
    this.#chat._seen(this, message);
  }

  #drain() {
    for (const seq of this.#held.keys()) {
      if (seq > this.last) continue;
      this.#chat._seen(this, this.#held.get(seq));
      this.#held.delete(seq);
    }
    for (let m; (m = this.#held.get(this.last + 1)); ) this.#tell(m);
    if (this.#held.size) this.#reach(Math.max(...this.#held.keys()));
  }

  #reach(seq) {
    this.#goal = Math.max(this.#goal, seq);
    this.#filling ??= this.#fill().finally(() => {
      this.#filling = null;
      if (this.#goal > this.last && this.#chat.state === "connected" && this.#readable()) this.#reach(this.#goal);
    });
  }

  #readable() {
    return this.kind === "user" || this.subscribed;
  }

  /** Fetches what lies between the newest that was told and #goal. */
  async #fill() {
    // Everybody in a busy channel sees the same jump at the same moment.
    await sleep(Math.random() * this.#chat.options.jitter);
    for (let tries = 0; this.last < this.#goal && this.#chat.state === "connected"; ) {
      const { catchUp } = this.#chat.options;
      if (this.#goal - this.last > catchUp) {
        this.#gap(this.last + 1, this.#goal - catchUp, true);
        this.last = this.#goal - catchUp;
      }
      try {
        const goal = this.#goal;
        this.#page(await this.#chat._request(HISTORY, { ...this.#where, after: this.last, limit: PAGE }), goal);
        tries = 0;
      } catch (error) {
        if (error.code === "disconnected" || error.code === "timeout") return; // the next connection asks again
        if (error.code !== "rate_limited" && error.code !== "unavailable" && ++tries > 3) {
          this.#goal = this.last; // it may not be read (any more)
          this.#held.clear();
          return this.#chat.emit("error", error);
        }
        await sleep(error.retryAfter || 500);
      }
    }
  }

  /** A page of what is above this.last, asked for when `goal` was known. */
  #page({ messages, last, more }, goal) {
    for (const message of messages) {
      if (message.seq <= this.last) continue;
      if (message.seq > this.last + 1) this.#gap(this.last + 1, message.seq - 1, false);
      this.#tell(message);
    }
    if (!more) {
      // Numbers up to `end` that were not on the page will never come. A push that was there before the question
      // names a number that the answer must know; if it does not, the server has lost what it had told.
      const end = Math.max(last, goal);
      if (end > this.last) {
        const next = [...this.#held.keys()].filter((seq) => seq <= end).sort((a, b) => a - b);
        for (const seq of [...next, end + 1]) {
          if (seq > this.last + 1) this.#gap(this.last + 1, seq - 1, false);
          if (seq <= end) this.#tell(this.#held.get(seq));
          else this.last = end;
        }
      }
    }
    this.#drain();
  }
}
