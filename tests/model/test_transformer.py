"""wanlab's way through diffusers' network gives what diffusers' own gives, and makes nothing twice."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import random_step
import torch
from torch import Tensor, nn
from torch._dynamo import testing

from wanlab.model import checkpoints, kernels, quantised, transformer
from wanlab.model.networks import Networks
from wanlab.model.transformer import Transformer

TIMES = torch.tensor(500)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks(checkpoints.NANO, "cpu")


@pytest.fixture(scope="module")
def given(networks: Networks) -> dict[str, Tensor]:
    """Return what `velocity` takes but the timestep."""
    found = random_step.arguments(networks)
    latents = torch.cat([found.pop("latents"), found.pop("condition")])
    return {"latents": latents, **{name: each for name, each in found.items() if name != "timestep"}}


@pytest.fixture
def made(networks: Networks) -> Transformer:
    return Transformer(networks._transformer, torch.float32)


def own(network: Any, given: dict[str, Tensor]) -> Tensor:
    """Return what diffusers' own forward makes of the same."""
    latents, pose, face = (given[name][None] for name in ("latents", "pose", "face"))
    return network(latents, TIMES[None], given["text"], given["image"], pose, face, return_dict=False)[0][0]


def relative(found: Tensor, wanted: Tensor) -> float:
    return float(torch.linalg.norm(found.float() - wanted.float()) / torch.linalg.norm(wanted.float()))


@torch.inference_mode()
def test_a_step_is_that_of_diffusers(networks: Networks, given: dict[str, Tensor], made: Transformer) -> None:
    wanted = own(networks._transformer, given)
    assert relative(made.velocity(**given, timestep=TIMES), wanted) < 1e-5
    assert relative(made.velocity(**given, timestep=torch.tensor(20)), wanted) > 1e-2


@torch.inference_mode()
def test_text_image_and_face_are_looked_at_once(given: dict[str, Tensor], made: Transformer) -> None:
    network, calls = made.network, []
    attention = network.blocks[3].attn2
    layers = {
        "text": attention.to_k, "image": attention.add_v_proj, "face": network.face_adapter[0].to_k, "crops": network.motion_encoder,
    }  # fmt: skip
    hooks = [layer.register_forward_hook(lambda *_, name=name: calls.append(name)) for name, layer in layers.items()]
    try:
        first = made.velocity(**given, timestep=TIMES)
        assert sorted(calls) == ["crops", "face", "image", "text"]
        assert torch.equal(made.velocity(**given, timestep=TIMES), first)
        without = {"text": torch.zeros_like(given["text"]), "face": torch.full_like(given["face"], -1)}
        for _ in range(2):  # as with guidance: with the prompt, without, with, …
            other = made.velocity(**{**given, **without}, timestep=TIMES)
            assert torch.equal(made.velocity(**given, timestep=TIMES), first)
        assert relative(other, first) > 1e-3
        assert sorted(calls) == ["crops", "crops", "face", "face", "image", "text", "text"]
        again = made.velocity(**given, timestep=TIMES, official=True)  # other types, other keys
        assert relative(again, first) < 1e-4
        assert calls.count("text") == 3
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def test_many_tokens_go_through_the_feed_forward_network_in_parts(
    given: dict[str, Tensor], made: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, seen = made.velocity(**given, timestep=TIMES), []
    monkeypatch.setattr(transformer, "FED", 20)  # of 3 x 4 x 4 tokens
    hook = made.blocks[0].ffn.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[1]))
    assert relative(made.velocity(**given, timestep=TIMES), wanted) < 1e-6
    hook.remove()
    assert seen == [16, 16, 16]


@torch.inference_mode()
def test_one_program_serves_all_blocks_whatever_their_scales(
    networks: Networks, given: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one for each block the first step of a fp8-scaled file took 153 s on a GPU."""
    network = copy.deepcopy(networks._transformer)
    for number, block in enumerate(network.blocks, 1):
        for name, layer in [*block.named_modules()]:
            if type(layer) is nn.Linear:
                above, _, own_name = name.rpartition(".")
                stored = quantised.Stored((layer.weight * 100).to(torch.float8_e4m3fn), 0.01 + number / 1e6)
                short = quantised.QuantisedLinear(stored, layer.bias)
                short.add([(torch.randn(2, layer.in_features), torch.randn(layer.out_features, 2) * 0.01)])
                block.get_submodule(above).register_module(own_name, short)
    made = Transformer(network, torch.float32)
    wanted = made.velocity(**given, timestep=TIMES)
    counter, compiler = testing.CompileCounter(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **how: compiler(function, backend=counter, **how))
    made.compile()
    assert relative(made.velocity(**given, timestep=TIMES), wanted) < 1e-5
    assert counter.frame_count == 2  # blocks and face adapters


@pytest.mark.slow
@torch.inference_mode()
def test_compiled_blocks_give_the_same(given: dict[str, Tensor], made: Transformer) -> None:
    wanted = made.velocity(**given, timestep=TIMES)
    made.compile()
    assert relative(made.velocity(**given, timestep=TIMES), wanted) < 1e-5
    assert made.failure is None
    assert isinstance(made._run, kernels.Compiled)
