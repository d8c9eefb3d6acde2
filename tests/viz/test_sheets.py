"""Views of a mask and tables: the pixels and cells that they must show."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wanlab import media, viz
from wanlab.pose import faults
from wanlab.viz import plots

FRAME = np.full((64, 96, 3), 200, np.uint8)
BASE, MORE = np.zeros((2, 64, 96), bool)
BASE[8:40, 8:40] = True
MORE[16:40, 12:60] = True


def test_overlay_tints_the_mask_only() -> None:
    shown = viz.overlay(FRAME, MORE)
    assert (shown[20, 30] == (200 + np.array(viz.MASK_COLOUR)) // 2).all()
    assert (shown[16, 30] == viz.MASK_COLOUR).all()  # the outline
    np.testing.assert_array_equal(shown[~MORE], FRAME[~MORE])


def test_difference_paints_more_and_less() -> None:
    shown = viz.difference(FRAME, MORE, BASE)
    np.testing.assert_array_equal((shown == viz.MORE_COLOUR).all(axis=-1), MORE & ~BASE)
    np.testing.assert_array_equal((shown == viz.LESS_COLOUR).all(axis=-1), BASE & ~MORE)


def test_leak_paints_what_the_lattice_keeps() -> None:
    expected = MORE.copy()
    expected[16:40, 16:64] = False  # 16 is a cell's first row; the columns 12 to 15 lie in one whose first is kept
    shown = viz.leak(FRAME, MORE)
    np.testing.assert_array_equal((shown == viz.LEAK_COLOUR).all(axis=-1), expected)


def test_background_is_black_inside() -> None:
    shown = viz.background(FRAME, MORE)
    assert not shown[MORE].any()
    np.testing.assert_array_equal(shown[~MORE], FRAME[~MORE])


def test_a_table_escapes_and_marks_the_worst_frame() -> None:
    numbers = {
        "<b>": {"area": np.array([0.5, 0.25]), "IoU": np.array([0.9, 0.4])},
        "base": {"area": np.array([0.5, 0.5]), "IoU": np.ones(2)},
    }
    shown = viz.mask_table(numbers, "base").data
    assert "<td>&lt;b&gt;</td><td>37.5%</td><td>0.650 (worst: 1)</td>" in shown
    assert "<td>base (base)</td><td>50.0%</td><td>1.000</td>" in shown
    assert viz.mask_table({}, "") is None
    assert viz.mask_curves({}, "") is None


@pytest.fixture
def clip(tmp_path: Path) -> media.Clip:
    frames = np.repeat(np.arange(20, 220, 10, dtype=np.uint8), 64 * 96 * 3).reshape(20, 64, 96, 3)
    media.write_video(tmp_path / "clip.mkv", frames, Fraction(16), lossless=True)
    return media.open_clip(tmp_path / "clip.mkv")


def test_marked_frames_are_in_the_contact_sheet(clip: media.Clip) -> None:
    shown = viz.contact_sheet({"clip": clip, "gone": None}, columns=3, marks={7: "no face"})
    assert "Frames 0, 7, 10, 19 of clip" in shown.alt


def test_mask_views_show_a_row_per_mask(clip: media.Clip) -> None:
    masks = {"a": np.stack([BASE] * 20), "b": np.stack([MORE] * 20)}
    for view, rows in ((viz.overlay, 2), (viz.difference, 1)):  # the base does not differ from itself
        shown = viz.mask_views(clip, masks, view, "a", columns=3)
        image = np.asarray(Image.open(BytesIO(shown.data)))
        assert image.shape[0] == pytest.approx(rows * viz.MASK_CELL * viz.DPI, rel=0.3)


def test_people_have_their_numbers_on_them(clip: media.Clip) -> None:
    boxes = np.zeros((2, 20, 4), np.float32)
    boxes[0, :], boxes[1, 7:] = (4, 8, 30, 60), (50, 8, 90, 60)
    shown = viz.people_sheet(clip, boxes, columns=3)
    assert shown is not None
    assert "Frames 0, 7, 10, 19 of people" in shown.alt
    assert viz.people_sheet(clip, boxes[:1]) is None
    assert viz.people_sheet(clip, None) is None


def test_pareto_keeps_what_no_other_beats() -> None:
    cost = np.array([4.0, 1.0, 2.0, 3.0, 2.0, 1.0])
    value = np.array([9.0, 1.0, 5.0, 4.0, 6.0, np.nan])
    assert viz.pareto(cost, value, higher_is_better=True).tolist() == [1, 4, 0]
    assert viz.pareto(cost, value, higher_is_better=False).tolist() == [1]


def test_plots_number_every_point_and_take_words_too() -> None:
    numbers = pd.DataFrame(
        {"shift": [3, 5, 3], "mask_chain": ["a", "b", "b"], "psnr": [30.0, None, 28.0], "seconds": [1.0, None, 2.0]},
        index=[1, 2, 3],
    )
    shown = viz.metric_plots(numbers, ["shift", "mask_chain"])
    assert shown is not None
    assert shown.alt == "psnr over shift, mask_chain"
    assert viz.time_against_metrics(numbers).alt == "Seconds against psnr"
    assert viz.metric_plots(numbers.drop(columns="psnr"), ["shift"]) is None
    shown = viz.number_table(numbers.assign(run=["a_1", "out of <memory>", "c"]).sort_values("shift", ascending=False))
    assert "<td>2</td><td>5</td><td>b</td><td>–</td><td>–</td></tr><tr><td colspan" in shown.data
    assert ">out of &lt;memory&gt;</td></tr><tr><td>1</td>" in shown.data  # right below its numbers
    assert ">a_1<" in shown.data  # whole, to be copied
    places, labels = plots._places(numbers["mask_chain"])
    assert (places.tolist(), labels) == ([0, 1, 1], ["a", "b"])


def test_the_frames_that_changed_are_shown_before_and_after(tmp_path: Path) -> None:
    frames = np.full((10, 32, 48, 3), 60, np.uint8)
    other = frames.copy()
    other[3, :4], other[7] = 200, 200
    for name, video in (("a", frames), ("b", other)):
        media.write_video(tmp_path / f"{name}.mkv", video, Fraction(16), lossless=True)
    before, after = (media.open_clip(tmp_path / f"{name}.mkv") for name in "ab")
    same = {"pose": before, "face": before}
    shown = viz.video_changes(before, same, {"pose": after, "face": before})
    assert shown is not None
    assert shown.alt == "Frames 3, 7 of driving, pose before, pose after"
    assert viz.video_changes(before, same, same) is None


def test_a_pose_s_timeline_marks_what_is_missing() -> None:
    points = np.full((60, 133, 3), 0.9, np.float32)
    whole = np.array(Image.open(BytesIO(viz.pose_timeline(faults.review(points)).data)).convert("RGB"))
    points[20:30, 91:112, 2] = 0
    gap = np.array(Image.open(BytesIO(viz.pose_timeline(faults.review(points)).data)).convert("RGB"))
    red = np.array([int(viz.MISSING_COLOUR[i : i + 2], 16) for i in (1, 3, 5)])
    found = np.argwhere((gap == red).all(axis=2) & ~(whole == red).all(axis=2))
    assert np.ptp(found[:, 1]) / (np.ptp(np.argwhere((gap != whole).any(axis=2))[:, 1]) + 1) > 0.95  # the whole gap
    assert "<td>20 to 29</td><td>left hand missing</td>" in viz.pose_faults(faults.review(points)).data
    assert "<td>none</td>" in viz.pose_faults(faults.review(points[:10])).data
