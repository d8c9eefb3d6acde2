"""The segmentation of the followed person: a mask per frame from bundled networks, and clicks as hard constraints.

Two networks look at the person's crop: BlazePose's own mask (which person) and U2-Net (the outline). Their mean, kept
near the skeleton and smoothed over time, is the mask. `grabcut` lets clicked points overrule it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from wanlab.people import run_network

SEEN = 0.3  # score of a key point that counts as being there
MARGIN = 1.3  # side of the crop: of the box around the key points; hair and clothes reach beyond them
REACH = 0.5  # of the body's size; farther from the skeleton nothing belongs to the person
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)  # ImageNet's
SMOOTHING = np.array([0.25, 0.5, 0.25])  # weights of the frames before, here and after
LIMBS = (
    (0, 5), (0, 6), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14),
    (14, 16), (15, 17), (15, 19), (16, 20), (16, 22), (9, 103), (10, 124),
)  # fmt: skip  # of the 133 key points
LIKE = 24  # of 255, how far a colour may be from the clicked one to go with it
UNSURE = (0.15, 0.85)  # between them GrabCut decides
GRABCUT_SIDE = 320  # pixels; larger crops are shrunk for GrabCut, which takes a second at 640


class Click(NamedTuple):
    """A clicked point: x and y in pixels of the working clip, on frame `frame`; positive: this belongs to the person."""

    frame: int
    x: float
    y: float
    positive: bool


def segment(frames: Iterable[np.ndarray], keypoints: np.ndarray) -> np.ndarray:
    """Return the followed person's mask, empty where the key points are.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB; read once, one at a time.
        keypoints: [T, 133, 3], x, y in pixels, score.

    Returns:
        [T, H, W], bool; True is the person.
    """
    return (
        np.stack(
            list(_smoothed(person_probability(frame, points) for frame, points in zip(frames, keypoints, strict=True)))
        )
        > 127
    )


def person_probability(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return how likely each pixel shows the person: [H, W], float32, 0 to 1.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        points: [133, 3], x, y in pixels, score; all 0 gives 0 everywhere.
    """
    height, width = frame.shape[:2]
    crop_of = _crop(points)
    if crop_of is None:
        return np.zeros((height, width), np.float32)
    centre, size = crop_of
    pose_crop, _ = _cut(frame, centre, size, 256)
    logits = run_network("pose_landmark_full", pose_crop[None].astype(np.float32) / 255)[2][0, ..., 0]
    pose_mask = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    salient_crop, _ = _cut(frame, centre, size, 320)
    values = (salient_crop.astype(np.float32) / 255 - MEAN) / DEVIATION
    salient = run_network("u2netp", values.transpose(2, 0, 1)[None])[0][0, 0]
    salient = (salient - salient.min()) / max(float(np.ptp(salient)), 1e-6)
    mean = (cv2.resize(pose_mask, (320, 320)) + salient) / 2
    return _paste(mean, centre, size, height, width) * _near(points, height, width)


def grabcut(
    frames: Iterable[np.ndarray],
    keypoints: np.ndarray,
    clicks: Sequence[Click],
    probability: Iterable[np.ndarray] | None = None,
) -> np.ndarray:
    """Return the person's mask with clicked points as hard constraints.

    On a clicked frame a positive point and its surroundings of like colour belong to the person, a negative one does
    not. On every other frame each click is carried along: it keeps its place relative to the nearest key points, and
    counts only where the picture there looks as it did where it was clicked.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB; they are read once.
        keypoints: [T, 133, 3], x, y in pixels, score.
        clicks: points in pixels of the clip.
        probability: [H, W], 0 to 1, per frame; None computes it.

    Returns:
        [T, H, W], bool.

    Raises:
        ValueError: a click outside the clip.
    """
    pictures = list(frames)
    for click in clicks:
        height, width = pictures[0].shape[:2]
        if not (0 <= click.frame < len(pictures) and 0 <= click.x < width and 0 <= click.y < height):
            raise ValueError(
                f"clicks must lie inside the clip ({len(pictures)} frames of {height}x{width}), got x {click.x}, y {click.y} on frame {click.frame}; use points of the working clip"
            )
    likely = probability or (person_probability(f, p) for f, p in zip(pictures, keypoints, strict=True))
    anchored = [_Anchor.at(click, pictures[click.frame], keypoints[click.frame]) for click in clicks]
    masks = []
    for t, (frame, points, chance) in enumerate(zip(pictures, keypoints, likely, strict=True)):
        there = [
            (*place, anchor.click.positive)
            for anchor in anchored
            if (place := anchor.place(t, frame, points)) is not None
        ]
        masks.append(_constrained(frame, chance, points, there) if there else chance > 0.5)
    return np.stack(masks)


