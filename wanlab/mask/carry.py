"""Masks of what nobody's skeleton tells about, such as an animal or a toy: found on the clicked frames, carried to the others.

From frame to frame the mask moves with the image (dense optical flow), then GrabCut finds its outline anew. Where it
changes too much, at a cut or behind something, it is lost, and the frames from there on have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from wanlab.mask.packed import PackedMasks
from wanlab.mask.prompts import Box, Prompts
from wanlab.media import Clip, Frames
from wanlab.pose.wholebody import SEEN

RESULT_VERSION = 1  # raise it when the same clip and seed come to mean other masks
SIDE = 320  # pixels of the longer side on which masks are carried
RIM = 0.03  # of the longer side, how far from the moved outline the new one may be
LEAST = 12  # pixels of a mask at this size: a smaller one is lost
LOST_COLOUR = 20.0  # CIELAB: a mask whose mean colour moved further from the one before shows something else
GROWN = 3.0  # times as large as where it was clicked: it has run out bit by bit
LOST_AREA = 2.0  # times larger or smaller than the frame before: it has run out, or is hidden


def is_needed(keypoints: np.ndarray, prompts: Prompts) -> bool:
    """Return whether nobody was found on any frame with prompts.

    Args:
        keypoints: [T, 133, 3], x, y in pixels, score.
        prompts: points and boxes.
    """
    frames = sorted({each.frame for each in (*prompts.clicks, *prompts.boxes)})
    return bool(frames) and not (keypoints[frames, :, 2] >= SEEN).any()


def carry(clip: Clip | np.ndarray, seeds: dict[int, np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the mask of each frame, [H, W], bool, from those of a few; each frame's comes from the nearest.

    Args:
        clip: frames of [H, W, 3], 0 to 255, uint8 RGB.
        seeds: [H, W], bool, by frame; their own frames get them as they are.
    """
    frames = Frames(clip)
    size = _small_size(frames.height, frames.width)
    order = sorted(seeds)
    carried, reached = PackedMasks.empty(len(frames), size[1], size[0]), set[int]()
    for number, t in enumerate(order):
        before = order[number - 1] if number else None
        after = order[number + 1] if number + 1 < len(order) else None
        first = 0 if before is None else (before + t) // 2 + 1
        last = len(frames) - 1 if after is None else (t + after) // 2
        for way in (range(t + 1, last + 1), range(t - 1, first - 1, -1)):
            for there, mask in _along(frames, t, seeds[t], way, size):
                carried.put(there, mask)
                reached.add(there)
    for t in range(len(frames)):
        if t in seeds:
            yield seeds[t]
        elif t in reached:
            small = carried[t].astype(np.float32)
            yield cv2.resize(small, (frames.width, frames.height), interpolation=cv2.INTER_LINEAR) > 0.5
        else:
            yield np.zeros((frames.height, frames.width), bool)


def follow(frames: Frames, start: int, seed: np.ndarray, way: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield frame and mask, [H, W], bool, on the way from a seed, until it is lost.

    Args:
        frames: of the clip.
        start: frame of the seed.
        seed: [H, W], bool.
        way: the frames beside it, in order, in one direction.
    """
    size = _small_size(frames.height, frames.width)
    for t, mask in _along(frames, start, seed, way, size):
        whole = cv2.resize(mask.astype(np.float32), (frames.width, frames.height), interpolation=cv2.INTER_LINEAR) > 0.5
        if whole.sum() > GROWN * seed.sum():
            return
        yield t, whole


def within(frame: np.ndarray, box: Box) -> np.ndarray:
    """Return what stands out in a box from what is around it, by GrabCut: [H, W], bool.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        box: in pixels of the frame; what fills it is taken as a whole.
    """
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = int(box.x0), int(box.y0), int(np.ceil(box.x1)), int(np.ceil(box.y1))
    around = max(8, round(0.25 * max(x1 - x0, y1 - y0)))
    left, top = max(x0 - around, 0), max(y0 - around, 0)
    part = frame[top : min(y1 + around, height), left : min(x1 + around, width)]
    scale = min(1.0, SIDE / max(part.shape[:2]))
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    labels = np.full(size[::-1], cv2.GC_BGD, np.uint8)
    corners = [round(v * scale) for v in (x0 - left, y0 - top, x1 - left, y1 - top)]
    labels[corners[1] : max(corners[3], corners[1] + 1), corners[0] : max(corners[2], corners[0] + 1)] = cv2.GC_PR_FGD
    found = object_by_grabcut(cv2.resize(part, size, interpolation=cv2.INTER_AREA), labels)
    out = np.zeros((height, width), bool)
    out[top : top + part.shape[0], left : left + part.shape[1]] = (
        cv2.resize(found.astype(np.float32), part.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    )
    inside = np.zeros_like(out)
    inside[y0:y1, x0:x1] = True
    return out & inside if (out & inside).any() else inside


def object_by_grabcut(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return what GrabCut takes for the object: [h, w], bool.

    Args:
        image: [h, w, 3], 0 to 255, uint8 RGB.
        labels: [h, w], uint8, OpenCV's GC_ labels, changed in place; where they leave nothing to decide, they are the answer.
    """
    foreground = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if foreground.any() and not foreground.all():
        cv2.setRNGSeed(0)  # GrabCut starts from random clusters
        cv2.grabCut(image, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _along(
    frames: Frames, start: int, seed: np.ndarray, way: Sequence[int], size: tuple[int, int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (frame, mask at the small size, [h, w], bool) on the way from a seed, until it is lost."""
    if not len(way):
        return
    image = _small(frames[start], size)
    mask = cv2.resize(seed.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    flow_of = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    columns, rows = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    rim = max(2, round(RIM * max(size)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    for t in way:
        if mask.sum() < LEAST:
            return
        now = _small(frames[t], size)
        greys = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (now, image))
        flow = flow_of.calc(*greys, None)  # type: ignore[call-overload]
        moved = cv2.remap(mask.astype(np.uint8), columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_NEAREST)
        labels = np.where(cv2.dilate(moved, disc) > 0, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
        labels[moved > 0] = cv2.GC_PR_FGD
        labels[cv2.erode(moved, disc) > 0] = cv2.GC_FGD
        found = object_by_grabcut(now, labels)
        if _is_lost(image, mask, now, found):
            return
        image, mask = now, found
        yield t, mask


def _is_lost(before: np.ndarray, was: np.ndarray, now: np.ndarray, found: np.ndarray) -> bool:
    areas = int(was.sum()), int(found.sum())
    if min(areas) < LEAST or max(areas) > LOST_AREA * min(areas):
        return True
    lab = (cv2.cvtColor(each.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for each in (before, now))
    colours = [image[mask].mean(axis=0) for image, mask in zip(lab, (was, found), strict=True)]
    return float(np.linalg.norm(colours[0] - colours[1])) > LOST_COLOUR


def _small_size(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _small(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
