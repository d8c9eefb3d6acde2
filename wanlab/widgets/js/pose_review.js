/* Look at a pose and correct it: the frame with its skeleton, what is likely wrong, confidence over time, face crops.

   Traits: clip (of Stills); drawing: how a skeleton is drawn, see pose_skeleton.js, with `stick`, half a limb's width.
   Messages: POSE_REVIEW of messages.py. */

import { button, choice, followRoom, Link, LOW, make, press, root } from "./parts.js";
import { ClipView } from "./clip_view.js";
import { drawHandles, drawSkeleton, handles, nearest, shown } from "./pose_skeleton.js";
import { Faces, Timeline, TIMELINE_STYLE } from "./pose_timeline.js";

const REACH = 10; // CSS pixels from a joint within which it is taken hold of
const SLACK = 3; // CSS pixels: less is a click, which moves nothing
const CHUNK = 64; // frames of keypoints in a message

const HELP = "Drag a joint; with Shift a wrist takes its hand along. Keys: N and P next and previous fault, I and O the stretch, "
  + "G interpolate, H hide, S swap hands, J and K choose a joint (a click places one that is not drawn), Alt+arrows move it (with Shift by ten), Ctrl+Z and Ctrl+Y.";

const REVIEW_STYLE = `${TIMELINE_STYLE}
.wl-review { display: grid; grid-template-columns: minmax(0, 1fr) 250px; gap: 12px; }
.wl-review h4 { margin: 2px 0; font-weight: 600; font-size: inherit; }
.wl-review.wl-tall { grid-template-columns: minmax(0, 1fr) minmax(250px, 45%); }
.wl-side { display: flex; flex-direction: column; height: 0; min-height: 100%; overflow-y: auto; }
.wl-side > * { flex: none; }
.wl-side ol, .wl-side ul { list-style: none; margin: 0 0 8px; padding: 3px; overflow-y: auto; min-height: 40px; }
.wl-side ol { flex: 2 0 0; }
.wl-side ul { flex: 1 0 0; }
:scope .wl-side li button { width: 100%; text-align: left; margin: 1px 0; padding: 2px 6px; line-height: 1.3; }
.wl-side li button b { font-variant-numeric: tabular-nums; }
`;

const floats = (view) => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
const span = (first, last) => (first === last ? `frame ${first}` : `frames ${first} to ${last}`);

class Review {
  constructor(model, el) {
    this.clip = model.get("clip");
    this.drawing = model.get("drawing");
    this.link = new Link(model);
    this.frame = root(el, "Pose review", REVIEW_STYLE);
    Object.assign(this, { poses: new Map(), asked: new Set(), part: "left arm", joint: null, drag: null, hover: null });
    this.ghost = true;
    this.faults = [];
    this.view = new ClipView(this.link, this.clip, { label: "frame with its skeleton; drag a joint, with Shift a wrist takes its hand along", within: this.frame.node });
    const goTo = (t) => { this.view.pause(); this.view.goTo(t); };
    const names = [...this.drawing.parts.map(([name]) => name), "face crop"];
    this.timeline = new Timeline(this.clip, names, { goTo, choose: (name) => this.choose(name), say: (text) => this.frame.say(text) });
    this.faces = new Faces(this.link, this.clip, { goTo });
    this.worst = make("ol", { "aria-label": "frames to look at, the worst first" });
    this.done = make("ul", { "aria-label": "corrections" });
    this.notes = make("div", { class: "wl-quiet" });
    const keys = make("details", {}, make("summary", { text: "Keys" }), make("div", { class: "wl-quiet", text: HELP }));
    const docked = make("div", {}, this.view.node);
    const side = make("div", { class: "wl-side" }, this.#tools(), this.frame.alert, this.frame.status,
      make("h4", { text: "Worst frames first" }), this.worst, make("h4", { text: "Corrected by hand" }), this.done,
      this.faces.node, this.notes, keys);
    const layout = make("div", { class: "wl-review" }, docked, side);
    this.frame.node.append(layout);
    this.unfollow = followRoom(this.frame.node, (_, height) => { // a tall clip leaves room beside it, a low window none under it
      const low = height < LOW;
      layout.classList.toggle("wl-tall", low || this.clip.height > this.clip.width);
      const place = low ? side : docked;
      if (this.timeline.node.parentNode !== place) place.append(this.timeline.node);
    });
    this.#listen();
    this.#keys();
    this.choose(this.part);
    this.frame.node.addEventListener("pointerenter", () => this.link.tell("refresh")); // another kernel may have written
    this.link.tell("begin");
  }

