"""Views of a mask and tables: the pixels and cells that they must show."""

from __future__ import annotations

import re
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from wanlab import media, viz
from wanlab.pose import faults
from wanlab.results import importance
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
    shown = viz.sortable(numbers.assign(run=["a_1", "out of <memory>", "c"]))
    row = '<tr data-number="2"><td data-value="2">2</td><td class="" data-value="5">5</td><td class="" data-value="b">b</td>'
    assert f'{row}<td class="" data-value="">–</td>' in shown
    assert ">out of &lt;memory&gt;</td></tr>" in shown
    assert '<td class="best" data-value="30.0">30</td>' in shown
    assert ('<th data-better="higher"' in shown, shown.count('data-better="lower"')) == (True, 5)
    places, labels = plots._places(numbers["mask_chain"])
    assert (places.tolist(), labels) == ([0, 1, 1], ["a", "b"])


def test_axes_do_not_zoom_into_noise_and_lines_join_what_differs_in_one_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = pd.DataFrame(
        {"shift": [3, 5, 3, 5], "seed": [1, 1, 2, 2], "ssim": [0.9807, 0.981, 0.9807, 0.9808], "seconds": [4.0] * 4},
        index=[1, 2, 3, 4],
    )
    figures = []
    monkeypatch.setattr(plots, "as_image", lambda figure, alt: figures.append(figure))
    viz.metric_plots(numbers, ["shift", "seed"])
    viz.time_against_metrics(numbers)
    over_shift, over_seed = figures[0].axes[:2]
    low, high = over_shift.get_ylim()
    assert 0.1 * (high - low) > 0.0003
    assert low < 0.9807
    assert high > 0.981
    lines = [sorted(zip(*line.get_data(), strict=True)) for line in over_shift.lines]
    assert lines == [[(3, 0.9807), (5, 0.981)], [(3, 0.9807), (5, 0.9808)]]
    assert len(over_seed.lines) == 2
    assert figures[1].axes[0].get_xlim()[0] == 0


def test_a_drawing_has_the_ink_of_its_page() -> None:
    drawn = viz.keypoint_confidence(np.ones((4, 133, 3), np.float32), Fraction(8), no_person=[2])
    assert drawn is not None
    shown = drawn._repr_mimebundle_()["text/html"]
    assert 'role="img" aria-label="Mean keypoint score of each part over time"' in shown
    assert "currentColor" in shown
    assert {*re.findall(r"https?://[^\"]+", shown)} == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"#000000|#ffffff|<style|<metadata|<\?xml", shown)


def test_what_mattered_most_is_said_and_noise_is_called_noise() -> None:
    values = {
        "psnr": [30.0, 33.0, 30.1, 33.1],
        "ssim": [0.9807, 0.981, 0.9806, 0.9809],
        "flicker": [1.0, 1.0, 0.5, 0.5],
    }
    numbers = pd.DataFrame({"shift": [3, 5, 3, 5], "seed": [1, 1, 2, 2], **values})
    effects = {name: importance.effects(numbers, ["shift", "seed"], name) for name in values}
    shown = viz.importance_table(effects)
    assert shown is not None
    rows = dict(re.findall(r"<tr><td [^>]*>(.*?)</td><td [^>]*>(.*?)</td>", shown.data))
    assert "<b>shift</b>" in rows["psnr"]
    assert rows["ssim"] == "<i>none: seeds make a larger difference</i>"
    assert "<b>seed</b>" in rows["flicker"]
    assert "100%" in rows["flicker"]
    assert "seed 2: 0.5 · 1: 1" in shown.data  # less flicker is better
    assert viz.importance_table({}) is None


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


def test_a_pose_s_timeline_marks_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.full((60, 133, 3), 0.9, np.float32)
    points[20:30, 91:112, 2] = 0
    figures = []
    monkeypatch.setattr(plots, "as_image", lambda figure, alt: figures.append(figure))
    viz.pose_timeline(faults.review(points))
    axis = figures[0].axes[0]
    names = [each.get_text() for each in axis.get_yticklabels()]
    lost = next(each for each in axis.collections if to_hex(each.get_facecolor()[0]) == viz.MISSING_COLOUR)
    boxes = [path.get_extents() for path in lost.get_paths()]
    assert (min(box.x0 for box in boxes), max(box.x1 for box in boxes)) == (19.5, 29.5)  # the whole gap
    assert {names[int(np.floor(box.y0 + 0.5))] for box in boxes} == {"left hand"}
    assert "<td>20 to 29</td><td>left hand missing</td>" in viz.pose_faults(faults.review(points)).data
    assert "<td>none</td>" in viz.pose_faults(faults.review(points[:10])).data