class _Anchor(NamedTuple):
    """A click that hangs on the nearest key points: offset in sizes of the body, and its colour."""

    click: Click
    nearest: np.ndarray
    offset: np.ndarray
    colour: np.ndarray

    @classmethod
    def at(cls, click: Click, frame: np.ndarray, points: np.ndarray) -> _Anchor:
        where = np.array([click.x, click.y])
        seen = np.flatnonzero(points[:, 2] >= SEEN)
        nearest = seen[np.argsort(np.linalg.norm(points[seen, :2] - where, axis=1))[:3]]
        middle = points[nearest, :2].mean(axis=0) if len(nearest) else where
        return cls(click, nearest, (where - middle) / _size(points), _colour(frame, where))

    def place(self, t: int, frame: np.ndarray, points: np.ndarray) -> tuple[float, float] | None:
        """Return where the click lies on frame `t`, None where it cannot be carried to."""
        if t == self.click.frame:
            return self.click.x, self.click.y
        if not len(self.nearest) or (points[self.nearest, 2] < SEEN).any():
            return None
        where = points[self.nearest, :2].mean(axis=0) + self.offset * _size(points)
        inside = (where >= 0).all() and (where < frame.shape[1::-1]).all()
        if not inside or np.abs(_colour(frame, where) - self.colour).mean() > 30:  # of 255: something else is there
            return None
        return float(where[0]), float(where[1])


