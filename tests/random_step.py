"""Random arguments of a denoising step of five frames of 64x64, for tests of the transformer."""

from __future__ import annotations

import torch
from torch import Tensor

from wanlab.model.networks import TEXT_LENGTH, Networks


def arguments(networks: Networks) -> dict[str, Tensor]:
    """Return what `Networks.denoise` takes, by name; the same ones each time."""
    random, settings = torch.Generator().manual_seed(1), networks._transformer.config
    shapes = {
        "latents": (16, 3, 8, 8), "condition": (20, 3, 8, 8), "pose": (16, 2, 8, 8), "face": (3, 5, networks.face_size, networks.face_size),
        "image": (1, 257, settings["image_dim"]), "text": (1, TEXT_LENGTH, settings["text_dim"]),
    }  # fmt: skip
    return {name: torch.randn(shape, generator=random) for name, shape in shapes.items()} | {
        "timestep": torch.tensor(500)
    }
