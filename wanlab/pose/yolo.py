"""YOLOv10m as upstream uses it: an image → its input, its output → the box of the person to follow (golden 07)."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 640  # pixels of the input; the image is squeezed into it, its shape is not kept
MIN_SCORE = 0.05  # of a box, exclusive
MAX_OVERLAP = 0.5  # IoU with a better one of any class, beyond which a box is dropped
MIN_LENGTH = 0.4  # of the longest box's longer side: a shorter box is passed over
PERSON = 0  # class, of COCO's
LEVELS = (np.arange(256) / 255).astype(np.float32)
COLUMNS = 84  # of a raw head: x, y, width, height, and a score for each of COCO's 80 classes


def tensor(frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the network's input: [3, 640, 640], float32, 0 to 1, RGB.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        out: an array of that shape to write it into, e.g. a batch's.
    """
    out = np.empty((3, SIDE, SIDE), np.float32) if out is None else out
    for target, channel in zip(out, cv2.split(cv2.resize(frame, (SIDE, SIDE))), strict=True):
        cv2.LUT(channel, LEVELS, target)
    return out


def boxes(raw: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the boxes of one image, the surest first: [n, 6], x1, y1, x2, y2 in whole pixels, score, class.

    They may reach beyond the image. A surer box of another class drops a person under it, as upstream.

    Args:
        raw: the network's output for the image: rows of x1, y1, x2, y2, score, class in pixels of the input; or a raw
            head of 84 rows or columns, as other YOLOs have (upstream reads it wrongly unless it lies in one more axis).
        height, width: of the image in pixels.

    Raises:
        ValueError: if it is neither.
    """
    factors = np.array([width / SIDE, height / SIDE, width / SIDE, height / SIDE])
    rows, scores, classes = _rows(raw)
    sure = scores >= np.float32(MIN_SCORE)
    corners = rows[sure] * factors.astype(np.float32)
    corners[:, 2:] -= corners[:, :2]
    sized = corners.astype(np.int32)
    kept = np.array(cv2.dnn.NMSBoxes(sized.tolist(), scores[sure].tolist(), MIN_SCORE, MAX_OVERLAP), int).ravel()
    sized[:, 2:] += sized[:, :2]
    return np.column_stack([sized, scores[sure], classes[sure]]).astype(np.float64)[kept]


def person(found: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the box that upstream follows: [5], x1, y1, x2, y2, score; the whole image with score -1 where nobody is.

    The largest by area, but none whose longer side is below 0.4 of that of the one chosen so far (at first of all).

    Args:
        found: [n, 6] of `boxes`.
        height, width: of the image in pixels.
    """
    people = found[(found[:, 5] == PERSON) & (found[:, 4] > MIN_SCORE)]
    chosen, largest = None, -10.0 * height * width  # upstream's: an inverted box counts too
    sides = people[:, 2:4] - people[:, :2]
    longest = float(sides.max(initial=-1))
    for i, (wide, high) in enumerate(sides.tolist()):
        if wide * high > largest and max(wide, high) >= longest * MIN_LENGTH:
            chosen, largest, longest = i, wide * high, max(wide, high)
    return np.array([0, 0, width, height, -1.0]) if chosen is None else people[chosen, :5]


def _rows(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return corners in pixels of the input ([n, 4], float32), scores and classes ([n])."""
    height, width = raw.shape[-2:]
    table = raw.reshape(height, width)
    if width == 6:
        return table[:, :4], table[:, 4], table[:, 5]
    if COLUMNS not in (height, width):
        raise ValueError(
            f"the person detector must give rows of 6 (or a raw head of {COLUMNS}), got {raw.shape}; use yolov10m.onnx"
        )
    table = table if width == COLUMNS else table.T
    half = table[:, 2:4] / 2
    corners = np.concatenate([table[:, :2] - half, table[:, :2] + half], axis=1)
    return corners, table[:, 4:].max(axis=1), table[:, 4:].argmax(axis=1)
