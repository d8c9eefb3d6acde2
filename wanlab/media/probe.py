"""Facts about a video, counted and read by decoding it once: headers lie."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wanlab.media import clock, colour
from wanlab.media.decode import ATTACHED_PICTURE, Step, open_container, steps, video_stream
from wanlab.media.describe import describe_frames
from wanlab.media.look import Look, describe_bars

MAX_PIXELS = 8192 * 4320  # of a frame: 8K
MAX_ASPECT = 4  # of a pixel: a header that says more is damaged
HIDDEN = ("vp8", "vp9", "av1")  # codecs whose packets need not show a frame


class VideoInfo(NamedTuple):
    """Facts about a video file, all of them counted or read, none guessed from a header.

    Attributes:
        path: the file.
        height, width, pixel_aspect: as a player shows it, turned and with square pixels.
        fps: frames per second: of the even clock that its time stamps are on or near, else the average.
        num_frames: frames that could be decoded.
        duration_s: seconds.
        rotation, mirrored: degrees counter-clockwise that the stored frame is turned by, after a flip from left to right.
        variable_rate: whether frames stand for different times.
        has_audio: whether there is a sound track, decodable or not.
        colour: how its numbers are read.
        notes: what a reader must know, a sentence each.
        times, shown: [T], seconds after the first frame: as in the file; on its even clock.
        start_s: second of the first frame in the file.
        stored: height and width of a decoded frame before it is turned and stretched.
        interlaced: how that is known; empty if it is not.
        damaged: whether some of it could not be decoded.
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
    shown: tuple[float, ...]
    start_s: float
    stored: tuple[int, int]
    interlaced: str
    damaged: bool

    def clock(self) -> clock.Clock:
        """Return when its frames are shown."""
        return clock.Clock(self.times, self.shown, self.fps, self.start_s, not self.variable_rate, ())


