"""The region that a click means without SAM2: what looks alike around it, bounded by how large the person's hand would be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np

from wanlab.mask import carry, ties
from wanlab.mask.packed import Masks
from wanlab.mask.prompts import Box, Click
from wanlab.mask.silhouette import body_size
from wanlab.media import Frames, Seeker
from wanlab.pose.wholebody import SEEN

RESULT_VERSION = 1  # raise it when the same clip, click, keypoints and outline come to mean other regions
REACH = 0.6  # of the shoulders' width: a hand is 0.45 long; what a click means ends there
ALONE = 0.15  # of the image's longer side, the same where nobody was found
LIKE = 24  # of 255, how far a colour may be from the clicked one to go with it
LEAST_LIKE, SPREAD = (
    8.0,
    0.5,
)  # the same in the dark: at least, and of the deviation of the grey levels around the click
OPEN = 0.25  # of the circle around a click: like colours that leave it there belong to a wall or to clothes, and have no end
BLOB = 0.25  # of the reach: so much is meant of what has no end
WORK_SIDE = 128  # pixels of the square that GrabCut works on: 15 ms


class LocalRegions:
    """Finds the regions of clicks and boxes on single frames, by GrabCut around each."""

    def __init__(self, frames: Frames | Seeker, keypoints: np.ndarray, before: Masks) -> None:
        """Take a clip.

        Args:
            frames: of the clip.
            keypoints: [T, 133, 3], x, y in pixels, score: they say how large the person is.
            before: the outline that is corrected: [T, H, W], bool.
        """
        self._frames, self._keypoints, self._before = frames, keypoints, before

    def of_click(self, click: Click, against: Sequence[Click]) -> np.ndarray:
        """Return what a click means: [H, W], bool; outside of the outline where it adds, inside where it takes out.

        Args:
            click: in pixels of the clip.
            against: clicks that mean the opposite, on the same frame.
        """
        before = self._before[click.frame]
        free = ~before if click.positive else before
        return _around(self._frames[click.frame], click, against, free, self.reach(click.frame))

    def of_box(self, box: Box, against: Sequence[Click]) -> np.ndarray:
        """Return what stands out in a box: [H, W], bool; without what clicks against it mean."""
        found = carry.within(self._frames[box.frame], box)
        for click in against:
            found &= ~_around(self._frames[box.frame], click, (), found, self.reach(box.frame))
        return found

    def elsewhere(self, click: Click, t: int) -> np.ndarray | None:
        """Return the region of a click on another frame, [H, W], bool, where its place there looks alike; None: it is not to be told."""
        where = ties.moved((click.x, click.y), self._keypoints[click.frame], self._keypoints[t])
        clicked = ties.colour(self._frames[click.frame], (click.x, click.y))
        if where is None or not ties.looks_alike(self._frames[t], where, clicked):
            return None
        return self.of_click(click._replace(frame=t, x=float(where[0]), y=float(where[1])), ())

    def identity(self) -> str:
        """Return a hash of what regions depend on beside the clip and the click."""
        whole = hashlib.sha256(np.ascontiguousarray(self._keypoints, np.float32).tobytes())
        for mask in self._before:
            whole.update(np.packbits(mask).tobytes())
        return whole.hexdigest()

    def is_tied(self, click: Click) -> bool:
        """Return whether somebody is seen on a click's frame, so that it moves with the body."""
        return bool((self._keypoints[click.frame, :, 2] >= SEEN).any())

    def reach(self, t: int) -> float:
        """Return how far from a click its region may reach on frame `t`, in pixels."""
        points = self._keypoints[t]
        if not (points[:, 2] >= SEEN).any():
            return ALONE * max(self._frames.height, self._frames.width)
        seen = min(points[5, 2], points[6, 2]) >= SEEN
        shoulders = float(np.linalg.norm(points[5, :2] - points[6, :2])) if seen else 0.0
        return max(8.0, REACH * max(shoulders, body_size(points) / 4))  # of a body that is turned aside


