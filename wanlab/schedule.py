"""The noise schedule of the official command line: UniPC over shifted sigmas (golden 09)."""

from __future__ import annotations

import numpy as np
from diffusers import UniPCMultistepScheduler  # pyright: ignore[reportPrivateImportUsage]

TRAINING_STEPS = 1000
FIRST_SIGMA = float(np.float32(0.999))  # before the shift, and not quite 0.999: it decides how a timestep truncates


def make_schedule(num_inference_steps: int, shift: float) -> UniPCMultistepScheduler:
    """Return a fresh solver for one segment: `.timesteps` are whole numbers, `.sigmas` end with 0.

    Args:
        num_inference_steps: denoising steps, at least 1.
        shift: how far steps are moved towards noise; 1 is none.

    Source: `FlowUniPCMultistepScheduler` of Wan2.2.
    """
    solver = UniPCMultistepScheduler(
        num_train_timesteps=TRAINING_STEPS,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=shift,
        solver_order=2,
    )
    sigmas = np.linspace(FIRST_SIGMA, 0, num_inference_steps + 1)[:-1]
    solver.set_timesteps(sigmas=sigmas)  # type: ignore[arg-type]
    return solver
