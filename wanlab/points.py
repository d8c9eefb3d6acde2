"""Clicked points as files: the JSON of KJNodes' PointsEditor, read and written, extended by a frame per point.

{"width": 832, "height": 480,                        # of the canvas; left out: pixels of the working clip
 "positive": [{"x": 400, "y": 200, "frame": 12}],    # belongs to the person; without a frame: on frame 0
 "negative": [{"x": 90, "y": 300}]}                  # does not
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wanlab import runs

FORM = '{"positive": [{"x": 400, "y": 200}], "negative": []}'


class Click(NamedTuple):
    """A clicked point: x and y in pixels of the working clip, on frame `frame`; positive: this belongs to the person."""

    frame: int
    x: float
    y: float
    positive: bool


def read(path: Path, num_frames: int, height: int, width: int) -> tuple[Click, ...]:
    """Read a points file for a working clip.

    Args:
        path: wanlab's form (above), PointsEditor's `points_store`, its list `coordinates`, or all its widgets in one
            mapping, whose values are JSON texts. Pixels of a canvas of another size are converted; `normalize` means
            shares of the sides.
        num_frames, height, width: of the working clip.

    Raises:
        ValueError: not JSON, no positive point, a box, or a point outside the clip; the message names the remedy.

    Source: KJNodes' PointsEditor, whose points all mean the first frame.
    """
    content: Any = _json(path.read_text(encoding="utf-8"), path.name)
    if isinstance(content, list):
        content = {"positive": content}
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} must hold points, got {type(content).__name__}; use {FORM}")
    stored: dict[str, Any] = {**content, **_part(content, "points_store", {}, path.name)}
    positive = stored.get("positive", _part(content, "coordinates", [], path.name))
    negative = stored.get("negative", _part(content, "neg_coordinates", [], path.name))
    if any(_part(content, "bbox_store", [], path.name)) or any(_part(content, "bboxes", [], path.name)):
        raise ValueError(
            f"{path.name} must hold points only, got a box; boxes need SAM2, which is not built into wanlab yet"
        )
    if not positive:
        raise ValueError(f"{path.name} must hold at least one positive point, got none; use {FORM}")
    across, down = (1, 1) if content.get("normalize") else (content.get("width", width), content.get("height", height))
    clicks = [
        _click(point, kind, (width / float(across), height / float(down)), path.name)
        for kind, points in ((True, positive), (False, negative or []))
        for point in points
    ]
    for click in clicks:
        if not (0 <= click.frame < num_frames and 0 <= click.x < width and 0 <= click.y < height):
            raise ValueError(
                f"{path.name} must have its points inside the clip ({num_frames} frames of {height}x{width}), got "
                f"x {click.x:g}, y {click.y:g} on frame {click.frame}; if they were clicked on a canvas of another size, "
                'add its "width" and "height"'
            )
    return tuple(clicks)


def write(path: Path, clicks: Sequence[Click], height: int, width: int) -> None:
    """Write clicks as a points file that `read` and PointsEditor understand, whole or not at all.

    Args:
        path: the JSON file.
        clicks: in pixels of the working clip.
        height, width: of the working clip in pixels, written as the canvas.
    """
    kinds = {
        name: [{"x": click.x, "y": click.y, "frame": click.frame} for click in clicks if click.positive == kind]
        for name, kind in (("positive", True), ("negative", False))
    }
    runs.write_json(path, {"width": width, "height": height, **kinds})


def _json(text: str, name: str) -> Any:
    for attempt in (text, text.replace("'", '"')):  # the node takes single quotes too
        try:
            return json.loads(attempt)
        except ValueError:
            continue
    raise ValueError(f"{name} must be JSON, got {text[:40]!r}; use {FORM}")


def _part(content: dict[str, Any], key: str, default: Any, name: str) -> Any:
    """Return a widget's value, which PointsEditor keeps as JSON text."""
    value = content.get(key, default)
    value = _json(value, name) if isinstance(value, str) and value.strip() else value or default
    if not isinstance(value, type(default)):
        raise ValueError(f"{name} must hold a {type(default).__name__} as {key}, got {value!r}; use {FORM}")
    return value


def _click(point: Any, positive: bool, scale: tuple[float, float], name: str) -> Click:
    try:
        return Click(int(point.get("frame", 0)), float(point["x"]) * scale[0], float(point["y"]) * scale[1], positive)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(
            f'{name} must have points in the form {{"x": 400, "y": 200}}, got {point!r}; use {FORM}'
        ) from None
