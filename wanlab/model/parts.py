"""The files that the parts of a checkpoint are read from, in whichever layout they lie."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wanlab import config
from wanlab.files import weights
from wanlab.model import single_files

Parts = Mapping[str, tuple[Path, ...]]  # by component: a folder as diffusers and transformers write it, or files
INDEX = "model_index.json"  # of a folder in Diffusers layout
SUFFIXES = (".safetensors", ".json", ".model", ".txt")  # of what is read there: weights, descriptions, tokenizers
COMPONENTS = {  # whether it has weights
    "transformer": True,
    "vae": True,
    "text_encoder": True,
    "image_encoder": True,
    "image_processor": False,
    "tokenizer": False,
}
SHARDS = "diffusion_pytorch_model.safetensors.index.json"  # of the official folder's transformer
TEXT_ENCODER, TOKENIZER = "models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl"
IMAGE_ENCODER, VAE = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", "Wan2.1_VAE.pth"
PARAMS = (".yaml", ".yml", ".json")  # of files that name the parts
TOKENIZERS = ("tokenizer.json", "spiece.model")  # either will do


def is_official(folder: Path) -> bool:
    """Return whether a folder looks like the official checkpoint, whole or not."""
    return any(folder.glob("diffusion_pytorch_model*.safetensors*")) or any(
        (folder / name).exists() for name in (VAE, TEXT_ENCODER, IMAGE_ENCODER)
    )


def of(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the files of each part, there or not; nothing where the folder has no layout that is known.

    Args:
        folder: of a checkpoint, ComfyUI's, or a params file that names the parts: `transformer: …`, `vae: …`.

    Raises:
        SettingsError: if the params file is none, or lacks a part; if ComfyUI has several files of a part.
        FileNotFoundError: if ComfyUI lacks a part.
    """
    if folder.is_file():
        if folder.suffix not in PARAMS:
            raise config.SettingsError(
                f"checkpoint must be a folder or a params file that names the parts, got {config.typed(folder)}; "
                "wanlab models link shows such a params file"
            )
        return _named(folder)
    if (folder / INDEX).is_file():
        return {name: (folder / name,) for name in COMPONENTS}
    if is_official(folder):
        return {
            "transformer": tuple(folder / name for name in _shards(folder)),
            "vae": (folder / VAE,),
            "text_encoder": (folder / TEXT_ENCODER,),
            "image_encoder": (folder / IMAGE_ENCODER,),
            "tokenizer": (folder / TOKENIZER,),
        }
    return chosen(folder, {}) if is_scattered(folder) else {}


def is_scattered(folder: Path) -> bool:
    """Return whether the parts lie here and there: named by a params file, or in ComfyUI's folders."""
    has_layout = (folder / INDEX).is_file() or is_official(folder)
    return folder.is_file() or (not has_layout and single_files.is_comfyui(folder))


def chosen(comfyui: Path, wanted: Mapping[str, str]) -> dict[str, tuple[Path, ...]]:
    """Return the files of the parts in ComfyUI's folders: the only one there is, or the one that is wanted.

    Args:
        comfyui: its folder.
        wanted: by part, a file's name or the end of its path.

    Raises:
        SettingsError: if there are several of a part, or the wanted one is none of them; the message lists them.
        FileNotFoundError: if there is none.
    """
    here = list(single_files.files(comfyui))
    faults, parts = [], {}
    for part in single_files.FOLDERS:
        files = [file for file in here if file.part == part]
        usable = [file for file in files if not file.fault]
        if part in wanted:
            usable = [file for file in usable if file.path.as_posix().endswith(wanted[part].lstrip("/"))]
        if len(usable) == 1:
            parts[part] = (usable[0].path,)
            if part == "text_encoder" and usable[0].has_tokenizer:
                parts["tokenizer"] = (usable[0].path,)
        elif not files:
            places = " or ".join(f"models/{name}" for name in single_files.FOLDERS[part])
            raise FileNotFoundError(
                f"{config.typed(comfyui)} has no {part} of Wan-Animate in {places}; wanlab models shows what is there"
            )
        else:
            faults.append(_which(part, files, usable, wanted.get(part)))
    if faults:
        raise config.SettingsError("\n".join(faults))
    return parts | ({} if "tokenizer" in parts else {"tokenizer": (_tokenizer(parts["text_encoder"][0]),)})


