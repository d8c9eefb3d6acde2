"""Faults planted into a smooth motion are found where they were planted, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from wanlab.pose import corrections, faults, wholebody

FRAMES = 40
PARTS = list(wholebody.PARTS)


@pytest.fixture
def points() -> np.ndarray:
    """Return a person 200 pixels high who walks and waves fast: the left wrist goes up to a tenth of the person a frame."""
    rng = np.random.default_rng(1)
    shape = rng.uniform((0, 0), (80, 200), (133, 2))
    shape[0], shape[16] = (40, 0), (40, 200)
    shape[[91, 112]] = shape[[9, 10]] + 1  # each hand begins at its wrist
    where = shape + np.arange(FRAMES)[:, None, None] * (2.0, 0.0)
    turn = np.arange(FRAMES) * 0.4
    swing = 50 * np.stack([np.cos(turn), np.sin(turn)], axis=1)  # 20 pixels a frame
    where[:, [9, *wholebody.PARTS["left hand"]]] += swing[:, None]
    return np.concatenate([where, np.full((FRAMES, 133, 1), 0.9)], axis=2).astype(np.float32)


def test_confidence_is_the_mean_score_of_a_part(points: np.ndarray) -> None:
    points[5, 91:112, 2] = 0.3
    found = faults.confidence(points)
    assert found.shape == (len(PARTS), FRAMES)
    assert found[PARTS.index("left hand"), 5] == pytest.approx(0.3)
    assert found[PARTS.index("right hand"), 5] == pytest.approx(0.9)


def test_steady_motion_has_no_fault_however_fast(points: np.ndarray) -> None:
    assert faults.review(points).faults == []
    assert np.linalg.norm(np.diff(points[:, 9, :2], axis=0), axis=1).max() > faults.LEAST_STEP * 200


def test_a_joint_that_is_usually_seen_is_missing_where_it_is_not(points: np.ndarray) -> None:
    points[10:13, 10, 2] = 0.4
    points[15:, 16, 2] = 0  # seen in 15 of 40 frames
    found = faults.missing(points)
    assert {(int(t), int(k)) for t, k in np.argwhere(found)} == {(10, 10), (11, 10), (12, 10)}
    assert faults.review(points).faults == [faults.Fault(10, 12, "right wrist missing", 0.5, "right arm")]


def test_a_joint_of_few_frames_is_missing_between_them(points: np.ndarray) -> None:
    points[:, 16, 2] = 0
    points[[4, 8, 30], 16, 2] = 0.9  # 3 of 40 frames, and a gap that is longer than a second
    assert {(int(t), int(k)) for t, k in np.argwhere(faults.missing(points))} == {(5, 16), (6, 16), (7, 16)}


def test_a_jump_is_found_where_it_begins_and_where_it_ends(points: np.ndarray) -> None:
    points[20:25, 13, 1] -= 30  # 15 % of the person
    found = faults.jumping(points)
    assert {(int(t), int(k)) for t, k in np.argwhere(found)} == {(20, 13), (25, 13)}
    assert [(f.first, f.last, f.reason) for f in faults.review(points).faults] == [
        (20, 20, "left knee jumping"),
        (25, 25, "left knee jumping"),
    ]


def test_swapped_sides_are_found_for_what_they_are_and_are_no_jumps(points: np.ndarray) -> None:
    found = faults.review(corrections.apply(points, [corrections.SwapHands(20, 24)])).faults
    assert [(f.first, f.last, f.reason) for f in found] == [
        (20, 24, "left wrist, right wrist, left hand, right hand swapped, left and right")
    ]


def test_a_cut_is_no_jump(points: np.ndarray) -> None:
    points[17:, :, 0] += 120
    assert faults.jumping(points)[17].all()
    assert not faults.jumping(points, cuts=[17]).any()


def test_the_worst_comes_first(points: np.ndarray) -> None:
    points[3, 10, 2] = 0
    points[8:10, :, 2] = 0
    points[30, [*wholebody.PARTS["left leg"], *wholebody.PARTS["left foot"]], 2] = 0
    found = faults.review(points, no_face=[8, 9, 35]).faults
    assert [(f.first, f.last, f.reason) for f in found] == [
        (8, 9, "no person"),
        (30, 30, "left leg, left foot missing"),
        (35, 35, "no usable face"),
        (3, 3, "right wrist missing"),
    ]


def test_the_timeline_s_last_row_is_the_face_crop_s(points: np.ndarray) -> None:
    points[6, 91:112, 2] = 0
    sure, lost, jumps, _ = faults.review(points, no_face=[4])
    assert sure.shape == lost.shape == jumps.shape == (len(PARTS) + 1, FRAMES)
    assert {(int(row), int(t)) for row, t in np.argwhere(lost)} == {(PARTS.index("left hand"), 6), (len(PARTS), 4)}
    assert (sure[-1] == (np.arange(FRAMES) != 4)).all()
    assert not jumps.any()


def test_what_was_hidden_on_purpose_is_not_missing(points: np.ndarray) -> None:
    points[10, 112:133, 2] = 0
    entries = [corrections.Hide("left hand", 4, 6), corrections.Hide("face", 8, 8)]
    hidden = corrections.hidden(entries, FRAMES)
    assert {(int(t), int(k)) for t, k in np.argwhere(hidden)} == {(t, k) for t in (4, 5, 6) for k in range(91, 112)} | {(8, k) for k in range(23, 91)}  # fmt: skip
    found = faults.review(corrections.apply(points, entries), [8], (), hidden).faults
    assert [(fault.first, fault.reason) for fault in found] == [(10, "right hand missing")]


def test_a_median_passes_over_what_is_unknown() -> None:
    values = np.random.default_rng(0).normal(size=(20, 9)).astype(np.float32)
    values[np.random.default_rng(1).random(values.shape) < 0.4] = np.nan
    values[3] = np.nan
    known = np.delete(np.arange(20), 3)
    np.testing.assert_allclose(faults._median(values)[known], np.nanmedian(values[known], axis=1), rtol=1e-6)
    assert np.isnan(faults._median(values)[3])
