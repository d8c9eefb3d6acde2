/* Numbers per frame as lines with their names beside them; a click or a key jumps to a frame. */

const SVG = "http://www.w3.org/2000/svg";
const [HEIGHT, TOP, BOTTOM] = [150, 8, 22];
const LEFT = 46; // room for the numbers of the axis
const RIGHT = 170; // for the names
const APART = 13; // least distance of two names
const JUMPS = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 };

export class Curves {
  /** `jump(frame)` is called when the reader points at a frame. */
  constructor(jump) {
    this.jump = jump;
    this.frame = 0;
    this.root = document.createElement("div");
    this.root.className = "wl-curves";
    Object.assign(this.root, { tabIndex: 0, role: "slider" });
    this.svg = this.root.appendChild(node("svg", { height: HEIGHT, width: "100%", "aria-hidden": "true" }));
    this.root.addEventListener("pointerdown", (event) => {
      this.root.setPointerCapture(event.pointerId);
      this.point(event, true);
    });
    this.root.addEventListener("pointermove", (event) => this.point(event, event.buttons === 1));
    this.root.addEventListener("pointerleave", () => this.hover?.setAttribute("visibility", "hidden"));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(this.root);
  }

  /** Show lines.  what: title of the axis.  lines: [{name, colour, dash, strong, values: [T numbers]}].
   * text(value): how a number is written. */
  show({ what, lines, text }) {
    Object.assign(this, { what, lines, text });
    this.length = Math.max(1, ...lines.map((line) => line.values.length));
    this.root.setAttribute("aria-label", `${what} per frame`);
    this.root.setAttribute("aria-valuemin", 0);
    this.root.setAttribute("aria-valuemax", this.length - 1);
    this.draw();
  }

  /** Mark the frame that is shown. */
  mark(frame) {
    this.frame = frame;
    if (!this.lines) return;
    const values = this.lines.map((line) => `${line.name} ${this.text(line.values[frame])}`);
    this.root.setAttribute("aria-valuenow", frame);
    this.root.setAttribute("aria-valuetext", [`frame ${frame}`, ...values].join(", "));
    this.cursor?.setAttribute("transform", `translate(${this.x(frame)} 0)`);
    this.dots?.forEach((dot, i) => dot.setAttribute("cy", this.y(this.lines[i].values[frame])));
  }

  close() {
    this.watch.disconnect();
  }

  draw() {
    const width = this.root.clientWidth;
    if (!this.lines || !width) return;
    const values = this.lines.flatMap((line) => line.values);
    const ticks = nice(Math.min(...values), Math.max(...values));
    const [low, high] = [ticks[0], ticks.at(-1)];
    const right = width - RIGHT;
    this.x = (t) => LEFT + ((right - LEFT) * (t + 0.5)) / this.length;
    this.y = (v) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (v - low) / (high - low));
    const parts = [];
    for (const tick of ticks) {
      parts.push(node("line", { class: "grid", x1: LEFT, x2: right, y1: this.y(tick), y2: this.y(tick) }));
      parts.push(node("text", { x: LEFT - 6, y: this.y(tick) + 4, "text-anchor": "end" }, this.text(tick, true)));
    }
    for (const t of nice(0, this.length - 1, 6).filter((t) => t < this.length && Number.isInteger(t))) {
      parts.push(node("text", { x: this.x(t), y: HEIGHT - 6, "text-anchor": "middle" }, String(t)));
    }
    const path = (line) => line.values.map((v, t) => `${this.x(t).toFixed(1)},${this.y(v).toFixed(1)}`).join(" ");
    const paint = (line) => ({ stroke: line.colour, "stroke-dasharray": line.dash, "stroke-width": line.strong ? 2.4 : 1.3 });
    this.lines.forEach((line) => parts.push(node("polyline", { fill: "none", points: path(line), ...paint(line) })));
    const ends = spread(this.lines.map((line) => this.y(line.values.at(-1))), TOP + 6, HEIGHT - BOTTOM);
    this.lines.forEach((line, i) => {
      const [y, weight] = [ends[i], line.strong ? "bold" : "normal"];
      parts.push(node("line", { x1: right + 4, x2: right + 22, y1: y, y2: y, ...paint(line) }));
      parts.push(node("text", { x: right + 27, y: y + 4, "font-weight": weight }, line.name));
    });
    this.hover = node("line", { class: "hover", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
    this.dots = this.lines.map((line) => node("circle", { r: line.strong ? 4 : 3, fill: line.colour }));
    this.cursor = node("g", { class: "cursor" });
    this.cursor.append(node("line", { y1: TOP, y2: HEIGHT - BOTTOM }), ...this.dots);
    this.svg.replaceChildren(...parts, this.hover, this.cursor);
    this.mark(Math.min(this.frame, this.length - 1));
  }

  point(event, chosen) {
    const box = this.svg.getBoundingClientRect();
    if (!this.lines || event.clientX - box.left > box.width - RIGHT + 4) return;
    const share = (event.clientX - box.left - LEFT) / (box.width - RIGHT - LEFT);
    const t = Math.max(0, Math.min(this.length - 1, Math.floor(share * this.length)));
    Object.entries({ x1: this.x(t), x2: this.x(t), visibility: "visible" }).forEach((pair) => this.hover.setAttribute(...pair));
    this.root.title = `frame ${t}`;
    if (chosen && t !== this.frame) this.jump(t);
  }

  key(event) {
    const ends = { Home: 0, End: this.length - 1 };
    const goal = event.key in JUMPS ? this.frame + JUMPS[event.key] : ends[event.key];
    if (goal === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.jump(Math.max(0, Math.min(this.length - 1, goal)));
  }
}

/** Round numbers from at most `low` to at least `high`, about `count` of them. */
function nice(low, high, count = 3) {
  const rough = (high - low || 0.01) / count;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const step = ten * [1, 2, 5, 10].find((factor) => factor * ten >= rough);
  const first = Math.floor(low / step + 1e-6);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-6));
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Move places apart so that names do not lie on each other, within `top` and `bottom` as long as there is room. */
function spread(places, top, bottom) {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]);
  const moved = [...places];
  order.forEach((i, n) => (moved[i] = Math.max(moved[i], n ? moved[order[n - 1]] + APART : top)));
  let limit = bottom;
  for (const i of order.reverse()) {
    moved[i] = Math.min(moved[i], limit);
    limit = moved[i] - APART;
  }
  return moved;
}

function node(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined && value !== "") made.setAttribute(key, value);
  made.textContent = text;
  return made;
}
