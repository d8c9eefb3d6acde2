/* The mask editor in the browser: points, boxes and a brush over the clip. Its state is the kernel's, which keeps it in
   edits.json; an action is sent with the frame that was on the screen, and shown pale until the kernel has kept it. */

import { button, choice, followRoom, Link, make, OKABE, press, root } from "./parts.js";
import { ClipView } from "./clip_view.js";
import { boxOf, colourOf, drawBanner, drawCross, drawMarks, drawStroke, findMark, same, strokeAt } from "./marks.js";

const HELP = "Click: this belongs to the person · Shift-click or right click: this does not · drag moves a mark, Delete "
  + "removes it · Ctrl+Z / Ctrl+Shift+Z undo and redo · P points, B box, D brush, E erase, [ ] its size · N next object · "
  + "← → frames (Shift: ten), Home, End, Space plays · , . frames with marks · I O in and out · + − 0 or Ctrl+wheel zoom, "
  + "Alt+drag pans · Enter propagates, Esc stops · L locks the frame · Alt+arrows move a cross (Shift: by ten), X marks there, "
  + "Shift+X marks what does not belong";
const [SIDE, TRANSPORT] = [260, 400]; // CSS pixels of width of the tools beside the image, and of the row below it, at least
const [BELOW, AROUND] = [80, 130]; // CSS pixels of height that the rest takes with the tools beside the image, and above it
const EDITOR_STYLE = `
.wl-edit { display: grid; gap: 0 12px; grid-template: "tools" "view" "rest" / minmax(0, 1fr); }
.wl-edit.wl-beside { grid-template: "view tools" auto "view rest" 1fr / var(--wl-image) minmax(0, 1fr); }
.wl-edit > .wl-view { grid-area: view; }
.wl-edit > [role=toolbar] { grid-area: tools; }
.wl-edit progress { width: 90px; }
.wl-doubt:not(:empty) { border-left: 4px solid ${OKABE.orange}; padding: 4px 8px; margin: 4px 0; }
.wl-beside > :not(.wl-view) .wl-group { flex-wrap: wrap; }
.wl-rest { grid-area: rest; }
.wl-rest > .wl-row { margin: 0; }
`;
const LATE_MS = 4000; // after that a kernel that has not answered is called busy
const REST_MS = 60; // how long the pointer rests before the mask of a click there is asked for
const MOST_PLACES = 2000; // of a stroke

class MaskEditor {
  constructor(model, el) {
    this.clip = model.get("clip");
    this.link = new Link(model);
    this.panel = root(el, "Mask editor", EDITOR_STYLE);
    this.state = { clicks: [], boxes: [], strokes: [], stretch: null, waiting: [], finding: [], locked: [], jumps: [], doubt: null };
    Object.assign(this, { tool: "point", add: true, carried: false, radius: Math.round(this.clip.height / 36), object: 1 });
    Object.assign(this, { selected: null, drag: null, hover: null, pointer: null, pending: new Map(), seq: 0 });
    this.view = new ClipView(this.link, this.clip, {
      label: "The clip with its mask; click to mark", layers: ["clip", "mask"], marksStretch: true,
      start: Math.floor(this.clip.frames / 2), within: this.panel.node,
    });
    this.build();
    this.listen();
    this.panel.node.addEventListener("pointerenter", () => this.link.tell("refresh")); // another kernel may have written
    this.link.tell("hello");
  }

