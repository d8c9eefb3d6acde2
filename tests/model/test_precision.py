"""Golden 13 with weights in bfloat16: with the official code's float32 islands wanlab is as near to it as that code's own run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import recipe
import torch
from safetensors.torch import save_file

from wanlab.model import checkpoints, loading
from wanlab.model.networks import Networks

CASE = next(case for case in recipe.facts("transformer")["cases"] if case["name"] == "face_t500")


class Known(torch.nn.Module):
    """Gives the official motion vectors of the case in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = iter(torch.from_numpy(recipe.expected("transformer")["face_t500/motion_vec"]).split(8))

    def forward(self, pixels: torch.Tensor, *_: Any) -> torch.Tensor:
        return next(self.batches).to(pixels.dtype)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    """Return nano's networks with the golden transformer, weights in bfloat16."""
    file = tmp_path_factory.mktemp("golden") / "transformer.safetensors"
    save_file({name: torch.from_numpy(np.array(each)) for name, each in recipe.weights("transformer").items()}, file)
    found = Networks(checkpoints.NANO, "cpu")
    found.dtype = torch.bfloat16
    found.__dict__["_transformer"] = loading.load("transformer", [file], found.device, found.dtype)
    return found


def velocity(networks: Networks, precision: str) -> np.ndarray:
    networks.precision = precision
    networks._transformer.motion_encoder = Known()
    *pixels, image, text = map(torch.from_numpy, recipe.transformer_inputs(CASE))
    image, text = image.to(networks.dtype), text.to(networks.dtype)
    return networks.denoise(*pixels, image, text, torch.tensor(CASE["timestep"])).numpy()


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_official_precision_is_as_near_to_float32_as_the_official_run(networks: Networks) -> None:
    exact, official = recipe.expected("transformer")["face_t500/out"], recipe.expected("bf16")["face_t500/out"]
    fast, ours = (velocity(networks, precision) for precision in ("fast", "official"))
    assert relative(ours, exact) < relative(official, exact) * 1.1 < relative(fast, exact) * 0.8
    assert relative(ours, official) < relative(fast, official) * 0.7
    np.testing.assert_array_equal(velocity(networks, "fast"), fast)  # nothing of it stays


def test_official_precision_rounds_pixels_alone_where_weights_are_in_float32() -> None:
    """On a CPU: pixels as upstream rounds them before any network sees them; what needs no rounding is encoded to the same bits."""
    networks = Networks(checkpoints.NANO, "cpu")
    pixels = torch.linspace(-1, 1, 3 * 32 * 32).reshape(3, 1, 32, 32)
    rounded = pixels.bfloat16().float()
    fast = networks.encode(rounded)
    networks.precision = "official"
    assert torch.equal(networks.encode(pixels), fast)
    networks.precision = "fast"
    assert not torch.equal(networks.encode(pixels), fast)
