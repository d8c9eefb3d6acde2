"""What clicks change in an outline: a region on the clicked frame that is added to it or taken out, and where that goes.

Each positive click, box and carried stroke adds the thing that it means, each negative one takes it out: a bounded region,
found on its own frame by itself (module local_regions, or SAM2), so that no click changes what another one found, and followed from there
through the other frames until it is lost, at the end of the stretch, or at a locked frame. Every frame keeps the outline that it
had where nothing leads. Where regions of several frames meet, the one clicked nearer in time holds.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from wanlab.mask.prompts import Box, Click, Prompts
from wanlab.mask.strokes import Stroke, painted

JUMP = 0.2  # by so much less than before does a flagged frame's outline agree (IoU) with those of the frames beside


class Mark(NamedTuple):
    """What a region is found from.

    Attributes:
        what: a click, a box, or a carried stroke, which is the region itself.
        against: the clicks on its frame that mean the opposite: their places do not belong to it.
    """

    what: Click | Box | Stroke
    against: tuple[Click, ...] = ()

    @property
    def frame(self) -> int:
        """Its frame."""
        return self.what.frame

    @property
    def adds(self) -> bool:
        """Whether its region is added; else it is taken out."""
        return self.what.add if isinstance(self.what, Stroke) else isinstance(self.what, Box) or self.what.positive

    @property
    def object(self) -> int:
        """Number of the object that it belongs to."""
        return 1 if isinstance(self.what, Stroke) else self.what.object


class Lock(NamedTuple):
    """A frame whose mask stays as it is: nothing is followed onto it, or through it.

    Attributes:
        frame: of the working clip.
        mask: its bits, rows of whole bytes, deflated, in Base64.
    """

    frame: int
    mask: str

    @classmethod
    def of(cls, frame: int, mask: np.ndarray) -> Lock:
        """Return the lock of a frame with its mask, [H, W], bool."""
        return cls(frame, base64.b64encode(zlib.compress(np.packbits(mask, axis=-1).tobytes(), 9)).decode())

    def bits(self, height: int, width: int) -> np.ndarray:
        """Return its mask: [H, W], bool.

        Raises:
            ValueError: if it is none of this size.
        """
        row = -(-width // 8)
        try:
            inflater = zlib.decompressobj()
            raw = inflater.decompress(base64.b64decode(self.mask, validate=True), height * row + 1)
        except (zlib.error, ValueError):
            raw = b""
        if len(raw) != height * row:
            raise ValueError(f"the mask of locked frame {self.frame} must be {height}x{width} pixels; unlock the frame")
        return np.unpackbits(np.frombuffer(raw, np.uint8).reshape(height, row), axis=-1, count=width).view(bool)


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

    @property
    def locked(self) -> tuple[Lock, ...]:
        """Frames whose mask stays as it is."""
        ...


Known = Callable[
    [Mark, int], np.ndarray | None
]  # returns the region of a mark on a frame, [H, W], bool; None: none, or not found yet


def marks(decided: Decisions) -> list[Mark]:
    """Return what regions are found from: what lies inside the stretch and on no locked frame."""
    clicks = decided.points.clicks
    against = {
        (t, kind): tuple(click for click in clicks if click.frame == t and click.positive != kind)
        for t, kind in {(click.frame, kind) for click in clicks for kind in (True, False)}
    }
    found = [Mark(click, against[click.frame, click.positive]) for click in clicks]
    found += [Mark(box, against.get((box.frame, True), ())) for box in decided.points.boxes]
    found += [Mark(stroke) for stroke in decided.strokes if stroke.carried]
    return [mark for mark in found if is_in_use(decided, mark.frame)]


def is_in_use(decided: Decisions, t: int) -> bool:
    """Return whether marks on frame `t` count."""
    inside = decided.stretch is None or decided.stretch[0] <= t <= decided.stretch[1]
    return inside and all(lock.frame != t for lock in decided.locked)


def reach(decided: Decisions, t: int, num_frames: int) -> range:
    """Return the frames around frame `t` to which a region may be followed: up to the stretch's ends and to locked frames."""
    first, last = decided.stretch or (0, num_frames - 1)
    before = (lock.frame + 1 for lock in decided.locked if lock.frame < t)
    after = (lock.frame for lock in decided.locked if lock.frame > t)
    return range(max([first, *before]), min([last + 1, *after]))


def composed(decided: Decisions, t: int, before: np.ndarray, known: Known) -> np.ndarray:
    """Return the outline on a frame with what was decided: [H, W], bool.

    Args:
        decided: clicks, boxes, strokes and locked frames.
        t: the frame.
        before: the outline that it had: [H, W], bool.
        known: returns the regions.
    """
    lock = next((lock for lock in decided.locked if lock.frame == t), None)
    if lock is not None:
        return lock.bits(*before.shape)
    out = before.copy()
    for mark, there in _applied(decided, t, known):
        out[there] = mark.adds
    return painted(out, [stroke for stroke in decided.strokes if stroke.frame == t])


def objects(decided: Decisions, t: int, known: Known) -> dict[int, np.ndarray]:
    """Return what clicks have added on a frame by the number of the object: [H, W], bool each."""
    found: dict[int, np.ndarray] = {}
    if any(lock.frame == t for lock in decided.locked):
        return found
    for mark, there in _applied(decided, t, known):
        for number, so_far in found.items():
            found[number] = so_far & ~there
        if mark.adds:
            found[mark.object] = found.get(mark.object, np.zeros_like(there)) | there
    return found


def jumps(masks: Sequence[np.ndarray | None], before: Sequence[np.ndarray | None]) -> bool:
    """Return whether an outline agrees less with those beside it than the one that it replaces: its area or place jumps.

    Args:
        masks: of the frame before, of the frame and of the frame after, [H, W], bool; None: there is none.
        before: the same frames' outlines without what has changed.
    """
    was, now = (_agreement(each) for each in (before, masks))
    return was is not None and now is not None and now < was - JUMP


def unused(decided: Decisions) -> int:
    """Return how many points and boxes do not count, for they lie outside the stretch or on a locked frame."""
    return sum(not is_in_use(decided, each.frame) for each in (*decided.points.clicks, *decided.points.boxes))


def _applied(decided: Decisions, t: int, known: Known) -> list[tuple[Mark, np.ndarray]]:
    """Return the regions on frame `t`, those that hold last: nearer ones, and of the same frame those that take out.

    A stroke on this very frame is none of them: it is painted in its order.
    """
    near = sorted(marks(decided), key=lambda mark: (-abs(mark.frame - t), not mark.adds))
    others = [mark for mark in near if not (isinstance(mark.what, Stroke) and mark.frame == t)]
    return [(mark, there) for mark in others if (there := known(mark, t)) is not None]


def _agreement(masks: Sequence[np.ndarray | None]) -> float | None:
    one, here, other = masks
    beside = [each for each in (one, other) if each is not None and each.any()]
    if here is None or not beside:
        return None
    return float(np.mean([(here & each).sum() / max(int((here | each).sum()), 1) for each in beside]))
