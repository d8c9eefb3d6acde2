"""What it costs to watch a generation: the view's share of a denoising step, and its calls one by one.

    python benchmarks/live_view.py                       # on a GPU: 77 frames of 1280x720, a step of 40 blocks (from 4)
    python benchmarks/live_view.py --size 480x832
    python benchmarks/live_view.py --nano                # a generation with the bundled nano, on a CPU

`returns` is what the loop waits for; `device` is the work on the GPU; `thread` what the writing thread computes beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from wanlab import config  # noqa: E402
from wanlab.model import checkpoints, networks  # noqa: E402
from wanlab.model.latent_colours import LatentColours  # noqa: E402
from wanlab.model.tiny_decoder import TinyDecoder, layout  # noqa: E402
from wanlab.steps import generate, live_view, preprocess  # noqa: E402

NUM_STEPS = 20
LAYERS, ALL_LAYERS = 4, 40  # of the transformer: few are enough to know what a step of all takes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="720x1280", help="height x width in pixels [720x1280]")
    parser.add_argument("--frames", type=int, default=77, help="of a segment, 4n + 1 [77]")
    parser.add_argument("--nano", action="store_true", help="measure a generation with nano instead")
    args = parser.parse_args()
    if args.nano:
        of_nano()
    else:
        height, width = (int(side) for side in args.size.split("x"))
        of_a_large_step(args.frames, height, width)


def of_nano() -> None:
    """Generate the bundled clip with nano, the view's calls timed; then again without a view."""
    sample = config.ASSETS / "sample"
    clip = {"driving_video": sample / "half.mp4", "reference_image": sample / "character.png", "max_frames": 33}
    with contextlib.redirect_stdout(io.StringIO()), outputs():
        folder = preprocess.work(preprocess.prepare(config.PreprocessSettings.build(clip))).folder
        chosen = {
            "inputs": folder,
            "checkpoint": checkpoints.NANO,
            "num_inference_steps": 8,
            "max_frames": 33,
            "fresh": True,
        }
        loaded, calls = generate.LoadedNetworks(), list[float]()
        watched = live_view.LiveView.foreseen

        def timed(self: live_view.LiveView, *given: object) -> None:
            start = time.perf_counter()
            watched(self, *given)  # type: ignore[arg-type]
            calls.append(time.perf_counter() - start)

        found = {}
        for name, foreseen in (("first", watched), ("watched", timed), ("not", lambda *_: None)):
            live_view.LiveView.foreseen = foreseen  # type: ignore[method-assign]
            run, start = generate.prepare(config.GenerateSettings.build(chosen)), time.process_time()
            generate.work(run, loaded)
            found[name] = run.manifest["seconds"]["generate"], time.process_time() - start
    seconds = found["watched"][0]
    print(f"nano, {len(calls)} steps in {seconds:.1f} s: the view's calls take {sum(calls) / seconds:.2%} of it")
    print(f"  a call {1000 * statistics.median(calls):.2f} ms, at most {1000 * max(calls):.2f} ms")
    print(f"  CPU seconds of all threads: {found['watched'][1] / found['not'][1]:.3f} times those without a view")


@contextlib.contextmanager
def outputs() -> Iterator[None]:
    """Set an outputs folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["WANLAB_OUTPUTS"] = place
        yield


@torch.inference_mode()
def of_a_large_step(frames: int, height: int, width: int) -> None:
    """Call the view with latents of a size, and compare with a step of the real transformer's shape, random weights."""
    device = torch.device(networks.default_device())
    random = torch.Generator().manual_seed(1)
    shape = 16, (frames - 1) // 4 + 1, height // 8, width // 8
    steps = [torch.randn(shape, generator=random).to(device) for _ in range(3)]
    colours = LatentColours()
    pixels = (torch.rand((3, frames, height, width), generator=random) * 2 - 1).to(device)
    learning = clocked(device, lambda: colours.learn("pose", pixels, steps[0]))
    fit = clocked(device, lambda: colours.shown(steps[0][:, :1]))
    returns, thread = list[float](), -time.process_time() + time.thread_time()
    with tempfile.TemporaryDirectory() as place, live_view.LiveView(Path(place), Fraction(16), NUM_STEPS) as view:
        live_view.EVERY_S = 0.0  # a picture in each step, as where a step takes longer than half a second
        for number in range(NUM_STEPS):
            synchronised(device)
            start = time.perf_counter()
            view.foreseen(0, number, steps[number % 3], colours)
            returns.append(time.perf_counter() - start)
            synchronised(device)
            time.sleep(0.1)  # the step itself
    thread = (thread + time.process_time() - time.thread_time()) / NUM_STEPS
    on_device = clocked(device, lambda: (steps[0] - steps[1]).norm() / colours.shown(steps[0]).float().norm())
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu'}, {frames} frames of {width}x{height}")
    print(f"  once a segment: learning {1000 * learning:.1f} ms, fitting {1000 * fit:.1f} ms")
    print(f"  a step: returns after {1000 * statistics.median(returns):.2f} ms (at most {1000 * max(returns):.2f}),")
    print(f"          device {1000 * on_device:.2f} ms, thread {1000 * thread:.1f} ms")
    if device.type == "cuda":
        step = seconds_of_a_step(device, frames, height, width)
        print(
            f"  a step of {ALL_LAYERS} blocks takes {step:.2f} s: the view {max(*returns, on_device) / step:.3%} of it"
        )
        weights = {name: torch.randn(shape, generator=random) * 0.02 for name, shape in layout()}
        decoder = TinyDecoder(weights, "random", live_view.HIGHEST)
        decoding = clocked(device, lambda: decoder.shown(steps[0]))
        print(
            f"  a tiny decoder instead of the map: {1000 * decoding:.1f} ms on the device, {decoding / step:.3%} of a step"
        )


def seconds_of_a_step(device: torch.device, frames: int, height: int, width: int) -> float:
    import denoise

    made, _ = denoise.WAYS["wanlab"][1](device, {"num_layers": LAYERS}, False)
    given = denoise.arguments_of_a_step(made, frames, height, width)
    made.denoise(*given)
    return clocked(device, lambda: made.denoise(*given)) * ALL_LAYERS / LAYERS


def clocked(device: torch.device, work: object) -> float:
    """Return the seconds of some work, the device's too; the first call does not count."""
    found = []
    for _ in range(3):
        synchronised(device)
        start = time.perf_counter()
        work()  # type: ignore[operator]
        synchronised(device)
        found.append(time.perf_counter() - start)
    return min(found[1:])


def synchronised(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