def _constrained(
    frame: np.ndarray, chance: np.ndarray, points: np.ndarray, clicks: Sequence[tuple[float, float, bool]]
) -> np.ndarray:
    """Run GrabCut on one frame around what is likely and what was clicked; what hangs on neither person nor click goes."""
    height, width = frame.shape[:2]
    places = np.array([click[:2] for click in clicks])
    ys, xs = np.nonzero(chance > UNSURE[0])
    low = np.minimum(places.min(axis=0), (xs.min(), ys.min()) if len(xs) else places.min(axis=0))
    high = np.maximum(places.max(axis=0), (xs.max(), ys.max()) if len(xs) else places.max(axis=0))
    pad = 0.1 * max(high - low) + 24
    x0, y0 = np.maximum(low - pad, 0).astype(int)
    x1, y1 = np.minimum(high + pad + 1, (width, height)).astype(int)
    scale = min(1.0, GRABCUT_SIDE / max(x1 - x0, y1 - y0))
    size = max(8, round((x1 - x0) * scale)), max(8, round((y1 - y0) * scale))
    picture = cv2.resize(frame[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    likely = cv2.resize(chance[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    labels = np.where(likely > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[likely > UNSURE[1]], labels[likely < UNSURE[0]] = cv2.GC_FGD, cv2.GC_BGD
    for a, b in LIMBS:  # the skeleton itself is sure
        if min(points[a, 2], points[b, 2]) >= SEEN and likely.any():
            ends = [((points[i, :2] - (x0, y0)) * size / (x1 - x0, y1 - y0)).astype(int).tolist() for i in (a, b)]
            cv2.line(labels, *ends, cv2.GC_FGD, max(2, round(6 * scale)))  # type: ignore[call-overload]
    for x, y, positive in clicks:
        at = int((x - x0) * size[0] / (x1 - x0)), int((y - y0) * size[1] / (y1 - y0))
        region = _like(picture, at)
        free = region & ((labels == cv2.GC_BGD) | (labels == cv2.GC_PR_BGD) if positive else region)
        labels[free] = cv2.GC_PR_FGD if positive else cv2.GC_PR_BGD
        cv2.circle(labels, at, max(2, round(4 * scale)), cv2.GC_FGD if positive else cv2.GC_BGD, -1)
    known = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if known.any() and not known.all():
        cv2.setRNGSeed(0)  # GrabCut starts from random clusters
        cv2.grabCut(picture, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    result = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    out = np.zeros((height, width), np.uint8)
    out[y0:y1, x0:x1] = cv2.resize(result, (int(x1 - x0), int(y1 - y0)), interpolation=cv2.INTER_LINEAR) > 0.5
    _, parts = cv2.connectedComponents(out, connectivity=4)
    seen = points[points[:, 2] >= SEEN, :2]
    anchors = [*map(tuple, seen), *((x, y) for x, y, positive in clicks if positive)]
    kept = {int(parts[int(y), int(x)]) for x, y in anchors if 0 <= x < width and 0 <= y < height} - {0}
    return np.isin(parts, list(kept)) if kept else out.astype(bool)


def _like(picture: np.ndarray, at: tuple[int, int]) -> np.ndarray:
    """Return the connected region of like colour around a point: [h, w], bool."""
    smooth = cv2.bilateralFilter(picture, 7, 30, 7)
    filled = np.zeros((picture.shape[0] + 2, picture.shape[1] + 2), np.uint8)
    cv2.floodFill(
        smooth,
        filled,
        at,
        (0, 0, 0),
        (LIKE,) * 3,
        (LIKE,) * 3,
        cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | 4 | (255 << 8),
    )
    return filled[1:-1, 1:-1] > 0


def _smoothed(chances: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield each frame's probability (0 to 255) averaged with its neighbours; an empty neighbour does not count."""
    window: list[np.ndarray] = []
    for chance in chances:
        window.append((chance * 255).astype(np.uint8))
        if len(window) == 1:
            continue
        yield _weighted(window[-3] if len(window) > 2 else None, window[-2], window[-1])
        del window[:-2]
    if window:
        yield _weighted(window[-2] if len(window) > 1 else None, window[-1], None)


def _weighted(before: np.ndarray | None, here: np.ndarray, after: np.ndarray | None) -> np.ndarray:
    if not here.any():
        return here.astype(np.float32)
    parts = [
        (w, part) for w, part in zip(SMOOTHING, (before, here, after), strict=True) if part is not None and part.any()
    ]
    return sum(w * part.astype(np.float32) for w, part in parts) / sum(w for w, _ in parts)  # type: ignore[return-value]


def _crop(points: np.ndarray) -> tuple[np.ndarray, float] | None:
    seen = points[points[:, 2] >= SEEN, :2]
    if len(seen) < 3:
        return None
    low, high = seen.min(axis=0), seen.max(axis=0)
    low[1] -= 0.12 * (high[1] - low[1])  # the head goes on above the eyes
    return (low + high) / 2, MARGIN * float(max(high - low))


def _size(points: np.ndarray) -> float:
    seen = points[points[:, 2] >= SEEN, :2]
    return float(np.ptp(seen, axis=0).max()) if len(seen) else 1.0


def _near(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return 1 near the skeleton, falling to 0 at REACH shoulder widths or heads away: [H, W], float32."""
    canvas = np.full((height, width), 255, np.uint8)
    for a, b in LIMBS:
        if points[a, 2] >= SEEN and points[b, 2] >= SEEN:
            ends = [tuple(int(v) for v in np.clip(points[i, :2], -9999, 9999)) for i in (a, b)]
            cv2.line(canvas, *ends, 0, 1)  # type: ignore[call-overload]
    for x, y in points[points[:, 2] >= SEEN, :2]:
        if 0 <= x < width and 0 <= y < height:
            canvas[int(y), int(x)] = 0
    shoulders = float(np.linalg.norm(points[5, :2] - points[6, :2])) if min(points[5, 2], points[6, 2]) >= SEEN else 0.0
    reach = REACH * max(shoulders, _size(points) / 4)
    distance = cv2.distanceTransform(canvas, cv2.DIST_L2, 3)
    return np.clip(2 - distance / reach, 0, 1).astype(np.float32)


def _cut(frame: np.ndarray, centre: np.ndarray, size: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    scale = size / side
    move = np.array([[scale, 0, centre[0] - size / 2], [0, scale, centre[1] - size / 2]])
    return cv2.warpAffine(frame, move, (side, side), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR), move


def _paste(values: np.ndarray, centre: np.ndarray, size: float, height: int, width: int) -> np.ndarray:
    scale = size / values.shape[0]
    move = np.array([[scale, 0, centre[0] - size / 2], [0, scale, centre[1] - size / 2]])
    return cv2.warpAffine(values.astype(np.float32), move, (width, height), flags=cv2.INTER_LINEAR)


def _colour(frame: np.ndarray, where: np.ndarray) -> np.ndarray:
    x, y = int(where[0]), int(where[1])
    return frame[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].reshape(-1, 3).astype(float).mean(axis=0)


def clicks_of(edits: Mapping[str, object]) -> list[Click]:
    """Read clicks from `edits.json`'s form: {"clicks": [{"frame", "x", "y", "positive"}, …]}."""
    rows = edits.get("clicks", [])
    assert isinstance(rows, list)
    return [Click(int(row["frame"]), float(row["x"]), float(row["y"]), bool(row["positive"])) for row in rows]