def probe_video(path: Path | str) -> VideoInfo:
    """Count and measure a video by decoding it once (MKV's headers hold no count); kept until the file changes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a video, or one without a frame, or its frames are larger than 8K.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"video {path} does not exist; check the path")
    if not path.is_file():
        raise ValueError(f"video must be a file, got the folder {path}; name the video in it")
    facts = path.stat()
    return _probe(path.resolve(), facts.st_mtime_ns, facts.st_size)


@functools.lru_cache(maxsize=64)
def _probe(path: Path, _mtime: int, _size: int) -> VideoInfo:
    decoded = _Decoded(path)
    decoded.read(careful=False, strict=True)
    damage: tuple[str, ...] = ()
    if decoded.faults:
        strict = _Decoded(path)
        strict.read(careful=True, strict=True)
        decoded = _Decoded(path)
        decoded.read(careful=True, strict=False)
        damage = _damage(decoded, {pts for pts, _ in strict.faults if pts is not None})
    elif decoded.codec not in HIDDEN:
        damage = _damage(decoded, set())
    first = decoded.first
    if first is None:
        fault = next((f": {text}" for _, text in decoded.faults), "")
        raise ValueError(
            f"video must hold at least one frame that can be decoded, got none in {path}{fault}; export the video again"
        )
    when = clock.read_clock(decoded.stamps, decoded.rates)
    rotation, mirrored = _turn(first)
    aspect, height, width, shape_notes = _shape(decoded, rotation)
    reading = colour.reading(first)
    last = min(decoded.last_s, clock.MAX_HOLD_S)
    duration = when.shown[-1] + (last if not when.even and last else 1 / float(when.fps))
    turns = [f"was turned by {360 - rotation} degrees clockwise, as its header says"] if rotation else []
    turns += ["was mirrored (left and right exchanged), as its header says"] if mirrored else []
    sentences = (
        *decoded.notes(), *turns, *shape_notes, *([reading.note] if reading.note else []), *damage, *when.notes,
        *_short_end(decoded, when),
    )  # fmt: skip
    return VideoInfo(
        path, height, width, when.fps, len(when.times), duration, rotation, mirrored, aspect, not when.even,
        decoded.has_audio, reading.name, tuple(f"{path.name} {said}" for said in sentences), when.times, when.shown,
        when.start_s, (first.height, first.width), decoded.interlaced(), bool(decoded.faults),
    )  # fmt: skip


class _Decoded:
    """What decoding a file's video from its first to its last packet tells; no frame is kept but the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first: Any = None
        self.stamps: list[float] = []
        self.last_s = 0.0
        self.packets: list[int] = []
        self.shown: set[int] = set()
        self.num_packets = 0
        self.faults: list[tuple[int | None, str]] = []
        self.sizes: dict[tuple[int, int], list[int]] = {}
        self._flagged = 0
        self._look = Look()
        self._clear = 0.0  # share of a frame that is transparent, at most

    def read(self, *, careful: bool, strict: bool) -> None:
        """Decode the file; a quick strict read ends at the first fault."""
        with open_container(self.path) as container:
            if container.format.name.endswith("_pipe") or container.format.name == "image2":
                raise ValueError(f"video must be a video, got the image {self.path}; name a video, e.g. an mp4")
            stream = video_stream(container, self.path)
            coded = stream.codec_context
            if coded.width * coded.height > MAX_PIXELS:
                raise ValueError(
                    f"video must have frames of at most 8192x4320 pixels, got {coded.width}x{coded.height} in {self.path}; "
                    "export it smaller"
                )
            self.codec, self.track = coded.name, stream.index
            self.num_films = sum(not s.disposition & ATTACHED_PICTURE for s in container.streams.video)
            self.rates = (stream.guessed_rate, stream.average_rate)
            self.has_audio = bool(container.streams.audio)
            self.aspect = Fraction(stream.sample_aspect_ratio or coded.sample_aspect_ratio or 1)
            self.hides_alpha = stream.metadata.get("alpha_mode") == "1"
            self.time_base = stream.time_base
            self.promised_s = _promised_s(container, stream)
            for step in steps(container, stream, careful=careful, strict=strict):
                self._take(step)
                if self.faults and strict and not careful:
                    return

    def _take(self, step: Step) -> None:
        self.num_packets += step.coded
        if step.coded and step.pts is not None:
            self.packets.append(step.pts)
        if step.fault:
            self.faults.append((step.pts, step.fault))
        for frame in step.frames:
            number = len(self.stamps)
            self.first = frame if self.first is None else self.first
            self.last_s = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0
            self.stamps.append(float(frame.time) if frame.time is not None else float("nan"))
            if frame.pts is not None:
                self.shown.add(frame.pts)
            self.sizes.setdefault((frame.height, frame.width), []).append(number)
            self._flagged += bool(frame.interlaced_frame)
            if self._look.wants(number):
                self._look.take(number, frame.reformat(format="gray").to_ndarray())
                if colour.has_alpha(frame):
                    self._clear = max(self._clear, float((colour.alpha(frame) < 255).mean()))

    def interlaced(self) -> str:
        """Return how it is known that frames hold two moments; empty if it is not."""
        if self._flagged:
            return f"{self._flagged} of {len(self.stamps)} frames are flagged so"
        return "its frames are combed: woven of two moments, line by line, without a flag" if self._combs() else ""

    def _combs(self) -> bool:
        return self._look.combed and self.codec != "gif"  # whose few colours are woven themselves

    def notes(self) -> list[str]:
        """Return what a reader must know of the frames as they are stored, without the file's name."""
        found = []
        if self.num_films > 1:
            found.append(f"holds {self.num_films} videos: track {self.track}, the largest, was taken")
        for size, frames in list(self.sizes.items())[1:]:
            height, width = next(iter(self.sizes))
            found.append(
                f"changes its size: {describe_frames(frames)} are {size[0]}x{size[1]} (height x width) and were fitted into "
                f"the {height}x{width} of the first"
            )
        if self._clear:
            found.append(f"is transparent in up to {100 * self._clear:.0f} % of a frame: it was laid on black")
        if self.hides_alpha and not self._clear:
            found.append("says that it holds transparency, which is not read: all of it is shown as solid")
        if bars := describe_bars(self._look.bars()):
            found.append(f"has {bars}; they are kept as part of the frames, so crop them first if they shall not count")
        return found


