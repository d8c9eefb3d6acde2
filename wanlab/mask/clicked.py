"""The outline of a clip with what was clicked: regions are found when they are asked for, and followed once.

What was followed from a click is kept as long as the click means the same region and its frames the same stretch, whatever
else is clicked: frames that still hold are not lost.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from wanlab.mask import regions
from wanlab.mask.packed import PackedMasks
from wanlab.mask.prompts import Box, Click
from wanlab.mask.regions import Decisions, Mark
from wanlab.mask.strokes import Stroke, covered


class Finder(Protocol):
    """Finds regions on single frames: `local_regions.LocalRegions` or `sam2_image.Sam2Regions`."""

    def of_click(self, click: Click, against: Sequence[Click]) -> np.ndarray:
        """Return what a click means, [H, W], bool, by clicks on its frame that mean the opposite."""
        ...

    def of_box(self, box: Box, against: Sequence[Click]) -> np.ndarray:
        """Return what a box is drawn around, likewise."""
        ...


class Follower(Protocol):
    """Follows regions of one frame through others: `person.PersonMasker`."""

    def follow(
        self, marks: Sequence[Mark], seeds: Sequence[np.ndarray], within: range
    ) -> Iterator[tuple[int, list[np.ndarray | None]]]:
        """Yield frame and masks, [H, W], bool, one a mark of the same frame, None where it is lost; seeds: their regions."""
        ...


class _Track(NamedTuple):
    """Where a region was followed to.

    Attributes:
        start: its own frame.
        region: what it is there, by its hash.
        within: the frames through which it is followed.
    """

    start: int
    region: str
    within: range


class Clicked:
    """The outline with what was clicked, as far as it is known."""

    def __init__(self, before: PackedMasks, finder: Callable[[], Finder], follower: Follower) -> None:
        """Take the outline that is corrected, [T, H, W], what makes a finder when one is needed, and what follows regions."""
        self.before = before
        self._finder, self._follower = functools.cache(finder), follower
        self._found: dict[Mark, tuple[PackedMasks, str]] = {}
        self._tracks: dict[_Track, dict[int, PackedMasks | None]] = {}

    def is_found(self, mark: Mark) -> bool:
        """Return whether the region of a mark is known on its own frame."""
        return mark in self._found

    def find(self, mark: Mark) -> np.ndarray:
        """Return the region of a mark on its own frame: [H, W], bool."""
        if mark not in self._found:
            region = self._region(mark)
            self._found[mark] = self._packed(region), hashlib.sha1(np.packbits(region).tobytes()).hexdigest()
        return self._found[mark][0][0]

    def seconds(self, mark: Mark) -> float:
        """Return how long it takes to find the region of a mark on a frame that was looked at before: it is found again."""
        begin = time.monotonic()
        self._region(mark)
        return time.monotonic() - begin

    def outline(self, decided: Decisions, t: int) -> np.ndarray:
        """Return the outline on a frame, [H, W], bool, with what is known."""
        return regions.composed(decided, t, self.before[t], lambda mark, at: self.known(decided, mark, at))

    def known(self, decided: Decisions, mark: Mark, t: int) -> np.ndarray | None:
        """Return the region of a mark on a frame, [H, W], bool; None: none there, or not known yet."""
        if mark not in self._found:
            return None
        if t == mark.frame:
            return self.find(mark)
        packed = self._tracks.get(self._track(decided, mark), {}).get(t)
        return None if packed is None else packed[0]

    def waiting(self, decided: Decisions) -> list[Mark]:
        """Return the marks whose regions were not followed to all frames yet."""
        return [mark for mark in regions.marks(decided) if mark not in self._found or self._is_waiting(decided, mark)]

    def steps(self, decided: Decisions) -> int:
        """Return how many frames `follow` is going to yield."""
        frames = {mark.frame for mark in self.waiting(decided)}
        return sum(len(regions.reach(decided, t, len(self.before))) - 1 for t in frames)

    def follow(self, decided: Decisions) -> Iterator[int]:
        """Find and follow what is waiting; yield each frame whose outline is now another one, as soon as it is.

        Stopping is up to the caller, between any two frames: what is known stays known.
        """
        for mark in self.waiting(decided):
            self.find(mark)
        for marks in self._together(decided):
            tracks = [self._track(decided, mark) for mark in marks]
            seeds = [self.find(mark) for mark in marks]
            for t, masks in self._follower.follow(marks, seeds, tracks[0].within):
                for track, mask in zip(tracks, masks, strict=True):
                    self._tracks.setdefault(track, {})[t] = None if mask is None else self._packed(mask)
                yield t
            for track in tracks:  # where nothing was yielded, it is lost
                there = self._tracks.setdefault(track, {})
                there.update({t: None for t in track.within if t not in there and t != track.start})

    def _together(self, decided: Decisions) -> list[list[Mark]]:
        """Return what is waiting, that of the same frame together; what is nowhere is not followed."""
        groups: dict[int, list[Mark]] = {}
        for mark in self.waiting(decided):
            if self.find(mark).any():
                groups.setdefault(mark.frame, []).append(mark)
        return list(groups.values())

    def _is_waiting(self, decided: Decisions, mark: Mark) -> bool:
        """Return whether the region of a mark, found already, was not followed to all frames yet."""
        track = self._track(decided, mark)
        return bool(self.find(mark).any()) and len(self._tracks.get(track, ())) < len(track.within) - 1

    def _track(self, decided: Decisions, mark: Mark) -> _Track:
        within = regions.reach(decided, mark.frame, len(self.before))
        return _Track(mark.frame, self._found[mark][1], within)

    def _region(self, mark: Mark) -> np.ndarray:
        if isinstance(mark.what, Stroke):
            return covered(mark.what, self.before.height, self.before.width)
        if isinstance(mark.what, Box):
            return self._finder().of_box(mark.what, mark.against)
        return self._finder().of_click(mark.what, mark.against)

    def _packed(self, mask: np.ndarray) -> PackedMasks:
        return PackedMasks(self.before.height, self.before.width, [mask])
