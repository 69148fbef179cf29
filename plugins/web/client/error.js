/** Why a request failed: `code` is the server's, or the client's own (disconnected, timeout, closed, aborted). */
export class MagpieError extends Error {
  constructor(code, message, retryAfter) {
    super(message ? `${code}: ${message}` : code);
    this.name = "MagpieError";
    this.code = code;
    this.retryAfter = retryAfter; // ms; only where the server names it
  }
}
