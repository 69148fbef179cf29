/**
 * The chat page as people use it, in one Chromium: node suite.mjs '{"port": …}' [PART…]. Prints a line of JSON for each
 * part: {part, error, note}.
 */
import { readdirSync } from "node:fs";
import { browser, setting, tidy } from "./kit.mjs";

const parts = {};
for (const file of readdirSync(new URL(".", import.meta.url)).filter((f) => f.startsWith("part_")).sort())
  Object.assign(parts, (await import(`./${file}`)).default);

const wanted = process.argv.slice(3);
for (const [part, run] of Object.entries(parts)) {
  if (wanted.length && !wanted.some((w) => part.includes(w))) continue;
  let error = null;
  let note = null;
  const began = Date.now();
  try {
    note = (await run()) ?? null;
  } catch (e) {
    error = e.stack;
  }
  const complaints = await tidy();
  if (complaints.length) error = `${error ?? ""}\nthe page complained: ${complaints.join("\n")}`;
  console.log(JSON.stringify({ part, error, note, ms: Date.now() - began }));
}
await browser.close();
process.exit(0);
