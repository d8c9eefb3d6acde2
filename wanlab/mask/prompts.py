"""Prompts as files: the JSON of KJNodes' PointsEditor, read and written, extended by a frame and an object per prompt.

{"width": 832, "height": 480,                        # of the canvas; left out: pixels of the working clip
 "positive": [{"x": 400, "y": 200, "frame": 12}],    # belongs to the person; without a frame: on frame 0
 "negative": [{"x": 90, "y": 300, "object": 2}],     # does not; without an object: of object 1
 "bboxes": [{"startX": 10, "startY": 20, "endX": 90, "endY": 200}]}
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from wanlab import files, media

MOST_POINTS = 1000  # each is looked for in every frame
MOST_BOXES = 4000  # SAM2 remembers each frame that has one: 0.6 MB
MOST_OBJECTS = 64  # each is followed by itself
FORM = '{"positive": [{"x": 400, "y": 200}], "negative": []}'


class Click(NamedTuple):
    """A clicked point.

    Attributes:
        frame: of the working clip.
        x: pixels of the working clip.
        y: pixels of the working clip.
        positive: whether the point belongs to the object.
        object: number of the object.
    """

    frame: int
    x: float
    y: float
    positive: bool
    object: int = 1


class Box(NamedTuple):
    """A box around an object.

    Attributes:
        frame: of the working clip.
        x0: left, pixels of the working clip.
        y0: top.
        x1: right, larger than x0.
        y1: bottom, larger than y0.
        object: number of the object.
    """

    frame: int
    x0: float
    y0: float
    x1: float
    y1: float
    object: int = 1


class Prompts(NamedTuple):
    """All clicks and boxes; the objects together are the person.

    Attributes:
        clicks: of all frames and objects.
        boxes: of all frames and objects.
    """

    clicks: tuple[Click, ...]
    boxes: tuple[Box, ...] = ()

    def describe(self) -> str:
        """Return how many there are on how many frames, in words."""
        frames = len({prompt.frame for prompt in (*self.clicks, *self.boxes)})
        parts = [(len(self.clicks), "point", "s"), (len(self.boxes), "box", "es")]
        counted = " and ".join(f"{n} {word}{ending if n != 1 else ''}" for n, word, ending in parts if n)
        return f"{counted} on {frames} frame{'s' if frames != 1 else ''}" if counted else "no point"

    def where(self) -> str:
        """Return the frames that have any, in words."""
        return media.describe_frames(sorted({prompt.frame for prompt in (*self.clicks, *self.boxes)}))

    def untouched(self, height: int, width: int) -> tuple[str, ...]:
        """Return a sentence if there is only what a new editor holds: nobody has clicked yet.

        Args:
            height, width: of the working clip in pixels.

        Source: KJNodes' PointsEditor begins with a point in the middle; the Comfy template ships (256, 256) and, negative, (0, 0).
        """
        positive = [click for click in self.clicks if click.positive]
        others = [click for click in self.clicks if not click.positive and (click.x, click.y) != (0, 0)]
        if len(positive) != 1 or others or self.boxes:
            return ()
        one = positive[0]
        middle = abs(one.x - width / 2) <= 1 and abs(one.y - height / 2) <= 1
        if not middle and (one.x, one.y) != (256, 256):
            return ()
        return (
            f"the only point, x {one.x:g}, y {one.y:g} on frame {one.frame}, lies where a new editor puts it: if nobody placed "
            "it, move it onto the person",
        )


def read_prompts(path: Path, num_frames: int, height: int, width: int, *, as_kijai: bool = False) -> Prompts:
    """Read a points file for a working clip.

    Args:
        path: wanlab's form (above), PointsEditor's `points_store`, its list `coordinates`, or all its widgets in one
            mapping, whose values are JSON texts. Pixels of a canvas of another size are converted; with `normalize`
            numbers up to 1 are shares of the sides (the editor keeps pixels and divides when it runs).
        num_frames, height, width: of the working clip.
        as_kijai: read it as Kijai's nodes do: coordinates rounded to whole pixels of the canvas, everything on frame 0
            and of one object, the first box only.

    Raises:
        ValueError: not JSON, an object without a positive point or box, two boxes of an object on a frame, or a prompt
            outside the clip; the message names the remedy.

    Source: KJNodes' PointsEditor, whose points all mean the first frame, and Kijai's Sam2Segmentation.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # -sig: Windows editors put a byte-order mark in front
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} must be text in UTF-8, got other bytes; save it as UTF-8") from None
    content = load_prompts(text, path.name)
    return parse_prompts(content, path.name, num_frames, height, width, as_kijai=as_kijai)


