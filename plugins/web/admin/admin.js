/** The dashboard: logging in, which page is open, and keeping it fresh while somebody looks. */
import { logIn, logOut, onLost, resume } from "./api.js";
import { channelPage } from "./channel.js";
import { $, h, setAttribute, setText } from "./dom.js";
import { LISTS, listing } from "./lists.js";
import { overview } from "./overview.js";
import { button, say } from "./parts.js";
import { announceDialog, log, scripts, why } from "./tools.js";
import { connectionPage, userPage } from "./user.js";

const MENU = [
  ["", "Overview"],
  ...Object.entries(LISTS).map(([kind, list]) => [`list/${kind}`, list.title]),
  ["scripts", "Scripts"],
  ["why", "Why"],
  ["log", "Log"],
];

let shown = null; // the page that is open
let timer = null;

function go(path, query = new URLSearchParams()) {
  const words = query.toString();
  location.hash = `#/${path}${words ? `?${words}` : ""}`;
}

function find(path, query) {
  const [kind, ...rest] = path.split("/");
  const id = decodeURIComponent(rest.join("/"));
  if (kind === "list" && Object.hasOwn(LISTS, id)) return listing(id, query, go);
  if (kind === "user" && id) return userPage(id, go);
  if (kind === "channel" && id) return channelPage(id, go);
  if (kind === "connection" && id) return connectionPage(id, go);
  if (kind === "scripts") return scripts();
  if (kind === "why") return why(query, go);
  if (kind === "log") return log();
  return overview();
}

function trouble(text) {
  const bar = $("#trouble");
  setText(bar, text);
  bar.hidden = !text;
}

/** Fills the page, and again after a while if it wants that and can be seen. */
async function tick() {
  clearTimeout(timer);
  const of = shown;
  if (!of || document.hidden) return;
  let wait = of.each;
  try {
    await of.tick();
    trouble("");
  } catch (e) {
    if (e.code === "offline") {
      trouble(`${e.message} Trying again.`);
      wait = 3000;
    } else if (of === shown) trouble(e.message);
  }
  if (of === shown && wait) timer = setTimeout(tick, wait);
}

function open({ first = false } = {}) {
  const [path, words] = location.hash.replace(/^#\/?/u, "").split("?");
  trouble("");
  try {
    shown = find(path, new URLSearchParams(words ?? ""));
  } catch {
    shown = overview();
  }
  const view = $("#view");
  view.replaceChildren(...shown.nodes);
  view.scrollTop = 0;
  document.title = `${$("h1", view).textContent} · ${$(".brand strong").textContent}`;
  for (const a of document.querySelectorAll("#menu a")) {
    const here = a.getAttribute("href") === `#/${path}`;
    setAttribute(a, "aria-current", here && "page");
    if (here) a.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  if (!first) $("h1", view).focus({ preventScroll: true });
  tick();
}

function enter() {
  $("#door").hidden = true;
  $("#frame").hidden = false;
  open({ first: true });
}

function door(text = "") {
  clearTimeout(timer);
  shown = null;
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  $("#view").replaceChildren();
  $("#frame").hidden = true;
  $("#door").hidden = false;
  $("#sign-in .error").textContent = text;
  $("#sign-in [name=password]").focus();
}

$("#menu").append(...MENU.map(([path, text]) => h("li", {}, h("a", { href: `#/${path}`, text }))));
$("#menu").append(h("li", {}, button("Announce…", announceDialog, "menu-button")));
$("#skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("#view").focus();
});
$("#sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const submit = $("[type=submit]", form);
  submit.disabled = true;
  $(".error", form).textContent = "";
  try {
    await logIn(form.elements.password.value);
    form.reset();
    enter();
  } catch (e) {
    $(".error", form).textContent = e.code === "unauthorized" ? "That is not the password." : e.message;
    form.elements.password.select();
  }
  submit.disabled = false;
});
$("#log-out").addEventListener("click", async () => {
  try {
    await logOut();
    door();
  } catch (e) {
    say(e.message);
  }
});
onLost(() => door("Your session has ended; log in again."));
window.addEventListener("hashchange", () => shown && open());
document.addEventListener("visibilitychange", () => !document.hidden && shown?.each && tick());

try {
  if (await resume()) enter();
  else door();
} catch (e) {
  door(e.message);
}
