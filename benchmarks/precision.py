"""Seconds of a denoising step with precision fast and official, and how far the two lie apart.

    .venv/bin/python benchmarks/precision.py --checkpoint DIR [--size 480x832] [--frames 77] [--steps 3]

Run it where the checkpoint's GPU is. Inputs are random; the first step of each precision is left out, as it makes the motion features.
The relative error against the official code in float32 is measured at small width by tests/model/test_precision.py.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from wanlab.model import checkpoints
from wanlab.model.networks import TEXT_LENGTH, Networks, default_device


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--checkpoint", type=Path)
    given.add_argument("--size", default="480x832", help="height x width in pixels")
    given.add_argument("--frames", type=int, default=77, help="of a segment, 4n + 1")
    given.add_argument("--steps", type=int, default=3)
    chosen = given.parse_args()
    networks = Networks(checkpoints.find(chosen.checkpoint).folder, default_device())
    height, width = (int(side) for side in chosen.size.split("x"))
    inputs = random_inputs(networks, chosen.frames, height, width)
    found = {}
    for precision in ("fast", "official"):
        networks.precision = precision
        seconds = []
        for _ in range(chosen.steps + 1):
            start = time.monotonic()
            found[precision] = networks.denoise(*inputs, torch.tensor(500))
            if networks.device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.monotonic() - start)
        print(f"{precision}: {statistics.median(seconds[1:]):.3f} s a step (the first {seconds[0]:.3f} s)", flush=True)
    if networks.device.type == "cuda":
        print(f"peak of the GPU's memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    apart = torch.linalg.norm(found["fast"] - found["official"]) / torch.linalg.norm(found["official"])
    print(f"fast and official lie {float(apart):.2%} apart (relative L2)")


def random_inputs(networks: Networks, frames: int, height: int, width: int) -> tuple[torch.Tensor, ...]:
    """Return what `Networks.denoise` takes but the timestep."""
    random = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random).to(networks.device)

    settings = networks._transformer.config
    grid = ((frames - 1) // 4 + 1, height // networks.vae_stride, width // networks.vae_stride)
    with_reference = (grid[0] + 1, *grid[1:])
    face = noise(3, frames, networks.face_size, networks.face_size).clamp(-1, 1)
    image = noise(1, 257, settings["image_dim"]).to(networks.dtype)
    text = noise(1, TEXT_LENGTH, settings["text_dim"]).to(networks.dtype)
    return noise(16, *with_reference), noise(20, *with_reference), noise(16, *grid), face, image, text


if __name__ == "__main__":
    main()
