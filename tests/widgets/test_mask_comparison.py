"""The mask comparison: bits that travel, chains that are tried, the choice that becomes new inputs; headless stills."""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traitlets
from conftest import outputs_in, preprocessed

from wanlab import config, inputs, mask, media, viz
from wanlab.inputs import edits
from wanlab.mask import metrics
from wanlab.steps import inspect
from wanlab.widgets.mask_comparison import MaskComparison, mask_comparison

HEIGHT, WIDTH, FRAMES = 50, 70, 12  # no multiple of 8: bits are padded
CHAINS = ("outline", "grow:3", "snap:16", "auto-keypoint")


@pytest.fixture
def seen(tmp_path: Path) -> inspect.Inspection:
    """A box that wanders and jumps at frame 7, and two chains of it."""
    frames = np.repeat(np.arange(20, 260, 20, dtype=np.uint8), HEIGHT * WIDTH * 3).reshape(FRAMES, HEIGHT, WIDTH, 3)
    media.write_video(tmp_path / "driving.mkv", frames, Fraction(16), lossless=True)
    outline = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    for t in range(FRAMES):
        outline[t, 11:30, (40 if t == 7 else 10 + t) : (60 if t == 7 else 30 + t)] = True
    masks = [mask.apply_chain(outline, name) for name in ("", "grow:3", "snap:16", "fill")]
    np.savez(tmp_path / inspect.VARIANTS, **{str(i): np.packbits(each, axis=-1) for i, each in enumerate(masks)})
    numbers = {name: inspect.measure(each, outline) for name, each in zip(CHAINS, masks, strict=True)}
    made = inputs.AnimateInputs(tmp_path, "replace", {}, FRAMES, HEIGHT, WIDTH, Fraction(16), {}, ())
    return inspect.Inspection(
        folder=tmp_path,
        made=made,
        new=False,
        clip=media.open_clip(tmp_path / "driving.mkv"),
        base="outline",
        chosen=None,
        numbers=numbers,
        parent=made,
        edits=tmp_path / edits.EDITS,
        by_hand=(),
        asked=config.InspectSettings.build({}),
    )


class Messages(list[tuple[dict[str, Any], list[bytes]]]):
    """What a widget said to the browser."""

    def last(self, kind: str) -> tuple[dict[str, Any], list[bytes]]:
        return next(each for each in reversed(self) if each[0]["kind"] == kind)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Messages:
    said = Messages()
    monkeypatch.setattr(MaskComparison, "send", lambda _, content, buffers=None: said.append((content, buffers or [])))
    return said


def ask(widget: MaskComparison, kind: str, **content: Any) -> None:
    widget._receive(widget, {"kind": kind, **content}, [])


def unpacked(message: tuple[dict[str, Any], list[bytes]]) -> np.ndarray:
    """Return the masks of a message, [n, H, W], bool."""
    content, (joined,) = message
    ends = np.cumsum([0, *content["sizes"]])
    frames = [zlib.decompress(joined[a:b]) for a, b in itertools.pairwise(ends)]
    packed = np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), HEIGHT, -1)
    return np.unpackbits(packed, axis=-1, count=WIDTH).astype(bool)


def test_masks_and_leaks_travel_bit_for_bit(seen: inspect.Inspection, told: Messages) -> None:
    widget = MaskComparison(seen, seen.clip)
    ask(widget, "masks", what="mask", name="grow:3", t=4)
    assert {key: told.last("masks")[0][key] for key in ("what", "name", "first")} == {
        "what": "mask",
        "name": "grow:3",
        "first": 0,
    }
    np.testing.assert_array_equal(unpacked(told.last("masks")), seen.masks("grow:3"))
    ask(widget, "masks", what="leak", name="grow:3", t=4)
    leaking = unpacked(told.last("masks"))
    assert leaking.any()
    np.testing.assert_array_equal(leaking, metrics.leak(seen.masks("grow:3")))


def test_numbers_travel_as_they_are(seen: inspect.Inspection, told: Messages) -> None:
    ask(MaskComparison(seen, seen.clip), "hello")
    state, _ = told.last("state")
    assert list(state["numbers"]) == list(CHAINS)
    for kind, values in seen.numbers["grow:3"].items():
        np.testing.assert_allclose(state["numbers"]["grow:3"][kind], values, atol=1e-5)
    assert (state["chosen"], state["result"], state["working"]) == (None, "", False)
    assert list(state["unusable"]) == ["auto-keypoint"]
    assert '10_preprocess makes it with mask_source = "keypoints"' in state["unusable"]["auto-keypoint"]


