"""Seconds and memory of the VAE in bands, each as a ratio to plain diffusers in the same run; random weights, made here.

python benchmarks/vae.py                            # 77 frames of 832x480, float32 with TF32 convolutions
python benchmarks/vae.py --size 720x1280 --bands 1,2,4,8
python benchmarks/vae.py --toy                      # does it run? on a CPU
"""

from __future__ import annotations

import argparse
import copy
import functools
import math
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import full_size  # noqa: E402
import rows  # noqa: E402

from wanlab.model import bands, loading, memory, networks  # noqa: E402

TOY_SIZE = "64x192"


@torch.inference_mode()
def main() -> None:
    args = arguments()
    device = torch.device(networks.default_device())
    height, width = (int(side) for side in (TOY_SIZE if args.toy else args.size).split("x"))
    frames = 9 if args.toy else args.frames
    vae = rows.filled(loading.empty("vae", **(full_size.TOY["vae"] if args.toy else {})), device, torch.float32)
    random = torch.Generator().manual_seed(1)
    pixels = torch.rand((1, 3, frames, height, width), generator=random).to(device) * 2 - 1
    latents = torch.randn((1, 16, (frames + 3) // 4, height // 8, width // 8), generator=random).to(device)
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu'}, torch {torch.__version__}")
    counts = [int(count) for count in args.bands.split(",")]
    for name, whole, part, given in (
        ("encode", lambda made, x: made.encode(x).latent_dist.mode(), bands.encode, pixels),
        ("decode", lambda made, x: made.decode(x).sample, bands.decode, latents),
    ):
        print(f"{name}, {frames} frames of {width}x{height}\n{rows.HEADING}")
        first = rows.measured(device, lambda whole=whole, given=given: whole(vae, given), args.times)
        print(rows.row("plain diffusers", first, first), flush=True)
        for count in counts:
            found = rows.measured(
                device, lambda part=part, given=given, count=count: part(vae, given, count), args.times
            )
            said = f"  share {memory.share(memory.Clip(frames, height, width), count):.2f}"
            print(rows.row(f"wanlab, {count} bands" if count > 1 else "wanlab, whole", found, first) + said, flush=True)
        short = bands.in_bfloat16(copy.deepcopy(vae))
        work = functools.partial(part, short, given)
        found = rows.measured(device, work, args.times)
        print(rows.row("wanlab in bfloat16", found, first), f" {_decibels(found, first):.1f} dB", flush=True)
        if args.profile:
            print(rows.profile(work), flush=True)
        del short, work


def _decibels(found: rows.Measured, first: rows.Measured) -> float:
    """Return the PSNR of a result of -1 to 1 against the first one's."""
    return 10 * math.log10(4 / float((found.result - first.result).square().mean()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="480x832", help="height x width in pixels [480x832]")
    parser.add_argument("--frames", type=int, default=77, help="4n + 1 [77]")
    parser.add_argument("--bands", default="1,2,3,4", help="counts [1,2,3,4]")
    parser.add_argument("--times", type=int, default=2, help="that are measured, after a first one [2]")
    parser.add_argument("--profile", action="store_true", help="list the kernels in bfloat16")
    parser.add_argument("--toy", action="store_true", help="a narrow VAE, 9 frames of 192x64")
    return parser.parse_args()


if __name__ == "__main__":
    main()
