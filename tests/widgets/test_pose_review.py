"""The pose widget's kernel side: an action is in the file at once, views are told what changed, stills where nobody looks."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from IPython.display import Image

from wanlab import config, inputs, media, pose
from wanlab.inputs import edits, pose_videos
from wanlab.pose import corrections
from wanlab.pose import face as face_module
from wanlab.pose.face import crop
from wanlab.steps import inspect
from wanlab.widgets import history
from wanlab.widgets.pose_review import CROP, PoseReview, pose_review

FRAMES, HEIGHT, WIDTH = 8, 96, 160
HIDE = {"do": "hide", "part": "left hand", "first": 2, "last": 3}


def person() -> np.ndarray:
    points = np.random.default_rng(0).uniform((40, 20, 0.9), (90, 80, 0.95), (133, 3)).astype(np.float32)
    return np.repeat(points[None], FRAMES, axis=0)


@pytest.fixture
def seen(tmp_path: Path) -> inspect.Inspection:
    """Return inputs of animate whose frames are noise, with a person who stands still."""
    frames = np.random.default_rng(1).integers(0, 255, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    media.write_video(tmp_path / inputs.DRIVING, frames, Fraction(16), lossless=True)
    np.savez(tmp_path / inputs.KEYPOINTS, keypoints=person())
    files = {name: tmp_path / inputs.EXPORTS[name][1] for name in pose_videos.VIDEOS}
    made = inputs.AnimateInputs(tmp_path, "animate", files, FRAMES, HEIGHT, WIDTH, Fraction(16), {}, ())
    clip = media.open_clip(tmp_path / inputs.DRIVING)
    asked = config.InspectSettings.build({})
    return inspect.Inspection(tmp_path, made, False, clip, "", None, {}, made, tmp_path / edits.EDITS, (), asked)


class Heard:
    """A widget and what it says."""

    def __init__(self, seen: inspect.Inspection, monkeypatch: pytest.MonkeyPatch) -> None:
        self.widget = PoseReview(seen)
        self.said: list[tuple[dict[str, Any], list[bytes]]] = []
        monkeypatch.setattr(self.widget, "send", lambda content, buffers=(): self.said.append((content, buffers)))

    def tell(self, kind: str, **content: Any) -> dict[str, tuple[dict[str, Any], list[bytes]]]:
        """Send a message as the browser does; return the last answer of each kind."""
        self.said.clear()
        self.widget._handle_custom_msg({"kind": kind, **content}, [])
        return {content["kind"]: (content, buffers) for content, buffers in self.said}


@pytest.fixture
def heard(seen: inspect.Inspection, monkeypatch: pytest.MonkeyPatch) -> Heard:
    return Heard(seen, monkeypatch)


def kept(seen: inspect.Inspection) -> list[dict[str, Any]]:
    return json.loads(seen.edits.read_text())["pose"]


def test_the_changed_frames_travel_with_an_action(heard: Heard, seen: inspect.Inspection) -> None:
    answers = heard.tell("edit", entries=[HIDE], merge=False)
    assert kept(seen) == [HIDE]
    content, (points, detected, boxes) = answers["poses"]
    assert (content["first"], content["last"]) == (2, 3)
    expected = corrections.apply(person(), [corrections.Hide("left hand", 2, 3)])
    np.testing.assert_array_equal(np.frombuffer(points, np.float32).reshape(2, 133, 3), expected[2:4])
    np.testing.assert_array_equal(np.frombuffer(detected, np.float32).reshape(2, 133, 3), person()[2:4])
    assert np.frombuffer(boxes, np.int32).reshape(2, 4)[0].tolist() == heard.widget._boxes.boxes[2].tolist()
    assert answers["said"][0]["text"] == "left hand hidden in frames 2 to 3"
    overview = answers["overview"][0]
    assert (overview["corrections"], overview["undo"], overview["faults"]) == (["left hand hidden in frames 2 to 3"], 1, [])  # fmt: skip
    assert [len(buffer) for buffer in answers["overview"][1]] == [12 * FRAMES] * 3
    assert sum(len(buffer) for _, buffers in heard.said for buffer in buffers) < 8000


def test_a_face_crop_is_that_of_the_corrected_box(heard: Heard, seen: inspect.Inspection) -> None:
    moved = [{"do": "move", "frame": 4, "joint": 23 + i, "x": 100.0 + i % 8, "y": 50.0 + i // 8} for i in range(68)]
    assert heard.tell("edit", entries=moved, merge=False)["stale_faces"][0] == {"kind": "stale_faces", "first": 4, "last": 4}  # fmt: skip
    assert seen.clip is not None
    _, (jpeg,) = heard.tell("face", t=4)["face"]
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert shown.shape == (CROP, CROP, 3)
    box = face_module.box(pose.to_meta(heard.widget.points, HEIGHT, WIDTH).face[4], HEIGHT, WIDTH)
    assert box is not None
    expected = cv2.resize(crop(seen.clip.read()[4], box), (CROP, CROP), interpolation=cv2.INTER_AREA)
    assert np.abs(shown.astype(int) - expected).mean() < 12  # JPEG of noise


def test_undo_and_redo_go_by_actions_and_a_new_action_ends_what_could_be_redone(
    heard: Heard, seen: inspect.Inspection
) -> None:
    toes = [{"do": "move", "frame": 1, "joint": joint, "x": 50.0, "y": 60.0} for joint in (17, 18)]
    heard.tell("edit", entries=toes, merge=False)
    heard.tell("edit", entries=[HIDE], merge=False)
    heard.tell("undo")
    heard.tell("undo")
    assert kept(seen) == []
    np.testing.assert_array_equal(heard.widget.points, person())
    heard.tell("redo")
    assert kept(seen) == toes
    assert heard.tell("edit", entries=[HIDE], merge=False)["overview"][0]["redo"] == 0
    heard.tell("redo")
    assert kept(seen) == [*toes, HIDE]


def test_steps_of_the_keyboard_are_one_action(heard: Heard, seen: inspect.Inspection) -> None:
    step = {"do": "move", "frame": 1, "joint": 9, "x": 50.0, "y": 60.0}
    for x in (50.0, 51.0, 52.0):
        heard.tell("edit", entries=[{**step, "x": x}], merge=True)
    assert kept(seen) == [{**step, "x": 52.0}]
    heard.tell("edit", entries=[{**step, "joint": 10}], merge=True)
    assert len(kept(seen)) == 2


def test_what_is_refused_changes_nothing(heard: Heard, seen: inspect.Inspection) -> None:
    heard.tell("edit", entries=[HIDE], merge=False)
    answers = heard.tell("edit", entries=[{"do": "move", "frame": 1, "joint": 9, "x": -3.0, "y": 0.0}], merge=False)
    assert "must have x from 0 to 160" in answers["error"][0]["text"]
    assert answers["poses"][0]["last"] == FRAMES - 1  # what the browser may have shown is taken back
    assert kept(seen) == [HIDE]
    assert "part must be one of" in heard.tell("interpolate", part="paw", t=1, stretch=None)["error"][0]["text"]


def test_what_is_so_already_is_not_written_again(heard: Heard, seen: inspect.Inspection) -> None:
    heard.tell("edit", entries=[HIDE], merge=False)
    assert heard.tell("edit", entries=[HIDE], merge=False)["said"][0]["text"] == "nothing to change: it is so already"
    assert kept(seen) == [HIDE]


def test_a_gap_is_found_around_the_frame(heard: Heard, seen: inspect.Inspection) -> None:
    heard.tell("edit", entries=[HIDE, {"do": "hide", "part": 9, "first": 6, "last": 6}], merge=False)
    heard.tell("interpolate", part="left hand", t=3, stretch=None)
    heard.tell("interpolate", part=9, t=6, stretch=None)
    heard.tell("edit", entries=[{"do": "move", "frame": 5, "joint": 0, "x": 1.0, "y": 1.0}], merge=False)
    heard.tell("interpolate", part="head", t=5, stretch=None)  # it is seen there: the frame alone
    found = [(entry["part"], entry["first"], entry["last"]) for entry in kept(seen) if entry["do"] == "interpolate"]
    assert found == [("left hand", 2, 3), (9, 6, 6), ("head", 5, 5)]
    np.testing.assert_allclose(heard.widget.points[..., :2], person()[..., :2], atol=1e-4)


def test_a_listed_fault_is_mended_in_one_action_and_what_is_left_is_said(
    heard: Heard, seen: inspect.Inspection
) -> None:
    found = heard.widget._detected
    found[2:5, 91:112, 2] = found[2, 9, 2] = 0
    heard.widget._show()
    answers = heard.tell("mend", first=3, last=4)
    assert [(entry["part"], entry["first"], entry["last"]) for entry in kept(seen)] == [(9, 2, 2), ("left hand", 2, 4)]
    assert answers["said"][0]["text"] == "left wrist interpolated in frame 2; left hand interpolated in frames 2 to 4"
    assert not [fault for fault in answers["overview"][0]["faults"] if fault["first"] <= 4]
    assert heard.tell("undo")["overview"][0]["entries"] == 0
    assert (
        "frame 0 cannot be mended from the frames beside it" in heard.tell("mend", first=0, last=0)["error"][0]["text"]
    )


def test_what_another_program_wrote_is_kept(heard: Heard, seen: inspect.Inspection) -> None:
    edits.update(seen.edits, pose=[HIDE], mask_chain="fill")
    heard.tell("edit", entries=[{**HIDE, "first": 5, "last": 5}], merge=False)
    assert [entry["first"] for entry in kept(seen)] == [2, 5]
    assert json.loads(seen.edits.read_text())["mask_chain"] == "fill"


def test_undo_takes_back_the_last_action_whoever_did_it(heard: Heard, seen: inspect.Inspection) -> None:
    heard.tell("edit", entries=[HIDE], merge=False)
    face = {"do": "hide", "part": "face", "first": 1, "last": 2}
    step = {"do": "move", "frame": 1, "joint": 9, "x": 50.0, "y": 60.0}
    for x in (50.0, 51.0):
        heard.tell("edit", entries=[{**step, "x": x}], merge=True)
    edits.change(seen.edits, lambda now: dataclasses.replace(now, pose=(*now.pose, corrections.Hide("face", 1, 2))), FRAMES, HEIGHT, WIDTH)  # fmt: skip
    assert heard.tell("refresh")["overview"][0]["entries"] == 3
    heard.tell("edit", entries=[{**step, "x": 52.0}], merge=True)
    assert kept(seen) == [HIDE, face, {**step, "x": 52.0}]
    assert heard.tell("undo")["said"][0]["text"] == "undone: left wrist moved in frame 1"
    assert kept(seen) == [HIDE, {**step, "x": 51.0}, face]
    assert heard.tell("undo")["said"][0]["text"] == "undone: face hidden in frames 1 to 2"
    heard.tell("undo")  # the two steps of the keyboard in one
    assert kept(seen) == [HIDE]
    assert heard.tell("undo")["overview"][0]["undo"] == 0
    assert kept(seen) == []
    heard.tell("redo")
    assert kept(seen) == [HIDE]


def test_what_an_earlier_kernel_did_can_be_undone(
    heard: Heard, seen: inspect.Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in (2, 5):
        heard.tell("edit", entries=[{**HIDE, "first": first, "last": first}], merge=False)
    monkeypatch.setattr(history.History, "_known", {})  # as in a new kernel
    later = Heard(seen, monkeypatch)
    assert later.tell("undo")["overview"][0]["redo"] == 1
    assert [entry["first"] for entry in kept(seen)] == [2]
    later.tell("redo")
    assert [entry["first"] for entry in kept(seen)] == [2, 5]


def test_nothing_of_the_clip_is_saved_with_the_notebook(heard: Heard) -> None:
    state = heard.widget.get_state()
    size = len(json.dumps({name: value for name, value in state.items() if isinstance(value, str | dict | int)}))
    assert size < 100_000  # the module itself most of all


def test_headless_and_without_key_points_there_are_stills(
    seen: inspect.Inspection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("wanlab.widgets.pose_review.display", shown.append)
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    assert isinstance(pose_review(seen), Image)
    assert [type(each).__name__ for each in shown] == ["Drawing", "HTML"]
    monkeypatch.delenv("WANLAB_HEADLESS")
    (seen.parent.folder / inputs.KEYPOINTS).unlink()
    assert isinstance(pose_review(seen), Image)
    assert "pose corrections need keypoints.npz" in capsys.readouterr().out
