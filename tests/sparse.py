"""Files of weights with whole headers and nothing but zeros, which take no room on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import recipe

from wanlab.files.weights import ITEM_BITS


def write(
    path: Path, shapes: Mapping[str, Sequence[int]], dtype: str, contents: Mapping[str, bytes] | None = None
) -> None:
    """Write a safetensors file.

    Args:
        path: of the file.
        shapes: of its tensors, by name.
        dtype: of all of them, as safetensors spells it.
        contents: more tensors, of bytes.
    """
    header, end = {}, 0
    for name, shape in shapes.items():
        size = math.prod(shape) * ITEM_BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    body = b""
    for name, content in (contents or {}).items():
        header[name] = {"dtype": "U8", "shape": [len(content)], "data_offsets": [end, end + len(content)]}
        body, end = body + content, end + len(content)
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.seek(8 + len(text) + end - len(body))
        file.write(body)
        file.truncate(8 + len(text) + end)


def shapes(part: str) -> dict[str, list[int]]:
    """Return the official names and shapes of a part of golden 13; CLIP with as many layers as the real one."""
    found = {name: how.get("shape", [4, 4]) for name, how in recipe.facts(part)["keys"].items()}
    if part == "clip":
        first = {name: shape for name, shape in found.items() if ".transformer.0." in name}
        for i in range(32):
            found |= {name.replace(".0.", f".{i}.", 1): shape for name, shape in first.items()}
    return found


def comfyui(folder: Path) -> Path:
    """Write one file of each part below ComfyUI's folder, with files of other models beside; return its models folder."""
    models = folder / "models"
    write(models / "diffusion_models" / "animate_bf16.safetensors", shapes("transformer"), "BF16")
    write(models / "diffusion_models" / "other.safetensors", {"blocks.0.self_attn.q.weight": [4, 4]}, "BF16")
    write(models / "vae" / "wan.safetensors", shapes("vae"), "BF16")
    write(models / "vae" / "sd.safetensors", {"decoder.conv_in.weight": [4, 4]}, "F32")
    write(models / "text_encoders" / "umt5.safetensors", shapes("t5"), "F16", {"spiece_model": b"x"})
    write(models / "clip" / "t5.safetensors", {"shared.weight": [8, 4]}, "F16")
    write(models / "clip_vision" / "h.safetensors", shapes("clip"), "F16")
    return models
