"""The mask editor's kernel side: an action is in the file at once, masks follow, old ones are called old."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from IPython.display import Image

from wanlab import config, inputs, media, viz
from wanlab.inputs import edits
from wanlab.mask import person, strokes
from wanlab.mask.prompts import Box, Click, parse_prompts
from wanlab.steps import inspect
from wanlab.widgets import live_masks, stills
from wanlab.widgets.mask_editor import MaskEditor, mask_editor

FRAMES, HEIGHT, WIDTH = 6, 48, 64
CLICK = {"op": "click", "frame": 2, "x": 30.5, "y": 20.25, "positive": True, "object": 1}


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> inspect.Inspection:
    """Return inputs whose outline is a square; a click finds the disc of 5 pixels around it."""
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 90, np.uint8)
    media.write_video(tmp_path / inputs.DRIVING, frames, Fraction(16), lossless=True)
    outline = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    outline[:, 20:44, 5:25] = True
    packed = {"mask": np.packbits(outline, axis=-1), "mask_final": np.packbits(outline, axis=-1)}
    np.savez(tmp_path / "mask.npz", shape=np.array(outline.shape), **packed)
    files = {"mask_video": tmp_path / "mask.npz"}
    made = inputs.AnimateInputs(tmp_path, "replace", files, FRAMES, HEIGHT, WIDTH, Fraction(16), {}, ())
    monkeypatch.setattr(live_masks.LiveMasks, "_keypoints", lambda _: np.zeros((FRAMES, 133, 3), np.float32))
    monkeypatch.setattr(person.PersonMasker, "_finder", lambda *_: Discs())
    monkeypatch.setattr(person._Follower, "follow", follow)
    asked = config.InspectSettings.build({"sam_checkpoint": "none"})
    clip = media.open_clip(tmp_path / inputs.DRIVING)
    return inspect.Inspection(tmp_path, made, False, clip, "", None, {}, made, tmp_path / edits.EDITS, (), asked)


def disc(x: float, y: float) -> np.ndarray:
    return strokes.covered(strokes.Stroke(0, True, 5.0, ((x, y),)), HEIGHT, WIDTH)


class Discs:
    """Finds the disc of 5 pixels around a click, everything at (1, 1), and what is in a box."""

    def of_click(self, click: Click, against: Any) -> np.ndarray:
        return np.ones((HEIGHT, WIDTH), bool) if (click.x, click.y) == (1, 1) else disc(click.x, click.y)

    def of_box(self, box: Box, against: Any) -> np.ndarray:
        found = np.zeros((HEIGHT, WIDTH), bool)
        found[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
        return found


def follow(_: Any, marks: Any, seeds: Any, within: range) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Every frame has what the clicked one has."""
    yield from ((t, list(seeds)) for t in within if t != marks[0].frame)


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
            assert self.more.wait_for(lambda: any(map(fits, self.said)), 20), self.said[-4:]
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
    told = [each for each in other.said if each["kind"] == "state"][-1]
    assert [each["frame"] for each in told["clicks"]] == [2, 3, 4]  # at once
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


def find(heard: Heard, t: int) -> None:
    """Look at a frame, as the browser does, until the regions on it are known."""
    heard.editor.image(t, "mask")
    heard.until(lambda each: each["kind"] == "state" and t not in each["finding"] and t in each["waiting"])


def test_a_click_adds_its_region_and_the_others_follow(heard: Heard) -> None:
    editor = heard.editor
    square = editor.masks.before[0]
    assert not editor.outdated
    state = heard.do(**CLICK)
    assert (state["outdated"], state["finding"], state["waiting"]) == (True, [2], [2])
    np.testing.assert_array_equal(editor.outline(2), square)  # not found yet
    find(heard, 2)
    added = square | disc(30.5, 20.25)
    np.testing.assert_array_equal(editor.outline(2), added)
    np.testing.assert_array_equal(editor.outline(3), square)  # as it was
    np.testing.assert_array_equal(editor.image(2, "mask").kinds > 0, added)  # type: ignore[union-attr]
    worker = editor.propagate()
    assert worker is not None
    worker.join()
    assert not editor.outdated
    np.testing.assert_array_equal(editor.outline(5), added)
    assert editor.propagate() is None
    heard.do(op="stroke", frame=5, add=True, radius=3.0, path=[[50.0, 40.0]], carried=False)
    assert not editor.outdated  # a stroke holds on its own frame at once
    assert editor.outline(5)[40, 50]
    heard.do(**{**CLICK, "positive": False, "x": 12.0, "y": 12.0, "frame": 0})
    assert editor.outdated
    np.testing.assert_array_equal(editor.outline(3), added)  # what still holds is shown
    heard.do(op="undo")
    assert not editor.outdated
    assert heard.do(op="stretch", stretch=[1, 4])["outdated"]
    np.testing.assert_array_equal(editor.outline(0), square)  # outside the stretch
    heard.do(op="undo")
    assert not editor.outdated  # followed before


