"""What settings mean is told before anything is run: sizes, segments, points, faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from wanlab import config, runs
from wanlab.steps import outlook


def test_a_clip_is_told_with_the_segments_that_it_will_have(outputs: Path) -> None:
    chosen = {"checkpoint": "wanlab/assets/nano", "max_frames": 33}
    text = outlook.of("preprocess", config.PreprocessSettings.build(chosen))
    assert text == "33 frames, result 256x192 (height x width); 30_generate makes 2 segments of it"
    text = outlook.of("preprocess", config.PreprocessSettings.build({**chosen, "mode": "replace", "preview": True}))
    assert text.startswith("16 frames, result ")
    with pytest.raises(FileNotFoundError, match="driving_video must"):
        outlook.of("preprocess", config.PreprocessSettings.build({**chosen, "driving_video": "gone.mp4"}))
    assert runs.list_runs() == []


def test_a_generation_and_a_sweep_are_told_with_their_calls(outputs: Path, small: Path) -> None:
    chosen = {"inputs": small, "checkpoint": "wanlab/assets/nano", "segment_frame_length": 5, "num_inference_steps": 3}
    text = outlook.of("generate", config.GenerateSettings.build(chosen))
    assert text.startswith("96x64 (height x width); 9 frames in 2 segments of 5 frames")
    text = outlook.of("sweep", config.SweepSettings.build({**chosen, "grid": {"shift": [3, 5], "seed": [1, 2]}}))
    assert text == "4 points, 24 denoising calls, how long is not known yet"
    assert outlook.of("report", config.ReportSettings.build({})) == ""
    assert runs.list_runs() == []
