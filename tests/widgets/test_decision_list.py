"""The list of decisions: what is in it, that it leads to the editors, and that what it takes out stays out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from IPython.display import HTML

from wanlab import config, inputs, media
from wanlab.inputs import edits
from wanlab.mask.prompts import Click, Prompts
from wanlab.pose.corrections import Hide
from wanlab.steps import inspect
from wanlab.widgets import history
from wanlab.widgets.decision_list import DecisionList, decision_list

SIZE = FRAMES, HEIGHT, WIDTH = 6, 48, 64
DECIDED = edits.Edits(points=Prompts((Click(2, 30.0, 20.0, True),)), pose=(Hide("head", 4, 5),), mask_chain="fill")


@pytest.fixture
def seen(tmp_path: Path, outputs: Path) -> inspect.Inspection:
    """Return inputs with a click, a correction and a chain that nobody has applied."""
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 90, np.uint8)
    media.write_video(tmp_path / inputs.DRIVING, frames, Fraction(16), lossless=True)
    made = inputs.AnimateInputs(tmp_path, "replace", {}, FRAMES, HEIGHT, WIDTH, Fraction(16), {}, ())
    edits.change(tmp_path / edits.EDITS, lambda _: DECIDED, *SIZE)
    clip = media.open_clip(tmp_path / inputs.DRIVING)
    asked = config.InspectSettings.build({"sam_checkpoint": "none"})
    return inspect.Inspection(tmp_path, made, False, clip, "", None, {}, made, tmp_path / edits.EDITS, (), asked)


class Heard:
    """A list and what it says."""

    def __init__(self, widget: DecisionList) -> None:
        self.widget, self.said = widget, []
        widget.send = lambda content, buffers=None: self.said.append(content)  # type: ignore[method-assign]

    def tell(self, kind: str, **content: Any) -> dict[str, Any]:
        """Send a message; return the last list that it led to, or an error."""
        self.said.clear()
        self.widget._handle_custom_msg({"kind": kind, **content}, [])
        return next((each for each in reversed(self.said) if each["kind"] in ("list", "error")), {})


@pytest.fixture
def heard(seen: inspect.Inspection) -> Heard:
    widget = decision_list(seen)
    assert isinstance(widget, DecisionList)
    return Heard(widget)


def texts(state: dict[str, Any]) -> list[str]:
    return [each["text"] for each in state["marks"]]


def test_all_decisions_are_listed_switched_deleted_and_brought_back(heard: Heard, seen: inspect.Inspection) -> None:
    state = heard.tell("hello")
    assert texts(state) == ["mask chain fill", "point on frame 2", "head hidden in frames 4 to 5"]
    assert [each["first"] for each in state["marks"]] == [None, 2, 4]
    assert [each["applied"] for each in state["marks"]] == [False] * 3
    assert state["outdated"]
    click = state["marks"][1]["mark"]
    state = heard.tell("do", op="switch", mark=click)
    assert [each["mark"]["on"] for each in state["marks"]] == [True, False, True]
    assert state["marks"][1]["applied"]  # it does not count, and it is not in the inputs
    assert not any(edits.read(seen.edits, *SIZE).points)
    state = heard.tell("do", op="delete", mark={**click, "on": False})
    assert texts(state) == ["mask chain fill", "head hidden in frames 4 to 5"]
    assert "not there any more" in heard.tell("do", op="delete", mark=click)["text"]
    for _ in range(2):
        state = heard.tell("do", op="undo")
    assert [each["mark"]["on"] for each in state["marks"]] == [True] * 3
    assert "undone: point on frame 2" in [each.get("text") for each in heard.said]
    assert edits.read(seen.edits, *SIZE) == DECIDED


def test_a_line_leads_to_its_editor(heard: Heard, seen: inspect.Inspection) -> None:
    class Editor(history.Editor):
        kinds = ("click", "mask_chain")
        at: tuple[int | None, ...] = ()

        def go_to(self, t: int | None) -> None:
            self.at += (t,)

    state = heard.tell("hello")
    chain, click, pose = (each["mark"] for each in state["marks"])
    assert "run its cell" in heard.tell("visit", mark=click)["text"]
    editors = Editor(), Editor()
    for editor in editors:
        history.History.of(seen.edits, *SIZE).follow(editor)
    heard.tell("visit", mark=click)
    heard.tell("visit", mark=chain)
    assert [editor.at for editor in editors] == [(), (2, None)]  # the newest one
    assert "run its cell" in heard.tell("visit", mark=pose)["text"]


def test_what_is_applied_is_said(heard: Heard, seen: inspect.Inspection, monkeypatch: pytest.MonkeyPatch) -> None:
    def replay(_: inspect.Inspection, watch: Callable[..., object]) -> inspect.Inspection:
        watch("masks", 1, 2)
        held = edits.read(seen.edits, *SIZE)
        monkeypatch.setattr(DecisionList, "_applied", lambda _: held)
        return dataclasses.replace(seen, new=True)

    monkeypatch.setattr(inspect, "replay", replay)
    heard.tell("apply")
    heard.widget.wait()
    last = [each for each in heard.said if each["kind"] == "list"][-1]
    assert not last["outdated"]
    assert all(each["applied"] for each in last["marks"])
    assert config.shown(seen.parent.folder) in last["result"]
    heard.tell("do", op="delete", mark=last["marks"][0]["mark"])
    assert heard.tell("hello")["outdated"]


def test_headless_it_is_a_table(seen: inspect.Inspection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    shown = decision_list(seen)
    assert isinstance(shown, HTML)
    assert "point on frame 2" in str(shown.data)
