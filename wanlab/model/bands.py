"""The VAE in bands: its memory grows with the size of the image, and one band after the other needs less of it.

The attention of the middle block sees the whole image, so the middle is made whole; the rest, which needs nearly all of the
memory, sees its neighbourhood only and is made band by band, each with a margin that is thrown away. Frames go through one
latent frame at a time, with the caches of the causal convolutions between, as diffusers does it.

Source: `WanEncoder3d` and `WanDecoder3d` of diffusers, `Encoder3d` and `Decoder3d` of Wan's VAE.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import patchify, unpatchify
from torch import Tensor

STRIDE = 8  # pixels per side of a latent cell
MARGIN = 8  # latent cells on either side of a band: the miniature's pixels then differ by 3e-6 at most
UP_BLOCKS = ("WanUpBlock", "WanResidualUpBlock")
BLOCKS = ("WanResidualBlock", "WanResample", "WanMidBlock", "WanResidualDownBlock")
TIME = 4  # frames per latent frame, but for the first, which is one frame


def encode(vae: Any, pixels: Tensor, bands: int = 1) -> Tensor:
    """Return the mean of the latents of a video.

    Args:
        vae: diffusers' AutoencoderKLWan.
        pixels: [1, 3, T, H, W], -1 to 1; T is one more than a multiple of 4, the sides are multiples of 8.
        bands: across the longer side; 1 gives what the VAE itself gives, to the bit.

    Returns:
        [1, 16, (T + 3) // 4, H / 8, W / 8].
    """
    encoder, pixels = vae.encoder, patchify(pixels.to(vae.dtype), _patch(vae))
    chunks = [slice(0, 1), *(slice(t, t + TIME) for t in range(1, pixels.shape[2], TIME))]

    def down(part: Tensor) -> Tensor:
        through = _Cached(encoder.conv_in, *encoder.down_blocks)
        return torch.cat([through(part[:, :, chunk]) for chunk in chunks], 2)

    features = _in_bands(pixels, bands, STRIDE // _patch(vae), 1, down)
    rest = _Cached(encoder.mid_block, encoder.norm_out, encoder.nonlinearity, encoder.conv_out)
    moments = torch.cat([rest(frame) for frame in features.split(1, 2)], 2)
    return vae.quant_conv(moments).chunk(2, dim=1)[0].float()


def decode(vae: Any, latents: Tensor, bands: int = 1) -> Tensor:
    """Return the video of latents, [1, 3, 4 t - 3, 8 h, 8 w], -1 to 1, of [1, 16, t, h, w]; the other arguments as of `encode`."""
    decoder, cell = vae.decoder, STRIDE // _patch(vae)
    middle = _Cached(decoder.conv_in, decoder.mid_block)
    features = torch.cat([middle(frame) for frame in vae.post_quant_conv(latents.to(vae.dtype)).split(1, 2)], 2)

    def up(part: Tensor) -> Tensor:
        through = _Cached(*decoder.up_blocks, decoder.norm_out, decoder.nonlinearity, decoder.conv_out)
        length = 1 + TIME * (part.shape[2] - 1)
        made = part.new_empty(1, vae.config.out_channels, length, *(cell * side for side in part.shape[3:]))
        for t, frame in enumerate(part.split(1, 2)):
            made[:, :, max(0, TIME * t - TIME + 1) : TIME * t + 1] = through(frame)
        return made

    return unpatchify(_in_bands(features, bands, 1, cell, up), _patch(vae)).float().clamp_(-1, 1)


def in_bfloat16(vae: Any) -> Any:
    """Return the VAE in bfloat16, its weights laid out as tensor cores take them: quicker (docs/performance.md)."""
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in vae.parameters():
        layout = layouts.get(parameter.ndim, torch.preserve_format)
        parameter.data = parameter.data.to(torch.bfloat16, memory_format=layout)
    return vae


def _patch(vae: Any) -> int:
    """Return the side in pixels of what the VAE takes as one pixel of more channels."""
    return vae.config.patch_size or 1


class _Cached:
    """Layers one after the other, and what their convolutions remember from one piece of a video to the next."""

    def __init__(self, *layers: Callable[..., Tensor]) -> None:
        self._layers = layers
        modules = [layer for layer in layers if isinstance(layer, torch.nn.Module)]
        self._cache: list[Any] = [None] * sum(1 for layer in modules for _ in layer.modules())
        self._begun = False

    def __call__(self, x: Tensor) -> Tensor:
        """Take the next piece of a video."""
        place, first = [0], not self._begun
        self._begun = True
        for layer in self._layers:
            name = type(layer).__name__
            if name == "WanCausalConv3d":
                x = self._convolve(layer, x, place)
            elif name in UP_BLOCKS:
                x = layer(x, feat_cache=self._cache, feat_idx=place, first_chunk=first)
            elif name in BLOCKS:
                x = layer(x, feat_cache=self._cache, feat_idx=place)
            else:
                x = layer(x)
        return x

    def _convolve(self, layer: Callable[..., Tensor], x: Tensor, place: list[int]) -> Tensor:
        """Convolve a piece with the two frames before it, and remember its own last two."""
        before = self._cache[place[0]]
        last = x[:, :, -2:].clone()
        if last.shape[2] < 2 and before is not None:
            last = torch.cat([before[:, :, -1:], last], dim=2)
        self._cache[place[0]] = last
        place[0] += 1
        return layer(x, before)


def _in_bands(x: Tensor, bands: int, cell: int, made_cell: int, work: Callable[[Tensor], Tensor]) -> Tensor:
    """Do some work on an image in bands across its longer side, and put them together.

    Args:
        x: [1, C, T, H, W].
        bands: how many; fewer where they would be thinner than their margins.
        cell, made_cell: side of a latent cell in `x` and in what is made of it.
        work: takes a band with its margins.
    """
    side = 3 if x.shape[3] >= x.shape[4] else 4
    cells = x.shape[side] // cell
    bands = max(1, min(bands, cells // MARGIN))
    if bands == 1:
        return work(x)
    edges, parts = [cells * band // bands for band in range(bands + 1)], []
    for first, last in itertools.pairwise(edges):
        begin, end = max(0, first - MARGIN), min(cells, last + MARGIN)
        part = work(x.narrow(side, begin * cell, (end - begin) * cell))
        parts.append(part.narrow(side, (first - begin) * made_cell, (last - first) * made_cell).clone())
    return torch.cat(parts, side)
