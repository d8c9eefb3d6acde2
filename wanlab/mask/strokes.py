"""Brush strokes: each holds, pixel for pixel, on its own frame, in the order in which they were painted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from wanlab.mask.packed import PackedMasks


class Stroke(NamedTuple):
    """A brush stroke: what lies within a radius of its path is added or erased.

    Attributes:
        frame: of the working clip.
        add: whether it adds; else it erases.
        radius: pixels of the working clip.
        path: x, y in pixels of the working clip; it may lead out of the frame.
        carried: whether it is followed to other frames too (module regions).
    """

    frame: int
    add: bool
    radius: float
    path: tuple[tuple[float, float], ...]
    carried: bool = False


def paint(masks: PackedMasks, strokes: Iterable[Stroke]) -> PackedMasks:
    """Add and erase strokes in `masks` in their order, each on its own frame; return `masks`."""
    by_frame: dict[int, list[Stroke]] = {}
    for stroke in strokes:
        by_frame.setdefault(stroke.frame, []).append(stroke)
    for t, there in by_frame.items():
        masks.put(t, painted(masks[t], there))
    return masks


def painted(mask: np.ndarray, strokes: Iterable[Stroke]) -> np.ndarray:
    """Return a mask, [H, W], bool, with strokes on its frame added and erased in their order."""
    mask = mask.copy()
    for stroke in strokes:
        mask[covered(stroke, *mask.shape)] = stroke.add
    return mask


def covered(stroke: Stroke, height: int, width: int) -> np.ndarray:
    """Return the pixels whose middle lies within the radius of the stroke's path: [H, W], bool."""
    inside = np.zeros((height, width), bool)
    places = np.array(stroke.path)
    for a, b in zip(places, places[1:] if len(places) > 1 else places, strict=False):
        low = np.maximum(np.floor(np.minimum(a, b) - stroke.radius), 0).astype(int)
        high = np.minimum(np.ceil(np.maximum(a, b) + stroke.radius), (width, height)).astype(int)
        if (low >= high).any():
            continue
        window = slice(low[1], high[1]), slice(low[0], high[0])
        if inside[window].all():
            continue
        middles = np.stack(np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])), -1) + 0.5
        way = b - a
        share = np.clip((middles - a) @ way / max(float(way @ way), 1e-12), 0, 1)
        near = np.linalg.norm(middles - a - share[..., None] * way, axis=-1) <= stroke.radius
        inside[window] |= near
    return inside
