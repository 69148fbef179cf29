/** A message as it is told and as history holds it. */
export interface Message {
  /** 19 decimal digits; ids of one conversation ascend. */
  id: string;
  /** The n-th message of its conversation has seq n. */
  seq: number;
  /** Milliseconds since 1970. */
  createdAt: number;
  /** What was written; "" once it is recalled. Show it as text, never as HTML. */
  content: string;
  sender: { id: string; name: string };
  /** Of a message in a channel: the channel's name. */
  channel?: string;
  /** Of a private message: who it was sent to. */
  receiverId?: string;
  /** Milliseconds since 1970; absent where it was never edited. */
  editedAt?: number;
  /** True where it was recalled. */
  recalled?: boolean;
}

/** What a send resolves with. */
export interface Sent {
  id: string;
  /** 0: a rule of the server's dropped the message, which is answered as if it had been sent. */
  seq: number;
  createdAt: number;
  clientId: string;
}

/** A page of history, ascending by seq. */
export interface Page {
  messages: Message[];
  /** The oldest and the newest seq that the server keeps; `first` is `last` + 1 when all have expired. */
  first: number;
  last: number;
  /** Whether there is more in the direction asked. */
  more: boolean;
}

export type PushMode = "all" | "merged" | "none";

export interface Subscription {
  name: string;
  seq: number;
  first: number;
  members: number;
  tier: string;
  push: PushMode;
  events?: boolean;
}

export interface ConversationInfo {
  channel?: string;
  peerId?: string;
  seq: number;
  read: number;
  unread: number;
  last?: Message;
}

export interface Membership {
  channel: string;
  id: string;
  name: string;
  change: "joined" | "left" | "kicked" | "banned" | "closed";
  members: number;
}

/** Why a request failed. */
export class MagpieError extends Error {
  constructor(code: string, message?: string, retryAfter?: number);
  /**
   * The server's: bad_request, unknown_action, unauthorized, forbidden, not_found, too_large, quota, rate_limited,
   * unavailable, internal. The client's: disconnected, timeout, closed, aborted; kicked and replaced end it for good.
   */
  code: string;
  /** Milliseconds until it makes sense to try again; only where the server names it. */
  retryAfter?: number;
}

export interface Options {
  /** The user's name: for a new user, or to rename the one of the token. */
  name?: string;
  /** The token of an earlier login, as the event "token" gave it. Absent: a new user is made. */
  token?: string;
  /** Gives the token for each login: for servers that do not make users themselves (auth.mode jwt, script). */
  getToken?: () => string | Promise<string>;
  /** A login of the same user with the same device closes the older connection. */
  device?: string;
  /** The WebSocket class: needed in Node before 22 (npm's `ws`). Default: the global one. */
  WebSocket?: unknown;
  /** Speaks binary messages, some bytes shorter. Default false: text, readable in a browser's tools. */
  binary?: boolean;
  /** What positions() of an earlier client returned: telling goes on behind it. */
  positions?: Record<string, number>;
  /** Takes private messages out of the inbox once they were told. Default true. False: call acknowledge(). */
  acknowledge?: boolean;
  /** Fetches what merged slices leave out. Default false: the event "omitted" names it, range() fetches it. */
  fillMerged?: boolean;
  /** How many missed messages of a conversation are fetched by itself; older ones are told as a gap. Default 1000. */
  catchUp?: number;
  /** ms: a repair begins after a random time below it, for all members of a channel see the same jump. Default 200. */
  jitter?: number;
  /** ms before the first new attempt to connect, doubled at each up to maxDelay. Defaults 500 and 20,000. */
  minDelay?: number;
  maxDelay?: number;
  /** ms to wait for an answer, or for a connection. Default 10,000. */
  timeout?: number;
  /** ms of silence after which the server is asked whether it is there. Default 25,000. */
  pingEvery?: number;
  /** ms for which an unanswered send is repeated; below the server's limits.dedup_window. Default 480,000. */
  retryFor?: number;
}

export interface MagpieEvents {
  /** "idle", "connecting", "connected", "waiting" (for the next attempt) or "closed" (for good). */
  state: [state: State];
  /** After each login; `again` is false for the first one. */
  connected: [info: { again: boolean; inbox: number }];
  /** The connection was lost; the next attempt comes after `delay` ms. */
  disconnected: [info: { error: MagpieError; delay: number }];
  /** It is over: close() was called, or the server refused the user. */
  closed: [error: MagpieError];
  /** Keep it, and give it as options.token the next time. */
  token: [token: string];
  /** A refused login, a conversation that may not be read, getToken() that failed. */
  error: [error: Error];
  /** The server says why it will close the connection. */
  closing: [info: { reason: string; message?: string; retryAfter?: number }];
  /**
   * Each message of each conversation, in order and once. One exception: a private message that the server stores behind
   * a later one, before which nothing was told here, is told late. That happens only where several servers are one.
   */
  message: [message: Message, conversation: Conversation];
  edit: [edit: Edit, conversation: Conversation];
  recall: [recall: Recall, conversation: Conversation];
  /** Numbers that were not told: the server has them no more, or (`skipped`) there were more than options.catchUp. */
  gap: [range: { from: number; to: number; skipped: boolean }, conversation: Conversation];
  /** Numbers that a merged slice left out. */
  omitted: [range: { from: number; to: number }, conversation: Conversation];
  /** Read on another connection of the user's. */
  read: [mark: { seq: number }, conversation: Conversation];
  /** How many messages the inbox has left, after another connection took some out. */
  inbox: [count: number];
  membership: [change: Membership, conversation: Conversation];
  presence: [presence: { id: string; online: boolean }];
  announcement: [announcement: { content: string; createdAt: number }];
  /** A push that this client does not know: 200 and above are scripts' and plugins'. */
  push: [action: number, body: Record<string, unknown>];
}

