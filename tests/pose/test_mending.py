"""A listed fault is mended over all frames in which it is, wrist and hand together; what cannot be is left."""

from __future__ import annotations

import numpy as np
import pytest
from pose.test_cleaning import walking

from wanlab.pose import corrections, faults, mending, wholebody
from wanlab.pose.corrections import Interpolate, SwapHands, SwapSides

LEFT_HAND = list(wholebody.PARTS["left hand"])


def mended(points: np.ndarray, fault: faults.Fault, **more: object) -> tuple[tuple[corrections.Entry, ...], np.ndarray]:
    entries = mending.mend(points, fault.first, fault.last, **more)
    return entries, corrections.apply(points, entries, more.get("cuts", ()))


def test_a_hand_is_mended_with_its_wrist_over_the_whole_stretch() -> None:
    """The list tells of frames 10 to 12 (the hand alone), 9 and 13 (the wrist too): one entry mends all of them."""
    true = walking()
    points = true.copy()
    points[9:14, LEFT_HAND, 2] = 0
    points[[9, 13], 9, 2] = 0
    found = faults.review(points).faults
    assert [(f.first, f.last) for f in found] == [(9, 9), (13, 13), (10, 12)]
    for fault in found:
        entries, after = mended(points, fault)
        assert Interpolate("left hand", 9, 13) in entries
        if fault.first != 10:
            assert entries[-1] == Interpolate("left hand", 9, 13)  # after the wrist, on which it hangs
            assert faults.review(after).faults == []
            np.testing.assert_allclose(after[..., :2], true[..., :2], atol=1e-3)


def test_what_jumps_away_is_brought_back_from_either_end() -> None:
    true = walking()
    points = true.copy()
    points[9:12, [9, *LEFT_HAND], :2] += (60, -40)
    for fault in faults.review(points).faults:
        entries, after = mended(points, fault)
        assert entries == (Interpolate(9, 9, 11), Interpolate("left hand", 9, 11))
        assert faults.review(after).faults == []
        np.testing.assert_allclose(after[..., :2], true[..., :2], atol=1e-3)


@pytest.mark.parametrize("swap", [SwapSides("body", 6, 8), SwapSides("legs", 6, 8), SwapHands(6, 8)])
def test_swapped_sides_are_changed_back(swap: corrections.Entry) -> None:
    true = walking()
    points = corrections.apply(true, [swap])
    (fault,) = faults.review(points).faults
    assert (fault.first, fault.last) == (6, 8)
    entries, after = mended(points, fault)
    assert entries == (swap,)
    np.testing.assert_array_equal(after, true)


def test_a_short_absence_is_filled_and_a_long_one_left() -> None:
    true = walking(60)
    points = true.copy()
    points[10:14, :, 2] = 0
    points[30:55, :, 2] = 0
    short, long = faults.review(points, no_face=[*range(10, 14), *range(30, 55)]).faults
    entries, after = mended(points, short, no_face=range(10, 14))
    assert {(entry.first, entry.last) for entry in entries} == {(10, 13)}
    np.testing.assert_allclose(after[10:14, :, :2], true[10:14, :, :2], atol=1e-3)
    assert mended(points, long)[0] == ()


def test_nothing_is_filled_across_a_cut_and_what_is_hidden_stays_hidden() -> None:
    points = walking()
    points[6:10, LEFT_HAND, 2] = 0
    points[6:10, 15, 2] = 0
    hidden = corrections.hidden([corrections.Hide(15, 6, 9)], len(points))
    fault = faults.review(points, cuts=[8], hidden=hidden).faults[0]
    entries, after = mended(points, fault, cuts=[8], hidden=hidden)
    assert {(entry.part, entry.first, entry.last) for entry in entries} == {("left hand", 6, 7), ("left hand", 8, 9)}
    np.testing.assert_array_equal(
        after[6:8, LEFT_HAND] - after[6:8, [9]], (after[[5, 5]][:, LEFT_HAND] - after[[5, 5]][:, [9]])
    )


def test_a_joint_that_moved_and_stays_is_not_mended() -> None:
    points = walking()
    points[12:, 9, :2] += (60, -40)
    points[12:, LEFT_HAND, :2] += (60, -40)
    fault = faults.review(points).faults[0]
    assert mended(points, fault)[0] == ()


def test_a_missing_face_is_filled() -> None:
    points = walking()
    points[7:9, wholebody.FACE, 2] = 0.1
    fault = faults.review(points, no_face=[7, 8]).faults[0]
    entries, after = mended(points, fault, no_face=[7, 8])
    assert entries == (Interpolate("face", 7, 8),)
    np.testing.assert_allclose(after[7:9, wholebody.FACE, :2], walking()[7:9, wholebody.FACE, :2], atol=1e-3)
