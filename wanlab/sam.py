"""The segmentation of the followed person: a mask per frame from bundled networks, and clicks as hard constraints.

Two networks look at the person's crop: BlazePose's own mask (which person) and U2-Net (the outline). Their mean, kept
near the skeleton and smoothed over time, is the mask. `grabcut` lets clicked points overrule it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from wanlab import pose
from wanlab.media import Frames, Seeker
from wanlab.people import run_network
from wanlab.points import Box, Click, Prompts

PROMPTED = [0, 1, 2, 5, 8, 11, 10, 13]  # of upstream's body points: nose, neck, shoulders, hips, ankles
SEEN = 0.3  # score of a key point that counts as being there
MARGIN = 1.3  # side of the crop: of the box around the key points; hair and clothes reach beyond them
THIGH = 0.8  # of the torso, the length of a thigh
CROWN = 133  # row after the 133 key points
REACH = 0.5  # of the body's size; farther from the skeleton nothing belongs to the person
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)  # ImageNet's
SMOOTHING = np.array([0.25, 0.5, 0.25])  # weights of the frames before, here and after
LIMBS = (
    (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14),
    (14, 16), (15, 17), (15, 19), (16, 20), (16, 22), (9, 103), (10, 124),
)  # fmt: skip  # of the 133 key points
LIKE = 24  # of 255, how far a colour may be from the clicked one to go with it
SAME_COLOUR, SPREAD = 14.0, 2.0  # CIELAB distance, and times its pixels, up to which a carried click still counts
UNSURE = (0.15, 0.85)  # between them GrabCut decides
RECENT = 8  # frames whose probability is kept for clicks
GRABCUT_SIDE = 320  # pixels; larger crops are shrunk for GrabCut, which takes a second at 640


def key_frames(num_frames: int, chunk: int = 400) -> list[int]:
    """Return the frames on which upstream prompts SAM2: four or five in each chunk, one where there are four or fewer.

    Args:
        num_frames: frames of the clip.
        chunk: frames after which upstream starts anew.

    Source: `get_mask` of Wan2.2's animate preprocessing (golden 11).
    """
    frames: list[int] = []
    for start in range(0, num_frames, chunk):
        length = min(chunk, num_frames - start)
        frames += range(start, start + length, length // 4 if length > 4 else length)
    return frames


def body_prompts(body: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return upstream's eight prompts of each frame: nose, neck, shoulders, hips, ankles; scores do not count.

    Args:
        body: [T, 20, 2 or more], float32, as `pose.Meta.body`: x / width, y / height.
        height, width: of the clip in pixels.

    Returns:
        [T, 8, 2], int32, x and y in pixels; they may lie outside the picture.

    Source: as `key_frames`.
    """
    return (body[:, PROMPTED, :2] * np.array([width, height])).astype(np.int32)


def keypoint_prompts(keypoints: np.ndarray, height: int, width: int) -> Prompts:
    """Return upstream's prompts for SAM2: its eight points on each key frame, seen or not, inside the picture or not.

    A key frame on which nobody was found has none: upstream's detector has no such frames.

    Args:
        keypoints: [T, 133, 3], x, y in pixels of the clip, score.
        height, width: of the clip in pixels.

    Source: as `key_frames`.
    """
    prompts = body_prompts(pose.to_meta(keypoints, height, width).body, height, width)
    found = [t for t in key_frames(len(keypoints)) if keypoints[t, :, 2].any()]
    return Prompts(tuple(Click(t, float(x), float(y), True) for t in found for x, y in prompts[t]))


def keypoint_clicks(keypoints: np.ndarray, height: int, width: int) -> Prompts:
    """Return upstream's prompts for GrabCut, which takes each at its word: points that were not seen are left out.

    Args:
        keypoints: [T, 133, 3], x, y in pixels of the clip, score.
        height, width: of the clip in pixels.
    """
    body = pose.to_meta(keypoints, height, width).body
    prompts = body_prompts(body, height, width)
    return Prompts(
        tuple(
            Click(t, float(x), float(y), True)
            for t in key_frames(len(keypoints))
            for (x, y), score in zip(prompts[t], body[t, PROMPTED, 2], strict=True)
            if score >= SEEN and 0 <= x < width and 0 <= y < height
        )
    )


