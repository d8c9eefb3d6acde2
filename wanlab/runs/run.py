"""Run folders: one per set of settings and inputs, with a manifest that can be trusted after any kind of end.

    run = runs.open_run("generate", settings, inputs=…, models=…, result_version=1)
    with run.working():
        with run.stage("decode"): …
        run.add_artefact("video", "result.mp4", frames=65, …)

Knows nothing of video: a run is a folder, a status and a list of files.
"""

from __future__ import annotations

import contextlib
import datetime
import html
import json
import os
import resource
import secrets
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

import wanlab
from wanlab import config, files
from wanlab.files import locks
from wanlab.runs import interrupts, manifests
from wanlab.runs.lock import LOCK, owner
from wanlab.runs.manifests import DamagedManifestError
from wanlab.runs.progress import CANCEL, PAUSE, PROGRESS, Progress
from wanlab.runs.provenance import environment, scrub, source_hash

MANIFEST = files.MANIFEST
NEW = ".lock"  # in the outputs folder: held while a run is looked for and its folder is made
PATIENCE = 5.0  # seconds to wait for a lock that is held for a moment only
RESERVE = ".reserve"  # given up when a run ends, so that a full disk has room for the manifest that records it
PLACES = "places.json"  # where what lies outside the project is on this machine; never published
LOG = "WANLAB_LOG"  # environment: the log of a detached command
DIED = "the kernel died, likely out of memory"
INTERRUPTED = "interrupted"
HASHED = 64 * 2**20  # bytes: hashing them takes a tenth of a second
PREVIEW = "preview, not the result"
MIMETYPE = "application/vnd.wanlab.run+json"
T = TypeVar("T")
_working: list[Run] = []  # of this process


