"""Masks by construction: shapes whose result can be counted."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from wanlab import mask


def dot(frames: int = 1, height: int = 64, width: int = 80, at: tuple[int, int] = (30, 40)) -> np.ndarray:
    out = np.zeros((frames, height, width), bool)
    out[:, at[0], at[1]] = True
    return out


@pytest.mark.parametrize("radius", [1, 3, 10])
def test_grow_is_a_diamond_or_a_square(radius: int) -> None:
    assert mask.grow(dot(), radius).sum() == 2 * radius * (radius + 1) + 1
    assert mask.grow(dot(), radius, tapered=False).sum() == (2 * radius + 1) ** 2
    np.testing.assert_array_equal(mask.grow(mask.grow(dot(), radius), -radius), dot())


def test_shrinking_leaves_the_border_of_the_picture_alone() -> None:
    half = np.zeros((1, 20, 20), bool)
    half[:, :, :10] = True
    assert mask.grow(half, -3)[0].sum(axis=1).tolist() == [7] * 20
    assert mask.grow(np.ones((1, 5, 5), bool), -2).all()


def test_growth_per_frame_and_empty_frames() -> None:
    grown = mask.grow(dot(4), 0, per_frame=2)
    assert [int(frame.sum()) for frame in grown] == [1, 13, 41, 85]
    assert not mask.grow(np.zeros((2, 8, 8), bool), 3).any()


def test_soft_masks_take_the_largest_value_around() -> None:
    soft = np.zeros((1, 9, 9), np.float32)
    soft[0, 4, 4] = 0.4
    grown = mask.grow(soft, 2)
    assert grown.dtype == np.float32
    assert (grown == np.float32(0.4)).sum() == 13


@pytest.mark.parametrize(("side", "times", "reach"), [(7, 3, 9), (3, 1, 1), (5, 2, 4)])
def test_dilate_reaches_as_upstream_s(side: int, times: int, reach: int) -> None:
    assert mask.dilate(dot(), side, times).sum() == (2 * reach + 1) ** 2
    np.testing.assert_array_equal(mask.dilate(dot(), side, 0), dot())


def test_cells_where_upstream_ends_with_an_error() -> None:
    assert not mask.cells(np.zeros((1, 10, 10), bool), 1, 1).any()
    np.testing.assert_array_equal(mask.cells(dot(), 1, 1), dot())  # one pixel
    thin = np.zeros((1, 20, 20), bool)
    thin[0, 5:15, 8] = thin[0, 5, 9] = True
    assert mask.cells(thin, 10, 20)[0].sum() == 10 * 2  # narrower than its cells: the box is filled


def test_blockify_gives_the_last_cell_the_rest() -> None:
    wide = np.zeros((1, 40, 120), bool)
    wide[0, 2, 10] = wide[0, 2, 109] = True  # a box of 100 columns and one row
    blocks = mask.blockify(wide, 32)[0, 2]
    assert np.flatnonzero(blocks).tolist() == [*range(10, 43), *range(76, 110)]  # cells of 33, 33 and 34 columns


@pytest.mark.parametrize("size", [8, 16])
def test_snap_leaves_no_cell_half_kept(size: int) -> None:
    random = np.random.default_rng(3).random((9, 50, 70)) > 0.995
    snapped = mask.snap(random, size)
    assert (snapped | random == snapped).all()
    for y in range(0, 50, size):
        for x in range(0, 70, size):
            cell = snapped[:, y : y + size, x : x + size].reshape(9, -1)
            assert (cell.all(axis=1) == cell.any(axis=1)).all()
            assert (cell.any(axis=1) == random[:, y : y + size, x : x + size].any(axis=(1, 2))).all()


def test_held_masks_are_one_per_latent() -> None:
    moving = np.zeros((9, 16, 160), bool)
    for t in range(9):
        moving[t, 0, t * 16] = True
    held = mask.snap(moving, 16, hold=True)
    assert [int(frame.sum()) // 256 for frame in held] == [1, 4, 4, 4, 4, 4, 4, 4, 4]


def test_holes_largest_and_median() -> None:
    ring = np.zeros((1, 30, 30), bool)
    ring[0, 5:20, 5:20] = True
    ring[0, 8:17, 8:17] = False
    ring[0, 25:27, 25:27] = True
    assert mask.fill_holes(ring).sum() == 15 * 15 + 4
    assert mask.keep_largest(mask.fill_holes(ring)).sum() == 15 * 15
    flicker = np.repeat(dot(), 7, axis=0)
    flicker[3] = False
    np.testing.assert_array_equal(mask.median(flicker, 3), np.repeat(dot(), 7, axis=0))
    single = np.zeros((7, 4, 4), bool)
    single[3] = True
    assert not mask.median(single, 5).any()


def test_a_chain_is_its_steps() -> None:
    source = dot(3)
    np.testing.assert_array_equal(
        mask.apply_chain(source, "grow:10, blockify:32"), mask.blockify(mask.grow(source, 10), 32)
    )
    np.testing.assert_array_equal(
        mask.apply_chain(source, mask.UPSTREAM_CHAIN), mask.cells(mask.dilate(source, 7, 3), 1, 1)
    )
    np.testing.assert_array_equal(mask.apply_chain(source, ""), source)
    assert mask.upstream_chain() == mask.UPSTREAM_CHAIN
    assert mask.upstream_chain(iterations=0) == ""


@pytest.mark.parametrize("chain", ["", "grow:2", "hold:8", "median:5", "hold:8,median:7", "median:3,hold:8,hold:16"])
def test_a_stretch_of_a_chain_is_what_the_whole_chain_gives(chain: str) -> None:
    source = np.random.default_rng(0).random((14, 24, 24)) > 0.7
    whole = mask.apply_chain(source, chain)
    for first in range(14):
        for last in range(first, 14):
            found = mask.apply_chain_between(source, chain, first, last)
            np.testing.assert_array_equal(found, whole[first : last + 1])


@pytest.mark.parametrize("chain", ["", "grow:2,blockify:4", "hold:8,median:7"])
def test_a_chain_of_packed_masks_is_the_chain(chain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wanlab.mask.chain.STRETCH", 4)
    source = np.random.default_rng(0).random((14, 24, 24)) > 0.7
    packed = mask.apply_chain_packed(mask.PackedMasks.of(source), chain)
    np.testing.assert_array_equal(packed[:], mask.apply_chain(source, chain))


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        ("gorw:10", "mask_chain must be made of grow:10, .*, got 'gorw:10'"),
        ("grow", "must have grow in the form grow:10, got 'grow'"),
        ("grow:ten", "must have grow in the form grow:10"),
        ("dilate:7", "in the form dilate:7x3"),
        ("cells:0x1", "with whole numbers from 1, got 'cells:0x1'"),
        ("median:4", "with an odd number of frames, got 'median:4'"),
        ("fill:3", "in the form fill"),
        (",".join(["grow:1"] * 33), "must have at most 32 steps, got 33"),
        ("median:257,median:259", "must look at most 256 frames back and ahead, got 257"),
    ],
)
def test_a_wrong_chain_is_explained(chain: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mask.parse_chain(chain)


def test_steps_that_reach_beyond_the_frame_cost_no_more() -> None:
    for chain in ("dilate:4096x4096", "dilate:4x4096", "snap:4096", "hold:4096", "square:4096"):
        assert mask.apply_chain(dot(5), chain).all(), chain
    np.testing.assert_array_equal(mask.dilate(dot(), 2, 4096), mask.dilate(dot(), 2, 100))  # up and left alone
    assert not mask.dilate(dot(), 2, 4096).all()


def test_a_median_counts_frames() -> None:
    source = np.random.default_rng(1).random((9, 6, 5)) > 0.5
    for frames in (1, 3, 7, 31):
        half = frames // 2
        padded = source[np.arange(-half, 9 + half).clip(0, 8)]
        windows = np.stack([padded[t : t + frames].sum(axis=0) > half for t in range(9)])
        np.testing.assert_array_equal(mask.median(source, frames), windows)


def test_every_verb_s_own_example_works() -> None:
    for verb in mask.VERBS.values():
        assert mask.apply_chain(dot(5), verb.usage).shape == (5, 64, 80)


def test_no_function_edits_its_input() -> None:
    source = np.random.default_rng(0).random((5, 40, 40)) > 0.9
    kept = source.copy()
    for verb in mask.VERBS.values():
        mask.apply_chain(source, verb.usage)
    np.testing.assert_array_equal(source, kept)


def test_masks_need_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, wanlab.mask; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