def centre_clicks(keypoints: np.ndarray, height: int, width: int) -> Prompts:
    """Return two clicks on the first frame with a person: the middle of the face and of the torso, where seen.

    Args:
        keypoints: [T, 133, 3], x, y in pixels of the clip, score.
        height, width: of the clip in pixels.
    """
    for t, points in enumerate(keypoints):
        parts = (points[23:91], points[[5, 6, 11, 12]])  # face; shoulders and hips
        seen = [part[part[:, 2] >= SEEN, :2] for part in parts]
        middles = [(part.min(axis=0) + part.max(axis=0)) / 2 for part in seen if len(part) > 1]
        clicks = [Click(t, float(x), float(y), True) for x, y in middles if 0 <= x < width and 0 <= y < height]
        if clicks:
            return Prompts(tuple(clicks))
    return Prompts(())


def segment(frames: Iterable[np.ndarray], keypoints: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the followed person's mask frame by frame, [H, W], bool; empty where the key points are.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB; read once, one at a time.
        keypoints: [T, 133, 3], x, y in pixels, score.
    """
    chances = (person_probability(frame, points) for frame, points in zip(frames, keypoints, strict=True))
    return (chance > 127 for chance in _smoothed(chances))


def person_probability(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return how likely each pixel shows the person: [H, W], float32, 0 to 1.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        points: [133, 3], x, y in pixels, score; all 0 gives 0 everywhere.
    """
    height, width = frame.shape[:2]
    points = _whole(points)
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
    prompts: Prompts,
    probability: Iterable[np.ndarray] | None = None,
    spread: bool = True,
) -> Iterator[np.ndarray]:
    """Yield the person's mask frame by frame, [H, W], bool, with clicked points and boxes as hard constraints.

    On a clicked frame a positive point and its surroundings of like colour belong to the person, a negative one does
    not. On every other frame each click is carried along: it keeps its place relative to the nearest key points, and
    counts only where the picture there looks as it did where it was clicked, and what goes with it is no larger.
    A box holds on its own frame: nothing outside the boxes there is the person. Objects are not told apart.

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB; a clip or an array: read twice, one at a time.
        keypoints: [T, 133, 3], x, y in pixels, score.
        prompts: points and boxes in pixels of the clip, inside it.
        probability: [H, W], 0 to 1, per frame; None computes it.
        spread: whether like colours around a point go with it; not for points that nobody looked at.
    """
    clicks = prompts.clicks
    wanted = {click.frame for click in clicks}
    clicked = {t: frame for t, frame in zip(range(max(wanted, default=-1) + 1), frames, strict=False) if t in wanted}
    anchored = [_Anchor.at(click, clicked[click.frame], keypoints[click.frame]) for click in clicks]
    chances = iter(probability) if probability is not None else None
    for t, (frame, points) in enumerate(zip(frames, keypoints, strict=True)):
        chance = person_probability(frame, points) if chances is None else next(chances)
        there = [here for anchor in anchored if (here := anchor.on(t, frame, points, spread)) is not None]
        allowed = _inside([box for box in prompts.boxes if box.frame == t], chance.shape)
        chance = chance * allowed
        yield (_constrained(frame, chance, points, there) if there else chance > 0.5) & allowed


class Clicks:
    """Masks of single frames from prompts through GrabCut, as `sam_image.Clicks` gives them through SAM2."""

    def __init__(self, frames: Frames | Seeker, keypoints: np.ndarray) -> None:
        """Take the frames of a clip and its key points: [T, 133, 3], x, y in pixels, score."""
        self._frames, self._keypoints = frames, keypoints
        self._probability = functools.lru_cache(RECENT)(lambda t: person_probability(frames[t], keypoints[t]))

    def mask(self, t: int, prompts: Prompts) -> np.ndarray:
        """Return the person on frame `t` with the prompts there: [H, W], bool; other frames' prompts do not count."""
        here = Prompts(
            tuple(click._replace(frame=0) for click in prompts.clicks if click.frame == t),
            tuple(box._replace(frame=0) for box in prompts.boxes if box.frame == t),
        )
        return next(grabcut([self._frames[t]], self._keypoints[t : t + 1], here, [self._probability(t)]))


def _inside(boxes: Sequence[Box], shape: tuple[int, ...]) -> np.ndarray:
    """Return where the boxes are: [H, W], bool; everywhere if there are none."""
    inside = np.full(shape, not boxes)
    for box in boxes:
        inside[int(box.y0) : int(np.ceil(box.y1)), int(box.x0) : int(np.ceil(box.x1))] = True
    return inside


class _Placed(NamedTuple):
    """A click on one frame: x, y in pixels, its kind, and the most pixels of like colour that may go with it."""

    x: float
    y: float
    positive: bool
    most: float


