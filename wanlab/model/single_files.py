"""Single files that ComfyUI's users have: found below its models folders, told apart by the names of their tensors."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from wanlab import config
from wanlab.files import weights

FOLDERS = {  # of ComfyUI's models/, by the part that lies there
    "transformer": ("diffusion_models", "unet"),
    "vae": ("vae",),
    "text_encoder": ("text_encoders", "clip"),
    "image_encoder": ("clip_vision",),
}
MORE_FOLDERS = "extra_model_paths.yaml"  # in ComfyUI's folder: where else models lie
MODELS = ("diffusion_models", "text_encoders")  # folders of models/ that tell ComfyUI from others
MARKS = {  # names of tensors that only this network has, the official one and that of diffusers or transformers
    "transformer": ("face_adapter.fuser_blocks.0.linear1_kv.weight", "face_adapter.0.to_k.weight"),
    "vae": ("encoder.downsamples.0.residual.0.gamma", "encoder.down_blocks.0.norm1.gamma"),
    "text_encoder": (  # T5 has a bias in its first block alone
        "blocks.1.pos_embedding.embedding.weight",
        "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight",
    ),
    "image_encoder": ("visual.transformer.31.norm1.weight", "vision_model.encoder.layers.31.layer_norm1.weight"),
}
BEYOND = {"image_encoder": ("visual.transformer.32.norm1.weight", "vision_model.encoder.layers.32.layer_norm1.weight")}
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "")
TYPES = {"F8_E4M3": "fp8_e4m3fn", "F8_E5M2": "fp8_e5m2", "BF16": "bf16", "F16": "fp16", "F32": "fp32"}


@dataclasses.dataclass(frozen=True)
class File:
    """A file that holds a part of Wan-Animate.

    Attributes:
        path: links are not followed.
        part: transformer, vae, text_encoder or image_encoder.
        dtype: of most of its bytes, `scaled` behind it where scales are in the file.
        fault: the end of a sentence that says why it cannot be used; empty if it can.
        has_tokenizer: whether it holds the tokenizer too.
    """

    path: Path
    part: str
    dtype: str
    fault: str = ""
    has_tokenizer: bool = False

    def describe(self) -> str:
        """Return its place, type and what is wrong with it."""
        return f"{config.typed(self.path)} ({self.dtype})" + (f" {self.fault}" if self.fault else "")


def is_comfyui(folder: Path) -> bool:
    """Return whether a folder is ComfyUI's, or its models folder."""
    return any((place / name).is_dir() for place in (folder / "models", folder) for name in MODELS)


def files(comfyui: Path) -> Iterator[File]:
    """Yield the files below ComfyUI's models folders, and those of its extra_model_paths.yaml, that hold a part."""
    seen = set()
    for part, names in FOLDERS.items():
        for folder in [*_models(comfyui, names), *_elsewhere(comfyui, names)]:
            for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
                if path.suffix in (".safetensors", ".gguf") and path.is_file() and path.resolve() not in seen:
                    seen.add(path.resolve())
                    if found := _recognised(path, part):
                        yield found


def _models(comfyui: Path, names: Sequence[str]) -> list[Path]:
    models = comfyui / "models" if (comfyui / "models").is_dir() else comfyui
    return [models / name for name in names]


def _elsewhere(comfyui: Path, names: Sequence[str]) -> list[Path]:
    """Return the folders that ComfyUI's own settings name for a kind of models; none where they cannot be read."""
    try:
        groups = yaml.safe_load((comfyui / MORE_FOLDERS).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return []
    found = []
    for group in groups.values() if isinstance(groups, dict) else ():
        if isinstance(group, dict):
            base = comfyui / config.expanded(str(group.get("base_path") or ""))
            lines = [line.strip() for name in names for line in str(group.get(name) or "").splitlines()]
            found += [base / config.expanded(line) for line in lines if line]
    return found


def _recognised(path: Path, part: str) -> File | None:
    """Return what a file holds by its header, None where it is not this part."""
    if path.suffix == ".gguf":
        is_ours = part == "transformer" and "animate" in path.name.lower()
        return File(path, part, "GGUF", "is not read yet") if is_ours else None
    try:
        tensors = {name: facts for name, facts in weights.header(path).items() if name != "__metadata__"}
        names = {name.removeprefix(prefix) for name in tensors for prefix in PREFIXES[:-1]} | set(tensors)
        if not names & set(MARKS[part]) or names & set(BEYOND.get(part, ())):
            return None
        fault = weights.fault(path) or _not_read(path, tensors) or ""
        return File(path, part, dtype_of(tensors), fault, "spiece_model" in tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        fault = weights.fault(path)  # a pointer, an empty file: whose part it is, only its name tells
        is_ours = part == "transformer" and "animate" in path.name.lower()
        return File(path, part, "unknown", fault or "is damaged") if is_ours else None


def dtype_of(tensors: Mapping[str, Any]) -> str:
    """Return the type of most bytes of a safetensors file, by its header."""
    count: collections.Counter[str] = collections.Counter()
    for name, facts in tensors.items():
        if name != "__metadata__":
            start, end = facts["data_offsets"]
            count[facts["dtype"]] += end - start
    most = count.most_common(1)[0][0]
    scaled = any(name.endswith((".scale_weight", ".weight_scale")) for name in tensors)
    return TYPES.get(most, most) + ("_scaled" if scaled else "")


def _not_read(path: Path, tensors: Mapping[str, Any]) -> str | None:
    """Return why a quantised file is not read, None where it is; of layers' own formats the first counts."""
    told = next((name for name in tensors if name.endswith(".comfy_quant")), None)
    kind = None
    if told is not None:
        start, end = tensors[told]["data_offsets"]
        with path.open("rb") as file:
            file.seek(weights.start_of_tensors(path) + start)
            kind = json.loads(file.read(end - start))["format"]
    text = weights.header(path).get("__metadata__", {}).get("_quantization_metadata")
    if text is not None:
        kind = next(iter(json.loads(text)["layers"].values()), {"format": None})["format"]
    if kind not in (None, "float8_e4m3fn"):
        return f"is in the format {kind}, which is not read"
    other = {facts["dtype"] for name, facts in tensors.items() if name.endswith(".weight")} - set(TYPES)
    return f"has {', '.join(sorted(other))} weights, which are not read" if other else None
