"""Write videos: H.264 for other tools, FFV1 as lossless masters, sound beside the images."""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from wanlab import files
from wanlab.media.decode import open_container, reason_of, video_stream
from wanlab.media.probe import probe_video
from wanlab.media.sound import AudioStretch, Sound, add_sound_stream, decode_sound, mux_sound
from wanlab.media.video import open_clip

CRF = 14  # visually lossless: exports are read back by other tools


def write_video(
    path: Path | str,
    frames: Iterable[np.ndarray],
    fps: Fraction,
    *,
    lossless: bool = False,
    for_player: bool = False,
    crf: int = CRF,
    comment: str | None = None,
    audio: AudioStretch | None = None,
) -> int:
    """Write a video, completely or not at all: H.264 in mp4 for players, or FFV1 in mkv, which gives every bit back.

    Args:
        path: the file, `.mp4` or, if lossless, `.mkv`.
        frames: [H, W, 3] each, 0 to 255, uint8 RGB, all of one size; H.264 needs even sides.
        fps: frames per second.
        lossless: FFV1 instead of H.264.
        for_player: H.264 that is small and quick to seek, for players in a page, instead of visually lossless.
        crf: of H.264 that is not for a player: x264's constant rate factor, 0 to 51; less is better and larger.
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
        Path(path),
        lambda part: sum(
            1 for _ in _encoded(part, frames, Fraction(fps), lossless, for_player, crf, comment, decode_sound(audio))
        ),
    )


def write_pair(master: Path | str, export: Path | str, frames: Iterable[np.ndarray], fps: Fraction) -> int:
    """Write the same frames as FFV1 and as H.264, frame by frame: none is decoded again for the second file.

    Args:
        master: the `.mkv` file, lossless.
        export: the `.mp4` file.
        frames: [H, W, 3] each, 0 to 255, uint8 RGB, all of one size with even sides; read once.
        fps: frames per second.

    Returns:
        the number of frames.

    Raises:
        ValueError, OSError: as `write_video`.
    """

    def write(whole: Path, part: Path) -> int:
        passed = _encoded(whole, frames, Fraction(fps), True, False, CRF, None, None)
        return sum(1 for _ in _encoded(part, passed, Fraction(fps), False, False, CRF, None, None))

    return _whole(Path(export), lambda part: _whole(Path(master), lambda whole: write(whole, part)))


def remux(
    source: Path | str,
    path: Path | str,
    fps: Fraction,
    *,
    comment: str | None = None,
    audio: AudioStretch | None = None,
) -> int:
    """Copy a video's coded images into an mp4 at another rate, bit for bit, completely or not at all.

    Args:
        source: a video of a constant rate, of a codec that mp4 takes.
        path: the mp4.
        fps: frames per second that the copy plays at.
        comment: text for the file's comment tag.
        audio: sound to carry over; a file without sound gives none.

    Returns:
        the number of frames.

    Raises:
        OSError, ValueError: as `write_video`, and if the source cannot be read.
    """
    rate, sound = probe_video(source).fps, decode_sound(audio)
    return _whole(Path(path), lambda part: _copy(Path(source), rate, part, Fraction(fps), comment, sound))


def join(parts: Sequence[Path], path: Path | str, fps: Fraction) -> int:
    """Write lossless videos one behind the other, completely or not at all: their coded images are copied bit for bit.

    The file is the one that `write_video` makes of all their frames. Parts that were encoded in different ways, as
    where another version went on with a run, are decoded and encoded again.

    Args:
        parts: videos that `write_video` wrote with `lossless`, in order.
        path: `.mkv`.
        fps: frames per second.

    Returns:
        the number of frames.

    Raises:
        OSError, ValueError: as `write_video`, and if a part cannot be read.
    """
    if len({_coding(part) for part in parts}) == 1:
        return _whole(Path(path), lambda whole: _append(parts, whole, Fraction(fps)))
    frames = itertools.chain.from_iterable(open_clip(part) for part in parts)
    return write_video(path, frames, fps, lossless=True)


def rewrap(source: Path | str, path: Path | str) -> int:
    """Copy a video's coded images and sound into the container that the ending of `path` names, completely or not at all.

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
        with open_container(Path(source)) as given:
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


