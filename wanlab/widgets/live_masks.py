"""Masks of clicks for the mask editor: of one frame at once, of a stretch with progress and a way to stop."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from wanlab import media, runs
from wanlab.inputs import edits
from wanlab.mask import regions, sam2_weights
from wanlab.mask.person import PersonMasker
from wanlab.pose import detection
from wanlab.steps import inspect

TOLD_S = 0.1  # seconds between two words of progress


class Job:
    """What a segmentation in a widget tells while it works; its notes are left to the replay, which keeps them."""

    def __init__(self, tell: Callable[[str, int, int], None], stop: threading.Event) -> None:
        """Take who is told now and then, and the event that ends the work with a CancelledError."""
        self._tell, self._last = tell, 0.0
        self.progress = runs.Progress(watch=self._now_and_then, stop=stop)

    def add_notes(self, *notes: str) -> None:
        """Keep no note."""

    def _now_and_then(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._last > TOLD_S:
            self._last = time.monotonic()
            self._tell(what, done, total)


SILENT = Job(lambda *_: None, threading.Event())


class LiveMasks:
    """Masks from clicks, by what the replay uses too: the weights of SAM2 that the settings choose, else what looks alike.

    Attributes:
        before: the outline of the inputs that are edited.
        name: of what finds the regions of clicks.
        clicked: the outline with what was clicked.
    """

    def __init__(self, inspection: inspect.Inspection, clip: media.Clip, frames: media.Seeker) -> None:
        """Take what is looked at, its working clip and the clip's frames."""
        self._seen, self._clip, self._listener = inspection, clip, SILENT
        weights, _ = sam2_weights.choose(inspection.asked.sam_checkpoint)
        masker = PersonMasker(weights, inspection.asked.compile_sam, SILENT)
        self.before = inspect.outline_of(inspection.parent)
        self.name = weights.name if weights else "GrabCut"
        self.clicked = masker.clicked(clip, frames, self._keypoints, self.before)
        self._lock = threading.Lock()

    def region(self, mark: regions.Mark) -> np.ndarray:
        """Return the region of a mark on its frame: [H, W], bool; the first on a frame takes longer than the next."""
        with self._lock:
            return self.clicked.find(mark)

    def follow(self, decided: edits.Edits, job: Job) -> Iterator[int]:
        """Follow what is waiting; yield each frame whose outline is another one now.

        Raises:
            CancelledError: if the job's event is set.
        """
        self._listener = job
        for mark in self.clicked.waiting(decided):
            self.region(mark)
        steps = self.clicked.steps(decided)
        yield from job.progress.iterate(self.clicked.follow(decided), "follow the marks", steps)

    def _keypoints(self) -> np.ndarray:
        """Return the keypoints, [T, 133, 3]: those of the inputs, else detected."""
        known = self._seen.parent.keypoints()
        if known is not None:
            return known
        watch = functools.partial(self._listener.progress.iterate, total=len(self._clip))
        return detection.detect(self._clip, float(self._clip.fps), watch=watch).keypoints
