"""Finding people, against the exact truth of the rendered clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wanlab import media
from wanlab.pose import people


def test_a_person_is_found_where_they_are(sample: Path) -> None:
    with np.load(sample / "half_truth.npz") as truth:
        true = truth["keypoints"][0]
    found = people.find_people(media.open_clip(sample / "half.mp4", max_frames=1).read()[0])
    assert len(found.scores) == 1
    inside = true[:17, 2] > 0
    assert np.linalg.norm(found.points[0, :, :2] - true[:17, :2], axis=1)[inside].mean() < 10
    x1, y1, x2, y2 = found.boxes[0]
    assert x1 < true[0, 0] < x2
    assert y1 < true[0, 1] < y2


def test_the_larger_of_two_comes_first(sample: Path) -> None:
    found = people.find_people(media.open_clip(sample / "two_people.mp4", max_frames=1).read()[0])
    sizes = np.prod(found.boxes[:, 2:] - found.boxes[:, :2], axis=1)
    assert len(sizes) == 2
    assert sizes[0] >= sizes[1]


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (2000, 30)])
def test_nobody_is_found_in_grey(size: tuple[int, int]) -> None:
    found = people.find_people(np.full((*size, 3), 128, np.uint8))
    assert found.points.shape == (0, 17, 3)
    assert found.boxes.shape == (0, 4)


def test_fingerprints_are_those_of_the_files() -> None:
    names = {"human_movenet-multipose", "pose_landmark_full", "hand_landmark_full", "face_landmark"}
    assert names <= set(people.fingerprints())
    assert all(len(sha) == 64 for sha in people.fingerprints().values())