export type State = "idle" | "connecting" | "connected" | "waiting" | "closed";

export interface Edit {
  seq: number;
  id: string;
  content: string;
  editedAt: number;
}

export interface Recall {
  seq: number;
  id: string;
}

export interface ConversationEvents {
  message: [message: Message];
  edit: [edit: Edit];
  recall: [recall: Recall];
  gap: [range: { from: number; to: number; skipped: boolean }];
  omitted: [range: { from: number; to: number }];
  read: [mark: { seq: number }];
  membership: [change: Membership];
  /** The unread count after read() has reached the server. */
  unread: [count: number];
  /** A send that will be tried again, and why the last attempt failed. */
  retry: [info: { clientId: string; error: MagpieError }];
}

/** Listeners by name. `on` and `once` return a function that takes the listener off again. */
export class Emitter<Events extends Record<keyof Events, unknown[]>> {
  on<K extends keyof Events>(name: K, listener: (...args: Events[K]) => void): () => void;
  once<K extends keyof Events>(name: K, listener: (...args: Events[K]) => void): () => void;
  off<K extends keyof Events>(name: K, listener: (...args: Events[K]) => void): void;
}

/** A user's connection to a server, made again whenever it is lost. */
export class Magpie extends Emitter<MagpieEvents> {
  /** `url`: ws:// or wss://. An unknown option throws. */
  constructor(url: string, options?: Options);
  readonly options: Required<Options>;
  readonly state: State;
  /** The user; null before the first login. */
  readonly id: string | null;
  readonly name: string | null;
  readonly token: string | null;
  /** Bytes of a frame and of a content at most, and seconds of silence (0: none) after which the server closes. */
  readonly limits: { frame: number; content: number; idle: number } | null;
  /**
   * Resolves at the first login. Rejects when the server refuses the user; anything else is tried again. While the next
   * attempt is waited for, a call makes that at once.
   */
  connect(): Promise<this>;
  /** Ends it for good. Sends that are not answered are rejected with "closed". */
  close(): void;
  /** Ends all tokens of the user, then closes. */
  logout(): Promise<void>;
  /** The channel of that name; always the same object. Nothing is sent. */
  channel(name: string): Conversation;
  /** The private conversation with that user. */
  user(id: string): Conversation;
  /** A page of the user's conversations, the newest activity first. */
  conversations(options?: { limit?: number; cursor?: string }): Promise<{
    conversations: ConversationInfo[];
    cursor?: string;
  }>;
  /** Which of these users are online: of those with whom the user shares a conversation. */
  presence(ids: string[]): Promise<string[]>;
  /** The same, and changes come as "presence", over later connections too. */
  watch(ids: string[]): Promise<string[]>;
  unwatch(ids: string[]): Promise<void>;
  /** Private messages of a blocked user are refused. */
  block(id: string, blocked?: boolean): Promise<void>;
  /** The newest seqs that were told, for options.positions of a later client. */
  positions(): Record<string, number>;
  /** Takes private messages out of the inbox. For options.acknowledge = false. */
  acknowledge(ids: string[]): void;
  /**
   * Any action: 200-999 are scripts', 1000-1999 plugins'. When the connection is lost meanwhile it rejects with
   * "disconnected": whether it took effect is not known then.
   */
  call(action: number, body?: Record<string, unknown>): Promise<any>;
}

/** A channel, or the messages with one user. Made by Magpie.channel() and Magpie.user(). */
export class Conversation extends Emitter<ConversationEvents> {
  private constructor();
  readonly kind: "channel" | "user";
  /** The channel's name, or the user's id. */
  readonly name: string;
  /** "#name" or "@id": its key in positions(). */
  readonly key: string;
  /** The newest seq that was told; null: none yet. */
  readonly last: number | null;
  /** Of a channel: whether the user is in it, as far as is known here. */
  readonly subscribed: boolean;
  readonly push: PushMode | null;
  readonly tier: string | null;
  readonly events: boolean;
  readonly members: number;
  /** Sends that are not stored yet, the oldest first. */
  readonly waiting: { content: string; clientId: string; since: number }[];
  /** Joins the channel, and makes it where there is none. `events`: hear of joins and leaves in small channels. */
  subscribe(options?: { push?: PushMode; events?: boolean }): Promise<Subscription>;
  unsubscribe(): Promise<void>;
  /**
   * Resolves once the message is stored. Sends of a conversation go out one after the other, are repeated over new
   * connections until they are answered, and are stored once.
   */
  send(content: string, options?: { clientId?: string; signal?: AbortSignal }): Promise<Sent>;
  /** Without bounds the newest messages; `after` alone the oldest behind it; `before` the newest below it. */
  history(options?: { before?: number; after?: number; limit?: number }): Promise<Page>;
  /** The retained messages from..to: for what "omitted" or "gap" named. */
  range(from: number, to: number): Promise<Message[]>;
  /**
   * Where nothing was told yet, telling begins behind `seq`: what is up to it is known from history() or
   * conversations(). Without it telling begins with the first message that comes, or waits in the inbox.
   */
  begin(seq: number): void;
  edit(seq: number, content: string): Promise<{ editedAt: number }>;
  recall(seq: number): Promise<void>;
  /** Marks messages up to `seq` (default: `last`) as read. Many calls become one request. */
  read(seq?: number): void;
  /** A page of the channel's members. */
  memberList(options?: { limit?: number; cursor?: string }): Promise<{
    members: { id: string; name: string; online: boolean }[];
    cursor?: string;
  }>;
}
