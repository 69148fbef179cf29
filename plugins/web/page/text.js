/** What people wrote, and times, for people to read. */
import { h } from "./dom.js";

// Only http and https: nothing that a click could run.
const LINK = /\bhttps?:\/\/[^\s<>"'`{}|\\^\u0000-\u001f\u007f-\u009f]+/giu;

/** The end of a sentence around a link is no part of it; a closing bracket only where it was opened within. */
function trimmed(url) {
  for (;;) {
    const last = url.at(-1);
    const opened = { ")": "(", "]": "[" }[last];
    const closes = opened && url.split(last).length > url.split(opened).length;
    if (!/[.,;:!?*_~…]/u.test(last) && !closes) return url;
    url = url.slice(0, -1);
  }
}

function link(text) {
  try {
    const url = new URL(text);
    if (url.protocol !== "http:" && url.protocol !== "https:") return text;
    if (url.username || url.password) return text; // https://example.org@elsewhere.net/ looks like what it is not
    // What is shown is where it leads: a name of other letters is shown as the browser resolves it.
    const props = { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow ugc" };
    return h("a", { ...props, text, title: url.host });
  } catch {
    return text;
  }
}

/** The nodes of a message: texts and links. */
export function nodes(content) {
  const out = [];
  let at = 0;
  for (const found of content.matchAll(LINK)) {
    const url = trimmed(found[0]);
    if (found.index > at) out.push(content.slice(at, found.index));
    out.push(link(url));
    at = found.index + url.length;
  }
  if (at < content.length) out.push(content.slice(at));
  return out;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const date = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dated = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const short = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const plural = new Intl.PluralRules("en");

export const time = (ms) => clock.format(ms);
export const fullTime = (ms) => full.format(ms);
export const dayOf = (ms) => new Date(ms).setHours(0, 0, 0, 0);

const days = (ms) => Math.round((dayOf(Date.now()) - dayOf(ms)) / 86400000);

export function day(ms) {
  const ago = days(ms);
  if (ago === 0) return "Today";
  if (ago === 1) return "Yesterday";
  return ago > 0 && ago < 180 ? date.format(ms) : dated.format(ms);
}

/** For lists: the time of today, or the day. */
export const when = (ms) => (days(ms) <= 0 ? time(ms) : days(ms) === 1 ? "Yesterday" : short.format(ms));

/** count(1, "message") → "1 message" */
export const count = (n, what) => `${n.toLocaleString("en")} ${what}${plural.select(n) === "one" ? "" : "s"}`;

/** "Ann", "Ann and Bob", "Ann, Bob and 3 others" */
export function people(names) {
  if (names.length <= 1) return names[0] ?? "";
  if (names.length <= 3) return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
  return `${names.slice(0, 2).join(", ")} and ${names.length - 2} others`;
}

const encoder = new TextEncoder();
export const bytes = (text) => encoder.encode(text).length;

/** What to tell people of an error: in the server's words, where it is the server's. */
export function because(error) {
  const words = {
    disconnected: "The connection was lost.",
    timeout: "There was no answer in time.",
    internal: "Something went wrong at the server.",
    unknown_action: "This server does not know how to do that.",
    not_found: "It is not there (any more).",
  };
  if (error.code in words) return words[error.code];
  const said = error.message.replace(/^[a-z_]+: /u, "");
  return `${said.charAt(0).toUpperCase()}${said.slice(1)}${/[.!?]$/u.test(said) ? "" : "."}`;
}
