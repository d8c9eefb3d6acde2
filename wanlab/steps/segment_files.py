"""Segments on disk: saved when finished, read when a run continues."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

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
