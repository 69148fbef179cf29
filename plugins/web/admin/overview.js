/** What `magpiectl top` shows, as charts that go on. */
import { run } from "./api.js";
import { Chart } from "./chart.js";
import { h, setChildren, setText } from "./dom.js";
import { bytes, count, duration, link, number, page, table } from "./parts.js";

const EACH = 2000; // ms

/** Figures stay while one looks at another page. */
const charts = {
  messages: new Chart("Messages", (n) => `${number(n)}/s`),
  deliveries: new Chart("Deliveries", (n) => `${number(n)}/s`),
  connections: new Chart("Connections", number, { most: 10 }),
  requests: new Chart("Requests", (n) => `${number(n)}/s`),
  out: new Chart("Sent", (n) => `${bytes(n)}/s`, { most: 1024, base: 1024 }),
  load: new Chart("Busiest shard", (n) => `${number(n)} %`, { most: 100 }),
  latency: new Chart("Storage latency", (us) => (us < 1000 ? `${number(us)} µs` : `${number(us / 1000)} ms`), {
    most: 1000,
  }),
  memory: new Chart("Memory", bytes, { most: 1 << 20, base: 1024 }),
};
const state = h("span", { role: "status" });
const uptime = h("span");
const health = h("p", { class: "health" }, state, uptime);
const lists = h("div", { class: "columns" });

function block(title, ...children) {
  return h("section", { class: "card" }, h("h2", { text: title }), ...children);
}

function draw(top) {
  const rates = top.rates;
  const loads = top.shards.map((s) => s.load).sort((a, b) => b - a);
  charts.messages.add([rates.messages]);
  charts.deliveries.add([rates.deliveries], rates.skipped ? `${number(rates.skipped)}/s left out` : "");
  charts.connections.add([top.connections], `${count(top.users, "user")}, ${count(top.channels, "channel")}`);
  charts.requests.add([rates.requests], rates.connects ? `${number(rates.connects)} connects/s` : "");
  charts.out.add([rates.bytes_out], `${bytes(rates.bytes_in)}/s received`);
  charts.load.add(loads, `of ${count(loads.length, "shard")}`);
  charts.latency.add([top.storage.latency_us], `${number(top.storage.appends)} appends/s`);
  charts.memory.add([top.memory.rss, top.memory.storage], `${bytes(top.memory.storage)} storage`);
  const good = top.state === "serving" && top.storage.state === "good";
  health.classList.toggle("bad", !good);
  setText(state, `${top.state}, storage ${top.storage.state},`);
  setText(uptime, `up ${duration(top.uptime)}`);
  // Each figure has a value a script; a metric that a script made itself has one alone, and is no cost.
  const cost = (figure, script) => top.scripts[`magpie_script_${figure}`]?.[script] ?? 0;
  const scripts = Object.keys(top.scripts.magpie_script_calls_total ?? {}).map((script) => ({
    script,
    calls: cost("calls_total", script),
    cpu: cost("cpu_seconds_total", script) * 1000,
    memory: cost("memory_bytes", script),
    errors: cost("errors_total", script),
  }));
  const columns = {
    hottest: [
      { key: "channel", label: "Channel", show: (v) => link("channel", v) },
      { key: "rate", label: "Messages/s", number: true },
      { key: "members", label: "Members", number: true },
    ],
    slow: [
      { key: "user", label: "User", show: (v) => (v ? link("user", v) : "–") },
      { key: "connection", label: "Connection", show: (v) => link("connection", v) },
      { key: "queued", label: "Waiting", number: true, show: bytes },
    ],
    shards: [
      { key: "shard", label: "Shard", number: true },
      { key: "load", label: "Load, %", number: true },
      { key: "users", label: "Users", number: true },
      { key: "channels", label: "Channels", number: true },
    ],
    scripts: [
      { key: "script", label: "Script" },
      { key: "calls", label: "Calls", number: true, show: number },
      { key: "cpu", label: "CPU, ms", number: true, show: number },
      { key: "memory", label: "Memory", number: true, show: bytes },
      { key: "errors", label: "Errors", number: true, show: number },
    ],
  };
  setChildren(lists, [
    block("Hottest channels", table("Hottest channels", columns.hottest, top.hottest, "No channel has messages now.")),
    block(
      `Slow receivers${top.slow_receivers ? `: ${number(top.slow_receivers)}` : ""}`,
      table("Slow receivers", columns.slow, top.slow, "Everybody keeps up."),
    ),
    block("Shards", table("Shards", columns.shards, top.shards)),
    ...(scripts.length ? [block("What scripts cost", table("What scripts cost", columns.scripts, scripts))] : []),
  ]);
}

/** A page: {nodes, each, tick}: `tick` is called at once and then each so many ms, while the page can be seen. */
export function overview() {
  const cards = h("div", { class: "cards" }, ...Object.values(charts).map((c) => c.element));
  return { nodes: page("Overview", health, cards, lists), each: EACH, tick: async () => draw(await run("top")) };
}
