"""Metrics on synthetics of known magnitude."""

from __future__ import annotations

import numpy as np
import pytest

from wanlab import mask
from wanlab.mask import metrics


def box(top: int, left: int, height: int, width: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    frame = np.zeros(size, bool)
    frame[top : top + height, left : left + width] = True
    return frame


def disc(radius: float, x: float = 64, y: float = 48, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


NONE = np.zeros((96, 128), bool)


def test_area_is_the_share_of_the_picture() -> None:
    np.testing.assert_allclose(metrics.area(np.stack([box(0, 0, 48, 128), box(0, 0, 24, 32), NONE])), [0.5, 0.0625, 0])


def test_iou_of_shifted_boxes() -> None:
    base = np.stack([box(10, 10, 40, 40)] * 4 + [NONE, NONE])
    moved = np.stack([box(10, 10 + d, 40, 40) for d in (0, 10, 20, 40)] + [NONE, box(0, 0, 5, 5)])
    np.testing.assert_allclose(metrics.iou(base, moved), [1, 30 / 50, 20 / 60, 0, 1, 0])


@pytest.mark.parametrize(("grown", "expected"), [(1, 1.0), (2, 1.0), (4, 0.0)])
def test_boundary_f_is_all_or_nothing_around_the_tolerance(grown: int, expected: float) -> None:
    """An outline that runs `grown` pixels away all around counts whole within 2.5 pixels, and not at all beyond."""
    ours, theirs = box(30, 30, 30, 50)[None], box(30 - grown, 30 - grown, 30 + 2 * grown, 50 + 2 * grown)[None]
    assert metrics.boundary_f(ours, theirs, 2.5)[0] == pytest.approx(expected, abs=0.02)


def test_boundary_f_of_an_outline_half_of_which_is_off() -> None:
    """The right half is 20 pixels too long: the left side and half of top and bottom agree."""
    ours, theirs = box(20, 20, 40, 40)[None], box(20, 20, 40, 60)[None]
    agree_ours, agree_theirs = (40 + 2 * 40) / (4 * 40), (40 + 2 * 40) / (2 * 40 + 2 * 60)
    expected = 2 * agree_ours * agree_theirs / (agree_ours + agree_theirs)
    assert metrics.boundary_f(ours, theirs, 1)[0] == pytest.approx(expected, rel=0.1)


def test_boundary_f_of_empty_masks() -> None:
    assert metrics.boundary_f(NONE[None], NONE[None])[0] == 1
    assert metrics.boundary_f(NONE[None], disc(10)[None])[0] == 0


def test_boundary_f_does_not_count_the_picture_s_border() -> None:
    """Cut off by the border, the same part of the outline is left."""
    np.testing.assert_array_equal(metrics._outline(np.ones((5, 6), bool)), np.zeros((5, 6), bool))


def test_change_of_a_box_that_moves() -> None:
    moving = np.stack([box(10, 10 + 4 * t, 40, 40) for t in range(4)])
    np.testing.assert_allclose(metrics.change(moving), [0, *[1 - 36 / 44] * 3])


def test_change_of_flicker() -> None:
    flickering = np.stack([disc(30 if t % 2 else 29) for t in range(6)])
    assert metrics.change(flickering)[1:].mean() == pytest.approx(1 - (29 / 30) ** 2, rel=0.1)


def test_leak_is_what_the_lattice_would_keep() -> None:
    """A box begins 3 pixels after a cell's first row and column: those cells' first pixel is kept, the rest is black."""
    leaking = metrics.leak(box(3, 3, 40, 40)[None])[0]
    expected = box(3, 3, 40, 40)
    expected[8:48, 8:48] = False
    np.testing.assert_array_equal(leaking, expected)
    assert metrics.leak_share(box(3, 3, 40, 40)[None])[0] == pytest.approx(expected.sum() / 1600)


@pytest.mark.parametrize("size", [8, 16])
def test_a_snapped_mask_leaks_nothing(size: int) -> None:
    ragged = np.stack([disc(r, 50 + r, 40 + r / 2) for r in (12.0, 17.5, 25.0)])
    assert metrics.leak_share(ragged).min() > 0.01
    assert not metrics.leak(mask.snap(ragged, size)).any()


def test_nothing_leaks_from_nothing() -> None:
    assert metrics.leak_share(NONE[None])[0] == 0
