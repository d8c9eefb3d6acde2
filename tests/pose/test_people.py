"""Finding people and following one of them, against the exact truth of the rendered clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wanlab import media
from wanlab.pose import people


def person(x: float, colour_at: np.ndarray | None = None, colour: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    """Return [17, 3] of a standing person of 100 x 200 pixels at `x`; paints the torso into `colour_at`."""
    shape = [
        (50, 10), (55, 5), (45, 5), (60, 8), (40, 8), (75, 40), (25, 40), (90, 80), (10, 80), (95, 110), (5, 110),
        (65, 110), (35, 110), (65, 155), (35, 155), (65, 200), (35, 200),
    ]  # fmt: skip
    if colour_at is not None:
        colour_at[60:130, int(x) + 25 : int(x) + 75] = colour
    return np.column_stack([np.add(shape, (x, 20.0)), np.full(17, 0.8)])


def crowd(*points: np.ndarray) -> people.People:
    rows = np.array(points).reshape(-1, 17, 3)
    boxes = np.concatenate([rows[..., :2].min(axis=1), rows[..., :2].max(axis=1)], axis=1)
    return people.People(rows, boxes, np.full(len(rows), 0.8))


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


def test_the_nearer_one_is_followed_not_the_larger() -> None:
    frame = np.full((260, 640, 3), 90, np.uint8)
    tracker = people.Tracker()
    assert tracker.choose(frame, crowd(person(50), person(400))) == 0
    assert tracker.choose(frame, crowd(person(395), person(60))) == 1  # the order changed, not the person


def test_who_crosses_in_front_is_not_taken_for_the_followed_one() -> None:
    """They touch, then only the one in front is seen for three frames: a gap, not a change of person."""
    red, blue = (200, 40, 40), (40, 40, 200)
    tracker, chosen = people.Tracker(), []
    for x in (200, 80, 40, 10, -20, -160):
        frame = np.full((260, 640, 3), 90, np.uint8)
        mine = person(60, frame, red)
        other = person(x + 60, frame, blue)
        hidden = x in (40, 10, -20)
        chosen.append(tracker.choose(frame, crowd(other) if hidden else crowd(mine, other)))
    assert chosen == [0, 0, None, None, None, 0]


def test_a_single_person_may_change_colour() -> None:
    tracker = people.Tracker()
    for colour in ((200, 180, 160), (60, 50, 40)):
        frame = np.full((260, 640, 3), 90, np.uint8)
        assert tracker.choose(frame, crowd(person(60, frame, colour))) == 0


def test_a_lost_person_is_waited_for_then_replaced() -> None:
    frame = np.full((260, 640, 3), 90, np.uint8)
    tracker = people.Tracker()
    tracker.choose(frame, crowd(person(20)))
    far = [tracker.choose(frame, crowd(person(520))) for _ in range(people.MAX_LOST + 2)]
    assert far[0] is None
    assert far[-1] == 0
    tracker.forget()
    assert tracker.choose(frame, crowd(person(20))) == 0  # a new shot: the largest at once


def test_the_followed_one_is_never_the_other_when_two_cross(sample: Path) -> None:
    with np.load(sample / "two_people_truth.npz") as truth:
        man, woman = truth["keypoints"][:, 14:32, [5, 6], :2].mean(axis=2)
    tracker, missing = people.Tracker(), []
    for t, frame in enumerate(media.open_clip(sample / "two_people.mp4", start_s=14 / 16, max_frames=18)):
        found = people.find_people(frame)
        middles = found.points[:, [5, 6], :2].mean(axis=1)
        if t == 0:  # only the man is offered, whoever is larger here
            nearest = int(np.argmin(np.linalg.norm(middles - man[0], axis=1)))
            assert tracker.choose(frame, people.People(*(part[[nearest]] for part in found))) == 0
            continue
        chosen = tracker.choose(frame, found)
        if chosen is None:
            missing.append(14 + t)
        else:
            middle = middles[chosen]
            assert np.linalg.norm(middle - man[t]) < np.linalg.norm(middle - woman[t])
    assert set(missing) <= set(range(21, 27))  # most of him is hidden there


def test_fingerprints_are_those_of_the_files() -> None:
    names = {"human_movenet-multipose", "pose_landmark_full", "hand_landmark_full", "face_landmark"}
    assert names <= set(people.fingerprints())
    assert all(len(sha) == 64 for sha in people.fingerprints().values())
