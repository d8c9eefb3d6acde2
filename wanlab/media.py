"""Reading and writing film and pictures: what a player shows, frame by frame, and files that are whole or not there.

A film is an iterable of [H, W, 3] uint8 RGB frames; a `Clip` decodes them on demand, so a long one never has to fit in
memory. Turned, mirrored, stretched, untagged and HDR sources come out upright, square, and in the colours of a screen.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import functools
import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from wanlab import colour, files
from wanlab.resize import frame_indices

Sound = tuple[list[Any], int]  # frames of 16-bit stereo, samples per second

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


class AudioStretch(NamedTuple):
    """The sound of the file `path` from `start_s` of its film on, `duration_s` seconds long."""

    path: Path
    start_s: float
    duration_s: float


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
                self._stream = _film(self._container, info.path)
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


class Image(NamedTuple):
    """A picture, [H, W, 3] uint8 RGB, and what was done to it."""

    pixels: np.ndarray
    notes: tuple[str, ...]


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
            f"the film's rate varies: it was brought to {_decimal(rate)} frames per second, {left} frames became {len(ticks)}"
        )
    elif rate == info.fps:
        indices = np.arange(left)
    else:
        length = int(left / float(info.fps) * float(rate))  # upstream's formula
        if not length:
            raise ValueError(f"fps must leave at least one frame, got {rate} for {left} frames; use {info.fps}")
        indices = frame_indices(left, float(info.fps), length, float(rate))
        notes.append(
            f"resampled from {_decimal(info.fps)} to {_decimal(rate)} frames per second: {left} frames became {length}"
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


def write_video(
    path: Path | str,
    frames: Iterable[np.ndarray],
    fps: Fraction,
    *,
    lossless: bool = False,
    preview: bool = False,
    comment: str | None = None,
    audio: AudioStretch | None = None,
) -> int:
    """Write a film, whole or not at all: H.264 in mp4 for players, or FFV1 in mkv, which gives every bit back.

    Args:
        path: the file, `.mp4` or, if lossless, `.mkv`.
        frames: [H, W, 3] each, 0 to 255, uint8 RGB, all of one size; H.264 needs even sides.
        fps: frames per second.
        lossless: FFV1 instead of H.264.
        preview: H.264 that is small and quick to seek, for players in a page, instead of visually lossless.
        comment: text for the file's comment tag, e.g. the settings.
        audio: sound to carry over; a file without sound gives none.

    Returns:
        the number of frames written.

    Raises:
        ValueError: no frame, another size than the first frame's, an odd side.
        NotADirectoryError: if a part of the path is a regular file.
        OSError: if it cannot be written, e.g. because the disk is full; nothing is left then.
    """
    return _whole(
        Path(path), lambda part: _encode(part, frames, Fraction(fps), lossless, preview, comment, _sound(audio))
    )


def remux(
    source: Path | str,
    path: Path | str,
    fps: Fraction,
    *,
    comment: str | None = None,
    audio: AudioStretch | None = None,
) -> int:
    """Copy a film's coded pictures into an mp4 at another rate, bit for bit, whole or not at all.

    Args:
        source: a film of a constant rate, of a codec that mp4 takes.
        path: the mp4.
        fps: frames per second that the copy plays at.
        comment: text for the file's comment tag.
        audio: sound to carry over; a file without sound gives none.

    Returns:
        the number of frames.

    Raises:
        OSError, ValueError: as `write_video`, and if the source cannot be read.
    """
    rate, sound = probe_video(source).fps, _sound(audio)
    return _whole(Path(path), lambda part: _copy(Path(source), rate, part, Fraction(fps), comment, sound))


def rewrap(source: Path | str, path: Path | str) -> int:
    """Copy a video's coded pictures and sound into the container that the ending of `path` names, whole or not at all.

    Args:
        source: the video.
        path: `.mp4`, `.mov` or `.mkv`.

    Returns:
        the number of frames.

    Raises:
        OSError, ValueError: as `write_video`, and if the source cannot be read.
    """

    def write(part: Path) -> int:
        count = 0
        with _open(Path(source)) as given:
            comment = given.metadata.get("comment")
            with _container(part, comment, lossless=part.suffix.lower() == ".mkv") as container:
                taken = [given.streams.video[0], *given.streams.audio[:1]]
                streams = {stream.index: container.add_stream_from_template(stream) for stream in taken}
                for packet in given.demux(taken):
                    if packet.dts is not None:  # the last of each stream is empty
                        count += packet.stream.type == "video"
                        packet.stream = streams[packet.stream.index]
                        container.mux(packet)
        return count

    return _whole(Path(path), write)


def describe_frames(frames: Iterable[int]) -> str:
    """Write frame numbers as ranges: `frames 3-7, 12`."""
    parts: list[list[int]] = []
    for frame in frames:
        if parts and frame == parts[-1][1] + 1:
            parts[-1][1] = frame
        else:
            parts.append([frame, frame])
    return "frames " + ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


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
    with _open(path) as container:
        return {name.lower(): value for name, value in container.metadata.items()}


def open_image(path: Path | str) -> Image:
    """Read a picture as a viewer shows it, and say what was done: turned by EXIF, alpha over white, 16 bits to 8.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a picture.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps, UnidentifiedImageError

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"image {path} does not exist; check the path")
    if path.is_dir():
        raise ValueError(f"image must be a file, got the folder {path}; name the picture in it")
    try:
        with Pillow.open(path) as opened:
            opened.load()
            notes = []
            if getattr(opened, "n_frames", 1) > 1:
                notes.append(f"{path.name} holds {getattr(opened, 'n_frames', 1)} pictures: the first was taken")
            profile = opened.info.get("icc_profile")
            picture = ImageOps.exif_transpose(opened)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise ValueError(
            f"image must be a readable picture (PNG, JPEG, WebP, …), got {path}: {error}; convert it to PNG"
        ) from None
    if picture.size != opened.size:
        notes.append(f"{path.name} was turned upright as its EXIF tag says")
    if picture.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion turns it white
        values = np.asarray(picture, dtype=np.float64)
        grey = np.round(np.clip(values, 0, 65535) / 257).astype(np.uint8)
        return Image(np.repeat(grey[..., None], 3, axis=2), (*notes, f"{path.name} was reduced from 16 to 8 bits"))
    if picture.mode == "F":
        raise ValueError(f"image must have whole numbers as pixels, got floating point in {path}; convert it to PNG")
    if profile:
        picture = colour.to_srgb(picture, profile)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        solid = picture.convert("RGBA")
        white = Pillow.new("RGBA", solid.size, "white")
        if solid.getextrema()[3][0] < 255:  # type: ignore[index]
            notes.append(f"{path.name} is see-through in places: they became white")
        picture = Pillow.alpha_composite(white, solid)
    return Image(np.asarray(picture.convert("RGB")), tuple(notes))


