"""Checkpoints on disk: which exists, whether it is complete, what it recommends and what it cannot do."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wanlab import config
from wanlab.config import CHECKPOINT_FOLDERS
from wanlab.files import fingerprints
from wanlab.model import parts, single_files

NANO = config.ASSETS / "nano"
SETTINGS = "wanlab.json"  # beside the weights
SETTINGS_14B = config.ASSETS / "wan22_animate_14b.json"  # a folder of the real model has none
DOWNLOAD = "hf download Wan-AI/Wan2.2-Animate-14B-Diffusers --local-dir Wan2.2-Animate-14B"
DOWNLOAD_OFFICIAL = "wanlab models download --source huggingface"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint, in whichever layout it lies.

    Attributes:
        folder: where it is, or the params file that names its parts.
        name: what it is called in messages and reports.
        recommended: value per setting whose `None` means "as the checkpoint recommends".
        limits: (least, most) per setting, and of `pixel_area` in pixels; what lies outside it cannot do.
        notes: what a reader must know, e.g. that another checkpoint was passed over.
    """

    folder: Path
    name: str
    recommended: Mapping[str, Any]
    limits: Mapping[str, tuple[int, int]]
    notes: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Return the fingerprint of the contents of its files; see `fingerprints.of_files`."""
        if parts.is_scattered(self.folder):
            return _of_named(parts.of(self.folder))
        if not (self.folder / parts.INDEX).is_file():
            read = [path for part in parts.of(self.folder).values() for path in parts.files(part)]
            return fingerprints.of_files(self.folder, read)
        everything = (path for name in (*parts.COMPONENTS, "scheduler") for path in (self.folder / name).rglob("*"))
        read = [path for path in everything if path.is_file() and path.suffix in parts.SUFFIXES]
        own = (self.folder / name for name in (parts.INDEX, SETTINGS))
        return fingerprints.of_files(self.folder, [*read, *(path for path in own if path.is_file())])

    def faults(self, values: Mapping[str, Any]) -> list[str]:
        """Return a line for each of the settings, by name, whose value lies outside its limits."""
        found = []
        for name in (name for name in values if name in self.limits):
            low, high = self.limits[name]
            if not low <= values[name] <= high:
                use = min(max(values[name], low), high)
                found.append(f"{name} must be {low} to {high} with {self.name}, got {values[name]}; use {use}")
        return found

    def faults_of_size(self, height: int, width: int, asked: bool = False) -> list[str]:
        """Return the line that refuses a result of this size in pixels, none where it can be made.

        Args:
            height, width: of the result.
            asked: the size comes of the setting resolution, else of inputs that are there.
        """
        low, high = self.limits["pixel_area"]
        if low <= height * width <= high:
            return []
        name, again = ("resolution", "use") if asked else ("src_pose.mp4", "preprocess again with resolution")
        return [
            f"{name} must have {low} to {high} pixels with {self.name}, got {height}x{width} = "
            f'{height * width}; {again} "{self.recommended["resolution"]}"'
        ]


def find(path: Path | str | None) -> Checkpoint:
    """Return the checkpoint in folder `path` or whose parts this params file names, or for None the best that is here.

    None means `Wan2.2-Animate-14B/` in the project if it is complete and there is a GPU, then ComfyUI's files, then what the
    hubs' caches hold; else the bundled nano.

    Raises:
        FileNotFoundError: if the named folder is missing or not complete; the message names the file and the remedy.
        SettingsError: if its files hold something else, or in a format that is not read.
        ValueError: if its wanlab.json is damaged.
    """
    if path is not None:
        return _read(config.absolute(path))
    notes = []
    comfyui = config.comfyui_folder()
    for folder in _places():
        name = f"{config.shown(folder)}/"
        if folder == comfyui and not _has_gpu():  # which of its files are a checkpoint's, all their headers tell
            notes.append(
                f"the models in {name} are passed over, the bundled nano is used: this machine has no usable GPU"
            )
            continue
        if folder == comfyui and not any(file.part == "transformer" for file in single_files.files(comfyui)):
            continue
        try:
            found = _read(folder)
        except (FileNotFoundError, ValueError) as error:
            notes.append(f"{name} is passed over, the bundled nano is used instead: {error}")
            continue
        if _has_gpu():
            return found
        notes.append(f"{name} is passed over, the bundled nano is used instead: this machine has no usable GPU")
    return dataclasses.replace(_read(NANO), notes=tuple(notes))


def _places() -> Iterator[Path]:
    """Yield the folders that may hold a checkpoint, the best first; nothing in them is read."""
    yield from filter(Path.is_dir, (config.project_root() / name for name in CHECKPOINT_FOLDERS))
    if single_files.is_comfyui(config.comfyui_folder()):
        yield config.comfyui_folder()
    for repository in config.CHECKPOINT_REPOSITORIES:
        yield from config.cached_folders(repository)[:1]


def overview() -> Iterator[tuple[str, str]]:
    """Yield a row (name, what is known of it) for each checkpoint that wanlab looks for, and which of them is used."""
    yield "nano", f"bundled checkpoint, fingerprint {_read(NANO).fingerprint()}"
    for name in CHECKPOINT_FOLDERS:
        folder = config.project_root() / name
        yield name, _known(folder) if folder.is_dir() else f"not here; get it: {DOWNLOAD}"
    comfyui = config.comfyui_folder()
    files = list(single_files.files(comfyui))
    for file in files:
        yield f"ComfyUI: {file.part}", file.describe()
    if any(file.part == "transformer" for file in files):
        yield "ComfyUI", _known(comfyui)
    for repository in config.CHECKPOINT_REPOSITORIES:
        for folder in config.cached_folders(repository):
            yield f"cached {repository}", f"{_known(folder)}; {config.typed(folder)}"
    used = find(None)
    yield "used by default", "".join([used.name, *(f"; {note}" for note in used.notes)])


def _known(folder: Path) -> str:
    """Return what is known of a checkpoint in a folder: whether it is complete, its parts' types, its fingerprint."""
    from wanlab.model import lora

    try:
        checkpoint = _read(folder)
    except (FileNotFoundError, ValueError) as error:
        return str(error)
    types = ", ".join(f"{name} {kind}" for name, kind in dtypes(folder).items())
    relighting = lora.relighting(folder)
    more = f", relighting LoRA {relighting.name}" if relighting else ""
    return f"complete ({types}){more}, fingerprint {checkpoint.fingerprint()}"


