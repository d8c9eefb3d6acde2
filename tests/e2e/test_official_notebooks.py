"""The notebooks with the official scripts as backend, headless, on a stub clone."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import Wan22, fill

from wanlab import media, runs
from wanlab.cli import main
from wanlab.runs import page
from wanlab.runs.notebook import NOTEBOOK
from wanlab.steps import generate

FRAMES = 9


@pytest.mark.slow
def test_the_pipeline_runs_its_notebooks(wan22: Wan22, outputs: Path, sample: Path) -> None:
    video = wan22.folder.parent / "video.mp4"
    media.write_video(video, media.open_clip(sample / "half.mp4", max_frames=FRAMES), Fraction(16))
    fill(wan22.folder / "canned", FRAMES, 256, 192, Fraction(16))
    words = ["--driving_video", str(video), "--reference_image", str(sample / "character.png")]
    there = ["--backend", "wan22", "--wan22_dir", str(wan22.folder), "--ckpt_dir", str(wan22.checkpoint)]
    more = ["--replace", "--resolution", "256 192", "--num_inference_steps", "2", "--prompt", "a dance"]
    assert main.main(["pipeline", *words, *there, *more]) == 0
    made = {step: runs.list_runs(step)[-1] for step in ("preprocess", "generate", "report")}
    assert {run.status for run in made.values()} == {"completed"}
    for run in made.values():
        for name in (NOTEBOOK, page.REPORT, runs.MANIFEST):
            assert str(wan22.folder.parent) not in run.path(name).read_text()
    notebook = made["generate"].path(NOTEBOOK).read_text()
    assert "prompt has no effect" in notebook
    assert f"real frames: {FRAMES}" in notebook
    assert {"psnr", "flicker"} <= set(json.loads(made["generate"].path(generate.METRICS).read_text()))
