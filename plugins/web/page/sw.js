/**
 * The service worker: keeps the page's own files, so that it opens without a connection too. The network comes first,
 * so that nobody runs yesterday's page; what is kept is for when there is none, or none that answers in time.
 */
const CACHE = "magpie";
const PATIENCE = 4000; // ms
const SHELL = [
  "./",
  "app.js",
  "client/conversation.js",
  "client/emitter.js",
  "client/error.js",
  "client/index.js",
  "client/link.js",
  "client/magpie.js",
  "client/wire.js",
  "composer.js",
  "details.js",
  "dialogs.js",
  "dom.js",
  "icon-maskable.svg",
  "icon.svg",
  "keep.js",
  "manifest.webmanifest",
  "model.js",
  "notices.js",
  "room.js",
  "sidebar.js",
  "style.css",
  "text.js",
  "timeline.js",
];
const shell = new Set(SHELL.map((path) => new URL(path, self.registration.scope).href));

self.addEventListener("install", (event) => {
  const fetched = caches
    .open(CACHE)
    .then((cache) => cache.addAll([...shell].map((url) => new Request(url, { cache: "no-cache" }))));
  event.waitUntil(fetched.then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

async function serve(url, request) {
  const cache = await caches.open(CACHE);
  const fetching = fetch(request).then((answer) => {
    if (answer.ok) cache.put(url, answer.clone());
    return answer;
  });
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE));
  const first = await Promise.race([fetching.catch(() => undefined), late]);
  return first ?? (await cache.match(url)) ?? fetching;
}

self.addEventListener("fetch", (event) => {
  const url = event.request.url.replace(/[?#].*/, "");
  if (event.request.method === "GET" && shell.has(url)) event.respondWith(serve(url, event.request));
});

// A notification that is clicked brings its conversation to the front.
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const url = new URL("./" + (event.notification.data ?? ""), self.registration.scope).href;
  const show = async () => {
    const [page] = await self.clients.matchAll({ type: "window" });
    if (!page) return self.clients.openWindow(url);
    page.postMessage({ go: event.notification.data });
    return page.focus();
  };
  event.waitUntil(show());
});
