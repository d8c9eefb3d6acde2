"""Clicks carried by optical flow: a moving texture whose place is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wanlab.pose.guide import LEAST, Guide
from wanlab.pose.tracks import Click


def film(steps: int, speed: tuple[int, int]) -> list[np.ndarray]:
    """Return frames of 200x300 in which a square of noise, at 40, 60 at first, moves over a plain wall."""
    texture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (80, 60, 3), np.uint8), (5, 5), 0)
    frames = []
    for t in range(steps):
        frame = np.full((200, 300, 3), 90, np.uint8)
        x, y = 40 + speed[0] * t, 60 + speed[1] * t
        frame[y : y + 80, x : x + 60] = texture
        frames.append(frame)
    return frames


@pytest.mark.parametrize("speed", [(0, 0), (5, 1), (9, -2)])
def test_the_box_moves_with_what_was_clicked(speed: tuple[int, int]) -> None:
    """Seen in the first two frames only; then the flow alone tells where the box is, within 2 pixels."""
    box = np.array([40.0, 60, 100, 140])
    guide = Guide([Click(0, 70, 100)])
    for t, frame in enumerate(film(12, speed)):
        moved = box + np.tile(speed, 2) * t
        led = guide.follow(frame, t, moved if t < 2 else None)
        assert led is not None
        np.testing.assert_allclose(led, moved, atol=2)


def test_without_points_nobody_is_led() -> None:
    guide = Guide([Click(0, 10, 10)])  # on the plain wall
    frames = film(3, (5, 0))
    assert guide.follow(frames[0], 0, np.array([40.0, 60, 100, 140])) is not None
    assert guide.follow(frames[1], 1, None) is None
    assert LEAST > 0
