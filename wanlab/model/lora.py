"""LoRAs of the transformer: weights + strength * (alpha / rank) * up @ down, in the names of all who write such files.

Official and PEFT (`lora_A`, `lora_B`), Diffusers, Kijai's and lightx2v's (`lora_down`, `lora_up`, with `diff`, `diff_b`,
`diff_m` for what changes without a product) and kohya's with underscores. Full weights are changed when they are loaded;
quantised ones stay as they are, and the product is added to what their layer gives.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wanlab import config
from wanlab.files import weights
from wanlab.model import layouts, loading, parts
from wanlab.model.quantised import QuantisedLinear
from wanlab.model.tensors import Tensors

PREFIXES = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.")
UNDERSCORED = "lora_unet_"  # kohya's prefix: what follows has _ for .
ENDS = {  # of a tensor's name: what it is
    ".lora_down.weight": "down",
    ".lora_A.weight": "down",
    ".lora_A.default.weight": "down",
    ".lora.down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_B.weight": "up",
    ".lora_B.default.weight": "up",
    ".lora.up.weight": "up",
    ".alpha": "alpha",
    ".diff": "diff",
    ".diff_b": "diff_b",
    ".diff_m": "diff_m",
}
CHANGES = {"down": "weight", "diff": "weight", "diff_b": "bias", "diff_m": "modulation"}  # what of a layer
OTHER_KINDS = (
    r"\.(dora_scale|lora_magnitude_vector\S*|lora_mid\S*|hada_\w+|lokr_\w+|oft_\w+|\w+\.set_weight|reshape_weight)$"
)
RELIGHTING = ("relighting_lora/adapter_model.safetensors", "relighting_lora.safetensors", "relighting_lora.ckpt")
NAMED = 3  # layers in a message
_WORDS = re.compile(
    "norm_k_img|self_attn|cross_attn|[kv]_img|norm_[qk]|text_embedding|time_embedding|time_projection|img_emb|"
    "patch_embedding|pose_patch_embedding|face_adapter|face_encoder|motion_encoder|fuser_blocks|linear1_kv|linear1_q|[^_]+"
)


@dataclasses.dataclass(frozen=True)
class Lora:
    """A LoRA's file, matched to a network.

    Attributes:
        file: that holds it.
        strength: what its change is multiplied by.
        num_layers: that the file changes.
        unmatched: those of them that the network has not, or in another shape.
    """

    file: Path
    strength: float
    num_layers: int
    unmatched: tuple[str, ...]
    _tensors: Tensors
    _targets: Mapping[str, Sequence[_Change]]

    def describe(self) -> str:
        """Return how many of its layers match."""
        left = f"; not {_some(self.unmatched)}" if self.unmatched else ""
        matching = self.num_layers - len(self.unmatched)
        return f"LoRA {self.file.name} at {self.strength:g}: {matching} of {self.num_layers} layers match{left}"

    def names(self) -> Iterable[str]:
        """Return the network's tensors that it changes."""
        return self._targets

    def products(self, name: str, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
        """Yield the changes of a tensor: (down, up) whose product it is, or (difference,); the strength is in the last."""
        for change in self._targets[name]:
            *before, last = (self._tensors[key].to(device).float() for key in change.keys)
            part = last.chunk(change.count)[change.part]
            yield (*before, part * (self.strength * change.factor))


@dataclasses.dataclass(frozen=True)
class _Change:
    """What a file says of one tensor of the network.

    Attributes:
        keys: of the file: down and up, or a difference.
        factor: alpha / rank.
        part, count: which of the equal parts of its rows.
    """

    keys: tuple[str, ...]
    factor: float
    part: int
    count: int


def read(file: Path, strength: float, shapes: Mapping[str, Sequence[int]]) -> Lora:
    """Match a file to a network whose tensors have these shapes.

    Raises:
        ValueError: if it is damaged, no LoRA, of a kind that is not read, or no layer of it matches.
    """
    tensors = Tensors([file])
    layers = _layers(file, tensors)
    default = _default_alpha(file)
    targets: dict[str, list[_Change]] = {}
    unmatched = []
    for layer, keys in layers.items():
        found = list(_changes(layer, keys, tensors, shapes, default))
        if found:
            for name, change in found:
                targets.setdefault(name, []).append(change)
        else:
            unmatched.append(layer)
    if not layers:
        raise ValueError(f"{config.typed(file)} must be a LoRA, it has no lora_A, lora_down or diff; name another file")
    if not targets:
        raise ValueError(
            f"{config.typed(file)} must fit the checkpoint, 0 of {len(layers)} layers match (not {_some(unmatched)}); "
            "use a LoRA of Wan2.1 or Wan2.2 14B I2V or Animate with its checkpoint"
        )
    return Lora(file, strength, len(layers), tuple(unmatched), tensors, targets)


def of_checkpoint(folder: Path, given: Iterable[tuple[Path, float]]) -> list[Lora]:
    """Match files, each with its strength, to the transformer of a checkpoint by its headers. Raises as `read`."""
    shapes = loading.shapes("transformer", parts.of(folder)["transformer"])
    return [read(file, strength, shapes) for file, strength in given]


def apply(
    network: nn.Module,
    loras: Sequence[Lora],
    device: torch.device | None = None,
    within: Callable[[str], bool] = lambda name: True,
) -> None:
    """Change a network: full weights themselves, at quantised layers what they give.

    Args:
        network: is changed; its tensors stay where they are.
        loras: matched to it.
        device: that computes the changes; None: where each tensor is.
        within: which tensors are changed, by name.
    """
    for name in dict.fromkeys(name for lora in loras for name in lora.names() if within(name)):
        place, _, last = name.rpartition(".")
        layer: Any = network.get_submodule(place)
        changing = [lora for lora in loras if name in lora.names()]
        if isinstance(layer, QuantisedLinear) and last == "weight":
            for lora in changing:
                layer.add(lora.products(name, layer.numbers.device))
            continue
        old = getattr(layer, last)
        new = old.detach().to(device or old.device).float()
        for lora in changing:
            for *down, up in lora.products(name, new.device):
                new = new + (up.flatten(1) @ down[0].flatten(1) if down else up).reshape(new.shape)
        setattr(layer, last, nn.Parameter(new.to(old.dtype).to(old.device), requires_grad=False))


def matched(network: nn.Module, given: Iterable[tuple[Path, float]]) -> list[Lora]:
    """Match files, each with its strength, to a transformer that is loaded. Raises as `read`."""
    shapes = {name: tuple(each.shape) for name, each in network.named_parameters()}
    for name, each in network.named_modules():
        if isinstance(each, QuantisedLinear):
            shapes[f"{name}.weight"] = each.shape
    return [read(file, strength, shapes) for file, strength in given]


def relighting(folder: Path) -> Path | None:
    """Return the relighting LoRA that lies with a checkpoint, None where there is none.

    Args:
        folder: of the checkpoint, or the params file that names its parts.
    """
    transformer = parts.of(folder)["transformer"][0]
    homes = [folder, transformer if transformer.is_dir() else transformer.parent]
    for home in homes:
        for name in RELIGHTING:
            if (home / name).is_file():
                return home / name
    loras = homes[1].parent / "loras"  # ComfyUI's
    found = sorted(loras.rglob("*.safetensors")) if loras.is_dir() else []
    return next((path for path in found if "relight" in path.name.lower()), None)


def _layers(file: Path, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return by layer what a file has of it: down, up, alpha, …, each with the tensor's name."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        if other := re.search(OTHER_KINDS, name):
            raise ValueError(
                f"{config.typed(file)} must be a plain LoRA, got {other[1]} ({name}), which is not read; "
                "use a LoRA with lora_A and lora_B"
            )
        end = next((end for end in ENDS if name.endswith(end)), None)
        if end is not None:
            found.setdefault(_layer(name.removesuffix(end)), {})[ENDS[end]] = name
    for layer, keys in found.items():
        if ("down" in keys) != ("up" in keys):
            raise ValueError(f"{config.typed(file)} is damaged: of {layer} one of lora_A and lora_B is missing")
    return found


def _layer(name: str) -> str:
    """Return a layer's official or Diffusers name without what its writer put around it."""
    if name.startswith(UNDERSCORED):
        return ".".join(_WORDS.findall(name.removeprefix(UNDERSCORED)))
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _changes(
    layer: str, keys: Mapping[str, str], tensors: Tensors, shapes: Mapping[str, Sequence[int]], default: float | None
) -> Iterator[tuple[str, _Change]]:
    """Yield the network's tensors that a layer of the file changes; none where one of them is missing or of another shape."""
    found = []
    for kind, of in CHANGES.items():
        if kind not in keys:
            continue
        names = layouts.renamed("transformer", f"{layer}.{of}")
        if not names or any(name not in shapes for name in names):
            return
        wanted = [sum(shapes[name][0] for name in names), *shapes[names[0]][1:]]
        used = (keys["down"], keys["up"]) if kind == "down" else (keys[kind],)
        factor = 1.0
        if kind == "down":
            down, up = (tensors.shapes[key] for key in used)
            rank = down[0]
            if up[0] != wanted[0] or math.prod(down[1:]) != math.prod(wanted[1:]) or math.prod(up[1:]) != rank:
                return
            alpha = float(tensors[keys["alpha"]]) if "alpha" in keys else default
            factor = 1.0 if alpha is None else alpha / rank
        elif loading.squeezed(tensors.shapes[used[0]]) != loading.squeezed(wanted):
            return
        found += [(name, _Change(used, factor, part, len(names))) for part, name in enumerate(names)]
    yield from found


def _default_alpha(file: Path) -> float | None:
    """Return the alpha of a file without alpha tensors, as PEFT's settings beside it or in its header say; None: the rank.

    Raises:
        ValueError: if layers differ in it, which is not read.
    """
    settings: Mapping[str, Any] = {}
    beside = file.parent / "adapter_config.json"
    try:
        if file.name == "adapter_model.safetensors" and beside.is_file():
            settings = json.loads(beside.read_text(encoding="utf-8"))
        elif file.suffix == ".safetensors":
            text = weights.header(file).get("__metadata__", {}).get("lora_adapter_metadata", "{}")
            settings = {name.removeprefix("transformer."): value for name, value in json.loads(text).items()}
        if settings.get("alpha_pattern") or settings.get("rank_pattern"):
            raise ValueError("it has another alpha or rank for some layers, which is not read")
        alpha, rank = settings.get("lora_alpha"), settings.get("r")
        if alpha is None or rank is None:
            return None
        return float(alpha) * (math.sqrt(float(rank)) if settings.get("use_rslora") else 1.0)  # alpha / sqrt(rank)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{config.typed(file)} must have settings that are read: {error}; use another file") from None


def _some(layers: Sequence[str]) -> str:
    return ", ".join(layers[:NAMED]) + (", …" if len(layers) > NAMED else "")
