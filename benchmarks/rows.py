"""What the benchmarks of networks share: random weights, the clock, and rows that are ratios to the first one of the same run."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

GIB = 2**30
OUTLIERS, LARGER = 1000, 20  # one row of so many, and how much larger it is


class Measured(NamedTuple):
    """Seconds of a first call and the median of those after it, the GPU's peak (0 on a CPU), what the last call returned."""

    first: float
    seconds: float
    peak: int
    result: Tensor


def filled(
    network: nn.Module, device: torch.device, dtype: torch.dtype, kept: tuple[str, ...] = (), *, outliers: bool = False
) -> Any:
    """Give a network without weights random ones that keep what flows through at a usual size.

    Args:
        network: from `loading.empty`.
        device: where they are made.
        dtype: of them.
        kept: parts of names; what bears one is in float32, rounded to `dtype` all the same.
        outliers: whether a few rows of each matrix are much larger than the others.
    """
    random = torch.Generator(device).manual_seed(0)
    for name, old in list(network.named_parameters()):
        made = torch.randn(old.shape, generator=random, device=device)
        own = torch.float32 if set(name.split(".")) & set(kept) else dtype
        if made.numel() == max(made.shape):  # norms and biases
            is_norm = not name.endswith("bias") and any(word in name for word in ("norm", "gamma"))
            made = made * 0.1 + (1 if is_norm else 0)
        elif not name.startswith("motion_encoder."):
            made = made / math.prod(made.shape[1:]) ** 0.5
            if outliers and made.ndim == 2:
                made[torch.randint(len(made), (max(1, len(made) // OUTLIERS),), generator=random, device=device)] *= (
                    LARGER
                )
        place, _, last = name.rpartition(".")
        setattr(network.get_submodule(place), last, nn.Parameter(made.to(dtype).to(own), requires_grad=False))
    return network.to(device).eval()


def measured(device: torch.device, work: Callable[[], Tensor], times: int) -> Measured:
    """Call some work `times` times after a first time that does not count."""
    seconds: list[float] = []
    result = torch.empty(0)
    for number in range(times + 1):
        if number == 1 and device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        result = work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return Measured(seconds[0], statistics.median(seconds[1:]), peak, result.float().cpu())


def profile(work: Callable[[], Tensor]) -> str:
    """Return the kernels of a step, the longest first."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        work()
    return found.key_averages().table(sort_by="self_device_time_total", row_limit=22, max_name_column_width=60)


def row(name: str, found: Measured, first: Measured) -> str:
    """Return a row of the table: seconds, their ratio to the first row's, the peak, how far the result lies from the first's."""
    apart = float(torch.linalg.norm(found.result - first.result) / torch.linalg.norm(first.result))
    peak = f"{found.peak / GIB:6.1f} GiB" if found.peak else "         –"
    return f"{name:44} {found.seconds:8.3f} s {found.seconds / first.seconds:6.2f}x {peak}  {apart:9.2e}"


HEADING = f"{'':44} {'':10} {'ratio':>7} {'GPU peak':>10}  {'apart (L2)':>9}"
