"""Face boxes and the face crops that drive the expression (golden 04)."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from wanlab.pose.wholebody import SEEN

CROP_SIZE = 512  # pixels, the side of a crop; the model's motion encoder expects it
GROWTH = 1.3  # of the box's area, upstream's
MIN_SCORE = SEEN  # mean of the 68 points; below, a detector has guessed where a face could be


class Boxes(NamedTuple):
    """Face boxes of a clip.

    Attributes:
        boxes: [T, 4], int; x1, x2, y1, y2 in pixels, end-exclusive; all 0 where the clip has no face at all.
        filled: frames without a usable face, which use the last good box before them (or the first one).
    """

    boxes: np.ndarray
    filled: tuple[int, ...]


def box(face: np.ndarray, height: int, width: int) -> tuple[int, int, int, int] | None:
    """Return the official box around one face, None where upstream raises or its box is empty.

    The box grows by 30 % in area, three quarters of the height upwards (the forehead has no points), and is cut at the
    image's border.

    Args:
        face: [69, 3], float32, x and y in 0 to 1 of the image; the first entry (the right heel) is not used.
        height, width: of the image in pixels.

    Returns:
        x1, x2, y1, y2 in whole pixels.

    Source: `get_face_bboxes` of Wan2.2's animate preprocessing.
    """
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
    x1, x2 = int(max(min_x - more_x, 0)), int(min(max_x + more_x, width))
    y1, y2 = int(max(min_y - 3 * more_y, 0)), int(min(max_y + more_y, height))
    return (x1, x2, y1, y2) if x2 > x1 and y2 > y1 else None


def boxes(face: np.ndarray, height: int, width: int, min_score: float = MIN_SCORE) -> Boxes:
    """Return a box for every frame, so that a turned head does not end the run as it does upstream.

    Args:
        face: [T, 69, 3], float32, x and y in 0 to 1 of the clip, score.
        height, width: of the clip in pixels.
        min_score: mean score of the 68 points under which a face counts as missing.
    """
    found = [box(f, height, width) if f[1:, 2].mean() >= min_score else None for f in face]
    filled = tuple(t for t, good in enumerate(found) if good is None)
    last = next((good for good in found if good is not None), (0, 0, 0, 0))
    rows = []
    for good in found:
        last = good or last
        rows.append(last)
    return Boxes(np.array(rows, dtype=int).reshape(-1, 4), filled)


def crop(frame: np.ndarray, face_box: np.ndarray | tuple[int, int, int, int]) -> np.ndarray:
    """Cut a face out and stretch it to the model's size; an empty box gives a black image.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        face_box: x1, x2, y1, y2 in pixels, end-exclusive.

    Returns:
        [512, 512, 3], 0 to 255, uint8 RGB; the aspect is not kept, as upstream.
    """
    x1, x2, y1, y2 = map(int, face_box)
    cut = frame[y1:y2, x1:x2]
    if not cut.size:
        return np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
    return cv2.resize(cut, (CROP_SIZE, CROP_SIZE))
