// Line charts as SVG: a small one for a row of the list, and one with axes that can be read off.

const FEW = 24; // points of a line that are marked each
const SVG = "http://www.w3.org/2000/svg";

function draw(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/** A curve without axes. */
export function sparkline(values, words) {
  const [width, height, pad] = [112, 30, 3];
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "spark", role: "img", "aria-label": words });
  if (values.length < 2) return svg;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const points = values.map((value, i) => [
    pad + ((width - 2 * pad) * i) / (values.length - 1),
    height - pad - (height - 2 * pad) * (high > low ? (value - low) / (high - low) : 0.5),
  ]);
  const [x, y] = points.at(-1);
  svg.append(draw("path", { d: path(points) }), draw("circle", { cx: x, cy: y, r: 2.4 }));
  return svg;
}

/** Round numbers that cover a range, about `count` of them. */
export function ticks(low, high, count) {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) {
    found.push(Number((i * step).toPrecision(12)));
  }
  return found;
}

function logTicks(low, high) {
  const found = [];
  const factors = Math.log10(high / low) > 2.5 ? [1] : [1, 2, 5];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of factors) {
      const value = Number((factor * 10 ** power).toPrecision(12));
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  }
  return found;
}

/** Write a tick with as many digits as tell it from its neighbours. */
function tickText(value, step, share) {
  if (value === 0) return share ? "0%" : "0";
  const size = Math.max(Math.abs(value), Math.abs(step));
  if (!share && (size >= 1e7 || Math.abs(step) < 1e-5)) return value.toExponential().replace("e+", "e");
  const digits = Math.max(0, -Math.floor(Math.log10(share ? 100 * step : step) + 1e-9));
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return share ? `${(100 * value).toLocaleString("en", options)}%` : value.toLocaleString("en", options);
}

