"""Runs that an earlier wanlab finished, made by commit 1587a06 before its modules moved into folders: found, reused, reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from wanlab import config, runs
from wanlab.model import checkpoints
from wanlab.steps import generate, preprocess, report

EARLIER = Path(__file__).with_name("earlier")
INPUTS, RESULT = "20261127T231330_preprocess_48672cf0e4", "20261127T231428_generate_55fedefa42"


@pytest.fixture
def place(outputs: Path, tmp_path: Path) -> Path:
    """Return a copy of what the earlier runs were made from; theirs are the outputs."""
    shutil.copytree(EARLIER, tmp_path, dirs_exist_ok=True)
    assert (outputs / INPUTS).is_dir()
    return tmp_path


@pytest.fixture
def same_nano(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bundled checkpoint be the one of then: it may have been trained further since."""
    models = json.loads((EARLIER / "outputs" / RESULT / "manifest.json").read_text())["models"]
    monkeypatch.setattr(checkpoints.Checkpoint, "fingerprint", lambda self: models["nano"])


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a run but those that change whenever it is opened."""
    changing = {"manifest.json", "places.json", "run.lock"}
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in changing}


def test_earlier_inputs_are_reused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the same settings mean the same inputs: version 5 pads face crops at the edge, which 4 stretched."""
    monkeypatch.setattr(preprocess, "RESULT_VERSION", 4)
    before = contents(place / "outputs" / INPUTS)
    settings = {
        "driving_video": place / "driving.mp4",
        "reference_image": place / "reference.png",
        "resolution": "80 80",
        "retarget": False,  # as None meant then
    }
    run = preprocess.prepare(config.PreprocessSettings.build(settings))
    assert (run.id, run.completed) == (INPUTS, True)
    assert preprocess.work(run).num_frames == 5
    assert contents(run.folder) == before


def test_inputs_of_an_earlier_version_are_made_again_beside_the_old_ones(place: Path) -> None:
    settings = {
        "driving_video": place / "driving.mp4",
        "reference_image": place / "reference.png",
        "resolution": "80 80",
    }
    run = preprocess.prepare(config.PreprocessSettings.build(settings))
    assert run.id != INPUTS
    assert [each.id for each in runs.list_runs("preprocess") if each.completed] == [INPUTS]


def test_an_earlier_video_is_reused_and_reported(place: Path, same_nano: None) -> None:
    before = contents(place / "outputs" / RESULT)
    settings = {"num_inference_steps": 1, "segment_frame_length": 5, "guidance_scale": 1}
    run = generate.prepare(config.GenerateSettings.build(settings))
    assert (run.id, run.completed) == (RESULT, True)
    assert len(generate.work(run)) == 5
    assert contents(run.folder) == before
    assert [each.id for each in runs.list_runs()] == [INPUTS, RESULT]
    story = report.gather(report.prepare(config.ReportSettings.build({"run": "latest"})))
    assert RESULT in report.overview(story).data
    assert "tests/steps/earlier/driving.mp4" in report.provenance(story).data
