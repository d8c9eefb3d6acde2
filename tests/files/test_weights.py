"""Files of weights that are no whole ones: seen before anything is started."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_files import node, write
from safetensors.numpy import save_file

from wanlab import config
from wanlab.files import weights

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 253815318\n"


@pytest.fixture
def tensors(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"a": np.arange(12, dtype=np.float32), "b": np.ones((3, 5), np.float16)}, path, {"format": "pt"})
    return path


def test_whole_files_have_no_fault(tensors: Path, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "new.pth")
    torch.save({"w": torch.ones(3)}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    (tmp_path / "config.json").write_text("{}")
    for path in (tensors, tmp_path / "new.pth", tmp_path / "old.ckpt", tmp_path / "config.json"):
        assert weights.fault(path) is None, path
    bundled = [path for kind in ("safetensors", "onnx", "json") for path in config.ASSETS.rglob(f"*.{kind}")]
    assert len(bundled) > 5
    assert [path for path in bundled if weights.fault(path)] == []


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".onnx", ".gguf"])
def test_a_pointer_and_an_empty_file_are_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    assert weights.fault(path) == "is missing"
    path.write_text(POINTER)
    assert "is a Git LFS pointer of" in str(weights.fault(path))
    path.write_bytes(b"")
    assert weights.fault(path) == "is empty (0 bytes)"


def test_a_cut_off_file_is_named_with_its_bytes(tensors: Path, tmp_path: Path) -> None:
    content = tensors.read_bytes()
    tensors.write_bytes(content[:-1])
    assert (
        weights.fault(tensors) == f"is damaged: its header promises {len(content):,} bytes, it has {len(content) - 1:,}"
    )
    tensors.write_bytes(content[:40])
    assert "its header must have 2 to 100000000 bytes and lie in the file" in str(weights.fault(tensors))
    tensors.write_bytes(content + b"\0")
    assert "promises" in str(weights.fault(tensors))
    torch.save({"w": torch.ones(300)}, tmp_path / "cut.pth")
    whole = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    assert "is cut off" in str(weights.fault(tmp_path / "cut.pth"))
    (tmp_path / "config.json").write_text('{"a": ')
    assert "is damaged" in str(weights.fault(tmp_path / "config.json"))
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")  # a download that was refused
    assert weights.fault(tmp_path / "page.pth") == "is no PyTorch checkpoint"


def test_a_header_that_contradicts_itself_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    text = b'{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}'
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    assert weights.fault(path) == "is damaged: a must have 12 bytes, got 8"


def test_the_tensors_of_an_onnx_file_must_lie_beside_it(tmp_path: Path) -> None:
    tensors = {"w": np.ones((3, 2), np.float32), "v": np.ones(5, np.float32)}
    path = write(tmp_path / "end2end.onnx", [node("Identity", ["x"], "y")], ("x", [1]), "y", tensors, "conv1.bin")
    beside, whole = tmp_path / "conv1.bin", (tmp_path / "conv1.bin").read_bytes()
    assert weights.fault(path) is None
    assert weights.external_files(path) == ["conv1.bin"]
    for content, fault in (
        (whole[:-1], "conv1.bin beside it is cut off: 44 bytes are needed, it has 43"),
        (POINTER.encode(), "conv1.bin beside it is a Git LFS pointer of"),
        (b"", "conv1.bin beside it is empty (0 bytes)"),
    ):
        beside.write_bytes(content)
        assert str(weights.fault(path)).startswith(f"lacks its weights: {fault}")
    beside.unlink()
    assert weights.fault(path) == "lacks its weights: conv1.bin is missing beside it"


def test_an_onnx_file_that_is_cut_off_is_named_wherever_that_is(tmp_path: Path) -> None:
    tensors = {"w": np.ones((3, 2), np.float32)}
    path = write(tmp_path / "model.onnx", [node("Identity", ["x"], "y")], ("x", [1]), "y", tensors)
    assert weights.fault(path) is None
    assert weights.external_files(path) == []
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 5, 1):
        path.write_bytes(whole[:length])
        assert str(weights.fault(path)).startswith("is damaged: it is "), length


def test_a_large_json_is_looked_at_from_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokenizer.json"
    monkeypatch.setattr(weights, "PARSED", 2000)
    monkeypatch.setattr(weights.json, "loads", lambda _: pytest.fail("parsed"))
    whole = json.dumps({str(n): n for n in range(500)}, indent=1).encode() + b"\n"
    for content, right in ((whole, True), (whole[:-3], False), (b"x" + whole, False), (b"<html>" + b"x" * 3000, False)):
        path.write_bytes(content)
        assert (weights.fault(path) is None) == right
