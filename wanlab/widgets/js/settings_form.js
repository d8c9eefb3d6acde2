/* A form of a notebook's settings: reads and writes its parameters cell through JupyterLab (window.jupyterapp). */

import { button, Link, make, root } from "./parts.js";

const STYLES = `
:scope { max-width: 1100px; }
.wl-top { display: flex; gap: 18px; align-items: stretch; margin: 4px 0 10px; }
.wl-sight { display: flex; flex: none; gap: 10px; }
.wl-sight:empty { display: none; }
.wl-go { display: flex; flex: 1 1 200px; flex-direction: column; justify-content: center; align-items: flex-start; gap: 8px; line-height: 1.45; }
.wl-go .wl-run { padding: 5px 22px; font-weight: 600; color: #fff; background: #0068a8; border-color: #0068a8; }
.wl-go .wl-run:hover:not(:disabled) { background: #00538a; }
.wl-card { display: flex; flex-direction: column; gap: 4px; width: 190px; padding: 8px; text-align: left; border-radius: 6px;
  border: 1px solid var(--jp-border-color2, #ccc); background: var(--jp-layout-color1, Canvas); }
.wl-card img, .wl-none { display: block; width: 100%; height: 110px; object-fit: contain; border-radius: 4px; background: var(--jp-layout-color2, #eee); }
.wl-card b { font-weight: 600; }
.wl-card span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.wl-card.wl-open { border-color: var(--jp-brand-color1, #0072b2); }
.wl-picker { display: grid; grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)); gap: 8px; margin: 0 0 12px; padding: 8px; border-radius: 6px;
  background: var(--jp-layout-color2, #eee); }
.wl-picker[hidden] { display: none; }
.wl-picker button { display: flex; flex-direction: column; gap: 2px; padding: 5px; text-align: left; line-height: 1.3; border-radius: 4px; }
.wl-picker img { width: 100%; height: 90px; object-fit: contain; }
.wl-picker span { overflow: hidden; max-width: 100%; text-overflow: ellipsis; white-space: nowrap; }
.wl-upload { display: flex; align-items: center; justify-content: center; min-height: 90px; padding: 6px; cursor: pointer; text-align: center;
  border: 2px dashed var(--jp-border-color1, #999); border-radius: 4px; background: var(--jp-layout-color1, Canvas); }
.wl-upload:focus-within { outline: 3px solid #e69f00; }
.wl-upload input { position: absolute; width: 1px; height: 1px; opacity: 0; }
details { margin: 2px 0; }
summary { padding: 4px 0; cursor: pointer; font-weight: 600; }
.wl-fields { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 8px 22px; padding: 2px 0 8px; align-items: start; }
.wl-field { display: grid; grid-template-columns: 150px 1fr; gap: 1px 8px; align-items: center; }
.wl-field > span:first-child { overflow-wrap: anywhere; }
.wl-field input[type=text], .wl-field select { width: 100%; min-width: 0; height: 26px; box-sizing: border-box; }
.wl-field small { display: -webkit-box; overflow: hidden; grid-column: 2; color: var(--jp-ui-font-color2, GrayText); line-height: 1.3;
  -webkit-box-orient: vertical; -webkit-line-clamp: 2; }
.wl-field.wl-changed > span:first-child { font-weight: 700; }
`;
const SCROLLED = 300; // milliseconds after which JupyterLab has scrolled
const PIECE = 2 ** 20; // bytes of an upload in one message
const NO_LAB = "Here the form cannot reach the parameters cell: start JupyterLab with wanlab lab, or change the cell itself.";