@pytest.mark.parametrize("chain", ["median:5", "grow:2,hold:8", "square:4"])
def test_a_tried_chain_is_shown_frame_by_frame_as_it_will_be(
    seen: inspect.Inspection, told: Messages, chain: str
) -> None:
    widget = MaskComparison(seen, seen.clip)
    ask(widget, "try", chain=f" {chain} ")
    assert widget.names == [*CHAINS, chain]
    assert widget.panes[1] == chain
    assert told.last("trial")[0]["wrong"] == ""
    whole = mask.apply_chain(seen.masks("outline"), chain)
    numbers = inspect.measure(whole, seen.masks("outline"))
    for t in (0, 6, 7, 8, 11):
        ask(widget, "masks", what="mask", name=chain, t=t)
        content, _ = told.last("masks")
        assert content["first"] == t
        np.testing.assert_array_equal(unpacked(told.last("masks")), whole[t : t + 1])
        assert content["numbers"] == pytest.approx({kind: values[t] for kind, values in numbers.items()})
    ask(widget, "masks", what="leak", name=chain, t=7)
    np.testing.assert_array_equal(unpacked(told.last("masks")), metrics.leak(whole[7:8]))
    ask(widget, "measure", name=chain)
    widget.wait()
    found = told.last("state")[0]["numbers"][chain]
    for kind, values in numbers.items():
        np.testing.assert_allclose(found[kind], values, atol=1e-5)
    ask(widget, "masks", what="mask", name=chain, t=3)
    np.testing.assert_array_equal(unpacked(told.last("masks")), whole)


def test_a_chain_that_is_there_already_is_only_shown(seen: inspect.Inspection, told: Messages) -> None:
    widget = MaskComparison(seen, seen.clip)
    widget.count = 4
    widget.attempt("snap: 16,")
    assert (widget.names, widget.panes[3]) == (list(CHAINS), "snap:16")
    widget.attempt("")
    assert (widget.names, widget.panes[3]) == (list(CHAINS), "outline")


def test_a_wrong_chain_is_explained_as_everywhere(seen: inspect.Inspection, told: Messages) -> None:
    widget = MaskComparison(seen, seen.clip)
    widget.attempt("gorw:3")
    with pytest.raises(ValueError, match="mask_chain must be made of") as error:
        mask.parse_chain("gorw:3")
    assert told.last("trial")[0]["wrong"] == str(error.value)
    assert widget.names == list(CHAINS)


