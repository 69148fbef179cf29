/** What the page keeps in the browser: it works without, where a browser keeps nothing. */

const PREFIX = "magpie:" + new URL(".", location.href).pathname + ":";

export function get(key, fallback = null) {
  try {
    const text = localStorage.getItem(PREFIX + key);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

export function set(key, value) {
  try {
    if (value === null || value === undefined) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Full, or forbidden: then it is kept only as long as the page is open.
  }
}

/** Changes a kept object: update(key, (value) => …); tabs that do so one after the other do not undo each other. */
export function update(key, change) {
  const value = get(key, {});
  change(value);
  set(key, Object.keys(value).length ? value : null);
}

export function forget() {
  try {
    for (const key of Object.keys(localStorage))
      if (key.startsWith(PREFIX) && !key.endsWith(":theme")) localStorage.removeItem(key);
  } catch {
    // Nothing was kept.
  }
}
