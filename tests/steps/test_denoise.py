"""The networks follow a plan for the memory that is free, and take another one where it was too much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wanlab import config, runs
from wanlab.model import checkpoints, memory, tiny_decoder
from wanlab.model.networks import Networks
from wanlab.steps import denoise, generate


def prepared(folder: Path, **more: object) -> runs.Run:
    chosen = {"inputs": str(folder), "segment_frame_length": 5, "num_inference_steps": 1, "guidance_scale": 1, **more}
    return generate.prepare(config.GenerateSettings.build({**chosen, "checkpoint": checkpoints.NANO}))


def frames(run: runs.Run) -> np.ndarray:
    return generate.work(run).read()


@pytest.fixture
def plain(outputs: Path, small: Path) -> np.ndarray:
    """Return the video without a plan, and leave no run that has it."""
    return frames(prepared(small, fresh=True))


def refusing(monkeypatch: pytest.MonkeyPatch, times: int, after: int = 1) -> list[Any]:
    """Let the GPU's memory be too small for the calls after the first ones; return the plan of each call."""
    plans: list[Any] = []
    whole = Networks.denoise

    def denoised(self: Networks, *given: Any, **more: Any) -> torch.Tensor:
        plans.append(self.plan)
        if after < len(plans) <= after + times:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")
        return whole(self, *given, **more)

    monkeypatch.setattr(Networks, "denoise", denoised)
    return plans


def test_a_plan_is_said_and_kept_and_changes_no_frame(
    plain: np.ndarray, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = prepared(small, fresh=True, offload="blocks")
    np.testing.assert_array_equal(frames(run), plain)
    assert "memory: 8 of 8 blocks travel from host memory, 0 stay on the GPU" in capsys.readouterr().out
    kept = json.loads((run.folder / "manifest.json").read_text())["memory_plan"]
    assert (kept["offload"], kept["resident"], kept["num_blocks"]) == ("blocks", 0, 8)
    assert kept["gpu_bytes"] > 0


def test_without_a_gpu_there_is_nothing_to_plan(outputs: Path, small: Path) -> None:
    run = prepared(small)
    generate.work(run)
    assert "memory_plan" not in run.manifest


def test_too_small_a_memory_takes_the_next_plan_once_and_keeps_what_is_finished(
    plain: np.ndarray, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = refusing(monkeypatch, 1)
    run = prepared(small, fresh=True, gpu_memory_gb=8)
    np.testing.assert_allclose(frames(run).astype(int), plain, atol=1)  # the VAE may work in bands
    assert len(plans) == 3  # the first segment is not made again
    assert plans[2].gpu_bytes < plans[1].gpu_bytes == plans[0].gpu_bytes
    assert run.manifest["memory_plan"] == plans[2].facts()
    assert f"{denoise.TOO_SMALL}: another plan is tried, what is finished is kept" in run.manifest["notes"]


@pytest.mark.slow
def test_a_second_time_the_error_names_the_plan_that_takes_less(
    outputs: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "KEPT_FREE", 0)  # nano's own needs then decide
    monkeypatch.setattr(memory, "FACES", 0)
    plans = refusing(monkeypatch, 2)
    run = prepared(small, gpu_memory_gb=8)
    with pytest.raises(
        torch.OutOfMemoryError, match=r"is too small; use gpu_memory_gb [\d.]+, which takes less \(memory"
    ):
        generate.work(run)
    assert len(plans) == 3
    assert (run.folder / "segments" / "000.npy").is_file()
    assert generate.work(prepared(small, gpu_memory_gb=8)).read().std() > 5
    assert len(plans) == 4


@pytest.mark.slow
def test_a_plan_that_was_asked_for_is_not_changed(outputs: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for more in ({"offload": "none"}, {"no_offload": True}):
        plans = refusing(monkeypatch, 1, after=0)
        with pytest.raises(torch.OutOfMemoryError, match="is too small; use offload auto, which takes less"):
            generate.work(prepared(small, gpu_memory_gb=8, **more))
        assert len(plans) == 1


@pytest.mark.slow
def test_eight_bits_are_another_run(outputs: Path, small: Path) -> None:
    plain, eight = prepared(small), prepared(small, quantization="int8")
    assert plain.manifest["hash"] != eight.manifest["hash"]
    loaded = denoise.LoadedNetworks()
    one, other = (generate.work(run, loaded).read().astype(int) for run in (plain, eight))
    assert 0 < np.abs(one - other).mean() < 5
    assert eight.manifest["memory_plan"]["quantization"] == "int8"


@pytest.mark.slow
def test_a_tiny_decoder_changes_no_frame_and_one_that_does_not_fit_is_said(
    plain: np.ndarray, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Grey(tiny_decoder.TinyDecoder):
        def __init__(self) -> None:
            self.name = "taew2_1.pth"

        def shown(self, latents: torch.Tensor) -> torch.Tensor:
            return torch.full((*latents.shape[1:], 3), 128, dtype=torch.uint8)

    checkpoint = tmp_path / "Wan"
    checkpoint.mkdir()
    for path in checkpoints.NANO.iterdir():
        (checkpoint / path.name).symlink_to(path)
    found = Grey(), ("taew2_1.safetensors was passed over",)
    monkeypatch.setattr(tiny_decoder, "find", lambda given, height: found)
    run = prepared(small, fresh=True)
    run.settings = run.settings.model_copy(update={"checkpoint": checkpoint})
    np.testing.assert_array_equal(frames(run), plain)
    start = "taew2_1.pth was passed over for the live view, whose colours stay a linear map: its picture of the first"
    notes = run.manifest["notes"]
    assert any(note.startswith(start) for note in notes)
    assert "taew2_1.safetensors was passed over" in notes
    assert not [note for note in notes if "could not be shown" in note]
