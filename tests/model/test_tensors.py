"""Files of weights: what is read, and what is refused by name."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from wanlab.model.tensors import Tensors

WEIGHT = torch.arange(12.0).reshape(3, 4)
NUMBERS = (WEIGHT / 2).to(torch.float8_e4m3fn)


def quant(kind: str) -> torch.Tensor:
    return torch.tensor(list(json.dumps({"format": kind}).encode()), dtype=torch.uint8)


@pytest.mark.parametrize("scale", ["scale_weight", "weight_scale"])
def test_scales_come_along_and_are_no_tensors(tmp_path: Path, scale: str) -> None:
    save_file({"a.weight": NUMBERS, f"a.{scale}": torch.tensor([2.0]), "a.bias": WEIGHT[0]}, tmp_path / "x.safetensors")
    found = Tensors([tmp_path / "x.safetensors"])
    assert (set(found), found.dtypes["a.weight"], found.shapes["a.weight"]) == (
        {"a.weight", "a.bias"},
        "F8_E4M3",
        (3, 4),
    )
    assert (found.scale("a.weight"), found.scale("a.bias")) == (2.0, 1.0)
    torch.testing.assert_close(found["a.weight"].float() * found.scale("a.weight"), WEIGHT)


@pytest.mark.parametrize("kind", ["nvfp4", "mxfp8", "int8_tensorwise", "convrot_w4a4", "float8_e5m2"])
@pytest.mark.parametrize("place", ["tensor", "header"])
def test_formats_that_are_not_read_are_refused_by_name(tmp_path: Path, kind: str, place: str) -> None:
    layers = {"_quantization_metadata": json.dumps({"layers": {"a": {"format": kind}}})} if place == "header" else None
    more = {"a.comfy_quant": quant(kind)} if place == "tensor" else {}
    save_file({"a.weight": NUMBERS, "a.weight_scale": torch.tensor(2.0), **more}, tmp_path / "x.safetensors", layers)
    with pytest.raises(
        ValueError, match=f"x.safetensors must be of a type that wanlab reads, got the format {kind}; use"
    ):
        Tensors([tmp_path / "x.safetensors"])


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"a.weight": WEIGHT.to(torch.int8)}, r"got I8 weights \(a.weight\)"),
        ({"a.weight": NUMBERS, "a.weight_scale": torch.ones(3, 1)}, r"a.weight_scale of shape \[3, 1\]"),
        (
            {"a.weight": NUMBERS, "b.weight": NUMBERS.clone(), "b.scale_weight": torch.ones(1)},
            "that of a.weight is missing",
        ),
        ({"a.scale_weight": torch.ones(1)}, "a.weight is missing"),
    ],
)
def test_what_would_give_wrong_numbers_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor], said: str) -> None:
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=said):
        Tensors([tmp_path / "x.safetensors"])


@pytest.mark.parametrize("old", [False, True])
def test_pickles_hold_tensors_alone(tmp_path: Path, old: bool) -> None:
    file = tmp_path / "x.pth"
    torch.save({"state_dict": {"a.weight": WEIGHT}}, file, _use_new_zipfile_serialization=not old)
    torch.testing.assert_close(Tensors([file])["a.weight"], WEIGHT)
    torch.save({"a.weight": WEIGHT, "step": 3}, file)
    with pytest.raises(ValueError, match="x.pth must hold tensors by name, got dict"):
        Tensors([file])


class Runs:
    """What a pickle runs when it is read."""

    def __init__(self, what: Path) -> None:
        self.what = what

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return (eval, (f"open({str(self.what)!r}, 'w')",))


def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    torch.save({"a": Runs(tmp_path / "ran")}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="x.pth must hold tensors alone, got a pickle that would run code"):
        Tensors([tmp_path / "x.pth"])
    (tmp_path / "y.pth").write_bytes(pickle.dumps(Runs(tmp_path / "ran"), protocol=2))
    with pytest.raises(ValueError, match="y.pth must hold tensors alone"):
        Tensors([tmp_path / "y.pth"])
    assert not (tmp_path / "ran").exists()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="x.safetensors is a Git LFS pointer"):
        Tensors([tmp_path / "x.safetensors"])


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ValueError, match=r"x.gguf must be of a type that wanlab reads, got a .gguf file; use its bf16"):
        Tensors([tmp_path / "x.gguf"])
