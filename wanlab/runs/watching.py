"""How far a run is, read from its folder: the same for a run of this process, of another one, or of another machine."""

from __future__ import annotations

import contextlib
import json
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wanlab import config, files
from wanlab.runs.lock import owner
from wanlab.runs.manifests import DamagedManifestError
from wanlab.runs.progress import PAUSE, PROGRESS
from wanlab.runs.run import Run, working_here

PARTIAL = "partial"  # in the manifest of a result that holds the first segments only; begins its note
CLOCKS = 3600.0  # seconds that another machine's clock may be off; what is older than that says nothing


class Watched(NamedTuple):
    """What there is to see of a run.

    Attributes:
        run: its id.
        step: its step, e.g. generate.
        status: as `Run.status`; running also while this process shows the run to its reader.
        what: is being done, empty where that is not known; `done` of `total` of it are, a total of 0 is not known.
        left_s: seconds that this is likely to take, None where that is not known.
        place: of a generation the numbers, from 1, of `segment` of `segments` and `step` of `steps`; else empty.
        memory_bytes, gpu_bytes: that its process holds, 0 where that is not known.
        points: of a sweep, how many are finished and how many there are; else (0, 0).
        point: of a sweep, the id of the run that works for it; else empty.
        is_pausing: whether it was asked to stop after this segment.
        kept: what an unfinished run continues from, or a partial result.
        is_partial: whether it was stopped after a segment: a result that the same settings go on from.
        error: with what it ended, a line.
    """

    run: str
    step: str
    status: str
    what: str = ""
    done: int = 0
    total: int = 0
    left_s: float | None = None
    place: Mapping[str, int] = types.MappingProxyType({})
    memory_bytes: int = 0
    gpu_bytes: int = 0
    points: tuple[int, int] = (0, 0)
    point: str = ""
    is_pausing: bool = False
    kept: str = ""
    is_partial: bool = False
    error: str = ""

    def words(self) -> str:
        """Return how far it is, a line."""
        if self.status != "running":
            status = f"{self.status} in part" if self.is_partial else self.status
            return ", ".join(filter(None, (status, self.error, self.kept and f"kept: {self.kept}")))
        said = [self.status]
        if self.points[1]:
            said.append(f"{self.points[0]} of {self.points[1]} points")
        if self.place:
            said += [f"{name} {self.place[name]} of {self.place[f'{name}s']}" for name in ("segment", "step")]
        elif self.what:
            said.append(f"{self.what} {self.done} of {self.total}" if self.total else self.what)
        if self.left_s is not None:
            said.append(f"about {self.left_s:.0f} s left")
        if self.is_pausing:
            said.append("stops after this segment")
        return ", ".join(said)


def look(run: Run) -> Watched:
    """Return how far a run is; of a sweep also that of the point which is being worked on."""
    manifest = run.manifest
    error = str(manifest.get("error", {}).get("text", "")).partition("\n")[0]
    seen = Watched(run.id, manifest["step"], run.status, kept=manifest.get("kept", ""), error=error)
    if run.completed and (part := manifest.get(PARTIAL)):
        seen = seen._replace(kept=f"{part['segments']} of {part['of_segments']} segments", is_partial=True)
    points = manifest.get("points", ())
    if points:
        finished = sum(point["status"] not in ("pending", "running") for point in points)
        seen = seen._replace(points=(finished, len(points)))
    here = working_here()
    if run.status != "running" and here is not None and here.folder == run.folder:
        return _with_word(seen._replace(status="running"), run.folder)
    if run.status != "running":
        return seen
    inner = _point_of(run)
    if inner is not None:
        within = look(inner)
        return within._replace(
            run=run.id, step=seen.step, points=seen.points, point=inner.id, is_pausing=(run.folder / PAUSE).exists()
        )
    return _with_word(seen, run.folder)


def ask_to_pause(run: Run) -> None:
    """Ask for the end of a generation after its segment, or of a sweep after its point; what is finished is kept.

    Raises:
        RuntimeError: if it does not work, or cannot stop in between.
    """
    seen = look(run)
    if seen.status != "running":
        raise RuntimeError(f"run {run.id} must be running to be stopped, got {seen.status}; nothing to do")
    if not can_pause(run):
        raise RuntimeError(
            f"run {run.id} must be a generation by wanlab, or a sweep, to end after a part; cancel it: wanlab runs cancel {run.id}"
        )
    files.write_text(run.folder / PAUSE, "")


def can_pause(run: Run) -> bool:
    """Return whether a run can end in between with a result."""
    step, settings = run.manifest["step"], run.manifest["settings"]
    return step == "sweep" or (step == "generate" and settings.get("backend", "wanlab") == "wanlab")


def find(step: str) -> Run | None:
    """Return the run to be watched: that which this process works on, else the newest of a step that another one does."""
    here = working_here()
    if here is not None:
        return here
    for folder in sorted(config.outputs_root().glob(f"[!.]*_{step}_*"), reverse=True):
        with contextlib.suppress(DamagedManifestError, OSError):
            if (
                owner(folder) is not None
                and (run := Run(folder)).status == "running"
                and not run.manifest.get("made_for")
            ):
                return run
    return None


def _point_of(run: Run) -> Run | None:
    """Return the run of the point that a sweep works on."""
    names = [point["run"] for point in run.manifest.get("points", ()) if "run" in point]
    for name in reversed(names):
        with contextlib.suppress(DamagedManifestError, OSError):
            found = Run(run.folder.parent / name)
            if found.status == "running":
                return found
    return None


def _with_word(seen: Watched, folder: Path) -> Watched:
    """Return what is seen with the word that the run's process wrote; a word that is none is left out."""
    seen = seen._replace(is_pausing=(folder / PAUSE).exists())
    try:
        word: dict[str, Any] = config.printable(json.loads((folder / PROGRESS).read_text(encoding="utf-8")))
        what, done, total, seconds = str(word["what"]), int(word["done"]), int(word["total"]), float(word["seconds"])
        age = time.time() - float(word.get("at", 0))
        place = {name: int(word[name]) for name in ("segment", "segments", "step", "steps") if name in word}
        memory, gpu = int(word.get("memory_bytes", 0)), int(word.get("gpu_bytes", 0))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError, AttributeError):
        return seen
    left = None
    if total and done > 0:
        waited = age if 0 < age < CLOCKS else 0.0
        left = max(0.0, seconds * (total - done) / done - waited)
    complete = place if len(place) == 4 else {}
    return seen._replace(
        what=what, done=done, total=total, left_s=left, place=complete, memory_bytes=memory, gpu_bytes=gpu
    )
