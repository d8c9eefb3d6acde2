"""AnimateInputs: whatever a step reads of a folder counts in its hash."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from wanlab import config, files, inputs, inspection, media, runs


@pytest.fixture
def made(replacing: Path) -> Path:
    """Return a folder with all that wanlab writes, quick to make."""
    grey = np.full((9, 128, 96, 3), 90, np.uint8)
    for name, size in (("pose", (128, 96)), ("face", (512, 512)), ("background", (128, 96))):
        frames = np.full((9, *size, 3), 60, np.uint8)
        media.write_video(replacing / f"{name}.mkv", frames, Fraction(24), lossless=True)
    person = np.zeros((9, 128, 96), bool)
    person[:, 40:90, 30:70] = True
    inputs.save_masks(replacing, person, person, Fraction(24))
    points = np.zeros((9, 133, 3), np.float32)
    points[:, :17] = (48, 64, 1)
    files.write_arrays(replacing / "keypoints.npz", keypoints=points, reference_keypoints=points[0])
    media.write_image(replacing / "tpl_edit.png", grey[0])
    more = {"no_person": [], "no_face": [], "cuts": [], "own": [], "mask_chain": "grow:4", "by_hand": []}
    inputs.write_facts(replacing, mode="replace", clip_height=128, clip_width=96, run="r", parent=None, **more)
    return replacing


@pytest.mark.parametrize(
    "file", ["src_ref.png", "pose.mkv", "face.mkv", "background.mkv", "driving.mkv", "keypoints.npz", "mask.npz", "tpl_edit.png"]
)  # fmt: skip
def test_every_file_that_a_step_reads_counts(made: Path, tmp_path: Path, file: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    before = inputs.read(made).sha256()
    assert inputs.read(copy).sha256() == before
    if file == "keypoints.npz":
        _rewrite(copy / file, keypoints=np.zeros((9, 133, 3), np.float32))
    elif file == "mask.npz":  # the person's mask, not the one in use
        _rewrite(copy / file, mask=np.zeros((9, 128, 12), np.uint8))
    elif file.endswith(".png"):
        media.write_image(copy / file, np.zeros((128, 96, 3), np.uint8))
    else:
        clip = media.open_clip(copy / file)
        media.write_video(copy / file, 255 - clip.read(), Fraction(24), lossless=True)
    assert inputs.read(copy).sha256() != before


@pytest.mark.parametrize(
    ("fact", "value", "counts"),
    [("mask_chain", "grow:5", True), ("no_person", [2], True), ("preview", ["x"], True), ("run", "other", False), ("by_hand", ["x"], False)],
)  # fmt: skip
def test_of_the_facts_those_count_that_decide(made: Path, fact: str, value: object, counts: bool) -> None:
    before = inputs.read(made).sha256()
    facts = json.loads((made / inputs.FACTS).read_text())
    files.write_json(made / inputs.FACTS, {**facts, fact: value})
    assert (inputs.read(made).sha256() != before) == counts


def test_a_folder_is_known_by_its_hash_of_before(made: Path) -> None:
    read = inputs.read(made)
    earlier = config.digest({name: files.sha256(path) for name, path in read.files.items()})
    assert read.has_hash(earlier)
    assert read.has_hash(read.sha256())
    assert not read.has_hash("0" * 64)


def test_after_a_swap_of_the_key_points_an_inspection_looks_anew(outputs: Path, made: Path) -> None:
    chosen = {"inputs": made, "auto_keypoint": False, "compare": ()}
    first = inspection.start(config.InspectSettings.build(chosen))
    assert inspection.start(config.InspectSettings.build(chosen)).id == first.id
    _rewrite(made / "keypoints.npz", keypoints=np.ones((9, 133, 3), np.float32))
    assert inspection.start(config.InspectSettings.build(chosen)).news == "new"
    assert len(runs.list_runs()) == 2


def _rewrite(path: Path, **changes: np.ndarray) -> None:
    with np.load(path, allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in saved.files}
    files.write_arrays(path, **{**arrays, **changes})
