"""Reading and writing film and pictures: what a player shows, frame by frame, and files that are whole or not there.

A film is an iterable of [H, W, 3] uint8 RGB frames; a `Clip` decodes them on demand, so a long one never has to fit in
memory. Turned, mirrored, stretched, untagged and HDR sources come out upright, square, and in the colours of a screen.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import itertools
import threading
from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import cv2
import numpy as np

from wanlab.media import colour
from wanlab.media.describe import describe_rate
from wanlab.media.resize import frame_indices

ATTACHED_PICTURE = 1024  # libav's disposition of a cover picture


class VideoInfo(NamedTuple):
    """Facts about a film file, all of them counted or read, none guessed from a header.

    height, width and pixel_aspect: as a player shows it, turned and with square pixels. fps: the average rate.
    rotation: degrees counter-clockwise that the stored picture is turned by. times: seconds of each frame after the first.
    """

    path: Path
    height: int
    width: int
    fps: Fraction
    num_frames: int
    duration_s: float
    rotation: int
    mirrored: bool
    pixel_aspect: Fraction
    variable_rate: bool
    has_audio: bool
    colour: str
    notes: tuple[str, ...]
    times: tuple[float, ...]
    start_s: float


class Clip:
    """A stretch of a film at a constant rate; iterating decodes it anew, frame by frame.

    Attributes:
        info: facts of the file.
        height, width: of a frame, in pixels.
        fps: frames per second.
        source_indices: [T], int; the file's frame that each frame shows.
        notes: what was done to the film, one sentence each.
    """

    def __init__(self, info: VideoInfo, fps: Fraction, source_indices: np.ndarray, notes: tuple[str, ...]) -> None:
        self.info = info
        self.height, self.width, self.fps = info.height, info.width, fps
        self.source_indices = source_indices
        self.notes = notes

    def __len__(self) -> int:
        return len(self.source_indices)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield [H, W, 3], 0 to 255, uint8 RGB."""
        wanted = iter(self.source_indices)
        index = next(wanted, None)
        for number, frame in enumerate(_decode(self.info.path)):
            if index is None:
                return
            if number < index:
                continue
            picture = _upright(frame, self.info)
            while index == number:
                yield picture
                index = next(wanted, None)

    def read(self) -> np.ndarray:
        """Decode all of it: [T, H, W, 3], 0 to 255, uint8 RGB."""
        return np.stack(list(self))

    def at(self, frames: slice | Sequence[int] | np.ndarray) -> Clip:
        """Return some of the frames, in rising order, as a clip."""
        chosen = frames if isinstance(frames, slice) else np.asarray(frames, dtype=int)
        return Clip(self.info, self.fps, self.source_indices[chosen], ())


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
        with self._lock:
            if self._container is None:
                self._container = av.open(str(info.path))
                self._stream = video_stream(self._container, info.path)
                self._stream.thread_type = "SLICE"  # threads that share a frame: others begin with several
            frame = self._find(info, index)
        if frame is None:  # the file's times do not lead there: its frames are counted
            return next(iter(self._clip.at([t])))
        return _upright(frame, info)

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
    """All frames of a film, [T, H, W, 3] uint8 RGB, and its rate."""

    frames: np.ndarray
    fps: Fraction


def probe_video(path: Path | str) -> VideoInfo:
    """Count and measure a film by decoding it once (headers lie, and MKV's hold no count); kept until the file changes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a film, or one without a frame.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"video {path} does not exist; check the path")
    if not path.is_file():
        raise ValueError(f"video must be a file, got the folder {path}; name the film in it")
    facts = path.stat()
    return _probe(path.resolve(), facts.st_mtime_ns, facts.st_size)


def open_clip(
    path: Path | str, *, start_s: float = 0.0, max_frames: int | None = None, fps: Fraction | None = None
) -> Clip:
    """Open a stretch of a film at a constant rate.

    Args:
        path: the file.
        start_s: seconds to skip.
        max_frames: frames of the clip at most; None takes all.
        fps: frames per second of the clip; None: the film's own (of a film with varying rate its average).

    Raises:
        FileNotFoundError, ValueError: as `probe_video`, and if nothing of the film is left.
    """
    info = probe_video(path)
    if max_frames is not None and max_frames < 1:
        raise ValueError(f"max_frames must be at least 1, got {max_frames}; use 1 or None")
    if fps is not None and fps <= 0:
        raise ValueError(f"fps must be more than 0, got {fps}; use {info.fps}")
    half_tick = 0.5 / float(info.fps)
    first = next((i for i, time in enumerate(info.times) if time >= start_s - half_tick / 2), None)
    if first is None:
        raise ValueError(f"start_s must lie inside the film, got {start_s} of {info.duration_s:.3f} s; use 0")
    rate, left = fps or info.fps, info.num_frames - first
    notes = list(info.notes)
    if info.variable_rate:  # the frame that is on the screen at each tick
        times = np.array(info.times[first:]) - info.times[first]
        ticks = np.arange(max(1, int((info.duration_s - info.times[first]) * float(rate) + 1e-6))) / float(rate)
        indices = np.searchsorted(times, ticks + half_tick / 50, side="right") - 1
        notes.append(
            f"the film's rate varies: it was brought to {describe_rate(rate)} frames per second, {left} frames became {len(ticks)}"
        )
    elif rate == info.fps:
        indices = np.arange(left)
    else:
        length = int(left / float(info.fps) * float(rate))  # upstream's formula
        if not length:
            raise ValueError(f"fps must leave at least one frame, got {rate} for {left} frames; use {info.fps}")
        indices = frame_indices(left, float(info.fps), length, float(rate))
        notes.append(
            f"resampled from {describe_rate(info.fps)} to {describe_rate(rate)} frames per second: {left} frames became {length}"
        )
    if max_frames is not None and len(indices) > max_frames:
        indices = indices[:max_frames]
    if first or len(indices) != info.num_frames:
        notes.append(
            f"the working clip is {len(indices)} frames from second {info.times[first]:.3f} of {info.num_frames} frames"
        )
    return Clip(info, rate, indices + first, tuple(notes))


def read_video(path: Path | str) -> Video:
    """Read a whole film; raises as `open_clip`."""
    clip = open_clip(path)
    return Video(clip.read(), clip.fps)


def read_comment(path: Path | str) -> str | None:
    """Return the comment tag of a film, None where it has none."""
    return read_tags(path).get("comment")


def read_tags(path: Path | str) -> dict[str, str]:
    """Return the tags of a film's container, names in lower case.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a film.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"video {path} does not exist; check the path")
    with open_container(path) as container:
        return {name.lower(): value for name, value in container.metadata.items()}


