"""Masks in videos, often of other tools: read by luminance; what is no mask is refused, soft edges are said."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from wanlab import media
from wanlab.mask.packed import WHITE, PackedMasks

COLOURED = 64  # levels between a pixel's channels from which it is a colour: compression tints grey by up to 20
FEW = 1 / 2000  # of a frame's pixels: so many coloured ones may be a codec's fault
SOFT = range(32, 224)  # luminance of what is neither black nor white
WIDE = 3.0  # pixels: soft edges that are wider were meant; those of H.264 are 1 to 2
NAMES = {
    "red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0), "magenta": (1, 0, 1), "cyan": (0, 1, 1),
    "orange": (1, 0.5, 0),
}  # fmt: skip
RULE = "must be white where the image is generated anew, black where it is kept and grey at soft edges"


class MaskVideo(NamedTuple):
    """What a mask video holds.

    Attributes:
        masks: of its frames, True where the image is generated anew.
        notes: what a reader must know, a sentence each.
    """

    masks: PackedMasks
    notes: tuple[str, ...]


def read_mask(path: Path, name: str | None = None, max_frames: int | None = None) -> MaskVideo:
    """Read a mask video.

    Args:
        path: the video.
        name: what messages call it; None: the file's name.
        max_frames: how many are read; None: all.

    Raises:
        ValueError: a frame holds colours, or nothing in the video is light enough to count as white.
    """
    name = path.name if name is None else f"{name} {path.name}"
    info = media.probe_video(path)  # who is not there is named by it
    facts = path.stat()
    return _read(info.path, name, max_frames, facts.st_mtime_ns, facts.st_size)


@functools.lru_cache(maxsize=2)  # checked before a run is made, and then used by it
def _read(path: Path, name: str, max_frames: int | None, _mtime: int, _size: int) -> MaskVideo:
    clip = media.open_clip(path, max_frames=max_frames)
    masks, soft, edge, lightest = PackedMasks(clip.height, clip.width), 0, 0, 0
    for t, frame in enumerate(clip):
        _refuse_colours(frame, name, t)
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        mask = grey >= WHITE
        masks.add(np.packbits(mask, axis=-1)[None])
        lightest = max(lightest, int(grey.max()))
        soft += int(((grey >= SOFT.start) & (grey < SOFT.stop)).sum())
        edge += _edge(mask)
    if 0 < lightest < WHITE:
        raise ValueError(f"{name} {RULE}, got nothing lighter than {lightest} of 255; make its white 255")
    return MaskVideo(masks, _softness(name, soft, edge, len(masks) * clip.height * clip.width))


def _refuse_colours(frame: np.ndarray, name: str, t: int) -> None:
    channels = cv2.split(frame)
    spread = cv2.subtract(cv2.max(cv2.max(*channels[:2]), channels[2]), cv2.min(cv2.min(*channels[:2]), channels[2]))
    coloured = spread >= COLOURED
    if coloured.sum() <= FEW * coloured.size:
        return
    colour = np.median(frame[coloured], axis=0)
    likeness = {word: float(np.abs(colour / colour.max() - pure).sum()) for word, pure in NAMES.items()}
    raise ValueError(
        f"{name} {RULE}, got {min(likeness, key=lambda word: likeness[word])} ({', '.join(f'{c:.0f}' for c in colour)}) on "
        f"{coloured.mean():.2%} of frame {t}; make what is to be generated anew white (255, 255, 255)"
    )


def _edge(mask: np.ndarray) -> int:
    """Return how many pixels lie on a mask's edge."""
    inner = cv2.erode(mask.view(np.uint8), np.ones((3, 3), np.uint8))
    return int(mask.sum()) - int(inner.sum())


def _softness(name: str, soft: int, edge: int, pixels: int) -> tuple[str, ...]:
    width = soft / max(edge, 1)
    if width <= WIDE:
        return ()
    return (
        f"{name} is soft: {soft / pixels:.1%} of its pixels are grey, {width:.0f} for each along its edges; grey counts as "
        f"white from {WHITE} on and as black below",
    )