def _which(part: str, files: list[single_files.File], usable: list[single_files.File], wanted: str | None) -> str:
    """Return the line that asks which file of a part is meant."""
    listed = ", ".join(file.describe() for file in usable or files)
    if wanted is not None:
        return f"{part} must be one of the files that are there, got {wanted}; use one of {listed}"
    if not usable:
        return f"{part} must be a file that is read, got {listed}; get a bf16, fp16, fp8, fp8-scaled, int8 or GGUF one"
    return (
        f"{part} must be one file, {len(usable)} are there: {listed}; choose one with "
        f"wanlab models link --{part} {usable[0].path.name} > my_models.yaml, then --checkpoint my_models.yaml"
    )


def _tokenizer(text_encoder: Path) -> Path:
    """Return a folder of UMT5's tokenizer, for a text encoder whose file holds none."""
    for folder in config.weight_folders():
        for place in (folder / TOKENIZER, folder / "tokenizer"):
            if any((place / name).is_file() for name in TOKENIZERS):
                return place
    raise FileNotFoundError(
        f"{config.typed(text_encoder)} holds no tokenizer (the tensor spiece_model), and none was found; get it: "
        f"hf download {config.CHECKPOINT_REPOSITORIES[1]} --include '{TOKENIZER}/*' --local-dir {config.CHECKPOINT_FOLDERS[0]}"
    )


def is_folder(part: tuple[Path, ...]) -> bool:
    """Return whether a part is a folder as diffusers and transformers write it."""
    return len(part) == 1 and part[0].is_dir()


def faults(parts: Parts) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with the files of a checkpoint: a file, and how its sentence ends."""
    for name, part in parts.items():
        for path in part:
            if path.is_dir() or not path.suffix:
                yield from _of_folder(path, COMPONENTS[name])
            elif fault := weights.fault(path):
                yield path, fault


def files(part: tuple[Path, ...]) -> list[Path]:
    """Return the files of a part that are read."""
    return [
        path
        for place in part
        for path in (place.rglob("*") if place.is_dir() else [place])
        if path.is_file() and (path.suffix in SUFFIXES or not place.is_dir())
    ]


def _named(file: Path) -> dict[str, tuple[Path, ...]]:
    """Return the parts that a params file names."""
    content = config.read_mapping(file)
    faults = [config.unknown_name(str(name), COMPONENTS) for name in content if name not in COMPONENTS]
    named = {}
    for name, has_weights in COMPONENTS.items():
        if content.get(name) is not None:
            named[name] = _paths(name, content[name], faults)
        elif has_weights:
            faults.append(f"{name} must be a file or a folder, it is missing")
    if "tokenizer" not in named and "text_encoder" in named:
        named["tokenizer"] = named["text_encoder"]  # ComfyUI's files hold it
    if faults:
        raise config.SettingsError(
            "\n".join(
                f"{config.typed(file)}: {fault}; wanlab models link shows what a whole one looks like"
                for fault in faults
            )
        )
    return named


def _paths(name: str, value: Any, faults: list[str]) -> tuple[Path, ...]:
    """Return the files of a part as a params file names them; shards of an official folder by the folder."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(each, str) for each in values):
        faults.append(f"{name} must be a file or a folder, got {config.brief(value)}")
        return ()
    # links are not followed: in a hub's cache they point to files whose names tell nothing
    paths = [config.project_root() / config.expanded(each) for each in values]
    if name == "transformer" and len(paths) == 1 and (paths[0] / SHARDS).is_file():
        return tuple(paths[0] / shard for shard in _shards(paths[0]))
    return tuple(paths)


def _shards(folder: Path) -> list[str]:
    """Return the names of the official transformer's files: the index alone where it is no index."""
    with contextlib.suppress(OSError, ValueError):
        return weights.shards(folder / SHARDS)
    return [SHARDS]


def _of_folder(folder: Path, has_weights: bool) -> Iterator[tuple[Path, str]]:
    if not folder.is_dir():
        yield folder, "is missing"
        return
    names = {path.name for path in folder.iterdir() if path.suffix in SUFFIXES}
    for index in folder.glob("*.safetensors.index.json") if has_weights else ():
        with contextlib.suppress(ValueError):  # its own fault is named below
            names.update(weights.shards(index))
    if has_weights:
        names.add("config.json")
        if not any(name.endswith(".safetensors") for name in names):
            yield folder / "*.safetensors", "is missing"
    elif folder.name == Path(TOKENIZER).name and not names & set(TOKENIZERS):
        yield folder / TOKENIZERS[0], "is missing"
    for name in sorted(names):
        if fault := weights.fault(folder / name):
            yield folder / name, fault
