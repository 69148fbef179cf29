/** Small charts, drawn as SVG: the last five minutes of one or more figures. */
import { h, setText } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 72;
const POINTS = 150; // one each two seconds

function s(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** The next of 1, 2, 5, 10, 20 … that is not below; of bytes (base 1024), with a round number of KiB, MiB … */
function ceiling(value, base) {
  if (value <= 1) return 1;
  const unit = base ** Math.floor(Math.log(value) / Math.log(base));
  const power = 10 ** Math.floor(Math.log10(value / unit) + 1e-9) * unit;
  return [1, 2, 5, 10].find((n) => n * power >= value) * power;
}

export class Chart {
  #series = [];
  #lines = [];
  #area;
  #value;
  #top;
  #note;
  #svg;
  #title;
  #format;
  #most;
  #base;

  /** format: a number as text; most: the least upper end of the scale; base: 1024 where figures are bytes. */
  constructor(title, format, { most = 1, base = 10 } = {}) {
    this.#title = title;
    this.#format = format;
    this.#most = most;
    this.#base = base;
    this.#svg = s("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      class: "plot",
    });
    this.#svg.append(
      s("path", { class: "grid", d: `M0 ${HEIGHT / 2}H${WIDTH}M0 .5H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}` }),
      (this.#area = s("path", { class: "area" })),
    );
    this.#value = h("strong", { text: "–" });
    this.#note = h("small", { class: "hint" });
    this.#top = h("span", { class: "scale", "aria-hidden": "true" });
    this.element = h(
      "section",
      { class: "card chart" },
      h("h2", { text: title }),
      h("p", { class: "figure" }, this.#value, " ", this.#note),
      h("div", { class: "plot-box" }, this.#svg, this.#top),
    );
  }

  /** Adds the figures of now. note: small words beside the first. */
  add(values, note = "") {
    values.forEach((value, i) => {
      const points = (this.#series[i] ??= []);
      points.push(value);
      if (points.length > POINTS) points.shift();
    });
    const most = ceiling(Math.max(this.#most, ...this.#series.flat()), this.#base);
    const y = (value) => (HEIGHT - 1 - (value / most) * (HEIGHT - 4)).toFixed(1);
    this.#series.forEach((points, i) => {
      const x = (k) => (((POINTS - points.length + k) * WIDTH) / (POINTS - 1)).toFixed(1);
      const line = points.map((value, k) => `${k ? "L" : "M"}${x(k)} ${y(value)}`).join("");
      if (!this.#lines[i]) this.#svg.append((this.#lines[i] = s("path", { class: `curve c-${i % 4}` })));
      this.#lines[i].setAttribute("d", line);
      if (i === 0) this.#area.setAttribute("d", `${line}L${WIDTH} ${HEIGHT}L${x(0)} ${HEIGHT}Z`);
    });
    const now = this.#format(values[0]);
    setText(this.#value, now);
    setText(this.#note, note);
    setText(this.#top, this.#format(most));
    this.#svg.setAttribute("aria-label", `${this.#title}, the last five minutes; now ${now}`);
  }
}
