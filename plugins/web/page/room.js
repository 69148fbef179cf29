/**
 * A conversation as the page knows it: what it shows of it, and what is unread.
 *
 * `items` is what the list shows, in order. Each has a place: a message its seq, whatever is not numbered the place of
 * what it came behind, and a half. Kinds:
 *
 *     message   {seq, id, createdAt, content, sender, editedAt?, recalled?}
 *     omitted   {from, to}: they exist, and are fetched when somebody asks
 *     gap       {from, to}: they do not exist any more
 *     notice    {change, names, at}: joins and leaves
 *
 * An item's `version` grows when it has changed. Items are numbered from `base`, so that those in front may come and go
 * without the others' numbers changing.
 */
const KEPT = 4000; // items in memory; older ones are fetched again
const DROPPED = 1000;

export class Room {
  items = [];
  base = 0;
  #bySeq = new Map();
  loaded = false; // its newest messages are here
  loading = null; // a promise
  more = false; // the server has older ones
  begins = false; // the very first message is here
  pending = []; // one's own that are not stored: {content, clientId, since, state, error}
  seq = 0;
  readTo = 0;
  first = 1;
  last = null; // the newest message
  at = 0; // of the last activity, ms
  unreadFrom = 0; // where the line "New" stands; 0: nowhere
  mentioned = false; // among what is unread
  joined = true;
  guessed = false; // it was there the last time; the server has not said so yet
  members = 0; // of a channel; 0: not known
  online = null; // of a user: null as long as it is not known

  constructor(conversation) {
    this.conversation = conversation;
    this.key = conversation.key;
    this.kind = conversation.kind;
    this.name = conversation.name;
  }

  get unread() {
    return Math.max(0, this.seq - Math.max(this.readTo, this.first - 1));
  }

  get end() {
    return this.base + this.items.length;
  }

  item(number) {
    return this.items[number - this.base];
  }

  bySeq(seq) {
    return this.#bySeq.get(seq);
  }

  /** The newest message that is here. */
  newest() {
    return this.items.findLast((item) => item.kind === "message");
  }

  oldestSeq() {
    return this.items.find((item) => item.seq || item.from)?.place ?? null;
  }

  /** Where an item of that place belongs: behind all that are not above it. */
  #index(place) {
    let low = 0;
    let high = this.items.length;
    if (!high || this.items[high - 1].place <= place) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.items[middle].place <= place) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #insert(item) {
    this.items.splice(this.#index(item.place), 0, item);
  }

  /** A message that came. Of a room that was not opened only the newest is kept, or there would be holes. */
  hear(message) {
    if (this.loaded || this.loading) this.add(message);
    else if (!this.last || message.seq > this.last.seq) this.last = message;
    this.seq = Math.max(this.seq, message.seq);
    this.at = Math.max(this.at, message.createdAt);
  }

  /** A message that came or was fetched. False: it was here. */
  add(message) {
    this.seq = Math.max(this.seq, message.seq);
    if (!this.last || message.seq >= this.last.seq) {
      this.last = message;
      this.at = Math.max(this.at, message.createdAt);
    }
    const known = this.#bySeq.get(message.seq);
    if (known) {
      if (known.content !== message.content || known.editedAt !== message.editedAt) this.change(message.seq, message);
      return false;
    }
    const item = { ...message, kind: "message", place: message.seq, version: 0 };
    this.#bySeq.set(message.seq, item);
    this.#insert(item);
    return true;
  }

  /** Messages that were fetched, all of them older than what is here, or among it. */
  addPage(messages) {
    const oldest = this.oldestSeq();
    const before = oldest === null ? [] : messages.filter((m) => m.seq < oldest && !this.#bySeq.has(m.seq));
    if (before.length) {
      const items = before.map((m) => ({ ...m, kind: "message", place: m.seq, version: 0 }));
      for (const item of items) this.#bySeq.set(item.seq, item);
      this.items.unshift(...items);
      this.base -= items.length;
    }
    for (const m of messages) this.add(m);
  }

  change(seq, fields) {
    const item = this.#bySeq.get(seq);
    if (this.last?.seq === seq) this.last = { ...this.last, ...fields };
    if (!item) return;
    Object.assign(item, fields);
    item.version++;
  }

  addMarker(kind, from, to) {
    this.seq = Math.max(this.seq, to);
    this.#insert({ kind, from, to, place: from, version: 0 });
  }

  /** Numbers of a marker that are here now, from `from` on: the marker shrinks, or goes. */
  shrink(marker, from) {
    marker.to = from - 1;
    marker.version++;
    const at = this.items.indexOf(marker);
    if (marker.to < marker.from && at >= 0) this.items.splice(at, 1);
  }

  /** A join or a leave. Several in a row become one line. */
  addNotice(change, name, at) {
    const newest = this.items.at(-1);
    if (newest?.kind === "notice" && newest.change === change && at - newest.at < 600000) {
      if (!newest.names.includes(name)) newest.names.push(name);
      newest.version++;
      return;
    }
    this.#insert({ kind: "notice", change, names: [name], at, place: (newest?.place ?? this.seq) + 1e-6, version: 0 });
  }

  /** Lets go of the oldest, when there are many. */
  trim() {
    if (this.items.length <= KEPT) return;
    for (const item of this.items.splice(0, DROPPED)) if (item.seq) this.#bySeq.delete(item.seq);
    this.base += DROPPED;
    this.more = true;
    this.begins = false;
  }

  clear() {
    this.items = [];
    this.#bySeq.clear();
    this.base = 0;
    this.loaded = false;
  }
}
