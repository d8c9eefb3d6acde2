"""The segmentation of the followed person: a mask per frame from bundled networks, and clicks as hard constraints.

Two networks look at the person's crop: BlazePose's own mask (which person) and U2-Net (the outline). Their mean, kept
near the skeleton and smoothed over time, is the mask. `grabcut` lets clicked points overrule it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from wanlab.mask import carry, ties
from wanlab.mask.prompts import Box, Click, Prompts
from wanlab.mask.silhouette import LIMBS, body_size, person_probability
from wanlab.media import Clip, Frames
from wanlab.pose.wholebody import SEEN

RESULT_VERSION = 1  # raise it when the same clip, keypoints and prompts come to mean other masks
LIKE = 24  # of 255, how far a colour may be from the clicked one to go with it
SPREAD = 2.0  # times its pixels of like colour, up to which a carried click still counts
UNSURE = (0.15, 0.85)  # between them GrabCut decides
GRABCUT_SIDE = 320  # pixels; larger crops are shrunk for GrabCut, which takes a second at 640


def grabcut(
    frames: Iterable[np.ndarray],
    keypoints: np.ndarray,
    prompts: Prompts,
    probability: Iterable[np.ndarray] | None = None,
    spread: bool = True,
) -> Iterator[np.ndarray]:
    """Yield the person's mask frame by frame, [H, W], bool, with clicked points and boxes as hard constraints.

    On a clicked frame a positive point and its surroundings of like colour belong to the person, a negative one does
    not. On every other frame each click is carried along: it keeps its place relative to the nearest keypoints, and
    counts only where the image there looks as it did where it was clicked, and what goes with it is no larger.
    A box holds on its own frame: nothing outside the boxes there is the person; around something else, that is taken.
    Objects are not distinguished. Where nobody was found on the frames with prompts, what they mean is carried (module carry).

    Args:
        frames: [H, W, 3] each, 0 to 255, uint8 RGB; a clip or an array: read twice, one at a time.
        keypoints: [T, 133, 3], x, y in pixels, score.
        prompts: points and boxes in pixels of the clip, inside it.
        probability: [H, W], 0 to 1, per frame; None computes it.
        spread: whether like colours around a point go with it; not for points that the user did not place.
    """
    if carry.is_needed(keypoints, prompts):
        yield from _carried(frames if isinstance(frames, Clip | np.ndarray) else np.stack(list(frames)), prompts)
        return
    clicks = prompts.clicks
    wanted = {click.frame for click in clicks}
    clicked = {t: frame for t, frame in zip(range(max(wanted, default=-1) + 1), frames, strict=False) if t in wanted}
    anchored = [_Anchor.at(click, clicked[click.frame], keypoints[click.frame]) for click in clicks]
    probabilities = iter(probability) if probability is not None else None
    for t, (frame, points) in enumerate(zip(frames, keypoints, strict=True)):
        chance = person_probability(frame, points) if probabilities is None else next(probabilities)
        there = [here for anchor in anchored if (here := anchor.on(t, frame, points, spread)) is not None]
        boxes = [box for box in prompts.boxes if box.frame == t]
        allowed = _inside(boxes, chance.shape)
        chance = chance * allowed
        for box in boxes:
            if not (chance[_inside([box], chance.shape)] > 0.5).any():  # around something else than the person
                chance = np.maximum(chance, carry.within(frame, box))
        yield (_constrained(frame, chance, points, there) if there else chance > 0.5) & allowed


def _carried(clip: Clip | np.ndarray, prompts: Prompts) -> Iterator[np.ndarray]:
    """Yield the masks of a clip in which nobody was found where it was clicked: [H, W], bool, frame by frame."""
    frames, seeds = Frames(clip), {}
    nobody = np.zeros((133, 3))
    for t in sorted({each.frame for each in (*prompts.clicks, *prompts.boxes)}):
        boxes = [box for box in prompts.boxes if box.frame == t]
        clicks = [_Placed(click.x, click.y, click.positive, np.inf) for click in prompts.clicks if click.frame == t]
        chance = np.zeros((frames.height, frames.width), np.float32)
        for box in boxes:
            chance = np.maximum(chance, carry.within(frames[t], box))
        found = _constrained(frames[t], chance, nobody, clicks) if clicks else chance > 0.5
        found &= _inside(boxes, found.shape)
        if found.any():
            seeds[t] = found
    return carry.carry(clip, seeds)


def _inside(boxes: Sequence[Box], shape: tuple[int, ...]) -> np.ndarray:
    """Return where the boxes are: [H, W], bool; everywhere if there are none."""
    inside = np.full(shape, not boxes)
    for box in boxes:
        inside[int(box.y0) : int(np.ceil(box.y1)), int(box.x0) : int(np.ceil(box.x1))] = True
    return inside


class _Placed(NamedTuple):
    """A click on one frame.

    Attributes:
        x: pixels of the working clip.
        y: pixels of the working clip.
        positive: whether the point belongs to the object.
        most: how many pixels of like colour may be taken with it.
    """

    x: float
    y: float
    positive: bool
    most: float


class _Anchor(NamedTuple):
    """A click that moves with the nearest keypoints.

    Attributes:
        click: as placed by the user.
        points: keypoints of its frame, [133, 3].
        colour: under the click.
        like: pixels of like colour around it, in squared sizes of the body.
    """

    click: Click
    points: np.ndarray
    colour: np.ndarray
    like: float

    @classmethod
    def at(cls, click: Click, frame: np.ndarray, points: np.ndarray) -> _Anchor:
        scale = min(1.0, GRABCUT_SIDE / max(frame.shape))
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        like = _like(small, (int(click.x * scale), int(click.y * scale))).sum() / scale**2
        return cls(click, points, ties.colour(frame, (click.x, click.y)), like / body_size(points) ** 2)

    def on(self, t: int, frame: np.ndarray, points: np.ndarray, spread: bool) -> _Placed | None:
        """Return the click on frame `t`, None where it cannot be carried to."""
        if t == self.click.frame:
            return _Placed(self.click.x, self.click.y, self.click.positive, np.inf if spread else 0.0)
        where = ties.moved((self.click.x, self.click.y), self.points, points)
        if where is None or not ties.looks_alike(frame, where, self.colour):
            return None
        most = SPREAD * self.like * body_size(points) ** 2 if spread else 0.0
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
    image = cv2.resize(frame[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    likely = cv2.resize(chance[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    labels = np.where(likely > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[likely > UNSURE[1]], labels[likely < UNSURE[0]] = cv2.GC_FGD, cv2.GC_BGD
    for a, b in LIMBS:  # the skeleton itself is sure
        if min(points[a, 2], points[b, 2]) >= SEEN and likely.any():
            ends = [((points[i, :2] - (x0, y0)) * size / (x1 - x0, y1 - y0)).astype(int).tolist() for i in (a, b)]
            cv2.line(labels, *ends, cv2.GC_FGD, max(2, round(6 * scale)))  # type: ignore[call-overload]
    for x, y, positive, most in clicks:
        at = int((x - x0) * size[0] / (x1 - x0)), int((y - y0) * size[1] / (y1 - y0))
        region = _like(image, at) if most else np.zeros_like(labels, bool)
        if region.sum() > most * scale**2:  # for example onto a wall
            continue
        free = region & ((labels == cv2.GC_BGD) | (labels == cv2.GC_PR_BGD) if positive else region)
        labels[free] = cv2.GC_PR_FGD if positive else cv2.GC_PR_BGD
        cv2.circle(labels, at, max(2, round(4 * scale)), cv2.GC_FGD if positive else cv2.GC_BGD, -1)
    result = carry.object_by_grabcut(image, labels).astype(np.float32)
    out = np.zeros((height, width), np.uint8)
    out[y0:y1, x0:x1] = cv2.resize(result, (int(x1 - x0), int(y1 - y0)), interpolation=cv2.INTER_LINEAR) > 0.5
    _, parts = cv2.connectedComponents(out, connectivity=4)
    seen = points[points[:, 2] >= SEEN, :2]
    anchors = [*map(tuple, seen), *((click.x, click.y) for click in clicks if click.positive)]
    kept = {int(parts[int(y), int(x)]) for x, y in anchors if 0 <= x < width and 0 <= y < height} - {0}
    return np.isin(parts, list(kept)) if kept else out.astype(bool)


def _like(image: np.ndarray, at: tuple[int, int]) -> np.ndarray:
    """Return the connected region of like colour around a point: [h, w], bool."""
    smooth = cv2.bilateralFilter(image, 7, 30, 7)
    filled = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.uint8)
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
