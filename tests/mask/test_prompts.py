"""Points files: the forms that PointsEditor stores, canvases of other sizes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wanlab.mask.prompts import Box, Click, Prompts, read_prompts, write_prompts

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
    assert read_prompts(file, **CLIP).clicks == EXPECTED


def test_a_bare_list_is_positive(file: Path) -> None:
    file.write_text(json.dumps(STORE["positive"]))
    assert read_prompts(file, **CLIP).clicks == EXPECTED[:2]


def test_a_canvas_of_another_size_is_converted(file: Path) -> None:
    file.write_text(json.dumps({"width": 416, "height": 960, "positive": [{"x": 208, "y": 240, "frame": 7}]}))
    assert read_prompts(file, **CLIP).clicks == (Click(7, 416, 120, True),)
    file.write_text(json.dumps({"normalize": True, "width": 512, "height": 512, "positive": [{"x": 0.5, "y": 0.25}]}))
    assert read_prompts(file, **CLIP).clicks == (Click(0, 416, 120, True),)
    editor = {"normalize": True, "width": 1664, "height": 960, "positive": [{"x": 832, "y": 240}]}
    file.write_text(json.dumps(editor))  # saved with its workflow: it divides only when it runs
    assert read_prompts(file, **CLIP).clicks == (Click(0, 416, 120, True),)


def test_what_is_written_is_read_again(file: Path) -> None:
    prompts = Prompts((Click(3, 1.25, 479.5, True), Click(19, 831, 0, False)), (Box(4, 1, 2, 30.5, 480, 2),))
    write_prompts(file, prompts, CLIP["height"], CLIP["width"])
    assert read_prompts(file, **CLIP) == prompts


def test_boxes_are_read_from_either_corner_and_may_stand_alone(file: Path) -> None:
    corners = {"startX": 90, "startY": 200, "endX": 10, "endY": 20}
    for name in ("bboxes", "bbox_store"):
        file.write_text(json.dumps({name: json.dumps([corners])}))
        assert read_prompts(file, **CLIP) == Prompts((), (Box(0, 10, 20, 90, 200),))
    file.write_text(json.dumps({"width": 416, "height": 480, "bboxes": [{**corners, "frame": 3, "object": 2}]}))
    assert read_prompts(file, **CLIP).boxes == (Box(3, 20, 20, 180, 200, 2),)


def test_kijai_s_nodes_know_one_frame_one_object_one_box_and_whole_pixels(file: Path) -> None:
    corners = {"startX": 10, "startY": 20, "endX": 90, "endY": 200}
    store = {"positive": [{"x": 40.5, "y": 41.5, "frame": 7, "object": 3}], "bboxes": [corners, corners]}
    file.write_text(json.dumps(store))
    expected = Prompts((Click(0, 40, 42, True),), (Box(0, 10, 20, 90, 200),))
    assert read_prompts(file, **CLIP, as_kijai=True) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "points.json must be JSON"),
        ("3", "points.json must hold points, got int"),
        ('{"positive": []}', "must hold at least one positive point or box, got none"),
        ('{"positive": [[1, 2]]}', 'must have points in the form {"x": 400, "y": 200}, got [1, 2]'),
        ('{"positive": [{"x": 832, "y": 0}]}', "must have its points inside the clip (20 frames of 480x832)"),
        ('{"positive": [{"x": 8, "y": 0, "frame": 20}]}', "got x 8, y 0 on frame 20"),
        ('{"positive": [{"x": 8, "y": 0}], "bboxes": [{"startX": 1}]}', "must have boxes in the form"),
        (
            '{"bboxes": [{"startX": 1, "startY": 1, "endX": 1, "endY": 9}]}',
            "inside the clip (20 frames of 480x832) and",
        ),
        ('{"positive": [{"x": 8, "y": 0}], "negative": [{"x": 1, "y": 1, "object": 2}]}', "or a box for object 2"),
        (
            '{"bboxes": [{"startX": 1, "startY": 1, "endX": 2, "endY": 9}, {"startX": 1, "startY": 1, "endX": 3, "endY": 9}]}',
            "got two of object 1 on frame 0",
        ),
        ('{"coordinates": {"x": 1}}', "must hold a list as coordinates"),
        *(
            (
                f'{{"positive": [{{"x": 8, "y": 9}}], "width": {width}, "height": 480}}',
                f"must have a width above 0, of the canvas that was clicked on in pixels, got {got}; use 832",
            )
            for width, got in (
                ("0", "0"),
                ("null", "None"),
                ("1e400", "inf"),
                ("-3", "-3"),
                ("NaN", "nan"),
                ("true", "True"),
                ("[]", "[]"),
                ('"x"', "'x'"),
            )
        ),
        ('{"positive": [{"x": 8, "y": 9}], "height": null}', "must have a height above 0"),
        *(
            (
                f'{{"positive": [{{"x": 8, "y": 9}}, {point}]}}',
                "points.json, positive point 2, must have points in the form",
            )
            for point in (
                '{"x": 1e400, "y": 1}',
                '{"x": NaN, "y": 1}',
                '{"x": null, "y": 1}',
                '{"x": true, "y": 1}',
                '{"x": 1, "y": 1, "frame": 1e400}',
                '{"x": 1, "y": 1, "frame": 1.5}',
                '{"x": 1, "y": 1, "object": null}',
                "7",
            )
        ),
        (
            '{"positive": [{"x": 8, "y": 9}], "negative": [{"x": -1, "y": 9}]}',
            "got x -1, y 9 on frame 0 (negative point 1); if",
        ),
        ('{"bboxes": [{"startX": 1e400, "startY": 1, "endX": 2, "endY": 9}]}', "points.json, box 1, must have boxes"),
        ("[" * 5000, "points.json must be JSON"),
        ('{"positive": 5}', "must hold a list as positive, got 5"),
        ('{"positive": [{"x": 8, "y": 9}], "negative": {"x": 1}}', "must hold a list as negative"),
        (json.dumps([{"x": 8, "y": 9}] * 1001), "must hold at most 1,000 points, got 1,001; leave some out"),
        (
            json.dumps({"bboxes": [{"startX": 1, "startY": 1, "endX": 2, "endY": 9}] * 4001}),
            "must hold at most 4,000 boxes, got 4,001",
        ),
        (json.dumps([{"x": 8, "y": 9, "object": n} for n in range(65)]), "must hold at most 64 objects, got 65"),
    ],
)
def test_refusals_name_the_fault(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match="points.json") as raised:
        read_prompts(file, **CLIP)
    assert message in str(raised.value)


def test_a_file_of_other_bytes_is_named_and_a_byte_order_mark_is_none(file: Path) -> None:
    file.write_bytes(b'{"positive": [{"x": 8, "y": 9}], "note": "M\xfcller"}')
    with pytest.raises(ValueError, match="points.json must be text in UTF-8"):
        read_prompts(file, **CLIP)
    file.write_text('{"positive": [{"x": 8, "y": 9}]}', encoding="utf-8-sig")
    assert read_prompts(file, **CLIP).clicks == (Click(0, 8, 9, True),)


@pytest.mark.parametrize(
    ("content", "untouched"),
    [
        ({"positive": [{"x": 416, "y": 240}]}, True),  # the middle
        ({"positive": [{"x": 256, "y": 256}], "negative": [{"x": 256, "y": 256}], "width": 512, "height": 512}, False),
        ({"positive": [{"x": 256, "y": 256}], "negative": [{"x": 0, "y": 0}]}, True),  # the template's
        ({"positive": [{"x": 256, "y": 256}, {"x": 260, "y": 256}]}, False),
        ({"positive": [{"x": 300, "y": 240}]}, False),
    ],
)
def test_points_on_an_editor_s_first_place_are_said(file: Path, content: dict, untouched: bool) -> None:
    file.write_text(json.dumps(content))
    said = read_prompts(file, **CLIP).untouched(CLIP["height"], CLIP["width"])
    assert bool(said) == untouched
    assert all("on frame 0, lies where a new editor puts it" in sentence for sentence in said)
