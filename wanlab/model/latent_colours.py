"""Colours of latents: a small picture of what the model foresees, at each step and without the VAE's decoder.

A linear map from a latent's channels to a colour. It is fitted to what a run encodes anyway (reference, pose drawings,
background), so it fits any VAE and needs no weights of its own. Where a tiny decoder's weights are found and fit, it shows
the latents instead.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from wanlab.model.tiny_decoder import TinyDecoder

RIDGE = 1e-7  # of the mean square of a channel: channels that these images leave constant get no weight


class LatentColours:
    """The map, by least squares of encodings against their pixels averaged down to the latents' grid.

    Of each kind of image only the sums that a fit needs are kept, on the device where it was encoded; each kind counts
    the same, however many frames it has.

    Attributes:
        fault: why a decoder is not used, empty: nothing is wrong.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._map: Tensor | None = None
        self._first: tuple[Tensor, Tensor] | None = None  # what was learned first: a latent and its colours
        self._decoder: TinyDecoder | None = None
        self._is_checked = False
        self.fault = ""

    def use(self, decoder: TinyDecoder | None) -> None:
        """Let a decoder show latents, where it fits what was learned first; None: the map does."""
        self._decoder, self._is_checked, self.fault = decoder, False, ""

    @torch.inference_mode()
    def learn(self, kind: str, pixels: Tensor, latents: Tensor) -> None:
        """Take an encoding into the fit.

        Args:
            kind: of image.
            pixels: [3, T, H, W], -1 to 1.
            latents: [C, t, h, w], what the VAE makes of them; T is 1 + n (t - 1), n frames a latent after the first.
        """
        target = averaged(pixels, latents.shape)
        self._first = self._first or (latents[:, :1].clone(), target[:, :1].clone())
        rows = torch.cat([latents.float(), torch.ones_like(target[:1]), target]).flatten(1)
        sums = (rows @ rows.T).double()
        self._sums[kind] = self._sums[kind] + sums if kind in self._sums else sums
        self._counts[kind] = self._counts.get(kind, 0) + rows.shape[1]
        self._map = None

    @property
    def is_ready(self) -> bool:
        """Whether something was learned."""
        return bool(self._sums)

    def error(self) -> float:
        """Return the fit's root mean square error over what was learned, in steps of 0 to 255.

        Raises:
            ValueError: if nothing was learned.
        """
        moments = self._moments()
        matrix = self._matrix().double().cpu()
        known, wanted = len(matrix), len(moments) - len(matrix)
        square, mixed, target = (
            moments[:known, :known],
            moments[:known, known:],
            moments[known:, known:],
        )
        left = target - mixed.T @ matrix - matrix.T @ mixed + matrix.T @ square @ matrix
        return math.sqrt(max(0.0, float(left.trace()) / wanted)) * 127.5

    @torch.inference_mode()
    def shown(self, latents: Tensor) -> Tensor:
        """Return what latents look like: [C, t, h, w] → [t, h, w, 3], 0 to 255, uint8 RGB, on their device.

        With a decoder that fits the picture is larger, see `TinyDecoder.shown`.

        Raises:
            ValueError: if nothing was learned.
        """
        if self._decoder is not None and self._first is not None and not self._is_checked:
            self._is_checked, self.fault = True, _fault(self._decoder, *self._first)
        if self._decoder is not None and self._is_checked and not self.fault:
            return self._decoder.shown(latents)
        matrix = self._matrix().to(latents.device)
        colours = matrix[:-1].T @ latents.flatten(1).float() + matrix[-1:].T
        levels = ((colours + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return levels.unflatten(1, latents.shape[1:]).permute(1, 2, 3, 0).contiguous()

    def _matrix(self) -> Tensor:
        """Return the map, [C + 1, 3], float32, the last row of a colour that is always added."""
        if self._map is None:
            moments = self._moments()
            known = len(moments) - 3
            square, mixed = moments[:known, :known], moments[:known, known:]
            scale = square.diagonal().mean()
            made = torch.linalg.solve(square + RIDGE * scale * torch.eye(known).double(), mixed).float()
            self._map = made
            return made
        return self._map

    def _moments(self) -> Tensor:
        """Return the mean products of channels, 1 and colours, on the CPU: [C + 4, C + 4], float64."""
        if not self._sums:
            raise ValueError("latents must have been learned to be shown, got none; use learn first")
        return torch.stack([sums.cpu() / self._counts[kind] for kind, sums in self._sums.items()]).mean(0)


def averaged(pixels: Tensor, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Return pixels averaged down to the grid of latents: [3, T, H, W] → [3, t, h, w], float32.

    The first latent stands for one frame, each further one for as many as the VAE packs into it.

    Args:
        pixels: of any range.
        shape: [C, t, h, w] of the latents.
    """
    _, count, height, width = shape
    down, across = pixels.shape[2] // height, pixels.shape[3] // width
    cells = pixels[:, :, : height * down, : width * across].unflatten(3, (width, across)).unflatten(2, (height, down))
    first = cells[:, :1].float().mean((3, 5))
    if count == 1:
        return first
    packed = (pixels.shape[1] - 1) // (count - 1)
    later = cells[:, 1 : 1 + packed * (count - 1)].unflatten(1, (count - 1, packed)).float().mean((2, 4, 6))
    return torch.cat([first, later], dim=1)


def _fault(decoder: TinyDecoder, latent: Tensor, target: Tensor) -> str:
    """Say that a decoder is for other latents: its picture is no closer to the image than the image's mean colour. Else empty."""
    made = averaged(decoder.shown(latent).permute(3, 0, 1, 2).float() / 127.5 - 1, latent.shape)
    grey = target.mean((1, 2, 3), keepdim=True)
    off, most = (127.5 * float((target - each).square().mean().sqrt()) for each in (made, grey))
    if off < most:
        return ""
    return (
        f"its picture of the first latents must be closer to them than one colour, {most:.0f} of 255 off, got {off:.0f}"
    )
