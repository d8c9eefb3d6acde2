/* All decisions about a clip in one list: go to each in its editor, switch it off and on, delete it, undo, apply them all. */

import { button, Link, make, root } from "./parts.js";
import { progressOf } from "./job.js";

const LIST_STYLE = `
.wl-decisions { list-style: none; margin: 4px 0; padding: 0; max-height: 320px; overflow-y: auto; }
.wl-decisions li { display: grid; grid-template-columns: 20px minmax(0, 1fr) max-content max-content; gap: 6px;
  align-items: center; }
.wl-decisions li.wl-quiet { display: block; }
:scope .wl-decisions .wl-visit { text-align: left; border-color: transparent; }
.wl-off { text-decoration: line-through; opacity: 0.7; }
.wl-decisions .wl-quiet { font-size: 12px; }
.wl-job progress { width: 220px; }
`;

class DecisionList {
  constructor(model, el) {
    this.link = new Link(model);
    this.panel = root(el, "Decisions", LIST_STYLE);
    this.undo = button("↶ Undo", "Undo the last action of any editor", () => this.act("undo"), "Ctrl+Z");
    this.redo = button("↷ Redo", "Do again what was undone", () => this.act("redo"), "Ctrl+Shift+Z");
    this.apply = button("Apply", "Make new inputs with what counts", () => this.link.tell("apply"));
    this.count = make("strong", { role: "status" });
    this.list = make("ol", { class: "wl-decisions", "aria-label": "decisions" });
    this.job = make("div", { class: "wl-row wl-job" });
    this.result = make("div", { role: "status" });
    const { node, alert, status } = this.panel;
    node.append(make("div", { class: "wl-row", role: "toolbar", "aria-label": "all decisions" },
      make("span", { class: "wl-group" }, this.undo, this.redo), this.apply, this.count),
      this.list, this.job, this.result, status, alert);
    this.listen();
    node.addEventListener("pointerenter", () => this.link.tell("refresh")); // another kernel may have written
    this.link.tell("hello");
  }

  listen() {
    this.link.on("list", (state) => this.show(state));
    this.link.on("said", ({ text }) => this.panel.say(text));
    this.link.on("error", ({ text }) => this.panel.fail(text));
    progressOf(this.link, this.job, this.panel.say, (running) => {
      if (running) this.panel.fail("");
      this.apply.disabled = running;
    });
    const keys = { "Ctrl+z": this.undo, "Ctrl+y": this.redo, "Ctrl+Shift+Z": this.redo };
    this.panel.node.addEventListener("keydown", (event) => {
      const held = `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.shiftKey ? "Shift+" : ""}${event.key}`;
      if (!keys[held]) return;
      event.preventDefault();
      keys[held].click();
    });
  }

  act(op, more = {}) {
    this.panel.fail("");
    this.link.tell("do", { op, ...more });
  }

  show({ marks, outdated, undo, redo, file, result, working }) {
    const held = this.list.contains(document.activeElement) ? document.activeElement : null;
    const place = held && [...this.list.children].indexOf(held.closest("li"));
    const kind = held?.dataset.kind;
    this.list.replaceChildren(...marks.map((each) => this.row(each)));
    if (!marks.length) this.list.append(make("li", { class: "wl-quiet", text: `nothing is decided about this clip: what you do in the editors is listed here, and kept in ${file}` }));
    if (held) this.list.children[Math.min(place, marks.length - 1)]?.querySelector(`[data-kind=${kind}]`)?.focus();
    this.undo.disabled = !undo;
    this.redo.disabled = !redo;
    this.apply.disabled = working || !outdated;
    const off = marks.filter(({ mark }) => !mark.on).length;
    const counted = `${marks.length} decision${marks.length === 1 ? "" : "s"}${off ? `, ${off} off` : ""}`;
    this.count.textContent = `${counted} · ${outdated ? "⚠ not applied to the newest inputs" : "all applied"}`;
    this.result.textContent = outdated ? "" : result;
    this.panel.node.dataset.decisions = marks.length;
  }

  row({ mark, text, first, applied }) {
    const name = make("button", { type: "button", class: mark.on ? "wl-visit" : "wl-visit wl-off", text,
      title: first === null ? "Go to its editor" : `Go to frame ${first} in its editor`, "data-kind": "visit",
      "aria-label": `Go to: ${text}`,
      on: { click: () => { this.panel.fail(""); this.link.tell("visit", { mark }); } } });
    const counts = make("input", { type: "checkbox", "aria-label": `counts: ${text}`, title: "Whether it counts", "data-kind": "switch",
      on: { change: () => this.act("switch", { mark }) } });
    counts.checked = mark.on;
    const gone = button("✕", `Delete: ${text}; Undo brings it back`, () => this.act("delete", { mark }));
    gone.dataset.kind = "delete";
    return make("li", {}, counts, name, make("span", { class: "wl-quiet", text: applied ? "" : "not applied" }), gone);
  }

  close() {
    this.link.close();
  }
}

export default {
  render({ model, el }) {
    const list = new DecisionList(model, el);
    return () => list.close();
  },
};
