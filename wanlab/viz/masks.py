"""Masks laid over frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import cv2
import numpy as np

from wanlab import media
from wanlab.inputs import edits
from wanlab.mask import Masks, metrics
from wanlab.viz.sheets import draw_sheet, frames_at, spread
from wanlab.viz.style import (
    ERASED_COLOUR,
    LEAK_COLOUR,
    LESS_COLOUR,
    MASK_COLOUR,
    MORE_COLOUR,
    OBJECT_COLOURS,
    Drawing,
)

MASK_CELL = 2.0  # inches, the height of an image where masks are judged


def mask_views(
    clip: media.Clip | None,
    masks: Mapping[str, Masks],
    view: Callable[..., np.ndarray],
    base: str,
    columns: int = 6,
) -> Drawing | None:
    """Show a view of every mask in the same frames, a row per mask; None and a sentence without any.

    Args:
        clip: the working clip.
        masks: by name.
        view: `overlay`, `difference`, `leak` or `background`.
        base: name of the mask that `difference` compares with.
        columns: frames to show.
    """
    if not masks or clip is None:
        print("these inputs hold no mask")
        return None
    frames = spread(len(clip), columns)
    images = frames_at(clip, frames)
    rows = {
        name: np.stack([view(image, mask[t], masks[base][t]) for image, t in zip(images, frames, strict=True)])
        for name, mask in masks.items()
        if view is not difference or name != base
    }
    return draw_sheet(rows, frames, cell=MASK_CELL)


def mask_changes(
    clip: media.Clip | None,
    before: Masks | None,
    after: Masks | None,
    decided: edits.Edits | None = None,
    columns: int = 6,
) -> Drawing | None:
    """Show a mask before and after, and what is more and less, where it changed most; None without a change.

    Args:
        clip: the working clip.
        before, after: of all frames.
        decided: what was decided by hand; it is drawn into the mask before, and frames that bear a mark come first.
        columns: frames to show.
    """
    if clip is None or before is None or after is None:
        return None
    share = [float((a != b).mean()) for a, b in zip(before, after, strict=True)]
    if not any(share):
        return None
    decided = decided or edits.Edits()
    edited = {each.frame for each in (*decided.points.clicks, *decided.points.boxes, *decided.strokes)}
    order = sorted(range(len(clip)), key=lambda t: (t not in edited, -share[t]))
    frames = sorted(t for t in order[:columns] if share[t] or t in edited)
    images = frames_at(clip, frames)
    rows = {
        "before": (overlay, before, before),
        "after": (overlay, after, after),
        "change": (difference, after, before),
    }
    shown = {
        name: np.stack([view(image, mask[t], base[t]) for image, t in zip(images, frames, strict=True)])
        for name, (view, mask, base) in rows.items()
    }
    shown["before"] = np.stack([marked(*each, decided) for each in zip(shown["before"], frames, strict=True)])
    return draw_sheet(shown, frames, marks=dict.fromkeys(edited, "edited"), cell=MASK_CELL)


def frame_sheet(rows: Mapping[str, Mapping[int, np.ndarray]], marks: Mapping[int, str] | None = None) -> Drawing:
    """Show images of the same frames, a row per name, frame numbers on top.

    Args:
        rows: by name and frame number [H, W, 3], 0 to 255, uint8 RGB.
        marks: the word beside the number of a frame.
    """
    frames = sorted(next(iter(rows.values())))
    shown = {name: np.stack([images[t] for t in frames]) for name, images in rows.items()}
    return draw_sheet(shown, frames, marks=marks, cell=MASK_CELL)


class Layer(NamedTuple):
    """What a view paints over the frame.

    Attributes:
        region: where, a word of REGIONS.
        colour: RGB, 0 to 255.
        opacity: 0 to 1.
        meaning: in words.
    """

    region: str
    colour: tuple[int, int, int]
    opacity: float
    meaning: str


class View(NamedTuple):
    """A way to look at a mask.

    A layer that lies on an earlier one is opaque, so that the last one alone decides the paint of a pixel.

    Attributes:
        dimmed: whether the frame is greyed.
        layers: painted over the frame, in this order.
        outlined: whether the mask's outline is drawn.
    """

    dimmed: bool
    layers: tuple[Layer, ...]
    outlined: bool = False


REGIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {  # of a mask and a base, [H, W], bool each
    "mask": lambda mask, _: mask,
    "both": lambda mask, base: mask & base,
    "more": lambda mask, base: mask & ~base,
    "less": lambda mask, base: base & ~mask,
    "leak": lambda mask, _: metrics.leak(mask[None])[0],
}
MASK_VIEWS = {
    "overlay": View(False, (Layer("mask", MASK_COLOUR, 0.5, "generated"),), outlined=True),
    "difference": View(
        True,
        (
            Layer("both", (180, 180, 180), 0.5, "in both"),
            Layer("more", MORE_COLOUR, 1.0, "only in this mask"),
            Layer("less", LESS_COLOUR, 1.0, "only in the other"),
        ),
    ),
    "leak": View(
        True,
        (
            Layer("mask", (0, 0, 0), 0.5, "generated"),
            Layer("leak", LEAK_COLOUR, 1.0, "black, though to be kept"),
        ),
    ),
    "background": View(False, (Layer("mask", (0, 0, 0), 1.0, "generated"),)),
}
MASK_NUMBERS = {  # whether it compares with the base; which value is the worst one, apart: farthest from the base's
    "area": (False, "apart"),
    "IoU": (True, "least"),
    "boundary F": (True, "least"),
    "change": (False, "most"),
    "leak": (False, "most"),
}


def overlay(frame: np.ndarray, mask: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
    """Tint what is generated and draw its outline: [H, W, 3], uint8 RGB.

    Args:
        frame: [H, W, 3], 0 to 255, uint8 RGB.
        mask: [H, W], bool, True where the image is generated.
        base: not looked at; the views take the same arguments.
    """
    return _painted("overlay", frame, mask, mask)


def marked(image: np.ndarray, t: int, decided: edits.Edits) -> np.ndarray:
    """Draw the marks made by hand on frame `t`: discs with a plus or a minus, boxes, brush strokes.

    Args:
        image: [H, W, 3], 0 to 255, uint8 RGB, of the working clip's size; not changed.
        t: the frame's number.
        decided: all decisions.
    """
    image, size = image.copy(), max(5, round(image.shape[0] / 40))
    for stroke in (stroke for stroke in decided.strokes if stroke.frame == t):
        path = list(np.array([stroke.path]).round().astype(np.int32))
        cv2.polylines(image, path, False, (0, 0, 0), size)
        cv2.polylines(image, path, False, MASK_COLOUR if stroke.add else ERASED_COLOUR, max(1, size // 2))
    for box in (box for box in decided.points.boxes if box.frame == t):
        x0, y0, x1, y1 = (round(side) for side in (box.x0, box.y0, box.x1, box.y1))
        cv2.rectangle(image, (x0, y0), (x1, y1), object_colour(box.object), max(2, size // 3))
    for click in (click for click in decided.points.clicks if click.frame == t):
        x, y = int(click.x), int(click.y)
        cv2.circle(image, (x, y), size, (0, 0, 0), -1)
        cv2.circle(image, (x, y), size - 1, object_colour(click.object), -1)
        cv2.line(image, (x - size // 2, y), (x + size // 2, y), (0, 0, 0), max(1, size // 3))
        if click.positive:
            cv2.line(image, (x, y - size // 2), (x, y + size // 2), (0, 0, 0), max(1, size // 3))
    return image


def object_colour(number: int) -> tuple[int, int, int]:
    """Return the colour of an object by its number: RGB, 0 to 255."""
    return OBJECT_COLOURS[(number - 1) % len(OBJECT_COLOURS)]


def difference(frame: np.ndarray, mask: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Paint what only the mask has in orange and what only `base` has in blue, both in grey.

    Args and result: as `overlay`; base: [H, W], bool.
    """
    return _painted("difference", frame, mask, base)


def leak(frame: np.ndarray, mask: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
    """Paint the pixels that are black in the background though the model is told to keep them.

    Args and result: as `overlay`; `mask`: [H, W], bool.
    """
    return _painted("leak", frame, mask, mask)


def background(frame: np.ndarray, mask: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
    """Black out what is generated, as the model gets it.

    Args and result: as `overlay`; `mask`: [H, W], bool.
    """
    return _painted("background", frame, mask, mask)


def _painted(view: str, frame: np.ndarray, mask: np.ndarray, base: np.ndarray) -> np.ndarray:
    dimmed, layers, outlined = MASK_VIEWS[view]
    out = _dimmed(frame) if dimmed else frame.copy()
    for region, colour, opacity, _ in layers:
        where = REGIONS[region](mask, base)
        out[where] = ((1 - opacity) * out[where] + opacity * np.array(colour)).astype(np.uint8)
    if outlined:
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, contours, -1, MASK_COLOUR, max(1, round(frame.shape[0] / 300)))
    return out


def _dimmed(frame: np.ndarray) -> np.ndarray:
    return np.repeat(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) // 3 * 2