def parse_prompts(
    content: Any,
    name: str,
    num_frames: int,
    height: int,
    width: int,
    *,
    as_kijai: bool = False,
    unfinished: bool = False,
) -> Prompts:
    """Return the prompts that the content of a points file means.

    Args:
        content, name: the JSON value, and what messages call it.
        num_frames, height, width, as_kijai: as in `read_prompts`.
        unfinished: take what someone is still clicking at: no point at all, an object without a positive one.

    Raises:
        ValueError: as `read_prompts`.
    """
    if isinstance(content, list):
        content = {"positive": content}
    if not isinstance(content, dict):
        raise ValueError(f"{name} must hold points, got {type(content).__name__}; use {FORM}")
    stored: dict[str, Any] = {**content, **_part(content, "points_store", {}, name)}
    positive = _part({"positive": _part(content, "coordinates", [], name)} | stored, "positive", [], name)
    negative = _part({"negative": _part(content, "neg_coordinates", [], name)} | stored, "negative", [], name)
    boxes = [box for box in _part(content, "bboxes", [], name) if box]  # an empty editor keeps [{}]
    boxes = boxes or [box for box in _part(content, "bbox_store", [], name) if box]
    if not positive and not boxes and not unfinished:
        raise ValueError(f"{name} must hold at least one positive point or box, got none; use {FORM}")
    shares = bool(content.get("normalize")) and _are_shares([*positive, *negative, *boxes])
    sides = {"width": width, "height": height}
    across, down = (1.0 if shares else _side(content, side, length, name) for side, length in sides.items())
    scale = width / across, height / down
    rounded = as_kijai and not shares
    prompts = Prompts(
        tuple(
            _click(point, kind, scale, rounded, f"{name}, {'positive' if kind else 'negative'} point {number},")
            for kind, points in ((True, positive), (False, negative))
            for number, point in enumerate(points, 1)
        ),
        tuple(_box(box, scale, f"{name}, box {number},") for number, box in enumerate(boxes, 1)),
    )
    if as_kijai:
        prompts = Prompts(
            tuple(click._replace(frame=0, object=1) for click in prompts.clicks),
            tuple(box._replace(frame=0, object=1) for box in prompts.boxes[:1]),
        )
    _check(prompts, num_frames, height, width, name)
    if not unfinished:
        check_finished(prompts, name)
    return prompts


def check_finished(prompts: Prompts, name: str) -> None:
    """Check that the prompts mark an object.

    Raises:
        ValueError: if an object has no positive point and no box; `name` is what the message calls the prompts.
    """
    known = {box.object for box in prompts.boxes} | {click.object for click in prompts.clicks if click.positive}
    lost = next((click.object for click in prompts.clicks if click.object not in known), None)
    if lost is not None:
        raise ValueError(
            f"{name} must have a positive point or a box for object {lost}, got negative points only; click on it too"
        )


def write_prompts(path: Path, prompts: Prompts, height: int, width: int) -> None:
    """Write prompts as a points file that `read_prompts` and PointsEditor understand, completely or not at all.

    Args:
        path: the JSON file.
        prompts, height, width: as `prompts_content`.
    """
    files.write_json(path, prompts_content(prompts, height, width))


def prompts_content(prompts: Prompts, height: int, width: int) -> dict[str, Any]:
    """Return prompts as what a points file holds.

    Args:
        prompts: in pixels of the working clip.
        height, width: of the working clip in pixels, written as the canvas.
    """
    kinds = {
        name: [{"x": c.x, "y": c.y, "frame": c.frame, "object": c.object} for c in prompts.clicks if c.positive == kind]
        for name, kind in (("positive", True), ("negative", False))
    }
    boxes = [
        {"startX": b.x0, "startY": b.y0, "endX": b.x1, "endY": b.y1, "frame": b.frame, "object": b.object}
        for b in prompts.boxes
    ]
    return {"width": width, "height": height, **kinds, "bboxes": boxes}


def _side(content: dict[str, Any], side: str, length: int, name: str) -> float:
    """Return a side of the canvas in pixels, that of the working clip (`length`) where none is given."""
    value = content.get(side, length)
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(
            f"{name} must have a {side} above 0, of the canvas that was clicked on in pixels, got {_shown(value)}; use "
            f"{length}, the working clip's, or leave width and height out"
        )
    return number


