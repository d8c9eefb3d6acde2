"""Whether the files of a completed run are still those that its manifest records: a status is believed no further.

A file counts as whole with the recorded SHA-256; a larger one, which has none, with the recorded size and a last frame
that can be decoded. What differs and can be read was put there by somebody: it is theirs.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
from PIL import Image, UnidentifiedImageError

from wanlab import files, runs
from wanlab.files.arrays import UNREADABLE, check_arrays

VIDEOS = (".mp4", ".mkv", ".mov")


class Fault(NamedTuple):
    """What is wrong with a file of a run.

    Attributes:
        file: its name in the run folder.
        readable: whether it is another file that can be read, not a missing or damaged one.
        what: in a few words.
    """

    file: str
    readable: bool
    what: str

    def __str__(self) -> str:
        return f"{self.file} {self.what}"


def faults(run: runs.Run) -> dict[str, Fault]:
    """Return what is wrong with the files of a run by artefact, nothing for those that are complete."""
    found = {name: _fault(run.folder / entry["file"], entry) for name, entry in run.manifest["artefacts"].items()}
    return {name: fault for name, fault in found.items() if fault is not None}


def damaged(run: runs.Run) -> dict[str, Fault]:
    """Return the artefacts of a run that are missing, cut off or cannot be read."""
    return {name: fault for name, fault in faults(run).items() if not fault.readable}


def distrust(run: runs.Run, wrong: Iterable[Fault]) -> None:
    """Have a completed run with damaged files read as failed, so that its step makes them again; print a note.

    Raises:
        BusyError: if another process works on it.
    """
    text = ", ".join(dict.fromkeys(map(str, wrong)))
    run.save(status="failed", error={"type": "DamagedError", "text": text})
    run.news = "continued"
    print(f"note: {run.id} was completed, but {text}: that is made again", flush=True)


def restore(run: runs.Run, wrong: Mapping[str, Fault], make: Callable[[], runs.Run]) -> None:
    """Put files in the place of damaged ones; whatever else lies in the folder is not touched.

    Args:
        run: a completed one.
        wrong: its damaged artefacts.
        make: makes and completes another run of the same settings, which is removed at the end.
    """
    print(f"note: in {run.id} {', '.join(map(str, wrong.values()))}: that is made again", flush=True)
    other = make()
    for fault in wrong.values():
        files.copy(other.folder / fault.file, run.folder / fault.file)
    record_again(run, wrong)
    files.remove_run(other.folder)


def record_again(run: runs.Run, names: Iterable[str]) -> None:
    """Record the size and hash of artefacts that were made again."""
    for name in names:
        entry = run.manifest["artefacts"][name]
        facts = {key: value for key, value in entry.items() if key not in ("file", "bytes", "sha256")}
        run.add_artefact(name, entry["file"], **facts)


def is_complete_video(path: Path, num_frames: int | None = None) -> bool:
    """Return whether a video can be decoded to its end: to `num_frames`, or as many as its container names."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            declared = stream.frames
            if not declared and container.duration and stream.average_rate:
                declared = round(container.duration / av.time_base * float(stream.average_rate))
            count = sum(1 for _ in container.decode(stream))
    except (av.error.FFmpegError, OSError, IndexError):
        return False
    return count > 0 and (count == num_frames or count >= declared - 1)


def _fault(path: Path, entry: Mapping[str, Any]) -> Fault | None:
    if not path.is_file():
        return Fault(entry["file"], False, "is missing")
    facts = path.stat()
    if not facts.st_size:
        return Fault(entry["file"], False, "is empty")
    expected = entry["bytes"], entry.get("sha256"), entry.get("frames"), entry.get("fps")
    readable, what = _compared(path, facts.st_mtime_ns, facts.st_size, *expected)
    return Fault(entry["file"], readable, what) if what else None


@functools.lru_cache(maxsize=4096)
def _compared(
    path: Path, _mtime: int, size: int, expected: int, sha256: str | None, num_frames: int | None, fps: str | None
) -> tuple[bool, str]:
    """Return whether a file can be read, and in a few words how it differs from what was recorded, nothing if it does not."""
    is_video = path.suffix in VIDEOS
    if sha256 is not None:
        if files.sha256(path) == sha256:
            return True, ""
    elif size == expected:
        if not is_video or _has_last_frame(path, num_frames, fps):
            return True, ""
        return False, "has no last frame"
    try:
        if is_video:
            readable = is_complete_video(path, num_frames)
        else:
            readable = True
            _read(path)
    except (*UNREADABLE, UnidentifiedImageError):
        readable = False
    return readable, "was changed" if readable else f"is cut off or damaged ({size} of {expected} bytes)"


def _read(path: Path) -> None:
    if path.suffix == ".npz":
        check_arrays(path)
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".png":
        with Image.open(path) as image:
            image.load()


def _has_last_frame(path: Path, num_frames: int | None, fps: str | None) -> bool:
    if num_frames is None or fps is None:
        return is_complete_video(path, num_frames)
    rate = float(Fraction(fps))
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            container.seek(int(max(0.0, (num_frames - 2) / rate) * av.time_base))
            last = max((frame.time or 0.0 for frame in container.decode(stream)), default=-1.0)
    except (av.error.FFmpegError, OSError, IndexError):
        return False
    return last >= (num_frames - 1.5) / rate
