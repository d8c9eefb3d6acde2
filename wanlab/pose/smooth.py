"""Smooth keypoints over time and bridge short gaps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

MAX_GAP = 4  # frames without a hand that are filled
MIN_CUTOFF, BETA = 2.0, 6.0  # One-Euro: Hz at rest, and Hz per body size a second of speed
SPEED_CUTOFF = 2.0  # Hz


def one_euro(values: np.ndarray, fps: float, min_cutoff: float, beta: float) -> np.ndarray:
    """Smooth signals: strongly at rest, hardly in motion.

    Args:
        values: [T, ...], any unit.
        fps: samples per second.
        min_cutoff: Hz at rest.
        beta: Hz that the cutoff rises per unit a second of speed.

    Returns:
        the smoothed copy.

    Source: Casiez, Roussel, Vogel, "1€ Filter", CHI 2012.
    """

    def weight(cutoff: np.ndarray | float) -> np.ndarray | float:
        turn = 2 * np.pi * cutoff / fps
        return turn / (turn + 1)

    smooth = np.array(values, dtype=np.float64)
    speed = np.zeros_like(smooth[0]) if len(smooth) else None
    for t in range(1, len(smooth)):
        speed = speed + weight(SPEED_CUTOFF) * ((values[t] - values[t - 1]) * fps - speed)
        w = weight(min_cutoff + beta * np.abs(speed))
        smooth[t] = w * values[t] + (1 - w) * smooth[t - 1]
    return smooth


def stretches(present: np.ndarray, cuts: Iterable[int]) -> list[tuple[int, int]]:
    """Return (start, end), end-exclusive, of the stretches with a person that no cut divides.

    Args:
        present: [T], bool; whether the frame shows the person.
        cuts: first frames of new shots.
    """
    borders = set(cuts)
    stretches, start = [], None
    for t, here in enumerate([*present, False]):
        if start is not None and (not here or t in borders):
            stretches.append((start, t))
            start = None
        if here and start is None:
            start = t
    return stretches


def bridge_gaps(points: np.ndarray, hand: slice, wrist: int) -> None:
    """Fill short gaps of a hand in place, relative to the wrist: a hand in fast motion is blurred, not absent.

    Args:
        points: [T, 133, 3]; x, y in pixels, score; changed.
        hand: rows of the hand.
        wrist: row of the body's wrist.
    """
    relative = points[:, hand, :2] - points[:, wrist : wrist + 1, :2]
    seen = np.flatnonzero(points[:, hand, 2].any(axis=1))
    for before, after in itertools.pairwise(seen):
        for t in range(before + 1, after if after - before <= MAX_GAP + 1 else before + 1):
            share = (t - before) / (after - before)
            points[t, hand, :2] = points[t, wrist, :2] + (1 - share) * relative[before] + share * relative[after]
            points[t, hand, 2] = np.minimum(points[before, hand, 2], points[after, hand, 2])


def smooth_keypoints(points: np.ndarray, size: float, fps: float) -> None:
    """Smooth a stretch in place, forwards and backwards, so that nothing lags; each point is divided at its gaps.

    Args:
        points: [T, K, 3]; x, y in pixels, score; changed.
        size: of the person in pixels.
        fps: frames per second.
    """
    for k in range(points.shape[1]):
        for start, end in stretches(points[:, k, 2] > 0, ()):
            values = points[start:end, k, :2] / size
            ahead = one_euro(values, fps, MIN_CUTOFF, BETA)
            behind = one_euro(values[::-1], fps, MIN_CUTOFF, BETA)[::-1]
            points[start:end, k, :2] = (ahead + behind) / 2 * size