class _Anchor(NamedTuple):
    """A click that hangs on the nearest key points: offset in sizes of the body, its colour, what goes with it."""

    click: Click
    nearest: np.ndarray
    offset: np.ndarray
    colour: np.ndarray
    like: float  # pixels of like colour around it, in squared sizes of the body

    @classmethod
    def at(cls, click: Click, frame: np.ndarray, points: np.ndarray) -> _Anchor:
        where = np.array([click.x, click.y])
        seen = np.flatnonzero(points[:, 2] >= SEEN)
        nearest = seen[np.argsort(np.linalg.norm(points[seen, :2] - where, axis=1))[:3]]
        middle = points[nearest, :2].mean(axis=0) if len(nearest) else where
        scale = min(1.0, GRABCUT_SIDE / max(frame.shape))
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        like = _like(small, (int(click.x * scale), int(click.y * scale))).sum() / scale**2
        return cls(click, nearest, (where - middle) / _size(points), _colour(frame, where), like / _size(points) ** 2)

    def on(self, t: int, frame: np.ndarray, points: np.ndarray, spread: bool) -> _Placed | None:
        """Return the click on frame `t`, None where it cannot be carried to."""
        if t == self.click.frame:
            return _Placed(self.click.x, self.click.y, self.click.positive, np.inf if spread else 0.0)
        if not len(self.nearest) or (points[self.nearest, 2] < SEEN).any():
            return None
        where = points[self.nearest, :2].mean(axis=0) + self.offset * _size(points)
        inside = (where >= 0).all() and (where < frame.shape[1::-1]).all()
        if not inside or np.linalg.norm(_colour(frame, where) - self.colour) > SAME_COLOUR:
            return None
        most = SPREAD * self.like * _size(points) ** 2 if spread else 0.0
        return _Placed(float(where[0]), float(where[1]), self.click.positive, most)


def _constrained(frame: np.ndarray, chance: np.ndarray, points: np.ndarray, clicks: Sequence[_Placed]) -> np.ndarray:
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
    for x, y, positive, most in clicks:
        at = int((x - x0) * size[0] / (x1 - x0)), int((y - y0) * size[1] / (y1 - y0))
        region = _like(picture, at) if most else np.zeros_like(labels, bool)
        if region.sum() > most * scale**2:  # it slipped off onto a wall, say
            continue
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
    anchors = [*map(tuple, seen), *((click.x, click.y) for click in clicks if click.positive)]
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


def _whole(points: np.ndarray) -> np.ndarray:
    """Return the key points with what is there though no point says so: [134, 3]; thighs below seen hips, and the crown.

    Where knees were not found the body goes on below the hips; hair and hats rise above the face (row CROWN).
    """
    out = np.concatenate([points, np.zeros((1, 3), points.dtype)])
    for hip, knee, shoulder in ((11, 13, 5), (12, 14, 6)):
        if points[knee, 2] < SEEN <= min(points[hip, 2], points[shoulder, 2]):
            out[knee, :2] = points[hip, :2] + THIGH * (points[hip, :2] - points[shoulder, :2])
            out[knee, 2] = SEEN
    if points[[0, 5, 6], 2].min() >= SEEN:
        out[CROWN, :2] = points[0, :2] + points[0, :2] - points[[5, 6], :2].mean(axis=0)
        out[CROWN, 2] = SEEN
    return out


def _crop(points: np.ndarray) -> tuple[np.ndarray, float] | None:
    seen = points[points[:, 2] >= SEEN, :2]
    if len(seen) < 3:
        return None
    low, high = seen.min(axis=0), seen.max(axis=0)
    return (low + high) / 2, MARGIN * float(max(high - low))


def _size(points: np.ndarray) -> float:
    seen = points[points[:, 2] >= SEEN, :2]
    return float(np.ptp(seen, axis=0).max()) if len(seen) else 1.0


def _near(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return 1 near the skeleton, falling to 0 at REACH shoulder widths or heads away: [H, W], float32."""
    canvas = np.full((height, width), 255, np.uint8)
    for a, b in (*LIMBS, (0, CROWN)):
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
    """Return the mean colour around a point: CIELAB, L from 0 to 100."""
    x, y = int(where[0]), int(where[1])
    patch = frame[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].astype(np.float32) / 255
    return cv2.cvtColor(patch, cv2.COLOR_RGB2LAB).reshape(-1, 3).mean(axis=0)
