/* How sure each part is over time, and the face crops around the frame.

   const timeline = new Timeline(clip, [name, …], { goTo(t), choose(name), say(text) })
   timeline.show({ sure, missing, jumping, cuts, noFace })      Uint8Array of rows times frames each; the last row is the crop's
   timeline.at(t, name); timeline.node; timeline.close()
   const faces = new Faces(link, clip, { goTo(t) })             asks for one crop at a time, when nothing else is going on
   faces.at(t); faces.forget(first, last); faces.noFace = new Set([…]); faces.node; faces.close() */

import { make, OKABE, press } from "./parts.js";

const ROW = 17; // CSS pixels
const CELL = 64; // CSS pixels, with the gap beside it
const CROP = 56;
const FEW = 5; // crops
const PAUSE_MS = 120; // before crops are asked for: scrubbing goes first
const KEPT = 400; // crops
const MISSING = OKABE.red, JUMPING = OKABE.yellow;

export const TIMELINE_STYLE = `
.wl-parts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0 6px; margin: 4px 0; }
.wl-parts > div { display: flex; flex-direction: column; }
:scope .wl-parts button { min-height: 0; height: ${ROW}px; line-height: ${ROW - 2}px; padding: 0 6px; border: 0; text-align: right;
  font-size: 12px; }
.wl-parts span { height: ${ROW}px; line-height: ${ROW}px; padding: 0 6px; text-align: right; font-size: 12px; }
.wl-parts canvas { display: block; width: 100%; cursor: pointer; }
.wl-legend i { display: inline-block; width: 14px; height: 5px; margin: 0 4px 2px 12px; border: 1px solid rgba(128, 128, 128, 0.6); }
.wl-faces { display: flex; flex-wrap: wrap; gap: ${CELL - CROP}px; overflow: hidden; padding: 4px; }
:scope .wl-faces button { flex: none; width: ${CROP}px; height: auto; padding: 0; line-height: 1.3; border-width: 2px; font-size: 11px; }
.wl-faces canvas { display: block; width: 100%; height: ${CROP - 4}px; background: #222; }
:scope .wl-faces button[aria-current=true] { border-color: var(--jp-brand-color1, ${OKABE.blue}); font-weight: bold; }
:scope .wl-faces button.wl-none { border: 2px dashed ${MISSING}; }
`;

function rgb(colour) {
  return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
}

export class Timeline {
  constructor(clip, names, { goTo, choose, say }) {
    Object.assign(this, { clip, names, goTo, say, t: 0, facts: null });
    this.labels = names.map((name, i) => (i < names.length - 1
      ? make("button", { type: "button", text: name, title: `Choose ${name}`, on: { click: () => choose(name) } })
      : make("span", { class: "wl-quiet", text: name })));
    this.canvas = make("canvas", { role: "img", "aria-label": "confidence of each part over time; a click goes to the frame" });
    this.heat = document.createElement("canvas");
    this.node = make("div", {}, make("div", { class: "wl-parts" }, make("div", {}, ...this.labels), this.canvas), this.#key());
    this.canvas.addEventListener("pointerdown", (event) => { this.canvas.setPointerCapture(event.pointerId); this.#point(event); });
    this.canvas.addEventListener("pointermove", (event) => (event.buttons ? this.#point(event) : this.#tell(event)));
    this.observer = new ResizeObserver(() => this.#resize());
    this.observer.observe(this.canvas);
  }

  show(facts) {
    this.facts = facts;
    this.#paint();
  }

  at(t, name) {
    this.t = t;
    this.labels.forEach((label) => label.tagName === "BUTTON" && press(label, label.textContent === name));
    this.#cursor();
  }

  close() {
    this.observer.disconnect();
  }

  #key() {
    const mark = (colour) => make("i", { style: `background: ${colour}` });
    this.swatch = make("i");
    return make("div", { class: "wl-legend wl-quiet", "aria-hidden": "true" }, this.swatch, "score 0", mark(OKABE.blue), "1",
      mark(MISSING), "below: missing", mark(JUMPING), "above: jumping", make("span", { text: "  ┊ cut" }));
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    const t = Math.floor(((event.clientX - box.left) / box.width) * this.clip.frames);
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.names.length);
    return { t: Math.max(0, Math.min(this.clip.frames - 1, t)), row: Math.max(0, Math.min(this.names.length - 1, row)) };
  }

  #point(event) {
    this.goTo(this.#place(event).t);
  }

  #tell(event) {
    if (!this.facts) return;
    const { t, row } = this.#place(event);
    const i = row * this.clip.frames + t;
    const words = [this.facts.missing[i] ? "missing" : "", this.facts.jumping[i] ? "jumping" : ""].filter(Boolean);
    this.say(`frame ${t}: ${this.names[row]}, score ${(this.facts.sure[i] / 255).toFixed(2)}${words.map((w) => `, ${w}`).join("")}`);
  }

  #unsure() { // a grey that stands back in a light and in a dark theme: between the text's colour and its ground
    const text = getComputedStyle(this.node).color.match(/[\d.]+/g).slice(0, 3).map(Number);
    const dark = text[0] + text[1] + text[2] > 384;
    const grey = dark ? [72, 72, 72] : [208, 208, 208];
    this.swatch.style.background = `rgb(${grey.join(" ")})`;
    return grey;
  }

  #resize() {
    const dpr = window.devicePixelRatio || 1;
    const width = Math.round(this.canvas.clientWidth * dpr);
    if (!width || (width === this.canvas.width && dpr === this.dpr)) return;
    this.dpr = dpr;
    this.canvas.style.height = `${ROW * this.names.length}px`;
    Object.assign(this.canvas, { width, height: Math.round(ROW * this.names.length * dpr) });
    this.#paint();
  }

  #paint() {
    if (!this.facts || !this.dpr) return;
    const { width, height } = this.canvas;
    Object.assign(this.heat, { width, height });
    const ctx = this.heat.getContext("2d");
    const count = this.clip.frames, high = height / this.names.length;
    const [low, sure] = [this.#unsure(), rgb(OKABE.blue)];
    this.names.forEach((_, row) => {
      const top = Math.round(row * high), tall = Math.round(high - this.dpr * 2), bar = Math.max(2, Math.round(tall * 0.35));
      for (let t = 0; t < count; t++) {
        const i = row * count + t, left = Math.floor((t * width) / count), wide = Math.ceil(((t + 1) * width) / count) - left;
        const share = this.facts.sure[i] / 255;
        ctx.fillStyle = `rgb(${low.map((c, k) => Math.round(c + (sure[k] - c) * share)).join(" ")})`;
        ctx.fillRect(left, top, wide, tall);
        for (const [marks, colour, y] of [[this.facts.missing, MISSING, top + tall - bar], [this.facts.jumping, JUMPING, top]]) {
          if (!marks[i]) continue;
          ctx.fillStyle = colour;
          ctx.fillRect(left, y, Math.max(wide, 2 * this.dpr), bar);
        }
      }
    });
    ctx.fillStyle = OKABE.pink;
    for (const t of this.facts.cuts) for (let y = 0; y < height; y += 6 * this.dpr) ctx.fillRect((t * width) / count - this.dpr, y, 2 * this.dpr, 3 * this.dpr);
    this.#cursor();
  }

  #cursor() {
    const { width, height } = this.canvas;
    const ctx = this.canvas.getContext("2d");
    ctx.clearRect(0, 0, width, height);
    if (this.facts) ctx.drawImage(this.heat, 0, 0);
    const cell = width / this.clip.frames, dpr = this.dpr ?? 1;
    const left = this.t * cell, wide = Math.max(cell, 3 * dpr);
    for (const [grow, colour] of [[2, "#000000"], [1, "#ffffff"]]) {
      ctx.lineWidth = dpr;
      ctx.strokeStyle = colour;
      ctx.strokeRect(left - grow * dpr + dpr / 2, dpr / 2, wide + (2 * grow - 1) * dpr, height - dpr);
    }
  }
}