def _are_shares(places: list[Any]) -> bool:
    """Return whether no coordinate is beyond 1."""
    names = ("x", "y", "startX", "startY", "endX", "endY")
    found = [place.get(name) for place in places if isinstance(place, dict) for name in names]
    return all(value <= 1 for value in found if isinstance(value, int | float))


def load_prompts(text: str, name: str) -> Any:
    """Return the JSON value of a points file's text; `name` is what messages call it.

    Raises:
        ValueError: if it is no JSON.
    """
    for attempt in (text, text.replace("'", '"')):  # the node takes single quotes too
        try:
            return json.loads(attempt)
        except (ValueError, RecursionError):
            continue
    raise ValueError(f"{name} must be JSON, got {text[:40]!r}; use {FORM}")


def _part(content: dict[str, Any], key: str, default: Any, name: str) -> Any:
    """Return a widget's value, which PointsEditor keeps as JSON text."""
    value = content.get(key, default)
    value = load_prompts(value, name) if isinstance(value, str) and value.strip() else value or default
    if not isinstance(value, type(default)):
        raise ValueError(f"{name} must hold a {type(default).__name__} as {key}, got {value!r}; use {FORM}")
    return value


def _click(point: Any, positive: bool, scale: tuple[float, float], rounded: bool, name: str) -> Click:
    try:
        x, y = _finite(point["x"]), _finite(point["y"])
        x, y = (round(x), round(y)) if rounded else (x, y)
        frame, number = _whole(point.get("frame", 0)), _whole(point.get("object", 1))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(
            f'{name} must have points in the form {{"x": 400, "y": 200}}, got {_shown(point)}; use {FORM}'
        ) from None
    return Click(frame, x * scale[0], y * scale[1], positive, number)


def _box(box: Any, scale: tuple[float, float], name: str) -> Box:
    try:
        x0, x1 = sorted((_finite(box["startX"]) * scale[0], _finite(box["endX"]) * scale[0]))
        y0, y1 = sorted((_finite(box["startY"]) * scale[1], _finite(box["endY"]) * scale[1]))
        return Box(_whole(box.get("frame", 0)), x0, y0, x1, y1, _whole(box.get("object", 1)))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(
            f'{name} must have boxes in the form {{"startX": 10, "startY": 20, "endX": 90, "endY": 200}}, got {_shown(box)}; '
            "use numbers of pixels"
        ) from None


def _finite(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError(value)
    return number


def _whole(value: Any) -> int:
    if int(value) != _finite(value):
        raise ValueError(value)
    return int(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _check(prompts: Prompts, num_frames: int, height: int, width: int, name: str) -> None:
    """Refuse prompts outside the clip, empty and doubled boxes, and more than anybody makes."""
    objects = len({each.object for each in (*prompts.clicks, *prompts.boxes)})
    for count, most, what in (
        (len(prompts.clicks), MOST_POINTS, "points"), (len(prompts.boxes), MOST_BOXES, "boxes"), (objects, MOST_OBJECTS, "objects"),
    ):  # fmt: skip
        if count > most:
            raise ValueError(
                f"{name} must hold at most {most:,} {what}, got {count:,}; leave some out: the frames between follow by themselves, "
                "and all objects together are the person"
            )
    counts = {True: 0, False: 0}
    for click in prompts.clicks:
        counts[click.positive] += 1
        if not (0 <= click.frame < num_frames and 0 <= click.x < width and 0 <= click.y < height):
            raise ValueError(
                f"{name} must have its points inside the clip ({num_frames} frames of {height}x{width}), got "
                f"x {click.x:g}, y {click.y:g} on frame {click.frame} ({'positive' if click.positive else 'negative'} point "
                f"{counts[click.positive]}); if they were clicked on a canvas of another size, "
                'add its "width" and "height", else move it'
            )
    for box in prompts.boxes:
        inside = 0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height
        if not (inside and 0 <= box.frame < num_frames):
            raise ValueError(
                f"{name} must have its boxes inside the clip ({num_frames} frames of {height}x{width}) and not empty, got "
                f"x {box.x0:g} to {box.x1:g}, y {box.y0:g} to {box.y1:g} on frame {box.frame}; if it was drawn on a canvas of "
                'another size, add its "width" and "height", else draw it anew'
            )
    placed = [(box.frame, box.object) for box in prompts.boxes]
    twice = next((place for place, count in Counter(placed).items() if count > 1), None)
    if twice:
        raise ValueError(
            f'{name} must have one box of an object on a frame, got two of object {twice[1]} on frame {twice[0]}; add "object": 2'
        )