@functools.lru_cache(maxsize=64)
def _probe(path: Path, _mtime: int, _size: int) -> VideoInfo:
    with open_container(path) as container:
        stream = video_stream(container, path)
        notes = []
        films = [s for s in container.streams.video if not s.disposition & ATTACHED_PICTURE]
        if len(films) > 1:
            notes.append(f"{path.name} holds {len(films)} films: track {stream.index}, the largest, was taken")
        rate = stream.average_rate or stream.guessed_rate
        has_audio = bool(container.streams.audio)
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
        first, stamps, last = None, [], 0.0
        with contextlib.closing(_frames(container, stream)) as frames:
            for frame in frames:
                first = frame if first is None else first
                last = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0
                stamps.append(float(frame.time) if frame.time is not None else np.nan)
        if first is None:
            raise ValueError(f"video must hold at least one frame, got none in {path}; export the film again")
        rotation, mirrored = _turn(first)
        height, width = first.height, max(1, round(first.width * Fraction(aspect or 1)))
        aspect = Fraction(aspect) if width != first.width else Fraction(1)
        if rotation % 180:
            height, width = width, height
        reading = colour.reading(first)
    times = np.array(stamps)
    if np.isnan(times).any():
        times = np.arange(len(stamps)) / float(rate or 25)
    start = times[0]
    times = times - start
    gaps = np.diff(times)
    if len(gaps):
        typical = float(np.median(gaps))
        variable = bool(np.abs(gaps - typical).max() > max(0.0015, 0.1 * typical))  # containers count in milliseconds
        if variable or not rate or abs(typical * float(rate) - 1) > 0.05:
            rate = Fraction((len(times) - 1) / float(times[-1])).limit_denominator(1001)
    else:
        variable, typical = False, last or (1 / float(rate) if rate else 0.04)
    rate = Fraction(rate or 25)
    duration = float(times[-1]) + (last if variable and last else 1 / float(rate))
    if aspect != 1:
        notes.append(f"{path.name} has pixels of shape {aspect}: it was stretched to {height}x{width} (height x width)")
    if reading.note:
        notes.append(f"{path.name} {reading.note}")
    return VideoInfo(
        path, height, width, rate, len(times), duration, rotation, mirrored, aspect, variable, has_audio, reading.name,
        tuple(notes), tuple(times.tolist()), float(start),
    )  # fmt: skip


@contextlib.contextmanager
def open_container(path: Path) -> Iterator[Any]:
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(
            f"video must be a film that can be read (mp4, mov, mkv, webm, …), got {path}: {reason_of(error)}; export it as mp4"
        ) from None
    try:
        yield container
    finally:
        container.close()


def video_stream(container: Any, path: Path) -> Any:
    """Return the film among a file's streams: not a cover picture, the largest of several."""
    films = [s for s in container.streams.video if not s.disposition & ATTACHED_PICTURE and s.codec_context is not None]
    if not films:
        what = "only sound" if container.streams.audio else "no film"
        raise ValueError(f"video must hold a film, got {what} in {path}; name another file")
    chosen = max(films, key=lambda stream: stream.codec_context.height * stream.codec_context.width)
    chosen.thread_type = "AUTO"
    return chosen


def _frames(container: Any, stream: Any) -> Generator[Any]:
    """Decode one stream; a broken place ends the film where it is, as players do."""
    decoded = 0
    try:
        for frame in container.decode(stream):
            decoded += 1
            yield frame
    except av.error.FFmpegError as error:
        if not decoded:
            raise ValueError(
                f"video must be a film that can be decoded, got {container.name}: {reason_of(error)}; export it as mp4"
            ) from None


def _decode(path: Path) -> Iterator[Any]:
    with open_container(path) as container:
        yield from _frames(container, video_stream(container, path))


def _turn(frame: Any) -> tuple[int, bool]:
    """Return (degrees counter-clockwise, mirrored); libav's angle alone does not tell a mirror."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].astype(float)
    mirrored = a * d - b * c < 0
    if mirrored:  # the matrix is a left-right flip followed by a turn
        a, b = -a, -b
    degrees = round(np.degrees(np.arctan2(-b, a)) / 90) * 90 % 360
    return int(degrees), bool(mirrored)


def _upright(frame: Any, info: VideoInfo) -> np.ndarray:
    """Return a decoded frame as a screen shows it: [H, W, 3], uint8 RGB."""
    picture = colour.to_rgb(frame)
    if info.pixel_aspect != 1:
        width = info.width if info.rotation % 180 == 0 else info.height
        picture = cv2.resize(picture, (width, picture.shape[0]), interpolation=cv2.INTER_LINEAR)
    if info.mirrored:
        picture = picture[:, ::-1]
    return np.ascontiguousarray(np.rot90(picture, info.rotation // 90))


def reason_of(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
