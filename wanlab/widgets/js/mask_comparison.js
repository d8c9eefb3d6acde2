/* The mask comparison: two or four variants in the same frame, side by side or wiped over each other; curves; a choice. */

import { button, choice, followRoom, Link, make, offer, OKABE, press, roomOf, root } from "./parts.js";
import { ClipView } from "./clip_view.js";
import { dim, extras, MaskLayer, shrinkOf } from "./mask_paint.js";
import { MaskStore } from "./mask_store.js";
import { Curves } from "./curves.js";
import { progressOf } from "./job.js";

const WORST = 12; // buttons of worst frames
const CORNERS = ["top: 0; left: 0", "top: 0; right: 0", "bottom: 0; left: 0", "bottom: 0; right: 0"];

const LOOK = `
:scope [hidden] { display: none; }
.wl-panes { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
.wl-panes.wl-one { grid-template-columns: minmax(0, 1fr); }
.wl-heads { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0 8px; }
.wl-key { width: 22px; flex: none; }
.wl-values { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; font-variant-numeric: tabular-nums; font-size: 0.92em; }
.wl-tag { position: absolute; padding: 1px 6px; line-height: 1.5; font-size: 12px; color: #fff; background: rgb(0 0 0 / 65%);
  pointer-events: none; }
.wl-swatch { width: 14px; height: 14px; border: 1px solid var(--jp-border-color1, #999); }
.wl-under { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 12px; }
.wl-list { height: 0; min-height: 100%; overflow-y: auto; }
.wl-beside { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 12px; }
.wl-beside .wl-under { display: block; height: 0; min-height: 100%; overflow-y: auto; }
.wl-beside .wl-list { height: auto; }
.wl-under select { max-width: 11em; }
.wl-beside .wl-head select { max-width: 8em; }
.wl-worst { flex-wrap: wrap; } .wl-worst button { font-variant-numeric: tabular-nums; }
.wl-job progress { width: 220px; }
.wl-curves { cursor: crosshair; margin: 4px 0; touch-action: none; }
.wl-curves svg { display: block; font-size: 11px; }
.wl-curves text { fill: var(--jp-ui-font-color1, CanvasText); }
.wl-curves .grid { stroke: var(--jp-border-color2, #ccc); stroke-width: 1; }
.wl-curves .hover { stroke: var(--jp-ui-font-color2, #666); stroke-dasharray: 2 2; }
.wl-curves .cursor line { stroke: var(--jp-ui-font-color1, CanvasText); stroke-width: 1.5; }
`;

class Comparison {
  constructor(model, el) {
    this.model = model;
    this.clip = model.get("clip");
    this.facts = model.get("facts");
    this.link = new Link(model);
    this.masks = new MaskStore(this.link, this.clip.frames);
    this.masks.arrived = () => this.views.forEach((view) => view.draw());
    this.numbers = {}; // name -> kind -> a number per frame
    this.here = {}; // of chains that were not measured yet: name -> frame -> kind -> number
    this.unusable = {}; // name -> why it cannot be used
    this.working = false;
    this.unfollow = [];
    this.views = [];
    this.tags = [];
    this.panel = root(el, "mask comparison", LOOK);
    this.build();
    this.listen();
    this.arrange();
    this.unfollow.push(followRoom(this.body, (width, height) => this.place(width, height)));
    this.panel.node.addEventListener("pointerenter", () => this.link.tell("refresh")); // another kernel may have written
    this.link.tell("hello");
  }

  get names() { return this.model.get("names"); }
  get count() { return this.model.get("count"); }
  get wiped() { return this.model.get("wiped"); }
  get view() { return this.facts.views[this.model.get("view")]; }
  get shown() { return this.model.get("panes").slice(0, this.count); }
  get frame() { return this.leader.t ?? 0; }

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  /** Tell the kernel which frame is shown. */
  keep() {
    this.mine = true; // what was wanted since may be another one
    this.set("frame", this.frame);
    this.mine = false;
  }

