"""Solvers that the official code lacks, against diffusers' and by hand; unipc and dpm++ are in test_golden (09)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wanlab.model import solvers


def path_of(solver: solvers.Solver, seed: int = 5) -> torch.Tensor:
    """Return the latents after each step of a model whose velocity depends on place and time."""
    latents, found = torch.randn(16, 2, 4, 4, generator=torch.Generator().manual_seed(1)), []
    for step, t in enumerate(solver.timesteps):
        noise = solvers.drawn(seed, 0, step, latents) if step + 1 < len(solver.timesteps) else None
        latents = solver.advance(step, torch.sin(latents + 0.001 * t.float()), latents, noise)
        found.append(latents)
    return torch.stack(found)


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_euler_is_that_of_diffusers_which_shifts_by_itself(steps: int) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=5.0)
    scheduler.set_timesteps(sigmas=np.linspace(1, 0, steps + 1)[:-1].tolist())
    ours = solvers.make_solver("euler", steps, 5.0)
    torch.testing.assert_close(ours.sigmas, scheduler.sigmas, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.timesteps, scheduler.timesteps, rtol=0, atol=1e-3)
    theirs = solvers.Solver(
        ours.sigmas,
        ours.timesteps,
        lambda n, v, x, _: scheduler.step(v, scheduler.timesteps[n], x, return_dict=False)[0],
    )
    torch.testing.assert_close(path_of(ours), path_of(theirs), rtol=0, atol=1e-5)


def test_lcm_is_that_of_diffusers_with_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import FlowMatchLCMScheduler
    from diffusers.schedulers import scheduling_flow_match_lcm

    scheduler = FlowMatchLCMScheduler(num_train_timesteps=1000, shift=5.0)
    scheduler.set_timesteps(sigmas=np.linspace(1, 0, 5)[:-1].tolist())
    ours = solvers.make_solver("lcm", 4, 5.0)

    def theirs(step: int, velocity: torch.Tensor, latents: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
        added = torch.zeros_like(latents) if noise is None else noise
        monkeypatch.setattr(scheduling_flow_match_lcm, "randn_tensor", lambda *given, **more: added)
        return scheduler.step(velocity, scheduler.timesteps[step], latents, return_dict=False)[0]

    torch.testing.assert_close(path_of(ours), path_of(ours._replace(advance=theirs)), rtol=0, atol=1e-5)


def test_timesteps_are_a_thousand_sigmas_not_truncated() -> None:
    solver = solvers.make_solver("euler", 3, 5.0)
    np.testing.assert_allclose(solver.sigmas, [1, 10 / 11, 5 / 7, 0], atol=1e-7)
    np.testing.assert_allclose(solver.timesteps, [1000, 909.0909, 714.2857], atol=1e-4)


def test_schedules_of_comfyui() -> None:
    """`simple` takes every n-th of the 1000 shifted sigmas from the end; `normal` goes down to the least, then to 0."""
    trained = np.arange(1, 1001) / 1000
    shifted = 8 * trained / (1 + 7 * trained)
    simple = solvers.make_solver("euler", 6, 8.0, "simple").sigmas
    np.testing.assert_allclose(simple, [*(shifted[-1 - int(n * 1000 / 6)] for n in range(6)), 0], atol=1e-6)
    times = np.linspace(1, shifted[0], 6)
    normal = solvers.make_solver("lcm", 6, 8.0, "normal").sigmas
    np.testing.assert_allclose(normal, [*(8 * times / (1 + 7 * times)), 0], atol=1e-6)
    assert solvers.make_solver("unipc", 6, 8.0, "simple").timesteps[1] == pytest.approx(1000 * simple[1])


@pytest.mark.parametrize("name", ["unipc", "dpm++", "euler", "lcm"])
@pytest.mark.parametrize("schedule", ["linear", "simple", "normal"])
def test_every_solver_ends_at_what_a_perfect_model_foresees(name: str, schedule: str) -> None:
    """The velocity of a perfect model leads straight from the latents to the clean ones; 300 steps have equal timesteps."""
    clean = torch.full((16, 1, 2, 2), 0.5)
    for steps in (1, 4, 300):
        solver = solvers.make_solver(name, steps, 8.0, schedule)
        latents = torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
        for step in range(steps):
            noise = solvers.drawn(0, 0, step, latents) if step + 1 < steps and name in solvers.DRAWN else None
            latents = solver.advance(step, (latents - clean) / solver.sigmas[step], latents, noise)
        torch.testing.assert_close(latents, clean, rtol=0, atol=2e-3)


def test_drawn_noise_is_one_of_its_own_for_each_place() -> None:
    like = torch.zeros(16, 3, 4, 4)
    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**63 - 1, 7, 9)]
    found = torch.stack([solvers.drawn(*place, like) for place in places])
    again = torch.stack([solvers.drawn(*place, like) for place in reversed(places)]).flip(0)
    assert torch.equal(found, again)
    similarity = torch.corrcoef(found.flatten(1))
    assert (similarity - torch.eye(len(places))).abs().max() < 0.15
