/* Small parts that the bench's widgets share: elements, buttons, colours, the link to the kernel.

   make("div", { class: "wl-row", text, title, on: { click: act }, …attributes }, …children) -> element
   button(text, title, act, key) -> button; `key` is named in its title. press(button, on) sets aria-pressed
   choice(label, options, act) -> label with a select; options: [value, …] or [[value, text], …]
   offer(select, values, value): have it offer these; one that offers them already keeps its focus
   root(el, label, style) -> { node, say(text), fail(text) }: the widget's frame, a polite status line, an alert line; its
     `style` and the shared one reach this widget alone (@scope: below the style element's
     parent, which is `:scope`, not `.wl`)
   new Link(model): tell(kind, content, buffers), on(kind, handler(message, buffers)), close(); both sides' messages are those of
     MESSAGES, which the kernel puts before the scripts (messages.py): what is not in it throws
   followRoom(node, act(width, height)) -> end: the room it has, now and when it changes; LOW: a height that is little
   roomOf(node): how high the widget may be to be seen whole, in CSS pixels
   OKABE: colours that the colour-blind can tell apart; OBJECTS: those of objects 1, 2, … in order */

export const OKABE = {
  black: "#000000", orange: "#e69f00", sky: "#56b4e9", green: "#009e73",
  yellow: "#f0e442", blue: "#0072b2", red: "#d55e00", pink: "#cc79a7",
};
export const OBJECTS = [OKABE.orange, "#9650ff", OKABE.yellow, OKABE.red, OKABE.blue]; // viz.OBJECT_COLOURS

export const LOW = 420; // CSS pixels: an output's own view as it opens has 290
const SPARE = 16; // CSS pixels of the cell around the widget

const STYLE = `
:scope { font: var(--jp-ui-font-size1, 13px)/1.4 var(--jp-ui-font-family, system-ui, sans-serif);
  color: var(--jp-ui-font-color1, CanvasText); max-width: 100%; }
:scope *, :scope *::before { box-sizing: border-box; }
.wl-row { display: flex; flex-wrap: wrap; gap: 4px 8px; align-items: center; margin: 4px 0; }
.wl-group { display: inline-flex; gap: 2px; align-items: center; }
:scope button, :scope select, :scope input[type=number], :scope input[type=text], :scope textarea { font: inherit; color: inherit;
  background: var(--jp-layout-color1, Canvas); border: 1px solid var(--jp-border-color1, #999); border-radius: 3px;
  min-height: 26px; padding: 1px 8px; }
:scope button { cursor: pointer; }
:scope button:hover:not(:disabled, [aria-pressed=true]) { background: var(--jp-layout-color2, #eee); }
:scope button:disabled { opacity: 0.45; cursor: default; }
:scope button[aria-pressed=true] { background: var(--jp-brand-color1, #0072b2); border-color: var(--jp-brand-color1, #0072b2);
  color: var(--jp-ui-inverse-font-color1, #fff); }
:scope :focus-visible { outline: 3px solid ${OKABE.orange}; outline-offset: 1px; }
.wl-stage { position: relative; width: fit-content; max-width: 100%; line-height: 0; }
.wl-stage canvas { display: block; touch-action: none; background: #222; }
.wl-line { flex: 1 1 140px; min-width: 140px; }
.wl-line input { display: block; width: 100%; margin: 0; }
.wl-line canvas { display: block; width: 100%; height: 8px; }
.wl-number { font-variant-numeric: tabular-nums; min-width: 7.5em; }
.wl-quiet { color: var(--jp-ui-font-color2, GrayText); }
.wl-alert:not(:empty) { border-left: 4px solid ${OKABE.red}; padding: 4px 8px; margin: 4px 0;
  background: var(--jp-layout-color2, #eee); }
.wl-status { min-height: 1.4em; }
`;

export function make(tag, { text, on = {}, class: names, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  if (names) node.className = names;
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const [name, act] of Object.entries(on)) node.addEventListener(name, act);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function button(text, title, act, key) {
  const hint = key ? `${title} (${key})` : title;
  const name = /[a-z]/i.test(text) ? `${text}: ${title}` : title; // what is read out holds what is seen
  return make("button", { text, type: "button", title: hint, "aria-label": name, on: { click: act } });
}

export function press(node, on) {
  node.setAttribute("aria-pressed", String(Boolean(on)));
}

export function choice(label, options, act) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  const select = make("select", { "aria-label": label, on: { change: () => act(select.value) } },
    ...pairs.map(([value, text]) => make("option", { value, text })));
  return Object.assign(make("label", { class: "wl-group" }, make("span", { text: label }), select), { select });
}

/* The notebook's window, or that of an output's own view (New View for Output). */
const windowOf = (node) => node.closest(".jp-WindowedPanel-outer, .jp-LinkedOutputView");

export function roomOf(node) {
  return (windowOf(node)?.clientHeight ?? window.innerHeight) - SPARE;
}

/* Call `act(width, height)` with the room that a widget has, now and whenever it changes; returns what ends that. */
export function followRoom(node, act) {
  let outer = null;
  const look = () => {
    if (!node.clientWidth) return;
    const now = windowOf(node); // not known before the widget is on the page
    if (now && now !== outer) observer.observe((outer = now));
    act(node.clientWidth, roomOf(node));
  };
  const observer = new ResizeObserver(look);
  observer.observe(node);
  window.addEventListener("resize", look);
  return () => {
    observer.disconnect();
    window.removeEventListener("resize", look);
  };
}

export function offer(select, values, value) {
  if ([...select.options].map((option) => option.value).join("\n") !== values.join("\n")) {
    select.replaceChildren(...values.map((each) => make("option", { value: each, text: each })));
  }
  select.value = value;
}

export function root(el, label, style = "") {
  const alert = make("div", { class: "wl-alert", role: "alert" });
  const status = make("div", { class: "wl-status wl-quiet", role: "status" });
  // suppress: JupyterLab would take "x" for cutting the cell, and a right click for its own menu
  const node = make("section", {
    class: "wl", "aria-label": label, "data-lm-suppress-shortcuts": "true", "data-jp-suppress-context-menu": "true",
  }, make("style", { text: `@scope {${STYLE}${style}}` }));
  el.append(node);
  return {
    node, alert, status,
    say: (text) => { if (status.textContent !== text) status.textContent = text; },
    fail: (text) => { alert.textContent = text; },
  };
}

export class Link {
  constructor(model) {
    this.model = model;
    this.handlers = {};
    this.receive = (message, buffers) => {
      check("to_browser", message.kind, message);
      for (const handler of this.handlers[message.kind] ?? []) handler(message, buffers);
    };
    model.on("msg:custom", this.receive);
  }

  on(kind, handler) {
    if (!MESSAGES.to_browser[kind]) throw new Error(`messages.py has no ${kind} to the browser`);
    (this.handlers[kind] ??= []).push(handler);
  }

  tell(kind, content = {}, buffers = []) {
    check("to_kernel", content.op ? `${kind}:${content.op}` : kind, content);
    this.model.send({ kind, ...content }, undefined, buffers);
  }

  close() {
    this.model.off("msg:custom", this.receive);
  }
}

function check(direction, kind, { kind: _, ...content }) {
  const fields = MESSAGES[direction][kind];
  const known = new Set(fields?.map((field) => field.replace("?", "")));
  const lacking = fields?.filter((field) => !field.endsWith("?") && content[field] === undefined);
  if (!fields || lacking.length || Object.keys(content).some((name) => !known.has(name))) {
    throw new Error(`message ${kind} ${direction} is not as in messages.py: ${Object.keys(content).join(", ")}`);
  }
}
