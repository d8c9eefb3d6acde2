"""The mask editor's kernel side: an action is in the file at once, masks follow, old ones are called old."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from IPython.display import Image

from wanlab import config, inputs, media
from wanlab.inputs import edits
from wanlab.mask import PackedMasks, strokes
from wanlab.mask.prompts import Box, Click, Prompts, parse_prompts
from wanlab.steps import inspect
from wanlab.widgets import live_masks
from wanlab.widgets.mask_editor import MaskEditor, mask_editor

FRAMES, HEIGHT, WIDTH = 6, 48, 64
CLICK = {"op": "click", "frame": 2, "x": 30.5, "y": 20.25, "positive": True, "object": 1}


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> inspect.Inspection:
    """Return inputs whose outline is a square; a click finds the disc of 5 pixels around it."""
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 90, np.uint8)
    media.write_video(tmp_path / inputs.DRIVING, frames, Fraction(16), lossless=True)
    outline = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    outline[:, 10:20, 10:20] = True
    packed = {"mask": np.packbits(outline, axis=-1), "mask_final": np.packbits(outline, axis=-1)}
    np.savez(tmp_path / "mask.npz", shape=np.array(outline.shape), **packed)
    files = {"mask_video": tmp_path / "mask.npz"}
    made = inputs.AnimateInputs(tmp_path, "replace", files, FRAMES, HEIGHT, WIDTH, Fraction(16), {}, ())
    monkeypatch.setattr(live_masks.LiveMasks, "mask", lambda _, t, prompts: discs(prompts, t))
    monkeypatch.setattr(live_masks.LiveMasks, "follow", follow)
    asked = config.InspectSettings.build({"sam_checkpoint": "none"})
    clip = media.open_clip(tmp_path / inputs.DRIVING)
    return inspect.Inspection(tmp_path, made, False, clip, "", None, {}, made, tmp_path / edits.EDITS, (), asked)


def discs(prompts: Prompts, t: int) -> np.ndarray:
    found = np.zeros((HEIGHT, WIDTH), bool)
    for positive in (True, False):
        for click in prompts.clicks:
            if click.frame == t and click.positive == positive:
                stroke = strokes.Stroke(t, True, 5.0, ((click.x, click.y),))
                found[strokes.covered(stroke, HEIGHT, WIDTH)] = positive
    return found


def follow(_: Any, frames: range, prompts: Prompts, told: live_masks.Job) -> PackedMasks:
    """Every frame gets what all clicks say."""
    here = [click._replace(frame=0) for click in prompts.clicks]
    found = (discs(Prompts(tuple(here)), 0) for _ in told.progress.iterate(frames, "SAM2", len(frames)))
    return PackedMasks(HEIGHT, WIDTH, found)


class Heard:
    """An editor and what it says."""

    def __init__(self, editor: MaskEditor) -> None:
        self.editor, self.said, self.more = editor, [], threading.Condition()
        editor.send = self.hear  # type: ignore[method-assign]

    def hear(self, content: dict[str, Any], buffers: Any = None) -> None:
        with self.more:
            self.said.append(content)
            self.more.notify_all()

    def do(self, **content: Any) -> dict[str, Any]:
        """Send an action; return the state that it leads to."""
        self.say("do", seq=7, **content)
        return [each for each in self.said if each["kind"] == "state" and each["seq"] == 7][-1]

    def say(self, kind: str, **content: Any) -> None:
        self.editor._handle_custom_msg({"kind": kind, **content}, [])

    def until(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first message that fits; wait for it."""
        with self.more:
            assert self.more.wait_for(lambda: any(map(fits, self.said)), 20)
            return next(filter(fits, self.said))


@pytest.fixture
def heard(seen: inspect.Inspection) -> Heard:
    editor = mask_editor(seen)
    assert isinstance(editor, MaskEditor)
    return Heard(editor)


def kept(heard: Heard) -> dict[str, Any]:
    return json.loads(heard.editor.path.read_text())


def test_each_action_is_in_the_file_before_it_is_answered(heard: Heard) -> None:
    written: list[Any] = []
    heard.editor.send = lambda content, buffers=None: written.append((content, kept(heard)))  # type: ignore[method-assign]
    heard.say("do", seq=1, **CLICK)
    state, file = next((content, file) for content, file in written if content["kind"] == "state")
    assert file["points"]["positive"] == [{"x": 30.5, "y": 20.25, "frame": 2, "object": 1}]
    assert state["clicks"] == [{name: CLICK[name] for name in Click._fields}]


