"""Whether a mask can be meant: how much of the person it covers."""

from __future__ import annotations

import numpy as np
import pytest

from wanlab import mask

FRAMES, HEIGHT, WIDTH = 20, 128, 96


@pytest.fixture
def points() -> np.ndarray:
    """Return somebody whose joints spread over a box of 30x60 pixels around (48, 64)."""
    rng = np.random.default_rng(0)
    found = np.zeros((FRAMES, 133, 3), np.float32)
    found[:, :17, :2] = rng.uniform((33, 34), (63, 94), (17, 2))
    found[:, :17, 2] = 1
    return found


def _box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    masks[:, y0:y1, x0:x1] = True
    return masks


def test_a_mask_of_the_person_is_not_commented_on(points: np.ndarray) -> None:
    assert mask.check("the mask", _box(30, 30, 66, 98), points) == ()
    assert mask.check("the mask", _box(30, 30, 66, 98)) == ()


def test_black_and_next_to_nothing_are_refused_with_numbers(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="got black in all 20 frames"):
        mask.check("the mask", _box(0, 0, 0, 0))
    pixel = _box(48, 64, 49, 65)
    for keypoints in (None, points):
        with pytest.raises(
            ValueError, match="mask_video must be white .* got at most 1 white pixels in any of 20 frames"
        ):
            mask.check("mask_video", pixel, keypoints)
    with pytest.raises(
        ValueError, match="on 0% of the person's joints: in 20 of 20 frames with a person .*; use a mask of the person"
    ):
        mask.check("mask_video", _box(0, 0, 9, 9), points)


def test_frames_without_the_person_are_said_from_a_tenth_on(points: np.ndarray) -> None:
    person = _box(30, 30, 66, 98)
    person[4:6] = False
    assert mask.check("the mask", person, points) == ()
    person[4:7] = False
    (note,) = mask.check("the mask", person, points)
    assert "on 85% of the person's joints: in 3 of 20 frames" in note
    assert "(frames 4 to 6)" in note


def test_another_person_may_be_masked_and_that_is_said(points: np.ndarray) -> None:
    (note,) = mask.check("mask_video", _box(70, 30, 96, 98), points)
    assert "in 20 of 20 frames" in note


def test_nobody_to_cover_is_no_fault(points: np.ndarray) -> None:
    points[:, :, 2] = 0
    assert mask.check("the mask", _box(0, 0, 20, 20), points) == ()