export class Faces {
  constructor(link, clip, { goTo }) {
    Object.assign(this, { link, clip, goTo, t: 0, noFace: new Set(), kept: new Map(), asked: null, cells: [] });
    this.node = make("div", { class: "wl-faces", role: "group", "aria-label": "face crops around the frame" });
    link.on("face", ({ t }, [buffer]) => this.#take(t, buffer));
    link.on("error", () => { this.asked = null; });
    this.observer = new ResizeObserver(() => this.#resize());
    this.observer.observe(this.node);
  }

  at(t) {
    this.t = t;
    this.#label();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(), PAUSE_MS);
  }

  forget(first, last) {
    for (let t = first; t <= last; t++) this.kept.delete(t);
    this.asked = null;
    this.at(this.t);
  }

  close() {
    clearTimeout(this.timer);
    this.observer.disconnect();
    this.kept.forEach((bitmap) => bitmap.close());
  }

  #resize() {
    const across = Math.max(1, Math.floor((this.node.clientWidth - 8 + CELL - CROP) / CELL));
    const count = across < FEW ? 2 * across : across; // a narrow strip has two rows
    const wanted = Math.min(this.clip.frames, count - ((count + 1) % 2)); // odd: the frame stands in the middle
    if (wanted === this.cells.length) return;
    this.cells = [...Array(Math.max(1, wanted)).keys()].map(() => {
      const canvas = make("canvas", { width: 2 * CROP, height: 2 * CROP });
      const number = make("span");
      const cell = { canvas, number, t: null, node: make("button", { type: "button", on: { click: () => this.goTo(cell.t) } }, canvas, number) };
      return cell;
    });
    this.node.replaceChildren(...this.cells.map(({ node }) => node));
    this.at(this.t);
  }

  #label() {
    const first = Math.max(0, Math.min(this.clip.frames - this.cells.length, this.t - (this.cells.length >> 1)));
    this.cells.forEach((cell, i) => {
      cell.t = first + i;
      const none = this.noFace.has(cell.t);
      const words = `frame ${cell.t}${none ? ", no usable face: the crop of another frame's box" : ""}`;
      cell.number.textContent = none ? `${cell.t} none` : cell.t;
      cell.node.className = none ? "wl-none" : "";
      cell.node.title = words;
      cell.node.setAttribute("aria-label", words);
      cell.node.setAttribute("aria-current", String(cell.t === this.t));
      const bitmap = this.kept.get(cell.t);
      const ctx = cell.canvas.getContext("2d");
      if (bitmap) ctx.drawImage(bitmap, 0, 0, cell.canvas.width, cell.canvas.height);
      else ctx.clearRect(0, 0, cell.canvas.width, cell.canvas.height);
    });
  }

  #ask() {
    if (this.asked !== null) return;
    const lacking = this.cells.map(({ t }) => t).filter((t) => !this.kept.has(t));
    lacking.sort((a, b) => Math.abs(a - this.t) - Math.abs(b - this.t));
    if (!lacking.length) return;
    this.asked = lacking[0];
    this.link.tell("face", { t: this.asked });
  }

  async #take(t, buffer) {
    if (t !== this.asked) return; // asked for by another view, or before it changed
    const bitmap = await createImageBitmap(new Blob([buffer]));
    if (t !== this.asked) return bitmap.close();
    this.asked = null;
    this.kept.set(t, bitmap);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    this.#label();
    this.#ask();
  }
}
