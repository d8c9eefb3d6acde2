"""The files that the parts of a checkpoint are read from, in whichever layout they lie."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from wanlab.files import weights

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
TOKENIZERS = ("tokenizer.json", "spiece.model")  # either will do


def is_official(folder: Path) -> bool:
    """Return whether a folder looks like the official checkpoint, whole or not."""
    return any(folder.glob("diffusion_pytorch_model*.safetensors*")) or any(
        (folder / name).exists() for name in (VAE, TEXT_ENCODER, IMAGE_ENCODER)
    )


def of(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the files of each part, there or not; nothing where the folder has no layout that is known."""
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
    return {}


def is_folder(part: tuple[Path, ...]) -> bool:
    """Return whether a part is a folder as diffusers and transformers write it."""
    return len(part) == 1 and part[0].is_dir()


def faults(parts: Parts) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with the files of a checkpoint: a file, and how its sentence ends."""
    for name, part in parts.items():
        for path in part:
            if name in ("tokenizer", "image_processor") or path.is_dir() or not path.suffix:
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
