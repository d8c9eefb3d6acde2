"""Files of weights: what is read, and what is refused by name."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from wanlab.model.tensors import Tensors

WEIGHT = torch.arange(12.0).reshape(3, 4)
NUMBERS = (WEIGHT / 2).to(torch.float8_e4m3fn)


def quant(kind: str, **more: object) -> torch.Tensor:
    return torch.tensor(list(json.dumps({"format": kind, **more}).encode()), dtype=torch.uint8)


@pytest.mark.parametrize("scale", ["scale_weight", "weight_scale"])
def test_scales_come_along_and_are_no_tensors(tmp_path: Path, scale: str) -> None:
    save_file({"a.weight": NUMBERS, f"a.{scale}": torch.tensor([2.0]), "a.bias": WEIGHT[0]}, tmp_path / "x.safetensors")
    found = Tensors([tmp_path / "x.safetensors"])
    assert (set(found), found.dtypes["a.weight"], found.shapes["a.weight"]) == (
        {"a.weight", "a.bias"},
        "F8_E4M3",
        (3, 4),
    )
    torch.testing.assert_close(found.stored("a.weight").weights(torch.float32), WEIGHT)
    torch.testing.assert_close(found.stored("a.bias").weights(torch.float32), WEIGHT[0])


@pytest.mark.parametrize("kind", ["nvfp4", "mxfp8", "asym_w4a8_int8", "convrot_w4a4", "float8_e5m2"])
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
        (
            {"a.weight": WEIGHT.to(torch.int8), "a.comfy_quant": quant("int8_tensorwise")},
            "that of a.weight is missing",
        ),
        (
            {
                "a.weight": WEIGHT.to(torch.int8),
                "a.weight_scale": torch.ones(4, 1),
                "a.comfy_quant": quant("int8_tensorwise"),
            },
            r"a.weight_scale of shape \[4, 1\]",
        ),
        (
            {
                "a.weight": WEIGHT.to(torch.int8),
                "a.weight_scale": torch.ones(3, 1),
                "a.comfy_quant": quant("int8_tensorwise", convrot=True),
            },
            "a.weight, 4 columns turned by 256",
        ),
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
    (tmp_path / "x.tflite").write_bytes(b"TFL3")
    with pytest.raises(
        ValueError, match=r"x.tflite must be of a type that wanlab reads, got a .tflite file; use its bf16"
    ):
        Tensors([tmp_path / "x.tflite"])


def test_int8_of_rows_and_of_turned_columns(tmp_path: Path) -> None:
    numbers = torch.arange(-96, 96).reshape(12, 16).to(torch.int8)
    scale = torch.linspace(0.5, 2, 12).reshape(12, 1)
    for how in ({}, {"convrot": True, "convrot_groupsize": 16}):
        for given in (scale, scale.flatten(), scale[:1].reshape(())):
            named = {"a.weight": numbers, "a.weight_scale": given, "a.comfy_quant": quant("int8_tensorwise", **how)}
            save_file(named, tmp_path / "x.safetensors")
            found = Tensors([tmp_path / "x.safetensors"])
            assert set(found) == {"a.weight"}
            weights = numbers * (given if given.ndim != 1 else given[:, None])
            torch.testing.assert_close(
                found.stored("a.weight").weights(torch.float32), weights @ turn(16) if how else weights
            )


def turn(size: int) -> torch.Tensor:
    """Return ConvRot's matrix by its entries: a product over the digits, to base 4, of row and column."""
    four = [[1, 1, 1, -1], [1, 1, -1, 1], [1, -1, 1, 1], [-1, 1, 1, 1]]

    def entry(row: int, column: int, left: int) -> float:
        return 1 if left == 1 else four[row % 4][column % 4] / 2 * entry(row // 4, column // 4, left // 4)

    return torch.tensor([[entry(row, column, size) for column in range(size)] for row in range(size)])


def test_what_gguf_cannot_say_is_read_too(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "wan")
    five = np.arange(64, dtype=np.float16).reshape(4, 2, 2, 2, 2)
    writer.add_array("comfy.gguf.orig_shape.patch.weight", list(five.shape))
    writer.add_tensor("patch.weight", five.reshape(16, 4))
    half = torch.arange(6.0).to(torch.bfloat16)
    writer.add_tensor("a.bias", half.view(torch.uint8).numpy(), raw_dtype=gguf.GGMLQuantizationType.BF16)
    finished(writer)
    found = Tensors([tmp_path / "x.gguf"])
    np.testing.assert_array_equal(found["patch.weight"], five)
    torch.testing.assert_close(found["a.bias"], half)
    assert (found.shapes["patch.weight"], found.dtypes["a.bias"]) == ((4, 2, 2, 2, 2), "BF16")
    writer = gguf.GGUFWriter(tmp_path / "y.gguf", "wan")
    kind = gguf.GGMLQuantizationType.TQ1_0
    writer.add_tensor("a.weight", gguf.quantize(np.ones((2, 256), np.float32), kind), raw_dtype=kind)
    finished(writer)
    with pytest.raises(ValueError, match=r"y.gguf must be of a type that wanlab reads, got TQ1_0 weights \(a.weight\)"):
        Tensors([tmp_path / "y.gguf"])


def finished(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