class Run:
    """One run folder: `folder`, its `settings` (resolved) and its `manifest`."""

    def __init__(self, folder: Path, settings: config.Settings | None = None, news: str = "") -> None:
        self.folder = folder
        self.settings: Any = settings
        self.resolved: Any = None  # what the step has opened and checked for its work in this process; set by the step
        self.asked: Any = settings  # as they were given, before `None` and `auto` were resolved; set by the step
        self.news = news  # "new", "continued" or "reused", for the reader
        self.progress = Progress(folder)
        self._lock: locks.Lock | None = None
        self._on_disk = manifests.read(folder)  # what the manifest's file held when this process last read or wrote it
        self.manifest: dict[str, Any] = _judged(json.loads(json.dumps(self._on_disk)), folder)
        self._unfinished = False
        self._spare: list[Path] = []

    @property
    def id(self) -> str:
        """The folder's name: `<utc time>_<step>_<hash>`."""
        return self.folder.name

    @property
    def status(self) -> str:
        """One of `manifests.STATUSES`; a run whose owner is gone reads as failed, or cancelled if that was asked for."""
        return self.manifest["status"]

    @property
    def preview(self) -> tuple[str, ...]:
        """What a preview left out, a phrase each; empty: this is no preview, nor made from one."""
        return tuple(self.manifest.get("preview", ()))

    @property
    def completed(self) -> bool:
        """Whether everything was written."""
        return self.status == "completed"

    def path(self, name: str) -> Path:
        """Return the path of `name` inside the run folder.

        Raises:
            ValueError: if `name` would lead outside.
        """
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise ValueError(f"name must stay inside the run folder, got {name!r}; use a plain file name")
        return path

    @contextlib.contextmanager
    def working(self) -> Iterator[bool]:
        """Hold the run's lock while work is done; mark it completed at the end, begun, cancelled or failed with the error.

        SIGTERM is taken for Ctrl-C meanwhile.

        Yields:
            whether there is work: none where another process has completed the run since it was opened here.

        Raises:
            BusyError: if another process works on it; nothing is marked then.
        """
        with self.alone() as changed, _listed(self):
            if changed and self.completed:
                print(f"{self.id} was completed by another process meanwhile: it is used as it is")
                yield False
                return
            self._unfinished, self._spare = False, []
            start = time.monotonic()
            earlier = self.manifest.get("seconds_total", 0.0)
            self.manifest.pop("error", None)
            log = {"log": os.environ[LOG]} if LOG in os.environ else {}
            for place in (self.folder, *(path for path in self.folder.iterdir() if path.is_dir())):
                files.remove_dead_parts(place)
            files.write_text(
                self.folder / RESERVE, secrets.token_hex(8192)
            )  # two manifests with tracebacks; incompressible
            self.save(status="running", started=_now(), environment=environment(), **log)
            try:
                with interrupts.sigterm_as_ctrl_c():
                    self.progress.check()
                    yield True
            except BaseException as error:  # KeyboardInterrupt too: the manifest must not stay "running" for ever
                cancelled = isinstance(error, KeyboardInterrupt | CancelledError)
                text = INTERRUPTED if cancelled else scrub(str(error))
                trace = scrub("".join(traceback.format_exception(error)))
                fault = {"type": type(error).__name__, "text": text, "traceback": trace}
                self._end("cancelled" if cancelled else "failed", earlier + time.monotonic() - start, fault)
                raise
            self._end("begun" if self._unfinished else "completed", earlier + time.monotonic() - start, None)

    @contextlib.contextmanager
    def showing(self, what: str) -> Iterator[None]:
        """Let those who watch see that something is made for the reader of a run, which is not worked on meanwhile."""
        with _listed(self):
            self.progress.update(what, 0, 0)
            try:
                yield
            finally:
                files.remove(self.folder / PROGRESS)

    def stop_here(self) -> None:
        """Have `working` end as begun: what there is can be looked at, and the same settings go on from it."""
        self._unfinished = True

    def keep(self, what: str) -> None:
        """Record in a few words what an interrupted run continues from, e.g. `2 of 5 segments`."""
        self.save(kept=what)

    def remove_when_completed(self, path: Path) -> None:
        """Have `working` remove what only an unfinished run needs, once the manifest reads completed."""
        self._spare.append(path)

    def tidy(self, *unfinished: Path) -> None:
        """Remove what is left where a process was killed right after it had completed the run.

        Args:
            unfinished: what only an unfinished run needs, besides what every run has.
        """
        for path in (self.folder / PROGRESS, self.folder / RESERVE, *unfinished):
            if self.completed and path.exists():
                with self.alone():
                    files.remove(path)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; its seconds add up over continuations."""
        start = time.monotonic()
        try:
            yield
        finally:
            seconds = self.manifest.setdefault("seconds", {})
            seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - start, 3)

    def given(self) -> dict[str, Any]:
        """Return the settings of the manifest, ready for JSON, with the paths that it leaves out, as far as this machine knows them."""
        return {**self.manifest["settings"], **_places(self.folder)}

    def knows_place(self, name: str) -> bool:
        """Return whether it is certain where what the setting `name` holds lies: the manifest or this machine tells."""
        if name in _places(self.folder) or "/" in str(self.manifest["settings"].get(name)):
            return True
        return name not in self.manifest.get("outside", (name,))  # older ones do not record it

    def add_artefact(self, name: str, file: str, **facts: Any) -> None:
        """Record the finished file `file` of the run folder under `name` with facts such as frames and fps.

        Its size goes with it, and up to HASHED bytes its SHA-256, by which `artefacts` knows it again.
        """
        path = self.path(file)
        entry = {"file": file, "bytes": path.stat().st_size, **facts}
        if entry["bytes"] <= HASHED:
            entry["sha256"] = files.sha256(path)
        self.manifest.setdefault("artefacts", {})[name] = entry
        self.save()

    def add_notes(self, *notes: str, private: Iterable[str] = ()) -> None:
        """Print sentences that a reader of the run must know, and record them without private paths.

        Args:
            notes: the sentences.
            private: folders named in them that lie outside project and outputs.
        """
        kept = self.manifest.setdefault("notes", [])
        for note in notes:
            public = scrub(note, private)
            if public not in kept:
                kept.append(public)
                tqdm.write(f"note: {note}")  # not into a line of progress

    def save(self, **changes: Any) -> None:
        """Put `changes` into the manifest and replace it on disk at once.

        Raises:
            BusyError: if another process works on the run; nothing is written then.
        """
        with self.alone():
            if self._lock is not None:
                self._lock.check()
            self.manifest.update(changes)
            files.write_json(self.folder / MANIFEST, self.manifest)
            self._on_disk = manifests.read(self.folder)

    def bring_forward(self) -> None:
        """Make this run the newest: from now on `latest` means it, as if it had been made now."""
        outputs = self.folder.parent
        with locks.awaited(outputs / NEW, "the list of runs"):
            order = _next_order(outputs)
            if _order(self.manifest) + 1 != order:
                self.save(order=order)

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Hold the run's lock, unless this run holds it already; take over what another process has written meanwhile.

        Yields:
            whether another process has.

        Raises:
            BusyError: if another process works on the run.
        """
        if self._lock is not None:
            yield False
            return
        with contextlib.ExitStack() as stack:
            self._lock = self._hold(stack)
            try:
                found = manifests.read(self.folder)
                changed = found != self._on_disk
                if changed:
                    notes = [*found.get("notes", ()), *self.manifest.get("notes", ())]
                    self._on_disk = found
                    self.manifest = json.loads(json.dumps(found)) | {"notes": list(dict.fromkeys(notes))}
                yield changed
            finally:
                self._lock = None

    def _hold(self, stack: contextlib.ExitStack) -> locks.Lock:
        """Take the run's lock; a process that only looks or saves releases it in a moment and is waited for."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return stack.enter_context(locks.held(self.folder / LOCK, *_lock_words(self.id)))
            except locks.BusyError:
                if manifests.read(self.folder)["status"] == "running" or time.monotonic() > until:
                    raise

    def _end(self, status: str, seconds: float, error: dict[str, str] | None) -> None:
        self.progress.close()
        with interrupts.deferred():
            if self._lock is not None:
                self._lock.check()
            if error:
                self.manifest["error"] = error
            if status == "completed":
                self.manifest.pop("kept", None)
            files.remove(self.folder / RESERVE)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            self.save(status=status, ended=_now(), seconds_total=round(seconds, 3), peak_memory_bytes=peak)
            words = (self.folder / name for name in (PROGRESS, CANCEL, PAUSE))
            for path in (*words, *(self._spare if self.completed else ())):
                if path.exists():
                    files.remove(path)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        where = config.shown(self.folder)
        text = f"{self.manifest['step']} run {where} ({self.news or self.status})"
        bundle: dict[str, Any] = {"text/plain": text, MIMETYPE: {"folder": where, "id": self.id}}
        if self.preview:
            left_out = html.escape("; ".join(self.preview))
            bundle["text/html"] = (
                f"<p>{html.escape(text)}</p><p><strong>{PREVIEW.capitalize()}:</strong> {left_out}.</p>"
            )
        return bundle


def working_here() -> Run | None:
    """Return the run that this process works on or shows, of several within each other the outermost."""
    return _working[0] if _working else None


@contextlib.contextmanager
def _listed(run: Run) -> Iterator[None]:
    _working.append(run)
    try:
        yield
    finally:
        _working.remove(run)


def identity(
    step: str,
    settings: config.Settings,
    inputs: Mapping[str, Mapping[str, Any]],
    models: Mapping[str, str],
    result_version: int,
) -> str:
    """Return the hash that names a run: equal for equal settings, input contents and models. Arguments: `open_run`."""
    return config.digest(
        {
            "step": step,
            "settings": settings.identity(),
            "inputs": {name: facts["sha256"] for name, facts in inputs.items()},
            "models": dict(models),
            "result_version": result_version,
        }
    )[:10]


def open_run(
    step: str,
    settings: config.Settings,
    *,
    inputs: Mapping[str, Mapping[str, Any]],
    models: Mapping[str, str],
    result_version: int,
    parents: tuple[str, ...] = (),
    preview: Sequence[str] = (),
    fresh: bool = False,
    made_for: str | None = None,
) -> Run:
    """Find the run that these settings and inputs already have, or make its folder.

    Args:
        step: name of the step, part of the folder's name.
        settings: resolved settings (no `None` that still means "as the checkpoint recommends").
        inputs: per input its facts, `sha256` among them, as they go into the manifest.
        models: fingerprint per model.
        result_version: the step's RESULT_VERSION.
        parents: ids of the runs whose files this one reads.
        preview: what a preview leaves out, a phrase each.
        fresh: make a new folder even where one exists.
        made_for: id of the run that makes this one for itself, e.g. a sweep; such a run is never `latest`. None: somebody
            asked for it, and from then on it is theirs.

    Returns:
        the run, with `news` saying whether it is new, continued or reused.

    Raises:
        BusyError: if another process works on that run.
        NotADirectoryError: if the outputs folder lies below a regular file.
    """
    outputs = files.make_folder(config.outputs_root())
    code = identity(step, settings, inputs, models, result_version)
    manifest = {
        **_described(step, settings, inputs, models, parents, result_version),
        "hash": code,
        **({"preview": list(preview)} if preview else {}),
        **({"made_for": made_for} if made_for else {}),
    }
    files.remove_dead_parts(outputs)
    with locks.awaited(outputs / NEW, "the list of runs"):  # two that ask for the same run must not make two folders
        found = None if fresh else _newest(outputs, step, code)
        order = _next_order(outputs)
        folder = found or _new_folder(outputs, step, code, {**manifest, "order": order})
    if found:
        run = _reopened(found, settings)
        if made_for is None and run.manifest.get("made_for"):
            run.save(made_for=None, order=order)
        return run
    run = Run(folder, settings, "new")
    _remember_places(folder, settings)
    earlier = [each for each in list_runs(step) if each.completed and not _order(each.manifest)]
    if any(each.manifest["settings"] == run.manifest["settings"] for each in earlier):
        run.add_notes(
            "a run of an earlier wanlab has these settings; now all contents of inputs and weights count: this one is computed once more"
        )
    if preview:
        run.add_notes(f"{PREVIEW}: {'; '.join(preview)}")
    return run


def find_run(run: Path | str, step: str | None = None, holding: str | None = None, *, previews: bool = False) -> Run:
    """Return the run in folder `run`, or for `latest` the newest completed one of `step`.

    Newest is what was made last, whatever the clock showed. Only a preview takes a preview for the latest, and nobody what a
    sweep made for itself; a note names a newer one that is passed over.

    Args:
        run: a folder, an id, or `latest`.
        step: that the newest must be of; None: any.
        holding: file that the newest must hold; None: any. `step` is then only the one that a message names.
        previews: the newest may be a preview.

    Raises:
        FileNotFoundError: if there is none; the message names the command that makes one.
        DamagedManifestError: if the folder's manifest is damaged.
    """
    if str(run) == "latest":
        fitting = [
            found
            for found in reversed(list_runs())
            if found.completed and (holding in _files_of(found) if holding else step in (None, found.manifest["step"]))
        ]
        return newest(fitting, step, previews=previews)
    for folder in (config.absolute(run), config.outputs_root() / Path(run).name):
        if (folder / MANIFEST).is_file():
            return Run(folder)
    full = config.absolute(run)
    inside = next((folder.name for folder in full.parents if (folder / MANIFEST).is_file()), None)
    what = (
        ", a file"
        if full.is_file()
        else f", a folder without {MANIFEST}"
        if full.is_dir()
        else ", which does not exist"
    )
    near = f"; did you mean {inside}?" if inside else config.nearest(config.outputs_root() / Path(run).name)
    raise FileNotFoundError(
        f"run must be a run's folder or id, got {run}{what}; use latest, or one that `wanlab runs` lists{near}"
    )


def newest(fitting: Sequence[Run], step: str | None, *, previews: bool = False) -> Run:
    """Return the first of the runs `fitting`, newest first, that may be the latest; as `find_run`."""
    passed_over: list[Run] = []
    for found in fitting:
        if not _why_not_latest(found, previews):
            break
        passed_over.append(found)
    else:
        but = ";"
        if passed_over:
            newer = passed_over[0]
            why = "" if newer.preview else f", {_why_not_latest(newer, previews)}"
            but = f" but {'the preview ' if newer.preview else ''}{newer.id}{why}: name it to take it, or"
        raise FileNotFoundError(
            f"there is no completed {step or ''} run in {config.typed(config.outputs_root())}{but} make one: wanlab {step or 'pipeline'}"
        )
    for newer in passed_over:
        if newer.manifest.get("made_for") != found.id:
            why = _why_not_latest(newer, previews)
            print(f"note: latest is {found.id}; {newer.id} is newer, but {why}: name it to take it")
            break
    return found


def list_runs(step: str | None = None) -> list[Run]:
    """Return all runs, or those of one step, in the order in which they were made; those with a damaged manifest are left out."""
    found = []
    for folder in _run_folders(step):
        with contextlib.suppress(DamagedManifestError, OSError):
            found.append(Run(folder))
    return sorted(found, key=lambda run: _order(run.manifest))  # of equal ones the names decide


def list_damaged() -> list[tuple[Path, str]]:
    """Return the folders of the outputs whose manifest is damaged, and in a few words what is wrong with each."""
    return [(folder, wrong) for folder in _run_folders() if (wrong := manifests.fault(folder))]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a run's manifest; `running` with an owner that is gone reads as cancelled if that was asked for, else failed.

    Raises:
        DamagedManifestError, FileNotFoundError: as `manifests.read`.
    """
    return _judged(manifests.read(folder), folder)


