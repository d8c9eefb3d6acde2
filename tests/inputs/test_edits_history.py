"""The history beside a file of decisions: steps forwards and backwards, foreign changes, bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wanlab.inputs import edits, edits_history


def content(*strokes: Any, chain: str | None = None, positive: tuple[Any, ...] = ()) -> dict[str, Any]:
    points = {"width": 64, "height": 48, "positive": list(positive), "negative": [], "bboxes": []} if positive else None
    return {**edits.SECTIONS, "strokes": list(strokes), "mask_chain": chain, "points": points}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), (1,)),
        ((1, 2, 3), (1, 3)),
        ((1, 2, 3), (1, 5, 3)),
        ((1, 1), (1,)),
        ((1, 2, 3, 4), (3,)),
        ((1, 2), (3, 1, 2)),
    ],
)
def test_a_step_leads_there_and_back(before: tuple, after: tuple) -> None:
    old, new = content(*before, chain="fill"), content(*after, positive=(7,))
    step = json.loads(json.dumps(edits_history.step_between(old, new)))
    assert edits_history.walked(old, step, back=False)["strokes"] == list(after)
    there = edits_history.walked(new, step, back=True)
    assert (there["strokes"], there["mask_chain"], there["points"]) == (list(before), "fill", None)
    assert edits_history.step_between(old, old) == {}


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "merged"),
    [
        ((1,), (1, 2), (1, 3), (1, 3, 2)),  # both have added one
        ((1, 2, 3), (1, 3), (1, 2, 3, 4), (1, 3, 4)),  # one was taken out
        ((1, 2, 3), (1, 5, 3), (2, 3, 4), (5, 3, 4)),  # one was changed
        ((1, 2), (1, 5), (1,), (1,)),  # one was changed that they took out
        ((1, 2, 1), (1, 2), (1, 2, 1, 4), (1, 2, 4)),  # of equal ones the last
        ((1, 2), (), (1, 2, 3), (3,)),
    ],
)
def test_a_file_that_was_changed_by_hand_keeps_that_change(
    base: tuple, mine: tuple, theirs: tuple, merged: tuple
) -> None:
    step = edits_history.step_between(content(*base), content(*mine))
    assert edits_history.walked(content(*theirs), step, back=False)["strokes"] == list(merged)
    chains = edits_history.step_between(content(chain=None), content(chain="fill"))
    assert edits_history.walked(content(chain="snap:16"), chains, back=True)["mask_chain"] == "snap:16"


def test_the_oldest_steps_go_and_no_file_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / edits.EDITS
    steps = [{"strokes": {"out": [], "in": [n], "after": 0}} for n in range(edits_history.MOST_STEPS + 9)]
    edits_history.write(path, edits_history.Past(steps, steps[:3]))
    assert edits_history.read(path) == (steps[9:], steps[:3])
    large = {"strokes": {"out": [], "in": ["x" * 900_000], "after": 0}}
    edits_history.write(path, edits_history.Past([*steps, large, large], steps[:3]))
    assert len(path.with_name(edits_history.HISTORY).read_bytes()) < edits_history.MOST_BYTES + 1000
    assert edits_history.read(path).done[-2:] == [large, large]
    for wrong in ("", "[]", '{"schema": 1, "done": 3, "undone": []}', '{"schema": 2, "done": [], "undone": []}'):
        path.with_name(edits_history.HISTORY).write_text(wrong)
        assert edits_history.read(path) == ([], [])
