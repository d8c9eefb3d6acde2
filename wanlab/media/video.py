"""Read videos as a player shows them, frame by frame.

A video is an iterable of [H, W, 3] uint8 RGB frames; a `Clip` decodes them on demand, so a long one never has to fit in
memory. Turned, mirrored, stretched, untagged and HDR sources come out upright, square, and in the colours of a screen.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import cv2
import numpy as np

from wanlab.media import colour
from wanlab.media.clock import frames_on_screen
from wanlab.media.decode import decode, open_container, video_stream
from wanlab.media.describe import describe_rate
from wanlab.media.probe import VideoInfo, probe_video
from wanlab.media.resize import frame_indices, letterbox

MAX_FRAMES = 1_000_000  # of a clip: more than nine hours at 30 frames a second


class Clip:
    """A stretch of a video at a constant rate; each iteration decodes it, frame by frame.

    Attributes:
        info: facts of the file.
        height, width: of a frame, in pixels.
        fps: frames per second.
        source_indices: [T], int; the file's frame that each frame shows.
        notes: what was done to the video, one sentence each.
        deinterlace: whether frames of two moments are made into frames of one.
    """

    def __init__(
        self,
        info: VideoInfo,
        fps: Fraction,
        source_indices: np.ndarray,
        notes: tuple[str, ...],
        deinterlace: bool = False,
        frames: Sequence[np.ndarray] | None = None,
    ) -> None:
        """Take the file's facts and which of its frames are shown; `frames`, where they are in memory anyway, are not decoded."""
        self.info, self.deinterlace, self._frames = info, deinterlace, frames
        self.height, self.width, self.fps = info.height, info.width, fps
        self.source_indices = source_indices
        self.notes = notes

    def __len__(self) -> int:
        return len(self.source_indices)

    def __repr__(self) -> str:
        return f"<Clip of {self.info.path.name}: {len(self)} frames, {self.height}x{self.width} (height x width), {describe_rate(self.fps)} frames per second>"

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield [H, W, 3], 0 to 255, uint8 RGB; not to be changed."""
        if self._frames is not None:
            yield from self._frames
            return
        wanted = iter(self.source_indices)
        index = next(wanted, None)
        for number, frame in enumerate(decode(self.info.path, careful=self.info.damaged, deinterlace=self.deinterlace)):
            if index is None:
                return
            if number < index:
                continue
            image = _upright(frame, self.info)
            while index == number:
                yield image
                index = next(wanted, None)

    def read(self) -> np.ndarray:
        """Decode all of it: [T, H, W, 3], 0 to 255, uint8 RGB."""
        return np.stack(list(self))

    def at(self, frames: slice | Sequence[int] | np.ndarray) -> Clip:
        """Return some of the frames, in rising order, as a clip."""
        chosen = frames if isinstance(frames, slice) else np.asarray(frames, dtype=int)
        kept = None
        if self._frames is not None:
            kept = self._frames[chosen] if isinstance(chosen, slice) else [self._frames[t] for t in chosen]
        return Clip(self.info, self.fps, self.source_indices[chosen], (), self.deinterlace, kept)

    def holding(self, frames: Sequence[np.ndarray]) -> Clip:
        """Return the clip with its frames in memory, so that they are not decoded again and again."""
        assert len(frames) == len(self)
        return Clip(self.info, self.fps, self.source_indices, self.notes, self.deinterlace, frames)


class Frames:
    """Any frame of a clip by its index, decoded a block at a time: going on is cheap in both directions, memory is bounded.

    Who goes on from block to block has the next one decoded meanwhile.

    Attributes:
        height, width: of a frame, in pixels.
    """

    def __init__(self, clip: Clip | np.ndarray, block_bytes: int = 2**27) -> None:
        """Take a clip, or an array [T, H, W, 3], uint8 RGB, that is there anyway; hold two blocks of frames at most."""
        self._clip = clip
        self.height, self.width = clip.shape[1:3] if isinstance(clip, np.ndarray) else (clip.height, clip.width)
        self._length = max(1, block_bytes // (3 * self.height * self.width))
        self._block: list[np.ndarray] = []
        self._start = 0
        self._worker = concurrent.futures.ThreadPoolExecutor(1)
        self._coming: tuple[int, concurrent.futures.Future[list[np.ndarray]]] | None = None
        self._rest: Iterator[np.ndarray] = iter(())
        self._next = len(clip)  # index of the frame that comes next in `_rest`

    def __len__(self) -> int:
        return len(self._clip)

    def __getitem__(self, t: int) -> np.ndarray:
        """Return frame `t`: [H, W, 3], 0 to 255, uint8 RGB."""
        if isinstance(self._clip, np.ndarray):
            return self._clip[t]
        if not self._start <= t < self._start + len(self._block):
            start = t // self._length * self._length
            step = start - self._start
            self._block = self._decoded(start)
            self._start = start
            if abs(step) == self._length and 0 <= start + step < len(self):
                self._coming = start + step, self._worker.submit(self._decode, start + step)
        return self._block[t - self._start]

    def _decoded(self, start: int) -> list[np.ndarray]:
        """Return the block from `start`: the one that is coming, or decoded now."""
        coming, self._coming = self._coming, None
        if coming is not None:
            block = coming[1].result()  # also if it is another one: both would read on in the same file
            if coming[0] == start:
                return block
        return self._decode(start)

    def _decode(self, start: int) -> list[np.ndarray]:
        if start < self._next:
            self._rest, self._next = iter(self._clip), 0
        block = list(itertools.islice(self._rest, start - self._next, start - self._next + self._length))
        self._next = start + len(block)
        return block


class Seeker:
    """Single frames of a clip in any order, from any thread; of a lossless file each is decoded by itself.

    Attributes:
        height, width: of a frame, in pixels.
    """

    def __init__(self, clip: Clip) -> None:
        """Take the clip; its file is opened at the first frame and stays open."""
        self._clip = clip
        self.height, self.width = clip.height, clip.width
        self._lock = threading.Lock()
        self._container: Any = None
        self._stream: Any = None
        self._coming: Iterator[Any] = iter(())
        self._last: int | None = None  # index, in the file, of the frame that `_coming` gave last

    def __len__(self) -> int:
        return len(self._clip)

    def __getitem__(self, t: int) -> np.ndarray:
        """Return frame `t`: [H, W, 3], 0 to 255, uint8 RGB."""
        info, index = self._clip.info, int(self._clip.source_indices[t])
        if self._clip.deinterlace or info.damaged:  # a frame needs those before it
            return next(iter(self._clip.at([t])))
        with self._lock:
            if self._container is None:
                self._container = av.open(str(info.path))
                self._stream = video_stream(self._container, info.path)
                self._stream.thread_type = "SLICE"  # threads that share a frame: others begin with several
            frame = self._find(info, index)
        if frame is None:  # the file's times do not lead there: its frames are counted
            return next(iter(self._clip.at([t])))
        return _upright(frame, info)

    def read(self, frames: np.ndarray) -> np.ndarray:
        """Return some of the frames, in any order, repeated or not: [n, H, W, 3], 0 to 255, uint8 RGB."""
        wanted, order = np.unique(frames, return_inverse=True)
        if self._clip.deinterlace or self._clip.info.damaged:
            return self._clip.at(wanted).read()[order]
        found = np.empty((len(order), self.height, self.width, 3), np.uint8)
        for i, t in enumerate(wanted):
            found[order == i] = self[t]
        return found

    def _find(self, info: VideoInfo, index: int) -> Any:
        time = info.start_s + info.times[index]
        near = 0.25 / float(info.fps)
        reach = 1 if self._stream.codec_context.name == "ffv1" else 24  # others decode on from a key frame anyway
        coming = self._last is not None and 0 < index - self._last <= reach
        self._last = None
        # seconds to begin earlier: mp4 seeks by the time of decoding, which is before that of showing
        for back in (0.0,) if coming else (0.0, 1.0, 8.0):
            if not coming:
                # a quarter of a frame later: rounded down the time may be that of the frame before
                self._container.seek(int((time + near - back) / self._stream.time_base), stream=self._stream)
                self._coming = self._container.decode(self._stream)
            with contextlib.suppress(av.error.FFmpegError):
                for frame in self._coming:
                    if frame.time is None or frame.time > time + near:
                        break
                    if frame.time > time - near:
                        self._last = index
                        return frame
        return None


class Video(NamedTuple):
    """All frames of a video.

    Attributes:
        frames: [T, H, W, 3], 0 to 255, uint8 RGB.
        fps: frames per second.
    """

    frames: np.ndarray
    fps: Fraction


def open_clip(
    path: Path | str,
    *,
    start_s: float = 0.0,
    max_frames: int | None = None,
    fps: Fraction | None = None,
    deinterlace: bool = False,
) -> Clip:
    """Open a stretch of a video at a constant rate.

    Args:
        path: the file.
        start_s: seconds to skip.
        max_frames: frames of the clip at most; None takes all.
        fps: frames per second of the clip; None: the video's own (where it truly varies, its average).
        deinterlace: make frames that are woven of two moments into frames of the first one.

    Raises:
        FileNotFoundError, ValueError: as `probe_video`, and if nothing of the video is left.
    """
    info = probe_video(path)
    if max_frames is not None and max_frames < 1:
        raise ValueError(f"max_frames must be at least 1, got {max_frames}; use 1 or None")
    if fps is not None and fps <= 0:
        raise ValueError(f"fps must be more than 0, got {fps}; use {info.fps}")
    first = next((i for i, time in enumerate(info.shown) if time >= start_s - 0.25 / float(info.fps)), None)
    if first is None:
        raise ValueError(f"start_s must lie inside the video, got {start_s} of {info.duration_s:.3f} s; use 0")
    rate, notes = fps or info.fps, list(info.notes)
    expected = (info.duration_s - info.shown[first]) * float(rate)
    if expected > MAX_FRAMES:
        raise ValueError(
            f"fps must leave at most {MAX_FRAMES:,} frames, got {describe_rate(rate)} a second for {info.duration_s:.0f} s, "
            f"which are {expected:,.0f}; use a lower fps or a shorter video"
        )
    if deinterlace:
        notes.append(
            f"{info.path.name} was deinterlaced: the lines of each frame's second field were made again (bwdif)"
        )
    elif info.interlaced:
        notes.append(f"{info.path.name} is interlaced ({info.interlaced}): use deinterlace true to get whole frames")
    indices = _resampled(info, rate, first, notes)
    if max_frames is not None and len(indices) > max_frames:
        indices = indices[:max_frames]
    if first or len(indices) != info.num_frames:
        notes.append(
            f"the working clip is {len(indices)} frames from second {info.times[first]:.3f} of {info.num_frames} frames"
        )
    return Clip(info, rate, indices, tuple(notes), deinterlace)


def _resampled(info: VideoInfo, rate: Fraction, first: int, notes: list[str]) -> np.ndarray:
    """Return the file's frame for each frame of a clip of `rate` from frame `first` on; add to `notes` what was done."""
    left = info.num_frames - first
    if info.variable_rate:
        indices = frames_on_screen(info.clock(), first, rate, info.duration_s)
        lost = left - len(np.unique(indices))
        notes.append(
            f"the video's rate varies: it was brought to {describe_rate(rate)} frames per second, {left} frames became {len(indices)}"
            f" ({len(indices) - left + lost} repeated, {lost} left out)"
        )
        return indices
    if rate == info.fps:
        return np.arange(left) + first
    length = int(left / float(info.fps) * float(rate))  # upstream's formula
    if not length:
        raise ValueError(f"fps must leave at least one frame, got {rate} for {left} frames; use {info.fps}")
    notes.append(
        f"resampled from {describe_rate(info.fps)} to {describe_rate(rate)} frames per second: {left} frames became {length}"
    )
    return frame_indices(left, float(info.fps), length, float(rate)) + first


def read_video(path: Path | str) -> Video:
    """Read all frames of a video; raises as `open_clip`."""
    clip = open_clip(path)
    return Video(clip.read(), clip.fps)


def read_comment(path: Path | str) -> str | None:
    """Return the comment tag of a video, None where it has none."""
    return read_tags(path).get("comment")


def read_tags(path: Path | str) -> dict[str, str]:
    """Return the tags of a video's container, names in lower case.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a video.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"video {path} does not exist; check the path")
    with open_container(path) as container:
        return {name.lower(): value for name, value in container.metadata.items()}


def _upright(frame: Any, info: VideoInfo) -> np.ndarray:
    """Return a decoded frame as a screen shows it: [H, W, 3], uint8 RGB."""
    image = colour.to_rgb(frame)
    if image.shape[:2] != info.stored:
        image = letterbox(image, *info.stored)
    if info.pixel_aspect != 1:
        width = info.width if info.rotation % 180 == 0 else info.height
        image = cv2.resize(image, (width, image.shape[0]), interpolation=cv2.INTER_LINEAR)
    if info.mirrored:
        image = image[:, ::-1]
    return np.ascontiguousarray(np.rot90(image, info.rotation // 90))
