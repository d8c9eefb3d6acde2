/* Points, boxes and brush strokes over a clip: drawn, and found under the pointer. Coordinates are those of the clip.

   drawMarks(ctx, view, { clicks, boxes, strokes }, selected, pending)     those of the frame on the screen
   findMark(view, marks, { x, y }) -> { what: "click" | "box" | "stroke", mark, corner } or null
   drawStroke(ctx, stroke, colour)        stroke: { path, radius, add }
   drawCross(ctx, view, place), drawBanner(ctx, view, text)
   same(a, b)                             whether two marks are the same; boxOf(a, b) -> { x0, y0, x1, y1 }
   A click is a disc in its object's colour with a plus or a minus on it: shape says what colour alone would not. */

import { OBJECTS, OKABE } from "./parts.js";

const DISC = 8; // CSS pixels
const NEAR = 11; // CSS pixels from a mark that mean it

export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

export const colourOf = (number) => OBJECTS[(number - 1) % OBJECTS.length];

export function boxOf(a, b) {
  return { x0: Math.min(a.x, b.x), y0: Math.min(a.y, b.y), x1: Math.max(a.x, b.x), y1: Math.max(a.y, b.y) };
}

export function findMark(view, marks, { x, y }) {
  const near = NEAR * view.px;
  const here = (list) => list.filter((mark) => mark.frame === view.t).reverse(); // the one on top first
  for (const mark of here(marks.clicks)) {
    if (Math.hypot(mark.x - x, mark.y - y) <= near) return { what: "click", mark };
  }
  for (const mark of here(marks.boxes)) {
    for (const [across, down] of [["x0", "y0"], ["x1", "y0"], ["x0", "y1"], ["x1", "y1"]]) {
      if (Math.hypot(mark[across] - x, mark[down] - y) <= near) return { what: "box", mark, corner: [across, down] };
    }
    const inside = x >= mark.x0 - near && x <= mark.x1 + near && y >= mark.y0 - near && y <= mark.y1 + near;
    const edge = Math.min(Math.abs(x - mark.x0), Math.abs(x - mark.x1), Math.abs(y - mark.y0), Math.abs(y - mark.y1));
    if (inside && edge <= near / 2) return { what: "box", mark };
  }
  return null;
}

export function strokeAt(view, marks, { x, y }) {
  const here = marks.strokes.filter((mark) => mark.frame === view.t).reverse();
  const mark = here.find(({ path, radius }) => path.some(([a, b]) => Math.hypot(a - x, b - y) <= radius));
  return mark ? { what: "stroke", mark } : null;
}

export function drawStroke(ctx, { path, radius, add }, alpha = 0.55) {
  ctx.save();
  ctx.globalAlpha = alpha;
  ctx.strokeStyle = ctx.fillStyle = add ? OKABE.sky : OKABE.red;
  ctx.lineWidth = 2 * radius;
  ctx.lineCap = ctx.lineJoin = "round";
  ctx.beginPath();
  ctx.moveTo(...path[0]);
  path.forEach((place) => ctx.lineTo(...place));
  ctx.stroke();
  ctx.restore();
}

export function drawMarks(ctx, view, marks, selected, pending = false) {
  const px = view.px;
  for (const stroke of marks.strokes) {
    if (stroke.frame !== view.t) continue;
    ctx.save();
    ctx.setLineDash(stroke.carried ? [] : [4 * px, 4 * px]); // dashed: this frame only
    ctx.lineWidth = (same(stroke, selected) ? 4 : 2) * px;
    ctx.strokeStyle = stroke.add ? OKABE.sky : OKABE.red;
    ctx.beginPath();
    ctx.moveTo(...stroke.path[0]);
    stroke.path.forEach((place) => ctx.lineTo(...place));
    if (stroke.path.length === 1) ctx.arc(...stroke.path[0], 3 * px, 0, 7);
    ctx.stroke();
    ctx.restore();
  }
  for (const box of marks.boxes) {
    if (box.frame !== view.t) continue;
    for (const [width, colour] of [[5, OKABE.black], [3, colourOf(box.object)]]) {
      ctx.lineWidth = (width + (same(box, selected) ? 2 : 0)) * px;
      ctx.strokeStyle = colour;
      ctx.strokeRect(box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0);
    }
    number(ctx, px, box.object, box.x0 + 4 * px, box.y0 + 15 * px);
  }
  for (const click of marks.clicks) if (click.frame === view.t) disc(ctx, px, click, same(click, selected), pending);
}

/* The cross that the keyboard moves. */
export function drawCross(ctx, view, { x, y }) {
  const long = 14 * view.px;
  for (const [width, colour] of [[4, OKABE.black], [2, "#fff"]]) {
    ctx.lineWidth = width * view.px;
    ctx.strokeStyle = colour;
    ctx.beginPath();
    ctx.moveTo(x - long, y);
    ctx.lineTo(x + long, y);
    ctx.moveTo(x, y - long);
    ctx.lineTo(x, y + long);
    ctx.stroke();
  }
}

export function drawBanner(ctx, view, text) {
  ctx.save();
  ctx.setTransform(view.dpr, 0, 0, view.dpr, 0, 0);
  ctx.font = "bold 14px system-ui, sans-serif";
  ctx.fillStyle = "rgba(0, 0, 0, 0.75)";
  ctx.fillRect(8, 8, ctx.measureText(text).width + 16, 24);
  ctx.fillStyle = OKABE.yellow;
  ctx.fillText(text, 16, 25);
  ctx.restore();
}

function disc(ctx, px, { x, y, positive, object }, chosen, pending) {
  ctx.save();
  ctx.translate(x, y);
  ctx.scale(px, px);
  ctx.beginPath();
  ctx.arc(0, 0, DISC, 0, 2 * Math.PI);
  ctx.fillStyle = colourOf(object);
  ctx.globalAlpha = pending ? 0.4 : 1;
  ctx.fill();
  ctx.lineWidth = chosen ? 4 : 2;
  ctx.strokeStyle = chosen ? "#fff" : OKABE.black;
  ctx.stroke();
  if (chosen) {
    ctx.lineWidth = 1.5;
    ctx.strokeStyle = OKABE.black;
    ctx.beginPath();
    ctx.arc(0, 0, DISC + 3, 0, 2 * Math.PI);
    ctx.stroke();
  }
  ctx.strokeStyle = OKABE.black;
  ctx.lineWidth = 2.5;
  ctx.beginPath();
  ctx.moveTo(-5, 0);
  ctx.lineTo(5, 0);
  if (positive) {
    ctx.moveTo(0, -5);
    ctx.lineTo(0, 5);
  }
  ctx.stroke();
  ctx.restore();
  if (object > 1) number(ctx, px, object, x + (DISC + 3) * px, y - DISC * px);
}

function number(ctx, px, text, x, y) {
  ctx.save();
  ctx.font = `bold ${13 * px}px system-ui, sans-serif`;
  ctx.lineWidth = 3 * px;
  ctx.strokeStyle = "#000";
  ctx.strokeText(text, x, y);
  ctx.fillStyle = "#fff";
  ctx.fillText(text, x, y);
  ctx.restore();
}
