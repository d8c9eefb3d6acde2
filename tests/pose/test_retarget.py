"""wanlab's retargeting: bodies whose bones are known, and upstream's faults that it mends (upstream's numbers: golden 03)."""

from __future__ import annotations

import numpy as np
import pytest

from wanlab.pose import retarget
from wanlab.pose.drawing import LIMBS, Meta

BONES = np.array(
    [30, 30, 50, 45, 50, 45, 100, 80, 75, 100, 80, 75, 45, 12, 10, 12, 10, 15, 15], float
)  # of LIMBS, pixels
STANDING = np.array(
    [180, 0, 95, 92, 85, 88, 97, 92, 90, 83, 88, 90, -90, -125, -160, -55, -20, 60, 120], float
)  # degrees


def body(
    bones: np.ndarray = BONES, angles: np.ndarray = STANDING, neck: tuple[float, float] = (300.0, 150.0)
) -> np.ndarray:
    """Return [20, 3], pixels and score 1: a body of these bones, each in its direction."""
    points = np.ones((20, 3))
    points[1, :2] = neck
    for (start, end), length, angle in zip(LIMBS, bones, np.radians(angles), strict=True):
        points[end, :2] = points[start, :2] + length * np.array([np.cos(angle), np.sin(angle)])
    return points


def hand_at(wrist: np.ndarray) -> np.ndarray:
    """Return [21, 3], pixels: a hand whose root is 3 pixels right of a wrist."""
    steps = np.arange(21)
    return np.column_stack([wrist[0] + 3 + steps, wrist[1] + 2 * steps, np.ones(21)])


def posed(bodies: list[np.ndarray], height: int = 500, width: int = 600, *, hands: bool = True) -> retarget.Posed:
    size = np.array([width, height, 1.0])
    found = np.array(bodies)
    left, right = (np.array([hand_at(each[row]) for each in found]) / size for row in (7, 4))
    if not hands:
        left, right = left * 0, right * 0
    parts = (found / size, left, right, np.zeros((len(found), 69, 3)))
    return retarget.Posed(Meta(*(each.astype(np.float32) for each in parts)), height, width)


def lengths(meta: Meta, height: int, width: int) -> np.ndarray:
    points = meta.body[..., :2] * (width, height)
    ends = np.array(LIMBS)
    return np.linalg.norm(points[:, ends[:, 0]] - points[:, ends[:, 1]], axis=-1)


@pytest.mark.parametrize(("height", "width"), [(500, 600), (900, 500), (400, 900)])
@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.6, 1.4), (1.3, 0.8)])
def test_bones_are_the_references_on_its_canvas(height: int, width: int, factors: tuple[float, float]) -> None:
    """Limbs and head of other proportions (a chibi has short legs and a large head); any pair of aspect ratios."""
    bones = BONES * np.where(np.isin(np.arange(19), range(12, 17)), factors[1], factors[0])
    turned = STANDING + np.where(np.isin(np.arange(19), (2, 3)), -60, 0)
    driver = posed([body(angles=STANDING + 0.2 * t * (turned - STANDING)) for t in range(6)])
    reference = posed([body(bones, neck=(width / 2, 150.0))], height, width)
    made = retarget.retarget(driver, reference)
    shown = reference.meta.body[0, :, 1] <= 1  # ankles may lie below the image: nobody knows those calves
    known = shown[np.array(LIMBS)].all(axis=1)
    np.testing.assert_allclose(lengths(made, height, width)[:, known], np.tile(bones[known], (6, 1)), rtol=0.01)
    laid = made.body[0, shown, :2], reference.meta.body[0, shown, :2]
    np.testing.assert_allclose(*laid, atol=0.01)  # the same pose: laid over it
    for hand, wrist in ((made.left_hand, 7), (made.right_hand, 4)):
        np.testing.assert_allclose(hand[:, 0, :2], made.body[:, wrist, :2], atol=1e-6)


