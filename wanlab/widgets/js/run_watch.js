/* Watch a run: what it foresees as a moving picture, how far it is, stop and cancel, a notification at the end.

   The kernel is asked, never listened to: what nobody looks at is not sent. A view that comes later (a reload, another tab)
   is at once where the run is. */

import { button, Link, make, OKABE, root } from "./parts.js";

const ASK_MS = 500; // while a run works and is looked at
const REST_MS = 2000; // else
const SILENT_MS = 6000; // without an answer: the kernel cannot answer while it works
const HEIGHT = 160; // CSS pixels of the picture
const NOTIFY = "wanlab-notify"; // in the browser's storage
const RUN_ALL = "notebook:run-all-cells";
const SAVE = "docmanager:save"; // JupyterLab's command: a notebook that is not saved loses this view when it is reloaded

const LOOK = `
:scope [hidden] { display: none; }
.wl-run { display: flex; gap: 12px; align-items: stretch; }
.wl-run canvas { flex: none; background: #222; border-radius: 3px; image-rendering: auto; }
.wl-about { flex: 1 1 0; min-width: 0; display: flex; flex-direction: column; justify-content: space-between; gap: 4px; }
.wl-what { font-weight: 600; overflow-wrap: anywhere; }
.wl-about .wl-row { margin: 0; }
.wl-facts { font-variant-numeric: tabular-nums; }
.wl-bar { height: 8px; border-radius: 4px; overflow: hidden; background: var(--jp-layout-color2, #ddd); }
.wl-bar div { height: 100%; width: 0; background: var(--jp-brand-color1, ${OKABE.blue}); transition: width 0.3s; }
.wl-bar.wl-done div { background: ${OKABE.green}; }
.wl-bar.wl-lost div { background: ${OKABE.red}; }
`;

const gib = (bytes) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function rename(node, text) {
  node.firstChild.data = text;
  node.setAttribute("aria-label", `${text}: ${node.title}`);
}

class Picture {
  constructor() {
    this.canvas = make("canvas", { role: "img", "aria-label": "what the run foresees", hidden: true });
    this.id = "";
    this.since = performance.now();
  }