def _damage(decoded: _Decoded, faulty: set[int]) -> tuple[str, ...]:
    """Return what is missing in a video, and what was decoded with errors.

    Args:
        decoded: as much of it as could be decoded.
        faulty: time stamps of the packets that a strict decoder refuses.
    """
    notes = []
    packets = sorted(set(decoded.packets))
    number = {pts: n for n, pts in enumerate(packets)}
    missing = [pts for pts in packets if pts not in decoded.shown]
    lost = decoded.num_packets - len(decoded.stamps)
    if missing and lost > 0 and decoded.shown:
        first, last = min(decoded.shown), max(decoded.shown)
        for lost_there, instead in (
            ([pts for pts in missing if pts < first], "it begins after them"),
            ([pts for pts in missing if first < pts < last], "the frame before is shown in their place"),
            ([pts for pts in missing if pts > last], "it ends before them"),
        ):
            if lost_there:
                notes.append(
                    f"is damaged: {len(lost_there)} of {decoded.num_packets} frames could not be decoded "
                    f"({_place(lost_there, number, decoded)}); {instead}"
                )
    elif lost > 0 and decoded.faults:
        notes.append(f"is damaged: {lost} of {decoded.num_packets} frames could not be decoded and are missing")
    smeared = [pts for pts in packets if pts in faulty and pts in decoded.shown]
    if smeared:
        notes.append(
            f"is damaged: data of {len(smeared)} of {decoded.num_packets} frames are wrong ({_place(smeared, number, decoded)}); "
            "they and those up to the next key frame may be smeared"
        )
    if decoded.faults and decoded.faults[-1][0] is None and decoded.stamps:
        reason = decoded.faults[-1][1]
        notes.append(
            f"is damaged: after frame {len(decoded.stamps) - 1} (second {decoded.stamps[-1]:.3f}) it cannot be read ({reason}); "
            "what follows is missing"
        )
    return tuple(notes)


def _place(stamps: Sequence[int], number: dict[int, int], decoded: _Decoded) -> str:
    """Return frame numbers and seconds of time stamps: `frames 25-27, seconds 1.000 to 1.080`."""
    first, last = (float(pts * decoded.time_base) for pts in (stamps[0], stamps[-1]))
    return f"{describe_frames(number[pts] for pts in stamps)}, seconds {first:.3f} to {last:.3f}"


def _promised_s(container: Any, stream: Any) -> float | None:
    """Return how many seconds the video lasts by the header; None where it does not tell."""
    tag = stream.metadata.get("DURATION", "")
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if tag.count(":") == 2:
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return container.duration / 1e6 if container.duration and not container.streams.audio else None


def _short_end(decoded: _Decoded, when: clock.Clock) -> tuple[str, ...]:
    """Say where a video ends before its header says."""
    end = when.times[-1] + max(decoded.last_s, 1 / float(when.fps))
    missing = (decoded.promised_s or 0.0) - end - max(when.start_s, 0.0)
    if missing < max(0.25, 3 / float(when.fps)) or any("leap" in note for note in when.notes):
        return ()
    return (
        f"is cut off: it ends at second {end:.3f} after {len(when.times)} frames, its header promises {end + missing:.3f} s; "
        f"about {round(missing * float(when.fps))} frames at its end are missing",
    )


def _shape(decoded: _Decoded, rotation: int) -> tuple[Fraction, int, int, list[str]]:
    """Return the pixels' aspect, height and width as a player shows them, and what was done for it."""
    first, aspect, notes = decoded.first, decoded.aspect, []
    if not 1 / MAX_ASPECT <= aspect <= MAX_ASPECT:
        notes.append(f"says that its pixels have the shape {aspect}, which cannot be: they were taken as square")
        aspect = Fraction(1)
    height, width = first.height, max(1, round(first.width * aspect))
    aspect = aspect if width != first.width else Fraction(1)
    if rotation % 180:
        height, width = width, height
    if aspect != 1:
        notes.append(f"has pixels of shape {aspect}: it was stretched to {height}x{width} (height x width)")
    return aspect, height, width, notes


def _turn(frame: Any) -> tuple[int, bool]:
    """Return (degrees counter-clockwise, mirrored); libav's angle alone does not tell a mirror."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # side data of a kind that PyAV does not know
        return round(frame.rotation / 90) * 90 % 360, False
    if matrix is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].astype(float)
    mirrored = a * d - b * c < 0
    if mirrored:  # the matrix is a left-right flip followed by a turn
        a, b = -a, -b
    degrees = round(np.degrees(np.arctan2(-b, a)) / 90) * 90 % 360
    return int(degrees), bool(mirrored)