  choose(part, joint = null) {
    this.visited = null;
    this.part = part;
    this.joint = joint;
    const options = this.drawing.parts.map(([name]) => [name, name]);
    if (joint !== null) options.push([String(joint), `${this.drawing.names[joint]} only`]);
    this.target.replaceChildren(...options.map(([value, text]) => make("option", { value, text })));
    this.target.value = part;
    this.timeline.at(this.view.t ?? 0, part);
    this.view.draw();
  }

  close() {
    this.view.close();
    this.unfollow();
    this.timeline.close();
    this.faces.close();
    this.link.close();
  }

  get rows() {
    return this.drawing.parts.find(([name]) => name === this.part)[1];
  }

  get where() { // the stretch, while the frame is in it; else the frame alone
    const [t, stretch] = [this.view.t ?? 0, this.view.stretch];
    return stretch && stretch[0] <= t && t <= stretch[1] ? stretch : [t, t];
  }

  #tools() {
    const select = choice("part", [], () => this.#chosen());
    this.target = select.select;
    this.undo = button("Undo", "Undo the last correction", () => this.link.tell("undo"), "Ctrl+Z");
    this.redo = button("Redo", "Correct again what was undone", () => this.link.tell("redo"), "Ctrl+Y");
    this.asDetected = button("as detected", "Show the skeleton as it was detected beside the corrected one", () => this.#toggle());
    press(this.asDetected, this.ghost);
    this.scope = make("span", { class: "wl-quiet" });
    this.acts = {
      interpolate: button("Interpolate", "Draw the part again from the frames beside the stretch, or the gap around this frame; of a listed fault, mend all that is wrong", () => this.#interpolate(), "G"),
      hide: button("Hide", "Hide the part, as a hand that was found where none is", () => this.#overStretch({ do: "hide", part: this.#what() }), "H"),
      swap: button("Swap hands", "Left and right hand change over, with their wrists where those are exchanged too", () => this.#overStretch({ do: "swap hands" }), "S"),
    };
    this.view.transport.append(make("span", { class: "wl-group" },
      button("[ in", "The stretch to be corrected begins at this frame", () => this.#mark(0), "I"),
      button("out ]", "The stretch to be corrected ends at this frame", () => this.#mark(1), "O"),
      button("×", "No stretch: correct one frame", () => this.#mark(null))));
    return make("div", { class: "wl-row", role: "toolbar", "aria-label": "corrections" }, select,
      make("span", { class: "wl-group" }, this.acts.interpolate, this.acts.hide), this.acts.swap,
      make("span", { class: "wl-group" }, this.undo, this.redo), this.asDetected, this.scope);
  }

  #what() {
    return this.target.value === String(this.joint) ? this.joint : this.target.value;
  }

  #chosen() {
    if (this.target.value !== String(this.joint)) this.choose(this.target.value);
  }

  #toggle() {
    this.ghost = !this.ghost;
    press(this.asDetected, this.ghost);
    this.view.draw();
  }

  #mark(side) {
    this.visited = null;
    if (side === null) return this.#stretch(null);
    const t = this.view.t ?? 0;
    const [first, last] = this.view.stretch ?? [t, t];
    this.#stretch(side ? [Math.min(first, t), t] : [t, Math.max(last, t)]);
  }

  #stretch(stretch) {
    this.view.setStretch(stretch);
    this.#label();
  }

  #overStretch(entry) {
    const [first, last] = this.where;
    this.link.tell("edit", { entries: [{ ...entry, first, last }], merge: false });
  }

  get listed() { // the fault that was gone to, while its frames are shown and nothing else was chosen
    const { visited } = this;
    const t = this.view.t ?? 0;
    return visited && visited.first <= t && t <= visited.last ? visited : null;
  }

  #interpolate() {
    if (this.listed) return this.link.tell("mend", { first: this.listed.first, last: this.listed.last });
    const [first, last] = this.where;
    const stretch = this.view.stretch && first !== last ? [first, last] : null;
    this.link.tell("interpolate", { part: this.#what(), t: this.view.t ?? 0, stretch });
  }

  #label() {
    const where = this.where;
    const waiting = this.view.stretch && where !== this.view.stretch ? ` (${span(...this.view.stretch)} marked)` : "";
    this.scope.textContent = `acts on ${span(...where)}${waiting}${this.listed ? "; Interpolate mends all that is listed there" : ""}`;
  }

  #keys() {
    const keys = this.view.keys;
    const click = (node) => () => node.click();
    this.frame.node.addEventListener("keydown", (event) => { // the keys hold in the whole widget
      if (!this.view.node.contains(event.target)) this.view.key(event);
    });
    Object.assign(keys, {
      g: click(this.acts.interpolate), h: click(this.acts.hide), s: click(this.acts.swap), i: () => this.#mark(0), o: () => this.#mark(1),
      n: () => this.#fault(1), p: () => this.#fault(-1), "Ctrl+z": click(this.undo), "Ctrl+y": click(this.redo),
      "Ctrl+Shift+Z": click(this.redo), j: () => this.#nextJoint(1), k: () => this.#nextJoint(-1),
    });
    for (const [key, x, y] of [["ArrowLeft", -1, 0], ["ArrowRight", 1, 0], ["ArrowUp", 0, -1], ["ArrowDown", 0, 1]]) {
      keys[`Alt+${key}`] = () => this.#nudge(x, y);
      keys[`Alt+Shift+${key}`] = () => this.#nudge(10 * x, 10 * y);
    }
  }

  #nextJoint(step) {
    const rows = this.rows;
    const at = rows.indexOf(this.joint);
    const joint = rows[(at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step + rows.length) % rows.length];
    this.choose(this.part, joint);
    this.#name(joint);
  }

  #nudge(x, y) {
    const pose = this.poses.get(this.view.t);
    if (this.joint === null || !pose) return this.frame.say("choose a joint first: J and K go through those of the part");
    const place = { x: pose.points[3 * this.joint] + x, y: pose.points[3 * this.joint + 1] + y };
    this.#move(pose, this.#together([this.joint]), place, this.joint, true);
  }

