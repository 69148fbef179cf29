/** What the dashboard asks the server: a session, and orders of the console. */

let token = null;
let lost = () => {};

/** An order that was refused, or a request that failed; `code` as the console tells it. */
export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

async function post(what, body) {
  let response;
  try {
    response = await fetch(`api/${what}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(token && { "X-Magpie-Token": token }) },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(60000),
    });
  } catch {
    throw new Refused("offline", "The server does not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  const error = answer.error ?? (response.ok ? null : { code: "offline", message: "The server does not answer." });
  if (!error) return answer;
  if (token && (response.status === 401 || response.status === 403 || response.status === 404) && what === "run") {
    if (error.code === "unauthorized" || response.status === 404) {
      token = null;
      lost();
    }
  }
  throw new Refused(error.code, error.message);
}

/** f: called when the session has ended. */
export const onLost = (f) => (lost = f);

/** Whether there is a session already. */
export async function resume() {
  token = (await post("session", {})).token;
  return token !== null;
}

export async function logIn(password) {
  token = null;
  token = (await post("login", { password })).token;
}

export async function logOut() {
  await post("logout", {});
  token = null;
}

/** Gives an order, as words of the console; resolves with its answer. */
export async function run(...words) {
  return (await post("run", { words: words.map(String) })).answer;
}