def test_masks_are_told_while_they_are_followed(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wanlab.widgets.mask_editor.STREAMED_S", 0.0)
    heard.do(**CLICK)
    worker = heard.editor.propagate()
    assert worker is not None
    worker.join()
    streamed = [each["frames"] for each in heard.said if each["kind"] == "stale" and each["frames"]]
    assert streamed[-6:-1] == [[0], [1], [3], [4], [5]] or [0] in streamed


def test_each_object_has_its_colour(heard: Heard) -> None:
    heard.do(**CLICK)
    heard.do(**{**CLICK, "x": 50.0, "object": 2})
    find(heard, 2)
    tint = heard.editor.image(2, "mask")
    assert isinstance(tint, stills.Tint)
    assert tint.colours == (viz.MASK_COLOUR, viz.object_colour(1), viz.object_colour(2))
    assert [tint.kinds[y, x] for x, y in ((10, 30), (30, 20), (50, 20), (40, 45))] == [1, 2, 3, 0]


def test_a_click_that_makes_the_mask_jump_is_asked_about_first(heard: Heard) -> None:
    heard.do(**{**CLICK, "x": 1.0, "y": 1.0})  # finds everything
    heard.editor.image(2, "mask")
    state = heard.until(lambda each: each["kind"] == "state" and each["doubt"])
    assert "would change 84% of frame 2" in state["doubt"]["text"]
    assert state["clicks"] == []
    assert [each["kind"] for each in kept(heard)["off"]] == ["click"]  # nothing is lost
    np.testing.assert_array_equal(heard.editor.outline(2), heard.editor.masks.before[2])
    state = heard.do(op="keep", mark=state["doubt"]["mark"])
    assert (len(state["clicks"]), state["doubt"]) == (1, None)
    assert heard.editor.outline(2).all()
    assert heard.do(op="undo")["clicks"] == []
    assert not heard.do(op="undo")["undo"]  # the click and its being switched off are one action
    worker = heard.editor.propagate()
    assert worker is None


def test_frames_that_jump_after_the_propagation_are_named(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    def flood(_: Any, marks: Any, seeds: Any, within: range) -> Iterator[tuple[int, list[np.ndarray]]]:
        yield from ((t, [seeds[0] if t != 4 else np.ones_like(seeds[0])]) for t in within if t != marks[0].frame)

    monkeypatch.setattr(person._Follower, "follow", flood)
    heard.do(**{**CLICK, "x": 26.0, "y": 30.0})
    worker = heard.editor.propagate()
    assert worker is not None
    worker.join()
    state = [each for each in heard.said if each["kind"] == "state"][-1]
    assert 4 in state["jumps"]
    assert 1 not in state["jumps"]


def test_a_locked_frame_stays_as_it_is_shown(heard: Heard) -> None:
    editor = heard.editor
    heard.do(**CLICK)
    find(heard, 2)
    shown = editor.outline(2)
    assert heard.do(op="lock", frame=2)["locked"] == [2]
    heard.do(**{**CLICK, "frame": 4, "x": 50.0})
    worker = editor.propagate()
    assert worker is not None
    worker.join()
    np.testing.assert_array_equal(editor.outline(2), shown)
    assert [bool(editor.outline(t)[20, 50]) for t in range(FRAMES)] == [False, False, False, True, True, True]
    heard.do(**{**CLICK, "x": 33.0})
    assert "frame 2 must be unlocked" in heard.said[-1]["text"]
    assert [each["frame"] for each in kept(heard)["locked"]] == [2]
    assert heard.do(op="lock", frame=2)["locked"] == []
    assert editor.outdated


def test_the_propagation_can_be_stopped(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def endless(*_: Any) -> Iterator[tuple[int, list[np.ndarray]]]:
        while True:
            begun.set()
            yield 0, [disc(30, 20)]

    monkeypatch.setattr(person._Follower, "follow", endless)
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
    assert not [each for each in heard.said if each["kind"] == "state"][-1]["busy"]


def test_the_newest_wish_is_next(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    go, asked = threading.Event(), []

    def slow(_: Any, click: Click, against: Any) -> np.ndarray:
        asked.append(click.x)
        go.wait(20)
        return disc(click.x, click.y)

    monkeypatch.setattr(Discs, "of_click", slow)
    heard.do(**CLICK)
    heard.editor.image(2, "mask")
    for x in range(20):
        heard.say("hover", id=f"{x}", t=2, x=float(x), y=9.0, positive=True, object=1, width=64)
    go.set()
    heard.until(lambda each: each["kind"] == "hover" and each["id"] == "19")
    assert asked == [30.5, 30.5, 19.0]  # those between were passed over; the first was measured
    heard.do(**{**CLICK, "x": 40.0})
    find(heard, 2)
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
