"""What was done to a file of decisions, kept beside it: it can be undone when the kernel, or the machine, is another one.

`edits_history.json`: {"schema": 1, "done": [step, …], "undone": [step, …]}, the newest step last. A step holds what an action
changed, per section of the decisions: in a list what it took out and what it put in, and how many items come after it;
else the value before and the one after.

    {"strokes": {"out": [], "in": [{"frame": 12, …}], "after": 0}, "mask_chain": [null, "fill"]}

So a step can be taken back although someone has changed the file by hand meanwhile: what is no longer there stays away, and
the rest stays as it is.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wanlab import files

HISTORY = "edits_history.json"
MOST_STEPS = 500  # an afternoon of clicks; the oldest go first
MOST_BYTES = 2_000_000  # of all steps: long strokes take 30 kB each, and the file is written with every action
POINTS = ("positive", "negative", "bboxes")  # lists in the section "points"
SINGLE = ("stretch", "mask_chain")  # sections that hold one value

Step = dict[str, Any]
Content = Mapping[str, Any]  # decisions as the file holds them, see module edits


class Past(NamedTuple):
    """What can be undone and done again.

    Attributes:
        done: steps, the newest last.
        undone: steps, the one that was undone last at the end.
    """

    done: list[Step]
    undone: list[Step]


def read(decisions: Path) -> Past:
    """Return the history of a file of decisions; none where there is none that can be read."""
    try:
        content = json.loads(decisions.with_name(HISTORY).read_text(encoding="utf-8"))
        lists = [content[name] for name in Past._fields]
    except (OSError, ValueError, KeyError, TypeError):
        return Past([], [])
    usable = content.get("schema") == 1 and all(
        isinstance(steps, list) and all(isinstance(each, dict) for each in steps) for steps in lists
    )
    return Past(*lists) if usable else Past([], [])


def write(decisions: Path, past: Past) -> None:
    """Keep the history of a file of decisions, as much as it may hold of it.

    Raises:
        OSError: if it cannot be written.
    """
    room, kept = MOST_BYTES, []
    for step in reversed(past.done[-MOST_STEPS:]):
        room -= len(json.dumps(step))
        if room < 0:
            break
        kept.append(step)
    content = {"schema": 1, "done": kept[::-1], "undone": past.undone[-MOST_STEPS:] if room >= 0 else []}
    files.write_text(decisions.with_name(HISTORY), json.dumps(content, ensure_ascii=False, separators=(",", ":")))


def step_between(before: Content, after: Content) -> Step:
    """Return the step that leads from one state of the decisions to another; empty where they are equal."""
    old, new = _flat(before), _flat(after)
    step: Step = {}
    for name in new:
        if old[name] == new[name]:
            continue
        step[name] = _replaced(old[name], new[name]) if name not in SINGLE else [old[name], new[name]]
    return step


def walked(content: Content, step: Step, *, back: bool) -> dict[str, Any]:
    """Return the decisions after a step, or with `back` before it; equal ones where it is so already."""
    flat = _flat(content)
    for name, change in step.items():
        if name not in flat:
            continue  # of another version
        if name not in SINGLE:
            taken, put = (change["in"], change["out"]) if back else (change["out"], change["in"])
            flat[name] = _exchanged(flat[name], taken, put, change["after"])
        else:
            was, becomes = change[::-1] if back else change
            flat[name] = becomes if flat[name] == was else flat[name]
    return _whole(flat, content)


def _flat(content: Content) -> dict[str, Any]:
    points = content["points"] or {}
    rest = {name: value for name, value in content.items() if name not in ("points", "schema")}
    return {**{name: list(points.get(name, ())) for name in POINTS}, **rest}


def _whole(flat: Mapping[str, Any], like: Content) -> dict[str, Any]:
    """Return sections as the file holds them; the canvas of the points is that of the working clip."""
    points = {name: flat[name] for name in POINTS}
    rest = {name: value for name, value in flat.items() if name not in POINTS}
    return {**like, **rest, "points": points if any(points.values()) else None}


def _replaced(old: list[Any], new: list[Any]) -> dict[str, Any]:
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    left = zip(reversed(old[same:]), reversed(new[same:]), strict=False)
    after = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], left))
    return {"out": old[same : len(old) - after], "in": new[same : len(new) - after], "after": after}


def _exchanged(items: list[Any], taken: list[Any], put: list[Any], after: int) -> list[Any]:
    """Return `items` with `put` in the place of `taken`, before the last `after` items."""
    place = max(0, len(items) - after - len(taken))
    if items[place : place + len(taken)] == taken:
        return items[:place] + put + items[place + len(taken) :]
    left, gone = list(items), False  # someone has changed them by hand
    for item in taken:
        if item in left:
            place = len(left) - 1 - left[::-1].index(item)
            del left[place]
            gone = True
    if taken and not gone:
        return items
    return left[:place] + put + left[place:]
