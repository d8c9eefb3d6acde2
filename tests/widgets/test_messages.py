"""The table of messages: what each side sends the other knows, and what is not in it is refused."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import pytest

from wanlab.widgets import (
    decision_list,
    mask_comparison,
    mask_editor,
    messages,
    pose_review,
    run_watch,
    settings_form,
    stills,
    sweep_winner,
    work,
)

WIDGETS = {
    "decision_list": decision_list.DecisionList,
    "mask_comparison": mask_comparison.MaskComparison,
    "mask_editor": mask_editor.MaskEditor,
    "pose_review": pose_review.PoseReview,
    "run_watch": run_watch.RunWatch,
    "settings_form": settings_form.SettingsForm,
    "sweep_winner": sweep_winner.SweepWinner,
}
CLICK = {"kind": "do", "op": "click", "frame": 2, "x": 30, "y": 20.25, "positive": True, "object": 1}


def in_scripts(widget: type[stills.Talking]) -> tuple[set[str], set[str]]:
    """Return the kinds that a widget's scripts send, and those that they listen to."""
    text = str(widget._esm)
    sent = set(re.findall(r'link\.tell\("(\w+)"', text)) - {"do"}
    sent |= {f"do:{op}" for op in re.findall(r'\.act\("(\w+)"', text)}
    return sent, set(re.findall(r'link\.on\("(\w+)"', text))


def in_kernel(widget: type[stills.Talking]) -> tuple[set[str], set[str]]:
    """Return the kinds that a widget's class sends, and those that it compares a message's kind or action with."""
    sent, known = set(), set()
    working = [work.Work] if "work.Work(" in inspect.getsource(widget) else []
    for owner in [*(each for each in widget.__mro__ if issubclass(each, stills.Talking)), *working]:
        for node in ast.walk(ast.parse(inspect.getsource(owner))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("tell", "_tell")
            ):
                assert isinstance(node.args[0], ast.Constant)
                sent.add(node.args[0].value)
            if isinstance(node, ast.Compare):
                left = ast.unparse(node.left)
                prefix = {"kind": "", "content['kind']": "", "op": "do:", "content['op']": "do:"}.get(left)
                if prefix is not None:
                    known |= {prefix + str(value) for value in constants(node.comparators[0])}
    return sent, known - {"do"}


def constants(node: ast.expr) -> list[Any]:
    return [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]


@pytest.mark.parametrize("name", WIDGETS)
def test_both_sides_speak_what_the_table_holds(name: str) -> None:
    protocol = WIDGETS[name]._protocol
    assert protocol == getattr(messages, name.upper())
    by_scripts, heard_by_scripts = in_scripts(WIDGETS[name])
    by_kernel, heard_by_kernel = in_kernel(WIDGETS[name])
    # a stroke's, a box's and a click's action is named by a mark's kind; `in_scripts` sees each where it is written
    assert by_scripts == set(protocol.to_kernel)
    answered = {"refresh", "frames"}  # by the classes below it, where the table has them
    assert heard_by_kernel - answered <= set(protocol.to_kernel) <= heard_by_kernel | answered | {"hello"}
    assert by_kernel == heard_by_scripts == set(protocol.to_browser)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"seq": "a:1"}, None),
        ({"frame": None}, "got another frame"),
        ({"x": "30"}, "got another x"),
        ({"colour": "red"}, "got another colour"),
        ({"op": "explode"}, "no message 'do:explode'"),
        ({"kind": "dance"}, "no message 'dance:click'"),
    ],
)
def test_a_message_is_checked(change: dict[str, Any], said: str | None) -> None:
    message = {**CLICK, **change}
    if said is None:
        messages.check(messages.MASK_EDITOR.to_kernel, message)
        return
    with pytest.raises(ValueError, match=said):
        messages.check(messages.MASK_EDITOR.to_kernel, message)


def test_the_browser_gets_the_table() -> None:
    table = messages.for_browser(messages.MASK_EDITOR)
    assert table["to_kernel"]["do:click"] == ["op", "seq?", "frame", "x", "y", "positive", "object"]
    assert table["to_browser"]["stale"] == ["layers", "frames?"]
    assert str(WIDGETS["mask_editor"]._esm).startswith(
        'const MESSAGES = {"to_kernel": {"refresh": [], "frames": ["id",'
    )
