"""The solvers of the denoising: which noise levels are visited, and how the latents get from one to the next (golden 09)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wanlab import config

TRAINING_STEPS = 1000
# unipc's first one, before the shift, and not quite 0.999: it decides how a timestep truncates
FIRST_SIGMA = float(np.float32(0.999))
DRAWN = ("lcm",)  # solvers that add new noise after each step


class Solver(NamedTuple):
    """A solver made for one segment; it remembers the steps that it has taken.

    Attributes:
        sigmas: [steps + 1], float32, from about 1 (noise only) to 0.
        timesteps: [steps], what the model is told: integers in the official solvers, else 1000 times the sigma.
        advance: (step, velocity, latents, noise) → latents at the next sigma; noise is None where none is drawn.
    """

    sigmas: Tensor
    timesteps: Tensor
    advance: Callable[[int, Tensor, Tensor, Tensor | None], Tensor]


def make_solver(name: str, num_inference_steps: int, shift: float, schedule: str = "linear") -> Solver:
    """Return a fresh solver for one segment.

    Args:
        name: unipc or dpm++, which Wan2.2 has, or euler or lcm, which distilled models need.
        num_inference_steps: denoising steps, at least 1.
        shift: how far steps are moved towards noise; 1 is none.
        schedule: linear: unipc and dpm++ as Wan2.2 has them, the others from 1 to 0; simple or normal: as ComfyUI has them,
            with timesteps that are not truncated.

    Source: `FlowUniPCMultistepScheduler` and `FlowDPMSolverMultistepScheduler` of Wan2.2; ComfyUI's scheduler names.
    """
    times = _times(schedule, num_inference_steps, shift, FIRST_SIGMA if name == "unipc" else 1.0)
    shifted = shift * times / (1 + (shift - 1) * times)
    sigmas = torch.tensor([*shifted, 0.0], dtype=torch.float32)
    if name in ("euler", "lcm"):
        return Solver(sigmas, sigmas[:-1] * TRAINING_STEPS, _lcm(sigmas) if name == "lcm" else _euler(sigmas))
    scheduler = _unipc(times, shift) if name == "unipc" else _dpm(shifted)
    scheduler.set_begin_index(0)  # else it is looked up by timestep, and of two equal ones the second is taken
    if schedule == "linear":
        return Solver(scheduler.sigmas, scheduler.timesteps, _of_diffusers(scheduler))
    return Solver(scheduler.sigmas, scheduler.sigmas[:-1] * TRAINING_STEPS, _of_diffusers(scheduler))


def drawn(seed: int, segment: int, step: int, like: Tensor, device: str = "cpu") -> Tensor:
    """Return the noise that a solver of DRAWN adds after a step: by the numbers alone, so that a continued run is the same.

    Args:
        seed: of the run.
        segment, step: their numbers, from 0.
        like: latents whose shape and place the noise takes, float32.
        device: on which it is drawn; each draws other numbers.
    """
    number = int(config.digest([seed, segment, step])[:15], 16)  # 60 bits: a generator takes 63
    generator = torch.Generator(device).manual_seed(number)
    return torch.randn(like.shape, generator=generator, device=device).to(like)


def _times(schedule: str, count: int, shift: float, first: float) -> np.ndarray:
    """Return the noise levels before the shift, without the last, which is 0: [count], float64."""
    if schedule == "linear":
        return np.linspace(first, 0, count + 1)[:-1]
    if schedule == "simple":  # every n-th of the 1000 that the model was trained with
        return np.array([TRAINING_STEPS - step * TRAINING_STEPS // count for step in range(count)]) / TRAINING_STEPS
    least = shift / (TRAINING_STEPS + shift - 1)  # normal: down to the least of them after the shift, which comes again
    return np.linspace(1, least, count)


def _unipc(times: np.ndarray, shift: float) -> Any:
    from diffusers import UniPCMultistepScheduler  # pyright: ignore[reportPrivateImportUsage]

    scheduler = UniPCMultistepScheduler(
        num_train_timesteps=TRAINING_STEPS,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=shift,  # it shifts what it is given
        solver_order=2,
    )
    scheduler.set_timesteps(sigmas=times)  # type: ignore[arg-type]
    return scheduler


def _dpm(shifted: np.ndarray) -> Any:
    from diffusers import DPMSolverMultistepScheduler  # pyright: ignore[reportPrivateImportUsage]

    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=TRAINING_STEPS,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        solver_order=2,
    )
    scheduler.num_inference_steps = len(shifted)  # set_timesteps takes no sigmas; its own begin below 1
    scheduler.sigmas = torch.tensor([*shifted, 0.0], dtype=torch.float32)
    scheduler.timesteps = torch.from_numpy(shifted * TRAINING_STEPS).to(torch.int64)
    return scheduler


def _of_diffusers(scheduler: Any) -> Callable[[int, Tensor, Tensor, Tensor | None], Tensor]:
    timesteps = scheduler.timesteps

    def advance(step: int, velocity: Tensor, latents: Tensor, noise: Tensor | None) -> Tensor:
        return scheduler.step(velocity, timesteps[step], latents, return_dict=False)[0]

    return advance


def _euler(sigmas: Tensor) -> Callable[[int, Tensor, Tensor, Tensor | None], Tensor]:
    def advance(step: int, velocity: Tensor, latents: Tensor, noise: Tensor | None) -> Tensor:
        return latents + (sigmas[step + 1] - sigmas[step]).to(latents) * velocity

    return advance


def _lcm(sigmas: Tensor) -> Callable[[int, Tensor, Tensor, Tensor | None], Tensor]:
    def advance(step: int, velocity: Tensor, latents: Tensor, noise: Tensor | None) -> Tensor:
        clean, following = latents - sigmas[step].to(latents) * velocity, sigmas[step + 1].to(latents)
        return clean if noise is None else (1 - following) * clean + following * noise

    return advance