  build() {
    const tools = { point: ["Points", "P"], box: ["Box", "B"], brush: ["Brush", "D"] };
    this.tools = Object.fromEntries(Object.entries(tools).map(([name, [text, key]]) =>
      [name, button(text, `${text} tool`, () => this.use(name), key)]));
    this.undo = button("↶ Undo", "Undo", () => this.act("undo"), "Ctrl+Z");
    this.redo = button("↷ Redo", "Redo", () => this.act("redo"), "Ctrl+Shift+Z");
    this.remove = button("Delete", "Delete the chosen mark", () => this.erase(), "Delete");
    this.objects = choice("object", [1], (value) => { this.object = Number(value); this.show(); });
    this.swatch = make("span", { text: "●", "aria-hidden": "true" });
    const more = button("+ object", "Begin another object", () => this.nextObject(true));
    this.mode = button("Erase", "Erase instead of adding", () => { this.add = !this.add; this.show(); }, "E");
    this.size = make("input", {
      type: "range", min: 1, max: Math.round(this.clip.height / 4), value: this.radius, "aria-label": "brush radius in pixels",
      on: { input: () => { this.radius = Number(this.size.value); this.show(); } },
    });
    this.sizeText = make("span", { class: "wl-quiet" });
    this.carry = make("input", { type: "checkbox", on: { change: () => { this.carried = this.carry.checked; } } });
    this.brush = make("span", { class: "wl-group" }, this.mode, make("label", { class: "wl-group" }, make("span", { text: "radius" }),
      this.size), this.sizeText, make("label", { class: "wl-group", title: "Clicks along the stroke go to the model" }, this.carry,
      make("span", { text: "carry to other frames" })));
    this.lock = button("Lock", "The mask of this frame stays as it is; nothing is followed onto it, or through it",
      () => this.act("lock", { frame: this.view.t }), "L");
    this.doubt = make("div", { class: "wl-doubt", role: "alert" });
    this.go = button("Propagate", "Have the other frames follow the marks", () => this.link.tell("propagate"), "Enter");
    this.stop = button("Cancel", "Stop propagating", () => this.link.tell("cancel"), "Esc");
    this.meter = make("progress", { max: 1, value: 0, "aria-label": "progress of the propagation" });
    this.note = make("strong", { role: "status" });
    this.file = make("input", { type: "file", accept: ".json,application/json", "aria-label": "points file",
      on: { change: async () => this.act("import", { text: await this.file.files[0].text() }) } });
    this.paste = make("textarea", { rows: 2, cols: 40, "aria-label": "points as JSON", placeholder: '{"positive": [{"x": 400, "y": 200}]}' });
    const exchange = make("details", {}, make("summary", { text: "Points of ComfyUI's PointsEditor: import, export" }),
      make("div", { class: "wl-row" }, this.paste, button("Import", "Replace the points by those pasted", () =>
        this.act("import", { text: this.paste.value })), this.file, button("Export", "Download the points as JSON", () => this.link.tell("export", { id: this.view.store.name }))));
    const group = (...parts) => make("span", { class: "wl-group" }, ...parts);
    const keys = make("details", {}, make("summary", { text: "Keys" }), make("div", { class: "wl-quiet", text: HELP }));
    this.layout = make("div", { class: "wl-edit" },
      make("div", { class: "wl-row", role: "toolbar", "aria-label": "tools" }, group(...Object.values(this.tools)),
        group(this.swatch, this.objects, more), group(this.undo, this.redo, this.remove,
          button("Clear", "Remove all marks; Undo brings them back", () => this.act("clear"))),
        group(this.go, this.stop, this.meter), this.lock, this.brush),
      this.view.node,
      make("div", { class: "wl-rest" }, this.panel.alert, this.doubt, make("div", { class: "wl-row" }, this.note, this.panel.status, keys, exchange)));
    this.panel.node.append(this.layout);
    this.unfollow = followRoom(this.panel.node, (width, height) => this.arrange(width, height));
  }

  arrange(width, height) { // the tools stand where the image comes out larger
    const tall = this.clip.height / this.clip.width;
    const [beside, above] = [Math.min(height - BELOW, (width - SIDE) * tall), Math.min(height - AROUND, width * tall)];
    this.layout.classList.toggle("wl-beside", beside > above);
    this.layout.style.setProperty("--wl-image", `${Math.max(TRANSPORT, Math.ceil(beside / tall))}px`);
  }