def _encoded(
    part: Path,
    frames: Iterable[np.ndarray],
    fps: Fraction,
    lossless: bool,
    for_player: bool,
    crf: int,
    comment: str | None,
    sound: Sound | None,
) -> Iterator[np.ndarray]:
    """Yield each frame when it is encoded; the file is complete when all are."""
    count, size = 0, None
    with _container(part, comment, lossless) as container:
        stream = sound_stream = None
        for frame in frames:
            if stream is None:
                size = frame.shape
                stream = _video_stream(container, fps, size[0], size[1], lossless, for_player, crf)
                sound_stream = add_sound_stream(container, sound, lossless)
            if frame.shape != size or frame.dtype != np.uint8:
                raise ValueError(
                    f"frames must all be {size} uint8, got {frame.shape} {frame.dtype} at {count}; resize them first"
                )
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if lossless:
                image = image.reformat(format="bgr0")
            else:
                image = image.reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709,
                    src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG,
                )  # fmt: skip
                image.colorspace, image.color_range = Colorspace.ITU709, ColorRange.MPEG
            image.pts, image.time_base = count, 1 / fps
            container.mux(stream.encode(image))
            count += 1
            yield frame
        if stream is None:
            raise ValueError(f"frames must hold at least one frame for {part.name}, got none; write a longer stretch")
        container.mux(stream.encode(None))
        mux_sound(container, sound_stream, sound)


def _copy(source: Path, rate: Fraction, part: Path, fps: Fraction, comment: str | None, sound: Sound | None) -> int:
    count = 0
    with open_container(source) as given, _container(part, comment, lossless=False) as container:
        track = video_stream(given, source)
        stream = container.add_stream_from_template(track)
        stream.time_base = 1 / fps
        sound_stream = add_sound_stream(container, sound, lossless=False)
        for packet in given.demux(track):
            if packet.size and packet.pts is not None:
                packet.pts, packet.dts = (round(t * packet.time_base * rate) for t in (packet.pts, packet.dts))
                packet.duration, packet.time_base, packet.stream = 1, 1 / fps, stream
                container.mux(packet)
                count += 1
        mux_sound(container, sound_stream, sound)
    return count


def _coding(part: Path) -> tuple[Any, ...]:
    """Return what the coded images of a video need of their decoder; equal ones may stand in one stream."""
    with open_container(part) as container:
        context = video_stream(container, part).codec_context
        return context.name, context.pix_fmt, context.height, context.width, context.extradata


def _append(parts: Sequence[Path], whole: Path, fps: Fraction) -> int:
    count, stream = 0, None
    with _container(whole, None, lossless=True) as container:
        for part in parts:
            with open_container(part) as given:
                track = video_stream(given, part)
                if stream is None:
                    stream = container.add_stream_from_template(track)
                    stream.codec_context.framerate, stream.time_base = fps, 1 / fps
                for packet in given.demux(track):
                    if packet.size:  # each image is coded by itself and shown in its turn
                        packet.pts = packet.dts = count
                        packet.duration, packet.time_base, packet.stream = 1, 1 / fps, stream
                        container.mux(packet)
                        count += 1
    return count


def _whole(path: Path, write: Callable[[Path], int]) -> int:
    """Write a file beside `path` and move it there when it is complete; return the number of frames, as `write` does."""
    try:
        with files.writing(path) as part:
            count = write(part)
            if _count_packets(part) != count:  # a full disk is not always an error when a container is closed
                raise OSError(errno.ENOSPC, "the file is cut off")
    except (OSError, av.error.FFmpegError) as error:
        raise write_error(error, path) from error
    return count


@contextlib.contextmanager
def _container(part: Path, comment: str | None, lossless: bool) -> Iterator[Any]:
    # bitexact: Matroska's writer puts random numbers and the date into a file otherwise; equal videos are equal files
    options = {"fflags": "+bitexact"} if lossless else {"movflags": "+faststart+use_metadata_tags"}
    with contextlib.closing(av.open(str(part), "w", options=options)) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        yield container


def _video_stream(
    container: Any, fps: Fraction, height: int, width: int, lossless: bool, for_player: bool, crf: int
) -> Any:
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
        # g: a seek decodes at most 12 frames.
        # mbtree (x264's lookahead) reads memory that it never wrote, so that equal frames give other bytes: without it
        # exports are equal, and grow (masks by 5 to 8 %, videos by 36 to 59 %). A page's previews promise no bytes.
        exported = {"crf": str(crf), "preset": "medium", "x264-params": "mbtree=0"}
        stream.options = {"crf": "20", "g": "12"} if for_player else exported
        context = stream.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries = context.color_trc = 1  # BT.709
    return stream


def _count_packets(path: Path) -> int:
    with open_container(path) as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)


def write_error(error: Exception, path: Path) -> OSError:
    if isinstance(error, NotADirectoryError):
        return error
    number = getattr(error, "errno", None)
    if number in files.FULL_DISK:
        return files.explained(OSError(number, ""), path)
    return OSError(number or 0, f"{path.name} cannot be written: {reason_of(error)}; check the folder")
