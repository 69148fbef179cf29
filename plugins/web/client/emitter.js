/** Listeners by name. One that throws does not keep the others from hearing. */
export class Emitter {
  #listeners = new Map();

  on(name, listener) {
    if (typeof listener !== "function") throw new TypeError(`on("${name}"): a function is needed`);
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    return () => this.off(name, listener);
  }

  once(name, listener) {
    const off = this.on(name, (...args) => {
      off();
      listener(...args);
    });
    return off;
  }

  off(name, listener) {
    this.#listeners.get(name)?.delete(listener);
  }

  emit(name, ...args) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(...args);
      } catch (error) {
        // As an event target does: it is reported as uncaught, and the others still hear.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