def disc(shape: tuple[int, ...], x: float, y: float, radius: float) -> np.ndarray:
    """Return the pixels whose middle lies within a radius of a place: [H, W], bool."""
    ys, xs = np.ogrid[: shape[0], : shape[1]]
    return (xs + 0.5 - x) ** 2 + (ys + 0.5 - y) ** 2 <= radius**2


def connected(mask: np.ndarray, x: float, y: float, near: float) -> np.ndarray:
    """Return the part of a mask, [H, W], bool, that is at a place, or within `near` pixels of it; nothing without one."""
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    there = np.bincount(parts[disc(mask.shape, x, y, max(near, 1.0))], minlength=count)
    there[0] = 0
    return parts == int(there.argmax()) if there.any() else np.zeros_like(mask)


def _around(frame: np.ndarray, click: Click, against: Sequence[Click], free: np.ndarray, reach: float) -> np.ndarray:
    """Return the region of like pixels around a click, [H, W], bool, where `free` allows it and not farther than `reach`."""
    height, width = free.shape
    x0, y0 = (max(0, int(v - 1.5 * reach)) for v in (click.x, click.y))
    x1, y1 = min(width, int(click.x + 1.5 * reach) + 1), min(height, int(click.y + 1.5 * reach) + 1)
    scale = min(1.0, WORK_SIDE / max(x1 - x0, y1 - y0))
    size = max(8, round((x1 - x0) * scale)), max(8, round((y1 - y0) * scale))
    image = cv2.resize(frame[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    allowed = cv2.resize(free[y0:y1, x0:x1].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    across, down = size[0] / (x1 - x0), size[1] / (y1 - y0)
    x, y, radius = (click.x - x0) * across, (click.y - y0) * down, reach * across
    blob = disc(allowed.shape, x, y, max(2.0, BLOB * radius))
    circle = disc(allowed.shape, x, y, radius)
    like = connected(_like(image, x, y) & circle & (allowed | blob), x, y, 2)
    rim = circle & ~disc(allowed.shape, x, y, radius - 2)
    if not click.positive:  # what is too much mostly looks like what is beside it: no outline is there to be found
        found = like & ~_spots(allowed.shape, against, (x0, y0), (across, down), max(2.0, 0.1 * radius))
    elif (like & rim).sum() > OPEN * rim.sum():
        found = like & blob
    else:
        labels = np.full(allowed.shape, cv2.GC_BGD, np.uint8)
        labels[~allowed] = cv2.GC_FGD  # the person: an arm must not speak against its hand
        labels[circle & allowed] = cv2.GC_PR_BGD
        labels[like] = cv2.GC_PR_FGD
        labels[disc(allowed.shape, x, y, max(1.5, 0.06 * radius))] = cv2.GC_FGD
        labels[_spots(allowed.shape, against, (x0, y0), (across, down), max(2.0, 0.1 * radius))] = cv2.GC_BGD
        found = connected(carry.object_by_grabcut(image, labels) & (allowed | blob), x, y, 2)
    out = np.zeros((height, width), bool)
    out[y0:y1, x0:x1] = cv2.resize(found.astype(np.float32), (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR) > 0.5
    return out


def _spots(
    shape: tuple[int, ...],
    clicks: Sequence[Click],
    corner: tuple[int, int],
    scale: tuple[float, float],
    radius: float,
) -> np.ndarray:
    """Return discs around clicks in a part of the frame, scaled: [h, w], bool."""
    places = [[(v - c) * s for v, c, s in zip((click.x, click.y), corner, scale, strict=True)] for click in clicks]
    return np.any([np.zeros(shape, bool), *(disc(shape, x, y, radius) for x, y in places)], axis=0)


def _like(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """Return the connected region of like colour around a place: [h, w], bool."""
    smooth = cv2.bilateralFilter(image, 7, 30, 7)
    filled = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.uint8)
    at = min(max(int(x), 0), image.shape[1] - 1), min(max(int(y), 0), image.shape[0] - 1)
    flags = cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY | 4 | (255 << 8)
    alike = (min(LIKE, max(LEAST_LIKE, SPREAD * float(image.std()))),) * 3
    cv2.floodFill(smooth, filled, at, (0, 0, 0), alike, alike, flags)
    return filled[1:-1, 1:-1] > 0
