"""FLUX.1-Kontext through diffusers: changes the pose of a person in an image, so that retargeting can measure their bones.

The weights (about 34 GB) are gated: their licence is accepted on the hub once, `wanlab models` names the command. In bfloat16
the transformer takes 24 GB and the text encoder 9.5 GB; on a GPU with less than MEMORY_GB they take turns on it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline
from PIL import Image

NUM_STEPS, GUIDANCE, SEED = 28, 2.5, 0  # upstream's; it draws another seed each time
MEMORY_GB = 40  # of a GPU that holds all parts at once, with room for an image of a megapixel

Edit = Callable[[np.ndarray, str], np.ndarray]


def load(folder: Path) -> Edit:
    """Load FLUX and return what edits an image: ([H, W, 3], 0 to 255, uint8 RGB, and a prompt) → the edited one.

    The edited image has about a megapixel and the image's shape, whatever its size was.
    """
    pipeline = FluxKontextPipeline.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True)
    if torch.cuda.is_available():
        if torch.cuda.get_device_properties(0).total_memory >= MEMORY_GB * 1e9:
            pipeline.to("cuda")
        else:
            pipeline.enable_model_cpu_offload()
    pipeline.set_progress_bar_config(disable=True)

    def edit(image: np.ndarray, prompt: str) -> np.ndarray:
        height, width = image.shape[:2]
        made = pipeline(
            image=Image.fromarray(image),
            height=height,
            width=width,
            prompt=prompt,
            guidance_scale=GUIDANCE,
            num_inference_steps=NUM_STEPS,
            generator=torch.Generator().manual_seed(SEED),
        )
        return np.asarray(made.images[0].convert("RGB"))  # type: ignore[union-attr]

    return edit
