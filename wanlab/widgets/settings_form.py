"""A notebook's settings as a form that writes its `parameters` cell: what is run is what stands there.

settings_form("preprocess")      # above the parameters cell; headless it shows nothing

The browser reads and writes the cell (`wanlab lab` lets widgets do that); the kernel knows the settings, what is wrong with
them, what they mean, and which videos and images are at hand. Nothing is copied but what is uploaded.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import traitlets
from IPython.display import display

from wanlab import config, files, media, runs
from wanlab.config import base, cell
from wanlab.steps import outlook
from wanlab.widgets import messages, stills

UPLOADS = "uploads"  # folder in the outputs
VIDEOS, IMAGES = (".mp4", ".mov", ".mkv", ".webm", ".avi"), (".png", ".jpg", ".jpeg", ".webp")
CHOSEN_BY_SIGHT = {"driving_video": VIDEOS, "reference_image": IMAGES}
SHOWN = 12  # files to choose from
HEIGHT = 120  # pixels of their images


def settings_form(step: str) -> None:
    """Show the form of a step; nothing where nobody looks.

    Args:
        step: name of the step.
    """
    if not os.environ.get("WANLAB_HEADLESS"):
        display(SettingsForm(step))


class SettingsForm(stills.Talking):
    """The form of one notebook.

    Attributes:
        notebook: its name, without suffix.
    """

    _protocol = messages.SETTINGS_FORM
    _esm = stills.module("settings_form.js", protocol=_protocol, shared=("parts.js",))
    notebook = traitlets.Unicode().tag(sync=True)

    def __init__(self, step: str) -> None:
        """Take the step."""
        self._step = step
        name, self._model = config.NOTEBOOKS[step]
        self._groups = cell.groups(cell.source_of(name))
        self._asked = 0  # outlooks, the newest of which is told
        self._part, self._unfinished = contextlib.ExitStack(), Path()  # of an upload
        super().__init__(notebook=name)

    def answer(self, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        """Answer a message; uploads come with a buffer."""
        if content["kind"] == "upload":
            self._upload(content, bytes(buffers[0]))
        else:
            super().answer(content, buffers)

    def received(self, kind: str, content: dict[str, Any]) -> None:
        """Show a cell as a form, change it, or show which files there are."""
        if kind == "cell":
            self._show(content["source"])
        elif kind == "set":
            self._set(content)
        elif kind == "choose":
            found = list(self._files(content["name"], content["text"]))
            listed = [{"path": path, "label": label} for path, label, _ in found]
            self.tell("files", buffers=[image for *_, image in found], name=content["name"], files=listed)

    def _show(self, source: str) -> None:
        """Send the form of a cell, and then what its settings mean."""
        try:
            values = cell.values(source)
        except SyntaxError as error:
            self.tell("form", groups=[], faults=[f"the parameters cell is no Python: {error.msg}, line {error.lineno}"])
            return
        try:
            settings = self._model.build(config.mended_paths(self._model, values))
            faults = []
        except config.SettingsError as error:
            settings, faults = None, str(error).splitlines()
        groups = [
            {"heading": heading, "fields": [self._field(name, values) for name in names]}
            for heading, names in self._groups.items()
        ]
        self.tell("form", groups=groups, faults=faults)
        self._asked += 1
        if settings is not None:
            threading.Thread(target=self._look_ahead, args=(settings, self._asked), daemon=True).start()

    def _field(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        """Return what the browser shows of a setting."""
        field = self._model.model_fields[name]
        kinds = base.kinds_of(field.annotation)
        words = [each for each in kinds if isinstance(each, str)]
        is_choice = bool(words) and all(isinstance(each, str) or each in (type(None), bool) for each in kinds)
        value = values.get(name, field.default)
        choices = [*(["True", "False"] if bool in kinds else []), *words] if is_choice or bool in kinds else []
        return {
            "name": name,
            "text": _text(value),
            "about": field.description,
            "default": _text(field.default),
            "choices": choices,
            "optional": type(None) in kinds,
            "seen": name in CHOSEN_BY_SIGHT,
        }

    def _set(self, content: dict[str, Any]) -> None:
        """Change one setting in a cell's source; what is wrong with it is told and not written."""
        name, text = content["name"], content["text"].strip()
        value: Any = self._model.model_fields[name].default
        if text:
            value = config.parse_text({name: text})[name]
            value = config.mended_paths(self._model, {name: value})[name]
            value = self._model.value_of(name, value)
        self.tell("source", source=cell.changed(content["source"], name, _plain(value)))

    def _look_ahead(self, settings: config.Settings, number: int) -> None:
        """Tell what settings mean, unless others were asked about meanwhile."""
        try:
            text, fault = outlook.of(self._step, settings), False
        except (ValueError, OSError) as error:
            text, fault = str(error), True
        if number == self._asked:
            self.tell("outlook", text=text, fault=fault)

    def _files(self, name: str, text: str) -> Iterator[tuple[str, str, bytes]]:
        """Yield path, label and image of the files that a setting could take: its own, uploads, those used before, others."""
        found = 0
        for path in dict.fromkeys((config.absolute(text), *self._places(name))):
            if found == SHOWN or path.suffix.lower() not in CHOSEN_BY_SIGHT[name] or not path.is_file():
                continue
            try:
                image, label = _looks(path, path.stat().st_mtime_ns)
            except (OSError, ValueError):
                continue
            found += 1
            yield _shown(path), f"{path.name}\n{label}", image

    def _places(self, name: str) -> Iterator[Path]:
        folder = config.outputs_root() / UPLOADS
        yield from sorted(folder.glob("*"), key=lambda path: -path.stat().st_mtime_ns)
        for run in reversed(runs.list_runs("preprocess")):
            yield config.absolute(run.given()[name])
        yield from sorted(config.project_root().glob("*"))
        yield from sorted((config.ASSETS / "sample").glob("*"))

    def _upload(self, content: dict[str, Any], piece: bytes) -> None:
        """Take a piece of a file; the last one completes it, unless the same file is there already."""
        name = Path(content["file"]).name
        suffix = Path(name).suffix.lower()
        if suffix not in CHOSEN_BY_SIGHT[content["name"]]:
            known = ", ".join(CHOSEN_BY_SIGHT[content["name"]])
            raise ValueError(f"{content['name']} must be one of {known}, got {name}; use another file")
        place = config.outputs_root() / UPLOADS / name
        if content["offset"] == 0:
            self._part.close()  # of an upload that was broken off
            self._unfinished = self._part.enter_context(files.part(place))
        with self._unfinished.open("ab") as file:
            file.write(piece)
        offset, path = self._unfinished.stat().st_size, None
        if offset >= content["size"]:
            path = _kept(self._unfinished, place)
            self._part.close()
        self.tell("uploaded", name=content["name"], offset=offset, path=None if path is None else _shown(path))


