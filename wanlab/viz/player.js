// Plays a grid of videos in step: one clock that counts frames, for the results or for the one or two shown large.
// Plain JavaScript, put by player.py behind the results that it drives.
(() => {
  "use strict";
  const AROUND = 8; // frames played on each side of a seam
  const AHEAD = 0.03; // seconds that the image on the screen is ahead of currentTime while it plays; seen in Chromium
  const ICONS = {
    play: "M4 2l10 6-10 6z",
    pause: "M3 2h4v12H3zM9 2h4v12H9z",
    back: "M12 2v12L5 8zM2.5 2h1.8v12H2.5z",
    forward: "M4 2v12l7-6zM11.7 2h1.8v12h-1.8z",
    enlarge: "M9 2h5v5h-1.6V4.7L9.2 7.9 8.1 6.8l3.2-3.2H9zM7 14H2V9h1.6v2.3l3.2-3.2 1.1 1.1-3.2 3.2H7z",
    star: "M8 1.6l1.9 4.3 4.7.5-3.5 3.1 1 4.6L8 11.7l-4.1 2.4 1-4.6L1.4 6.4l4.7-.5z",
    close: "M3 4.1L4.1 3 8 6.9 11.9 3 13 4.1 9.1 8l3.9 3.9-1.1 1.1L8 9.1 4.1 13 3 11.9 6.9 8z",
  };

  const root = document.currentScript.closest(".wanlab-player");
  const fps = Number(root.dataset.fps);
  const results = [...root.querySelectorAll(".result")].map((node) => ({
    node,
    video: node.querySelector("video"),
    title: node.querySelector("video").getAttribute("aria-label"),
    link: node.querySelector("a"),
    frames: Number(node.dataset.frames),
    seams: JSON.parse(node.dataset.seams),
    parameters: JSON.parse(node.dataset.parameters),
    number: Number(node.dataset.number),
    command: node.dataset.command ?? "",
  }));
  const given = [...root.querySelectorAll(".given:has(video)")].map((node) => ({
    node,
    video: node.querySelector("video"),
    title: node.querySelector(".title").textContent,
    frames: Number(node.dataset.frames),
  }));
  const playable = [...results, ...given];
  const count = Math.max(...results.map((result) => result.frames));

  // ---- building blocks

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  function icon(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 16 16");
    svg.setAttribute("aria-hidden", "true");
    svg.append(document.createElementNS(svg.namespaceURI, "path"));
    svg.firstChild.setAttribute("d", ICONS[name]);
    return svg;
  }

  function button(name, label, act) {
    const node = make("button", { type: "button", class: name, "aria-label": label, title: label }, icon(name));
    node.addEventListener("click", act);
    return node;
  }

  function select(label, options, act) {
    const node = make("select", { "aria-label": label });
    node.append(...options.map(([text, value]) => new Option(text, value)));
    node.addEventListener("change", act);
    return node;
  }

  // ---- the clock

  let frame = 0;
  let playing = false;
  let speed = 1;
  let range = [0, count - 1]; // first and last frame that is played
  let requests = 0; // how often another frame or other videos were asked for
  let settling = false;

  /** The videos on the screen, each with its number of frames. */
  function shown() {
    if (stage.open) return sides.filter((side) => side.result).map(({ video, result }) => ({ video, frames: result.frames }));
    return [...results.filter((result) => !result.node.hidden), ...given];
  }

  /** The last frame to play: of the range, or of the longest shown video. */
  function last() {
    return Math.min(range[1], Math.max(...shown().map((item) => item.frames)) - 1);
  }

  function next(video, ...events) {
    return new Promise((done) => events.forEach((event) => video.addEventListener(event, done, { once: true })));
  }

  async function seek({ video, frames }, wanted) {
    if (!video.readyState && !video.error) await next(video, "loadedmetadata", "error");
    const time = (Math.min(wanted, frames - 1) + 0.5) / fps; // the middle of the frame
    if (video.error || Math.abs(video.currentTime - time) < 1e-4) return;
    const done = next(video, "seeked", "emptied", "error"); // emptied: the stage took another video meanwhile
    video.currentTime = time;
    await done;
  }

  /** Bring every shown video to `frame`, then play on if playing; requests that come meanwhile are served last. */
  async function settle() {
    requests += 1;
    draw();
    if (settling) return;
    settling = true;
    for (const video of root.querySelectorAll("video")) video.pause();
    for (let served = 0; served !== requests; ) {
      served = requests;
      await Promise.all(shown().map((item) => seek(item, frame)));
    }
    settling = false;
    if (!playing || !shown().length) return;
    if (frame >= last()) {
      const asked = requests;
      setTimeout(() => asked === requests && go(range[0]), 1000 / fps / speed); // the last frame stays as long as others
      return;
    }
    for (const { video, frames } of shown()) if (frame < frames - 1) video.play().catch(() => {}); // paused again meanwhile
    requestAnimationFrame(tick);
  }

  function tick() {
    if (!playing || settling) return;
    if (!root.isConnected) return toggle(false);
    const items = shown();
    const leader = items.reduce((best, item) => (item.frames > best.frames ? item : best));
    const now = Math.floor((leader.video.currentTime + AHEAD * speed) * fps);
    if (now >= last()) return go(last());
    if (now !== frame) {
      frame = now;
      draw();
    }
    for (const { video } of items) follow(video, leader.video.currentTime - video.currentTime);
    requestAnimationFrame(tick);
  }

  /** Let a video catch up with the leader without a jump, or jump where it lies far behind. */
  function follow(video, lag) {
    if (Math.abs(lag) > 4 / fps && !video.seeking && !video.ended) video.currentTime += lag;
    const small = Math.abs(lag) < 0.25 / fps;
    video.playbackRate = speed * (small ? 1 : 1 + Math.max(-0.4, Math.min(0.4, lag * 4)));
  }

  function go(wanted) {
    frame = Math.max(range[0], Math.min(range[1], wanted));
    return settle();
  }

  function toggle(on = !playing) {
    playing = on;
    return settle();
  }

  function step(by) {
    playing = false;
    return go(frame + by);
  }

  function setRange(seam) {
    range = seam === "" ? [0, count - 1] : [Math.max(0, seam - AROUND), Math.min(count - 1, Number(seam) + AROUND)];
    [slider.min, slider.max] = range;
    ticks.replaceChildren(
      ...seams
        .filter((at) => at > range[0] && at < range[1])
        .map((at) => make("i", { style: `--at: ${(at - range[0]) / (range[1] - range[0])}` })),
    );
    return go(frame);
  }

  // ---- the transport: one bar, over the results or in the stage

  const seams = [...new Set(results.flatMap((result) => result.seams))].sort((a, b) => a - b);
  const playButton = button("play", "play (space)", () => toggle());
  const slider = make("input", { type: "range", class: "frame", step: 1, "aria-label": "frame" });
  const number = make("output", { class: "number" });
  const ticks = make("div", { class: "ticks" });
  const transport = make(
    "div",
    { class: "transport" },
    playButton,
    button("back", "one frame back (left arrow)", () => step(-1)),
    button("forward", "one frame on (right arrow)", () => step(1)),
    make("div", { class: "track" }, slider, ticks),
    number,
    select("speed", [["1×", 1], ["1/2×", 0.5], ["1/4×", 0.25]], (event) => {
      speed = Number(event.target.value);
    }),
  );
  if (seams.length) {
    const loops = seams.map((seam) => [`around seam ${seam}`, seam]);
    transport.append(select("stretch to play", [["whole clip", ""], ...loops], (event) => setRange(event.target.value)));
  }
  slider.addEventListener("input", () => go(Number(slider.value)));

  function draw() {
    slider.value = frame;
    number.textContent = `${frame} / ${count - 1}`;
    for (const { node, frames } of results) node.classList.toggle("over", frame >= frames);
    if (playButton.classList.contains("pause") !== playing) {
      const [name, label] = playing ? ["pause", "pause (space)"] : ["play", "play (space)"];
      playButton.className = name;
      playButton.title = label;
      playButton.setAttribute("aria-label", label);
      playButton.replaceChildren(icon(name));
    }
  }

  // ---- filters

  const names = [...new Set(results.flatMap((result) => Object.keys(result.parameters)))];
  const filters = new Map();
  const tally = make("span", { class: "tally", role: "status" });
  const choice = make("div", { class: "choice" });
  for (const name of names) {
    const values = [...new Set(results.map((result) => result.parameters[name] ?? "–"))];
    if (values.length < 2) continue;
    filters.set(name, { values, select: select(name, [["all", ""], ...values.map((value, at) => [value, at])], filter) });
    choice.append(make("label", {}, make("span", {}, name), filters.get(name).select));
  }

  function filter() {
    for (const { node, parameters } of results) {
      node.hidden = [...filters].some(
        ([name, { values, select }]) => select.value !== "" && values[select.value] !== (parameters[name] ?? "–"),
      );
    }
    const left = results.filter((result) => !result.node.hidden).length;
    tally.textContent = left < results.length ? `${left} of ${results.length} shown` : results.length > 1 ? `${results.length} results` : "";
    for (const row of rows) row.hidden = results.some(({ node, number }) => node.hidden && number === Number(row.dataset.number));
    return settle();
  }

  // ---- the table: a click on a head sorts it and the results

  const table = root.querySelector("table.points");
  const rows = [...(table?.querySelectorAll("tbody tr") ?? [])];
  const heads = [...(table?.querySelectorAll("thead th[data-better]") ?? [])];

  function sort(head) {
    const column = head.cellIndex;
    const was = head.getAttribute("aria-sort");
    const first = head.dataset.better === "higher" ? "descending" : "ascending"; // the best one on top
    const order = was ? (was === "ascending" ? "descending" : "ascending") : first;
    for (const each of heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const value = (row) => row.cells[column].dataset.value ?? "";
    const by = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === ""); // what is not known comes last
      const apart = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return order === "ascending" ? apart : -apart;
    };
    rows.sort(by);
    table.tBodies[0].append(...rows);
    const place = new Map(rows.map((row, at) => [Number(row.dataset.number), at]));
    for (const { node, number } of results) node.style.order = place.get(number) ?? rows.length;
  }

  for (const head of heads) {
    const sorter = make("button", { type: "button", class: "sort", title: "sort by this" }, ...head.childNodes);
    sorter.addEventListener("click", () => sort(head));
    head.append(sorter);
  }

  // ---- the winner: one star, kept by the browser, or by the kernel's widget where there is one

  const key = root.dataset.key;
  const stars = []; // the buttons of all results, each with its result
  const winner = make("div", { class: "winner", role: "status" });
  let starred = Number(root.dataset.star) || null;

  function remembered() {
    try {
      const kept = localStorage.getItem(`wanlab star ${key}`);
      return kept === null ? starred : Number(kept) || null;
    } catch {
      return starred; // a page without storage
    }
  }

  function setStar(number, tell = true) {
    starred = number;
    for (const { node, result } of stars) {
      const on = result.number === number;
      node.setAttribute("aria-pressed", on);
      node.title = on ? `${result.title} is the winner` : `make ${result.title} the winner`;
      result.node.classList.toggle("starred", on);
    }
    for (const row of rows) row.classList.toggle("starred", Number(row.dataset.number) === number);
    const chosen = results.find((result) => result.number === number);
    winner.replaceChildren(...(chosen ? said(chosen) : ["Star the result that you would take (★)."]));
    winner.classList.toggle("chosen", Boolean(chosen));
    if (!tell) return;
    try {
      localStorage.setItem(`wanlab star ${key}`, number ?? "");
    } catch {
      // a page without storage: it holds while the page is open
    }
    root.dispatchEvent(new CustomEvent("wanlab-star", { bubbles: true, detail: { key, number } }));
  }

  function said({ title, command }) {
    const words = [icon("star"), make("b", {}, `Winner: ${title}`)];
    if (!command) return words;
    const copy = make("button", { type: "button", class: "copy" }, "Copy its command");
    const code = make("code", { title: command }, command);
    copy.addEventListener("click", async () => {
      copy.textContent = (await copied(command, code)) ? "Copied" : "Press Ctrl+C";
    });
    return [...words, copy, code];
  }

  /** Put a text into the clipboard, or, where the page may not, select it in `node`. */
  async function copied(text, node) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      getSelection().selectAllChildren(node);
      return document.execCommand("copy");
    }
  }

  function starButton(result) {
    const node = button("star", `make ${result.title} the winner`, (event) => {
      event.stopPropagation();
      setStar(starred === result.number ? null : result.number);
    });
    stars.push({ node, result });
    return node;
  }

  if (key) {
    for (const result of results) {
      result.node.querySelector("figcaption").prepend(starButton(result));
      rows.find((row) => Number(row.dataset.number) === result.number)?.cells[0].prepend(starButton(result));
    }
    document.addEventListener("wanlab-starred", ({ detail }) => {
      if (root.isConnected && detail.key === key) setStar(detail.number, false);
    });
  }

  // ---- the stage: one result large, or two under a wipe

  const sides = ["left", "right"].map((name) => {
    const first = name === "left" ? [] : [["compare with …", ""]];
    const side = {
      result: null,
      video: make("video", { class: name, playsinline: "", preload: "auto" }),
      link: make("a", {}, "full size"),
      select: select(`${name} result`, [...first, ...playable.map((result, at) => [result.title, at])], (event) => {
        put(side, playable[event.target.value]);
        settle();
      }),
    };
    side.video.muted = true;
    return side;
  });
  const divider = make("input", { type: "range", class: "divider", min: 0, max: 100, step: 0.5, "aria-label": "divider between left and right" });
  const view = make("div", { class: "view", tabindex: -1 }, divider, make("i", { class: "line" }));
  const stage = make(
    "dialog",
    { class: "stage", closedby: "any", "aria-label": "one result large, or two under a wipe" },
    make(
      "div",
      { class: "heads" },
      make("span", {}, sides[0].select, sides[0].link),
      make("span", {}, sides[1].link, sides[1].select),
      button("close", "close (Esc)", () => stage.close()),
    ),
    view,
  );

  function put(side, result) {
    side.result = result ?? null;
    side.select.value = result ? playable.indexOf(result) : "";
    side.link.hidden = !result?.link;
    if (result?.link) side.link.href = result.link.href;
    side.link.toggleAttribute("download", Boolean(result?.link?.download));
    if (result?.link?.download) side.link.download = result.link.download;
    if (result) side.video.src = result.link?.download ? result.link.href : result.video.src;
    if (!result) side.video.remove(); // a page holds no video element without a file
    else if (!side.video.isConnected) divider.before(side.video);
    view.classList.toggle("two", Boolean(sides[1].result));
  }

  function enlarge(left, right) {
    put(sides[0], left);
    put(sides[1], right);
    stage.append(transport);
    stage.showModal();
    (right ? divider : view).focus();
    return settle();
  }

  function wipe() {
    view.style.setProperty("--cut", `${divider.value}%`);
  }

  divider.addEventListener("input", wipe);
  stage.addEventListener("close", () => {
    for (const side of sides) put(side, null);
    slot.append(transport);
    settle();
  });

  // ---- putting it together

  const slot = make("div", { class: "slot" }, transport);
  const bar = make("div", { class: "bar" }, slot, choice);
  choice.append(tally);
  if (playable.length > 1) {
    const compare = make("button", { type: "button", class: "compare" }, "Compare two");
    compare.addEventListener("click", () => {
      const [left, right] = [...new Set([...shown(), ...playable])];
      enlarge(left, right);
    });
    (filters.size ? choice : transport).append(compare); // no line of its own
  }
  for (const result of playable) {
    result.video.controls = false; // they are there for pages that run no scripts
    result.video.muted = true;
    result.video.addEventListener("click", () => enlarge(result));
    result.node.querySelector("figcaption").prepend(button("enlarge", `enlarge ${result.title}`, () => enlarge(result)));
  }
  root.querySelector(".results").before(bar, ...(key ? [winner] : []));
  root.append(stage);
  for (const row of rows) {
    const result = results.find(({ number }) => number === Number(row.dataset.number));
    for (const kind of ["mouseenter", "mouseleave"]) {
      row.addEventListener(kind, () => result?.node.classList.toggle("meant", kind === "mouseenter"));
    }
  }

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, .divider")) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) step(by);
    else if (event.key === " " && !event.target.closest("button, a")) toggle();
    else return;
    event.preventDefault();
  });

  if (key) {
    setStar(remembered(), false);
    root.dispatchEvent(new CustomEvent("wanlab-grid", { bubbles: true, detail: { key } }));
  }
  divider.value = 50;
  wipe();
  setRange("");
  filter();
})();
