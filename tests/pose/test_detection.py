"""Detection against the exact truth of the rendered clips, and what must not end a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wanlab import media
from wanlab.pose import detection, people, smooth, tracks, wholebody


def truth_of(sample: Path, name: str) -> np.ndarray:
    with np.load(sample / name) as truth:
        points = truth["keypoints"].astype(np.float64)
    return points[0] if points.ndim == 4 else points


@pytest.mark.parametrize(("video", "truth"), [("half.mp4", "half_truth.npz"), ("driving.mp4", "truth.npz")])
def test_body_is_near_the_truth(
    sample: Path, detected: Callable[[str], detection.Detection], video: str, truth: str, record_property
) -> None:
    """Person in every frame, PCK@0.1 of the torso at least 0.9, mean error at most 10 px; parts are reported."""
    true, found = truth_of(sample, truth), detected(video)
    assert found.no_person == ()
    assert found.cuts == ()
    error = np.linalg.norm(found.keypoints[..., :2] - true[..., :2], axis=-1)
    inside = true[..., 2] > 0
    torso = np.linalg.norm(true[:, [5, 6], :2].mean(axis=1) - true[:, [11, 12], :2].mean(axis=1), axis=-1)
    body, seen = error[:, :17], inside[:, :17]
    pck = (body < 0.1 * torso[:, None])[seen].mean()
    assert pck >= 0.9
    assert body[seen].mean() <= 10
    drawn = found.keypoints[:, :17, 2] >= 0.5
    assert drawn[seen].mean() > 0.98
    assert drawn[~seen].mean() < 0.05 if (~seen).any() else True
    for part, rows in {
        "feet": slice(17, 23),
        "face": slice(23, 91),
        "left hand": slice(91, 112),
        "right hand": slice(112, 133),
    }.items():
        there = inside[:, rows] & (found.keypoints[:, rows, 2] >= 0.5)
        if there.any():
            record_property(f"{video} {part} px", round(float(error[:, rows][there].mean()), 1))
    assert error[:, 23:91][inside[:, 23:91]].mean() < 3
    hands = inside[:, 91:133] & (found.keypoints[:, 91:133, 2] >= 0.5)
    assert error[:, 91:133][hands].mean() < 12
    assert hands.sum() > 0.75 * inside[:, 91:133].sum()


def test_a_shaking_crop_would_show(sample: Path, detected: Callable[[str], detection.Detection]) -> None:
    """The nose's acceleration is near the truth's: no jitter."""
    found, true = detected("half.mp4").keypoints, truth_of(sample, "half_truth.npz")
    jerk = [np.abs(np.diff(points[:, [5, 6], :2], n=2, axis=0)).mean() for points in (found, true)]
    assert jerk[0] < jerk[1] + 1.0


def test_empty_frames_are_empty_poses_and_named(sample: Path) -> None:
    clip = media.open_clip(sample / "walk.mp4", start_s=22 / 16, max_frames=28)
    found = detection.detect(clip, float(clip.fps))
    assert set(range(28 - 22, 43 - 22)) <= set(found.no_person)  # frames 28 to 43 of the video
    assert not found.keypoints[list(found.no_person)].any()
    assert any(note.startswith("no person in frames ") for note in found.notes)
    assert 0 not in found.no_person


def test_somebody_upside_down_is_found_as_upright(sample: Path) -> None:
    """The turned video gives the turned pose, and that is said; the upright one says nothing."""
    clip = media.open_clip(sample / "half.mp4", max_frames=4)
    upright = detection.detect(clip, float(clip.fps))
    over = detection.detect([frame[::-1, ::-1] for frame in clip], float(clip.fps))
    seen = (upright.keypoints[..., 2] > 0.3) & (over.keypoints[..., 2] > 0.3)
    assert seen.sum() > 0.9 * (upright.keypoints[..., 2] > 0.3).sum()
    turned = np.array([clip.width - 1, clip.height - 1]) - over.keypoints[..., :2]
    assert np.abs(turned - upright.keypoints[..., :2])[seen].max() < 2
    assert over.notes == (
        "the person is upside down in frames 0 to 3: found in the image turned by 180 degrees; look at pose and face there "
        "in 20_inspect",
    )
    assert upright.notes == ()


@pytest.mark.parametrize("frames", [12, pytest.param(77, marks=pytest.mark.slow)])
def test_hands_outside_the_image_are_not_drawn(sample: Path, frames: int) -> None:
    """A man walks into the image (and out, and back): of hand points outside at most 3 % are drawn, of those inside as many as before."""
    true, clip = truth_of(sample, "walk_truth.npz")[:frames], media.open_clip(sample / "walk.mp4", max_frames=frames)
    found = detection.detect(clip, 16.0).keypoints
    here = (true[:, :17, 2] > 0).any(axis=1)
    for hand, before in zip(wholebody.HANDS, (0.98, 0.91) if frames == 77 else (0.91, 0.72), strict=True):
        inside, drawn = true[here, hand, 2] > 0, found[here, hand, 2] >= 0.5
        assert drawn[~inside].mean() <= (0.03 if frames == 77 else 0.05)  # 21 points of two hands in 12 frames
        assert drawn[inside].mean() >= before


def test_clicks_lead_through_frames_in_which_nobody_is_detected(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = media.open_clip(sample / "half.mp4", max_frames=9)
    true, looked, find = truth_of(sample, "half_truth.npz"), [], people.find_people

    def blind(frame: np.ndarray) -> people.People:
        looked.append(frame)
        found = find(frame)
        return people.People(*(part[:0] for part in found)) if len(looked) > 5 else found

    monkeypatch.setattr(people, "find_people", blind)
    surveyed = detection.survey(clip)
    assert detection.detect(clip, 16.0, 1, surveyed).no_person == (3, 4, 5, 6, 7, 8)  # two looks tell which way is up
    led = detection.detect(clip, 16.0, (tracks.Click(0, 190.0, 330.0),), surveyed)
    assert led.no_person == ()
    assert any("the clicks lead to the person in frames 3 to 8" in note for note in led.notes)
    inside = true[:9, :11, 2] > 0
    assert np.linalg.norm(led.keypoints[:, :11, :2] - true[:9, :11, :2], axis=-1)[inside].mean() < 12


def test_cuts_are_found_and_motion_is_none(sample: Path) -> None:
    one = media.open_clip(sample / "half.mp4", max_frames=6).read()
    other = media.open_clip(sample / "dark.mp4", max_frames=5).read()[:, : one.shape[1], : one.shape[2]]
    canvas = np.zeros((5, *one.shape[1:]), np.uint8)
    canvas[:, : other.shape[1], : other.shape[2]] = other
    found = detection.detect([*one, *canvas, *one])
    assert found.cuts == (6, 11)
    assert any("cuts" in note for note in found.notes)


@pytest.mark.parametrize("size", [(64, 48), (17, 400), (720, 1280)])
def test_nobody_is_no_error(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(100, 140, (*size, 3), np.uint8)
    found = detection.detect([noise, np.full_like(noise, 128), noise])
    assert found.no_person == (0, 1, 2)
    assert found.keypoints.shape == (3, 133, 3)
    assert not found.keypoints.any()


@pytest.mark.parametrize("edge", ["left", "right", "top", "bottom"])
def test_a_person_cut_by_the_border_is_no_error(sample: Path, edge: str) -> None:
    frame = media.open_clip(sample / "half.mp4", max_frames=1).read()[0]
    height, width = frame.shape[:2]
    cut = {
        "left": frame[:, width // 2 :],
        "right": frame[:, : width // 2],
        "top": frame[height // 4 :],
        "bottom": frame[: height // 3],
    }[edge]
    found = detection.detect([np.ascontiguousarray(cut)] * 2)
    assert np.isfinite(found.keypoints).all()
    shown = found.keypoints[found.keypoints[..., 2] > 0][:, :2]
    assert (shown >= 0).all()
    assert (shown < (cut.shape[1], cut.shape[0])).all()


def test_one_picture(sample: Path) -> None:
    for name in ("character.png", "reference.png"):
        found = detection.detect([media.read_image(sample / name)])
        assert found.no_person == ()
        assert found.keypoints[0, [0, 5, 6, 11, 12], 2].min() >= 0.5


def test_one_euro_keeps_rest_still_and_motion_prompt() -> None:
    random = np.random.default_rng(1)
    rest = 0.01 * random.standard_normal(200)
    assert smooth.one_euro(rest, 16, 1.0, 0.0)[50:].std() < 0.6 * rest.std()
    step = np.repeat([0.0, 1.0], 20)
    fast = smooth.one_euro(step, 16, 1.0, 20.0)
    slow = smooth.one_euro(step, 16, 1.0, 0.0)
    assert fast[21] > 0.9 > slow[21]
    constant = smooth.one_euro(np.full((5, 2), 3.0), 16, 1.0, 1.0)
    np.testing.assert_array_equal(constant, 3.0)


def test_names_are_coco_wholebody() -> None:
    assert len(wholebody.NAMES) == len(set(wholebody.NAMES)) == 133
    assert wholebody.NAMES[:3] == ("nose", "left_eye", "right_eye")
    assert (wholebody.NAMES[16], wholebody.NAMES[17], wholebody.NAMES[22]) == (
        "right_ankle",
        "left_big_toe",
        "right_heel",
    )
    assert (wholebody.NAMES[91], wholebody.NAMES[112]) == ("left_hand_0", "right_hand_0")


def test_a_changed_network_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  face_landmark.onnx\n")
    (tmp_path / "face_landmark.onnx").write_bytes(b"something else")
    monkeypatch.setattr(people, "NETWORKS", tmp_path)
    people.session.cache_clear()
    with pytest.raises(ValueError, match="face_landmark.onnx must have SHA-256"):
        people.session("face_landmark")
    people.session.cache_clear()
