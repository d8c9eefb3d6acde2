"""Networks of diffusers and transformers from files in other layouts, tensor by tensor and straight onto their device.

Quantised weights of linear layers stay as they are in the file; each is widened when it is used.
"""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wanlab import config
from wanlab.model import layouts, parts
from wanlab.model.quantised import QuantisedLinear, Stored
from wanlab.model.single_files import BLOCKS
from wanlab.model.tensors import TOKENIZER, Tensors

CONFIGS = config.ASSETS / "wan22_animate_14b"  # what shapes do not tell, by component
WHOLE = ("diffusion_pytorch_model.safetensors", "model.safetensors")  # of a folder, in one file
NAMED = 4  # tensors in a message
WHAT = {
    "transformer": "Wan-Animate's transformer",
    "vae": "the VAE of Wan2.1",
    "text_encoder": "UMT5's encoder",
    "image_encoder": "CLIP's image encoder",
}


class Contents(NamedTuple):
    """How the tensors of files compare with those of a network.

    Attributes:
        num_tensors: in the files.
        missing, unknown: names that the files lack, or that the network does not have.
        misshapen: names with both shapes.
    """

    num_tensors: int
    missing: Sequence[str]
    unknown: Sequence[str]
    misshapen: Sequence[str]


def load(component: str, part: Iterable[Path], device: torch.device, dtype: torch.dtype, **settings: Any) -> Any:
    """Return a network, ready to be asked. Several may be loaded at the same time.

    Args:
        component: transformer, vae, text_encoder or image_encoder.
        part: files that hold its tensors, under official, ComfyUI's or its own names; or a folder as diffusers and
            transformers write it.
        device: where it shall live.
        dtype: of its weights; what the network keeps in float32 stays so.
        settings: of the network, in place of those of the real checkpoint, or of the folder.

    Raises:
        ValueError: if the files hold something else, less or more; the message names tensors.
    """
    part = tuple(part)
    if parts.is_folder(part):
        files = _files_of(part)
        tensors, shapes = Tensors(files), _shapes_of(component, files)
        network = _unfilled(component, {**_settings_of(part[0]), **settings})
    else:
        files = part
        tensors, shapes, told = _read(component, files)
        network = empty(component, **{**told, **settings})
    _check(component, _place(files), dict(network.named_parameters()), shapes)
    kept = set(getattr(network, "_keep_in_fp32_modules", None) or ()) if component == "transformer" else set()
    for old in tensors:
        names = layouts.renamed(component, old)
        for name, part_of in zip(names, tensors.stored(old).cut(len(names)) if names else (), strict=True):
            in_full = bool(kept & set(name.split(".")))
            _put(network, name, part_of.to(device), torch.float32 if in_full else dtype, in_full)
    if component == "text_encoder":
        network.tie_weights()
    return network.to(device).eval()  # constants that no file holds go along


def empty(component: str, **settings: Any) -> Any:
    """Return a network without weights, its constants in place.

    Args:
        component: which network.
        settings: of it, in place of those of the real checkpoint.
    """
    known = json.loads((CONFIGS / f"{component}.json").read_text(encoding="utf-8"))
    return _unfilled(component, {**known, **settings})


def _unfilled(component: str, settings: dict[str, Any]) -> Any:
    """Return a network without weights, made from all of its settings."""
    with _WithoutMemory():
        if component == "transformer":
            from diffusers import WanAnimateTransformer3DModel  # pyright: ignore[reportPrivateImportUsage]

            return _on_meta(WanAnimateTransformer3DModel.from_config(settings))
        if component == "vae":
            from diffusers import AutoencoderKLWan  # pyright: ignore[reportPrivateImportUsage]

            return _on_meta(AutoencoderKLWan.from_config(settings))
        import transformers

        if component == "text_encoder":
            return _on_meta(transformers.UMT5EncoderModel(transformers.UMT5Config(**settings)))
        return _on_meta(transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**settings)))


class _WithoutMemory(TorchFunctionMode):
    """Inside it what torch would leave unfilled takes no memory, in this thread alone: weights are brought by files."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func is torch.empty and given.get("device") is None:
            given["device"] = "meta"
        return func(*args, **given)


def _on_meta(network: Any) -> Any:
    """Return a network whose parameters, small ones that were filled too, hold nothing."""
    for layer in network.modules():
        for name, each in layer.named_parameters(recurse=False):
            setattr(layer, name, nn.Parameter(each.to("meta"), requires_grad=False))
    return network


def check(component: str, files: Iterable[Path]) -> None:
    """Refuse files whose headers tell another network than `component`, or a format that is not read. Raises as `load`."""
    _read(component, files)


def shapes(component: str, part: tuple[Path, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's tensors by its own names, as headers tell them.

    Args:
        component: which network.
        part: a folder as diffusers writes it, or files.
    """
    return _shapes_of(component, _files_of(part))


def sizes(component: str, part: tuple[Path, ...], plain: int) -> dict[str, int]:
    """Return the bytes of a network's tensors by its own names once it is loaded, as headers tell them.

    Args:
        component: which network.
        part: as in `shapes`.
        plain: bytes of a number whose type is not kept.
    """
    tensors, found = Tensors(_files_of(part)), {}
    for old, shape in tensors.shapes.items():
        bits = (_bits(tensors.dtypes[old]) if len(shape) == 2 else 0) or 8 * plain
        for name, own in _shapes(component, old, shape):
            found[name] = int(math.prod(own) * bits / 8)
    return found


