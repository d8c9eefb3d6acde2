"""Face boxes and the face crops that drive the expression (golden 04)."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal, NamedTuple

import cv2
import numpy as np

from wanlab import media
from wanlab.pose.smooth import stretches
from wanlab.pose.wholebody import SEEN

Crops = Literal["official", "steady"]  # each frame's box for itself, in whole pixels; one size, between pixels

CROP_SIZE = 512  # pixels, the side of a crop; the model's motion encoder expects it
GROWTH = 1.3  # of the box's area, upstream's
LEAST_SHOWN = 0.2  # of a box's area: of a face with less in the image nothing can be read
MIN_SCORE = SEEN  # mean of the 68 points; below, a detector has guessed where a face could be
LARGE = 97  # percentile of the boxes around a frame that a steady box has for its size: larger ones are outliers
AROUND, EVEN = 32, 16  # frames to each side that it is taken of, and over which its change is spread: 2 s and 1 s at 16


class Boxes(NamedTuple):
    """Face boxes of a clip.

    Attributes:
        boxes: [T, 4]; x1, x2, y1, y2 in pixels, end-exclusive; they may extend beyond the image; all 0: the crop is black.
            int, float64 of steady ones.
        filled: frames without a usable face, which use the last good box before them (or the first one), moved with the head.
        black: those of `filled` without a box: no head is visible there, or the whole clip has no face.
        cut: frames whose box extends beyond the image.
    """

    boxes: np.ndarray
    filled: tuple[int, ...]
    black: tuple[int, ...] = ()
    cut: tuple[int, ...] = ()

    def without(self, hidden: Collection[int]) -> Boxes:
        """Return the boxes without those of some frames, whose crops are black then."""
        if not hidden:
            return self
        rows = self.boxes.copy()
        rows[list(hidden)] = 0
        filled, black = (tuple(sorted({*known, *hidden})) for known in (self.filled, self.black))
        return Boxes(rows, filled, black, tuple(t for t in self.cut if t not in black))

    def notes(self) -> tuple[str, ...]:
        """Return what a reader must know, a sentence each."""
        followed = [t for t in self.filled if t not in self.black]
        said = []
        if followed:
            said.append(
                f"no usable face in {media.describe_frames(followed)}: the box of the last good face (before it, of the first) is used there, moved with the head"
            )
        if self.black:
            said.append(
                f"no face in {media.describe_frames(self.black)}, where no head is seen or it is hidden by hand: the face crop is black there, as upstream's masked face is"
            )
        if self.cut:
            said.append(
                f"the face reaches beyond the image in {media.describe_frames(self.cut)}: its crop keeps its shape, what lies outside is black"
            )
        return tuple(said)


def box(face: np.ndarray, height: int, width: int, *, cut: bool = True) -> tuple[int, int, int, int] | None:
    """Return the official box around one face, None where upstream raises or its box is empty.

    The box grows by 30 % in area, three quarters of the height upwards (the forehead has no points), and is cut at the
    image's border.

    Args:
        face: [69, 3], float32, x and y in 0 to 1 of the image; the first entry (the right heel) is not used.
        height, width: of the image in pixels.
        cut: False: unlike upstream's, a box that the border would cut is left whole, None where hardly anything of it is
            in the image, and that of a face upside down grows downwards, where the forehead is.

    Returns:
        x1, x2, y1, y2 in whole pixels.

    Source: `get_face_bboxes` of Wan2.2's animate preprocessing.
    """
    found = _grown(face, height, width, turned=not cut)
    if found is None:
        return None
    x1, x2, y1, y2 = found
    inside = int(max(x1, 0)), int(min(x2, width)), int(max(y1, 0)), int(min(y2, height))
    if inside[1] <= inside[0] or inside[3] <= inside[2]:
        return None
    if cut:
        return inside
    whole = math.floor(x1), int(x2), math.floor(y1), int(y2)
    return whole if _shown(whole, height, width) >= LEAST_SHOWN else None


def _grown(face: np.ndarray, height: int, width: int, *, turned: bool) -> tuple[float, float, float, float] | None:
    """Return the box of `box` before it is put on whole pixels; `turned`: upside down, a face's forehead lies below."""
    points = face[1:, :2].astype(np.float64) * (width, height)
    if not np.isfinite(points).all():
        return None
    (min_x, min_y), (max_x, max_y) = points.min(axis=0), points.max(axis=0)
    wide, high = max_x - min_x, max_y - min_y
    if wide <= 0 or high <= 0:
        return None
    area = wide * high * GROWTH
    more_x = (math.sqrt(area * (wide / high)) - wide) / 2
    more_y = (math.sqrt(area * (high / wide)) - high) / 4
    up, down = (1, 3) if turned and _is_upside_down(points) else (3, 1)
    return min_x - more_x, max_x + more_x, min_y - up * more_y, max_y + down * more_y


