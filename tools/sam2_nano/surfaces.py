"""Random colours and surfaces, made on the GPU, for the things and people of data.py and figures.py."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "nano"))  # its renderer's folder
from nano import people as P


def uniform(count: int, device: str | torch.device, *fixed: int) -> Callable[..., Tensor]:
    """Return `draw(low, high, *shape)`: random numbers [count, *shape], or [count, *fixed] where no shape is named."""
    return lambda low, high, *shape: P.U((count, *(shape or fixed)), low, high, device)


def textures(count: int, size: int, device: str) -> Tensor:
    """Return random surfaces, [count, 3, size, size], 0 to 1: clouds, hard patches, stripes and tiles of few colours."""
    U = uniform(count, device)
    steep = U(0.3, 1.3, 1, 1, 1)

    def noise() -> Tensor:
        out = torch.zeros(count, 1, size, size, device=device)
        for level in range(1, int(math.log2(size)) + 1):
            rough = torch.randn(count, 1, 2**level, 2**level, device=device)
            out += F.interpolate(rough, (size, size), mode="bicubic") * (2.0 ** (-steep * level))
        return out / out.std((1, 2, 3), keepdim=True)

    a, b = noise(), noise()
    hard = torch.where(torch.rand(count, 1, 1, 1, device=device) < 0.35, U(4, 30, 1, 1, 1), U(0.4, 2, 1, 1, 1))
    at = torch.arange(size, device=device) / size
    x, y = at.view(1, 1, 1, -1) + 0.02 * a * U(0, 1, 1, 1, 1), at.view(1, 1, -1, 1) + 0.02 * b * U(0, 1, 1, 1, 1)
    turn = U(0, 3.14, 1, 1, 1)
    along, across = x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin()
    rate = U(2, 14, 1, 1, 1)
    stripes = ((along * rate) % 1 < U(0.2, 0.8, 1, 1, 1)).float()
    tiles = ((along * rate).floor() + (across * rate * U(0.5, 2, 1, 1, 1)).floor()) % 2
    kind = torch.rand(count, 1, 1, 1, device=device)
    mix = torch.where(kind < 0.6, torch.sigmoid(hard * a), torch.where(kind < 0.8, stripes, tiles) * 0.8 + 0.1 * a)
    one, two, three = (colours(count, device)[..., None, None] for _ in range(3))
    out = one * mix + two * (1 - mix)
    out = torch.lerp(out, three.expand_as(out), torch.sigmoid(hard * (b - U(0, 2, 1, 1, 1))))
    return (out + 0.05 * U(0, 1, 1, 1, 1) * torch.randn_like(out)).clamp(0, 1)


def fabrics(count: int, size: int, device: str) -> Tensor:
    """Return what fabrics make of a colour, [count, 3, size, size], about 1: folds, washed-out places, seams, grain."""
    U = uniform(count, device, 1, 1, 1)

    def noise(high: int, wide: int) -> Tensor:
        return F.interpolate(torch.randn(count, 1, high, wide, device=device), (size, size), mode="bicubic")

    folds = 1 - (noise(5, 12) + 0.5 * noise(9, 20)).abs()  # ridges
    folds = torch.where(U(0, 1) < 0.5, folds, folds.mT)
    blots = torch.sigmoid(U(1, 5) * (noise(4, 4) + 0.5 * noise(10, 10)) - U(0, 2))
    grain = torch.randn(count, 1, size, size, device=device) + noise(size // 2, size // 2)
    at = torch.arange(size, device=device).view(1, 1, 1, -1) / size
    seams = (((at + 0.01 * noise(6, 6)) * U(2, 5)) % 1 < 0.04).float() * torch.where(U(0, 1) < 0.4, U(-0.5, 0.4), 0.0)
    light = U(0, 0.25) * (folds - folds.mean((2, 3), keepdim=True)) + U(0, 0.12) * grain + seams
    washed = U(-0.2, 0.9).clamp(min=0) * (blots - blots.mean((2, 3), keepdim=True))
    tint = 1 + P.U((count, 3, 1, 1), -0.25, 0.25, device)
    return (1 + light + washed * tint).clamp(0.2, 2.2)


def colours(count: int, device: str) -> Tensor:
    """Return colours, [count, 3]: half of them greyish, a fifth nearly black or white."""
    hue, strong = P.U((count,), 0, 1, device), torch.rand(count, device=device)
    value = P.U((count,), 0.05, 1, device)
    end = torch.rand(count, device=device)
    value = torch.where(end < 0.12, value * 0.12, torch.where(end > 0.92, 0.9 + 0.1 * value, value))
    return P.hsv(hue, torch.where(strong < 0.5, strong * 0.5, strong), value)
