"""What a generation foresees, to be watched while it samples: written into the run's folder, wherever it is read.

    with LiveView(run.folder, fps, num_steps) as view:
        sampling.generate_segments(…, on_foreseen=view.foreseen)

`live.jpg` is a moving picture of the segment, its frames one below the other, at most two a second. Of each segment are kept
`steps/NNN.jpg`, a strip of few steps, and `steps/NNN.json`, how much each step changed. Nobody is waited for: images are
coded and written in a thread of their own, and left out where it has not finished the one before.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from PIL import Image

from wanlab import files, mask

if TYPE_CHECKING:
    from torch import Tensor

    from wanlab.model.latent_colours import LatentColours

LIVE = "live.jpg"
FOLDER = "steps"  # in the run's folder: what is kept of each segment
EVERY_S = 0.5  # seconds between two moving pictures
HIGHEST = 160  # pixels of a picture's height; a latent of 1280x720 has 90
IN_STRIP = 6
SETTLED = 0.01  # a step that changes less than this part changes little
QUALITY = 85  # of JPEG
MOST_PIXELS = 65000  # of a side, in JPEG


class Picture(NamedTuple):
    """A moving picture as it was read.

    Attributes:
        frames: [t, h, w, 3], 0 to 255, uint8 RGB, one a latent.
        segment, step: from 0.
        fps: of `frames`.
    """

    frames: np.ndarray
    segment: int
    step: int
    fps: float


class Segment(NamedTuple):
    """What is kept of a segment's steps.

    Attributes:
        number: from 0.
        changes: how much steps 2, 3, … changed what the step before foresaw: the norm of the difference by that of the
            clean latents.
        shown: the steps, from 0, that the strip shows side by side.
        strip: its JPEG.
    """

    number: int
    changes: list[float]
    shown: list[int]
    strip: Path


class LiveView:
    """Writes what the steps of a generation foresee; a fault of it ends the view, never the generation.

    Attributes:
        fault: why nothing is written any more, empty: all is well.
    """

    def __init__(self, folder: Path, fps: Fraction, num_steps: int) -> None:
        """Take the run's folder, the clip's frames per second, and how many steps a segment has."""
        self.fault = ""
        self._folder, self._fps, self._num_steps = folder, float(fps) / mask.TEMPORAL_STRIDE, num_steps
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "live view")
        self._writing: concurrent.futures.Future[None] | None = None
        self._last = -EVERY_S
        self._segment = -1
        self._before: Tensor | None = None
        self._changes: list[Tensor] = []
        self._strip: dict[int, np.ndarray] = {}  # by step; filled in the thread
        self._in_strip = strip_steps(num_steps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Keep what there is of the last segment, and wait until all is written."""
        try:
            self._safely(self._end_segment)
        finally:
            self._before = None
            self._thread.shutdown()

    def foreseen(self, segment: int, step: int, latents: Tensor, colours: LatentColours) -> None:
        """Take what a step foresees; numbers from 0, latents as `sampling.generate_segments` hands them out."""
        if not self.fault:
            self._safely(self._see, segment, step, latents, colours)

    def _see(self, segment: int, step: int, latents: Tensor, colours: LatentColours) -> None:
        if segment != self._segment:
            self._end_segment()
            self._segment = segment
        if self._before is not None:
            self._changes.append((latents - self._before).norm() / latents.norm())
        self._before = latents
        if not colours.is_ready:
            return
        if step in self._in_strip:
            middle = len(latents[0]) // 2
            shown = colours.shown(latents[:, max(0, middle - 2) : middle + 1])  # a decoder remembers the ones before
            self._submit(self._take, step, _on_host(shown[-1:]))
        now = time.monotonic()
        if now - self._last >= EVERY_S and (self._writing is None or self._writing.done()):
            self._last = now
            self._writing = self._submit(self._write, segment, step, _on_host(colours.shown(latents)))

    def _end_segment(self) -> None:
        """Have what is kept of a segment written."""
        if self._before is None:
            return
        changes = [round(float(change), 6) for change in self._changes]
        self._submit(self._keep, self._segment, changes)
        self._before, self._changes = None, []

    def _submit(self, do: Callable[..., None], *given: Any) -> concurrent.futures.Future[None]:
        return self._thread.submit(self._safely, do, *given)

    def _safely(self, do: Callable[..., None], *given: Any) -> None:
        try:
            do(*given)
        except Exception as error:  # whatever it is, the generation goes on
            self.fault = self.fault or str(error) or type(error).__name__

    def _take(self, step: int, fetch: Callable[[], np.ndarray]) -> None:
        self._strip[step] = _small(fetch()[0])

    def _write(self, segment: int, step: int, fetch: Callable[[], np.ndarray]) -> None:
        frames = [_small(frame) for frame in fetch()]
        frames = frames[: MOST_PIXELS // frames[0].shape[0]]
        facts = {"frames": len(frames), "segment": segment, "step": step, "fps": round(self._fps, 3)}
        with files.writing(self._folder / LIVE) as part:
            Image.fromarray(np.concatenate(frames)).save(part, "JPEG", quality=QUALITY, comment=json.dumps(facts))

    def _keep(self, segment: int, changes: list[float]) -> None:
        """Write strip and changes of a segment; the strip is the last, so that one that is there has its numbers."""
        shown = sorted(self._strip)
        place = self._folder / FOLDER / f"{segment:03d}"
        files.write_json(place.with_suffix(".json"), {"changes": changes, "shown": shown})
        if shown:
            with files.writing(place.with_suffix(".jpg")) as part:
                joined = np.concatenate([self._strip.pop(step) for step in shown], axis=1)
                Image.fromarray(joined).save(part, "JPEG", quality=QUALITY)


def strip_steps(num_steps: int) -> tuple[int, ...]:
    """Return the steps, from 0, that a strip shows: the first, the last, and some evenly between them."""
    count = min(IN_STRIP, num_steps)
    return tuple(dict.fromkeys(round(step) for step in np.linspace(0, num_steps - 1, count)))


def kept(folder: Path) -> list[Segment]:
    """Return what a run's folder keeps of its segments' steps, in order; what is damaged is left out."""
    found = []
    for file in sorted((folder / FOLDER).glob("[0-9]*.json")):
        strip = file.with_suffix(".jpg")
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(file.read_text(encoding="utf-8"))
            changes, shown = list(map(float, content["changes"])), list(map(int, content["shown"]))
            if strip.is_file():
                found.append(Segment(int(file.stem), changes, shown, strip))
    return found


def settled(segments: Sequence[Segment]) -> int | None:
    """Return the step, from 1, after which no step of any segment changed as much as SETTLED; None: the last one still did.

    None also where there is nothing to compare.
    """
    if not segments or not all(segment.changes for segment in segments):
        return None
    last = [
        max((i + 2 for i, change in enumerate(segment.changes) if change >= SETTLED), default=1) for segment in segments
    ]
    return None if any(step > len(each.changes) for step, each in zip(last, segments, strict=True)) else max(last)


def read(folder: Path) -> Picture | None:
    """Return the moving picture in a run's folder; None where there is none, or none that wanlab wrote."""
    try:
        with Image.open(folder / LIVE) as image:
            facts = json.loads(image.info["comment"])
            pixels = np.asarray(image.convert("RGB"))
        count = int(facts["frames"])
        frames = pixels.reshape(count, len(pixels) // count, *pixels.shape[1:])
        return Picture(frames, int(facts["segment"]), int(facts["step"]), float(facts["fps"]))
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return None


def _small(frame: np.ndarray) -> np.ndarray:
    """Return a frame, [h, w, 3], no higher than HIGHEST."""
    height, width = frame.shape[:2]
    if height <= HIGHEST:
        return frame
    size = max(1, round(width * HIGHEST / height)), HIGHEST
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))


def _on_host(pictures: Tensor) -> Callable[[], np.ndarray]:
    """Have pictures copied to the host without waiting for it; return what waits, in another thread, and gives them."""
    if pictures.device.type != "cuda":
        return pictures.numpy
    import torch

    host = torch.empty(pictures.shape, dtype=pictures.dtype, pin_memory=True)
    host.copy_(pictures, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def fetch() -> np.ndarray:
        copied.synchronize()
        return host.numpy()

    return fetch
