"""The bundled clips and characters are what their table says."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from wanlab import config, media
from wanlab.pose import detection, people

CLIPS = {  # video: truth, frames, height, width
    "half.mp4": ("half_truth.npz", 65, 512, 384),
    "driving.mp4": ("truth.npz", 77, 832, 480),
    "walk.mp4": ("walk_truth.npz", 77, 832, 480),
    "two_people.mp4": ("two_people_truth.npz", 73, 832, 480),
    "dark.mp4": ("dark_truth.npz", 49, 832, 480),
}


@pytest.mark.parametrize("video", CLIPS)
def test_film_and_truth_fit(sample: Path, video: str) -> None:
    truth, frames, height, width = CLIPS[video]
    info = media.probe_video(sample / video)
    assert (info.num_frames, info.height, info.width, info.fps) == (frames, height, width, Fraction(16))
    with np.load(sample / truth, allow_pickle=False) as known:
        assert known["keypoints"].shape[-3:] == (frames, 133, 3)
        assert known["mask_shape"].tolist()[-3:] == [frames, height, width]
        assert len(set(known["names"].tolist())) == 133
        assert known["mask"].shape[-3:] == (frames, height, -(-width // 8))
        assert known["fps"] == info.fps
    table = (sample / "README.md").read_text(encoding="utf-8")
    row = next(line for line in table.splitlines() if line.startswith(f"| `{video}`"))
    assert f"| {frames} frames, {width}x{height}, 16 fps | `{truth}` |" in row


def test_the_true_points_are_on_the_true_mask(sample: Path) -> None:
    """(0, 0) is the outer corner of the first pixel, in points and masks alike."""
    with np.load(sample / "half_truth.npz", allow_pickle=False) as known:
        person = np.unpackbits(known["mask"], axis=-1)[..., :384].astype(bool)
        x, y, inside = np.moveaxis(known["keypoints"][:, :13], -1, 0)
    frame = np.broadcast_to(np.arange(len(person))[:, None], x.shape)
    on = person[frame, np.clip(y.astype(int), 0, 511), np.clip(x.astype(int), 0, 383)]
    assert on[inside > 0].mean() > 0.98


def test_the_reference_and_its_truth_fit(sample: Path) -> None:
    height, width, _ = media.read_image(sample / "reference.png").shape
    with np.load(sample / "reference_truth.npz", allow_pickle=False) as known:
        assert known["mask_shape"].tolist() == [1, height, width]
        assert known["keypoints"].shape == (1, 133, 3)


@pytest.mark.parametrize("document", ["README.md", "LICENSES.md"])
def test_every_file_is_named(sample: Path, document: str) -> None:
    text = (sample / document).read_text(encoding="utf-8")
    missing = [path.name for path in sample.iterdir() if path.suffix != ".md" and f"`{path.name}`" not in text]
    assert not missing
    assert "Apache-2.0" in text


def test_the_character_is_found_and_has_a_portrait_s_shape(sample: Path) -> None:
    image = media.read_image(sample / "character.png")
    assert image.shape == (512, 384, 3)
    assert detection.detect([image]).no_person == ()


def test_what_is_bundled_stays_small() -> None:
    size = lambda name: sum(path.stat().st_size for path in (config.ASSETS / name).rglob("*")) / 2**20  # noqa: E731
    assert size("sample") <= 10
    assert size("nano") <= 30
    assert size("networks") <= 31
    assert size("sam2_nano") <= 15


def test_every_network_has_its_sum() -> None:
    folder = config.ASSETS / "networks"
    assert set(people.fingerprints()) == {path.stem for path in folder.glob("*.onnx")}
