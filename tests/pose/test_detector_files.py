"""Finding the checkpoint's detectors: every place they lie in, and files that are not what they should be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from onnx_files import stand_ins

from wanlab import config
from wanlab.pose import detector_files

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2550000000\n"


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkpoint with stand-ins; neither the project nor ComfyUI holds others."""
    for place in (config, config.paths):  # the folder hands the name on
        monkeypatch.setattr(place, "project_root", lambda: tmp_path / "project")
    monkeypatch.setenv("WANLAB_COMFYUI", str(tmp_path / "ComfyUI"))
    return stand_ins(tmp_path / "checkpoint")


def comfyui(checkpoint: Path) -> Path:
    """Move a checkpoint's networks to where ComfyUI has them, the pose network as a graph beside its weights."""
    place = checkpoint.parent / "ComfyUI" / "models" / "detection"
    place.mkdir(parents=True)
    pose = checkpoint / "process_checkpoint" / "pose2d" / "vitpose_h_wholebody.onnx"
    (pose / "end2end.onnx").rename(place / "vitpose_h_wholebody_model.onnx")
    (pose / "end2end.bin").rename(place / "end2end.bin")
    (checkpoint / "process_checkpoint" / "det" / "yolov10m.onnx").rename(place / "yolov10m.onnx")
    shutil.copyfile(place / "vitpose_h_wholebody_model.onnx", place / "vitpose-l-wholebody.onnx")
    return checkpoint.parent / "ComfyUI"


def test_both_layouts_are_found_by_any_of_their_folders(checkpoint: Path) -> None:
    for folder in (checkpoint, checkpoint / "process_checkpoint"):
        found, notes = detector_files.choose(folder)
        assert found is not None
        assert (found.boxes.name, found.pose.parent.name, notes) == ("yolov10m.onnx", "vitpose_h_wholebody.onnx", ())
    of_checkpoint = found.fingerprints()
    place = comfyui(checkpoint)
    for folder in (place, place / "models", place / "models" / "detection"):
        found, _ = detector_files.choose(folder)
        assert found is not None
        assert found.pose.name == "vitpose_h_wholebody_model.onnx"  # not the large one beside it
    assert found.fingerprints().keys() == of_checkpoint.keys()
    found, (note,) = detector_files.choose("auto")
    assert found is not None
    assert note.startswith("the detectors of ")
    assert note.endswith("ComfyUI/ are used: yolov10m.onnx and vitpose_h_wholebody_model.onnx")


def test_auto_takes_the_checkpoints_and_else_says_so(checkpoint: Path) -> None:
    found, (note,) = detector_files.choose("auto", checkpoint=checkpoint)
    assert found is not None
    assert note.endswith("are used: yolov10m.onnx and vitpose_h_wholebody.onnx/end2end.onnx")
    assert detector_files.choose("bundled", checkpoint=checkpoint) == (None, ())
    found, (note,) = detector_files.choose("auto")
    assert found is None
    assert "the bundled detectors are used (MoveNet, BlazePose)" in note
    assert "get them: hf download" in note
    with pytest.raises(
        FileNotFoundError, match=r"detectors must be a folder with yolov10m.onnx and .* which holds neither"
    ):
        detector_files.choose(checkpoint.parent)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("det/yolov10m.onnx", POINTER, "yolov10m.onnx is a Git LFS pointer of"),
        ("det/yolov10m.onnx", 100, "yolov10m.onnx is damaged: it is cut off"),
        ("pose2d/vitpose_h_wholebody.onnx/end2end.bin", POINTER, "end2end.bin beside it is a Git LFS pointer of"),
        ("pose2d/vitpose_h_wholebody.onnx/end2end.bin", 1000, "is cut off: 1,596 bytes are needed, it has 1,000"),
        ("pose2d/vitpose_h_wholebody.onnx/end2end.bin", None, "end2end.bin is missing beside it"),
        ("pose2d/vitpose_h_wholebody.onnx/end2end.onnx", None, "end2end.onnx is missing"),
    ],
)
def test_a_damaged_file_is_named_with_the_remedy(
    checkpoint: Path, name: str, content: str | int | None, fault: str
) -> None:
    path = checkpoint / "process_checkpoint" / name
    before = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else before[:content])
    with pytest.raises(ValueError, match=f"detectors must be complete, but .*{fault}.*; get them again: hf download"):
        detector_files.choose(checkpoint)
    found, (passed_over, used) = detector_files.choose("auto", checkpoint=checkpoint)
    assert found is None
    assert "are passed over" in passed_over
    assert fault in passed_over
    assert "bundled detectors are used" in used


def test_one_without_the_other_is_no_pair(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint / "process_checkpoint" / "pose2d")
    with pytest.raises(
        ValueError, match=r"the pose network \(vitpose_h_wholebody.onnx\) is missing beside yolov10m.onnx"
    ):
        detector_files.choose(checkpoint)


def test_other_weights_have_another_fingerprint(checkpoint: Path) -> None:
    found, _ = detector_files.choose(checkpoint)
    assert found is not None
    before = found.fingerprints()
    data = found.pose.with_name("end2end.bin")
    data.write_bytes(data.read_bytes()[:-1] + b"\1")
    after = found.fingerprints()
    assert after["person detector"] == before["person detector"]
    assert after["pose network"] != before["pose network"]