def test_marks_are_made_moved_deleted_undone_and_redone(heard: Heard) -> None:
    click = heard.do(**CLICK)["clicks"][0]
    state = heard.do(op="move", what="click", was=click, to={"x": 12.0, "y": 13.0})
    assert [(each["x"], each["y"]) for each in state["clicks"]] == [(12.0, 13.0)]
    box = {"frame": 2, "x0": 1.0, "y0": 2.0, "x1": 30.0, "y1": 40.0, "object": 1}
    state = heard.do(op="box", **box)
    state = heard.do(op="box", **{**box, "x1": 20.0})  # one box of an object on a frame
    assert [each["x1"] for each in state["boxes"]] == [20.0]
    stroke = {"frame": 1, "add": True, "radius": 4.0, "path": [[5.0, 5.0], [9.0, 5.0]], "carried": False}
    state = heard.do(op="stroke", **stroke)
    assert state["strokes"] == [stroke]
    state = heard.do(op="delete", what="box", was=state["boxes"][0])
    assert state["boxes"] == []
    state = heard.do(op="stretch", stretch=[1, 3])
    assert kept(heard)["stretch"] == [1, 3]
    for _ in range(10):
        state = heard.do(op="undo")
    assert (state["clicks"], state["strokes"], state["undo"], state["redo"]) == ([], [], False, True)
    assert kept(heard)["points"] is None
    for _ in range(10):
        state = heard.do(op="redo")
    assert (state["stretch"], state["strokes"], state["boxes"]) == ([1, 3], [stroke], [])
    heard.do(op="undo")
    assert not heard.do(**CLICK)["redo"]  # a new action ends what could be redone


def test_what_does_not_fit_is_said_and_changes_nothing(heard: Heard) -> None:
    heard.do(**CLICK)
    before = kept(heard)
    for wrong, text in [
        ({**CLICK, "x": 64.0}, "inside the clip"),
        ({"op": "delete", "what": "click", "was": {"frame": 9}}, "not there any more"),
        ({"op": "import", "text": "[nonsense"}, "the file must be JSON"),
        ({"op": "import", "text": '{"negative": [{"x": 1, "y": 1}]}'}, "at least one positive"),
    ]:
        heard.do(**wrong)
        assert text in heard.said[-1]["text"]
        assert kept(heard) == before


def test_a_new_editor_begins_with_what_the_last_one_kept(heard: Heard, seen: inspect.Inspection) -> None:
    heard.do(**CLICK)
    heard.do(op="stroke", frame=1, add=False, radius=4.0, path=[[5.0, 5.0]], carried=True)
    again = mask_editor(seen)
    assert isinstance(again, MaskEditor)
    assert again.decided == heard.editor.decided
    other = Heard(again)
    other.do(op="clear")
    state = heard.do(**{**CLICK, "frame": 4})  # the first editor is still open
    assert [each["frame"] for each in state["clicks"]] == [4]
    assert heard.do(op="undo")["clicks"] == []
    state = heard.do(op="undo")  # one history: what the other has cleared comes back
    assert (len(state["clicks"]), len(state["strokes"])) == (1, 1)
    state = other.do(op="undo")
    assert (len(state["clicks"]), len(state["strokes"]), state["said"]) == (
        1, 0, "undone: erased with the brush on frame 1, carried to other frames",
    )  # fmt: skip


def test_two_editors_have_one_history_and_show_each_other_s_actions(heard: Heard, seen: inspect.Inspection) -> None:
    editor = mask_editor(seen)
    assert isinstance(editor, MaskEditor)
    other = Heard(editor)
    heard.do(**CLICK)
    other.do(**{**CLICK, "frame": 3})
    assert [each["frame"] for each in heard.do(**{**CLICK, "frame": 4})["clicks"]] == [2, 3, 4]
    assert [each["frame"] for each in other.said[-2]["clicks"]] == [2, 3, 4]  # told at once
    other.said.clear()
    other.say("refresh")
    assert other.said == []
    assert [each["frame"] for each in other.do(op="undo")["clicks"]] == [2, 3]
    assert [each["frame"] for each in heard.do(op="undo")["clicks"]] == [2]
    assert [each["frame"] for each in other.do(op="redo")["clicks"]] == [2, 3]


def test_what_another_kernel_wrote_is_shown_when_the_pointer_comes_in(heard: Heard) -> None:
    edits.change(heard.editor.path, lambda now: dataclasses.replace(now, stretch=(1, 2)), FRAMES, HEIGHT, WIDTH)
    heard.say("refresh")
    assert [each["stretch"] for each in heard.said if each["kind"] == "state"] == [[1, 2]]
    assert heard.do(op="undo")["stretch"] is None


def test_a_file_that_became_another_one_is_named_and_not_written_over(heard: Heard) -> None:
    heard.do(**CLICK)
    later = json.dumps({"schema": 2, "decisions": []})
    heard.editor.path.write_text(later)
    heard.do(**{**CLICK, "frame": 3})
    assert "edits.json must hold decisions" in heard.said[-1]["text"]
    assert heard.editor.path.read_text() == later


def test_other_sections_of_the_file_stay(heard: Heard) -> None:
    edits.update(heard.editor.path, mask_chain="snap:16", pose=[{"do": "hide", "part": "face", "first": 1, "last": 2}])
    heard.do(**CLICK)
    assert kept(heard)["mask_chain"] == "snap:16"
    assert len(kept(heard)["pose"]) == 1


