/** Elements. Whatever becomes part of one is put there as text: nothing here reads HTML. */

/**
 * A new element. `props`: attributes, but `on` (listeners by name), `data` (data-…) and `text`; false, null and
 * undefined leave an attribute out. Children: nodes, texts; null and false are passed over.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [name, f] of Object.entries(value)) element.addEventListener(name, f);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "text") element.textContent = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

/** A picture of the sheet in index.html. It says nothing: the button around it has the words. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

export const $ = (selector, root = document) => root.querySelector(selector);

/** Sets a text only where it is another one: what does not change costs no layout. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Makes the children of an element these, in this order; those that are there already stay where they are. */
export function setChildren(parent, wanted) {
  // What goes, goes first: otherwise all that is behind it would be moved, and laid out anew.
  const stays = new Set(wanted);
  for (const node of [...parent.childNodes]) if (!stays.has(node)) node.remove();
  let at = parent.firstChild;
  for (const node of wanted) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
}

const COLOURS = 8; // in style.css

/** A round picture of a user: the initials of the name, a colour of the id. */
export function avatar(id, name) {
  let sum = 0;
  for (const c of id) sum = (sum * 31 + c.codePointAt(0)) >>> 0;
  return h("span", { class: `avatar c${sum % COLOURS}`, "aria-hidden": "true", text: initials(name) });
}

function initials(name) {
  const words = name.split(/[\s._-]+/u).filter((w) => /[\p{L}\p{N}]/u.test(w));
  const first = (w) => [...w].find((c) => /[\p{L}\p{N}]/u.test(c)) ?? "";
  return (words.length > 1 ? first(words[0]) + first(words.at(-1)) : first(words[0] ?? "") || "?").toUpperCase();
}
