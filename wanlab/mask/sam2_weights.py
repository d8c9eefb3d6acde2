"""SAM2's weights: where they are, which model a file holds (by its keys and shapes), and loading them.

The networks are sam2's own classes. Light until `build` is called.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from wanlab import config
from wanlab.files import fingerprints

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

    Network = TypeVar("Network", bound=SAM2Base)
NANO = config.ASSETS / "sam2_nano" / "model.safetensors"  # the bundled miniature, its config.yaml beside it
PLACES = ("process_checkpoint/sam2", "models/sams", "models/sam2", ".")  # upstream's, ComfyUI's two, the folder itself
SUFFIXES = (".pt", ".pth", ".safetensors")
DOWNLOAD = "hf download facebook/sam2.1-hiera-large sam2.1_hiera_large.pt --local-dir Wan2.2-Animate-14B/process_checkpoint/sam2"
SIZES = {  # channels and blocks of the image encoder: name, as sam2's config files are called; the best comes first
    (144, 48): ("large", "l"),
    (112, 24): ("base_plus", "b+"),
    (96, 16): ("small", "s"),
    (96, 12): ("tiny", "t"),
}
OTHERS = {  # how the keys of what is no SAM2 begin
    "image_encoder.blocks.": "the first SAM (segment-anything)",
    "image_encoder.layers.": "MobileSAM",
    "vision_encoder.": "the layout of Hugging Face's transformers",
    "detector.": "SAM3",
}
AS_PREDICTED = {  # what sam2's build functions add to its config files for prediction
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
    "binarize_mask_from_pts_for_mem_enc": True,
}


@dataclasses.dataclass(frozen=True)
class Weights:
    """A file of weights and the model that it holds.

    Attributes:
        file: .pt as Meta publishes them or .safetensors as ComfyUI has them, of any float type.
        name: for messages and reports, e.g. "SAM2.1 large".
        config: sam2's config file of that model.
    """

    file: Path
    name: str
    config: Path

    def sha256(self) -> str:
        """Return the SHA-256 of the file."""
        return fingerprints.of_file(self.file)

    def describe(self) -> str:
        """Return name, file and the start of its SHA-256, for notes."""
        return f"{self.name} ({self.file.name}, SHA-256 {self.sha256()[:12]})"


def choose(
    setting: Path | Literal["auto", "nano", "none"], *, checkpoint: Path | None = None
) -> tuple[Weights | None, tuple[str, ...]]:
    """Return the weights that `sam_checkpoint` means, None for none, and sentences about files that were passed over.

    `auto` is the best that is here: full-size weights in `config.weight_folders`, the largest first and SAM2.1 before SAM2. It is never the bundled miniature, which knows rendered people:
    on real videos GrabCut is better.

    Args:
        setting: auto, nano, none, a file, or a folder that holds one (a checkpoint's, ComfyUI's, or the file's own).
        checkpoint: another folder to look into.

    Raises:
        FileNotFoundError: if what was named is not there.
        SettingsError: if a named file is no SAM2.
    """
    if setting == "none":
        return None, ()
    if setting == "nano":
        return read(NANO), ()
    if setting != "auto":
        path = config.absolute(setting)
        if not path.is_dir():
            try:
                return read(path), ()
            except ValueError as error:
                raise config.SettingsError(f"sam_checkpoint {error}") from None
        found, notes = _best(_files(path))
        if found is None:
            raise FileNotFoundError(
                "; ".join(notes)
                or f"sam_checkpoint must be a file or a folder with SAM2's weights, got {config.typed(path)}, which holds none "
                f"(*sam2*.pt or .safetensors in {', '.join(PLACES)}); get them: {DOWNLOAD}"
            )
        return found, notes
    return _best(list(dict.fromkeys(file for folder in config.weight_folders(checkpoint) for file in _files(folder))))


def read(file: Path) -> Weights:
    """Tell which model a file holds by its keys and shapes.

    Raises:
        FileNotFoundError: if it is missing; the message names the command that gets one.
        ValueError: if it is damaged or no SAM2; the message describes what was found.
    """
    if not file.is_file():
        raise FileNotFoundError(f"SAM2 weights {config.typed(file)} do not exist; get some: {DOWNLOAD}")
    if file == NANO:
        return Weights(file, "SAM2 nano", file.with_name("config.yaml"))
    facts = file.stat()
    name, code = recognise(_shapes(file, facts.st_mtime_ns, facts.st_size), file.name)
    version = name.split()[0].lower()
    return Weights(file, name, _package() / "configs" / version / f"{version}_hiera_{code}.yaml")


def recognise(shapes: Mapping[str, tuple[int, ...]], file: str) -> tuple[str, str]:
    """Return the model's name and the code of its config file.

    Args:
        shapes: of each tensor, by its key.
        file: what a message calls it.

    Raises:
        ValueError: no SAM2 of a known size; the message describes what was found.
    """
    channels = shapes.get("image_encoder.trunk.patch_embed.proj.weight", (0,))[0]
    blocks = len({key.split(".")[3] for key in shapes if key.startswith("image_encoder.trunk.blocks.")})
    if (channels, blocks) in SIZES:
        size, code = SIZES[channels, blocks]
        return f"{'SAM2.1' if 'no_obj_embed_spatial' in shapes else 'SAM2'} {size}", code
    looks = next((what for start, what in OTHERS.items() if any(key.startswith(start) for key in shapes)), None)
    if channels:
        looks = f"a SAM2 of no published size ({channels} channels, {blocks} blocks)"
    looks = looks or f"something else ({len(shapes)} tensors, the first is {next(iter(shapes), 'none')})"
    raise ValueError(f"{file} must hold SAM2 or SAM2.1, but looks like {looks}; get one: {DOWNLOAD}")


def build(weights: Weights, network: type[Network], device: str) -> Network:
    """Build sam2's model for the weights and load them, float32.

    Args:
        weights: from `read` or `choose`.
        network: SAM2Base or a class of its kind.
        device: cuda or cpu.

    Raises:
        ValueError: if keys are missing, unexpected or of another shape; the message names them.
    """
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    description = OmegaConf.load(weights.config).model
    del description["_target_"]
    made = network(**instantiate(description, _convert_="all"), **AS_PREDICTED)
    tensors = _tensors(weights.file)
    wanted = {key: tuple(tensor.shape) for key, tensor in made.state_dict().items()}
    got = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    faults = [
        *_several("missing", [key for key in wanted if key not in got]),
        *_several("unexpected", [key for key in got if key not in wanted]),
        *_several("of another shape", [key for key in wanted if key in got and got[key] != wanted[key]]),
    ]
    if faults:
        raise ValueError(
            f"{weights.file.name} must hold all of {weights.name}, but {'; '.join(faults)}; get it again: {DOWNLOAD}"
        )
    made.load_state_dict(tensors)
    return made.eval().requires_grad_(False).to(device)


def overview() -> Iterator[tuple[str, str]]:
    """Yield a row (name, what is known of it): the weights that `auto` takes, and the miniature."""
    found, notes = choose("auto")
    yield (
        "SAM2",
        "; ".join(
            [f"{found.name} in {config.typed(found.file)}" if found else f"not here; get it: {DOWNLOAD}", *notes]
        ),
    )
    yield "SAM2 nano", f"bundled, SHA-256 {read(NANO).sha256()[:12]}…"


def _best(files: list[Path]) -> tuple[Weights | None, tuple[str, ...]]:
    """Return the largest and newest of the models, and a sentence per file that is none."""
    found, notes = [], []
    for file in files:
        try:
            found.append(read(file))
        except ValueError as error:
            notes.append(f"passed over: {error}")
    order = [f"{version} {size}" for size, _ in SIZES.values() for version in ("SAM2.1", "SAM2")]
    return min(found, key=lambda weights: order.index(weights.name), default=None), tuple(notes)


def _files(folder: Path) -> list[Path]:
    """Return the files of SAM2's name in a folder and its known places."""
    there = [path for place in PLACES for path in sorted((folder / place).glob("*[sS][aA][mM]2*"))]
    return [path.resolve() for path in there if path.suffix in SUFFIXES]


def _package() -> Path:
    """Return sam2's folder without importing it, which loads torch."""
    found = importlib.util.find_spec("sam2")
    assert found is not None  # a dependency of wanlab
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])


@functools.lru_cache(maxsize=64)
def _shapes(file: Path, _mtime: int, _size: int) -> dict[str, tuple[int, ...]]:
    if file.suffix != ".safetensors":
        return {key: tuple(tensor.shape) for key, tensor in _tensors(file).items()}
    try:
        with file.open("rb") as opened:
            header = json.loads(opened.read(min(int.from_bytes(opened.read(8), "little"), 2**26)))
        return {key: tuple(facts["shape"]) for key, facts in header.items() if key != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{file.name} must be a complete safetensors file, got other bytes; get it again") from None


def _tensors(file: Path) -> dict[str, Any]:
    """Return a file's tensors by key; on disk until they are used."""
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    import pickle

    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if zipfile.is_zipfile(file) else "other bytes"  # torch then speaks of mmap
        raise ValueError(
            f"{file.name} must be a complete PyTorch checkpoint of plain tensors, got {reason}; get it again"
        ) from None
    content = content.get("model", content) if isinstance(content, dict) else {}
    return {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}


def _several(what: str, keys: list[str]) -> Iterator[str]:
    if keys:
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        yield f"{what}: {', '.join(keys[:3])}{more}"
