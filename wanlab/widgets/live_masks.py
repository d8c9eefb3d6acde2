"""Masks of clicks for the mask editor: of one frame at once, of a stretch with progress and a way to stop."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable

import numpy as np

from wanlab import media, runs
from wanlab.mask import PackedMasks, sam2_weights
from wanlab.mask.person import ClickMasks, PersonMasker
from wanlab.mask.prompts import Prompts
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
    """Masks from clicks, by what the replay uses too: the weights of SAM2 that the settings choose, else GrabCut.

    Attributes:
        before: the outline of the inputs that are edited.
        name: of what finds the masks.
    """

    def __init__(self, inspection: inspect.Inspection, clip: media.Clip, frames: media.Seeker) -> None:
        """Take what is looked at, its working clip and the clip's frames."""
        self._seen, self._clip, self._frames = inspection, clip, frames
        weights, _ = sam2_weights.choose(inspection.asked.sam_checkpoint)
        self._masker = PersonMasker(weights, inspection.asked.compile_sam, SILENT, keep_probabilities=True)
        self.before = inspect.outline_of(inspection.parent)
        self.name = weights.name if weights else "GrabCut"
        self._keypoints: np.ndarray | None = None
        self._clicks: ClickMasks | None = None
        self._lock = threading.Lock()

    def mask(self, t: int, prompts: Prompts) -> np.ndarray:
        """Return what the prompts on frame `t` cover: [H, W], bool; the first on a frame takes longer than the next."""
        with self._lock:
            if self._clicks is None:
                self._clicks = self._masker.clicks(self._frames, lambda: self._found(SILENT))
            return self._clicks.mask(t, prompts)

    def follow(self, frames: range, prompts: Prompts, job: Job) -> PackedMasks:
        """Return the masks in a range of frames; prompts count from its start.

        Raises:
            CancelledError: if its event is set.
        """
        self._masker.listener = job
        return self._masker.of_stretch(self._clip, self._found(job), frames, prompts)

    def _found(self, job: Job) -> np.ndarray:
        """Return the keypoints, [T, 133, 3]: those of the inputs, else detected once."""
        if self._keypoints is None:
            known = self._seen.parent.keypoints()
            watch = functools.partial(job.progress.iterate, total=len(self._clip))
            fps = float(self._clip.fps)
            self._keypoints = detection.detect(self._clip, fps, watch=watch).keypoints if known is None else known
        return self._keypoints
