import { MagpieError } from "./error.js";
import { decode, encode } from "./wire.js";

const PING = 9;

/**
 * One connection, from its opening to its end. Requests are answered by seq; what is not answered when it ends fails
 * with "disconnected". A server that is silent for too long is asked, and given up when it does not answer.
 */
export class Link {
  #socket;
  #binary;
  #timeout;
  #pingEvery;
  #seq = 0;
  #pending = new Map(); // seq → {resolve, reject, timer}
  #heard = Date.now();
  #pinging = null;
  #ended = false;
  #handlers;

  /** handlers: open(), push(action, body), end(error), each called at most once but push. */
  constructor(url, { WebSocket, binary, timeout, pingEvery }, handlers) {
    this.#binary = binary;
    this.#timeout = timeout;
    this.#pingEvery = pingEvery;
    this.#handlers = handlers;
    const socket = (this.#socket = new WebSocket(url));
    socket.binaryType = "arraybuffer";
    const opening = setTimeout(() => this.end("timeout", "the server did not open the connection"), timeout);
    socket.onopen = () => {
      clearTimeout(opening);
      if (this.#ended) return;
      this.#heard = Date.now();
      this.#pinging = setInterval(() => this.#look(), pingEvery / 2);
      handlers.open();
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onerror = () => {};
    socket.onclose = (event) => {
      clearTimeout(opening);
      this.end("disconnected", event?.reason || "the connection was closed");
    };
  }

  request(action, body, timeout = this.#timeout) {
    return new Promise((resolve, reject) => {
      if (this.#ended || this.#socket.readyState !== 1)
        return reject(new MagpieError("disconnected", "there is no connection"));
      if (this.#pending.size >= 60000) return reject(new MagpieError("timeout", "too many requests wait for answers"));
      do this.#seq = (this.#seq % 65535) + 1;
      while (this.#pending.has(this.#seq));
      const seq = this.#seq;
      // An answer that does not come means a connection that is dead, or about to be.
      const timer = setTimeout(() => this.end("timeout", "the server did not answer"), timeout);
      this.#pending.set(seq, { resolve, reject, timer });
      this.#socket.send(encode(this.#binary, action, seq, body));
    });
  }

  /** Ends it; what waits for an answer fails. */
  end(code, message) {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#pinging);
    const error = new MagpieError(code, message);
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new MagpieError("disconnected", message));
    }
    this.#pending.clear();
    try {
      this.#socket.close();
    } catch {
      // Some implementations throw while they are still connecting; the socket is given up all the same.
    }
    this.#handlers.end(error);
  }

  #look() {
    if (Date.now() - this.#heard < this.#pingEvery) return;
    this.request(PING, {}).catch(() => {});
  }

  #receive(data) {
    if (this.#ended) return;
    this.#heard = Date.now();
    let frame;
    try {
      frame = decode(data);
    } catch {
      return this.end("disconnected", "what came is no frame");
    }
    const { action, seq, body } = frame;
    const waiting = seq ? this.#pending.get(seq) : undefined;
    if (!waiting) {
      if (seq === 0) this.#handlers.push(action, body);
      return;
    }
    this.#pending.delete(seq);
    clearTimeout(waiting.timer);
    const { error } = body;
    if (error && typeof error.code === "string" && typeof error.message === "string")
      waiting.reject(new MagpieError(error.code, error.message, error.retryAfter));
    else waiting.resolve(body);
  }
}
