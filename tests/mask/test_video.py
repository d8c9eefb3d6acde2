"""Mask videos: luminance, colours, soft edges."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from wanlab import mask, media


def _written(path: Path, frames: np.ndarray) -> Path:
    media.write_video(path, frames, Fraction(8), lossless=True)
    return path


def _square(colour: tuple[int, int, int]) -> np.ndarray:
    frames = np.zeros((3, 64, 48, 3), np.uint8)
    frames[1:, 16:48, 8:40] = colour
    return frames


def test_white_begins_at_128(tmp_path: Path) -> None:
    grey = np.stack([np.full((16, 16, 3), value, np.uint8) for value in (0, 127, 128, 255)])
    masks, _ = mask.read_mask(_written(tmp_path / "mask.mkv", grey))
    assert [bool(each.all()) for each in masks] == [False, False, True, True]
    assert len(mask.read_mask(tmp_path / "mask.mkv", max_frames=3).masks) == 3


@pytest.mark.parametrize(
    ("colour", "word"),
    [((0, 255, 0), "green"), ((255, 0, 0), "red"), ((0, 0, 200), "blue"), ((255, 255, 0), "yellow"), ((160, 0, 160), "magenta"),
     ((0, 255, 255), "cyan"), ((255, 120, 0), "orange"), ((100, 20, 20), "red")],
)  # fmt: skip
def test_colours_are_refused_with_frame_and_share(tmp_path: Path, colour: tuple[int, int, int], word: str) -> None:
    said = rf"mask_video mask.mkv must be white .* got {word} \({colour[0]}, {colour[1]}, {colour[2]}\) on 33.33% of frame 1; make"
    with pytest.raises(ValueError, match=said):
        mask.read_mask(_written(tmp_path / "mask.mkv", _square(colour)), "mask_video")


def test_green_is_refused_in_h264_too(tmp_path: Path) -> None:
    media.write_video(tmp_path / "mask.mp4", _square((0, 255, 0)), Fraction(8))
    with pytest.raises(ValueError, match="got green .* of frame 1"):
        mask.read_mask(tmp_path / "mask.mp4")


@pytest.mark.parametrize("level", [1, 100, 127])
def test_a_mask_without_white_says_what_its_lightest_is(tmp_path: Path, level: int) -> None:
    with pytest.raises(ValueError, match=f"got nothing lighter than {level} of 255; make its white 255"):
        mask.read_mask(_written(tmp_path / "mask.mkv", _square((level,) * 3)))


def test_soft_edges_are_said_and_hard_ones_are_not(tmp_path: Path) -> None:
    hard = _square((255, 255, 255))
    media.write_video(tmp_path / "hard.mp4", hard, Fraction(8))
    masks, notes = mask.read_mask(tmp_path / "hard.mp4")
    np.testing.assert_array_equal(masks[:], hard[..., 0] > 0)
    assert notes == ()
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 4) for frame in hard])
    masks, (note,) = mask.read_mask(_written(tmp_path / "soft.mkv", soft))
    np.testing.assert_array_equal(masks[:], soft[..., 0] >= 128)
    assert "soft.mkv is soft: " in note
    assert "grey counts as white from 128 on" in note


def test_a_mask_is_decoded_once_until_its_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, original = [], media.open_clip
    monkeypatch.setattr(media, "open_clip", lambda path, **more: opened.append(path) or original(path, **more))
    path = _written(tmp_path / "mask.mkv", _square((255, 255, 255)))
    first, again = (mask.read_mask(path, "mask_source", 3) for _ in range(2))
    assert opened == [path]
    np.testing.assert_array_equal(first.masks[:], again.masks[:])
    _written(path, _square((255, 255, 255))[::-1])
    assert [bool(each.any()) for each in mask.read_mask(path, "mask_source", 3).masks] == [True, True, False]
