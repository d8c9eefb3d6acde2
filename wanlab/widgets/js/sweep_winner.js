/* Which point of a sweep is the winner: hears the stars of the grid (viz/player.js) and has the kernel keep them. */

import { button, Link, make, root } from "./parts.js";

const STYLES = `
:scope { padding: 8px 0 0; }
.wl-row { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 12px; }
.wl-row b { font-weight: 600; overflow-wrap: anywhere; }
label { display: flex; align-items: center; gap: 4px; }
a { color: var(--jp-content-link-color, LinkText); font-weight: 600; }
`;
const STAYS = 60000; // milliseconds that a page given as a blob can be opened

export default {
  render({ model, el }) {
    const key = model.get("key");
    const link = new Link(model);
    const { node, alert, fail, status, say } = root(el, "winner of the sweep", STYLES);
    const name = make("b");
    const full = make("input", { type: "checkbox" });
    const report = button("Make the report", "one page to share, with the winner", () => {
      fail("");
      link.tell("report", { full: full.checked });
    });
    const open = make("a", { target: "_blank", text: "Open the report", on: { click: follow } });
    const inFull = make("label", { title: "hold the full-quality videos too, for a page that is sent away" }, full, "with the full videos");
    node.append(make("div", { class: "wl-row" }, name, report, inFull, open), status, alert);

    function follow(event) {
      if (open.hasAttribute("href")) return;
      event.preventDefault(); // it lies outside the server's folder: the kernel reads it
      link.tell("page");
    }

    link.on("state", (state) => {
      name.textContent = state.number ? `★ Winner: ${state.number} · ${state.title}` : "No winner yet: star a result above (★).";
      report.disabled = state.working;
      say(state.text);
      open.hidden = !state.report || state.working;
      open.title = state.report;
      open.removeAttribute("href");
      if (state.file) open.href = address(state.file);
      document.dispatchEvent(new CustomEvent("wanlab-starred", { detail: { key, number: state.number } }));
    });
    link.on("page", (_, [bytes]) => {
      const url = URL.createObjectURL(new Blob([bytes], { type: "text/html;charset=utf-8" }));
      window.open(url, "_blank");
      setTimeout(() => URL.revokeObjectURL(url), STAYS);
    });
    link.on("error", ({ text }) => fail(text));

    const starred = ({ detail }) => detail.key === key && link.tell("star", { number: detail.number });
    const shown = ({ detail }) => detail.key === key && link.tell("hello");
    document.addEventListener("wanlab-star", starred);
    document.addEventListener("wanlab-grid", shown);
    link.tell("hello");
    return () => {
      document.removeEventListener("wanlab-star", starred);
      document.removeEventListener("wanlab-grid", shown);
      link.close();
    };
  },
};

/* The address of a file below the server's root. */
function address(file) {
  const base = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "{}").baseUrl ?? "/";
  return `${base}files/${file.split("/").map(encodeURIComponent).join("/")}`;
}