/** A chart with axes; series are {name, x, y, color, faint, dashed, mark}. */
export class Chart {
  constructor(title, { format, share = false, canLog = false, fromZero = false, xLabel = "step" }) {
    this.format = format;
    this.share = share;
    this.fromZero = fromZero;
    this.xLabel = xLabel;
    this.series = [];
    this.log = false;
    this.host = document.createElement("figure");
    this.host.className = "card chart";
    const caption = document.createElement("figcaption");
    caption.textContent = title;
    this.legend = document.createElement("p");
    this.legend.className = "legend";
    this.plot = document.createElement("div");
    this.plot.className = "plot";
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    this.host.append(caption, this.legend, this.plot);
    if (canLog) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "small";
      button.textContent = "log scale";
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        this.log = !this.log;
        button.setAttribute("aria-pressed", String(this.log));
        this.redraw();
      });
      caption.append(button);
    }
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerdown", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => this.unpoint());
    new ResizeObserver(() => this.redraw()).observe(this.plot);
  }

  set(series) {
    this.series = series.filter((line) => line.x.length > 0);
    this.host.hidden = this.series.length === 0;
    this.legend.replaceChildren(
      ...this.series.filter((line) => line.name).map((line) => {
        const item = document.createElement("span");
        const key = document.createElement("i");
        key.className = `key ${line.color}${line.dashed ? " dashed" : ""}${line.faint ? " faint" : ""}`;
        item.append(key, line.name);
        return item;
      }),
    );
    this.redraw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.drawNow();
    });
  }

  drawNow() {
    const width = this.plot.clientWidth;
    if (!width || !this.series.length) return;
    const height = Math.round(Math.min(280, Math.max(190, width * 0.52)));
    const ok = (y) => y !== null && (!this.log || y > 0);
    const all = this.series.flatMap((line) => line.y.filter(ok));
    if (!all.length) return this.plot.replaceChildren();
    let [low, high] = all.reduce(([a, b], y) => [Math.min(a, y), Math.max(b, y)], [Infinity, -Infinity]);
    if (low === high) [low, high] = this.log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
    const pad = this.log ? 1 : (high - low) * 0.04;
    if (!this.log) [low, high] = [low >= 0 && (this.fromZero || low < 4 * pad) ? 0 : low - pad, high + pad];
    if (this.share && !this.log && high > 1 && all.every((y) => y <= 1)) high = 1;
    const yTicks = this.log ? logTicks(low, high) : ticks(low, high, 5);
    const step = yTicks.length > 1 ? yTicks[1] - yTicks[0] : high - low;
    const labels = yTicks.map((value) => tickText(value, this.log ? value : step, this.share));
    const left = 12 + 7 * Math.max(3, ...labels.map((label) => label.length));
    const [right, top, bottom] = [14, 8, 26];
    const xs = this.series.flatMap((line) => [line.x[0], line.x.at(-1)]);
    const [first, last] = [Math.min(...xs), Math.max(...xs)];
    const scale = (value) => (this.log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
    this.toX = (x) => left + (width - left - right) * (last > first ? (x - first) / (last - first) : 0.5);
    this.toY = (y) => top + (height - top - bottom) * (1 - scale(y));
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
    yTicks.forEach((value, i) => {
      const y = this.toY(value);
      svg.append(draw("line", { x1: left, x2: width - right, y1: y, y2: y, class: "grid" }));
      svg.append(draw("text", { x: left - 8, y: y + 4, class: "y" }, labels[i]));
    });
    for (const value of ticks(first, last, Math.max(2, Math.floor(width / 80)))) {
      svg.append(draw("text", { x: this.toX(value), y: height - 8, class: "x" }, value.toLocaleString("en")));
    }
    const faintFirst = [...this.series].sort((a, b) => Boolean(b.faint) - Boolean(a.faint));
    for (const line of faintFirst) this.drawLine(svg, line, ok);
    this.cursor = draw("g", { class: "cursor" });
    svg.append(this.cursor);
    this.height = height;
    this.bottom = bottom;
    this.tip.hidden = true;
    this.plot.replaceChildren(svg, this.tip);
  }

  drawLine(svg, line, ok) {
    const looks = `line ${line.color}${line.dashed ? " dashed" : ""}${line.faint ? " faint" : ""}`;
    const points = line.x.map((x, i) => [x, line.y[i]]).filter(([, y]) => ok(y));
    const places = points.map(([x, y]) => [this.toX(x), this.toY(y)]);
    svg.append(draw("path", { d: path(places), class: looks }));
    if (places.length === 1 || (places.length <= FEW && !line.faint)) {
      for (const [cx, cy] of places) svg.append(draw("circle", { cx, cy, r: 2.6, class: `dot plain ${line.color}` }));
    }
    if (line.mark !== undefined && line.mark !== null) {
      const i = line.x.indexOf(line.mark);
      if (i >= 0 && ok(line.y[i])) {
        svg.append(draw("circle", { cx: this.toX(line.x[i]), cy: this.toY(line.y[i]), r: 4.5, class: `dot ring ${line.color}` }));
      }
    }
  }

  point(event) {
    if (!this.toX || !this.cursor) return;
    const box = this.plot.getBoundingClientRect();
    const at = event.clientX - box.left;
    const distance = (x) => Math.abs(this.toX(x) - at);
    const near = this.series.map((line) => {
      let best = 0;
      for (let i = 1; i < line.x.length; i++) if (distance(line.x[i]) < distance(line.x[best])) best = i;
      return { line, x: line.x[best], y: line.y[best] };
    });
    const lead = near.reduce((a, b) => (distance(b.x) < distance(a.x) ? b : a));
    const shown = near.filter(({ x, y }) => y !== null && distance(x) < distance(lead.x) + 12);
    const x = this.toX(lead.x);
    this.cursor.replaceChildren(
      draw("line", { x1: x, x2: x, y1: 8, y2: this.height - this.bottom }),
      ...shown.filter(({ y }) => !this.log || y > 0).map(({ line, x: at, y }) => draw("circle", { cx: this.toX(at), cy: this.toY(y), r: 3.5, class: `dot ${line.color}` })),
    );
    const title = document.createElement("b");
    title.textContent = `${this.xLabel} ${lead.x.toLocaleString("en")}`;
    this.tip.replaceChildren(
      title,
      ...shown.map(({ line, y }) => {
        const row = document.createElement("span");
        const key = document.createElement("i");
        key.className = `key ${line.color}`;
        row.append(key, `${line.name} ${this.format(y)}`.trim());
        return row;
      }),
    );
    this.tip.hidden = false;
    const room = box.width - this.tip.offsetWidth - 14;
    this.tip.style.left = `${Math.max(0, x + 14 > room ? x - this.tip.offsetWidth - 14 : x + 14)}px`;
  }

  unpoint() {
    this.cursor?.replaceChildren();
    this.tip.hidden = true;
  }
}