def read_image(path: Path | str) -> np.ndarray:
    """Read a picture: [H, W, 3], 0 to 255, uint8 RGB; raises as `open_image`."""
    return open_image(path).pixels


def write_image(path: Path | str, image: np.ndarray) -> None:
    """Write a picture, whole or not at all; the format is the suffix's.

    Args:
        path: the file.
        image: [H, W, 3], 0 to 255, uint8 RGB.

    Raises:
        OSError: if it cannot be written; nothing is left then.
    """
    from PIL import Image as Pillow

    path = Path(path)
    try:
        with files.writing(path) as part:
            Pillow.fromarray(image).save(part)
    except OSError as error:
        raise _write_error(error, path) from error


@functools.lru_cache(maxsize=64)
def _probe(path: Path, _mtime: int, _size: int) -> VideoInfo:
    with _open(path) as container:
        stream = _film(container, path)
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
def _open(path: Path) -> Iterator[Any]:
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(
            f"video must be a film that can be read (mp4, mov, mkv, webm, …), got {path}: {_reason(error)}; export it as mp4"
        ) from None
    try:
        yield container
    finally:
        container.close()


def _film(container: Any, path: Path) -> Any:
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
                f"video must be a film that can be decoded, got {container.name}: {_reason(error)}; export it as mp4"
            ) from None


def _decode(path: Path) -> Iterator[Any]:
    with _open(path) as container:
        yield from _frames(container, _film(container, path))


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


def _encode(
    part: Path,
    frames: Iterable[np.ndarray],
    fps: Fraction,
    lossless: bool,
    preview: bool,
    comment: str | None,
    sound: Sound | None,
) -> int:
    count, size = 0, None
    with _container(part, comment, lossless) as container:
        stream = sound_stream = None
        for frame in frames:
            if stream is None:
                size = frame.shape
                stream = _video_stream(container, fps, size[0], size[1], lossless, preview)
                sound_stream = _sound_stream(container, sound, lossless)
            if frame.shape != size or frame.dtype != np.uint8:
                raise ValueError(
                    f"frames must all be {size} uint8, got {frame.shape} {frame.dtype} at {count}; resize them first"
                )
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if lossless:
                picture = picture.reformat(format="bgr0")
            else:
                picture = picture.reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709,
                    src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG,
                )  # fmt: skip
                picture.colorspace, picture.color_range = Colorspace.ITU709, ColorRange.MPEG
            picture.pts, picture.time_base = count, 1 / fps
            container.mux(stream.encode(picture))
            count += 1
        if stream is None:
            raise ValueError(f"frames must hold at least one frame for {part.name}, got none; write a longer stretch")
        container.mux(stream.encode(None))
        _mux_sound(container, sound_stream, sound)
    return count


