"""What the networks make of their arguments, on nano."""

from __future__ import annotations

import pytest
import torch

from wanlab.model import checkpoints
from wanlab.model.networks import TEXT_LENGTH, Networks


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks(checkpoints.NANO, "cpu")


@pytest.fixture(scope="module")
def given(networks: Networks) -> dict[str, torch.Tensor]:
    """Return random arguments of a denoising step of five frames."""
    random, settings = torch.Generator().manual_seed(1), networks._transformer.config
    shapes = {
        "latents": (16, 3, 8, 8), "condition": (20, 3, 8, 8), "pose": (16, 2, 8, 8), "face": (3, 5, networks.face_size, networks.face_size),
        "image": (1, 257, settings["image_dim"]), "text": (1, TEXT_LENGTH, settings["text_dim"]),
    }  # fmt: skip
    return {name: torch.randn(shape, generator=random) for name, shape in shapes.items()} | {
        "timestep": torch.tensor(500)
    }


@pytest.mark.parametrize(("strength", "about"), [("pose_strength", "pose"), ("face_strength", "face")])
def test_a_strength_scales_what_its_input_adds(
    networks: Networks, given: dict[str, torch.Tensor], strength: str, about: str
) -> None:
    other = {**given, about: -given[about]}
    usual = networks.denoise(**given)
    assert not torch.equal(networks.denoise(**other), usual)
    without = networks.denoise(**given, **{strength: 0.0})
    assert torch.equal(networks.denoise(**other, **{strength: 0.0}), without)
    distance = [float((networks.denoise(**given, **{strength: s}) - without).norm()) for s in (0.1, 0.3, 1.0)]
    assert 0 < distance[0] < distance[1] < distance[2]
    assert torch.equal(networks.denoise(**given, **{strength: 1.0}), usual)
    assert torch.equal(networks.denoise(**given), usual)  # nothing of it stays
