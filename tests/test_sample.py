"""The bundled clips and characters are what their table says."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from wanlab import config, keypoints, media

CLIPS = {  # film: truth, frames, height, width
    "half.mp4": ("half_truth.npz", 65, 512, 384),
    "driving.mp4": ("truth.npz", 77, 832, 480),
    "walk.mp4": ("walk_truth.npz", 77, 832, 480),
    "two_people.mp4": ("two_people_truth.npz", 73, 832, 480),
    "dark.mp4": ("dark_truth.npz", 49, 832, 480),
}


@pytest.mark.parametrize("film", CLIPS)
def test_film_and_truth_fit(sample: Path, film: str) -> None:
    truth, frames, height, width = CLIPS[film]
    info = media.probe_video(sample / film)
    assert (info.num_frames, info.height, info.width, info.fps) == (frames, height, width, Fraction(16))
    with np.load(sample / truth, allow_pickle=False) as known:
        assert known["keypoints"].shape[-3:] == (frames, 133, 3)
        assert known["mask_shape"].tolist()[-3:] == [frames, height, width]
        assert tuple(known["names"].tolist()) or len(known["names"]) == 133
    assert film in (sample / "README.md").read_text(encoding="utf-8")


def test_the_character_is_found_and_has_a_portrait_s_shape(sample: Path) -> None:
    picture = media.read_image(sample / "character.png")
    assert picture.shape == (512, 384, 3)
    assert keypoints.detect_image(picture).no_person == ()


def test_what_is_bundled_stays_small() -> None:
    size = lambda name: sum(path.stat().st_size for path in (config.ASSETS / name).rglob("*")) / 2**20  # noqa: E731
    assert size("sample") <= 10
    assert size("nano") <= 30
    assert size("networks") <= 31


def test_every_network_has_its_sum() -> None:
    folder = config.ASSETS / "networks"
    assert set(keypoints.fingerprints()) == {path.stem for path in folder.glob("*.onnx")}