def dtypes(folder: Path) -> dict[str, str]:
    """Return the type of the weights of each part of a complete checkpoint, by the part's name."""
    return {name: _dtype(part) for name, part in parts.of(folder).items() if parts.COMPONENTS[name]}


def _dtype(part: tuple[Path, ...]) -> str:
    """Return the type of a part's weights as far as headers tell it, else the kind of its file."""
    first = min(file for place in part for file in ([place] if place.is_file() else place.glob("*.safetensors")))
    return single_files.dtype(first)


def link(comfyui: Path, wanted: Mapping[str, str]) -> str:
    """Return a params file that names the parts in ComfyUI's folders. Raises as `parts.chosen`."""
    lines = [
        f"# checkpoint from {config.typed(comfyui)}: keep this as my_models.yaml, then --checkpoint my_models.yaml"
    ]
    for name, part in parts.chosen(comfyui, wanted).items():
        path = part[0].relative_to(config.project_root()) if part[0].is_relative_to(config.project_root()) else part[0]
        lines.append(f"{name}: {json.dumps(path.as_posix(), ensure_ascii=False)}")
    return "\n".join(lines)


def _read(folder: Path) -> Checkpoint:
    shown = config.shown(folder)
    if not folder.exists():
        raise FileNotFoundError(f"checkpoint {shown} does not exist; get it: {DOWNLOAD}")
    here = parts.of(folder)
    if not here:
        raise FileNotFoundError(
            f"checkpoint {shown} must be a folder in Diffusers or official layout, or ComfyUI's; it has neither {parts.INDEX} nor {parts.SHARDS}; "
            f"get one: {DOWNLOAD}"
        )
    for path, fault in parts.faults(here):
        raise FileNotFoundError(f"checkpoint {shown} is not complete, {_said(folder, path)} {fault}; {_remedy(folder)}")
    if parts.is_scattered(folder):
        _check_named(here)
    own = here["transformer"][0].parent / SETTINGS
    name, recommended, limits = _settings(own if own.is_file() else SETTINGS_14B)
    is_its_own = own.is_file() and not parts.is_scattered(folder)
    return Checkpoint(folder, name if is_its_own else _name(folder, here), recommended, limits)


def _name(folder: Path, here: parts.Parts) -> str:
    if folder.is_file():
        return folder.stem
    if parts.is_scattered(folder):
        return here["transformer"][0].stem
    return folder.parents[1].name.split("--")[-1] if folder.parent.name == "snapshots" else folder.name


def _said(folder: Path, path: Path) -> str:
    """Return how a message calls a file of a checkpoint."""
    name = path.relative_to(folder).as_posix() if folder in path.parents else config.typed(path)
    return name if path.suffix else f"{name}/"


def _remedy(folder: Path) -> str:
    if parts.is_scattered(folder):
        return f"name another one in {config.typed(folder)}"
    official = f"{DOWNLOAD_OFFICIAL} --checkpoint {config.typed(folder)}"
    return f"run the download again, it continues: {DOWNLOAD if (folder / parts.INDEX).is_file() else official}"


def _check_named(here: parts.Parts) -> None:
    """Refuse files that hold another network than the part they are named for, or in a format that is not read."""
    from wanlab.model import loading

    for name, part in here.items():
        if parts.COMPONENTS[name] and not parts.is_folder(part):
            try:
                loading.check(name, part)
            except ValueError as error:
                raise config.SettingsError(f"{name} {error}") from None


def _of_named(found: parts.Parts) -> str:
    """Return the fingerprint of parts that may lie anywhere: of their names and contents."""
    each = {
        name: [
            fingerprints.of_files(place if place.is_dir() else place.parent, parts.files((place,))) for place in part
        ]
        for name, part in found.items()
    }
    sampled = any("sampled" in text for texts in each.values() for text in texts)
    return config.digest(each)[:16] + (" (sampled)" if sampled else "")


def _settings(path: Path) -> tuple[str, dict[str, Any], dict[str, tuple[int, int]]]:
    """Return name, recommended settings and limits as a file beside the weights says them.

    Raises:
        ValueError: if it lacks one of them, or holds something else.
    """
    known = json.loads(SETTINGS_14B.read_text(encoding="utf-8"))
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        name, recommended = facts["name"], {key: facts["recommended"][key] for key in known["recommended"]}
        limits = {key: (int(low), int(high)) for key, (low, high) in facts["limits"].items()}
        if isinstance(name, str) and set(known["limits"]) <= set(limits) and None not in recommended.values():
            return name, recommended, limits
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        pass
    raise ValueError(
        f"{config.typed(path)} must be a JSON object with name, recommended ({', '.join(known['recommended'])}) and limits "
        f"({', '.join(known['limits'])}); bring back the one that came with the checkpoint"
    )


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