def _bits(dtype: str) -> float:
    """Return how many bits a number of a matrix takes that stays as it is in its file; 0: it does not stay."""
    if dtype in BLOCKS:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        block, size = GGML_QUANT_SIZES[GGMLQuantizationType[dtype]]
        return 8 * size / block
    return 8 if dtype == "I8" or dtype.startswith("F8") else 0


def contents(component: str, part: tuple[Path, ...]) -> Contents:
    """Return how the tensors of a part compare with those of its network; headers alone are read.

    Args:
        component: transformer, vae, text_encoder or image_encoder.
        part: a folder as diffusers and transformers write it, or files.

    Raises:
        ValueError: if the files hold another network, or a format that is not read.
    """
    if parts.is_folder(part):
        network, found = _unfilled(component, _settings_of(part[0])), shapes(component, part)
    else:
        _, found, settings = _read(component, part)
        network = empty(component, **settings)
    return _compared(dict(network.named_parameters()), found)


def tokens_of(file: Path) -> Callable[[str], list[int]]:
    """Return the tokenizer that a file holds: SentencePiece's own, or the tensor `spiece_model` of ComfyUI's UMT5 files.

    Raises:
        ValueError: if the file holds none.
    """
    from sentencepiece import SentencePieceProcessor

    if file.suffix == ".safetensors":
        tensors = Tensors([file])
        if TOKENIZER not in tensors:
            raise ValueError(
                f"{config.typed(file)} must hold the tensor {TOKENIZER}, it has none; name the folder google/umt5-xxl as tokenizer"
            )
        content = bytes(tensors[TOKENIZER].flatten().tolist())
    else:
        content = file.read_bytes()
    pieces = SentencePieceProcessor(model_proto=content)
    return lambda text: [*pieces.encode(text), pieces.eos_id()]


def _read(component: str, files: Iterable[Path]) -> tuple[Tensors, dict[str, tuple[int, ...]], dict[str, Any]]:
    """Return the tensors of files, their shapes by the network's names, and the settings that these tell."""
    tensors = Tensors(files)
    pairs = [pair for old in tensors for pair in _shapes(component, old, tensors.shapes[old])]
    shapes = dict(pairs)
    if len(shapes) < len(pairs):
        twice = next(name for name, count in collections.Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{_place(files)} must hold each tensor once, got {twice} under two names; name one file")
    try:
        return tensors, shapes, layouts.sizes(component, shapes)
    except (KeyError, ZeroDivisionError) as error:
        raise ValueError(
            f"{_place(files)} must be {WHAT[component]}, it has no tensor {error.args[0]}; name another file"
        ) from None


def _files_of(part: tuple[Path, ...]) -> Sequence[Path]:
    """Return the files that hold a part's tensors; of a folder those of its index, without variants beside them."""
    if not parts.is_folder(part):
        return part
    for index in part[0].glob("*.safetensors.index.json"):
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [part[0] / name for name in sorted(set(named))]
    found = sorted(part[0].glob("*.safetensors"))
    return [path for path in found if path.name in WHOLE] or found


def _settings_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def _shapes_of(component: str, files: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    tensors = Tensors(files)
    return dict(pair for old in tensors for pair in _shapes(component, old, tensors.shapes[old]))


def _place(files: Iterable[Path]) -> str:
    return ", ".join(dict.fromkeys(config.typed(file) for file in files))


def _shapes(component: str, name: str, shape: tuple[int, ...]) -> Iterable[tuple[str, tuple[int, ...]]]:
    names = layouts.renamed(component, name)
    return [(new, (shape[0] // len(names), *shape[1:]) if len(names) > 1 else shape) for new in names]


def _check(component: str, place: str, wanted: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse files that do not hold exactly the tensors of the network."""
    found = _compared(wanted, shapes)
    said = [
        f"{len(names)} tensors {what} ({', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''})"
        for what, names in (
            ("are missing", found.missing),
            ("are not known", found.unknown),
            ("have another shape", found.misshapen),
        )
        if names
    ]
    if said:
        raise ValueError(f"{place} must be {WHAT[component]}: {'; '.join(said)}; name another file, or get it again")


def _compared(wanted: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> Contents:
    tied = "embed_tokens.weight"  # UMT5's is `shared.weight` once more
    wanted = {name: each for name, each in wanted.items() if not name.endswith(tied)}
    unknown = sorted(name for name in set(shapes) - set(wanted) if not name.endswith(tied))
    misshapen = [
        f"{name} {list(shapes[name])} for {list(each.shape)}"
        for name, each in wanted.items()
        if name in shapes and squeezed(shapes[name]) != squeezed(each.shape)
    ]
    return Contents(len(shapes), sorted(set(wanted) - set(shapes)), unknown, misshapen)


def squeezed(shape: Iterable[int]) -> list[int]:
    """Return a shape without sides of length 1: layouts differ in them."""
    return [side for side in shape if side != 1]


def _put(network: nn.Module, name: str, stored: Stored, dtype: torch.dtype, in_full: bool) -> None:
    """Give the network one of its tensors."""
    place, _, last = name.rpartition(".")
    layer: Any = network.get_submodule(place)
    shape = getattr(layer, last).shape
    is_matrix = type(layer) is nn.Linear and last == "weight" and stored.numbers.ndim == 2
    if stored.is_quantised and is_matrix and not in_full:
        above, _, own = place.rpartition(".")
        network.get_submodule(above).register_module(own, QuantisedLinear(stored, layer.bias))
        return
    setattr(layer, last, nn.Parameter(stored.weights(dtype).reshape(shape), requires_grad=False))
