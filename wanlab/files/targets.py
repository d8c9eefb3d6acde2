"""Places outside the run folders that a user names for a copy: what wanlab did not write there it never touches.

    target = targets.video(settings, run.id)
    target.check()                    # before any work: refused with a remedy, or the file that will be written
    with target.writing() as part:    # checked again: hours may have passed
        …

A file counts as wanlab's where its SHA-256 is one that was recorded when it was put there. A file's own word (a comment
tag, a header) is no proof: another tool's edit copies it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import itertools
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wanlab import config
from wanlab.files import locks, whole

LEDGER = ".written"  # folder in the outputs, never published: per place a JSON of what was put there
VIDEO_ENDINGS = (".mp4", ".mov", ".mkv")


@dataclasses.dataclass(frozen=True)
class Kept:
    """What no target may be.

    Attributes:
        places: files, and folders with all that lies in them, by what messages call them.
        contents: what messages call a file, by its SHA-256: it is known wherever it lies.
    """

    places: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    contents: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def check(self, name: str, text: str, path: Path) -> None:
        """Refuse the place `path`, which `text` names, as the setting `name`.

        Raises:
            SettingsError: if it is one of these, or lies in one.
        """
        for what, place in self.places.items():
            if lies_in(path, place) or _is_linked(path, place):
                if place.is_file():
                    raise refused(name, f"be another file than {what}", text, "a file that does not exist yet")
                raise refused(name, f"be another place than {what}, and not lie in it", text, "a folder of its own")
        if self.contents and path.is_file():
            what = self.contents.get(whole.sha256(path))
            if what:
                raise refused(name, f"be another file than {what}", text, "a file that does not exist yet")


def kept(*chosen: config.Settings, beside: Kept | None = None) -> Kept:
    """Return the files and folders that settings name to be read, and those `beside` them."""
    beside = beside or Kept()
    places = dict(beside.places)
    for settings in chosen:
        for name in set(settings.paths()) - set(settings.conveniences()):
            for path in settings.files(name):
                if config.absolute(path).exists():
                    places[f"{name} {path}"] = config.absolute(path)
    return Kept(dict(sorted(places.items())), beside.contents)


@dataclasses.dataclass(frozen=True)
class File:
    """A file that a user names for a copy.

    Attributes:
        name: of the setting, for messages.
        text: as it was typed: a final / is lost in a Path.
        endings: that the file may have, the usual one first.
        inside: the file's name where `text` names a folder; None: it may name none.
        kept: what it may not be.
        overwrite: take a file that wanlab did not put there.
        remedy: what to use where such a file is refused.
    """

    name: str
    text: str
    endings: tuple[str, ...]
    inside: str | None
    kept: Kept = dataclasses.field(default_factory=Kept)
    overwrite: bool = False
    remedy: str = "--overwrite, or another name"

    def check(self) -> Path:
        """Return the file that will be written.

        Raises:
            SettingsError: where it cannot be, or where something lies that is not wanlab's.
        """
        path = place(self.name, self.text)
        if names_folder(self.text) or path.is_dir():
            if path.exists() and not path.is_dir():
                raise refused(self.name, "name a folder where it ends in /", f"the file {self.text}", "it without /")
            if self.inside is None:
                raise refused(self.name, "be a file", f"the folder {self.text}", "another name")
            path = place(self.name, str(path / self.inside))
        if path.suffix.lower() not in self.endings:
            raise self._wrong_ending(path)
        _check_around(self.name, self.text, path, self.kept)
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise refused(self.name, "be a file", f"{self.shown()}, which is none", "another name")
        if path.exists() and not self.overwrite and not is_own(path):
            found = f"{self.shown()}, which is there: wanlab did not write it, or it was changed since"
            raise refused(self.name, "be new, or a file that wanlab wrote there", found, self.remedy)
        return path

    @contextlib.contextmanager
    def writing(self) -> Iterator[Path]:
        """Give out a part of the file, and put and record it when the block ends; an earlier file stays until then.

        Raises:
            SettingsError: as `check`, before the block and after it.
            OSError: if it cannot be written; a full disk is named.
        """
        path = self.check()
        try:
            with alone(path, self.shown()), whole.part(path) as part:
                yield part
                self.check()
                record(path, whole.sha256(part))
                whole.put(part, path)
        except OSError as error:
            raise whole.explained(error, path) from error

    def shown(self) -> str:
        """Return the file as it was typed, for a reader: links are not followed."""
        folder = names_folder(self.text) or place(self.name, self.text).is_dir()
        return str(Path(self.text) / (self.inside or "")) if folder else self.text

    def _wrong_ending(self, path: Path) -> config.SettingsError:
        listed = " or ".join((", ".join(self.endings[:-1]), self.endings[-1]))
        near = (difflib.get_close_matches(path.suffix.lower(), self.endings, n=1, cutoff=0.5) or self.endings)[0]
        folder = "" if path.suffix else f", or {self.text}/ for a folder"
        return refused(self.name, f"end in {listed}", self.text, f"{path.stem}{near}{folder}")


def video(settings: config.GenerateSettings, run_id: str | None = None, keep: Kept | None = None) -> File:
    """Return the video that `output_path` of `settings`, which is set, names; in a folder it has the run's name."""
    assert settings.output_path is not None
    usual = VIDEO_ENDINGS[0]
    inside = f"{run_id}{usual}" if run_id else whole.part_of(Path(f"new{usual}")).name  # a name that nothing has
    return File("output_path", settings.output_path, VIDEO_ENDINGS, inside, keep or kept(settings), settings.overwrite)