  build() {
    const { node } = this.panel;
    const layouts = [[2, false, "2 side by side"], [4, false, "4 side by side"], [2, true, "wipe 2"], [4, true, "wipe 4"]];
    this.layouts = layouts.map(([count, wiped, text]) => {
      const title = wiped ? `${count} masks in one image, each in its part` : `${count} images in step`;
      const act = () => { this.model.set("wiped", wiped); this.set("count", count); };
      return Object.assign(button(text, title, act), { wanted: [count, wiped] });
    });
    this.viewChoice = choice("view", Object.keys(this.facts.views), (value) => this.set("view", value));
    this.baseChoice = choice("against", [], (value) => this.set("base", value));
    this.legend = make("span", { class: "wl-group wl-quiet" });
    this.heads = make("div", { class: "wl-heads" });
    this.panes = make("div", { class: "wl-panes" });
    this.wipes = make("div", { class: "wl-row" });
    this.bar = make("div");
    this.curves = new Curves((t) => this.goTo(t));
    const numbers = Object.entries(this.facts.numbers).map(([kind, { title }]) => [kind, title]);
    this.numberChoice = choice("number", numbers, (value) => this.set("number", value));
    this.ofChoice = choice("of", [], (value) => { this.of = value; this.drawNumbers(); });
    this.worst = make("span", { class: "wl-group wl-worst", role: "group", "aria-label": "worst frames" });
    this.chain = make("input", {
      type: "text", "aria-label": "mask chain to try", placeholder: this.facts.example, size: 30,
      on: { keydown: (event) => event.key === "Enter" && this.tryChain() },
    });
    this.wrong = make("span", { class: "wl-alert", role: "alert" });
    this.measures = make("span", { class: "wl-group" });
    this.job = make("div", { class: "wl-row wl-job" });
    this.result = make("div", { class: "wl-result", role: "status" });
    const row = (...children) => make("div", { class: "wl-row" }, ...children);
    const layout = make("span", { class: "wl-group", role: "group", "aria-label": "layout" }, ...this.layouts);
    const chain = make("label", { class: "wl-group" }, make("span", { text: "another chain" }), this.chain);
    const attempt = button("Try", "Show this chain of the outline in the last pane", () => this.tryChain(), "Enter");
    node.append(
      row(layout, this.viewChoice, this.baseChoice, this.legend), this.body = make("div", {},
        make("div", {}, this.heads, this.panes, this.wipes, this.bar),
        make("div", { class: "wl-under" }, make("div", {}, row(this.numberChoice, this.ofChoice), this.curves.root),
          make("div", { class: "wl-list" }, row(make("span", { text: "worst frames" }), this.worst),
            row(chain, attempt, this.measures, this.wrong), this.job, this.result, this.panel.status, this.panel.alert))),
    );
  }

  listen() {
    const follow = (names, act) => names.forEach((name) => {
      this.model.on(`change:${name}`, act);
      this.unfollow.push(() => this.model.off(`change:${name}`, act));
    });
    follow(["count", "wiped"], () => this.arrange());
    follow(["panes", "names", "view", "base"], () => this.refresh());
    follow(["wipe"], () => { this.drawWipes(); this.leader.draw(); });
    follow(["number"], () => this.drawNumbers());
    follow(["frame"], () => this.mine || this.goTo(this.model.get("frame")));
    this.link.on("state", ({ numbers, unusable, chosen, result, working }) => {
      Object.assign(this, { numbers, unusable, chosen, working });
      this.result.textContent = result;
      this.refresh();
    });
    this.link.on("masks", ({ name, first, numbers }) => {
      if (!numbers) return;
      (this.here[name] ??= {})[first] = numbers;
      this.captions();
    });
    this.link.on("trial", ({ wrong }) => (this.wrong.textContent = wrong));
    progressOf(this.link, this.job, this.panel.say, (running) => {
      if (running) this.panel.fail("");
      this.working = running;
      this.refresh();
    });
    this.link.on("error", ({ text }) => this.panel.fail(text));
  }

