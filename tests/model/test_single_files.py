"""Files that ComfyUI's users have: which part each holds, by the names of its tensors."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import sparse

from wanlab.model import single_files


def test_each_part_is_told_by_its_tensors(tmp_path: Path) -> None:
    models = sparse.comfyui(tmp_path)
    for folder in (tmp_path, models):
        assert single_files.is_comfyui(folder)
        found = {file.part: file for file in single_files.files(folder)}
        assert {part: file.path.name for part, file in found.items()} == {
            "transformer": "animate_bf16.safetensors", "vae": "wan.safetensors", "text_encoder": "umt5.safetensors",
            "image_encoder": "h.safetensors",
        }  # fmt: skip
        assert [file.dtype for file in found.values()] == ["bf16", "bf16", "fp16", "fp16"]
        assert [file.has_tokenizer for file in found.values()] == [False, False, True, False]
    assert not single_files.is_comfyui(tmp_path / "none")


def test_folders_that_comfyui_s_own_settings_name_are_looked_into(tmp_path: Path) -> None:
    (tmp_path / "ComfyUI").mkdir()
    sparse.comfyui(tmp_path / "elsewhere")
    (tmp_path / "ComfyUI" / single_files.MORE_FOLDERS).write_text(
        f"mine:\n  base_path: {tmp_path}/elsewhere/models\n  unet: none\n"
        "  diffusion_models: |\n    diffusion_models\n    more\n  vae: vae\nother: 3\n"
    )
    assert [file.part for file in single_files.files(tmp_path / "ComfyUI")] == ["transformer", "vae"]
    (tmp_path / "ComfyUI" / single_files.MORE_FOLDERS).write_text("a: [")
    assert list(single_files.files(tmp_path / "ComfyUI")) == []


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model."])
def test_a_scaled_file_says_so(tmp_path: Path, prefix: str) -> None:
    names = {f"{prefix}{name}": shape for name, shape in sparse.shapes("transformer").items()}
    names[f"{prefix}blocks.0.self_attn.q.scale_weight"] = [1]
    sparse.write(tmp_path / "models" / "unet" / "x.safetensors", names, "F8_E4M3")
    (found,) = single_files.files(tmp_path)
    assert (found.dtype, found.fault) == ("fp8_e4m3fn_scaled", "")


@pytest.mark.parametrize("kind", ["nvfp4", "mxfp8", "asym_w4a8_int8"])
def test_a_format_that_is_not_read_is_named(tmp_path: Path, kind: str) -> None:
    told = {"blocks.0.self_attn.q.comfy_quant": json.dumps({"format": kind}).encode()}
    place = tmp_path / "models" / "diffusion_models" / "x.safetensors"
    sparse.write(place, sparse.shapes("transformer"), "F8_E4M3", told)
    (found,) = single_files.files(tmp_path)
    assert found.fault == f"is in the format {kind}, which is not read"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("Wan2.2_Animate.gguf", b"GGUF", "is damaged: it is no GGUF file, or cut off"),
        ("Wan2.2_Animate.gguf", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("Flux.gguf", b"GGUF", None),
        ("wan_animate.safetensors", b"", "is empty (0 bytes)"),
        ("wan_animate.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("other.safetensors", b"", None),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, said: str | None) -> None:
    (tmp_path / "models" / "unet").mkdir(parents=True)
    (tmp_path / "models" / "unet" / name).write_bytes(content)
    found = list(single_files.files(tmp_path))
    assert [file.fault.startswith(said or "") for file in found] == ([True] if said else [])


def test_gguf_files_are_told_by_their_tensors(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "unet"
    folder.mkdir(parents=True)
    written(folder / "wan.gguf", {"face_adapter.fuser_blocks.0.linear1_kv.weight": "Q8_0", "a.bias": "F32"})
    written(folder / "other.gguf", {"blocks.0.attn.weight": "Q8_0"})
    written(folder / "odd.gguf", {"face_adapter.fuser_blocks.0.linear1_kv.weight": "TQ1_0"})
    (tmp_path / "models" / "clip").mkdir()
    (tmp_path / "models" / "clip" / "umt5-xxl-Q8_0.gguf").write_bytes(b"GGUF")
    found = {file.path.name: file for file in single_files.files(tmp_path)}
    assert {name: (file.part, file.dtype) for name, file in found.items()} == {
        "wan.gguf": ("transformer", "GGUF Q8_0"), "odd.gguf": ("transformer", "GGUF TQ1_0"),
        "umt5-xxl-Q8_0.gguf": ("text_encoder", "GGUF"),
    }  # fmt: skip
    assert [file.fault for file in found.values()] == [
        "has blocks of the kind TQ1_0, which is not read",
        "",
        "is not read: of GGUF files transformers alone are",
    ]
    content = (folder / "wan.gguf").read_bytes()
    (folder / "wan-animate.gguf").write_bytes(content[: len(content) - 600])
    faults = {file.path.name: file.fault for file in single_files.files(tmp_path)}
    assert faults["wan-animate.gguf"].startswith("is damaged: it is no GGUF file, or cut off")


def written(path: Path, kinds: dict[str, str]) -> None:
    writer = gguf.GGUFWriter(path, "wan")
    for name, kind in kinds.items():
        how = gguf.GGMLQuantizationType[kind]
        shape = (2,) if name.endswith("bias") else (2, 256)
        writer.add_tensor(name, gguf.quantize(np.ones(shape, np.float32), how), raw_dtype=how)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
