"""Fingerprints: by content, whole or by samples of every tensor, remembered while a file stays the same."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from wanlab import files
from wanlab.files import fingerprints
from wanlab.model import checkpoints

TENSORS = {"block.weight": (300, 400), "block.bias": (7,), "norm": (20_000,), "empty": (0,)}


def tensors(changed: str | None = None) -> dict[str, np.ndarray]:
    """Return tensors of TENSORS' shapes, the one that `changed` names multiplied by 1.05."""
    dice = np.random.default_rng(0)
    made = {name: dice.normal(size=shape).astype(np.float32) for name, shape in TENSORS.items()}
    return {name: each * np.float32(1.05 if name == changed else 1) for name, each in made.items()}


def write_gguf(path: Path, made: dict[str, np.ndarray]) -> None:
    writer = gguf.GGUFWriter(path, "wan")
    for name, each in made.items():
        writer.add_tensor(name, each)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every file as one that is too large to be read whole."""
    monkeypatch.setattr(fingerprints, "SAMPLED", 0)
    monkeypatch.setattr(fingerprints, "SAMPLE", 64)


@pytest.mark.parametrize("kind", ["safetensors", "pth", "gguf", "bin"])
@pytest.mark.parametrize("sampled", [False, True])
def test_a_change_of_any_tensor_shows(
    outputs: Path, tmp_path: Path, kind: str, sampled: bool, request: pytest.FixtureRequest
) -> None:
    if sampled:
        request.getfixturevalue("sampling")
    path = tmp_path / f"weights.{kind}"
    found = []
    for changed in (None, "block.weight", "block.bias", "norm", None):
        made = tensors(changed)
        if kind == "safetensors":
            save_file(made, path)
        elif kind == "gguf":
            write_gguf(path, {name: each for name, each in made.items() if each.size})
        elif kind == "pth":
            torch.save({name: torch.from_numpy(each) for name, each in made.items()}, path)
        else:
            path.write_bytes(b"".join(each.tobytes() for each in made.values()))
        found.append(fingerprints.of_files(tmp_path, [path]))
    assert found[0] == found[-1]
    assert len(set(found)) == 4
    assert all(each.endswith(" (sampled)") == sampled for each in found)


def test_of_a_large_file_little_is_read(outputs: Path, tmp_path: Path, sampling: None) -> None:
    """What lies between the samples may change unseen: that is what the manifest's word tells."""
    path = tmp_path / "weights.safetensors"
    save_file(tensors(), path)
    before = fingerprints.of_files(tmp_path, [path])
    with path.open("r+b") as file:
        file.seek(fingerprints._of_safetensors(path)[1].start + 1000)
        file.write(b"unseen")
    assert fingerprints.of_files(tmp_path, [path]) == before


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x02" + bytes(7) + b"{]" + bytes(90)])
def test_a_damaged_file_has_a_fingerprint_too(outputs: Path, tmp_path: Path, sampling: None, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    assert len(fingerprints.of_files(tmp_path, [path]).split()[0]) == 16


def test_a_large_file_is_read_once(outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "REMEMBERED", 0)
    monkeypatch.setattr(fingerprints, "SETTLED_S", -1)
    read, original = [], files.sha256
    monkeypatch.setattr(fingerprints, "sha256", lambda path: (read.append(path), original(path))[1])
    path, other = tmp_path / "private name.bin", tmp_path / "other.bin"
    path.write_bytes(b"first")
    other.write_bytes(b"other")
    first = fingerprints.of_file(path)
    assert fingerprints.of_file(path) == first
    assert len(read) == 1
    (kept,) = (outputs / fingerprints.KEPT).iterdir()
    assert "private name" not in kept.name + kept.read_text()
    facts = path.stat()
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.replace(path)  # of the same name, size and time
    assert fingerprints.of_file(path) == original(path) != first
    kept.write_text(kept.read_text()[:20])
    assert fingerprints.of_file(path) == original(path)
    assert len(read) == 3
    assert json.loads(kept.read_text())["found"] == original(path)


def test_a_file_that_was_just_written_is_not_remembered(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "REMEMBERED", 0)
    path = tmp_path / "weights.bin"
    for content in (b"one", b"two", b"six"):
        path.write_bytes(content)
        assert fingerprints.of_file(path) == files.sha256(path)
    assert not (outputs / fingerprints.KEPT).exists()


def test_a_fine_tune_of_the_same_shapes_is_another_checkpoint(outputs: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    copy = tmp_path / "copy"
    shutil.copytree(checkpoints.NANO, copy)
    nano = checkpoints.find(checkpoints.NANO).fingerprint()
    (copy / "README.md").write_text("no part of it")
    assert checkpoints.find(copy).fingerprint() == nano
    (weights,) = (copy / "transformer").glob("*.safetensors")
    loaded = load_file(weights)
    name = next(name for name, each in loaded.items() if each.ndim == 2)
    save_file({**loaded, name: (loaded[name] * 1.05).astype(loaded[name].dtype)}, weights)
    assert checkpoints.find(copy).fingerprint() != nano