def ask_to_stop(folder: Path) -> None:
    """Ask the process that works on a run to stop at the next step; if it dies meanwhile, the run reads as cancelled."""
    files.write_text(folder / CANCEL, "")


def ask_to_stop_all_of(pid: int) -> None:
    """Ask for the end of the runs that process `pid` of this machine and those that it started work on."""
    import psutil

    family = {pid}
    with contextlib.suppress(psutil.NoSuchProcess):
        family |= {child.pid for child in psutil.Process(pid).children(recursive=True)}
    for run in list_runs():
        at = owner(run.folder) if run.status == "running" else None
        if at is not None and at.is_here and at.pid in family:
            ask_to_stop(run.folder)


def _places(folder: Path) -> dict[str, Any]:
    """Return what a run folder remembers of paths outside the project, by setting; nothing where it was copied without that."""
    try:
        found = json.loads((folder / PLACES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _described(
    step: str,
    settings: config.Settings,
    inputs: Mapping[str, Mapping[str, Any]],
    models: Mapping[str, str],
    parents: Sequence[str],
    result_version: int,
) -> dict[str, Any]:
    """Return the manifest of a run that nothing is done of yet. Arguments: `open_run`."""
    return {
        "schema": manifests.SCHEMA,
        "id": "",
        "order": 0,
        "step": step,
        "hash": "",
        "status": "pending",
        "created": _now(),
        "settings": settings.published(),
        "outside": sorted(settings.places()),
        "inputs": {name: dict(facts) for name, facts in inputs.items()},
        "models": dict(models),
        "parents": list(parents),
        "result_version": result_version,
        "wanlab": wanlab.__version__,
        "source_hash": source_hash(),
        "artefacts": {},
        "seconds": {},
        "notes": [],
    }


def _reopened(folder: Path, settings: config.Settings) -> Run:
    """Return a run that was made before, to be read or continued.

    Raises:
        BusyError: if another process works on it.
    """
    run = Run(folder, settings)
    if run.status == "running":
        raise locks.busy(folder / LOCK, *_lock_words(run.id))
    files.remove(folder / CANCEL)
    files.remove(folder / PAUSE)
    run.news = "reused" if run.completed else "continued"
    run.tidy()
    _remember_places(folder, settings)
    if run.manifest.get("source_hash") != source_hash():
        print(f"note: wanlab's source has changed since {run.id} was begun; fresh=True computes it again")
    return run


def _remember_places(folder: Path, settings: config.Settings) -> None:
    """Write down where a run's files outside the project are; a run that is opened again has them where they were named last."""
    before, now = _places(folder), settings.places()
    if {**before, **now} != before:
        files.write_private_json(folder / PLACES, {**before, **now})


def _why_not_latest(run: Run, previews: bool) -> str | None:
    """Return why a run is passed over when the latest is looked for, None if it is not."""
    if run.preview and not previews:
        return "a preview"
    return f"made for {run.manifest['made_for']}" if run.manifest.get("made_for") else None


def _order(manifest: Mapping[str, Any]) -> int:
    """Return a run's number in the order in which the runs of its outputs were made; 0: made before there were numbers."""
    order = manifest.get("order")
    return order if isinstance(order, int) else 0


def _next_order(outputs: Path) -> int:
    """Return a number above that of every run there is; `NEW` is held meanwhile.

    Clocks are set back, and have one second for many runs.
    """
    numbers = [0]
    for path in outputs.glob(f"[!.]*/{MANIFEST}"):
        with contextlib.suppress(DamagedManifestError, OSError):
            numbers.append(_order(manifests.read(path.parent)))
    return max(numbers) + 1


def _new_folder(outputs: Path, step: str, code: str, manifest: dict[str, Any]) -> Path:
    """Make a run folder under a name of its own; it appears with its manifest."""
    stamp = _clock().strftime("%Y%m%dT%H%M%S")
    names = (f"{stamp}_{step}_{code}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
    folder = next(path for name in names if not (path := outputs / name).exists())  # "-2": made in the same second
    with files.writing_folder(folder) as part:
        files.write_json(part / MANIFEST, {**manifest, "id": folder.name})
    return folder


def _now() -> str:
    return _clock().isoformat(timespec="seconds")


def _clock() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _newest(outputs: Path, step: str, code: str) -> Path | None:
    """Return the newest folder of that step and hash, a completed one before an unfinished one; none that is damaged."""
    found = {}
    for path in sorted(outputs.glob(f"[!.]*_{step}_{code}*/{MANIFEST}")):
        try:
            found[path.parent] = read_manifest(path.parent)
        except DamagedManifestError as error:
            print(f"note: {error}")
    return max(
        found,
        key=lambda folder: (found[folder]["status"] == "completed", _order(found[folder]), folder.name),
        default=None,
    )


def _run_folders(step: str | None = None) -> list[Path]:
    outputs = config.outputs_root()
    name = f"[!.]*_{step}_*" if step else "[!.]*"  # a dot begins the name of a folder that is being made or removed
    pattern = f"{name}/{MANIFEST}"
    return sorted(path.parent for path in outputs.glob(pattern)) if outputs.is_dir() else []


def _files_of(run: Run) -> set[str]:
    """Return the names of the files that a run wrote, whether they are still there or not."""
    return {entry["file"] for entry in run.manifest["artefacts"].values()}


def _judged(manifest: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the manifest of a run that reads running though no process works on it as one of a failed or cancelled run."""
    if manifest["status"] != "running" or locks.owner(folder / LOCK) is not None:
        return manifest
    if (folder / CANCEL).exists():
        return {**manifest, "status": "cancelled", "error": {"type": "KeyboardInterrupt", "text": INTERRUPTED}}
    return {**manifest, "status": "failed", "error": {"type": "KernelDied", "text": DIED}}


def _lock_words(run_id: str) -> tuple[str, str]:
    return f"run {run_id}", f"wait for it, stop it (wanlab runs cancel {run_id}), or recompute with fresh"
