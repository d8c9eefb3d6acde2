"""Attention kernels: which there are, on which GPUs each runs, how to get it. docs/attention.md shows the same table."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection
from typing import NamedTuple


class Kernel(NamedTuple):
    """One attention kernel.

    Attributes:
        name: for readers.
        module: that Python imports; None: part of torch.
        capabilities: lowest and highest compute capability (major, minor) that it runs on; None: any, a CPU too.
        gpus: the same in words.
        torch: versions of torch that it works with.
        users: what uses it.
        get: the command that installs it.
        choices: values of the setting `attention` that use it.
    """

    name: str
    module: str | None
    capabilities: tuple[tuple[int, int], tuple[int, int]] | None
    gpus: str
    torch: str
    users: str
    get: str
    choices: tuple[str, ...] = ()

    def runs_on(self, capability: tuple[int, int] | None) -> bool:
        """Return whether the kernel runs on a GPU of that compute capability; None: a CPU."""
        if self.capabilities is None:
            return True
        return capability is not None and self.capabilities[0] <= capability <= self.capabilities[1]


KERNELS = (
    Kernel("PyTorch SDPA", None, None, "any, and CPU", "any", "wanlab", "comes with torch", ("sdpa",)),
    Kernel(
        "FlashAttention 2", "flash_attn", ((8, 0), (12, 1)), "Ampere, Ada, Hopper, Blackwell (8.0 and newer)",
        "the one it was built for", "official scripts: needed; wanlab where asked for", "pip install --no-build-isolation flash-attn", ("flash2",),
    ),
    Kernel(
        "FlashAttention 3, built from source", "flash_attn_interface", ((9, 0), (9, 0)), "Hopper (9.0)",
        "the one it was built for", "official scripts: preferred where it is", "python setup.py install in hopper/ of flash-attention",
    ),
    Kernel(
        "FlashAttention 3, fa3-fwd wheel", "fa3_fwd_interface", ((9, 0), (9, 0)), "Hopper (9.0)", "recent ones: its ABI is stable", "wanlab: preferred where it is", "make gpu",
        ("flash3", "flash3_fp8"),
    ),
    Kernel("SageAttention", "sageattention", ((8, 0), (12, 1)), "Ampere and newer", "the one it was built for", "wanlab where asked for", "pip install sageattention", ("sage",)),
)  # fmt: skip


def rows(capability: tuple[int, int] | None, installed: Collection[str]) -> list[tuple[str, str]]:
    """Return (kernel, a sentence about it) for a machine.

    Args:
        capability: compute capability of its GPU, None without one.
        installed: modules that can be imported.
    """
    found = []
    for kernel in KERNELS:
        here = kernel.module is None or kernel.module in installed
        if not kernel.runs_on(capability):
            state = f"{'installed, but ' if here else ''}not for {_named(capability)}: {kernel.gpus}"
        else:
            state = "installed" if here else f"not installed: {kernel.get}"
        found.append((kernel.name, f"{state}; used by {kernel.users}"))
    return found


def installed() -> set[str]:
    """Return the modules of kernels that this Python can import."""
    return {kernel.module for kernel in KERNELS if kernel.module and importlib.util.find_spec(kernel.module)}


def best(capability: tuple[int, int] | None, here: Collection[str]) -> str:
    """Return the kernel that is taken where none is asked for: the quickest of those that lose nothing."""
    flash3 = _of("flash3")
    return "flash3" if flash3.runs_on(capability) and flash3.module in here else "sdpa"


def faults(asked: str, capability: tuple[int, int] | None, here: Collection[str]) -> list[str]:
    """Return the line that refuses a kernel that does not run here.

    Args:
        asked: value of the setting `attention`.
        capability: compute capability of the GPU, None for a CPU.
        here: modules that can be imported.
    """
    if asked == "auto":
        return []
    kernel = _of(asked)
    if not kernel.runs_on(capability):
        return [
            f"attention must be a kernel for {_named(capability)}, got {asked} ({kernel.name}, for {kernel.gpus}); use auto"
        ]
    if kernel.module is not None and kernel.module not in here:
        return [
            f"attention must be a kernel that is installed, got {asked}: {kernel.module} is not; use auto, or install it: {kernel.get}"
        ]
    return []


def _of(choice: str) -> Kernel:
    return next(kernel for kernel in KERNELS if choice in kernel.choices)


def wheel(python: str, torch: str, cuda: str | None) -> str:
    """Return what stands in the name of the prebuilt flash-attn wheel that fits, e.g. `cu12torch2.8` and `cp312`.

    Args:
        python, torch: versions as the interpreter prints them.
        cuda: that torch was built for, None for a CPU build.

    Raises:
        ValueError: for a torch without CUDA, which no wheel fits.
    """
    if cuda is None:
        raise ValueError(f"torch must be built for CUDA for flash-attn, got {torch}; install a CUDA build first")
    release = ".".join(torch.partition("+")[0].split(".")[:2])
    return f"cu{cuda.partition('.')[0]}torch{release} (or cu{cuda.replace('.', '')}torch{release}) and cp{''.join(python.split('.')[:2])}"


def _named(capability: tuple[int, int] | None) -> str:
    return "a CPU" if capability is None else f"compute capability {capability[0]}.{capability[1]}"
