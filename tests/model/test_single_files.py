"""Files that ComfyUI's users have: which part each holds, by the names of its tensors."""

from __future__ import annotations

import json
from pathlib import Path

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


@pytest.mark.parametrize("kind", ["nvfp4", "mxfp8", "int8_tensorwise"])
def test_a_format_that_is_not_read_is_named(tmp_path: Path, kind: str) -> None:
    told = {"blocks.0.self_attn.q.comfy_quant": json.dumps({"format": kind}).encode()}
    place = tmp_path / "models" / "diffusion_models" / "x.safetensors"
    sparse.write(place, sparse.shapes("transformer"), "F8_E4M3", told)
    (found,) = single_files.files(tmp_path)
    assert found.fault == f"is in the format {kind}, which is not read"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("Wan2.2_Animate.gguf", b"GGUF", "is not read yet"),
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
