/* A clip on a canvas: scrub, play, zoom, pan, draw over it; every coordinate is in pixels of the working clip.

   const view = new ClipView(link, clip, { label, start, layers: ["clip"], within, rows: 1, marksStretch: false, leader: null })
   panel.node.append(view.node)          clip: model.get("clip"); layers: the first is the frame, those after lie over it
   within: the element that must fit into the window's height with `rows` such canvases one below the other in it
   view.t                                the frame on the screen; a click belongs to it. view.goTo(t), view.play(), view.pause()
   view.toClip(event) -> { x, y }        where an event of the pointer is; view.px: one CSS pixel in pixels of the clip
   view.draw()                           draw again soon; view.setLayers([...])
   view.on("frame", (t) => …)            another frame is on the screen
   view.on("paint", (ctx, view) => …)    draw over the frame, in pixels of the clip; view.image(layer) -> ImageBitmap or null
   view.on("down" | "move" | "up" | "leave", (event, { x, y }) => …)   the pointer (middle button and Alt+drag pan)
   view.on("stretch", ([first, last] | null) => …)   in and out points were set (with marksStretch); view.setStretch(…)
   view.keys["Shift+x"] = () => …        more keys, while the focus is in the view; view.key(event) takes one from elsewhere
   view.transport                        the row of the slider, to add to
   view.setMarks([{ t, colour }])        ticks under the slider
   view.ready = (t) => …                 whether what is drawn over frame t has come too; call view.draw() when it has
   view.on("pause", () => …)             playing has ended
   leader: another ClipView whose frame, zoom and pan this one follows; it has no slider of its own. view.close() */

import { button, followRoom, make, press, roomOf } from "./parts.js";
import { FrameStore } from "./frame_store.js";

const MOST_ZOOM = 16;
const LEAST = 96; // CSS pixels of height: below it one scrolls
const WIDTH_STEP = 160; // images are requested in multiples of it, so that resizing does not request all again

export class ClipView {
  constructor(link, clip, { label, start = 0, layers = ["clip"], within = null, rows = 1, marksStretch = false, leader = null } = {}) {
    Object.assign(this, { clip, layers, leader, within, rows, t: null, wanted: null, playing: false });
    this.store = leader?.store ?? new FrameStore(link, clip);
    this.look = leader?.look ?? { zoom: 1, x: clip.width / 2, y: clip.height / 2 };
    this.followers = [];
    this.handlers = {};
    this.stretch = null;
    this.marks = [];
    this.canvas = make("canvas");
    this.stage = make("div", { class: "wl-stage", tabindex: 0, role: "application", "aria-label": label }, this.canvas);
    this.transport = make("div", { class: "wl-row" });
    this.node = make("div", { class: "wl-view" }, this.stage, leader ? null : this.transport);
    this.keys = {};
    if (leader) leader.followers.push(this);
    else this.#controls(marksStretch);
    this.#pointer();
    this.node.addEventListener("keydown", (event) => this.key(event));
    for (const enter of ["pointerenter", "focusin"]) this.node.addEventListener(enter, () => this.#idle(true));
    this.node.addEventListener("pointerleave", () => this.#idle(false));
    if (!leader) {
      this.store.arrived = () => [this, ...this.followers].forEach((view) => view.#arrived());
      link.on("stale", () => [this, ...this.followers].forEach((view) => view.draw()));
      link.on("go", ({ t }) => {
        this.pause();
        if (t !== null) this.goTo(t);
        (within ?? this.node).scrollIntoView({ block: "nearest" });
      });
    }
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.node);
    if (!leader) this.unfollow = followRoom(within ?? this.node, () => this.resize());
    this.goTo(leader ? leader.wanted : start);
  }

  on(name, handler) {
    (this.handlers[name] ??= []).push(handler);
  }

  emit(name, ...what) {
    for (const handler of this.handlers[name] ?? []) handler(...what);
  }

  goTo(t) {
    this.wanted = Math.max(0, Math.min(this.clip.frames - 1, Math.round(t)));
    if (this.slider) this.slider.value = this.wanted;
    this.#wish();
    this.#arrived();
    this.followers.forEach((view) => view.goTo(t));
  }

  play() {
    this.playing = true;
    press(this.player, true);
    this.player.textContent = "❚❚";
    this.#tick(performance.now());
  }

  pause() {
    this.playing = false;
    press(this.player, false);
    this.player.textContent = "▶";
    this.emit("pause");
  }

  setLayers(layers) {
    this.layers = layers;
    this.#wish();
    this.draw();
  }

  setStretch(stretch) {
    this.stretch = stretch;
    this.#strip();
  }

  setMarks(marks) {
    this.marks = marks;
    this.#strip();
  }

  zoomTo(zoom, at = this.look) {
    const look = this.look;
    const next = Math.max(1, Math.min(MOST_ZOOM, zoom));
    look.x = at.x + ((look.x - at.x) * look.zoom) / next; // the place under the pointer stays there
    look.y = at.y + ((look.y - at.y) * look.zoom) / next;
    look.zoom = next;
    this.#moved();
  }

  toClip(event) {
    const box = this.canvas.getBoundingClientRect();
    const { scale, left, top } = this.#place();
    const shrunk = box.width / this.width || 1; // of a page that is itself scaled
    return {
      x: ((event.clientX - box.left) / shrunk - left) / scale,
      y: ((event.clientY - box.top) / shrunk - top) / scale,
    };
  }

  get px() {
    return 1 / this.#place().scale;
  }

  image(layer) {
    return this.store.peek(this.t, layer, this.#pixels());
  }

  draw() {
    this.pending ??= requestAnimationFrame(() => this.#draw());
  }

  resize() {
    const room = this.node.clientWidth;
    if (!room) return;
    this.most = this.#most();
    this.followers.forEach((view) => view.resize());
    const width = Math.max(64, Math.floor(Math.min(room, (this.most * this.clip.width) / this.clip.height)));
    const height = Math.round((width * this.clip.height) / this.clip.width);
    const dpr = window.devicePixelRatio || 1;
    if (width === this.width && dpr === this.dpr) return;
    Object.assign(this, { width, height, dpr });
    Object.assign(this.canvas, { width: Math.round(width * dpr), height: Math.round(height * dpr) });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    this.#wish();
    this.draw();
    this.#strip();
  }

  close() {
    this.playing = false;
    cancelAnimationFrame(this.pending);
    this.observer.disconnect();
    this.unfollow?.();
    [...this.followers].forEach((view) => view.close());
    if (!this.leader) return this.store.close();
    this.leader.followers = this.leader.followers.filter((view) => view !== this);
    this.store.leave(this);
  }

  #most() { // the height that is left for the image beside what else is in the widget
    if (this.leader) return this.leader.most;
    const within = this.within ?? this.node;
    const others = within.offsetHeight - this.rows * this.canvas.offsetHeight;
    return Math.max(LEAST, Math.floor((roomOf(this.node) - others) / this.rows));
  }

  #place() {
    const scale = ((this.width ?? 1) / this.clip.width) * this.look.zoom; // CSS pixels per pixel of the clip
    return { scale, left: (this.width ?? 1) / 2 - this.look.x * scale, top: (this.height ?? 1) / 2 - this.look.y * scale };
  }

  #pixels() {
    const shown = (this.width ?? WIDTH_STEP) * (this.dpr ?? 1) * (this.look.zoom > 1 ? Infinity : 1);
    return Math.min(this.clip.width, Math.ceil(shown / WIDTH_STEP) * WIDTH_STEP);
  }

  #wish() {
    if (this.width && this.wanted !== null) this.store.wish(this, this.wanted, this.layers, this.#pixels());
  }

  #idle(on) {
    this.store.idle = on;
    if (on) this.store.pump();
  }

