"""Colours of latents: exact where the VAE is linear, whatever it packs and scales; close enough to see on nano's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from wanlab import config, media
from wanlab.model import checkpoints
from wanlab.model.latent_colours import LatentColours, averaged
from wanlab.model.networks import Networks

SHAPE = 16, 3, 4, 5  # of latents: the first frame, then two times four


def images(seed: int, frames: int = 9, stride: int = 8) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(3, frames, SHAPE[2] * stride, SHAPE[3] * stride, generator=random) * 1.6 - 0.8


def packed_by_hand(pixels: Tensor) -> Tensor:
    """Return the mean colour of each cell of 8x8 pixels, frame 0 alone, then frames 1 to 4 and 5 to 8."""
    made = torch.zeros(3, *SHAPE[1:])
    for t, frames in enumerate(([0], [1, 2, 3, 4], [5, 6, 7, 8])):
        for y in range(SHAPE[2]):
            for x in range(SHAPE[3]):
                cell = pixels[:, frames, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
                made[:, t, y, x] = cell.mean((1, 2, 3))
    return made


def linear_vae(seed: int) -> tuple[Tensor, Tensor]:
    """Return the weights [16, 3] and the offset [16] of a VAE that is linear, its latents scaled by channel."""
    random = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-1, 1, 16)[:, None]
    return torch.randn(16, 3, generator=random) * scale, torch.randn(16, generator=random) * scale[:, 0]


def encoded(pixels: Tensor, vae: tuple[Tensor, Tensor]) -> Tensor:
    weights, offset = vae
    return torch.einsum("cr,rthw->cthw", weights, packed_by_hand(pixels)) + offset[:, None, None, None]


def test_pixels_are_averaged_as_the_vae_packs_them() -> None:
    torch.testing.assert_close(averaged(images(1), SHAPE), packed_by_hand(images(1)))
    one = images(2, frames=1)
    torch.testing.assert_close(averaged(one, (16, 1, 4, 5)), one.unflatten(2, (4, 8)).unflatten(4, (5, 8)).mean((3, 5)))


@pytest.mark.parametrize("seed", [1, 2])
def test_of_a_linear_vae_the_colours_are_exact(seed: int) -> None:
    vae, colours = linear_vae(seed), LatentColours()
    for kind, frames in (("reference", 3), ("pose", 4)):
        colours.learn(kind, images(frames), encoded(images(frames), vae))
    assert colours.error() < 0.05
    unseen = images(9)
    shown = colours.shown(encoded(unseen, vae))
    assert (shown.dtype, shown.shape) == (torch.uint8, (3, 4, 5, 3))
    wanted = (packed_by_hand(unseen).permute(1, 2, 3, 0) + 1) * 127.5
    assert (shown.float() - wanted).abs().max() <= 0.6  # 0.5 is rounding


def test_the_error_is_that_of_what_no_linear_map_explains() -> None:
    """Noise of 0.1 in all colours, which the latents do not hold, is left: 12.75 of 255."""
    vae, colours = linear_vae(3), LatentColours()
    pixels = images(5)
    noise = torch.randn(packed_by_hand(pixels).shape, generator=torch.Generator().manual_seed(8)) * 0.1
    spread = torch.cat([noise[:, :1], noise[:, 1:].repeat_interleave(4, dim=1)], dim=1)
    noisy = pixels + spread.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    colours.learn("reference", noisy, encoded(pixels, vae))
    degrees_of_freedom = 60 - 4  # 60 cells, 3 colours and an offset that the latents hold
    assert colours.error() == pytest.approx(12.75 * math.sqrt(degrees_of_freedom / 60), rel=0.1)


def test_each_kind_of_image_counts_the_same() -> None:
    """Many black drawings do not outweigh the one reference."""
    vae, few, many = linear_vae(4), LatentColours(), LatentColours()
    for colours, times in ((few, 1), (many, 50)):
        colours.learn("reference", images(1), encoded(images(1), vae) + 0.1)
        for _ in range(times):
            colours.learn("pose", images(2), encoded(images(2), vae) - 0.1)
    given = encoded(images(3), vae)
    torch.testing.assert_close(few.shown(given), many.shown(given))


def test_channels_that_never_change_get_no_weight() -> None:
    vae, colours = linear_vae(5), LatentColours()
    latents = encoded(images(1), vae)
    latents[7] = 2.0
    colours.learn("reference", images(1), latents)
    assert colours.error() < 0.05
    with pytest.raises(ValueError, match="latents must have been learned to be shown, got none; use learn first"):
        LatentColours().shown(latents)


@pytest.mark.slow
def test_nano_s_latents_look_like_what_they_decode_to() -> None:
    """Fitted to one character alone, and shown for frames of another's clip: 31 levels off where grey is 65 off."""
    networks, colours = Networks(checkpoints.NANO, "cpu"), LatentColours()
    sample = config.ASSETS / "sample"

    def pixels(frames: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(frames)).permute(3, 0, 1, 2).float() / 127.5 - 1

    reference = media.read_image(sample / "character.png")
    height, width = (side // 16 * 16 for side in reference.shape[:2])
    given = pixels(reference[None, :height, :width])
    colours.learn("reference", given, networks.encode(given))
    clip = pixels(np.stack(list(media.open_clip(sample / "half.mp4", max_frames=5))))[:, :, :192, :192]
    shown = colours.shown(networks.encode(clip)).float()
    wanted = (averaged(clip, (16, 2, *shown.shape[1:3])).permute(1, 2, 3, 0) + 1) * 127.5
    error = float((shown - wanted).square().mean().sqrt())
    grey = float((wanted - 127.5).square().mean().sqrt())
    assert colours.error() < 6
    assert error < 0.6 * grey
