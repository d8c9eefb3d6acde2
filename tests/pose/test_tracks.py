"""Who is who in a clip: drawn people whose place and clothes are known, and the rendered crossing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from wanlab import config, media
from wanlab.pose import detection, people, tracks

RED, BLUE, GREEN = (200, 40, 40), (40, 40, 200), (40, 160, 40)
SHAPE = [
    (50, 10), (55, 5), (45, 5), (60, 8), (40, 8), (75, 40), (25, 40), (90, 80), (10, 80), (95, 110), (5, 110),
    (65, 110), (35, 110), (65, 155), (35, 155), (65, 200), (35, 200),
]  # fmt: skip
Seen = tuple[float, tuple[int, int, int]]


def frame_of(shown: Sequence[Seen], size: tuple[int, int] = (260, 900)) -> tuple[people.People, np.ndarray]:
    """Return the people at some places (x of their left side) in clothes of some colours, and how they are dressed.

    Who comes later stands in front.
    """
    frame = np.full((*size, 3), 90, np.uint8)
    rows = []
    for x, colour in shown:
        frame[55:180, max(int(x) + 20, 0) : max(int(x) + 80, 0)] = colour
        rows.append(np.column_stack([np.add(SHAPE, (x, 20.0)), np.full(17, 0.8)]))
    points = np.array(rows).reshape(-1, 17, 3)
    boxes = np.concatenate([points[..., :2].min(axis=1), points[..., :2].max(axis=1)], axis=1)
    return people.People(points, boxes, np.full(len(rows), 0.8)), tracks.look_of(frame, points)


def numbers_of(clip: Sequence[Sequence[Seen]], cuts: Sequence[int] = ()) -> list[list[int]]:
    found, looks = zip(*(frame_of(each) for each in clip), strict=True)
    return [each.tolist() for each in tracks.link(found, looks, cuts)]


def test_numbers_follow_people_not_their_order() -> None:
    clip = [[(50 + 4 * t, RED), (500 - 4 * t, BLUE)] for t in range(6)]
    clip[3] = clip[3][::-1]
    assert numbers_of(clip) == [[1, 2]] * 3 + [[2, 1]] + [[1, 2]] * 2


def test_the_one_in_front_keeps_their_number_while_the_other_is_hidden() -> None:
    clip = []
    for t in range(21):
        red, blue = (100 + 10 * t, RED), (300 - 10 * t, BLUE)
        clip.append([blue] if abs(red[0] - blue[0]) < 30 else [red, blue])
    numbers = numbers_of(clip)
    assert [each for each in numbers if len(each) == 2] == [[1, 2]] * 18
    assert all(each in ([2], [0]) for each in numbers if len(each) == 1)


@pytest.mark.parametrize("back", [20, 750])
def test_somebody_who_comes_back_is_known_by_their_clothes(back: int) -> None:
    """RED leaves for two seconds and returns on either side; GREEN, who comes later, is somebody else."""
    clip = [[(600, BLUE), (50 - 15 * t, RED)] for t in range(10)]
    clip += [[(600, BLUE)]] * 32 + [[(600, BLUE), (back, RED)]] * 5 + [[(600, BLUE), (300, GREEN)]] * 5
    numbers = numbers_of(clip)
    assert numbers[0] == numbers[44]
    assert numbers[20] == numbers[0][:1]
    assert numbers[-1] == [numbers[0][0], 3]


def test_after_a_cut_the_only_person_keeps_the_number_in_another_light() -> None:
    assert numbers_of([[(50, RED)]] * 4 + [[(400, (70, 60, 20))]] * 4, cuts=[4]) == [[1]] * 8


def test_after_a_cut_clothes_tell_who_is_who() -> None:
    assert numbers_of([[(50, RED), (400, BLUE)]] * 4 + [[(50, BLUE), (400, RED)]] * 4, cuts=[4])[-1] == [2, 1]


def test_who_is_seen_in_two_frames_is_nobody() -> None:
    clip = [[(50, RED), (400, BLUE)] if t in (4, 5) else [(50, RED)] for t in range(9)]
    assert numbers_of(clip)[4] == [1, 0]


def test_a_joint_of_two_bodies_is_that_of_whom_the_network_is_surer() -> None:
    found, _ = frame_of([(50, RED), (110, BLUE)])
    found.points[1, 9, :2] = found.points[0, 9, :2] + 2
    found.points[1, 9, 2] = 0.5
    clean = tracks.unmixed(found)
    assert clean.points[1, 9, 2] == 0
    assert clean.points[0, 9, 2] == 0.8
    assert (np.delete(clean.points[..., 2], 9, axis=1) == 0.8).all()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (2, 2),
        ("02", 2),
        ("120,300", (tracks.Click(0, 120, 300),)),
        ("120.5,300@7 1, 2@9", (tracks.Click(7, 120.5, 300), tracks.Click(9, 1, 2))),
    ],
)
def test_whom_the_setting_means(text: int | str, meant: object) -> None:
    assert tracks.read_person(text) == meant


@pytest.mark.parametrize("text", ["0", "-1", "left", "1,2,3", "", "12@3"])
def test_nobody_is_meant(text: str) -> None:
    with pytest.raises(ValueError, match="person must be a number from 1, or clicks such as"):
        tracks.read_person(text)


def test_a_click_chooses_whom_it_hits_and_a_number_must_exist() -> None:
    found, looks = zip(*(frame_of([(50, RED), (400, BLUE)]) for _ in range(5)), strict=True)
    numbers = tracks.link(found, looks)
    boxes = np.stack([np.stack([each.boxes[i] for each in found]) for i in range(2)])
    clicks = (tracks.Click(3, 450, 100),)
    assert tracks.chosen(numbers, boxes, clicks) == (2, clicks)
    assert tracks.chosen(numbers, boxes, 2) == (2, ())
    with pytest.raises(config.SettingsError, match="person must be a number from 1 to 2, got 3: 2 people are in the"):
        tracks.chosen(numbers, boxes, 3)
    with pytest.raises(config.SettingsError, match="must be clicked where somebody is found, got 700,100@0"):
        tracks.chosen(numbers, boxes, (tracks.Click(0, 700, 100),))


def test_clicks_outside_the_clip_are_refused() -> None:
    tracks.check_clicks((tracks.Click(4, 450, 100),), 5, 260, 900)
    tracks.check_clicks(9, 5, 260, 900)
    with pytest.raises(config.SettingsError, match="in a frame from 0 to 4, got frame 5"):
        tracks.check_clicks((tracks.Click(5, 450, 100),), 5, 260, 900)
    with pytest.raises(config.SettingsError, match="inside the working clip .260x900, height x width., got x 901, y 1"):
        tracks.check_clicks((tracks.Click(1, 901, 1),), 5, 260, 900)


@pytest.mark.parametrize("step", [1, -1])
def test_numbers_do_not_depend_on_the_order_of_rows(step: int) -> None:
    """RED in frame 5 stands nearer to where GREEN, who is hidden, must be: RED alone loses the number, not BLUE beside RED."""
    clip = [[(300 + 10 * t, RED), (200 + 20 * t, BLUE), (420, GREEN)] for t in range(5)]
    clip += [[(356, RED), (330, BLUE)], *[[(300, RED), (270, BLUE), (360, GREEN)]] * 5]
    clip = [each[::step] for each in clip]
    looks = [np.concatenate([frame_of([one])[1] for one in each]) for each in clip]
    numbers = [each[::step].tolist() for each in tracks.link([frame_of(each)[0] for each in clip], looks)]
    _, blue, _ = numbers[0]
    assert numbers[4] == numbers[6] == numbers[0]
    assert numbers[5] == [0, blue]


def test_both_are_followed_when_they_cross_and_nothing_is_drawn_on_the_other(sample: Path) -> None:
    """Frames 17 to 29: she crosses in front of him and most of him is hidden; each number stays on one person."""
    clip = media.open_clip(sample / "two_people.mp4", start_s=17 / 16, max_frames=13)
    with np.load(sample / "two_people_truth.npz") as truth:
        both, visible = truth["keypoints"][:, 17:30, :17, :2].astype(float), truth["visible"][:, 17:30, :17] > 0
    surveyed = detection.survey(clip)
    for person in (0, 1):
        found = detection.detect(clip, 16.0, person + 1, surveyed).keypoints[:, :17]
        own, other = (np.linalg.norm(found[..., :2] - both[p], axis=-1) for p in (person, 1 - person))
        drawn = found[..., 2] >= 0.5
        here = drawn.any(axis=1)
        assert ((own * drawn).sum(axis=1) < (other * drawn).sum(axis=1))[here].all()
        near = (own < 13.3) & (found[..., 2] > 0)  # a tenth of their torsos
        assert near[visible[person]].mean() > (0.6, 0.7)[person]
        assert here[visible[person].sum(axis=1) > 13].all()