def test_a_click_shows_its_mask_and_the_others_are_called_old_until_they_follow(heard: Heard) -> None:
    editor = heard.editor
    square = editor.masks.before[0]
    assert not editor.outdated
    state = heard.do(**CLICK)
    assert state["outdated"]
    editor.image(2, "mask")  # the browser asks for it
    heard.until(lambda each: each["kind"] == "state" and each["live"] == [2])
    disc = discs(editor.decided.points, 2)
    np.testing.assert_array_equal(editor.outline(2), disc)
    np.testing.assert_array_equal(editor.outline(3), square)  # as it was
    np.testing.assert_array_equal(editor.image(2, "mask").mask, disc)
    worker = editor.propagate()
    assert worker is not None
    worker.join()
    assert not editor.outdated
    np.testing.assert_array_equal(editor.outline(5), disc)
    assert editor.propagate() is None
    heard.do(op="stroke", frame=5, add=True, radius=3.0, path=[[50.0, 40.0]], carried=False)
    assert not editor.outdated  # a stroke holds on its own frame at once
    assert editor.outline(5)[40, 50]
    assert heard.do(op="stretch", stretch=[1, 4])["outdated"]
    np.testing.assert_array_equal(editor.outline(0), square)  # outside the stretch
    heard.do(op="undo")
    assert not editor.outdated
    heard.do(**{**CLICK, "positive": False, "x": 12.0, "y": 12.0, "frame": 0})
    assert editor.outdated
    np.testing.assert_array_equal(
        editor.outline(5) & ~discs(editor.decided.points, 9), editor.outline(5)
    )  # the old one


def test_negative_points_alone_are_tried_on_the_outline_and_not_propagated(heard: Heard) -> None:
    heard.do(**{**CLICK, "positive": False})
    assert heard.editor._prompts_on(2).boxes == (Box(2, 10.0, 10.0, 20.0, 20.0),)
    heard.say("propagate")
    assert "positive point or a box for object 1" in heard.said[-1]["text"]


def test_the_propagation_can_be_stopped(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def endless(_: Any, frames: range, prompts: Prompts, told: live_masks.Job) -> PackedMasks:
        for _ in told.progress.iterate(iter(int, 1), "SAM2", 100):
            begun.set()
        raise AssertionError

    monkeypatch.setattr(live_masks.LiveMasks, "follow", endless)
    heard.do(**CLICK)
    worker = heard.editor.propagate()
    assert worker is not None
    assert begun.wait(20)
    assert heard.editor.propagate() is None  # one at a time
    assert heard.do(**{**CLICK, "x": 5.0})["busy"]  # clicks go on
    heard.say("cancel")
    worker.join(20)
    assert not worker.is_alive()
    assert heard.editor.outdated
    assert [each for each in heard.said if each["kind"] in ("stopped", "progress")]
    assert not [each for each in heard.said if each["kind"] == "state"][-1]["busy"]  # the look at the click tells more


def test_the_newest_wish_is_next(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    go, asked = threading.Event(), []

    def slow(_: Any, t: int, prompts: Prompts) -> np.ndarray:
        asked.append(len(prompts.clicks))
        go.wait(20)
        return discs(prompts, t)

    monkeypatch.setattr(live_masks.LiveMasks, "mask", slow)
    for x in range(10, 20):
        heard.do(**{**CLICK, "x": float(x)})
        heard.editor.image(2, "mask")
    heard.say("hover", id="h", t=2, x=1.0, y=1.0, positive=True, object=1, width=64)
    go.set()
    heard.until(lambda each: each["kind"] == "hover" and each["id"] == "h")
    assert asked[0] == 1
    assert set(asked[1:]) <= {1, 10, 11}  # the one under way, the newest look, the hover
    assert heard.editor._seconds is not None


def test_points_come_from_and_go_to_the_points_editor(heard: Heard) -> None:
    store = {"positive": [{"x": 320, "y": 240}], "negative": [{"x": 10, "y": 20}]}
    text = json.dumps({"points_store": json.dumps(store), "width": 640, "height": 480})
    state = heard.do(op="import", text=text)
    assert [(each["x"], each["y"], each["positive"]) for each in state["clicks"]] == [(32, 24, True), (1, 2, False)]
    heard.say("export", id="view")
    exported = parse_prompts(json.loads(heard.said[-1]["text"]), "export", FRAMES, HEIGHT, WIDTH)
    assert exported == heard.editor.decided.points


def test_headless_it_is_a_picture_with_the_marks(seen: inspect.Inspection, monkeypatch: pytest.MonkeyPatch) -> None:
    edits.update(seen.edits, points={"positive": [{"x": 30, "y": 20, "frame": 3}]})
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    shown = mask_editor(seen)
    assert isinstance(shown, Image)
    assert "3" in shown.alt