  #together(rows) { // toes are drawn as one point
    return this.drawing.sources.slice(2).find(([a, b]) => a !== b && (rows[0] === a || rows[0] === b)) ?? rows;
  }

  #fault(step) {
    const t = this.view.t ?? 0;
    const at = this.faults.findIndex(({ first, last }) => first <= t && t <= last);
    this.#visit(this.faults[at < 0 ? 0 : (at + step + this.faults.length) % this.faults.length]);
  }

  #visit(fault) {
    if (!fault) return;
    this.view.pause();
    this.view.goTo(fault.first);
    this.#stretch(fault.first === fault.last ? null : [fault.first, fault.last]);
    if (fault.part) this.choose(fault.part);
    this.visited = fault;
    this.#label();
  }

  #name(joint) {
    const pose = this.poses.get(this.view.t);
    if (!pose) return;
    const score = pose.points[3 * joint + 2];
    const drawn = shown(pose.points, this.drawing, joint);
    this.frame.say(`${this.drawing.names[joint]}, score ${score.toFixed(2)}${drawn ? "" : ": not drawn; once chosen (J, K), click where it is"}`);
  }

  #need(t) {
    const first = Math.floor(t / CHUNK) * CHUNK;
    if (this.poses.has(t) || this.asked.has(first)) return;
    this.asked.add(first);
    this.link.tell("poses", { first, last: Math.min(first + CHUNK, this.clip.frames) - 1 });
  }

  #listen() {
    const { link, view } = this;
    link.on("poses", ({ first, last }, [points, detected, boxes]) => {
      const [now, before] = [floats(points), floats(detected)];
      const box = new Int32Array(boxes.buffer.slice(boxes.byteOffset, boxes.byteOffset + boxes.byteLength));
      for (let t = first; t <= last; t++) {
        const i = t - first;
        this.poses.set(t, {
          points: now.slice(399 * i, 399 * (i + 1)), detected: before.slice(399 * i, 399 * (i + 1)), box: box.slice(4 * i, 4 * (i + 1)),
        });
      }
      view.draw();
    });
    link.on("stale_faces", ({ first, last }) => this.faces.forget(first, last));
    link.on("overview", (message, [sure, missing, jumping]) => this.#overview(message, { sure, missing, jumping }));
    link.on("error", ({ text }) => { this.asked.clear(); this.frame.fail(text); });
    link.on("said", ({ text, first, last }) => {
      this.frame.fail("");
      this.frame.say(text);
      if (view.t < first || view.t > last) view.goTo(first);
    });
    view.on("frame", (t) => {
      this.drag = null;
      this.#need(t);
      this.#need(Math.min(this.clip.frames - 1, t + CHUNK / 2));
      this.timeline.at(t, this.part);
      if (!view.playing) this.faces.at(t);
      this.#label();
    });
    view.on("paint", (ctx) => this.#paint(ctx));
    view.on("down", (event, place) => this.#down(event, place));
    view.on("move", (event, place) => this.#over(event, place));
    view.on("up", (event, place) => this.#up(place));
    view.on("leave", () => this.#over(null, { x: -1e6, y: -1e6 }));
  }

  #overview({ faults, corrections, entries, noFace, cuts, undo, redo, notes }, buffers) {
    const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    const facts = Object.fromEntries(Object.entries(buffers).map(([name, view]) => [name, bytes(view)]));
    this.faults = faults;
    this.timeline.show({ ...facts, cuts });
    this.faces.noFace = new Set(noFace);
    this.faces.at(this.view.t ?? 0);
    const list = (items, none) => (items.length ? items : [make("li", { class: "wl-quiet", text: none })]);
    this.worst.replaceChildren(...list(faults.map((fault) => {
      const frames = fault.first === fault.last ? `${fault.first}` : `${fault.first}–${fault.last}`;
      const go = make("button", { type: "button", on: { click: () => this.#visit(fault) } }, make("b", { text: frames }), ` ${fault.reason}`);
      return make("li", {}, go);
    }), "no fault found"));
    this.done.replaceChildren(...list(corrections.map((text) => make("li", { text })), "nothing yet"));
    this.undo.disabled = !undo;
    this.redo.disabled = !redo;
    this.notes.textContent = notes.join("; ");
    this.frame.node.dataset.corrections = entries;
  }

  #paint(ctx) {
    const pose = this.poses.get(this.view.t);
    this.frame.node.dataset.pose = pose ? this.view.t : "";
    if (!pose) return;
    const px = this.view.px, { drawing } = this;
    if (this.ghost && pose.points.some((value, i) => value !== pose.detected[i])) {
      drawSkeleton(ctx, pose.detected, drawing, { stick: drawing.stick, px, ghost: true });
    }
    const points = this.drag?.moved ? this.drag.points : pose.points;
    drawSkeleton(ctx, points, drawing, { stick: drawing.stick, px });
    drawHandles(ctx, handles(points, drawing, this.part), { px, rowsOfPart: this.rows, chosen: this.joint, points });
    const [x1, x2, y1, y2] = pose.box;
    if (x2 > x1) {
      ctx.save();
      ctx.lineWidth = px;
      for (const [dash, colour] of [[0, "#000000"], [4, "#ffffff"]]) {
        ctx.setLineDash(dash ? [dash * px, dash * px] : []);
        ctx.strokeStyle = colour;
        ctx.strokeRect(x1, y1, x2 - x1, y2 - y1);
      }
      ctx.restore();
    }
  }

  #down(event, place) {
    const pose = this.poses.get(this.view.t);
    if (event.button !== 0 || !pose) return;
    this.view.pause();
    const handle = nearest(handles(pose.points, this.drawing, this.part), place, REACH * this.view.px, this.rows);
    if (!handle) return this.#place(pose, place);
    const joint = handle.rows[0];
    this.choose(this.drawing.parts.find(([, rows]) => rows.includes(joint))[0], joint);
    this.#name(joint);
    const side = Math.max(this.drawing.wrists.indexOf(joint), this.drawing.hands.indexOf(joint));
    const whole = event.shiftKey && side >= 0 ? [...Array(21).keys()].map((i) => this.drawing.hands[side] + i) : [];
    const rows = [...new Set([...handle.rows, ...whole.filter((row) => shown(pose.points, this.drawing, row))])];
    this.drag = { rows, joint, from: place, points: pose.points, moved: false };
  }

  #place(pose, place) { // the chosen joint, where it is not drawn: it comes to lie where was clicked
    if (this.joint === null || shown(pose.points, this.drawing, this.joint)) return;
    this.drag = { rows: this.#together([this.joint]), joint: this.joint, from: place, points: pose.points, moved: true };
  }

  #over(event, place) {
    const { drag } = this;
    const pose = this.poses.get(this.view.t);
    if (drag && pose) {
      if (!drag.moved && Math.hypot(place.x - drag.from.x, place.y - drag.from.y) < SLACK * this.view.px) return;
      drag.moved = true;
      drag.points = this.#moved(pose.points, drag.rows, place, drag.joint);
      return this.view.draw();
    }
    const handle = pose && nearest(handles(pose.points, this.drawing, this.part), place, REACH * this.view.px, this.rows);
    const placing = pose && this.joint !== null && !shown(pose.points, this.drawing, this.joint);
    this.view.canvas.style.cursor = handle ? "grab" : placing ? "crosshair" : "default";
    if (handle && this.hover !== handle.rows[0]) this.#name(handle.rows[0]);
    this.hover = handle ? handle.rows[0] : null;
  }

  #up(place) {
    const { drag } = this;
    const pose = this.poses.get(this.view.t);
    this.drag = null;
    if (drag?.moved && pose) this.#move(pose, drag.rows, place, drag.joint, false);
    this.view.draw();
  }

  #moved(points, rows, place, joint) { // the joint comes to lie at `place`, the other rows keep their places about it
    const changed = points.slice();
    const inside = (value, side) => Math.max(0, Math.min(side, value));
    const toes = this.#together([joint]);
    for (const row of rows) {
      const from = toes.includes(row) ? row : joint;
      changed[3 * row] = inside(points[3 * row] + place.x - points[3 * from], this.clip.width);
      changed[3 * row + 1] = inside(points[3 * row + 1] + place.y - points[3 * from + 1], this.clip.height);
      changed[3 * row + 2] = 1;
    }
    return changed;
  }

  #move(pose, rows, place, joint, merge) {
    const changed = this.#moved(pose.points, rows, place, joint);
    const rounded = (value) => Math.round(value * 100) / 100; // hundredths of a pixel are enough in a file
    const entries = rows.map((row) => (
      { do: "move", frame: this.view.t, joint: row, x: rounded(changed[3 * row]), y: rounded(changed[3 * row + 1]) }));
    pose.points = changed; // shown at once; the kernel's answer follows
    this.view.draw();
    this.link.tell("edit", { entries, merge });
  }
}

export default {
  render({ model, el }) {
    const review = new Review(model, el);
    return () => review.close();
  },
};