  goTo(t) {
    this.leader.pause();
    this.leader.goTo(t);
  }

  tryChain() {
    this.link.tell("try", { chain: this.chain.value });
  }

  /** Put as many panes there as are shown; the first one leads, the others follow. */
  arrange() {
    const images = this.wiped ? 1 : this.count;
    if (!this.leader) this.lead();
    while (this.views.length > images) this.views.pop().close();
    while (this.views.length < images) this.views.push(this.pane(this.views.length, { leader: this.leader }));
    this.views.forEach((view) => (view.rows = Math.ceil(images / 2)));
    this.leader.stage.setAttribute("aria-label", this.wiped ? "frame with masks, drag to wipe" : "frame with mask 1");
    this.layers = Array.from({ length: this.count }, () => new MaskLayer(this.clip.width, this.clip.height));
    this.tags.forEach((tag) => tag.remove());
    this.tags = this.wiped ? CORNERS.slice(0, this.count).map((style) => make("span", { class: "wl-tag", style })) : [];
    this.leader.stage.append(...this.tags);
    this.parts = Array.from({ length: this.count }, (_, i) => this.head(i));
    this.heads.replaceChildren(...(this.wiped ? this.parts.map(({ node }) => node) : []));
    this.panes.classList.toggle("wl-one", images === 1);
    this.panes.replaceChildren(...this.views.map((view, i) => make("div", {}, this.wiped ? null : this.parts[i].node, view.node)));
    this.bar.replaceChildren(this.leader.transport);
    const slide = (label, axis) => make("label", { class: "wl-group" }, make("span", { text: label }), make("input", {
      type: "range", min: 0, max: 1, step: 0.01, "aria-label": label,
      on: { input: (event) => this.moveWipe(axis, Number(event.target.value)) },
    }));
    const slides = [slide("wipe", 0), slide("wipe up and down", 1)];
    this.wipes.replaceChildren(...(this.wiped ? slides.slice(0, this.count / 2) : []));
    this.layouts.forEach((each) => press(each, each.wanted[0] === this.count && each.wanted[1] === this.wiped));
    this.place(this.body.clientWidth, roomOf(this.body));
    this.refresh();
  }

  /** Put curves and lists under the images or beside them, where the images come out larger. */
  place(width, height) {
    const [rows, across] = [Math.ceil(this.views.length / 2), Math.min(2, this.views.length)];
    const side = (share) => (share * width * this.clip.height) / this.clip.width / across;
    const rest = height - 70 - 60 * rows; // CSS pixels: tools and slider, heads; curves have 190
    this.body.classList.toggle("wl-beside", Math.min(rest / rows, side(0.6)) > Math.min((rest - 190) / rows, side(1)));
  }

  lead() {
    const leader = (this.leader = this.pane(0, { start: this.model.get("frame") }));
    this.views.push(leader);
    leader.on("frame", () => {
      this.curves.mark(this.frame);
      this.captions();
      if (!leader.playing) this.keep();
    });
    leader.on("pause", () => this.keep());
    leader.on("down", (event) => this.wiped && event.button === 0 && this.drag(event));
    leader.on("move", (event) => this.wiped && event.buttons & 1 && this.drag(event));
  }

  pane(i, more) {
    const view = new ClipView(this.link, this.clip, { label: `frame with mask ${i + 1}`, within: this.panel.node, ...more });
    view.ready = (t) => this.masks.need(t, this.keys());
    view.on("paint", (context) => this.paint(context, view, i));
    return view;
  }

