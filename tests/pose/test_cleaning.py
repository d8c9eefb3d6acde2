"""Cleaning of poses: faults put into a smooth motion are found, named and mended, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from wanlab.pose import cleaning, corrections, wholebody

SHAPE = np.array(
    [(50, 10), (55, 5), (45, 5), (60, 8), (40, 8), (75, 40), (25, 40), (90, 80), (10, 80), (95, 110), (5, 110), (65, 110),
     (35, 110), (65, 155), (35, 155), (65, 200), (35, 200), (70, 205), (72, 205), (62, 203), (30, 205), (28, 205), (38, 203)],
    float,
)  # fmt: skip


def walking(frames: int = 24) -> np.ndarray:
    """Return [T, 133, 3]: a body that moves 2 pixels a frame, hands on its wrists, a face on its nose."""
    points = np.zeros((frames, 133, 3), np.float32)
    points[..., 2] = 0.9
    points[:, :23, :2] = SHAPE
    for rows, wrist in zip(wholebody.HANDS, (9, 10), strict=True):
        points[:, rows, :2] = SHAPE[wrist] + np.arange(21)[:, None] * (0.5, 0.8)
    points[:, wholebody.FACE, :2] = SHAPE[0] + np.arange(68)[:, None] * (0.2, 0.1)
    points[..., 0] += 100 + 2 * np.arange(frames)[:, None]
    return points


def test_a_sound_pose_is_left_alone() -> None:
    assert cleaning.propose(walking(), "gaps:6,jumps,swaps,hands:0.6,body:0.5") == ()


def test_short_gaps_are_filled_and_long_ones_and_cuts_left() -> None:
    true = walking()
    points = true.copy()
    points[5:8, 9] = 0
    points[5:8, wholebody.HANDS[0]] = 0
    points[10:20, 10, 2] = 0.1
    entries = cleaning.propose(points, "gaps:4")
    assert set(entries) == {corrections.Interpolate(9, 5, 7), corrections.Interpolate("left hand", 5, 7)}
    mended = corrections.apply(points, entries)
    np.testing.assert_allclose(mended[5:8, 9, :2], true[5:8, 9, :2], atol=1e-3)
    np.testing.assert_allclose(mended[5:8, 91:112, :2], true[5:8, 91:112, :2], atol=1e-3)
    assert cleaning.propose(points, "gaps:4", cuts=[6]) == ()


def test_a_joint_that_jumps_away_and_back_is_mended_and_one_that_moved_is_not() -> None:
    true = walking()
    points = true.copy()
    points[9:11, 15, :2] += (60, -40)
    points[12:, 7, :2] += (50, 0)  # it stays there
    entries = cleaning.propose(points, "jumps")
    assert entries == (corrections.Interpolate(15, 9, 10),)
    np.testing.assert_allclose(corrections.apply(points, entries)[:, 15, :2], true[:, 15, :2], atol=1e-3)


@pytest.mark.parametrize("part", ["arms", "legs", "body"])
def test_exchanged_sides_are_changed_back(part: str) -> None:
    true = walking()
    points = corrections.apply(true, [corrections.SwapSides(part, 6, 8)])
    entries = cleaning.propose(points, "swaps")
    assert entries == (corrections.SwapSides(part, 6, 8),)
    np.testing.assert_array_equal(corrections.apply(points, entries), true)
    assert cleaning.propose(points, "swaps", cuts=[7]) == ()


def test_parts_below_their_threshold_are_hidden() -> None:
    points = walking()
    points[3:5, wholebody.HANDS[1], 2] = 0.55
    points[7, 13, 2] = 0.55
    assert cleaning.propose(points, "hands:0.6") == (corrections.Hide("right hand", 3, 4),)
    assert cleaning.propose(points, "body:0.6") == (corrections.Hide(13, 7, 7),)


@pytest.mark.parametrize("text", ["gap:4", "gaps", "gaps:0", "gaps:2.5", "hands:2", "jumps:3", "swaps:", "hands:x"])
def test_rules_that_there_are_not_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="pose_cleaning must be made of gaps:6"):
        cleaning.read(text)


def test_the_order_is_that_of_the_work_not_of_the_text() -> None:
    assert [name for name, _ in cleaning.read("gaps:6, hands:0.5,swaps,jumps")] == ["swaps", "jumps", "hands", "gaps"]
