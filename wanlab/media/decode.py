"""Open a video's file and decode its frames; a damaged place is gone on behind where the codec can."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import av.filter

ATTACHED_PICTURE = 1024  # libav's disposition of a cover image


class Step(NamedTuple):
    """What one packet gave.

    Attributes:
        frames: decoded.
        pts: time stamp in ticks of the stream.
        coded: whether the packet holds a frame.
        fault: what went wrong, or empty.
    """

    frames: tuple[Any, ...]
    pts: int | None
    coded: bool
    fault: str


@contextlib.contextmanager
def open_container(path: Path) -> Iterator[Any]:
    """Open a file for reading and close it.

    Raises:
        ValueError: if it is none that libav knows.
    """
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(
            f"video must be a readable video file (mp4, mov, mkv, webm, …), got {path}: {reason_of(error)}; export it as mp4"
        ) from None
    try:
        yield container
    finally:
        container.close()


def video_stream(container: Any, path: Path) -> Any:
    """Return the video among a file's streams: not a cover image, the largest of several."""
    videos = [
        s for s in container.streams.video if not s.disposition & ATTACHED_PICTURE and s.codec_context is not None
    ]
    if not videos:
        what = "only sound" if container.streams.audio else "no video"
        raise ValueError(f"video must be a file with a video track, got {what} in {path}; name another file")
    chosen = max(videos, key=lambda stream: stream.codec_context.height * stream.codec_context.width)
    chosen.thread_type = "AUTO"
    return chosen


def steps(container: Any, stream: Any, *, careful: bool = False, strict: bool = False) -> Iterator[Step]:
    """Decode one stream packet by packet, past the places that cannot be decoded.

    Args:
        container, stream: of an open file.
        careful: one thread, so that a damaged file gives the same frames each time.
        strict: count as faulty what the decoder would conceal.
    """
    context = stream.codec_context
    if careful:
        stream.thread_type, context.thread_count = "NONE", 1
    if strict:
        context.options = {"err_detect": "explode"}
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            yield Step((), None, False, reason_of(error))
            return
        coded = bool(packet.size) and not packet.is_discard
        try:
            yield Step(tuple(packet.decode()), packet.pts, coded, "")
        except av.error.FFmpegError as error:
            yield Step((), packet.pts, coded, reason_of(error))


def decode(path: Path, *, careful: bool = False, deinterlace: bool = False) -> Iterator[Any]:
    """Yield the decoded frames of a video.

    Args:
        path: the file.
        careful: see `steps`.
        deinterlace: let the lines of each frame's second field be made from its first one and the neighbouring frames.
    """
    with open_container(path) as container:
        frames = (
            frame for step in steps(container, video_stream(container, path), careful=careful) for frame in step.frames
        )
        yield from _deinterlaced(frames) if deinterlace else frames


def _deinterlaced(frames: Iterator[Any]) -> Iterator[Any]:
    """Yield as many frames as there are; libav's bwdif looks one frame ahead."""
    graph: Any = None
    size = None
    for frame in frames:
        kind = (frame.width, frame.height, frame.format.name)
        if graph is None or kind != size:
            if graph is not None:
                yield from _rest(graph)
            graph, size = _deinterlacer(frame), kind
        graph.push(frame)
        yield from _pulled(graph)
    if graph is not None:
        yield from _rest(graph)


def _deinterlacer(frame: Any) -> Any:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base, name="in"
    )
    # send_frame: one frame a frame; deint all: combed frames often carry no flag
    bwdif, sink = graph.add("bwdif", "mode=send_frame:parity=auto:deint=all"), graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()
    return graph


def _pulled(graph: Any) -> Iterator[Any]:
    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _rest(graph: Any) -> Iterator[Any]:
    graph.push(None)
    yield from _pulled(graph)


def reason_of(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
