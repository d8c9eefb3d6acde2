"""Points files: the forms that PointsEditor stores, canvases of other sizes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wanlab import points
from wanlab.points import Click

CLIP = {"num_frames": 20, "height": 480, "width": 832}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "points.json"


STORE = {"positive": [{"x": 400.5, "y": 200}, {"x": 10, "y": 20}], "negative": [{"x": 90, "y": 300}]}
EXPECTED = (Click(0, 400.5, 200, True), Click(0, 10, 20, True), Click(0, 90, 300, False))


@pytest.mark.parametrize(
    "content",
    [
        STORE,
        {"points_store": json.dumps(STORE), "bbox_store": "[{}]", "bboxes": "[{}]", "width": 832, "height": 480},
        {"coordinates": json.dumps(STORE["positive"]), "neg_coordinates": json.dumps(STORE["negative"])},
        {"coordinates": str(STORE["positive"]), "neg_coordinates": str(STORE["negative"])},  # single quotes
    ],
)
def test_every_form_of_the_node_is_read(file: Path, content: object) -> None:
    file.write_text(json.dumps(content))
    assert points.read(file, **CLIP) == EXPECTED


def test_a_bare_list_is_positive(file: Path) -> None:
    file.write_text(json.dumps(STORE["positive"]))
    assert points.read(file, **CLIP) == EXPECTED[:2]


def test_a_canvas_of_another_size_is_converted(file: Path) -> None:
    file.write_text(json.dumps({"width": 416, "height": 960, "positive": [{"x": 208, "y": 240, "frame": 7}]}))
    assert points.read(file, **CLIP) == (Click(7, 416, 120, True),)
    file.write_text(json.dumps({"normalize": True, "width": 512, "height": 512, "positive": [{"x": 0.5, "y": 0.25}]}))
    assert points.read(file, **CLIP) == (Click(0, 416, 120, True),)


def test_what_is_written_is_read_again(file: Path) -> None:
    clicks = (Click(3, 1.25, 479.5, True), Click(19, 831, 0, False))
    points.write(file, clicks, CLIP["height"], CLIP["width"])
    assert points.read(file, **CLIP) == clicks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "points.json must be JSON"),
        ("3", "points.json must hold points, got int"),
        ('{"positive": []}', "must hold at least one positive point, got none"),
        ('{"positive": [[1, 2]]}', 'must have points in the form {"x": 400, "y": 200}, got [1, 2]'),
        ('{"positive": [{"x": 832, "y": 0}]}', "must have its points inside the clip (20 frames of 480x832)"),
        ('{"positive": [{"x": 8, "y": 0, "frame": 20}]}', "got x 8, y 0 on frame 20"),
        ('{"positive": [{"x": 8, "y": 0}], "bboxes": [{"startX": 1}]}', "got a box"),
        ('{"coordinates": {"x": 1}}', "must hold a list as coordinates"),
    ],
)
def test_refusals_name_the_fault(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match="points.json") as raised:
        points.read(file, **CLIP)
    assert message in str(raised.value)