def boxes(
    face: np.ndarray, height: int, width: int, min_score: float = MIN_SCORE, head: np.ndarray | None = None
) -> Boxes:
    """Return a box for every frame, so that a turned head does not end the run as it does upstream.

    Args:
        face: [T, 69, 3], float32, x and y in 0 to 1 of the clip, score.
        height, width: of the clip in pixels.
        min_score: mean score of the 68 points under which a face counts as missing.
        head: [T, n, 3], joints of the head in the same units, with which a missing face's box moves; where none is seen
            there is no box. None: it stays where it was.
    """
    found = [box(f, height, width, cut=False) if f[1:, 2].mean() >= min_score else None for f in face]
    good = np.array([t for t, one in enumerate(found) if one is not None], int)
    rows = np.zeros((len(face), 4), int)
    for t, one in enumerate(found):
        if one is not None:
            rows[t] = one
        elif len(good):
            source = int(good[max(np.searchsorted(good, t) - 1, 0)])  # the last good one; before the first, that
            rows[t] = np.array(found[source])
            if head is not None:
                moved = _moved(np.array(found[source]), head[source], head[t], height, width)
                rows[t] = moved if _shown(moved, height, width) >= LEAST_SHOWN else 0
    filled = [t for t, one in enumerate(found) if one is None]
    return Boxes(rows, tuple(filled), tuple(t for t in filled if not rows[t].any()), _beyond(rows, height, width))


def steady(found: Boxes, face: np.ndarray, height: int, width: int, cuts: Collection[int] = ()) -> Boxes:
    """Return boxes that move with the face, but neither breathe with the mouth nor jump from pixel to pixel.

    Each lies between pixels, where its own would, and has the size of the large ones around it in its shot, so that a face
    that comes nearer still fills it.

    Args:
        found: from `boxes`.
        face: [T, 69, 3], what they were found from.
        height, width: of the clip in pixels.
        cuts: first frames of new shots.
    """
    rows = found.boxes.astype(np.float64)
    own = np.ones(len(rows), bool)
    own[list(found.filled)] = False
    for t in np.flatnonzero(own):
        rows[t] = _grown(face[t], height, width, turned=True) or rows[t]
    middles, sizes = rows.reshape(-1, 2, 2).mean(axis=2), np.diff(rows.reshape(-1, 2, 2), axis=2)[..., 0]
    for start, end in stretches(np.asarray(rows.any(axis=1)), cuts):
        here = own[start:end]
        if not here.any():
            continue
        frames = np.flatnonzero(here) + start
        near = [frames[np.abs(frames - t) <= max(AROUND, np.abs(frames - t).min())] for t in range(start, end)]
        large = np.array([np.percentile(sizes[each], LARGE, axis=0) for each in near])
        even = np.array([large[max(t - EVEN, 0) : t + EVEN + 1].mean(axis=0) for t in range(end - start)])
        low, high = middles[start:end] - even / 2, middles[start:end] + even / 2
        rows[start:end] = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)
    return found._replace(boxes=rows, cut=_beyond(rows, height, width))


