"""Segments on disk: saved when finished, read when a run continues."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np

from wanlab import files, media
from wanlab.model import segments
from wanlab.runs import artefacts

SEGMENTS = "segments"  # folder of finished segments while the run is not
BEGUN = "begun.npy"  # in it, for a first segment that was stopped: the model's outputs in its steps


def partial_velocities(folder: Path) -> np.ndarray | None:
    """Return the model's outputs in the steps of a first segment that was stopped: [n, 16, t, h, w], float32; None without one."""
    file = folder / BEGUN
    return np.load(file, allow_pickle=False) if file.is_file() else None


def save_segment(folder: Path, number: int, frames: np.ndarray, tail: np.ndarray, fps: Fraction) -> None:
    """Save a segment losslessly; its tail is written last, so that a segment with a tail is complete.

    Args:
        folder: of the run's segments.
        number: of the segment.
        frames: its new ones, [n, H, W, 3], 0 to 255, uint8 RGB.
        tail: [3, overlap, H, W], -1 to 1, float32; what the next segment continues from.
        fps: frames per second.
    """
    if len(frames):
        media.write_video(folder / f"{number:03d}.mkv", frames, fps, lossless=True)
    files.write_array(folder / f"{number:03d}.npy", tail)


class SegmentWriter:
    """Saves segments in a thread of its own, while the next one is generated.

    One may be in work and one may wait; who brings a third waits with it, so that memory is bounded. What was brought is
    saved also where the block ends by an error or an interrupt.
    """

    def __init__(self, folder: Path, fps: Fraction, on_saved: Callable[[int], object]) -> None:
        """Take the run's folder of segments, frames per second, and what is called here with the number of each saved one."""
        self._folder, self._fps, self._on_saved = folder, fps, on_saved
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "segments")
        self._coming: collections.deque[tuple[int, concurrent.futures.Future[None]]] = collections.deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Wait until all is saved; raises as `save`, unless another error is on its way."""
        try:
            while self._coming:
                self._end_first()
        except Exception as own:
            if error is None:
                raise
            error.add_note(f"and a finished segment could not be saved: {own}")
        finally:
            self._thread.shutdown(cancel_futures=True)

    def save(self, number: int, frames: np.ndarray, tail: np.ndarray) -> None:
        """Have `save_segment` called, as soon as the segments before it are saved.

        Raises:
            OSError: if one of these could not be saved.
        """
        while self._coming and (len(self._coming) > 1 or self._coming[0][1].done()):
            self._end_first()
        saving = self._thread.submit(save_segment, self._folder, number, frames, tail, self._fps)
        self._coming.append((number, saving))

    def _end_first(self) -> None:
        number, saving = self._coming[0]
        saving.result()
        self._coming.popleft()
        self._on_saved(number)


def saved_videos(folder: Path, num_segments: int) -> list[Path]:
    """Return the videos of saved segments, of those that have new frames."""
    places = (folder / f"{number:03d}.mkv" for number in range(num_segments))
    return [place for place in places if place.is_file()]


def saved_frames(folder: Path, number: int) -> Iterator[np.ndarray]:
    """Yield a saved segment's new frames, [H, W, 3], uint8 RGB; none where it has none."""
    file = folder / f"{number:03d}.mkv"
    return iter(media.open_clip(file)) if file.is_file() else iter(())


def num_finished(folder: Path, cut: segments.SegmentPlan) -> int:
    """Return how many segments are finished, from the first on, with all their frames."""
    for number in range(len(cut.segments)):
        new = cut.shown(number)
        try:
            np.load(folder / f"{number:03d}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return number
        if new > 0 and not artefacts.is_complete_video(folder / f"{number:03d}.mkv", new):
            return number
    return len(cut.segments)
