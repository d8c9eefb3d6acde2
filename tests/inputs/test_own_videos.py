"""A user's own pose and face videos: what is wrong with them is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from wanlab import media
from wanlab.inputs import own_videos

FRAMES, HEIGHT, WIDTH = 5, 128, 96


def _skeleton() -> np.ndarray:
    """Return limbs of different colours left and right of a body, a little further along in each frame."""
    frames = np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    for t, frame in enumerate(frames):
        cv2.line(frame, (30 + t, 30), (45 + t, 60), (255, 60, 0), 5)
        cv2.line(frame, (45 + t, 60), (40 + t, 110), (0, 255, 80), 5)
        cv2.line(frame, (45 + t, 30), (70 + t, 50), (0, 60, 255), 5)
    return frames


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> media.Clip:
    picture = np.random.default_rng(0).integers(0, 255, (16, 12, 3), np.uint8)
    frames = np.stack([cv2.resize(np.roll(picture, t, axis=1), (WIDTH, HEIGHT)) for t in range(FRAMES)])
    return _clip(tmp_path_factory.mktemp("film") / "film.mkv", frames)


def _clip(path: Path, frames: np.ndarray) -> media.Clip:
    media.write_video(path, frames, Fraction(8), lossless=True)
    return media.open_clip(path)


def _said(
    path: Path, film: media.Clip, frames: np.ndarray, name: str = "pose_video", ours: np.ndarray | None = None
) -> str:
    expected = _skeleton() if ours is None else ours
    made: Callable[[Sequence[int]], np.ndarray] = lambda chosen: expected[list(chosen)]  # noqa: E731
    return "; ".join(own_videos.look(name, _clip(path / "own.mkv", frames), film, made))


def test_a_skeleton_on_black_is_not_commented_on(tmp_path: Path, film: media.Clip) -> None:
    assert _said(tmp_path, film, _skeleton()) == ""
    assert _said(tmp_path, film, np.roll(_skeleton(), 30, axis=1)) == ""  # another performance


def test_black_poses_are_refused_and_black_frames_said(tmp_path: Path, film: media.Clip) -> None:
    black = _skeleton() * 0
    with pytest.raises(ValueError, match="pose_video must show a skeleton in at least one frame, got black in all 5"):
        _said(tmp_path, film, black)
    assert _said(tmp_path, film, black, "face_video") == "face_video is black in all 5 frames: no expression is driven"
    partly = _skeleton()
    partly[1:3] = 0
    assert _said(tmp_path, film, partly) == "pose_video is black in frames 1 to 2: nothing is driven there"


def test_exchanged_channels_and_sides_are_said(tmp_path: Path, film: media.Clip) -> None:
    drawn = _skeleton()
    for frames, what in (
        (drawn[..., ::-1], "red and blue exchanged"),
        (drawn[:, :, ::-1], "left and right exchanged"),
        (drawn[:, :, ::-1, ::-1], "red and blue, and left and right, exchanged"),
        (drawn[:, ::-1], "top and bottom exchanged"),
        (drawn[:, ::-1, ::-1], "top and bottom, and left and right, exchanged"),
    ):
        assert f"fits the driving video with {what} (0 of 255 off," in _said(tmp_path, film, frames)


def test_dark_lines_are_not_taken_for_exchanged_ones(tmp_path: Path, film: media.Clip) -> None:
    aside = np.roll(_skeleton(), -25, axis=2)  # where its mirror image would be, nothing is
    assert "exchanged" not in _said(tmp_path, film, aside // 7, ours=aside)


@pytest.mark.parametrize("name", ["pose_video", "face_video"])
def test_one_image_in_all_frames_is_said(tmp_path: Path, film: media.Clip, name: str) -> None:
    still = _skeleton()[:1].repeat(FRAMES, axis=0)
    assert f"{name} shows one image in all its frames, though the person moves" in _said(tmp_path, film, still, name)
    assert "one image" not in _said(tmp_path, film, still, name, still)  # nobody moves


def test_a_light_ground_is_said(tmp_path: Path, film: media.Clip) -> None:
    assert "has a ground of about 240 of 255" in _said(tmp_path, film, np.full_like(_skeleton(), 240))


@pytest.mark.parametrize("name", ["pose_video", "face_video"])
def test_the_driving_video_itself_is_said(tmp_path: Path, film: media.Clip, name: str) -> None:
    assert f"{name} shows the driving video itself" in _said(tmp_path, film, film.read(), name)


def test_blue_faces_are_said_though_they_are_others(tmp_path: Path, film: media.Clip) -> None:
    face, other = np.zeros_like(_skeleton()), np.zeros_like(_skeleton())
    face[:, 20:100, 10:80] = (200, 150, 120)
    other[:, 10:120, 5:90] = (150, 110, 70)
    assert _said(tmp_path, film, other, "face_video", face) == ""
    assert "looks as if red and blue were exchanged: its faces are bluer" in _said(
        tmp_path, film, other[..., ::-1], "face_video", face
    )
