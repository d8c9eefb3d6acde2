"""Single files that ComfyUI's users have: found below its models folders, told apart by the names of their tensors."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
TEXT_ENCODER = "umt5"  # in the name of a GGUF file
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "")
TYPES = {"F8_E4M3": "fp8_e4m3fn", "F8_E5M2": "fp8_e5m2", "BF16": "bf16", "F16": "fp16", "F32": "fp32"}
FLOAT8, INT8 = "float8_e4m3fn", "int8_tensorwise"  # those of ComfyUI's newer formats that are read
BLOCKS = (  # kinds of GGUF's blocks that are read
    "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "Q3_K", "Q2_K", "IQ4_NL", "IQ4_XS",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class File:
    """A file that holds a part of Wan-Animate.

    Attributes:
        path: links are not followed.
        part: transformer, vae, text_encoder or image_encoder.
        dtype: of most of its bytes, `scaled` behind it where scales are in the file; GGUF's kind of blocks.
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
        return _recognised_gguf(path, part)
    try:
        tensors = {name: facts for name, facts in weights.header(path).items() if name != "__metadata__"}
        if not _is(part, tensors):
            return None
        fault = weights.fault(path) or _not_read(path, tensors) or ""
        return File(path, part, dtype_of(tensors), fault, "spiece_model" in tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        fault = weights.fault(path)  # a pointer, an empty file: whose part it is, only its name tells
        is_ours = part == "transformer" and "animate" in path.name.lower()
        return File(path, part, "unknown", fault or "is damaged") if is_ours else None


def _recognised_gguf(path: Path, part: str) -> File | None:
    if part == "text_encoder" and TEXT_ENCODER in path.name.lower():
        return File(path, part, "GGUF", "is not read: of GGUF files transformers alone are")
    if part != "transformer":
        return None
    fault, kinds = weights.fault(path), set()
    if not fault:
        tensors = weights.gguf(path).tensors
        if not _is(part, [each.name for each in tensors]):
            return None
        kinds = {each.tensor_type.name for each in tensors} - {*BLOCKS, *TYPES}
        fault = f"has blocks of the kind {', '.join(sorted(kinds))}, which is not read" if kinds else ""
        return File(path, part, f"GGUF {_most((each.tensor_type.name, each.n_bytes) for each in tensors)}", fault)
    return File(path, part, "GGUF", fault) if "animate" in path.name.lower() else None


def _is(part: str, tensors: Iterable[str]) -> bool:
    """Return whether tensors of these names are those of a part."""
    given = set(tensors)
    names = {name.removeprefix(prefix) for name in given for prefix in PREFIXES[:-1]} | given
    return bool(names & set(MARKS[part])) and not names & set(BEYOND.get(part, ()))


def dtype(path: Path) -> str:
    """Return the type of most bytes of a file of weights, else the kind of the file."""
    if path.suffix == ".gguf":
        return f"GGUF {_most((each.tensor_type.name, each.n_bytes) for each in weights.gguf(path).tensors)}"
    return dtype_of(weights.header(path)) if path.suffix == ".safetensors" else path.suffix.lstrip(".")


def _most(sizes: Iterable[tuple[str, int]]) -> str:
    """Return the name that has most bytes."""
    count: collections.Counter[str] = collections.Counter()
    for name, size in sizes:
        count[name] += size
    return count.most_common(1)[0][0]


def dtype_of(tensors: Mapping[str, Any]) -> str:
    """Return the type of most bytes of a safetensors file, by its header."""
    each = {name: facts for name, facts in tensors.items() if name != "__metadata__"}
    spans = ((facts["dtype"], facts["data_offsets"]) for facts in each.values())
    most = _most((kind, end - start) for kind, (start, end) in spans)
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
    if kind not in (None, FLOAT8, INT8):
        return f"is in the format {kind}, which is not read"
    known = {*TYPES, "I8"} if kind == INT8 else set(TYPES)
    other = {facts["dtype"] for name, facts in tensors.items() if name.endswith(".weight")} - known
    return f"has {', '.join(sorted(other))} weights, which are not read" if other else None
