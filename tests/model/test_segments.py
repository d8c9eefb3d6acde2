"""The temporal plan beyond the golden cases: clips of any length, seams, words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from wanlab.mask import known_pixels, pack_mask
from wanlab.model import segments


@pytest.mark.parametrize("overlap", [1, 5])
@pytest.mark.parametrize("num_frames", [1, 2, 5, 6, 16, 17, 18, 33, 34, 65, 100])
def test_every_frame_is_made_once(num_frames: int, overlap: int) -> None:
    plan = segments.make_plan(num_frames, 17, overlap)
    made = [t for n, (start, end) in enumerate(plan.segments) for t in range(start + (overlap if n else 0), end)]
    assert made == list(range(len(plan.indices)))
    assert plan.indices[:num_frames].tolist() == list(range(num_frames))
    assert plan.indices.max() < num_frames
    assert plan.num_wasted == len(plan.indices) - num_frames
    assert len(plan.segments) == 1 or plan.segments[-1][0] + overlap < num_frames  # no segment is padding only


def test_padding_runs_back_and_forth_without_doubling_the_ends() -> None:
    assert segments.padding_indices(3, 8).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert segments.padding_indices(1, 3).tolist() == [0, 0, 0]


def test_the_plan_names_its_seams_and_lengths_without_waste() -> None:
    plan = segments.make_plan(70, 17, 1)
    assert plan.seams == (17, 33, 49, 65)
    assert plan.num_wasted == 11
    assert "a clip of 65 or 81 frames wastes none" in plan.describe()
    assert segments.make_plan(65, 17, 1).describe().endswith("no frame is wasted")


@pytest.mark.parametrize(("length", "overlap"), [(16, 1), (5, 5), (1, 1)])
def test_impossible_segments_are_refused(length: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="segment_frame_length must be 4n \\+ 1"):
        segments.make_plan(20, length, overlap)


def test_masks_are_sampled_at_the_first_pixel_of_a_cell() -> None:
    mask = np.zeros((5, 16, 16), bool)
    mask[:, 0, 8] = True  # the corner of cell (0, 1)
    mask[:, 9, 1] = True  # no corner
    known = known_pixels(5, 1, 2, 2, mask)
    assert known[0].tolist() == [[1, 1], [1, 1]]  # taken over
    assert known[1].tolist() == [[1, 0], [1, 1]]
    packed = pack_mask(known)
    assert packed.shape == (4, 2, 2, 2)
    assert packed[:, 0].min() == 1
    assert packed[:, 1, 0, 1].max() == 0


@pytest.mark.parametrize(("limit", "overlap"), [(77, 1), (77, 5), (81, 1), (17, 5), (9, 5), (5, 1)])
def test_a_fitted_plan_wastes_three_frames_at_most(limit: int, overlap: int) -> None:
    for num_frames in range(5, 1001):
        plan = segments.fit_plan(num_frames, limit, overlap)
        lengths = [end - start for start, end in plan.segments]
        assert 0 <= plan.num_wasted <= 3
        assert all(length % 4 == 1 and 5 <= length <= limit for length in lengths)
        assert len(lengths) == 1 or min(lengths) > overlap
        assert max(lengths) - min(lengths) <= 4
        assert max(lengths) == plan.segment_length
        assert len(lengths) == len(segments.make_plan(num_frames, limit, overlap).segments)  # never more than needed
        made = [t for n, (start, end) in enumerate(plan.segments) for t in range(start + (overlap if n else 0), end)]
        assert made == list(range(len(plan.indices)))
        assert plan.indices[:num_frames].tolist() == list(range(num_frames))
        assert plan.seams == tuple(start + overlap for start, _ in plan.segments[1:])


def test_a_fitted_plan_in_words() -> None:
    plan = segments.fit_plan(155, 81, 1)
    assert [end - start for start, end in plan.segments] == [81, 77]
    assert plan.describe().startswith("155 frames in 2 segments of 81 or 77 frames")
    assert plan.describe().endswith("2 frames are computed only because a segment has 4n + 1, and cut off")
    assert [end - start for start, end in segments.fit_plan(155, 77, 1).segments] == [53, 53, 53]
    assert segments.make_plan(155, 77, 1).num_wasted == 229 - 155
    assert [end - start for start, end in segments.fit_plan(2, 77, 5).segments] == [5]
    with pytest.raises(ValueError, match="more than the 5 frames taken over, got 5; use 9"):
        segments.fit_plan(100, 5, 5)


@pytest.mark.parametrize("make", [segments.make_plan, segments.fit_plan])
@pytest.mark.parametrize("overlap", [1, 5])
def test_a_lead_in_comes_first_and_is_not_shown(make: Callable[..., segments.SegmentPlan], overlap: int) -> None:
    for num_frames in range(5, 60):
        plan = make(num_frames, 17, overlap, overlap)
        shown = [
            t
            for n, (start, _) in enumerate(plan.segments)
            for t in range(start + plan.taken(n), start + plan.taken(n) + plan.shown(n))
        ]
        assert shown == list(range(overlap, overlap + num_frames))
        assert plan.num_wasted == plan.segments[-1][1] - overlap - num_frames
        assert all(0 < seam < num_frames for seam in plan.seams)
        assert len(plan.seams) == len(plan.segments) - 1
        assert f"the first {overlap} from the earlier result" in plan.describe()
