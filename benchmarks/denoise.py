"""Seconds and memory of a denoising step, each way as a ratio to plain diffusers in the same run; random weights, made here.

    python benchmarks/denoise.py                         # a GPU with 80 GB: 17.3 B parameters, 77 frames of 832x480
    python benchmarks/denoise.py --size 720x1280 --ways plain,wanlab,blocks
    python benchmarks/denoise.py --toy                   # does it run? on a CPU

Steps after the first count: the motion features of a segment are made once. How far the results lie apart says whether a way
computes the same; how near random weights are to the real ones, nobody knows.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import full_size  # noqa: E402
import rows  # noqa: E402

from wanlab.model import checkpoints, loading, networks, quantised, streaming  # noqa: E402

CLIP_TOKENS = 257
TOY_SIZE = "64x96"


def main() -> None:
    args = arguments()
    device = torch.device(networks.default_device())
    settings = full_size.TOY["transformer"] if args.toy else {}
    height, width = (int(side) for side in (TOY_SIZE if args.toy else args.size).split("x"))
    frames = 9 if args.toy else args.frames
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu'}, torch {torch.__version__}")
    print(f"{frames} frames of {width}x{height}\n{rows.HEADING}", flush=True)
    first = None
    for name in dict.fromkeys(["plain", *args.ways.split(",")]):
        made, host = WAYS[name](device, settings)
        given = arguments_of_a_step(made, frames, height, width)
        found = rows.measured(device, lambda made=made, given=given: made.denoise(*given), args.steps)
        first = first or found
        print(rows.row(TITLES[name], found, first) + (f"  host {host / rows.GIB:.1f} GiB" if host else ""), flush=True)
        del made, given
        gc.collect()
        torch.cuda.empty_cache()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="480x832", help="height x width in pixels [480x832]")
    parser.add_argument("--frames", type=int, default=77, help="of a segment, 4n + 1 [77]")
    parser.add_argument("--steps", type=int, default=3, help="that are measured [3]")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"of {', '.join(WAYS)} [all]; plain is always the first")
    parser.add_argument("--toy", action="store_true", help="narrow networks, 9 frames of 96x64")
    return parser.parse_args()


def arguments_of_a_step(made: networks.Networks, frames: int, height: int, width: int) -> tuple[Tensor, ...]:
    """Return what `Networks.denoise` takes, random."""
    random, settings = torch.Generator().manual_seed(1), made._transformer.config
    grid = ((frames - 1) // 4 + 1, height // 8, width // 8)
    with_reference = (grid[0] + 1, *grid[1:])

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random).to(made.device)

    face = noise(3, frames, made.face_size, made.face_size).clamp(-1, 1)
    image = noise(1, CLIP_TOKENS, settings["image_dim"]).to(made.dtype)
    text = noise(1, networks.TEXT_LENGTH, settings["text_dim"]).to(made.dtype)
    return (
        noise(16, *with_reference),
        noise(20, *with_reference),
        noise(16, *grid),
        face,
        image,
        text,
        torch.tensor(500),
    )


def _plain(device: torch.device, settings: dict[str, Any]) -> tuple[networks.Networks, int]:
    """Return diffusers' transformer with all weights in one type, its motion features made in every step."""
    made = networks.Networks(checkpoints.NANO, device.type)
    vars(made)["_transformer"] = rows.filled(loading.empty("transformer", **settings), device, made.dtype)
    return made, 0


def _wanlab(
    device: torch.device, settings: dict[str, Any], kind: str = "", resident: int | None = None
) -> tuple[networks.Networks, int]:
    """Return it as wanlab loads it: norms in float32, motion features remembered; in 8 bits, or with blocks that travel."""
    made, host = networks.Networks(checkpoints.NANO, device.type), 0
    network = loading.empty("transformer", **settings)
    kept = tuple(getattr(network, "_keep_in_fp32_modules", None) or ())
    network = rows.filled(network, device, made.dtype, kept)
    network.motion_encoder = networks._Remembering(network.motion_encoder)
    if kind:
        quantised.quantise(network.blocks, kind, device)
    if resident is not None:
        host = streaming.stream(list(network.blocks), device, min(resident, len(network.blocks)))
    vars(made)["_transformer"] = network
    return made, host


Way = Callable[[torch.device, dict[str, Any]], tuple[networks.Networks, int]]
WAYS: dict[str, Way] = {
    "plain": _plain,
    "wanlab": _wanlab,
    "blocks": lambda device, settings: _wanlab(device, settings, resident=0),
    "half": lambda device, settings: _wanlab(device, settings, resident=20),
    "fp8": lambda device, settings: _wanlab(device, settings, "fp8"),
    "int8": lambda device, settings: _wanlab(device, settings, "int8"),
    "fp8blocks": lambda device, settings: _wanlab(device, settings, "fp8", 0),
}
TITLES = {
    "plain": "plain diffusers, one type",
    "wanlab": "wanlab: norms in float32, motion once",
    "blocks": "… all blocks travel",
    "half": "… 20 blocks stay",
    "fp8": "… fp8 with a scale a row",
    "int8": "… int8 with a scale a row",
    "fp8blocks": "… fp8, all blocks travel",
}


if __name__ == "__main__":
    main()
