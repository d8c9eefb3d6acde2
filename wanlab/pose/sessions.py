"""Opening a checkpoint's ONNX networks: on a GPU where onnxruntime can use one, and what a user must know if it cannot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

GPUS = {"CUDAExecutionProvider": "CUDA", "ROCMExecutionProvider": "ROCm", "MIGraphXExecutionProvider": "MIGraphX"}
CPU = "CPUExecutionProvider"
BATCH = 8  # images at a time; ViTPose-H has 192 tokens an image, so that 8 keep a GPU busy


class Network(NamedTuple):
    """An opened network.

    Attributes:
        run: [N, C, H, W], float32 → its first output, float32, N first.
        batch: images that it takes at once.
        fixed: whether it takes exactly so many, never fewer.
        device: what it runs on, for messages.
    """

    run: Callable[[np.ndarray], np.ndarray]
    batch: int
    fixed: bool
    device: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the output for any number of images: [N, C, H, W], float32 → [N, ...]."""
        parts = [self._part(images[start : start + self.batch]) for start in range(0, len(images), self.batch)]
        return np.concatenate(parts)

    def _part(self, images: np.ndarray) -> np.ndarray:
        missing = self.batch - len(images) if self.fixed else 0
        padded = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images
        return self.run(padded)[: len(images)]


def open_network(path: Path, height: int, width: int) -> Network:
    """Open a network that takes images of one size.

    Args:
        path: the graph; its weights may lie beside it.
        height, width: of its input in pixels.

    Raises:
        ValueError: if onnxruntime cannot open it, or its input is another.
    """
    import onnxruntime

    wanted = [name for name in GPUS if name in onnxruntime.get_available_providers()]
    if wanted and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA's libraries that come with torch
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings on shapes and providers; what matters is said below
    options.intra_op_num_threads = os.cpu_count() or 1
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # two networks and the decoding share the cores
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[*wanted, CPU])
    except Exception as error:  # onnxruntime's own classes, which share no other base
        line = str(error).splitlines()[0]
        raise ValueError(f"{path.name} must be a network that onnxruntime opens, got: {line}; get it again") from None
    taken = session.get_inputs()[0]
    if list(taken.shape[1:]) != [3, height, width] and all(isinstance(side, int) for side in taken.shape[1:]):
        raise ValueError(
            f"{path.name} must take images of 3x{height}x{width}, got an input of {taken.shape}; use the checkpoint's own file"
        )
    provider = session.get_providers()[0]
    fixed = isinstance(taken.shape[0], int)
    return Network(
        lambda images: np.asarray(session.run(None, {taken.name: images})[0]),
        taken.shape[0] if fixed else BATCH,
        fixed or provider != CPU,  # a GPU's kernels are chosen anew for another number
        GPUS.get(provider, "the CPU"),
    )


def describe(network: Network) -> tuple[str, ...]:
    """Return what a user must know of where a network runs: a sentence, and a warning where a GPU stands idle."""
    import onnxruntime

    said = f"detectors run on {network.device} (onnxruntime {onnxruntime.__version__})"
    if network.device != "the CPU":
        return (said,)
    if any(name in onnxruntime.get_available_providers() for name in GPUS):
        return (
            f"WARNING: {said}, although there is a GPU build of it: its GPU libraries could not be loaded; "
            "`make gpu` installs the version that fits, and an older driver needs an older onnxruntime-gpu",
        )
    if _has_gpu():
        return (
            f"WARNING: {said}, although this machine has a GPU: this onnxruntime is the CPU's; `make gpu` puts "
            "onnxruntime-gpu in its place (never install both: they own the same folder)",
        )
    return (f"{said}, where ViTPose-H takes seconds a frame; detectors bundled is much quicker",)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
