"""The tiny decoder: the published names and shapes, memory, growth and size, each by weights whose result is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from wanlab import config
from wanlab.model import tiny_decoder
from wanlab.model.latent_colours import LatentColours
from wanlab.model.tiny_decoder import TinyDecoder

# as taehv.py of madebyollin/taehv builds the decoder, by layer
CONVOLUTIONS = {1: (16, 256), 8: (256, 128), 14: (128, 64), 20: (64, 64), 22: (64, 3)}
WITHOUT_BIAS = 8, 14, 20
BLOCKS = {3: 256, 4: 256, 5: 256, 9: 128, 10: 128, 11: 128, 15: 64, 16: 64, 17: 64}
GROWTHS = {7: (256, 1), 13: (128, 2), 19: (64, 2)}  # channels, frames made of one


def published() -> dict[str, Tensor]:
    """Return weights of the published layout, random, small enough for colours between 0 and 1."""
    random = torch.Generator().manual_seed(3)
    shapes = {"encoder.0.weight": (64, 3, 3, 3)}
    for layer, (before, after) in CONVOLUTIONS.items():
        shapes[f"decoder.{layer}.weight"] = after, before, 3, 3
        if layer not in WITHOUT_BIAS:
            shapes[f"decoder.{layer}.bias"] = (after,)
    for layer, width in BLOCKS.items():
        for number, before in ((0, 2 * width), (2, width), (4, width)):
            shapes[f"decoder.{layer}.conv.{number}.weight"] = width, before, 3, 3
            shapes[f"decoder.{layer}.conv.{number}.bias"] = (width,)
    for layer, (width, frames) in GROWTHS.items():
        shapes[f"decoder.{layer}.conv.weight"] = frames * width, width, 1, 1
    return {key: _some(shape, random) for key, shape in shapes.items()}


def _some(shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    made = torch.randn(shape, generator=random)
    return made / made[0].numel() ** 0.5 if len(shape) > 1 else made * 0.1


def passing() -> dict[str, Tensor]:
    """Return weights that pass the first channel on and make a grey of it, and nothing else."""
    weights = {key: torch.zeros_like(each) for key, each in RANDOM.items()}
    for layer in CONVOLUTIONS:
        weights[f"decoder.{layer}.weight"][0, 0, 1, 1] = 1
    weights["decoder.22.weight"][:, 0, 1, 1] = 1 / 3
    for layer, (width, frames) in GROWTHS.items():
        growth = weights[f"decoder.{layer}.conv.weight"]
        growth[: width * (frames - 1)] = 7  # of frames that a preview leaves out
        growth[width * (frames - 1), 0] = 1
    return weights


RANDOM = published()
LATENTS = torch.randn(16, 3, 2, 2, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize(("height", "size"), [(99, 16), (8, 8), (5, 8), (2, 2), (1, 2)])
def test_each_latent_becomes_a_picture_of_that_height_or_more(height: int, size: int) -> None:
    shown = TinyDecoder(passing(), "passing", height).shown(LATENTS)
    assert (shown.dtype, shown.shape) == (torch.uint8, (3, size, size, 3))


def test_frames_one_by_one_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = TinyDecoder(RANDOM, "random", height=2)
    whole = decoder.shown(LATENTS).int()
    monkeypatch.setattr(tiny_decoder, "AT_ONCE", 1)
    assert (decoder.shown(LATENTS).int() - whole).abs().max() <= 1
    assert whole.float().std() > 10
    assert (whole[1:] - decoder.shown(LATENTS[:, 1:]).int()).abs().max() > 3  # what came before counts


def test_latents_are_softly_limited_and_the_last_frame_of_each_is_taken() -> None:
    made = TinyDecoder(passing(), "passing", height=2).decoded(LATENTS.transpose(0, 1), {}, 1)
    wanted = torch.tanh(LATENTS[0] / 3).clamp(min=0)[:, None]
    torch.testing.assert_close(made, wanted.repeat(1, 3, 1, 1).repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_a_block_sees_the_frame_and_then_the_one_before() -> None:
    """One block adds a quarter of what it saw before, which lies in the second half of its channels."""
    weights = passing()
    weights["decoder.15.conv.0.weight"][0, 64, 1, 1] = 0.25
    for number in (2, 4):
        weights[f"decoder.15.conv.{number}.weight"][0, 0, 1, 1] = 1
    made = TinyDecoder(weights, "passing", height=2).decoded(LATENTS.transpose(0, 1), {}, 0)[:, 0]
    alone = torch.tanh(LATENTS[0] / 3).clamp(min=0)
    before = torch.cat([torch.zeros_like(alone[:1]), alone[:-1]])
    torch.testing.assert_close(made, (alone + before / 4).clamp(max=1))


def test_files_are_found_and_what_does_not_fit_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, comfyui = tmp_path / "Wan", tmp_path / "ComfyUI"
    place = comfyui / "models" / "vae_approx"
    for folder in (checkpoint, place):
        folder.mkdir(parents=True)
    monkeypatch.setattr(config, "weight_folders", lambda given: [given, comfyui])
    assert tiny_decoder.find(checkpoint, 2) == (None, ())
    half = {key: each.half() for key, each in RANDOM.items()}
    torch.save(half, place / "taew2_1.pth")
    save_file({"decoder.1.weight": torch.zeros(256, 48, 3, 3)}, checkpoint / "taew2_1.safetensors")
    (checkpoint / "taew2_1.pth").write_bytes(b"no weights")
    decoder, notes = tiny_decoder.find(checkpoint, 2)
    assert decoder is not None
    shown, wanted = (each.shown(LATENTS[:, :1]).int() for each in (decoder, TinyDecoder(RANDOM, "random", 2)))
    assert (shown - wanted).abs().max() <= 2  # half precision
    assert notes[0] == (
        "taew2_1.safetensors was passed over for the live view, whose colours stay a linear map: "
        "decoder.1.weight must be [256, 16, 3, 3], got [256, 48, 3, 3]"
    )
    assert notes[1].startswith("taew2_1.pth was passed over")
    save_file(half, place / "taew2_1_fp16.safetensors")
    found, _ = tiny_decoder.find(checkpoint, 2)
    assert found is not None
    assert found.name == "taew2_1_fp16.safetensors"  # nothing can be hidden in one


@pytest.mark.parametrize("missing", ["decoder.20.weight", "decoder.22.bias", "decoder.17.conv.4.bias"])
def test_a_missing_weight_is_named(missing: str) -> None:
    weights = {key: each for key, each in RANDOM.items() if key != missing}
    with pytest.raises(ValueError, match=rf"{missing} must be \[.*\], got none"):
        TinyDecoder(weights, "short", 3)


@pytest.mark.parametrize("fits", [True, False])
def test_it_shows_latents_only_where_it_fits_them(fits: bool) -> None:
    """`passing` shows a latent's first channel; here that is the image's grey, or its negative."""
    decoder, colours = TinyDecoder(passing(), "passing", height=6), LatentColours()
    grey = torch.rand(1, 1, 3, 4, generator=torch.Generator().manual_seed(5)) * 0.8
    latents = torch.zeros(16, 1, 3, 4)
    latents[:1] = torch.atanh(grey if fits else 0.8 - grey) * 3
    pixels = (grey * 2 - 1).repeat(3, 1, 1, 1).repeat_interleave(8, 2).repeat_interleave(8, 3)
    colours.learn("reference", pixels, latents)
    linear = colours.shown(latents)
    colours.use(decoder)
    shown = colours.shown(latents)
    if fits:
        assert colours.fault == ""
        torch.testing.assert_close(shown, decoder.shown(latents))
        assert shown.shape == (1, 6, 8, 3)
    else:
        assert "must be closer to them than one colour" in colours.fault
        torch.testing.assert_close(shown, linear)
