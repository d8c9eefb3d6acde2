"""What the networks make of their arguments, on nano."""

from __future__ import annotations

import pytest
import random_step
import torch

from wanlab.model import checkpoints
from wanlab.model.networks import Networks


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks(checkpoints.NANO, "cpu")


@pytest.fixture(scope="module")
def given(networks: Networks) -> dict[str, torch.Tensor]:
    return random_step.arguments(networks)


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
