"""The region of a click without SAM2: the thing that is clicked on, bounded; a wall is not taken."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wanlab.mask.local_regions import LocalRegions, connected, disc
from wanlab.mask.packed import PackedMasks
from wanlab.mask.prompts import Box, Click
from wanlab.media import Frames

HEIGHT, WIDTH = 360, 640


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Return a frame of a person in red with skin-coloured hands before a grey wall with some noise."""
    noise = np.random.default_rng(0).normal(0, 3, (HEIGHT, WIDTH, 3))
    frame = np.full((HEIGHT, WIDTH, 3), 150, np.uint8)
    cv2.rectangle(frame, (280, 100), (360, 340), (160, 40, 40), -1)
    for x in (250, 390):
        cv2.ellipse(frame, (x, 220), (14, 22), 0, 0, 360, (205, 160, 135), -1)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)[None]


def person() -> np.ndarray:
    points = np.zeros((1, 133, 3), np.float32)
    for row, place in {0: (320, 60), 5: (360, 110), 6: (280, 110), 15: (350, 340), 16: (290, 340)}.items():
        points[0, row] = *place, 0.9
    return points


def finder(frames: np.ndarray, before: np.ndarray) -> LocalRegions:
    return LocalRegions(Frames(frames), person(), PackedMasks.of(before[None]))


def hand(x: int) -> np.ndarray:
    found = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(found, (x, 220), (14, 22), 0, 0, 360, 1, -1)
    return found > 0


def test_a_click_into_a_hand_takes_the_hand_and_one_beside_it_a_spot(frames: np.ndarray) -> None:
    body = np.zeros((HEIGHT, WIDTH), bool)
    body[100:341, 280:361] = True
    local = finder(frames, body)
    found = local.of_click(Click(0, 250, 215, True), ())
    assert (found & hand(250)).sum() / (found | hand(250)).sum() > 0.85
    beside = local.of_click(Click(0, 215, 215, True), ())
    assert 0 < beside.sum() < 0.5 * hand(250).sum()  # the wall has no end
    inside = local.of_click(Click(0, 320, 200, True), ())  # it belongs to the outline already
    assert not (inside & ~body).any()


def test_a_negative_click_takes_out_of_the_outline_alone(frames: np.ndarray) -> None:
    wall = disc((HEIGHT, WIDTH), 450, 100, 18)
    local = finder(frames, hand(250) | wall)
    found = local.of_click(Click(0, 450, 100, False), ())
    assert (found & wall).sum() > 0.5 * wall.sum()
    assert (found & ~wall).sum() < 40  # its rim


def test_a_click_against_it_ends_a_region(frames: np.ndarray) -> None:
    two = frames.copy()
    cv2.rectangle(two[0], (230, 235), (270, 260), (205, 160, 135), -1)  # of the hand's colour, joined to it
    local = finder(two, np.zeros((HEIGHT, WIDTH), bool))
    click, against = Click(0, 250, 212, True), (Click(0, 250, 252, False),)
    assert local.of_click(click, ())[252, 250]
    found = local.of_click(click, against)
    assert not found[252, 250]
    assert found[212, 250]


def test_a_box_takes_what_stands_out_in_it(frames: np.ndarray) -> None:
    found = finder(frames, np.zeros((HEIGHT, WIDTH), bool)).of_box(Box(0, 225, 190, 275, 250), ())
    assert (found & hand(250)).sum() / (found | hand(250)).sum() > 0.85


def test_where_nobody_is_seen_a_click_is_bounded_by_the_image(frames: np.ndarray) -> None:
    local = LocalRegions(Frames(frames), np.zeros((1, 133, 3)), PackedMasks.empty(1, HEIGHT, WIDTH))
    assert local.reach(0) == pytest.approx(0.15 * WIDTH)
    for x, y in ((100, 100), (320, 200), (639.5, 359.5), (0, 0)):
        found = local.of_click(Click(0, x, y, True), ())
        assert not (found & ~disc(found.shape, x, y, local.reach(0) + 4)).any()


def test_the_part_at_a_place_is_found() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:6, 2:6], mask[10:18, 10:18] = True, True
    assert connected(mask, 3, 3, 1).sum() == 16
    assert connected(mask, 8.5, 9, 3).sum() == 64
    assert not connected(mask, 8, 2, 1).any()