def _copy(source: Path, rate: Fraction, part: Path, fps: Fraction, comment: str | None, sound: Sound | None) -> int:
    count = 0
    with _open(source) as given, _container(part, comment, lossless=False) as container:
        film = _film(given, source)
        stream = container.add_stream_from_template(film)
        stream.time_base = 1 / fps
        sound_stream = _sound_stream(container, sound, lossless=False)
        for packet in given.demux(film):
            if packet.size and packet.pts is not None:
                packet.pts, packet.dts = (round(t * packet.time_base * rate) for t in (packet.pts, packet.dts))
                packet.duration, packet.time_base, packet.stream = 1, 1 / fps, stream
                container.mux(packet)
                count += 1
        _mux_sound(container, sound_stream, sound)
    return count


def _whole(path: Path, write: Callable[[Path], int]) -> int:
    """Have a file written beside `path` and put it there when it is whole; return the number of frames, as `write` does."""
    try:
        with files.writing(path) as part:
            count = write(part)
            if _count_packets(part) != count:  # a full disk is not always an error when a container is closed
                raise OSError(errno.ENOSPC, "the file is cut off")
    except (OSError, av.error.FFmpegError) as error:
        raise _write_error(error, path) from error
    return count


@contextlib.contextmanager
def _container(part: Path, comment: str | None, lossless: bool) -> Iterator[Any]:
    # bitexact: Matroska's writer puts random numbers and the date into a file otherwise; equal films are equal files
    options = {"fflags": "+bitexact"} if lossless else {"movflags": "+faststart+use_metadata_tags"}
    with contextlib.closing(av.open(str(part), "w", options=options)) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        yield container


def _video_stream(container: Any, fps: Fraction, height: int, width: int, lossless: bool, preview: bool) -> Any:
    if not lossless and (height % 2 or width % 2):
        near = f"{height + height % 2}x{width + width % 2}"
        raise ValueError(f"H.264 needs even sides, got {height}x{width} (height x width); use {near} or lossless=True")
    stream = container.add_stream("ffv1" if lossless else "libx264", rate=fps)
    stream.height, stream.width = height, width
    stream.time_base = 1 / fps
    if lossless:
        stream.pix_fmt = "bgr0"
        stream.options = {"level": "3", "slicecrc": "1", "g": "1"}  # g: each frame decodes by itself; it costs 0.2 %
    else:
        stream.pix_fmt = "yuv420p"
        # 14: visually lossless, exports are read back by other tools; g: a seek decodes at most 12 frames.
        # mbtree (x264's lookahead) reads memory that it never wrote, so that equal frames give other bytes: without it
        # exports are equal, and grow (masks by 5 to 8 %, films by 36 to 59 %). A page's previews promise no bytes.
        exported = {"crf": "14", "preset": "medium", "x264-params": "mbtree=0"}
        stream.options = {"crf": "20", "g": "12"} if preview else exported
        context = stream.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries = context.color_trc = 1  # BT.709
    return stream


def _sound(audio: AudioStretch | None) -> Sound | None:
    """Decode a stretch of sound to frames of 16-bit stereo that start at time 0; None where the file has none."""
    if audio is None:
        return None
    info = probe_video(audio.path)
    if not info.has_audio:
        return None
    with _open(audio.path) as container:
        source = container.streams.best("audio")
        if source is None or source.codec_context is None:
            return None
        rate = source.codec_context.sample_rate or 48000
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=rate)
        begin = info.start_s + audio.start_s
        wanted = round(audio.duration_s * rate)
        samples = np.zeros((wanted, 2), np.int16)
        position = None
        for frame in container.decode(source):
            if position is None:
                position = round((float(frame.time or 0.0) - begin) * rate)
            for block in resampler.resample(frame):
                values = block.to_ndarray().reshape(-1, 2)
                low, high = max(position, 0), min(position + len(values), wanted)
                if low < high:
                    samples[low:high] = values[low - position : high - position]
                position += len(values)
            if position >= wanted:
                break
    blocks = []
    for start in range(0, wanted, 1024):
        block = av.AudioFrame.from_ndarray(samples[start : start + 1024].reshape(1, -1), format="s16", layout="stereo")
        block.sample_rate, block.pts, block.time_base = rate, start, Fraction(1, rate)
        blocks.append(block)
    return blocks, rate


def _sound_stream(container: Any, sound: Sound | None, lossless: bool) -> Any:
    if sound is None or not sound[0]:
        return None
    stream = container.add_stream("flac" if lossless else "aac", rate=sound[1])
    stream.layout = "stereo"
    return stream


def _mux_sound(container: Any, stream: Any, sound: Sound | None) -> None:
    if stream is None or sound is None:
        return
    for block in (*sound[0], None):  # None: the encoder's rest
        container.mux(stream.encode(block))


def _count_packets(path: Path) -> int:
    with _open(path) as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)


def _write_error(error: Exception, path: Path) -> OSError:
    if isinstance(error, NotADirectoryError):
        return error
    number = getattr(error, "errno", None)
    if number in files.FULL_DISK:
        return files.explained(OSError(number, ""), path)
    return OSError(number or 0, f"{path.name} cannot be written: {_reason(error)}; check the folder")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _decimal(fps: Fraction) -> str:
    return f"{float(fps):.3f}".rstrip("0").rstrip(".")
