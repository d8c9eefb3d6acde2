"""The VAE in bands against the VAE itself."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

from wanlab.model import bands, checkpoints

SIZES = [(9, 192, 64), (5, 64, 192), (1, 128, 128)]


@functools.cache
def vae() -> Any:
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan.from_pretrained(checkpoints.NANO / "vae", local_files_only=True).eval()


def video(length: int, height: int, width: int) -> torch.Tensor:
    """Return bright and dark stripes that move, and some noise."""
    made = torch.Generator().manual_seed(0)
    x, y, t = torch.arange(width), torch.arange(height)[:, None], torch.arange(length)[:, None, None]
    stripes = torch.sin((x + 3 * t) / 9) * torch.cos((y - 2 * t) / 7)
    return (stripes[None, None] + 0.1 * torch.randn(1, 3, length, height, width, generator=made)).clamp(-1, 1)


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_one_band_is_the_vae_to_the_bit(size: tuple[int, int, int]) -> None:
    pixels = video(*size)
    latents = vae().encode(pixels).latent_dist.mode()
    assert torch.equal(bands.encode(vae(), pixels), latents)
    assert torch.equal(bands.decode(vae(), latents), vae().decode(latents).sample)


@pytest.mark.parametrize("size", SIZES[:2])
@pytest.mark.parametrize("count", [2, 99])
@torch.inference_mode()
def test_bands_are_nearly_the_whole(size: tuple[int, int, int], count: int) -> None:
    pixels = video(*size)
    latents = vae().encode(pixels).latent_dist.mode()
    assert (bands.encode(vae(), pixels, count) - latents).abs().max() < 1e-4 * latents.abs().max()
    assert (bands.decode(vae(), latents, count) - vae().decode(latents).sample).abs().max() < 1e-4


@torch.inference_mode()
def test_a_margin_of_nothing_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = video(5, 192, 64)
    latents = vae().encode(pixels).latent_dist.mode()
    monkeypatch.setattr(bands, "MARGIN", 1)
    assert (bands.decode(vae(), latents, 2) - vae().decode(latents).sample).abs().max() > 1e-2
