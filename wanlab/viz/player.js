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
    close: "M3 4.1L4.1 3 8 6.9 11.9 3 13 4.1 9.1 8l3.9 3.9-1.1 1.1L8 9.1 4.1 13 3 11.9 6.9 8z",
  };

  const root = document.currentScript.closest(".wanlab-player");
  const fps = Number(root.dataset.fps);
  const results = [...root.querySelectorAll(".result")].map((node) => ({
    node,
    video: node.querySelector("video"),
    title: node.querySelector(".title").textContent,
    link: node.querySelector("a"),
    frames: Number(node.dataset.frames),
    seams: JSON.parse(node.dataset.seams),
    parameters: JSON.parse(node.dataset.parameters),
  }));
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
    return results.filter((result) => !result.node.hidden);
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
    tally.textContent = left < results.length ? `${left} of ${results.length} shown` : `${results.length} results`;
    return settle();
  }

  // ---- the stage: one result large, or two under a wipe

  const sides = ["left", "right"].map((name) => {
    const first = name === "left" ? [] : [["compare with …", ""]];
    const side = {
      result: null,
      video: make("video", { class: name, playsinline: "", preload: "auto" }),
      link: make("a", {}, "full size"),
      select: select(`${name} result`, [...first, ...results.map((result, at) => [result.title, at])], (event) => {
        put(side, results[event.target.value]);
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
    side.select.value = result ? results.indexOf(result) : "";
    side.link.hidden = !result?.link;
    if (result?.link) side.link.href = result.link.href;
    if (result) side.video.src = result.video.src;
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
  if (results.length > 1) {
    const compare = make("button", { type: "button", class: "compare" }, "Compare two");
    compare.addEventListener("click", () => {
      const [left, right] = [...shown(), ...results.filter((result) => result.node.hidden)];
      enlarge(left, right);
    });
    choice.append(compare);
  }
  for (const result of results) {
    result.video.controls = false; // they are there for pages that run no scripts
    result.video.muted = true;
    result.video.addEventListener("click", () => enlarge(result));
    result.node.querySelector("figcaption").prepend(button("enlarge", `enlarge ${result.title}`, () => enlarge(result)));
  }
  root.querySelector(".results").before(bar);
  root.append(stage);

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, .divider")) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) step(by);
    else if (event.key === " " && !event.target.closest("button, a")) toggle();
    else return;
    event.preventDefault();
  });

  divider.value = 50;
  wipe();
  setRange("");
  filter();
})();
