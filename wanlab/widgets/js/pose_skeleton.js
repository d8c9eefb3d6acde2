/* A skeleton over a frame, drawn as the model is shown it, and the joints that can be taken hold of.

   drawing: what `pose` and `keypoints` know: { sources, limbs, colours, shade, fingers, fingerColours, tipColour, hands,
     drawnFrom, faceFrom, parts: [[name, rows], …], names } by rows of COCO-WholeBody
   points: Float32Array of 133 x, y, score in pixels of the clip
   drawSkeleton(ctx, points, drawing, { stick, px, ghost })        stick: half a limb's width; px: one CSS pixel
   handles(points, drawing, part) -> [{ rows, x, y, seen }]        what can be dragged; `part`: hidden ones of it too
   nearest(found, place, reach, rowsOfPart) -> a handle within `reach` or null: those of the part first, the hand's points last
   shown(points, drawing, row) -> whether a row is drawn, or counts for the face */

const FIRST_SMALL = 23; // of the rows of face and hands, whose points lie close together
const GHOST = "rgba(255, 255, 255, 0.55)";

export function shown(points, drawing, row) {
  const [first, last] = drawing.face;
  return points[3 * row + 2] >= (row >= first && row < last ? drawing.faceFrom : drawing.drawnFrom);
}

function mean(points, [a, b]) {
  return [0, 1, 2].map((i) => (points[3 * a + i] + points[3 * b + i]) / 2);
}

const css = (colour, shade = 1) => `rgb(${colour.map((c) => Math.round(c * shade)).join(" ")})`;

function line(ctx, a, b) {
  ctx.beginPath();
  ctx.moveTo(a[0], a[1]);
  ctx.lineTo(b[0], b[1]);
  ctx.stroke();
}

function dot(ctx, x, y, radius) {
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
}

export function drawSkeleton(ctx, points, drawing, { stick, px, ghost = false }) {
  const body = drawing.sources.map((pair) => mean(points, pair));
  const drawn = (point) => point[2] >= drawing.drawnFrom;
  const limb = ghost ? 2 * px : Math.max(2 * stick, 3 * px);
  ctx.save();
  ctx.lineCap = "round";
  ctx.lineWidth = limb;
  if (ghost) ctx.setLineDash([4 * px, 4 * px]);
  drawing.limbs.forEach(([a, b], i) => {
    if (!drawn(body[a]) || !drawn(body[b])) return;
    ctx.strokeStyle = ghost ? GHOST : css(drawing.colours[i], drawing.shade);
    line(ctx, body[a], body[b]);
  });
  ctx.lineWidth = ghost ? px : Math.max(stick, 1.5 * px);
  for (const first of drawing.hands) {
    const hand = [...Array(21).keys()].map((i) => mean(points, [first + i, first + i]));
    drawing.fingers.forEach(([a, b], i) => {
      if (!drawn(hand[a]) || !drawn(hand[b])) return;
      ctx.strokeStyle = ghost ? GHOST : css(drawing.fingerColours[i]);
      line(ctx, hand[a], hand[b]);
    });
    if (ghost) continue;
    ctx.fillStyle = css(drawing.tipColour);
    for (const point of hand.filter(drawn)) {
      dot(ctx, point[0], point[1], Math.max(stick / 2, 2 * px));
      ctx.fill();
    }
  }
  if (!ghost) {
    body.forEach((point, i) => {
      if (!drawn(point)) return;
      dot(ctx, point[0], point[1], Math.max(stick, 4 * px));
      ctx.fillStyle = css(drawing.colours[i]);
      ctx.fill();
      ctx.lineWidth = px;
      ctx.strokeStyle = "rgba(0, 0, 0, 0.6)";
      ctx.stroke();
    });
  }
  ctx.restore();
}

export function handles(points, drawing, part) {
  const ofPart = new Set(drawing.parts.find(([name]) => name === part)?.[1] ?? []);
  const toes = drawing.sources.filter(([a, b], i) => a !== b && i > 1); // drawn as one point: they move as one
  const groups = [
    ...[...Array(drawing.numBody).keys()].map((row) => [row]), ...toes,
    ...drawing.hands.flatMap((first) => [...Array(21).keys()].map((i) => [first + i])),
    ...[...ofPart].filter((row) => row >= drawing.numBody && row < drawing.hands[0] && !toes.flat().includes(row)).map((row) => [row]),
  ];
  return groups.flatMap((rows) => {
    const [x, y] = mean(points, [rows[0], rows.at(-1)]);
    const seen = rows.every((row) => shown(points, drawing, row));
    const somewhere = x !== 0 || y !== 0;
    return seen || (ofPart.has(rows[0]) && somewhere) ? [{ rows, x, y, seen }] : [];
  });
}

export function nearest(found, place, reach, rowsOfPart) {
  let best = null;
  for (const handle of found) {
    const apart = Math.hypot(handle.x - place.x, handle.y - place.y);
    const better = rowsOfPart.includes(handle.rows[0]) ? 2 : handle.rows[0] < FIRST_SMALL ? 1 : 0; // a hand begins where its wrist lies
    const cost = apart + (handle.seen ? 0 : reach / 2) - (better * reach) / 4;
    if (apart <= reach && (!best || cost < best.cost)) best = { handle, cost };
  }
  return best?.handle ?? null;
}

export function drawHandles(ctx, found, { px, part, rowsOfPart, chosen, points }) {
  ctx.save();
  for (const { rows, x, y, seen } of found) {
    const small = rows[0] >= FIRST_SMALL;
    if (!rowsOfPart.includes(rows[0]) || (small && seen)) continue;
    dot(ctx, x, y, (small ? 2.5 : 6) * px);
    ctx.lineWidth = 1.5 * px;
    ctx.setLineDash(seen ? [] : [2 * px, 2 * px]);
    ctx.strokeStyle = "#ffffff";
    ctx.stroke();
  }
  if (chosen !== null && (points[3 * chosen] || points[3 * chosen + 1])) {
    ctx.setLineDash([]);
    for (const [width, colour] of [[4, "#000000"], [2, "#ffffff"]]) {
      dot(ctx, points[3 * chosen], points[3 * chosen + 1], 9 * px);
      ctx.lineWidth = width * px;
      ctx.strokeStyle = colour;
      ctx.stroke();
    }
  }
  ctx.restore();
}