def test_work_in_all_frames_is_cancelled(
    seen: inspect.Inspection, told: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    widget = MaskComparison(seen, seen.clip)
    widget.attempt("grow:5")
    whole = mask.apply_chain_between
    asked = []

    def cancel_at_once(*arguments: Any) -> np.ndarray:
        asked.append(arguments)
        ask(widget, "cancel")
        return whole(*arguments)

    monkeypatch.setattr(mask, "apply_chain_between", cancel_at_once)
    ask(widget, "measure", name="grow:5")
    widget.wait()
    assert len(asked) == 1
    assert told.last("job")[0] == {"kind": "job", "running": False, "text": "cancelled: grow:5 in all frames", "done": 0, "total": 0}  # fmt: skip
    assert "grow:5" not in told.last("state")[0]["numbers"]


def test_what_cannot_be_shown_is_refused(seen: inspect.Inspection, told: Messages) -> None:
    widget = MaskComparison(seen, seen.clip)
    with pytest.raises(traitlets.TraitError, match=r"panes must be one of outline, .*got gorw:3; use grow:3"):
        widget.panes = ["gorw:3", "outline", "outline", "outline"]
    with pytest.raises(traitlets.TraitError, match="frame must be 0 to 11, got 12"):
        widget.frame = 12
    for name, value in (("count", 3), ("view", "x"), ("base", "x"), ("number", "x"), ("wipe", [0.5, 1.5])):
        with pytest.raises(traitlets.TraitError):
            setattr(widget, name, value)


def test_another_outline_is_not_taken_for_a_chain(seen: inspect.Inspection, told: Messages) -> None:
    widget = MaskComparison(seen, seen.clip)
    ask(widget, "use", name="auto-keypoint")
    assert "auto-keypoint cannot be used: another outline, no chain of this one" in told.last("error")[0]["text"]
    assert not seen.edits.exists()


def test_the_mask_in_use_needs_no_new_inputs(
    seen: inspect.Inspection, told: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "replay", lambda *_, **__: pytest.fail("was run"))
    edits.update(seen.edits, mask_chain="grow:3")
    widget = MaskComparison(seen, seen.clip)
    ask(widget, "hello")
    assert told.last("state")[0]["chosen"] == "grow:3"
    widget.names = [*widget.names, "in use"]
    widget.use("in use")
    assert edits.read(seen.edits, FRAMES, HEIGHT, WIDTH).mask_chain is None
    assert told.last("state")[0]["result"].startswith(f"Chosen: the mask of these inputs, {seen.folder.name}")


def test_a_choice_outlives_the_kernel(seen: inspect.Inspection, told: Messages) -> None:
    edits.update(seen.edits, mask_chain="square:2")
    widget = MaskComparison(seen, seen.clip)
    assert (widget.names, widget.panes[0]) == ([*CHAINS, "square:2"], "square:2")
    ask(widget, "hello")
    assert told.last("state")[0]["chosen"] == "square:2"


def test_pictures_and_masks_are_not_saved_with_the_notebook(seen: inspect.Inspection, told: Messages) -> None:
    widget = MaskComparison(seen, seen.clip)
    ask(widget, "hello")
    ask(widget, "masks", what="mask", name="grow:3", t=4)
    state = {name: value for name, value in widget.get_state().items() if name != "_esm"}
    assert len(str(state)) < 5000


def test_headless_there_are_stills(
    seen: inspect.Inspection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    shown = []
    monkeypatch.setattr(viz, "mask_views", lambda clip, masks, view, base: shown.append((view, list(masks), base)))
    assert mask_comparison(seen) is None
    assert shown == [(view, list(CHAINS), "outline") for view in (viz.overlay, viz.difference, viz.leak)]
    nothing = inspect.Inspection(**{**vars(seen), "numbers": {}})
    assert mask_comparison(nothing) is None
    assert "these inputs hold no mask" in capsys.readouterr().out


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[inputs.AnimateInputs]:
    """Preprocess a few frames in replace mode; the outputs folder stays set."""
    with outputs_in(tmp_path_factory.mktemp("compared")):
        yield preprocessed(mode="replace", max_frames=3)


@pytest.mark.parametrize(("name", "chain"), [("grow:2,snap:16", "grow:2,snap:16"), ("outline", "")])
def test_a_choice_becomes_new_inputs(parent: inputs.AnimateInputs, told: Messages, name: str, chain: str) -> None:
    chosen = {"inputs": str(parent.folder), "auto_keypoint": False, "compare": ["snap:16"]}
    looked = inspect.work(inspect.prepare(config.InspectSettings.build(chosen)))
    assert looked.clip is not None
    asked = looked.asked.replaced(auto_keypoint=True)  # which new inputs do not need
    looked = dataclasses.replace(looked, asked=asked)
    before = parent.sha256()
    widget = MaskComparison(looked, media.open_clip(parent.folder / inputs.DRIVING))
    widget.attempt(name)
    ask(widget, "use", name=name)
    assert edits.read(looked.edits, 3, parent.height, parent.width).mask_chain == chain  # at once
    widget.wait()
    latest, _ = inputs.find("latest")
    np.testing.assert_array_equal(latest.mask(), mask.apply_chain(parent.person_mask(), chain))
    assert latest.facts["mask_chain"] == chain
    assert latest.facts["parent"] == parent.folder.name
    assert parent.sha256() == before
    state = told.last("state")[0]
    assert f"outputs/{latest.folder.name}" in state["result"]
    assert state["chosen"] == name
    assert told.last("job")[0]["running"] is False
    works = [content["text"] for content, _ in told if content["kind"] == "job"]
    assert works[0] == f"new inputs with {name}"
    assert len(works) > 2  # it tells how far it is
    again = inspect.replay(looked)  # the notebook's cell finds them made
    assert again.made.folder == latest.folder
    assert "auto-keypoint" not in again.names


def test_new_inputs_can_be_cancelled(
    parent: inputs.AnimateInputs, told: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"inputs": str(parent.folder), "auto_keypoint": False, "compare": []}
    looked = inspect.work(inspect.prepare(config.InspectSettings.build(chosen)))
    assert looked.clip is not None
    widget = MaskComparison(looked, media.open_clip(parent.folder / inputs.DRIVING))
    widget.attempt("grow:7")
    known, _ = inputs.find("latest")
    blank = mask.blank_out
    monkeypatch.setattr(mask, "blank_out", lambda *each: (ask(widget, "cancel"), blank(*each))[1])
    ask(widget, "use", name="grow:7")
    widget.wait()
    assert told.last("job")[0]["text"] == "cancelled: new inputs with grow:7"
    assert inputs.find("latest")[0].folder == known.folder