  #there(t) {
    return (this.ready?.(t) ?? true) && this.layers.every((layer) => this.store.has(t, layer));
  }

  #arrived() {
    if (this.wanted !== null && this.#there(this.wanted)) this.draw();
  }

  #draw() {
    this.pending = null;
    const before = this.t;
    if (this.#there(this.wanted)) this.t = this.wanted;
    if (this.t === null || !this.width) return;
    const ctx = this.canvas.getContext("2d");
    const { scale, left, top } = this.#place();
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.clearRect(0, 0, this.canvas.width, this.canvas.height);
    ctx.setTransform(this.dpr * scale, 0, 0, this.dpr * scale, this.dpr * left, this.dpr * top);
    ctx.imageSmoothingEnabled = scale * this.dpr < 3;
    for (const layer of this.layers) {
      const bitmap = this.image(layer);
      if (bitmap) ctx.drawImage(bitmap, 0, 0, this.clip.width, this.clip.height);
    }
    this.emit("paint", ctx, this);
    this.node.dataset.frame = this.t;
    if (before === this.t) return;
    if (this.number) {
      const seconds = (this.t / this.clip.fps).toFixed(2);
      this.number.textContent = `${this.t} / ${this.clip.frames - 1} · ${seconds} s`;
      this.slider.setAttribute("aria-valuetext", `frame ${this.t}`);
    }
    this.emit("frame", this.t);
  }

  #moved() {
    const look = this.look;
    const halfX = this.clip.width / look.zoom / 2;
    const halfY = this.clip.height / look.zoom / 2;
    look.x = Math.max(halfX, Math.min(this.clip.width - halfX, look.x));
    look.y = Math.max(halfY, Math.min(this.clip.height - halfY, look.y));
    const first = this.leader ?? this;
    [first, ...first.followers].forEach((view) => { view.#wish(); view.draw(); });
  }

  #tick(last) {
    if (!this.playing) return;
    const ready = [this, ...this.followers].every((view) => view.t === view.wanted);
    const now = performance.now();
    const pace = 1000 / this.clip.fps;
    if (ready && now - last >= pace) {
      const [first, end] = this.stretch ?? [0, this.clip.frames - 1];
      this.goTo(this.wanted >= end || this.wanted < first ? first : this.wanted + 1);
      last = Math.max(last + pace, now - pace); // the screen's own rhythm does not add up; what is late stays late
    }
    requestAnimationFrame(() => this.#tick(last));
  }

  #controls(marksStretch) {
    const step = (n) => () => { this.pause(); this.goTo(this.wanted + n); };
    this.player = button("▶", "Play or pause", () => (this.playing ? this.pause() : this.play()), "Space");
    this.slider = make("input", {
      type: "range", min: 0, max: this.clip.frames - 1, value: 0, "aria-label": "frame",
      on: { input: () => { this.pause(); this.goTo(Number(this.slider.value)); } },
    });
    this.strip = make("canvas", { "aria-hidden": "true" });
    this.number = make("span", { class: "wl-number" });
    const set = (side) => () => {
      const [first, last] = this.stretch ?? [0, this.clip.frames - 1];
      const next = side ? [Math.min(first, this.t), this.t] : [this.t, Math.max(last, this.t)];
      this.setStretch(next);
      this.emit("stretch", next);
    };
    const stretch = marksStretch ? make("span", { class: "wl-group" },
      button("[ in", "The stretch begins at this frame", set(0), "I"),
      button("out ]", "The stretch ends at this frame", set(1), "O"),
      button("all", "Work on the whole clip", () => { this.setStretch(null); this.emit("stretch", null); })) : null;
    this.transport.append(
      make("span", { class: "wl-group" }, button("❮", "Frame before", step(-1), "←"), this.player,
        button("❯", "Frame after", step(1), "→")),
      make("div", { class: "wl-line" }, this.slider, this.strip), this.number, ...(stretch ? [stretch] : []),
      make("span", { class: "wl-group" },
        button("−", "Zoom out", () => this.zoomTo(this.look.zoom / 2), "-"),
        button("+", "Zoom in", () => this.zoomTo(this.look.zoom * 2), "+, Ctrl+wheel"),
        button("fit", "Whole frame", () => this.zoomTo(1), "0")),
    );
    Object.assign(this.keys, {
      ArrowLeft: step(-1), ArrowRight: step(1), "Shift+ArrowLeft": step(-10), "Shift+ArrowRight": step(10),
      Home: () => this.goTo(0), End: () => this.goTo(this.clip.frames - 1), " ": () => this.player.click(),
      "+": () => this.zoomTo(this.look.zoom * 2), "=": () => this.zoomTo(this.look.zoom * 2),
      "-": () => this.zoomTo(this.look.zoom / 2), 0: () => this.zoomTo(1),
      ...(marksStretch ? { i: set(0), o: set(1) } : {}),
    });
  }

  key(event) {
    const inside = event.target;
    if (inside !== this.slider && inside.matches("select, textarea, input")) return;
    if ((event.key === " " || event.key === "Enter") && inside.matches("button, summary")) return;
    const parts = [event.ctrlKey || event.metaKey ? "Ctrl+" : "", event.altKey ? "Alt+" : "", event.shiftKey ? "Shift+" : ""];
    const keys = (this.leader ?? this).keys;
    const act = keys[parts.join("") + event.key] ?? (event.ctrlKey || event.metaKey ? undefined : keys[event.key]);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act(event);
  }

  #pointer() {
    let pan = null;
    const tell = (name) => (event) => {
      if (pan) return;
      this.emit(name, event, this.toClip(event));
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.stage.focus({ preventScroll: true });
      event.preventDefault();
      this.canvas.setPointerCapture(event.pointerId);
      if (event.button === 1 || event.altKey) pan = { x: event.clientX, y: event.clientY };
      else tell("down")(event);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!pan) return tell("move")(event);
      this.look.x -= (event.clientX - pan.x) * this.px;
      this.look.y -= (event.clientY - pan.y) * this.px;
      pan = { x: event.clientX, y: event.clientY };
      this.#moved();
    });
    this.canvas.addEventListener("pointerup", (event) => (pan ? (pan = null) : tell("up")(event)));
    this.canvas.addEventListener("pointercancel", (event) => (pan ? (pan = null) : tell("up")(event)));
    this.canvas.addEventListener("pointerleave", tell("leave"));
    this.canvas.addEventListener("contextmenu", (event) => { event.preventDefault(); event.stopPropagation(); });
    this.canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      this.zoomTo(this.look.zoom * 2 ** (-event.deltaY / 200), this.toClip(event));
    }, { passive: false });
  }

  #strip() {
    if (!this.strip || !this.strip.clientWidth) return;
    const width = (this.strip.width = this.strip.clientWidth);
    this.strip.height = 8;
    const ctx = this.strip.getContext("2d");
    const at = (t) => 8 + (t / Math.max(1, this.clip.frames - 1)) * (width - 16); // 8: half the slider's handle
    if (this.stretch) {
      ctx.fillStyle = "#0072b2";
      ctx.fillRect(at(this.stretch[0]), 1, Math.max(2, at(this.stretch[1]) - at(this.stretch[0])), 3);
    }
    for (const { t, colour } of this.marks) {
      ctx.fillStyle = colour;
      ctx.fillRect(at(t) - 1, 0, 2, 8);
    }
  }
}