def _kept(unfinished: Path, place: Path) -> Path:
    """Give an uploaded file its name; where the same contents are there already, those are taken, other ones stay beside it."""
    wanted = place
    for number in itertools.count(2):
        if not wanted.exists():
            files.put(unfinished, wanted)
            return wanted
        if files.sha256(wanted) == files.sha256(unfinished):
            return wanted
        wanted = place.with_stem(f"{place.stem}_{number}")
    raise AssertionError


def _plain(value: Any) -> Any:
    """Return a setting's value as a cell holds it."""
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else str(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _shown(path: Path) -> str:
    """Return a path as a parameters cell holds it: from the project's root where it lies below it."""
    root = config.project_root()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _text(value: Any) -> str:
    """Return a value as a field holds it; nothing for what is not set."""
    if value is None or value in ((), []):
        return ""
    if isinstance(value, list | tuple) and all(isinstance(each, str | int) for each in value):
        return ", ".join(map(str, value))
    return cell.written(value) if isinstance(value, dict | list | tuple) else str(value)


@functools.lru_cache(maxsize=128)
def _looks(path: Path, _: int) -> tuple[bytes, str]:
    """Return a file's image as JPEG, a few pixels high, and its facts."""
    if path.suffix.lower() in IMAGES:
        image = media.open_image(path).pixels
        label = f"{image.shape[1]}x{image.shape[0]}"
    else:
        clip = media.open_clip(path)
        image = media.Seeker(clip)[len(clip) // 2]
        label = f"{clip.width}x{clip.height}, {len(clip) / float(clip.fps):.1f} s"
    height = min(HEIGHT, image.shape[0])
    size = (max(1, round(image.shape[1] * height / image.shape[0])), height)
    small = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes(), label
