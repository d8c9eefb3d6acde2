"""Quantised weights: what the package gguf makes of its blocks, and layers that widen them when they are used."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch

from wanlab.model.quantised import QuantisedLinear, Stored, hadamard
from wanlab.model.single_files import BLOCKS


@pytest.mark.parametrize("kind", BLOCKS)
def test_blocks_are_what_gguf_says(kind: str) -> None:
    name = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[name]
    numbers = np.random.default_rng(3).integers(0, 256, (6, 2 * size), np.uint8) & 0xBB  # half floats below 1
    expected = gguf.dequantize(numbers, name)
    assert expected.shape == (6, 2 * block)
    stored = Stored(torch.from_numpy(numbers), blocks=kind)
    np.testing.assert_allclose(stored.weights(torch.float32), expected, rtol=1e-6, atol=1e-6)
    layer = QuantisedLinear(stored, None)
    assert layer.numbers.dtype == torch.uint8
    np.testing.assert_allclose(layer(torch.eye(2 * block)).T, expected, rtol=1e-6, atol=1e-6)


def test_cut_parts_have_their_own_scales() -> None:
    stored = Stored(torch.ones(4, 8, dtype=torch.int8), torch.arange(4.0).reshape(4, 1))
    first, second = (part.weights(torch.float32) for part in stored.cut(2))
    assert first.unique().tolist() == [0, 1]
    assert second.unique().tolist() == [2, 3]


def test_a_turn_is_its_own_inverse() -> None:
    turn = hadamard(64, torch.device("cpu"))
    torch.testing.assert_close(turn @ turn, torch.eye(64))
    torch.testing.assert_close(turn, turn.T)
