"""What a generation will take, before anything is loaded: how the networks compute on this machine, what stays where, how long."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from wanlab import config
from wanlab.model import attention, memory, parts, segments

if TYPE_CHECKING:
    from wanlab.model.kernels import Ways
    from wanlab.model.networks import Loras

FP8_PRODUCTS = (8, 9)  # compute capability from which on GPUs multiply in fp8: Ada, Hopper


@dataclasses.dataclass(frozen=True)
class Planned:
    """A plan, and what it was made from."""

    machine: memory.Machine
    needs: memory.Needs
    wishes: memory.Wishes
    plan: memory.Plan

    def cheaper(self) -> Planned | None:
        """Return the plan to try where this one took too much of the GPU; None: there is none."""
        found = memory.cheaper(self.plan, self.machine, self.needs, self.wishes)
        return dataclasses.replace(self, plan=found) if found else None


def ways(settings: config.ResolvedGenerateSettings) -> Ways:
    """Return how this machine computes what settings ask for."""
    from wanlab.model import kernels

    gpu = capability(settings.device)
    return kernels.Ways(
        attention.best(gpu, attention.installed()) if settings.attention == "auto" else settings.attention,
        settings.quantization == "fp8" and gpu is not None and gpu >= FP8_PRODUCTS,
        gpu is not None and settings.compile_model is not False,
        settings.vae_precision == "bfloat16",
    )


def capability(device: str | None) -> tuple[int, int] | None:
    """Return the compute capability of the GPU that is used; None on a CPU.

    Args:
        device: cuda or cpu; None: a GPU if there is one.
    """
    import torch

    has_gpu = device != "cpu" and torch.cuda.is_available()
    return torch.cuda.get_device_capability() if has_gpu else None


def make(settings: config.ResolvedGenerateSettings, clip: memory.Clip, loras: Loras, ours: int = 0) -> Planned | None:
    """Return a plan for the memory that is free; None where nothing is to be decided: on a CPU, unless settings ask for something.

    Args:
        settings: of the generation.
        clip: its longest segment.
        loras: that change the transformer.
        ours: bytes of host memory that this process holds and would give back.
    """
    wishes = memory.Wishes("none" if settings.no_offload else settings.offload, settings.quantization)
    has_gpu = capability(settings.device) is not None
    if not has_gpu and wishes == memory.Wishes() and settings.gpu_memory_gb is None:
        return None
    chosen = ways(settings)
    machine = memory.here("cuda" if has_gpu else "cpu", settings.gpu_memory_gb, ours)
    needs = memory.needs(
        parts.of(config.absolute(settings.checkpoint)),
        clip,
        2 if has_gpu else 4,
        [file for file, _ in loras],
        passes=calls_per_step(settings),
        is_compiled=chosen.compiled,
        pace=memory.pace(chosen.attention, chosen.fp8_products, chosen.compiled),
        vae_itemsize=2 if chosen.vae_in_bfloat16 else 4,
    )
    return Planned(machine, needs, wishes, memory.choose(machine, needs, wishes))


def longest(plan: segments.SegmentPlan, height: int, width: int) -> memory.Clip:
    """Return what the longest segment of a clip asks for."""
    return memory.Clip(max(end - start for start, end in plan.segments), height, width)


def gpu_bytes() -> dict[str, int]:
    """Return how much of the GPU's memory this process holds, as `gpu_bytes`; nothing without a GPU."""
    import torch

    return {"gpu_bytes": torch.cuda.memory_reserved()} if torch.cuda.is_initialized() else {}


def describe(planned: Planned, plan: segments.SegmentPlan, num_steps: int) -> str:
    """Return what a generation is expected to take, as a sentence for readers."""
    seconds = len(plan.segments) * planned.plan.seconds(num_steps)
    minutes = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"
    return f"{planned.plan.describe()}; about {minutes} in all once the model is loaded"


def calls_per_step(settings: config.ResolvedGenerateSettings) -> int:
    """Return how often the model is asked in a denoising step: with guidance once more, without the prompt."""
    return 2 if settings.guidance_scale > 1 else 1
