"""What this machine has, and what wanlab will therefore use: the answer of `wanlab check`."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import wanlab
from wanlab import config
from wanlab.mask import sam2_weights
from wanlab.model import attention, checkpoints
from wanlab.official import clone
from wanlab.pose import detector_files, sessions


class Line(NamedTuple):
    """One line of the answer of `wanlab check`.

    Attributes:
        topic: what was checked.
        found: the result.
        remedy: what to do where something is missing, else empty.
    """

    topic: str
    found: str
    remedy: str = ""


def check() -> Iterator[Line]:
    """Look at this machine, part by part; loads torch, changes nothing."""
    yield Line(
        "wanlab",
        f"{wanlab.__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}",
    )
    yield _memory()
    yield from _gpu()
    yield from _attention()
    yield _providers()
    yield from _checkpoint()
    yield from (Line(topic, what) for topic, what in clone.overview())
    yield from (Line(name, what) for name, what in sam2_weights.overview())
    yield from (Line(name, what) for name, what in detector_files.overview())
    usage = shutil.disk_usage(config.outputs_root() if config.outputs_root().is_dir() else config.project_root())
    remedy = "" if usage.free > 10 * 2**30 else "set WANLAB_OUTPUTS to a folder on a larger disk"
    yield Line(
        "disk for outputs", f"{usage.free / 2**30:.0f} GiB free in {config.typed(config.outputs_root())}", remedy
    )


def driver() -> str | None:
    """Return the output of `nvidia-smi` (name, memory, driver version per GPU), None where there is no driver."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (subprocess.SubprocessError, OSError):
        return None
    return "; ".join(answer.stdout.split("\n")).strip("; ") or None


def _memory() -> Line:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Line("processor", f"{os.cpu_count()} cores, {memory:.0f} GiB memory")


def _gpu() -> Iterator[Line]:
    import torch

    built = f"torch {torch.__version__}, built for " + (f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU")
    seen = driver()
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            p = torch.cuda.get_device_properties(i)
            yield Line(
                f"GPU {i}",
                f"{p.name}, {p.total_memory / 2**30:.0f} GiB, compute capability {p.major}.{p.minor}; {built}",
            )
    elif seen and torch.version.cuda is None:
        yield Line("GPU", f"{seen}, but {built}", "install a torch build for CUDA from pytorch.org into .venv")
    elif seen:
        yield Line(
            "GPU",
            f"{seen}, but torch cannot use it; {built}",
            f"update the NVIDIA driver to one for CUDA {torch.version.cuda}",
        )
    else:
        yield Line("GPU", f"none: models run on the CPU; {built}")


def _attention() -> Iterator[Line]:
    import torch

    capability = torch.cuda.get_device_capability(0) if torch.cuda.is_available() else None
    for kernel, what in attention.rows(capability, attention.installed()):
        yield Line(f"attention: {kernel}", what)


def _providers() -> Line:
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    used = next((sessions.GPUS[name] for name in providers if name in sessions.GPUS), "CPU")
    remedy = "make gpu" if used == "CPU" and driver() else ""
    return Line(
        "onnxruntime",
        f"onnxruntime {onnxruntime.__version__}: {', '.join(p.removesuffix('ExecutionProvider') for p in providers)}; {used} is used",
        remedy,
    )


def _checkpoint() -> Iterator[Line]:
    used = checkpoints.find(None)
    yield Line(
        "checkpoint",
        f"{used.name} in {config.typed(used.folder)} is used" + "".join(f"; {note}" for note in used.notes),
    )