  /** Return one pane's head: which variant, its numbers in this frame, the button that chooses it. */
  head(i) {
    const key = make("span", { class: "wl-key" });
    const pick = choice(`mask ${i + 1}`, [], (value) => {
      this.set("panes", this.model.get("panes").map((shown, other) => (other === i ? value : shown)));
    });
    const use = button("Use this mask", "", () => this.link.tell("use", { name: this.shown[i] }));
    const [chosen, why, values] = [make("b"), make("div", { class: "wl-quiet" }), make("div", { class: "wl-values" })];
    const node = make("div", { class: "wl-head" }, make("div", { class: "wl-row" }, key, pick, use, chosen), why, values);
    return { node, key, pick, use, chosen, why, values };
  }

  /** Show names, choices and numbers as they are now. */
  refresh() {
    const name = this.model.get("view");
    this.viewChoice.select.value = name;
    this.baseChoice.hidden = !extras(this.view).includes("base");
    offer(this.baseChoice.select, this.names, this.model.get("base"));
    this.legend.replaceChildren(...this.view.layers.flatMap(({ colour, meaning }) => [
      make("span", { class: "wl-swatch", style: `background: rgb(${colour})` }), make("span", { text: meaning })]));
    this.shown.forEach((shown, i) => {
      const { key, pick, use, chosen, why } = this.parts[i];
      const { colour, dash } = this.line(shown);
      key.style.borderTop = `3px ${dash ? "dashed" : "solid"} ${colour}`;
      offer(pick.select, this.names, shown);
      use.disabled = Boolean(this.unusable[shown]) || this.working;
      use.title = `Make new inputs with ${shown}`;
      use.setAttribute("aria-label", `Use this mask: ${shown}`);
      chosen.textContent = this.chosen === shown ? "chosen" : "";
      why.textContent = this.unusable[shown] ?? "";
      if (this.wiped) this.tags[i].textContent = shown;
    });
    const unmeasured = this.names.filter((each) => !this.numbers[each]);
    this.measures.replaceChildren(...(this.numbers[this.facts.base] ? unmeasured : []).map((each) => {
      const whole = button(`All frames of ${each}`, `Work ${each} out in all frames, for its curve`, () => this.link.tell("measure", { name: each }));
      whole.disabled = this.working;
      return whole;
    }));
    this.drawWipes();
    this.drawNumbers();
    this.captions();
    this.views.forEach((view) => { view.resize(); view.draw(); });
  }

  line(name) {
    const i = this.names.indexOf(name);
    const colour = this.facts.colours[i % this.facts.colours.length];
    return { // black is not seen on dark
      colour: colour === OKABE.black ? "var(--jp-ui-font-color1, CanvasText)" : colour,
      dash: this.facts.dashes[i % this.facts.dashes.length],
    };
  }

  text(kind, value) {
    if (value === undefined) return "–";
    return this.facts.numbers[kind].share ? `${(100 * value).toFixed(1)}\u00a0%` : value.toFixed(3);
  }

  captions() {
    this.parts.forEach(({ values }, i) => {
      const row = this.numbers[this.shown[i]];
      const of = (kind) => (row ? row[kind][this.frame] : this.here[this.shown[i]]?.[this.frame]?.[kind]);
      values.textContent = Object.keys(this.facts.numbers).map((kind) => `${kind.replace(" ", "\u00a0")}\u00a0${this.text(kind, of(kind))}`).join(" · ");
    });
  }

  drawNumbers() {
    const kind = this.model.get("number");
    const measured = this.names.filter((name) => this.numbers[name]);
    this.numberChoice.select.value = kind;
    if (!measured.length) return;
    if (!measured.includes(this.of)) this.of = this.shown.find((name) => measured.includes(name) && name !== this.facts.base);
    this.of ??= measured[0];
    offer(this.ofChoice.select, measured, this.of);
    const lines = measured.map((name) => ({ name, values: this.numbers[name][kind], strong: name === this.of, ...this.line(name) }));
    this.curves.show({ what: this.facts.numbers[kind].title, lines, text: (value) => this.text(kind, value) });
    this.curves.mark(this.frame);
    const order = this.order(kind);
    this.worst.replaceChildren(...order.slice(0, WORST).map((t) => {
      const value = this.text(kind, this.numbers[this.of][kind][t]);
      return button(`${t}: ${value}`, `Go to frame ${t}, ${kind} ${value}`, () => this.goTo(t));
    }));
    if (!order.length) this.worst.append(make("span", { class: "wl-quiet", text: "in no frame is anything amiss" }));
  }