  async show(message, bytes) {
    const image = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
    this.id = message.id;
    this.image?.close();
    this.image = image;
    this.frames = message.frames;
    this.fps = message.fps;
    const scale = window.devicePixelRatio || 1;
    const width = Math.round((HEIGHT * image.width * message.frames) / image.height);
    this.canvas.hidden = false;
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${HEIGHT}px` });
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(HEIGHT * scale);
    this.drawn = -1;
    this.draw();
  }

  /* The clock goes on from picture to picture, so that the motion is seen to its end. */
  draw() {
    if (!this.image) return;
    const t = Math.floor(((performance.now() - this.since) / 1000) * this.fps) % this.frames;
    if (t === this.drawn) return;
    this.drawn = t;
    const height = this.image.height / this.frames;
    const brush = this.canvas.getContext("2d");
    brush.imageSmoothingQuality = "high";
    // half a pixel inside, or the next frame would shine in at the edge
    const inside = [0, t * height + 0.5, this.image.width, height - 1];
    brush.drawImage(this.image, ...inside, 0, 0, this.canvas.width, this.canvas.height);
  }

  clear() {
    this.image?.close();
    this.image = null;
    this.id = "";
    this.canvas.hidden = true;
  }
}

class Watch {
  constructor(model, el) {
    this.link = new Link(model);
    this.panel = root(el, "run", LOOK);
    this.picture = new Picture();
    this.run = ""; // its id
    this.status = "";
    this.isLate = false; // this view came while the run was going on
    this.heard = performance.now();
    this.build();
    this.link.on("state", (state) => this.show(state));
    this.link.on("nothing", () => {
      this.hear();
      this.status = "none";
      this.again.hidden = !window.jupyterapp;
    });
    this.link.on("picture", (message, buffers) => this.picture.show(message, buffers[0]));
    this.link.on("error", ({ text }) => this.panel.fail(text));
    this.seeAgain = () => document.hidden || this.ask();
    document.addEventListener("visibilitychange", this.seeAgain);
    this.ask();
    this.animate();
  }

  build() {
    this.what = make("div", { class: "wl-what", text: "No run is going on." });
    this.facts = make("div", { class: "wl-facts wl-quiet", text: "What this notebook runs shows here." });
    this.part = make("div");
    this.bar = make("div", { class: "wl-bar", role: "progressbar", "aria-label": "progress", hidden: true }, this.part);
    this.pause = button("Stop after this segment", "what is finished then is a result, which the same cells go on from", () => {
      this.link.tell("pause", { run: this.run });
      this.ask();
    });
    this.cancel = button("Cancel", "end after the current step; what is finished is kept, and goes on when it is run again", () => {
      this.link.tell("cancel", { run: this.run });
      this.panel.say("ends after the current step");
    });
    this.again = button("Run all cells", "those of this notebook, from the top", () => this.runAll());
    this.again.hidden = true;
    this.notify = make("input", { type: "checkbox", on: { change: () => this.wish(this.notify.checked) } });
    this.notify.checked = this.mayNotify() && window.localStorage.getItem(NOTIFY) === "yes";
    const wish = make("label", { class: "wl-group", title: "the browser asks once whether it may" }, this.notify, "Notify me at the end");
    this.buttons = make("div", { class: "wl-row" }, this.pause, this.cancel, this.again, wish);
    this.pause.hidden = this.cancel.hidden = true;
    const about = make("div", { class: "wl-about" }, this.what, this.bar, this.facts, this.buttons);
    this.panel.node.append(make("div", { class: "wl-run" }, this.picture.canvas, about), this.panel.alert, this.panel.status);
  }

  mayNotify() {
    return "Notification" in window && Notification.permission === "granted";
  }

  async wish(on) {
    if (on && "Notification" in window && Notification.permission === "default") await Notification.requestPermission();
    const allowed = on && this.mayNotify();
    if (on && !allowed) this.panel.say("the browser does not allow notifications of this page");
    this.notify.checked = allowed;
    window.localStorage.setItem(NOTIFY, allowed ? "yes" : "no");
  }

  ask() {
    clearTimeout(this.timer);
    if (this.closed) return;
    this.link.tell("look", { picture: this.picture.id });
    if (performance.now() - this.heard > SILENT_MS && this.run === "") {
      this.facts.textContent = "The kernel does not answer while it works; in a terminal: wanlab runs watch";
    }
    const often = this.status === "running" && !document.hidden;
    this.timer = setTimeout(() => this.ask(), often ? ASK_MS : REST_MS);
  }

  hear() {
    this.heard = performance.now();
  }

  show(state) {
    this.hear();
    this.panel.fail("");
    if (state.run !== this.run) {
      this.isLate = this.status === "";
      this.picture.clear();
      this.panel.say("");
      if (state.status === "running") this.save();
    } else if (this.status === "running" && state.status !== "running") {
      this.end(state);
    }
    [this.run, this.status] = [state.run, state.status];
    const running = state.status === "running";
    this.what.textContent = this.title(state);
    this.facts.textContent = running ? this.numbers(state) : this.outcome(state);
    const share = state.total ? state.done / state.total : 0;
    const ended = { completed: "wl-done", failed: "wl-lost", cancelled: "wl-lost" }[state.status] ?? "";
    this.bar.className = `wl-bar ${ended}`;
    this.bar.hidden = running && !state.total;
    this.part.style.width = `${100 * (running ? share : 1)}%`;
    this.bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    this.cancel.hidden = !state.canCancel;
    this.again.hidden = running || !window.jupyterapp;
    rename(this.again, state.kept ? "Continue" : "Run all cells");
    this.pause.hidden = !state.canPause;
    this.pause.disabled = state.is_pausing;
    rename(this.pause, state.step === "sweep" ? "Stop after this point" : "Stop after this segment");
  }

  title({ step, status, is_partial, place, points, what, done, total }) {
    const said = [step];
    if (status !== "running") return `${step} · ${status}${is_partial ? " in part" : ""}`;
    if (points[1]) said.push(`point ${Math.min(points[0] + 1, points[1])} of ${points[1]}`);
    if (place.segment) said.push(`segment ${place.segment} of ${place.segments}`, `step ${place.step} of ${place.steps}`);
    else if (what) said.push(total ? `${what} ${done} of ${total}` : what);
    return said.join(" · ");
  }

  numbers(state) {
    const said = [];
    if (state.left_s !== null && state.left_s !== undefined) said.push(`about ${duration(state.left_s)} left`);
    if (state.memory_bytes) said.push(`${gib(state.memory_bytes)} of memory`);
    if (state.gpu_bytes) said.push(`${gib(state.gpu_bytes)} on the GPU`);
    if (state.is_pausing) said.push(state.step === "sweep" ? "stops after this point" : "stops after this segment");
    return said.join(" · ") || "begins";
  }

  outcome(state) {
    const said = [state.where];
    if (state.seconds) said.unshift(`took ${duration(state.seconds)}`);
    if (state.error) said.unshift(state.error);
    if (state.kept) said.push(`kept: ${state.kept}`);
    return said.join(" · ");
  }

  end(state) {
    this.panel.say(this.isLate ? "The page was loaded while this worked: run the cells below again to see what it made." : "");
    if (this.notify.checked && this.mayNotify()) {
      new Notification(`wanlab: ${state.step} ${state.status}`, { body: state.error || state.where, tag: state.run });
    }
  }

  runAll() {
    this.panel.say("");
    window.jupyterapp.commands.execute(RUN_ALL).catch(() => {});
  }

  /* JupyterLab as `wanlab lab` starts it; elsewhere the notebook is saved when its user or its timer does. */
  save() {
    window.jupyterapp?.commands.execute(SAVE).catch(() => {});
  }

  animate() {
    if (this.closed) return;
    this.picture.draw();
    this.frame = requestAnimationFrame(() => this.animate());
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
    document.removeEventListener("visibilitychange", this.seeAgain);
    this.picture.clear();
    this.link.close();
  }
}

export default {
  render({ model, el }) {
    const watch = new Watch(model, el);
    return () => watch.close();
  },
};
