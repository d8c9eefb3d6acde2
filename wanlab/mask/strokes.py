"""Decisions about the mask, carried out: clicked masks in a stretch, brush strokes, strokes that other frames follow.

What is clicked is found again by SAM2 or GrabCut in the stretch; every other frame keeps the outline that it had. Then
each stroke holds, pixel for pixel, on its own frame. A stroke that is carried is also handed on as clicks along its path
(at most CLICKS, spaced by its radius), so that the other frames follow; where nobody clicked, a box around the outline
and what is added to it on the stroke's frame says who is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import numpy as np

from wanlab.mask.packed import Masks, PackedMasks
from wanlab.mask.prompts import Box, Click, Prompts, check_finished


class Stroke(NamedTuple):
    """A brush stroke: what lies within a radius of its path is added or erased.

    Attributes:
        frame: of the working clip.
        add: whether it adds; else it erases.
        radius: pixels of the working clip.
        path: x, y in pixels of the working clip; it may lead out of the frame.
        carried: whether it applies to other frames too.
    """

    frame: int
    add: bool
    radius: float
    path: tuple[tuple[float, float], ...]
    carried: bool = False


CLICKS = 8  # of a carried stroke: as many as upstream prompts a frame with


class Decisions(Protocol):
    """What was decided about a mask: `inputs.edits.Edits` is one."""

    @property
    def stretch(self) -> tuple[int, int] | None:
        """First and last frame, inclusive, in which clicked masks are worked on; None: all."""
        ...

    @property
    def points(self) -> Prompts:
        """Clicked points and boxes."""
        ...

    @property
    def strokes(self) -> tuple[Stroke, ...]:
        """Brush strokes, in the order in which they were painted."""
        ...


Find = Callable[[range, Prompts], Iterable[np.ndarray]]


def outline(edits: Decisions, before: PackedMasks, find: Find) -> PackedMasks:
    """Return the person's outline with the decisions.

    Args:
        edits: the decisions.
        before: the outline that the inputs have; not changed.
        find: returns the mask of the prompts in each of a range of frames, [H, W], bool; prompts count from its start.

    Raises:
        ValueError: if negative points alone are all that there is of an object.
    """
    found = before.copy()
    frames, prompts = to_find(edits, before)
    if any(prompts):
        check_finished(prompts, "edits")
        for t, mask in zip(frames, find(frames, prompts), strict=True):
            found.put(t, mask)
    return paint(found, edits.strokes)


def to_find(edits: Decisions, before: Masks) -> tuple[range, Prompts]:
    """Return the frames that are worked on, and the prompts of clicks and carried strokes there, from the range's start.

    Args:
        edits, before: as in `outline`.
    """
    first, last = edits.stretch or (0, before.shape[0] - 1)
    frames = range(first, last + 1)
    clicks = [click for click in edits.points.clicks if click.frame in frames]
    boxes = [box for box in edits.points.boxes if box.frame in frames]
    carried = [stroke for stroke in edits.strokes if stroke.carried and stroke.frame in frames]
    if carried and not clicks and not boxes:
        shown = {stroke.frame: before[stroke.frame].copy() for stroke in carried}
        for stroke in carried:
            shown[stroke.frame] |= covered(stroke, *before.shape[1:]) & stroke.add
        boxes = [box for t, mask in sorted(shown.items()) if (box := around(mask, t)) is not None]
    number = min((each.object for each in (*clicks, *boxes)), default=1)
    height, width = before.shape[1:]
    clicks += [click for stroke in carried for click in along(stroke, height, width, number)]
    return frames, Prompts(
        tuple(click._replace(frame=click.frame - first) for click in clicks),
        tuple(box._replace(frame=box.frame - first) for box in boxes),
    )


def unused(edits: Decisions) -> int:
    """Return how many points and boxes lie outside the stretch, where they do not count."""
    if edits.stretch is None:
        return 0
    first, last = edits.stretch
    return sum(not first <= each.frame <= last for each in (*edits.points.clicks, *edits.points.boxes))


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


def along(stroke: Stroke, height: int, width: int, number: int) -> list[Click]:
    """Return clicks along a stroke inside the image, at most CLICKS, as far apart as its radius or farther.

    Args:
        stroke: adding gives positive clicks, erasing negative ones.
        height, width: of the clip in pixels.
        number: of the object that they belong to.
    """
    places = np.array(stroke.path)
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(places, axis=0), axis=1))])
    count = min(CLICKS, 1 + int(way[-1] / stroke.radius))
    at = np.linspace(0, way[-1], count) if count > 1 else np.array([way[-1] / 2])
    xs, ys = (np.interp(at, way, places[:, axis]) for axis in (0, 1))
    return [
        Click(stroke.frame, float(x), float(y), stroke.add, number)
        for x, y in zip(xs, ys, strict=True)
        if 0 <= x < width and 0 <= y < height
    ]


def around(mask: np.ndarray, t: int) -> Box | None:
    """Return the box around a mask, [H, W], bool, on frame `t`; None around nothing."""
    ys, xs = np.nonzero(mask)
    if not len(xs):
        return None
    return Box(t, float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