  /** Return the frames from the worst on, without those in which nothing is amiss. */
  order(kind) {
    const base = this.numbers[this.facts.base][kind];
    const amiss = { least: (value) => 1 - value, most: (value) => value, apart: (value, t) => Math.abs(value - base[t]) };
    const much = this.numbers[this.of][kind].map(amiss[this.facts.numbers[kind].worst]);
    return [...much.keys()].filter((t) => much[t] > 0).sort((a, b) => much[b] - much[a] || a - b);
  }

  drawWipes() {
    this.wipes.querySelectorAll("input").forEach((input, axis) => (input.value = this.model.get("wipe")[axis]));
  }

  moveWipe(axis, share) {
    this.set("wipe", this.model.get("wipe").map((old, i) => (i === axis ? Math.max(0, Math.min(1, share)) : old)));
  }

  drag(event) {
    const box = this.leader.canvas.getBoundingClientRect();
    this.moveWipe(0, (event.clientX - box.left) / box.width);
    if (this.count === 4) this.moveWipe(1, (event.clientY - box.top) / box.height);
  }

  keys() {
    const more = extras(this.view);
    const keys = this.shown.flatMap((name) => [`mask|${name}`, ...(more.includes("leak") ? [`leak|${name}`] : [])]);
    return [...new Set([...keys, ...(more.includes("base") ? [`mask|${this.model.get("base")}`] : [])])];
  }

  paint(context, view, i) {
    const t = view.t;
    if (!this.masks.need(t, this.keys())) return;
    const { width, height } = this.clip;
    if (!this.wiped) return this.paintMask(context, view, i, t);
    const box = view.canvas.getBoundingClientRect();
    const [x, y] = this.model.get("wipe");
    const at = view.toClip({ clientX: box.left + x * box.width, clientY: box.top + y * box.height });
    const down = this.count === 4 ? at.y : height;
    const parts = [[0, 0, at.x, down], [at.x, 0, width, down], [0, down, at.x, height], [at.x, down, width, height]];
    for (let part = 0; part < this.count; part++) {
      const [left, top, right, bottom] = parts[part];
      context.save();
      context.beginPath();
      context.rect(left, top, right - left, bottom - top);
      context.clip();
      this.paintMask(context, view, part, t);
      context.restore();
    }
    for (const [colour, wide] of [["#000", 4], ["#fff", 2]]) {
      context.fillStyle = colour;
      const half = (wide / 2) * view.px;
      context.fillRect(at.x - half, 0, 2 * half, height);
      if (this.count === 4) context.fillRect(0, at.y - half, width, 2 * half);
    }
  }

  paintMask(context, view, i, t) {
    const { width, height } = this.clip;
    const name = this.shown[i];
    const masks = {
      mask: this.masks.bits(t, `mask|${name}`),
      base: this.masks.bits(t, `mask|${this.model.get("base")}`),
      leak: this.masks.bits(t, `leak|${name}`),
    };
    const scale = view.dpr / view.px;
    this.layers[i].paint(this.view, masks, shrinkOf(scale));
    if (this.view.dimmed) dim(context, 0, 0, width, height);
    context.imageSmoothingEnabled = scale < 1;
    const { canvas, shrink } = this.layers[i];
    context.drawImage(canvas, 0, 0, canvas.width * shrink, canvas.height * shrink);
  }

  close() {
    this.unfollow.forEach((undo) => undo());
    this.leader.close();
    this.curves.close();
    this.link.close();
  }
}

export default { render({ model, el }) {
  const comparison = new Comparison(model, el);
  return () => comparison.close();
} };
