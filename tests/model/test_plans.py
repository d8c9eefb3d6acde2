"""What the networks do by a plan is what they do without: on nano, streamed, in bands, quantised, with LoRAs."""

from __future__ import annotations

from pathlib import Path

import pytest
import random_step
import torch
from safetensors.torch import load_file, save_file

from wanlab.model import bands, checkpoints, kernels, loading, streaming
from wanlab.model.memory import Plan
from wanlab.model.networks import Loras, Networks
from wanlab.model.quantised import QuantisedLinear, by_row

PIXELS = (3, 5, 192, 64)


def networks(plan: Plan | None = None, loras: Loras = ()) -> Networks:
    made = Networks(checkpoints.NANO, "cpu")
    made.take(loras)
    made.follow(plan)
    return made


@pytest.fixture(scope="module")
def whole() -> Networks:
    return networks()


@pytest.fixture(scope="module")
def given(whole: Networks) -> dict[str, torch.Tensor]:
    return random_step.arguments(whole)


@pytest.fixture(scope="module")
def expected(whole: Networks, given: dict[str, torch.Tensor]) -> torch.Tensor:
    return whole.denoise(**given)


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted))


@pytest.mark.parametrize("resident", [0, 5])
@pytest.mark.parametrize("precision", ["fast", "official"])
def test_streamed_blocks_give_the_same_bits(
    whole: Networks, given: dict[str, torch.Tensor], resident: int, precision: str
) -> None:
    made = networks(Plan("blocks", resident, 8))
    made.precision = precision
    whole.precision = precision
    try:
        wanted = whole.denoise(**given)
    finally:
        whole.precision = "fast"
    assert torch.equal(made.denoise(**given), wanted)
    places = {block.attn1.to_q.weight.untyped_storage().data_ptr() for block in made._transformer.blocks}
    assert len(places) == resident + streaming.SLOTS
    assert made.host_bytes > 0


@pytest.mark.parametrize(("kind", "error"), [("fp8", 0.1), ("int8", 0.03)])
def test_quantised_weights_are_near_the_plain_ones_streamed_or_not(
    given: dict[str, torch.Tensor], expected: torch.Tensor, kind: str, error: float
) -> None:
    stays = networks(Plan("none", 8, 8, kind)).denoise(**given)
    assert 0 < relative(stays, expected) < error
    made = networks(Plan("blocks", 2, 8, kind))
    assert torch.equal(made.denoise(**given), stays)
    layers = [each for each in made._transformer.modules() if isinstance(each, QuantisedLinear)]
    assert len(layers) == 8 * 12


def test_products_in_fp8_are_near_the_plain_ones(given: dict[str, torch.Tensor], expected: torch.Tensor) -> None:
    made = networks(Plan("none", 8, 8, "fp8"))
    stored = made.denoise(**given)
    made.compute(kernels.Ways(fp8_products=True))
    found = made.denoise(**given)
    assert 0 < relative(found, stored) < 0.12
    assert relative(found, expected) < 0.15
    made.compute(kernels.Ways())
    assert torch.equal(made.denoise(**given), stored)  # nothing of it stays


def test_a_scale_a_row_keeps_small_rows_beside_large_ones() -> None:
    rows = torch.randn(4, 64, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1e-4], [1.0], [1e4], [0.0]])
    for kind, error in (("fp8", 0.04), ("int8", 0.01)):
        found = by_row(rows, kind).weights(torch.float32)
        assert all(relative(found[n], rows[n]) < error for n in range(3))
        assert not found[3].any()


def test_files_in_eight_bits_travel_as_they_are(tmp_path: Path, given: dict[str, torch.Tensor]) -> None:
    tensors = {}
    for name, each in load_file(checkpoints.NANO / "transformer" / "diffusion_pytorch_model.safetensors").items():
        tensors[name] = each.contiguous()
        if name.startswith("blocks.") and each.ndim == 2 and ".ffn." in name:
            scale = each.abs().max().float() / 448
            tensors[name] = (each / scale).to(torch.float8_e4m3fn)
            tensors[f"{name.removesuffix('.weight')}.scale_weight"] = scale.reshape(1)
    save_file(tensors, tmp_path / "fp8.safetensors")
    named = {name: checkpoints.NANO / name for name in ("vae", "text_encoder", "image_encoder", "tokenizer")}
    named["transformer"] = tmp_path / "fp8.safetensors"
    file = tmp_path / "models.yaml"
    file.write_text("".join(f"{name}: {place}\n" for name, place in named.items()))
    stays, travels = Networks(file, "cpu"), Networks(file, "cpu")
    travels.follow(Plan("blocks", 3, 8))
    assert torch.equal(travels.denoise(**given), stays.denoise(**given))
    layers = [each for each in travels._transformer.modules() if isinstance(each, QuantisedLinear)]
    assert len(layers) == 16
    assert all(each.numbers.dtype == torch.float8_e4m3fn for each in layers)


