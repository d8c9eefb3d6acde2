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

from wanlab.model import checkpoints, kernels, loading, networks, quantised, streaming, transformer  # noqa: E402

CLIP_TOKENS = 257
TOY_SIZE = "64x96"
PLAIN, COMPILED, FLASH3 = kernels.Ways(), kernels.Ways(compiled=True), kernels.Ways("flash3", compiled=True)
FP8, FP8_ATTENTION = FLASH3._replace(fp8_products=True), kernels.Ways("flash3_fp8", True, True)


def main() -> None:
    args = arguments()
    device = torch.device(networks.default_device())
    settings = dict(full_size.TOY["transformer"]) if args.toy else {}
    settings |= {"num_layers": args.layers} if args.layers else {}
    height, width = (int(side) for side in (TOY_SIZE if args.toy else args.size).split("x"))
    frames = 9 if args.toy else args.frames
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu'}, torch {torch.__version__}")
    print(f"{frames} frames of {width}x{height}\n{rows.HEADING}", flush=True)
    first = None
    for name in dict.fromkeys([*(["exact"] if args.exact else []), "plain", *args.ways.split(",")]):
        title, way = WAYS[name]
        made, host = way(device, settings, args.exact)
        given = arguments_of_a_step(made, frames, height, width)
        found = rows.measured(device, lambda made=made, given=given: made.denoise(*given), args.steps)
        first = first or found
        failure = getattr(made._denoiser, "failure", None)
        more = [f"first {found.first:.1f} s"] + ([f"host {host / rows.GIB:.1f} GiB"] if host else [])
        more += [f"not compiled: {failure}"] if failure else []
        print(rows.row(title, found, first), " ", ", ".join(more), flush=True)
        if name == args.profile:
            print(rows.profile(lambda made=made, given=given: made.denoise(*given)), flush=True)
        del made, given
        gc.collect()
        torch.cuda.empty_cache()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="480x832", help="height x width in pixels [480x832]")
    parser.add_argument("--frames", type=int, default=77, help="of a segment, 4n + 1 [77]")
    parser.add_argument("--steps", type=int, default=3, help="that are measured [3]")
    parser.add_argument(
        "--ways", default=",".join(list(WAYS)[1:]), help=f"of {', '.join(WAYS)} [all]; plain is always the first"
    )
    parser.add_argument("--layers", type=int, help="blocks of the network [40]")
    parser.add_argument("--profile", default="", help="a way whose kernels are listed after its row")
    parser.add_argument(
        "--exact",
        action="store_true",
        help="begin with diffusers in float32, which results are compared with; outliers in the weights",
    )
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


def _plain(
    device: torch.device, settings: dict[str, Any], outliers: bool, dtype: torch.dtype | None = None
) -> tuple[networks.Networks, int]:
    """Return diffusers' transformer with all weights in one type, its motion features made in every step."""
    made = networks.Networks(checkpoints.NANO, device.type)
    network = rows.filled(loading.empty("transformer", **settings), device, made.dtype, outliers=outliers)
    made.dtype = dtype or made.dtype
    vars(made).update(_transformer=network.to(made.dtype), _denoiser=_Plain(network, made.dtype))
    return made, 0


class _Plain:
    """diffusers' own way through its network."""

    def __init__(self, network: Any, dtype: torch.dtype) -> None:
        self._network, self._dtype = network, dtype

    def velocity(
        self, latents: Tensor, pose: Tensor, face: Tensor, image: Tensor, text: Tensor, timestep: Tensor, **_: Any
    ) -> Tensor:
        return self._network(
            hidden_states=latents[None].to(self._dtype),
            timestep=timestep[None],
            encoder_hidden_states=text,
            encoder_hidden_states_image=image,
            pose_hidden_states=pose[None].to(self._dtype),
            face_pixel_values=face[None].to(self._dtype),
            return_dict=False,
        )[0][0].float()


def _wanlab(
    device: torch.device,
    settings: dict[str, Any],
    outliers: bool,
    *,
    kind: str = "",
    resident: int | None = None,
    ways: kernels.Ways = PLAIN,
    precision: str = "fast",
) -> tuple[networks.Networks, int]:
    """Return it as wanlab loads and computes it, norms in float32; in 8 bits, or with blocks that travel."""
    made, host = networks.Networks(checkpoints.NANO, device.type), 0
    network = loading.empty("transformer", **settings)
    kept = tuple(getattr(network, "_keep_in_fp32_modules", None) or ())
    network = rows.filled(network, device, made.dtype, kept, outliers=outliers)
    if kind:
        quantised.quantise(network.blocks, kind, device)
    quantised.multiply(network, ways.fp8_products)
    denoiser = transformer.Transformer(network, made.dtype, kernels.KERNELS[ways.attention])
    if resident is not None:
        host = streaming.stream(denoiser.blocks, device, min(resident, len(network.blocks)))
    if ways.compiled:
        denoiser.compile()
    vars(made).update(_transformer=network, _denoiser=denoiser, precision=precision)
    return made, host


Way = Callable[[torch.device, dict[str, Any], bool], tuple[networks.Networks, int]]
WAYS: dict[str, tuple[str, Way]] = {
    "exact": ("plain diffusers in float32", lambda *given: _plain(*given, dtype=torch.float32)),
    "plain": ("plain diffusers, one type", _plain),
    "wanlab": ("wanlab: keys and motion once", _wanlab),
    "official": ("… precision official", lambda *given: _wanlab(*given, precision="official")),
    "flash3": ("… FlashAttention 3", lambda *given: _wanlab(*given, ways=kernels.Ways("flash3"))),
    "compiled": ("… blocks compiled", lambda *given: _wanlab(*given, ways=COMPILED)),
    "bf16": ("… FlashAttention 3, compiled", lambda *given: _wanlab(*given, ways=FLASH3)),
    "fp8": ("… products in fp8", lambda *given: _wanlab(*given, kind="fp8", ways=FP8)),
    "fp8attention": (
        "… and attention in fp8",
        lambda *given: _wanlab(*given, kind="fp8", ways=FP8_ATTENTION),
    ),
    "blocks": ("… all blocks travel", lambda *given: _wanlab(*given, resident=0)),
    "blockscompiled": ("… all travel, compiled", lambda *given: _wanlab(*given, resident=0, ways=FLASH3)),
    "half": ("… 20 blocks stay", lambda *given: _wanlab(*given, resident=20)),
    "weights8": ("… weights in fp8", lambda *given: _wanlab(*given, kind="fp8")),
    "weights8compiled": ("… weights in fp8, compiled", lambda *given: _wanlab(*given, kind="fp8", ways=FLASH3)),
    "int8": ("… weights in int8", lambda *given: _wanlab(*given, kind="int8")),
    "int8compiled": ("… weights in int8, compiled", lambda *given: _wanlab(*given, kind="int8", ways=FLASH3)),
}


if __name__ == "__main__":
    main()
