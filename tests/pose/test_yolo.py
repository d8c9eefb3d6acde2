"""The person detector's answers as boxes; equality with upstream is in test_golden (07)."""

from __future__ import annotations

import numpy as np
import pytest

from wanlab.pose import yolo


def test_a_box_comes_back_in_pixels_of_the_image() -> None:
    raw = np.array([[64, 128, 320, 640, 0.9, 0], [0, 0, 640, 640, 0.04, 0]], np.float32)
    np.testing.assert_allclose(yolo.boxes(raw[None], 480, 1280), [[128, 96, 640, 480, 0.9, 0]], rtol=1e-6)


def test_a_raw_head_is_read_either_way_round() -> None:
    head = np.zeros((84, 3), np.float32)
    head[:5, 0] = 100, 200, 40, 80, 0.7
    head[[0, 1, 2, 3, 10], 1] = 500, 500, 50, 50, 0.6
    expected = [[80, 160, 120, 240, 0.7, 0], [475, 475, 525, 525, 0.6, 6]]
    for raw in (head[None], head.T[None]):
        np.testing.assert_allclose(yolo.boxes(raw, 640, 640), expected, rtol=1e-6)


def test_another_head_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must give rows of 6 .* got \(1, 8, 7\); use yolov10m.onnx"):
        yolo.boxes(np.zeros((1, 8, 7), np.float32), 640, 640)


def test_nobody_is_the_whole_image() -> None:
    chair = np.array([[10.0, 10, 400, 400, 0.9, 56]])
    for found in (chair, np.zeros((0, 6))):
        assert yolo.person(found, 300, 200).tolist() == [0, 0, 200, 300, -1]