@pytest.mark.parametrize("plan", [Plan("blocks", 0, 8), Plan("blocks", 3, 8, "int8"), Plan("none", 8, 8, "int8")])
def test_loras_act_by_every_plan(
    tmp_path: Path, given: dict[str, torch.Tensor], expected: torch.Tensor, plan: Plan
) -> None:
    size = loading.shapes("transformer", (checkpoints.NANO / "transformer",))["blocks.0.attn1.to_q.weight"][0]
    random = torch.Generator().manual_seed(2)
    tensors = {
        f"diffusion_model.blocks.{n}.self_attn.q.lora_{end}.weight": torch.randn(shape, generator=random) / 2
        for n in (0, 3)
        for end, shape in (("A", (2, size)), ("B", (size, 2)))
    }
    save_file(tensors, tmp_path / "x.safetensors")
    loras = ((tmp_path / "x.safetensors", 0.8),)
    wanted = networks(None, loras).denoise(**given)
    assert relative(wanted, expected) > 0.08
    found = networks(plan, loras).denoise(**given)
    assert torch.equal(found, wanted) if plan.quantization == "none" else relative(found, wanted) < 0.04


def test_the_vae_in_bands_is_nearly_the_whole(whole: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, encode = [], bands.encode
    monkeypatch.setattr(bands, "encode", lambda vae, pixels, count: asked.append(count) or encode(vae, pixels, count))
    pixels = torch.rand(PIXELS, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = whole.encode(pixels)
    made = networks(Plan(vae_bands=3))
    assert (made.encode(pixels) - latents).abs().max() < 1e-4
    assert asked == [1, 3]
    exact = (latents * whole._latent_statistics[1] + whole._latent_statistics[0])[0][None]
    with torch.inference_mode():
        assert torch.equal(whole.decode(latents), whole._vae.decode(exact).sample[0].clamp(-1, 1))
    assert 0 < (made.decode(latents) - whole.decode(latents)).abs().max() < 1e-4


def test_the_vae_in_bfloat16_is_near_the_one_in_float32(whole: Networks) -> None:
    pixels = torch.rand(PIXELS, generator=torch.Generator().manual_seed(0)).repeat_interleave(1, 1) * 2 - 1
    made = networks()
    made.compute(kernels.Ways(vae_in_bfloat16=True))
    latents = whole.encode(pixels)
    assert 0 < relative(made.encode(pixels), latents) < 0.03
    found, wanted = made.decode(latents), whole.decode(latents)
    assert found.dtype == torch.float32
    assert 10 * torch.log10(4 / (found - wanted).square().mean()) > 45
    made.compute(kernels.Ways())
    assert torch.equal(made.encode(pixels), latents)


def test_a_text_encoder_that_comes_layer_by_layer_gives_the_same_bits(whole: Networks) -> None:
    made = networks(Plan(text_stays=False))
    assert all(map(torch.equal, made.encode_text(["a dancer", ""]), whole.encode_text(["a dancer", ""])))


def test_clip_is_dropped_after_use_where_blocks_travel(whole: Networks) -> None:
    reference = torch.zeros(3, 64, 64)
    made = networks(Plan("blocks", 0, 8))
    assert torch.equal(made.encode_image(reference), whole.encode_image(reference))
    assert "_image_encoder" not in vars(made)
    assert "_image_encoder" in vars(whole)


def test_a_transformer_that_is_loaded_beside_is_the_same(
    tmp_path: Path, given: dict[str, torch.Tensor], expected: torch.Tensor
) -> None:
    made = networks(Plan("blocks", 3, 8))
    made.prepare()
    text = made.encode_text(["a dancer"])
    made.encode_image(torch.zeros(3, 64, 64))
    assert torch.equal(made.denoise(**given), expected)
    assert made.host_bytes > 0
    assert torch.equal(text[0], networks().encode_text(["a dancer"])[0])
    made.drop()
    made.prepare()
    made.drop()  # nobody has used it
    assert "_transformer" not in vars(made)
    assert torch.equal(made.denoise(**given), expected)
    broken = networks(Plan("blocks", 3, 8))
    broken.take(((tmp_path / "missing.safetensors", 1.0),))
    broken.prepare()
    with pytest.raises(ValueError, match="is missing"):
        broken.denoise(**given)


def test_what_is_loaded_beside_is_dropped_where_it_is_to_compute_in_another_way(given: dict[str, torch.Tensor]) -> None:
    plan, ways = Plan("none", 8, 8, "fp8"), kernels.Ways(fp8_products=True)
    made, wanted = networks(plan), networks(plan)
    made.prepare()
    for each in (made, wanted):
        each.compute(ways)
    assert torch.equal(made.denoise(**given), wanted.denoise(**given))
    assert made._denoiser.network.blocks[0].attn1.to_q.multiplies


def test_another_plan_loads_the_transformer_again_only_where_it_must(given: dict[str, torch.Tensor]) -> None:
    made = networks(Plan("none", 8, 8))
    first = made._transformer
    made.follow(None)
    made.follow(Plan("none", 8, 8, vae_bands=2, gpu_bytes=5))
    assert made._transformer is first
    made.follow(Plan("blocks", 8, 8))
    assert "_transformer" not in vars(made)