def crop(frame: np.ndarray, face_box: np.ndarray | tuple[int, int, int, int]) -> np.ndarray:
    """Cut a face out and stretch it to the model's size; an empty box gives a black image.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        face_box: x1, x2, y1, y2 in pixels, end-exclusive; what of it lies outside the image is black. Whole numbers are cut
            as upstream does, floats between pixels.

    Returns:
        [512, 512, 3], 0 to 255, uint8 RGB; the aspect is not kept, as upstream.
    """
    if np.asarray(face_box).dtype.kind == "f" and np.any(face_box):
        return _between_pixels(frame, np.asarray(face_box))
    x1, x2, y1, y2 = map(int, face_box)
    height, width = frame.shape[:2]
    cut = frame[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
    if not cut.size:
        return np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
    sides = max(-y1, 0), max(y2 - height, 0), max(-x1, 0), max(x2 - width, 0)
    if any(sides):
        cut = cv2.copyMakeBorder(cut, *sides, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return cv2.resize(cut, (CROP_SIZE, CROP_SIZE))


def _between_pixels(frame: np.ndarray, face_box: np.ndarray) -> np.ndarray:
    """Return what `crop` does of a box ([4]) whose borders need not lie between two pixels."""
    x1, x2, y1, y2 = face_box
    scale = np.array([x2 - x1, y2 - y1]) / CROP_SIZE
    move = np.zeros((2, 3))
    move[[0, 1], [0, 1]] = scale
    move[:, 2] = (x1, y1) + 0.5 * scale - 0.5  # of a pixel's middle, as cv2.resize counts
    return cv2.warpAffine(frame, move, (CROP_SIZE, CROP_SIZE), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR)


def _beyond(rows: np.ndarray, height: int, width: int) -> tuple[int, ...]:
    """Return the frames whose box ([T, 4]) extends beyond the image."""
    beyond = (rows[:, [0, 2]] < 0).any(axis=1) | (rows[:, 1] > width) | (rows[:, 3] > height)
    return tuple(np.flatnonzero(beyond).tolist())


def _is_upside_down(points: np.ndarray) -> bool:
    """Return whether a face's eyes lie below its mouth: [68, 2], x, y in pixels."""
    eyes, mouth = points[36:48, 1].mean(), points[48:, 1].mean()
    return bool(eyes - mouth > 0.2 * np.ptp(points[:, 1]))


def _shown(face_box: np.ndarray | tuple[int, int, int, int], height: int, width: int) -> float:
    """Return which share of a box lies in the image, 0 of an empty one."""
    x1, x2, y1, y2 = map(int, face_box)
    inside = max(min(x2, width) - max(x1, 0), 0) * max(min(y2, height) - max(y1, 0), 0)
    return inside / max((x2 - x1) * (y2 - y1), 1)


def _moved(face_box: np.ndarray, then: np.ndarray, now: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a box moved as the head did, from its joints `then` to those `now` ([n, 3] each); all 0 where none is seen."""
    seen_then, seen_now = then[:, 2] >= SEEN, now[:, 2] >= SEEN
    if not seen_now.any():
        return np.zeros(4, int)
    both = seen_then & seen_now
    if not both.any():  # another side of the head
        return _centred(face_box, now[seen_now, :2].mean(axis=0) * (width, height))
    x, y = np.rint((now[both, :2] - then[both, :2]).mean(axis=0) * (width, height)).astype(int)
    return np.add(face_box, (x, x, y, y))


def _centred(face_box: np.ndarray, middle: np.ndarray) -> np.ndarray:
    x, y = np.rint(middle - (face_box[:2].mean(), face_box[2:].mean())).astype(int)
    return np.add(face_box, (x, x, y, y))