  listen() {
    const { view, link } = this;
    view.on("down", (event, place) => this.down(event, place));
    view.on("move", (event, place) => this.move(event, place));
    view.on("up", (event, place) => this.up(place));
    view.on("leave", () => { if (!this.byKey) this.pointer = this.hover = null; view.draw(); });
    view.on("paint", (ctx) => this.paint(ctx));
    view.on("frame", () => { this.hover = null; this.show(); });
    view.on("stretch", (stretch) => this.act("stretch", { stretch }));
    link.on("state", (state) => this.take(state));
    link.on("hover", (answer, [png]) => this.preview(answer, png));
    link.on("progress", ({ what, done, total }) => {
      Object.assign(this.meter, { max: total, value: done });
      this.panel.say(`${what}: ${done} of ${total} frames`);
    });
    link.on("stopped", () => this.panel.say("stopped: the frames do not follow the last changes"));
    link.on("error", ({ text }) => { this.panel.fail(text); this.asked = null; });
    link.on("exported", ({ id, text }) => {
      if (id !== view.store.name) return;
      const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      make("a", { href: url, download: "points.json" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    });
    const use = (tool) => () => this.use(tool);
    const size = (by) => () => { this.size.value = this.radius + by; this.radius = Number(this.size.value); this.show(); };
    Object.assign(view.keys, {
      p: use("point"), b: use("box"), d: use("brush"), e: () => this.mode.click(), "[": size(-2), "]": size(2),
      n: () => this.nextObject(false), Delete: () => this.erase(), Backspace: () => this.erase(),
      "Ctrl+z": () => this.act("undo"), "Ctrl+Shift+Z": () => this.act("redo"), "Ctrl+y": () => this.act("redo"),
      l: () => this.lock.click(), x: () => this.mark(true), "Shift+X": () => this.mark(false),
      Enter: () => this.go.click(), Escape: () => this.escape(), ",": () => this.jump(-1), ".": () => this.jump(1),
    });
    for (const [key, x, y] of [["ArrowLeft", -1, 0], ["ArrowRight", 1, 0], ["ArrowUp", 0, -1], ["ArrowDown", 0, 1]]) {
      view.keys[`Alt+${key}`] = () => this.moveCross(x, y);
      view.keys[`Alt+Shift+${key}`] = () => this.moveCross(10 * x, 10 * y);
    }
    this.panel.node.addEventListener("keydown", (event) => {
      if (!view.node.contains(event.target)) view.key(event); // the keys hold in the whole editor
    });
  }

  act(op, more = {}) {
    const seq = `${this.view.store.name}:${this.seq++}`;
    this.pending.set(seq, { op, ...more });
    this.link.tell("do", { op, seq, ...more });
    this.panel.fail("");
    this.panel.say("saving …");
    setTimeout(() => this.pending.has(seq) && this.panel.say("not kept yet: the kernel is busy or gone"), LATE_MS);
    this.view.draw();
  }

  take(state) {
    this.pending.delete(state.seq);
    const first = this.saved === undefined;
    this.state = state;
    this.saved = state.file;
    this.view.setStretch(state.stretch);
    if (this.selected && !this.pending.size && !this.all().some((mark) => same(mark, this.selected.mark))) this.selected = null;
    const count = state.clicks.length + state.boxes.length + state.strokes.length;
    if (!this.pending.size && !state.busy) {
      this.panel.say(`${state.said ? `${state.said} · ` : ""}${first && !count ? "nothing marked yet" : `${count} mark${count === 1 ? "" : "s"}, kept in ${state.file}`} · masks by ${state.by}`);
    }
    this.show();
  }

  all() {
    return [...this.state.clicks, ...this.state.boxes, ...this.state.strokes];
  }

  show() {
    const { state, view } = this;
    for (const [name, node] of Object.entries(this.tools)) press(node, name === this.tool);
    press(this.mode, !this.add);
    this.brush.style.visibility = this.tool === "brush" ? "visible" : "hidden";
    this.sizeText.textContent = `${this.radius} px`;
    const most = Math.max(this.object, ...this.all().map((mark) => mark.object ?? 1));
    if (this.objects.select.length !== most) {
      this.objects.select.replaceChildren(...Array.from({ length: most }, (_, i) => make("option", { value: i + 1, text: i + 1 })));
    }
    this.objects.select.value = this.object;
    this.swatch.style.color = colourOf(this.object);
    Object.assign(this.undo, { disabled: !state.undo });
    Object.assign(this.redo, { disabled: !state.redo });
    this.remove.disabled = !this.selected;
    this.go.disabled = !state.outdated || state.busy;
    this.stop.style.visibility = this.meter.style.visibility = state.busy ? "visible" : "hidden";
    this.note.textContent = this.judgement();
    this.ask(state.doubt);
    press(this.lock, state.locked.includes(view.t));
    const frames = new Set(this.all().map((mark) => mark.frame));
    const ticks = [[frames, OKABE.orange], [state.jumps, OKABE.red], [state.locked, OKABE.sky]];
    view.setMarks(ticks.flatMap(([list, colour]) => [...list].map((t) => ({ t, colour }))));
    view.draw();
  }

  judgement() {
    const { outdated, waiting, finding, busy, stretch, locked, jumps } = this.state;
    const { t } = this.view;
    if (locked.includes(t)) return "locked: this frame stays as it is";
    if (busy) return "propagating …";
    if (jumps.includes(t)) return "⚠ this mask jumps against the frames beside it";
    if (!outdated) return jumps.length ? `⚠ look at frame${jumps.length > 1 ? "s" : ""} ${jumps.slice(0, 8).join(", ")}: the mask jumps` : "";
    const [first, last] = stretch ?? [0, this.clip.frames - 1];
    if (t < first || t > last) return "⚠ out of date: propagate (this frame is outside the stretch and stays)";
    if (finding.includes(t)) return "⚠ finding the mask of this frame …";
    return waiting.includes(t) ? "⚠ this frame shows your marks, the others are out of date: propagate" : "⚠ mask out of date: propagate";
  }

  ask(doubt) {
    const keep = (mark) => button("Keep anyway", "The mark counts although the mask jumps", () => this.act("keep", { mark }));
    this.doubt.replaceChildren(...(doubt ? [make("span", { text: `⚠ Not kept: ${doubt.text}. ` }), keep(doubt.mark),
      make("span", { class: "wl-quiet", text: " or leave it: it stays, switched off, in the list of decisions" })] : []));
  }

  mark(positive) {
    const place = this.pointer;
    if (!place || !this.inside(place)) return this.panel.say("move the cross into the image first: Alt+arrows");
    this.act("click", { frame: this.view.t, x: place.x, y: place.y, positive, object: this.object });
  }

  moveCross(x, y) {
    const { clip } = this;
    const from = this.pointer ?? { x: clip.width / 2, y: clip.height / 2 };
    const inside = (value, side) => Math.max(0.5, Math.min(side - 0.5, value));
    this.pointer = { x: inside(from.x + x, clip.width), y: inside(from.y + y, clip.height) };
    this.byKey = true;
    this.panel.say(`x ${Math.round(this.pointer.x)}, y ${Math.round(this.pointer.y)}`);
    this.rest(false, this.pointer);
    this.view.draw();
  }

  paint(ctx) {
    const { view, state, drag } = this;
    if (this.hover?.t === view.t && !drag) ctx.drawImage(this.hover.bitmap, 0, 0, this.clip.width, this.clip.height);
    const without = (list) => (drag?.was ? list.filter((mark) => !same(mark, drag.was)) : list);
    drawMarks(ctx, view, {
      clicks: without(state.clicks), boxes: without(state.boxes), strokes: state.strokes,
    }, this.selected?.mark);
    const pending = { clicks: [], boxes: [], strokes: [] };
    const lists = { click: "clicks", box: "boxes", stroke: "strokes" };
    for (const each of this.pending.values()) if (lists[each.op]) pending[lists[each.op]].push(each);
    if (drag?.now && drag.what !== "stroke") pending[lists[drag.what]].push(drag.now);
    drawMarks(ctx, view, pending, null, true);
    for (const stroke of [...pending.strokes, drag?.what === "stroke" ? drag.now : null]) {
      if (stroke?.frame === view.t) drawStroke(ctx, stroke);
    }
    if (this.byKey && this.pointer) drawCross(ctx, view, this.pointer);
    if (this.tool === "brush" && this.pointer && !drag) {
      for (const [width, colour] of [[3, "#000"], [1.5, "#fff"]]) {
        ctx.lineWidth = width * view.px;
        ctx.strokeStyle = colour;
        ctx.beginPath();
        ctx.arc(this.pointer.x, this.pointer.y, this.radius, 0, 2 * Math.PI);
        ctx.stroke();
      }
    }
    if (/^⚠ (mask|finding)/.test(this.note.textContent)) drawBanner(ctx, view, "out of date");
  }

  inside({ x, y }) {
    return x >= 0 && y >= 0 && x < this.clip.width && y < this.clip.height;
  }

  down(event, place) {
    const { view } = this;
    const other = event.shiftKey || event.button === 2;
    const found = this.tool === "brush" ? null : findMark(view, this.state, place);
    this.hover = null;
    if (found) {
      this.selected = found;
      if (!other) this.drag = { ...found, was: found.mark, now: found.mark, from: place };
    } else if (this.tool === "point") {
      if (!this.inside(place)) return;
      this.act("click", { frame: view.t, x: place.x, y: place.y, positive: !other, object: this.object });
      this.selected = null;
    } else if (this.tool === "box") {
      this.drag = { what: "box", from: place, now: { frame: view.t, ...boxOf(place, place), object: this.object } };
    } else {
      const add = this.add !== other;
      this.drag = { what: "stroke", now: { frame: view.t, add, radius: this.radius, path: [[place.x, place.y]], carried: this.carried } };
    }
    this.show();
  }

  move(event, place) {
    const { drag } = this;
    this.pointer = place;
    this.byKey = false;
    if (!drag) {
      this.view.canvas.style.cursor = this.tool === "brush" ? "none" : findMark(this.view, this.state, place) ? "grab" : "crosshair";
      if (this.tool === "brush") this.view.draw();
      else this.rest(event.shiftKey, place);
      return;
    }
    const x = Math.max(0, Math.min(this.clip.width - 0.01, place.x));
    const y = Math.max(0, Math.min(this.clip.height - 0.01, place.y));
    if (drag.what === "stroke") {
      const path = drag.now.path;
      const [lastX, lastY] = path.at(-1);
      const far = Math.hypot(place.x - lastX, place.y - lastY) >= Math.max(0.5, this.radius / 5);
      if (far && path.length < MOST_PLACES) path.push([place.x, place.y]);
    } else if (drag.what === "click") drag.now = { ...drag.was, x, y };
    else if (!drag.was) drag.now = { ...drag.now, ...boxOf(drag.from, { x, y }) };
    else if (drag.corner) {
      const fixed = { x: drag.corner[0] === "x0" ? drag.was.x1 : drag.was.x0, y: drag.corner[1] === "y0" ? drag.was.y1 : drag.was.y0 };
      drag.now = { ...drag.was, ...boxOf(fixed, { x, y }) };
    } else {
      const { x0, y0, x1, y1 } = drag.was;
      const dx = Math.max(-x0, Math.min(this.clip.width - x1, place.x - drag.from.x));
      const dy = Math.max(-y0, Math.min(this.clip.height - y1, place.y - drag.from.y));
      drag.now = { ...drag.was, x0: x0 + dx, y0: y0 + dy, x1: x1 + dx, y1: y1 + dy };
    }
    this.view.draw();
  }

  up() {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    const { was, now } = drag;
    if (drag.what === "stroke") this.act("stroke", now);
    else if (was && !same(was, now)) {
      const { frame, object, positive, ...to } = now;
      this.act("move", { what: drag.what, was, to });
      this.selected = { what: drag.what, mark: now };
    } else if (!was && now.x1 - now.x0 >= 2 && now.y1 - now.y0 >= 2) this.act("box", now);
    this.show();
  }

  rest(shift, place) {
    clearTimeout(this.timer);
    if (this.hover && Math.hypot(place.x - this.hover.x, place.y - this.hover.y) > 6 * this.view.px) {
      this.hover = null;
      this.view.draw();
    }
    if (!this.state.quick || this.tool !== "point") return;
    this.timer = setTimeout(() => {
      if (!this.pointer || this.asked || this.drag || !this.inside(this.pointer)) return;
      this.asked = `${Math.random()}`;
      const { x, y } = this.pointer;
      this.askedAt = { x, y };
      this.link.tell("hover", { id: this.asked, t: this.view.t, x, y, positive: !shift, object: this.object, width: 640 });
    }, REST_MS);
  }

  async preview({ id, t }, png) {
    if (id !== this.asked) return;
    this.asked = null;
    const bitmap = await createImageBitmap(new Blob([png]));
    this.hover = this.pointer ? { t, bitmap, ...this.askedAt } : null;
    this.view.draw();
  }

  use(tool) {
    this.tool = tool;
    this.hover = null;
    this.show();
  }

  nextObject(another) {
    const most = Math.max(1, ...this.all().map((mark) => mark.object ?? 1));
    this.object = another ? most + 1 : (this.object % most) + 1;
    this.show();
  }

  erase() {
    const found = this.selected ?? (this.pointer && (findMark(this.view, this.state, this.pointer) ?? strokeAt(this.view, this.state, this.pointer)));
    if (found) this.act("delete", { what: found.what, was: found.mark });
    this.selected = null;
    this.show();
  }

  escape() {
    if (this.state.busy) this.link.tell("cancel");
    Object.assign(this, { drag: null, selected: null });
    this.show();
  }

  jump(by) {
    const frames = [...new Set(this.all().map((mark) => mark.frame))].sort((a, b) => a - b);
    const next = by > 0 ? frames.find((t) => t > this.view.t) : frames.findLast((t) => t < this.view.t);
    if (next !== undefined) this.view.goTo(next);
  }

  close() {
    clearTimeout(this.timer);
    this.unfollow();
    this.view.close();
    this.link.close();
  }
}

export default {
  render({ model, el }) {
    const editor = new MaskEditor(model, el);
    return () => editor.close();
  },
};
