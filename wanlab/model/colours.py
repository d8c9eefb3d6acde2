"""Colour hold: later segments of a clip get the colours of the first, where the model drifts from one to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

MOST_GAIN = 1.25  # of contrast: what differs more is another content, not a drift
MOST_SHIFT = 12.0  # of lightness and of either colour axis, in Lab units of 100


class Colours(NamedTuple):
    """Mean and standard deviation of lightness and the two colour axes (CIE Lab), [3] each, float64."""

    mean: np.ndarray
    deviation: np.ndarray


def measure(frames: np.ndarray, region: np.ndarray | None = None) -> Colours | None:
    """Return the colours of frames, None where nothing is left to measure.

    Args:
        frames: [T, H, W, 3], 0 to 255 uint8, or 0 to 1 float32; RGB.
        region: [T, H, W], bool; what counts, None: all.
    """
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for t, lab in enumerate(_lab(frames)):
        chosen = (lab.reshape(-1, 3) if region is None else lab[region[t]]).astype(np.float64)
        count, total, squares = count + len(chosen), total + chosen.sum(axis=0), squares + (chosen**2).sum(axis=0)
    if not count:
        return None
    mean = total / count
    return Colours(mean, np.sqrt(np.maximum(squares / count - mean**2, 0)))


def hold(frames: np.ndarray, first: Colours, now: Colours, region: np.ndarray | None = None) -> np.ndarray:
    """Return frames whose colours are moved from `now` to `first`, by no more than MOST_GAIN and MOST_SHIFT.

    Args:
        frames: [T, H, W, 3], 0 to 1, float32 RGB.
        first, now: what is wanted, and what the frames have.
        region: [T, H, W], bool; what is changed, None: all. The rest keeps its bits.
    """
    gain = np.clip(first.deviation / np.maximum(now.deviation, 1e-3), 1 / MOST_GAIN, MOST_GAIN)
    shift = np.clip(first.mean - now.mean, -MOST_SHIFT, MOST_SHIFT)
    made = np.empty_like(frames)
    for t, lab in enumerate(_lab(frames)):
        moved = ((lab - now.mean) * gain + now.mean + shift).astype(np.float32)
        back = cv2.cvtColor(moved, cv2.COLOR_Lab2RGB).clip(0, 1)
        made[t] = back if region is None else np.where(region[t][..., None], back, frames[t])
    return made


def _lab(frames: np.ndarray) -> Iterator[np.ndarray]:
    for frame in frames:
        whole = frame.astype(np.float32) / 255 if frame.dtype == np.uint8 else frame
        yield cv2.cvtColor(np.ascontiguousarray(whole), cv2.COLOR_RGB2Lab)
