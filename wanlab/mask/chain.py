"""Masks of what is generated: grow, dilate, cells, blocks, lattice, and chains of them as text (golden 06).

A mask is [T, H, W], bool; True is generated, False is kept. Every function takes and returns one, and never edits it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import cv2
import numpy as np

from wanlab.mask.lattice import TEMPORAL_STRIDE, snap
from wanlab.mask.packed import Masks, PackedMasks

DEFAULT_CHAIN = "grow:10,blockify:32"  # ComfyUI's
UPSTREAM_CHAIN = "dilate:7x3,cells:1x1"  # the official command line's
MOST_STEPS = 32  # of a chain: its time is theirs together
MOST_REACH = 256  # frames: with them a stretch takes up to 0.5 GB of 1280x720
STRETCH = 32  # frames of a chain that are unpacked at a time: 30 MB of 1280x720


def grow(
    mask: np.ndarray, pixels: float, *, tapered: bool = True, per_frame: float = 0.0, flip: bool = False
) -> np.ndarray:
    """Grow or shrink by a distance: a diamond (tapered) or a square around each pixel.

    Args:
        mask: [T, H, W], bool; or float, 0 to 1, for soft masks (largest or smallest value in the neighbourhood).
        pixels: radius in pixels; negative shrinks, never from the image's border.
        tapered: diamond, the distance in steps along rows and columns; else square.
        per_frame: pixels more in each frame than in the one before.
        flip: grow the inverse and return that (KJNodes' flip_input).

    Returns:
        as `mask`; a frame that is empty stays empty.

    Source: ComfyUI's GrowMask; KJNodes' GrowMaskWithBlur for the last two.
    """
    out = np.empty_like(mask)
    for t, frame in enumerate(mask):
        radius = abs(round(pixels + t * per_frame))
        outward = pixels + t * per_frame > 0
        source = ~frame if flip and frame.dtype == bool else 1 - frame if flip else frame
        if radius and source.any():
            source = _grow(source, radius, outward, tapered)
        out[t] = source
    return out


def dilate(mask: np.ndarray, side: int, iterations: int) -> np.ndarray:
    """Dilate by a square of `side` pixels, `iterations` times.

    Args:
        mask: [T, H, W], bool.
        side: of the square in pixels; an even one reaches half a pixel further up and left each time, as upstream's does.
        iterations: times; 0 leaves the mask as it is.

    Source: `get_mask_body_img` of Wan2.2's animate preprocessing (k, iterations).
    """
    if not iterations:
        return mask.copy()
    # further ones reach beyond the frame, and OpenCV makes one kernel of all of them
    iterations = min(iterations, math.ceil(max(mask.shape[1:]) / max(1, (side - 1) // 2)))
    kernel = np.ones((side, side), np.uint8)
    return np.stack([cv2.dilate(frame.view(np.uint8), kernel, iterations=iterations) for frame in mask]).astype(bool)


def cells(mask: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """Fill complete cells of a grid of `columns` x `rows` over the mask's box; more cells follow the shape more closely.

    Cells begin at the box's upper left and have integer sides; what is left over is a smaller last cell. The box's last
    row and column keep the mask's own pixels. Where upstream ends with an error, an empty mask stays empty and a box
    that is narrower than its cells is filled completely.

    Args:
        mask: [T, H, W], bool.
        columns, rows: cells along the width and the height of the box, at least 1.

    Source: `get_aug_mask` of Wan2.2's animate preprocessing (w_len, h_len).
    """
    out = mask.copy()
    for t, source in enumerate(mask):
        box = _box(source)
        if box is None:
            continue
        y0, y1, x0, x1 = box  # inclusive
        wide, high = (x1 - x0) // columns, (y1 - y0) // rows
        if wide and high:
            filled = _fill(source[y0:y1, x0:x1], np.arange(y1 - y0) // high, np.arange(x1 - x0) // wide)
            out[t, y0:y1, x0:x1] = filled
        else:
            out[t, y0 : y1 + 1, x0 : x1 + 1] = True
    return out


def blockify(mask: np.ndarray, size: int) -> np.ndarray:
    """Fill complete cells of about `size` pixels over the mask's box; the last cell takes what is left over.

    Args:
        mask: [T, H, W], bool, or float from 0 to 1.
        size: least side of a cell in pixels; a box below it is one cell.

    Returns:
        as `mask`, only 0 and 1.

    Source: KJNodes' BlockifyMask.
    """
    out = np.zeros_like(mask)
    for source, target in zip(mask, out, strict=True):
        box = _box(source > 0)
        if box is None:
            continue
        y0, y1, x0, x1 = box
        across = []
        for length in (y1 - y0 + 1, x1 - x0 + 1):
            count = max(1, length // size)
            across.append(np.minimum(np.arange(length) // (length // count), count - 1))
        target[y0 : y1 + 1, x0 : x1 + 1] = _fill(source[y0 : y1 + 1, x0 : x1 + 1] > 0, *across)
    return out


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """Fill what the mask encloses: every kept region that does not reach the border of the frame.

    Args:
        mask: [T, H, W], bool.

    Returns:
        [T, H, W], bool, a superset of `mask`.
    """
    out = np.empty_like(mask)
    for t, frame in enumerate(mask):
        outside = np.pad(~frame, 1, constant_values=True).astype(np.uint8)
        cv2.floodFill(outside, None, (0, 0), 2)  # type: ignore[call-overload]
        out[t] = outside[1:-1, 1:-1] != 2
    return out


def keep_largest(mask: np.ndarray) -> np.ndarray:
    """Keep the largest connected region of each frame (neighbours by edge or corner).

    Args:
        mask: [T, H, W], bool.

    Returns:
        [T, H, W], bool, a subset of `mask`.
    """
    out = np.zeros_like(mask)
    for t, frame in enumerate(mask):
        count, labels, facts, _ = cv2.connectedComponentsWithStats(frame.astype(np.uint8), connectivity=8)
        if count > 1:
            out[t] = labels == 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())
    return out


def median(mask: np.ndarray, frames: int) -> np.ndarray:
    """Give each pixel the value that it has in most of the frames around, which reduces flicker.

    Args:
        mask: [T, H, W], bool.
        frames: number of frames, odd; the first and the last frame of the clip are repeated.

    Returns:
        [T, H, W], bool.
    """
    half, last = frames // 2, len(mask) - 1
    out, count = np.empty_like(mask), np.zeros(mask.shape[1:], np.int32)
    for t, times in enumerate(np.bincount(np.arange(-half, half + 1).clip(0, last))):
        count += times * mask[t].astype(np.int32)
    for t in range(len(mask)):
        out[t] = count > half
        count += mask[min(t + half + 1, last)]
        count -= mask[max(t - half, 0)]
    return out


def blur(mask: np.ndarray, radius: float) -> np.ndarray:
    """Soften the edge: [T, H, W], float32, 0 to 1, in steps of 1/255; for images, the model takes hard masks.

    Source: the Gaussian of Pillow on 8-bit masks, as KJNodes' GrowMaskWithBlur uses it.
    """
    from PIL import Image, ImageFilter

    gaussian = ImageFilter.GaussianBlur(radius)
    soft = [Image.fromarray((frame * 255).astype(np.uint8)).filter(gaussian) for frame in mask]
    return np.stack([np.asarray(frame, np.float32) / 255 for frame in soft])


def blank_out(frames: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return [T, H, W, 3] uint8 RGB, black where the mask is True: the background video of replace mode."""
    return frames * ~mask[..., None]


class _Verb(NamedTuple):
    """A word of a chain.

    Attributes:
        counts: how many numbers it takes (least, most).
        least: the least value of each number.
        usage: an example, for messages.
        run: what it does.
        reach: how many frames before and after decide a frame, for those numbers.
    """

    counts: tuple[int, int]
    least: int
    usage: str
    run: Callable[..., np.ndarray]
    reach: Callable[..., int] = lambda *_: 0


VERBS = {
    "grow": _Verb((1, 1), -512, "grow:10", lambda m, n: grow(m, n)),
    "square": _Verb((1, 1), -512, "square:10", lambda m, n: grow(m, n, tapered=False)),
    "dilate": _Verb((2, 2), 0, "dilate:7x3", dilate),
    "cells": _Verb((2, 2), 1, "cells:1x1", cells),
    "blockify": _Verb((1, 1), 1, "blockify:32", blockify),
    "snap": _Verb((1, 1), 2, "snap:16", snap),
    "hold": _Verb((1, 1), 2, "hold:16", lambda m, n: snap(m, n, hold=True), lambda _: TEMPORAL_STRIDE),
    "fill": _Verb((0, 0), 0, "fill", fill_holes),
    "largest": _Verb((0, 0), 0, "largest", keep_largest),
    "median": _Verb((1, 1), 1, "median:5", median, lambda n: n // 2),
}


def parse_chain(text: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Read a chain such as `"grow:10,blockify:32"`; the empty text is the empty chain.

    Raises:
        ValueError: an unknown word or wrong numbers; the message names the form that would do.
    """
    steps = []
    parts = [piece.strip() for piece in text.split(",") if piece.strip()]
    if len(parts) > MOST_STEPS:
        raise ValueError(
            f"mask_chain must have at most {MOST_STEPS} steps, got {len(parts)}; use one step with a larger number for several"
        )
    for part in parts:
        word, _, numbers = part.partition(":")
        if word not in VERBS:
            raise ValueError(
                f"mask_chain must be made of {', '.join(v.usage for v in VERBS.values())}, got {part!r}; use {DEFAULT_CHAIN!r}"
            )
        verb = VERBS[word]
        try:
            values = tuple(int(number) for number in numbers.split("x")) if numbers else ()
        except ValueError:
            values = (math.inf,) * 9
        fits = verb.counts[0] <= len(values) <= verb.counts[1] and all(verb.least <= value <= 4096 for value in values)
        if not fits or (word == "median" and sum(values) % 2 == 0) or (word == "dilate" and values[:1] == (0,)):
            rule = (
                " with an odd number of frames"
                if word == "median"
                else f" with whole numbers from {verb.least}"
                if values
                else ""
            )
            raise ValueError(
                f"mask_chain must have {word} in the form {verb.usage}{rule}, got {part!r}; use {verb.usage!r}"
            )
        steps.append((word, tuple(int(value) for value in values)))
    reach = _reach(steps)
    if reach > MOST_REACH:
        raise ValueError(
            f"mask_chain must look at most {MOST_REACH} frames back and ahead, got {reach} in {text[:60]!r}; use a shorter median"
        )
    return tuple(steps)


def apply_chain(mask: np.ndarray, chain: str) -> np.ndarray:
    """Return the mask after a chain, [T, H, W], bool; raises as `parse_chain`."""
    for word, numbers in parse_chain(chain):
        mask = VERBS[word].run(mask, *numbers)
    return mask


def apply_chain_packed(mask: Masks, chain: str) -> PackedMasks:
    """Return what `apply_chain` makes of masks, packed; it works on STRETCH frames at a time."""
    frames, height, width = mask.shape
    done = PackedMasks(height, width)
    for first in range(0, frames, STRETCH):
        last = min(first + STRETCH, frames) - 1
        done.add(np.packbits(apply_chain_between(mask, chain, first, last), axis=-1))
    return done


def apply_chain_between(mask: Masks, chain: str, first: int, last: int) -> np.ndarray:
    """Return frames `first` to `last` (inclusive) of what `apply_chain` makes, without working on frames that do not matter.

    Args:
        mask: [T, H, W], bool, all frames, or what unpacks a slice of them.
        chain: as `apply_chain`.
        first, last: 0 to T - 1.

    Returns:
        [last - first + 1, H, W], bool.
    """
    reach = _reach(parse_chain(chain))
    start = max(0, first - reach) // TEMPORAL_STRIDE * TEMPORAL_STRIDE  # frames that share a latent: 0, then 1 to 4, …
    done = apply_chain(mask[start : last + 1 + reach], chain)
    return done[first - start : last + 1 - start]


def upstream_chain(k: int = 7, iterations: int = 3, w_len: int = 1, h_len: int = 1) -> str:
    """Return the chain that the official options k, iterations, w_len, h_len mean; without iterations it is empty."""
    return f"dilate:{k}x{iterations},cells:{w_len}x{h_len}" if iterations else ""


def _reach(steps: Iterable[tuple[str, tuple[int, ...]]]) -> int:
    """Return how many frames before and after decide a frame."""
    return sum(VERBS[word].reach(*numbers) for word, numbers in steps)


def _grow(frame: np.ndarray, radius: int, outward: bool, tapered: bool) -> np.ndarray:
    """Grow or shrink one frame inside its own surroundings; the rest cannot change."""
    hard = frame.dtype == bool
    values = frame.view(np.uint8) if hard else frame.astype(np.float32)
    changing = _box(frame > 0 if outward else frame < 1)
    if changing is None:
        return frame.copy()
    y0, y1, x0, x1 = changing
    window = slice(max(y0 - radius, 0), y1 + radius + 1), slice(max(x0 - radius, 0), x1 + radius + 1)
    cut = np.ascontiguousarray(values[window])
    if tapered and hard:  # a diamond is a distance along rows and columns
        zero = cut if not outward else 1 - cut
        apart = cv2.distanceTransform(np.pad(zero, 1, mode="edge"), cv2.DIST_L1, 3)[1:-1, 1:-1]
        done = (apart <= radius) if outward else (apart > radius)
    elif tapered:
        plus, done = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), cut
        for _ in range(radius):
            done = cv2.dilate(done, plus) if outward else cv2.erode(done, plus)
    else:
        square = np.ones((2 * radius + 1,) * 2, np.uint8)
        done = cv2.dilate(cut, square) if outward else cv2.erode(cut, square)
    out = frame.copy()
    out[window] = done.astype(frame.dtype)
    return out


def _fill(mask: np.ndarray, row_cells: np.ndarray, column_cells: np.ndarray) -> np.ndarray:
    """Fill each cell that holds a pixel; the arguments give the cell of each row and column."""
    row_starts = np.flatnonzero(np.diff(row_cells, prepend=-1))
    column_starts = np.flatnonzero(np.diff(column_cells, prepend=-1))
    by_rows = np.logical_or.reduceat(mask, row_starts, axis=0)
    return np.logical_or.reduceat(by_rows, column_starts, axis=1)[row_cells][:, column_cells]


def _box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return (first row, last row, first column, last column) of what is set, None where nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])) if len(rows) else None