export default {
  render({ model, el }) {
    const notebook = model.get("notebook");
    const link = new Link(model);
    const { node, alert, fail, status, say } = root(el, "settings", STYLES);
    const sight = make("div", { class: "wl-sight" });
    const picker = make("div", { class: "wl-picker", role: "group", hidden: true });
    const fields = make("div");
    const run = Object.assign(button("Run", "run the notebook from the parameters cell on", runAll), { className: "wl-run" });
    const outlook = make("span", { class: "wl-outlook", role: "status" });
    const go = make("div", { class: "wl-go" }, outlook, run);
    node.append(make("div", { class: "wl-top" }, sight, go), alert, status, picker, fields);
    const images = {}; // of chosen files, by path
    const folds = new Set(); // headings that are open
    let cell = null;
    let choosing = null; // the setting that the picker is open for
    let uploading = null;
    let pending = ""; // what the kernel refused

    // ---- the cell, which is the only place of what is set

    function find() {
      for (const panel of window.jupyterapp?.shell.widgets("main") ?? []) {
        if (!panel.context?.path.endsWith(`${notebook}.ipynb`) || !panel.content?.widgets) continue;
        const at = panel.content.widgets.findIndex((each) => (each.model.getMetadata("tags") ?? []).includes("parameters"));
        if (at >= 0) return { panel, at, shared: panel.content.widgets[at].model.sharedModel };
      }
      return null;
    }

    const read = () => link.tell("cell", { source: cell.shared.getSource() });
    let waiting = 0;
    function changed() {
      clearTimeout(waiting);
      waiting = setTimeout(read, 300); // someone types in the cell
    }

    const changes = []; // not written yet, one after the other: each is made in what the one before has left
    let writing = false;
    function set(name, text) {
      changes.push({ name, text });
      write();
    }

    function write() {
      if (writing || !changes.length) return;
      writing = true;
      fail("");
      link.tell("set", { source: cell.shared.getSource(), ...changes.shift() });
    }

    async function runAll() {
      const { panel, at } = find();
      window.jupyterapp.shell.activateById(panel.id);
      const notebookView = panel.content;
      notebookView.activeCellIndex = at;
      const ran = window.jupyterapp.commands.execute("notebook:run-all-below");
      setTimeout(() => { // JupyterLab scrolls to the last cell, but what runs is watched here
        notebookView.activeCellIndex = Math.max(at - 1, 0);
        notebookView.scrollToItem?.(Math.max(at - 1, 0), "start");
      }, SCROLLED);
      await ran;
    }

    link.on("source", ({ source }) => {
      cell.shared.setSource(source);
      clearTimeout(waiting);
      read();
      writing = false;
      write();
    });

    // ---- the form

    link.on("form", ({ groups, faults }) => {
      fail([pending, ...faults].filter(Boolean).join("\n"));
      pending = "";
      run.disabled = faults.length > 0;
      if (!groups.length) return;
      if (faults.length) outlook.textContent = "";
      const all = groups.flatMap((group) => group.fields);
      sight.replaceChildren(...all.filter((field) => field.seen).map(card));
      const typed = fields.contains(document.activeElement) ? document.activeElement : null;
      const [focus, begun] = [typed?.getAttribute("aria-label"), typed?.value];
      fields.replaceChildren(...groups.map(({ heading, fields: own }, at) => {
        const shown = own.filter((field) => !field.seen);
        const others = shown.filter((field) => field.text !== field.default).length;
        const fold = make("details", { open: at === 0 ? !folds.has(`-${heading}`) : folds.has(heading) },
          make("summary", { text: others ? `${heading} (${others} changed)` : heading }),
          make("div", { class: "wl-fields" }, ...shown.map(row)));
        fold.addEventListener("toggle", () => {
          const key = at === 0 ? `-${heading}` : heading;
          if (fold.open === (at === 0)) folds.delete(key);
          else folds.add(key);
        });
        return fold;
      }));
      const again = focus && [...fields.querySelectorAll("[aria-label]")].find((each) => each.getAttribute("aria-label") === focus);
      if (again) again.value = begun; // it is being typed in
      again?.focus();
    });

    function row(field) {
      const { name, text, choices, about } = field;
      const is = { "aria-label": name, title: about };
      let input;
      if (choices.length) {
        const options = [...(field.optional || !choices.includes(text) ? [["", "as recommended"]] : []), ...choices.map((each) => [each, each])];
        input = make("select", is, ...options.map(([value, shown]) => make("option", { value, text: shown })));
      } else {
        input = make("input", { ...is, type: "text", placeholder: field.optional ? "as recommended" : field.default });
      }
      input.value = text;
      input.addEventListener("change", () => set(name, input.value));
      return make("label", { class: text === field.default ? "wl-field" : "wl-field wl-changed" },
        make("span", { text: name }), input, make("small", { text: about }));
    }

    link.on("outlook", ({ text, fault }) => {
      outlook.textContent = fault ? "" : text;
      if (fault) fail(text);
      run.disabled = fault;
    });

    // ---- driver and reference by sight

    function card({ name, text }) {
      const image = images[text] ? make("img", { src: images[text], alt: text }) : make("div", { class: "wl-none" });
      const node_ = make("button", { type: "button", class: choosing === name ? "wl-card wl-open" : "wl-card", "aria-label": `choose ${name}`, title: text },
        image, make("b", { text: name }), make("span", { class: "wl-quiet", text: text.split("/").at(-1) || "choose …" }));
      node_.addEventListener("click", () => open(choosing === name ? null : name));
      if (!images[text] && text) link.tell("choose", { name, text });
      return node_;
    }

    function open(name) {
      choosing = name;
      picker.hidden = !name;
      for (const each of sight.children) each.classList.toggle("wl-open", each.getAttribute("aria-label") === `choose ${name}`);
      const now = [...sight.children].find((each) => each.classList.contains("wl-open"));
      if (now) link.tell("choose", { name, text: now.title });
    }

    link.on("files", ({ name, files }, buffers) => {
      files.forEach(({ path }, at) => {
        images[path] ??= URL.createObjectURL(new Blob([buffers[at]], { type: "image/jpeg" }));
      });
      const own = [...sight.children].find((each) => each.getAttribute("aria-label") === `choose ${name}`);
      const none = own?.querySelector(".wl-none");
      if (none && images[own.title]) none.replaceWith(make("img", { src: images[own.title], alt: own.title }));
      if (name !== choosing) return;
      const input = make("input", { type: "file", "aria-label": `upload ${name}`, accept: name.endsWith("video") ? "video/*,.mkv" : "image/*" });
      input.addEventListener("change", () => upload(name, input.files[0]));
      picker.replaceChildren(make("label", { class: "wl-upload" }, "Upload a file …", input), ...files.map(({ path, label }) => {
        const [file, facts] = label.split("\n");
        const choice = make("button", { type: "button", title: path, "aria-label": file },
          make("img", { src: images[path], alt: "" }), make("span", { text: file }), make("span", { class: "wl-quiet", text: facts }));
        choice.addEventListener("click", () => take(name, path));
        return choice;
      }));
    });

    function take(name, path) {
      open(null);
      set(name, path);
    }

    // ---- uploads, a piece after the other

    async function upload(name, file) {
      if (!file) return;
      fail("");
      uploading = { name, file };
      await piece(0);
    }

    async function piece(offset) {
      const { name, file } = uploading;
      say(`uploading ${file.name}: ${Math.round((100 * offset) / Math.max(file.size, 1))} %`);
      const bytes = await file.slice(offset, offset + PIECE).arrayBuffer();
      link.tell("upload", { name, file: file.name, size: file.size, offset }, [bytes]);
    }

    link.on("uploaded", ({ name, offset, path }) => {
      if (!uploading || uploading.name !== name) return;
      if (path === null) {
        piece(offset);
        return;
      }
      uploading = null;
      say("");
      take(name, path);
    });

    link.on("error", ({ text }) => {
      uploading = null;
      writing = false;
      say("");
      read(); // what was refused is not shown either
      pending = text;
    });

    cell = find();
    if (cell) {
      cell.shared.changed.connect(changed);
      read();
    } else {
      node.replaceChildren(node.querySelector("style"), make("p", { class: "wl-quiet", text: NO_LAB }));
    }
    return () => {
      clearTimeout(waiting);
      cell?.shared.changed.disconnect(changed);
      for (const url of Object.values(images)) URL.revokeObjectURL(url);
      link.close();
    };
  },
};
