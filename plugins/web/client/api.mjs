/**
 * Makes API.md of index.d.ts, whose comments are the reference: `node api.mjs` writes it, `node api.mjs --check` says
 * whether it is as it should be.
 */
import { readFileSync, writeFileSync } from "node:fs";

const here = new URL(".", import.meta.url);
const lines = readFileSync(new URL("index.d.ts", here), "utf8").split("\n");
const out = [
  "# magpie-client: the reference",
  "",
  "Made of [index.d.ts](index.d.ts) by `node api.mjs`. How to begin: [README.md](README.md).",
];

const cell = (text) => text.replaceAll("|", "\\|");
let comment = []; // of what comes next
let table = false; // the last line of `out` is a row
for (let i = 0; i < lines.length; i++) {
  const line = lines[i].trim();
  if (line.startsWith("/**")) {
    const end = lines.findIndex((l, at) => at >= i && l.includes("*/"));
    comment = lines.slice(i, end + 1).map((l) => l.replace(/^\s*\/?\*+\/?\s?/, "").replace(/\s*\*\/\s*$/, ""));
    i = end;
    continue;
  }
  const text = comment.join(" ").replace(/\s+/g, " ").trim();
  const top = /^export (?:(?:interface|class|type) )(\w+)/.exec(lines[i]);
  if (top) {
    const fields = /^export type/.test(line) ? "`" + line.replace("export ", "") + "`" : "";
    out.push("", `## ${top[1]}`, "", ...[text, fields].filter(Boolean).flatMap((t, at) => (at ? ["", t] : [t])));
    if (!text && !fields) out.pop();
    table = false;
  } else if (/^[\w]/.test(line) && !line.startsWith("private") && lines[i].startsWith("  ")) {
    let member = line;
    const open = (text) => (text.match(/[({]/g) ?? []).length > (text.match(/[)}]/g) ?? []).length;
    while (open(member)) member += " " + lines[++i].trim();
    if (!table) out.push("", "| | |", "| --- | --- |");
    table = true;
    out.push(`| \`${cell(member.replace(/;$/, ""))}\` | ${cell(text)} |`);
  }
  comment = [];
}
const made = out.join("\n") + "\n";

const file = new URL("API.md", here);
if (process.argv.includes("--check")) {
  if (readFileSync(file, "utf8") !== made) {
    console.error("API.md is not what index.d.ts says: node api.mjs writes it");
    process.exit(1);
  }
} else {
  writeFileSync(file, made);
}
