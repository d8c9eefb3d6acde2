"""Evaluation: a perfect result, a result that follows another pose, one with other colours, folders of other tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import outputs_in, preprocessed

from wanlab import config, inputs, media, viz
from wanlab.media import resize
from wanlab.results import evaluate, metrics

FRAMES = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[inputs.AnimateInputs]:
    """Preprocess the sample so that its own video is the perfect result: the reference is its first frame."""
    place = tmp_path_factory.mktemp("evaluated")
    first = media.open_clip(config.ASSETS / "sample" / "half.mp4", max_frames=1).read()[0]
    media.write_image(place / "first.png", first)
    with outputs_in(place):
        yield preprocessed(reference_image=place / "first.png", mode="replace", max_frames=FRAMES)


@pytest.fixture(scope="module")
def perfect(made: inputs.AnimateInputs) -> evaluate.Evaluation:
    """Evaluate the video itself, with a seam at frame 3."""
    driving = made.driving()
    assert driving is not None
    return evaluate.evaluate(made, driving, [3], "replace")


def video(place: Path, frames: np.ndarray) -> media.Clip:
    media.write_video(place, frames, Fraction(16), lossless=True)
    return media.open_clip(place)


def test_the_film_itself_is_a_perfect_result(perfect: evaluate.Evaluation) -> None:
    found = perfect
    assert list(found.overall) == list(evaluate.ORDER)
    assert found.overall["pose_agreement"] == 1
    assert found.overall["reference_agreement"] > 0.9
    assert found.overall["psnr"] == evaluate.BEST_PSNR
    assert found.overall["ssim"] == 1
    assert found.overall["colour_drift"] < 1
    assert 0.3 < found.overall["seam_jump"] < 2
    assert {len(values) for values in found.over_time.values()} == {FRAMES}
    assert json.loads(json.dumps(found.over_time, allow_nan=False)) == found.over_time


def test_another_pose_other_colours_another_background(
    made: inputs.AnimateInputs, perfect: evaluate.Evaluation, tmp_path: Path
) -> None:
    """Shifted by a third of the image, in blue for red, 10 grey levels brighter outside the mask."""
    frames = made.driving().read()
    worse = np.roll(frames, 60, axis=2)[..., ::-1].copy()
    kept = ~made.mask()
    worse[kept] = np.clip(frames[kept].astype(int) + 10, 0, 255)
    found = evaluate.evaluate(made, video(tmp_path / "worse.mkv", worse), [], "replace")
    assert found.overall["pose_agreement"] < 0.7
    assert found.overall["reference_agreement"] < perfect.overall["reference_agreement"] - 0.2
    assert found.overall["psnr"] == pytest.approx(20 * np.log10(255 / 10), abs=0.5)
    assert found.overall["seam_jump"] is None
    assert found.overall["colour_drift"] is None


def test_driven_points_are_compared_where_the_result_shows_them(made: inputs.AnimateInputs, tmp_path: Path) -> None:
    """A result on another canvas: the video letterboxed into a wide image agrees with the video's own points."""
    wide = np.stack([resize.letterbox(frame, 256, 384) for frame in made.driving()])
    other = inputs.AnimateInputs(**{**vars(made), "height": 256, "width": 384, "mode": "animate"})
    found = evaluate.evaluate(other, video(tmp_path / "wide.mkv", wide), [], "animate")
    assert found.overall["pose_agreement"] > 0.95
    assert "psnr" not in found.overall


def test_a_folder_of_other_tools_is_measured_without_pose(made: inputs.AnimateInputs, tmp_path: Path) -> None:
    bare = inputs.AnimateInputs(**{**vars(made), "folder": tmp_path, "mode": "animate"})
    found = evaluate.evaluate(bare, made.driving(), [], "animate")
    assert list(found.overall) == ["colour_drift", "seam_jump", "flicker", "sharpness"]


def test_every_metric_has_a_meaning() -> None:
    assert set(evaluate.ORDER) == set(metrics.MEANINGS)
    shown = viz.metric_table({"psnr": None, "ssim": 0.98765}).data
    assert "<td>psnr</td><td>–</td>" in shown
    assert "<td>ssim</td><td>0.988</td>" in shown
    assert shown.count("It cannot tell") == 2