def test_a_bone_that_points_at_the_camera_in_the_first_frame_is_not_taken_for_short() -> None:
    """Upstream makes the forearms three times too long for the whole clip."""
    short = BONES.copy()
    short[[3, 5]] /= 3
    driver = posed([body(short), *[body() for _ in range(5)]])
    reference = posed([body()])
    assert lengths(retarget.retarget(driver, reference, "official"), 500, 600)[5, 3] == pytest.approx(135, abs=1)
    assert lengths(retarget.retarget(driver, reference), 500, 600)[5, 3] == pytest.approx(45, abs=1)


def test_points_that_were_not_seen_do_not_make_bones() -> None:
    """The reference's legs lie outside its image, where a detector guesses: they get a human's share of its trunk."""
    guessed = body(BONES * 1.2)
    guessed[[9, 10, 12, 13, 18, 19], :2] += (150, -200)
    guessed[[9, 10, 12, 13, 18, 19], 2] = 0.05
    made = retarget.retarget(posed([body()] * 3), posed([guessed]))
    expected = BONES * 1.2
    expected[[7, 8, 10, 11]] = 0.85 * expected[6]
    np.testing.assert_allclose(lengths(made, 500, 600)[0], expected, rtol=0.02)


def test_exchanged_hands_hang_on_their_own_wrists() -> None:
    driver = posed([body()] * 2)
    swapped = driver._replace(
        meta=driver.meta._replace(left_hand=driver.meta.right_hand, right_hand=driver.meta.left_hand)
    )
    made = [retarget.retarget(each, posed([body(BONES * 1.3)])) for each in (driver, swapped)]
    np.testing.assert_allclose(made[0].left_hand, made[1].left_hand, atol=1e-6)
    np.testing.assert_allclose(made[0].right_hand, made[1].right_hand, atol=1e-6)


def test_the_body_moves_as_far_as_its_size_asks_and_never_jumps() -> None:
    """The driver walks 20 pixels a frame; a reference of half the size walks 10; frames without a person stay empty."""
    driver = posed([body(neck=(150 + 20.0 * t, 150)) for t in range(5)])
    driver.meta.body[2, :, 2] = 0
    made = retarget.retarget(driver, posed([body(BONES / 2)]))
    np.testing.assert_allclose(np.diff(made.body[:, 1, 0] * 600), 10, atol=0.1)
    assert not made.body[2, :, 2].any()


def test_edited_images_tell_the_bones_where_the_reference_hides_them() -> None:
    """The reference sits with its thighs towards the camera; in its edit it stands, drawn half as large."""
    sitting, bones = BONES.copy(), BONES * 0.8
    sitting[[7, 10]] *= 0.3
    edited = retarget.Edited(posed([body()]), posed([body(bones / 2)]))
    reference = posed([body(sitting * 0.8)])
    made = retarget.retarget(posed([body()] * 3), reference, edited=edited)
    np.testing.assert_allclose(lengths(made, 500, 600)[0, [6, 7, 8, 12]], bones[[6, 7, 8, 12]], rtol=0.12)


@pytest.mark.parametrize("method", ["official", "wanlab"])
def test_nothing_that_is_seen_is_no_error(method: retarget.Method) -> None:
    empty = posed([body() * 0] * 2, hands=False)
    for driver, reference in ((empty, posed([body()])), (posed([body()] * 2), posed([body() * 0], hands=False))):
        made = retarget.retarget(driver, reference, method)
        assert np.isfinite(made.body).all()


def test_keypoints_are_those_that_are_drawn() -> None:
    made = retarget.retarget(posed([body()] * 2), posed([body()]))
    points = retarget.to_keypoints(made, 500, 600)
    assert points.shape == (2, 133, 3)
    np.testing.assert_allclose(points[0, 5, :2], made.body[0, 5, :2] * (600, 500), atol=1e-3)  # left shoulder
    np.testing.assert_allclose(points[0, 17, :2], made.body[0, 18, :2] * (600, 500), atol=1e-3)  # left toe
    np.testing.assert_allclose(points[1, 91, :2], made.left_hand[1, 0, :2] * (600, 500), atol=1e-3)
    assert not points[:, 23:91, 2].any()
