"""Names of tensors in all layouts, against golden 13's tables."""

from __future__ import annotations

import pytest
import recipe

from wanlab.model import layouts

PARTS = {"transformer": "transformer", "vae": "vae", "text_encoder": "t5", "image_encoder": "clip"}


@pytest.mark.parametrize("component", PARTS)
def test_own_names_pass_through(component: str) -> None:
    for name in recipe.facts(PARTS[component])["keys"]:
        for new in layouts.renamed(component, name):
            assert layouts.renamed(component, new) == (new,)


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model."])
def test_prefixes_are_taken_off(prefix: str) -> None:
    for name in recipe.facts("transformer")["keys"]:
        assert layouts.renamed("transformer", prefix + name) == layouts.renamed("transformer", name)


def test_names_of_transformers_are_those_of_the_golden_table() -> None:
    table = recipe.facts("keymaps")["t5"]["comfy_hf_names"]
    for old, new in table.items():
        for letter in "qkvo":
            olds, news = (each.replace("N", "3").replace("{q,k,v,o}", letter) for each in (old, new.split(" (")[0]))
            assert layouts.renamed("text_encoder", olds) == (news,)


def test_a_tensor_for_several_is_cut() -> None:
    assert layouts.renamed("image_encoder", "visual.transformer.2.attn.to_qkv.bias") == tuple(
        f"encoder.layers.2.self_attn.{name}_proj.bias" for name in "qkv"
    )
    assert layouts.renamed("transformer", "face_adapter.fuser_blocks.1.linear1_kv.weight") == (
        "face_adapter.1.to_k.weight",
        "face_adapter.1.to_v.weight",
    )


@pytest.mark.parametrize("name", ["textual.norm.bias", "log_scale", "visual.head", "visual_projection.weight"])
def test_what_the_image_encoder_does_not_use_is_left_out(name: str) -> None:
    assert layouts.renamed("image_encoder", name) == ()