def folder(name: str, text: str, keep: Kept | None = None) -> Path:
    """Return the folder that `text` names, which may be filled if its contents allow it.

    Raises:
        SettingsError: for the project's root, a home, the outputs, what is read, or one that holds any of these; for a
            place in a run folder, and one that cannot be written.
    """
    path, keep = place(name, text), keep or Kept()
    around = {
        "the project": config.project_root(),
        "your home": Path.home(),
        "the folder that you are in": Path.cwd(),
        "the outputs": config.outputs_root(),
        **keep.places,
    }
    for what, inner in around.items():
        if lies_in(inner, path):
            raise refused(name, f"be a folder of its own, not {what} or a folder around it", text, "a new folder")
    if path.parent in (Path("/"), Path("/home"), Path("/Users")) and path.exists():
        raise refused(name, "be a folder of its own, not the system's or a home folder", text, "a new folder")
    if path.exists() and not path.is_dir():
        raise refused(name, "be a folder", f"the file {text}", "a new folder")
    _check_around(name, text, path, keep)
    return path


def place(name: str, text: str) -> Path:
    """Return the place that `text` means, absolute, links followed; a relative one starts at the project's root.

    Raises:
        SettingsError: for a link to nothing, and what no path can be.
    """
    try:
        typed = config.project_root() / Path(text).expanduser()
        reason = "a link to nothing" if text.strip() else "nothing"
        if text.strip() and (typed.exists() or not typed.is_symlink()):
            return typed.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise refused(name, "be a place that exists or can be made", f"{text!r} ({reason})", "another place")


def names_folder(text: str) -> bool:
    """Return whether `text` can only mean a folder, there or not: it ends in /, or in `.`, `..` or `~`."""
    return text.endswith(os.sep) or text.rpartition(os.sep)[2] in (".", "..", "~")


def lies_in(path: Path, other: Path) -> bool:
    """Return whether `path` is `other` or lies in it, by whatever spelling: links, case, hard links."""
    if path.resolve().is_relative_to(other.resolve()):
        return True
    return other.exists() and any(inner.exists() and inner.samefile(other) for inner in (path, *path.parents))


def is_own(path: Path) -> bool:
    """Return whether a file's bytes are those that wanlab put there."""
    if path.is_symlink():
        return False
    try:
        recorded = json.loads(_ledger(path).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return isinstance(recorded, list) and whole.sha256(path) in recorded


def record(path: Path, sha256: str) -> None:
    """Record that `path` is about to get bytes of this hash; what wanlab put there before still counts, should it not."""
    before = [whole.sha256(path)] if path.is_file() and is_own(path) else []
    whole.write_json(_ledger(path), {"schema": 1, "sha256": [*before, sha256]})


def alone(path: Path, what: str) -> contextlib.AbstractContextManager[object]:
    """Keep other processes from writing to `path` while the block runs; wait for one that does. `what`: for messages."""
    return locks.awaited(whole.make_folder(_ledger(path).parent) / f"{_ledger(path).stem}.lock", what)


def sealed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of an index (`inputs.json`) with a digest of them, so that one edited by hand is noticed."""
    plain = json.loads(json.dumps({**facts, "digest": None}, default=str))
    return {**plain, "digest": config.digest(plain)}


def unsealed(index: Path) -> dict[str, Any]:
    """Return what an index says; nothing without one, or where it was changed since wanlab wrote it."""
    try:
        facts = json.loads(index.read_text(encoding="utf-8"))
        return facts if not index.is_symlink() and sealed(facts) == facts else {}
    except (OSError, ValueError, TypeError):
        return {}


def unused(path: Path) -> Path:
    """Return `path`, or the first of `…-2`, `…-3` and so on where nothing lies that wanlab did not put there."""
    numbered = (path.with_stem(f"{path.stem}-{n}") for n in itertools.count(2))
    return next(p for p in itertools.chain([path], numbered) if not (p.exists() or p.is_symlink()) or is_own(p))


def refused(name: str, rule: str, got: str, remedy: str) -> config.SettingsError:
    """Return the error that refuses a target."""
    return config.SettingsError(f"{name} must {rule}, got {got}; use {remedy}")


def _check_around(name: str, text: str, path: Path, keep: Kept) -> None:
    """Refuse a place by what it lies in: what is kept, a run, wanlab's own records, a folder that cannot be written."""
    keep.check(name, text, path)
    outputs = config.outputs_root()
    hidden = path.is_relative_to(outputs) and path != outputs and path.relative_to(outputs).parts[0].startswith(".")
    if hidden or _is_linked(path, outputs) or any(map(_is_run, (path, *path.parents))):
        raise refused(name, "lie outside the run folders, which wanlab keeps", text, "another place")
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    around = there.parent if there == path and not there.is_dir() else there
    if not around.is_dir():
        raise refused(name, "lie in a folder", f"{text}, but {around.name} is a file", "another place")
    if not os.access(around, os.W_OK | os.X_OK):
        raise refused(name, "be a place that you may write to", text, "another place")


def _is_run(path: Path) -> bool:
    """Return whether `path` is a run folder: one of the outputs, or a copy of one elsewhere."""
    manifest = path / whole.MANIFEST
    if path.parent == config.outputs_root() and manifest.is_file():
        return True
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"step", "status", "artefacts"} <= set(content)


def _is_linked(path: Path, place: Path) -> bool:
    """Return whether `path` is a hard link to a file in the folder `place`."""
    if not path.is_file() or path.stat().st_nlink < 2 or not place.is_dir():
        return False
    return any(other.is_file() and other.samefile(path) for other in place.rglob("*"))


def _ledger(path: Path) -> Path:
    return config.outputs_root() / LEDGER / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.json"
