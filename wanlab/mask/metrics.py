"""Numbers about masks.

A mask is [T, H, W], bool; True is generated, False is kept. Each function returns one value per frame, [T], float64.
"""

from __future__ import annotations

import cv2
import numpy as np

from wanlab.mask import lattice

CELL = 8  # pixels of a side of a latent
TOLERANCE = 0.008  # of the image's diagonal, DAVIS's


def area(mask: np.ndarray) -> np.ndarray:
    """Return the share of each frame that is white: [T], 0 to 1, of a mask [T, H, W], bool."""
    return mask.mean(axis=(1, 2))


def iou(mask: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return intersection over union of each frame; 1 where both are empty. It cannot tell a smooth edge from a jagged one.

    Args:
        mask: [T, H, W], bool.
        other: [T, H, W], bool.

    Returns:
        [T], float64, 0 to 1.
    """
    union = (mask | other).sum(axis=(1, 2))
    both = (mask & other).sum(axis=(1, 2))
    return np.where(union > 0, both / np.maximum(union, 1), 1.0)


def boundary_f(mask: np.ndarray, other: np.ndarray, tolerance: float | None = None) -> np.ndarray:
    """Return how well the outlines agree, 0 to 1: the F measure of outline pixels that lie near the other outline.

    It cannot tell on which side of the tolerance an outline runs, only whether it is within.

    Args:
        mask, other: [T, H, W], bool.
        tolerance: pixels; None: 0.8 % of the diagonal.

    Source: DAVIS (Perazzi et al., CVPR 2016).
    """
    reach = TOLERANCE * float(np.hypot(*mask.shape[1:])) if tolerance is None else tolerance
    return np.array([_f_measure(_outline(a), _outline(b), reach) for a, b in zip(mask, other, strict=True)])


def change(mask: np.ndarray) -> np.ndarray:
    """Return 1 - IoU with the frame before, 0 for the first: flicker and motion together.

    Args:
        mask: [T, H, W], bool.

    Returns:
        [T], float64, 0 to 1.
    """
    return np.concatenate([np.zeros(1), 1 - iou(mask[1:], mask[:-1])])


def leak(mask: np.ndarray) -> np.ndarray:
    """Return the pixels that are black in the background though the model is asked to keep them: [T, H, W], bool.

    The model reads one pixel of each 8x8 cell of the mask for all of it; where that one is kept, what the mask blacks
    out in the rest of the cell is a black fringe that is never painted over.
    """
    frames, height, width = mask.shape
    kept = lattice.known_pixels(frames, 0, -(-height // CELL), -(-width // CELL), mask) > 0
    return mask & kept.repeat(CELL, axis=1).repeat(CELL, axis=2)[:, :height, :width]


def leak_share(mask: np.ndarray) -> np.ndarray:
    """Return the share of the mask that leaks; 0 where the mask is empty.

    Args:
        mask: [T, H, W], bool.

    Returns:
        [T], float64, 0 to 1.
    """
    return leak(mask).sum(axis=(1, 2)) / np.maximum(mask.sum(axis=(1, 2)), 1)


def _outline(mask: np.ndarray) -> np.ndarray:
    """Return the mask's pixels next to one outside of it; the image's border is no outline."""
    padded = np.pad(mask, 1, mode="edge").astype(np.uint8)
    return mask & ~cv2.erode(padded, np.ones((3, 3), np.uint8))[1:-1, 1:-1].astype(bool)


def _f_measure(ours: np.ndarray, theirs: np.ndarray, reach: float) -> float:
    if not ours.any() and not theirs.any():
        return 1.0
    if not ours.any() or not theirs.any():
        return 0.0
    rows, columns = (np.flatnonzero((ours | theirs).any(axis=axis)) for axis in (1, 0))
    held = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    ours, theirs = ours[held], theirs[held]  # every outline pixel is inside, so distances stay
    shares = []
    for one, other in ((ours, theirs), (theirs, ours)):
        distance = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        shares.append(float((distance[one] <= reach).mean()))
    return 2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0
