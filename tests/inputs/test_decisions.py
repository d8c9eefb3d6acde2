"""Decisions belong to the working clip: 20 opened on inputs that it made shows them all and replays from the base."""

from __future__ import annotations

import dataclasses
import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wanlab import config, files, inputs, mask, media, runs, viz
from wanlab.cli import main
from wanlab.inputs import decisions, edits
from wanlab.mask import strokes
from wanlab.pose import corrections, detection
from wanlab.runs import notebook
from wanlab.steps import generate, inspect
from wanlab.widgets.mask_comparison import MaskComparison

FRAMES, HEIGHT, WIDTH = 5, 128, 96
SIZE = FRAMES, HEIGHT, WIDTH
HIDE = {"do": "hide", "part": "face", "first": 1, "last": 2}


def stroke(x: float, frame: int = 2, y: float = 100.0) -> strokes.Stroke:
    return strokes.Stroke(frame, True, 6.0, ((x, y), (x + 8, y)))


@pytest.fixture
def base(outputs: Path) -> inputs.AnimateInputs:
    """Return inputs as 10_preprocess makes them: noise, a box as the person."""
    run = runs.open_run("preprocess", config.PreprocessSettings.build({}), inputs={}, models={}, result_version=1)
    video = np.random.default_rng(0).integers(0, 255, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    outline = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    outline[:, 40:90, 30:70] = True
    chosen = mask.apply_chain(outline, mask.DEFAULT_CHAIN)
    with run.working():
        media.write_image(run.path(inputs.REFERENCE), video[0])
        media.write_video(run.path(inputs.DRIVING), video, Fraction(16), lossless=True)
        face = np.full((FRAMES, 512, 512, 3), 127, np.uint8)
        videos = {"pose_video": video, "face_video": face, "background_video": mask.blank_out(video, chosen)}
        for name, frames in videos.items():
            inputs.write_pair(run, name, frames, Fraction(16))
        inputs.write_masks(run, outline, chosen, Fraction(16))
        placed = np.random.default_rng(1).uniform((30, 40, 0.9), (70, 90, 0.95), (133, 3)).astype(np.float32)
        points = {"keypoints": np.repeat(placed[None], FRAMES, axis=0), "reference_keypoints": placed}
        files.write_arrays(run.path(inputs.KEYPOINTS), **points, size=np.array([HEIGHT, WIDTH]))
        inputs.write_facts(run.folder, mode="replace", clip_height=HEIGHT, clip_width=WIDTH, run=run.id, parent=None, mask_chain=mask.DEFAULT_CHAIN)  # fmt: skip
        run.add_artefact("inputs", inputs.FACTS)
    return inputs.read(run.folder)


def look(place: Path | str = "latest", **more: Any) -> inspect.Inspection:
    chosen = {"inputs": str(place), "auto_keypoint": False, "compare": [], "sam_checkpoint": "none", **more}
    return inspect.work(inspect.prepare(config.InspectSettings.build(chosen)))


def decide(seen: inspect.Inspection, **changes: Any) -> inputs.AnimateInputs:
    """Put decisions into the file and run the cell Apply; return the inputs that are the latest then."""
    edits.change(seen.edits, lambda now: dataclasses.replace(now, **changes), *SIZE)
    applied = inspect.replay(seen).made
    latest, _ = inputs.find("latest")
    assert latest.folder == applied.folder
    return latest


def test_apply_run_all_and_apply_again(base: inputs.AnimateInputs) -> None:
    first = decide(look(), strokes=(stroke(5.0),))
    assert first.person_mask()[2, 100, 5]
    seen = look()  # of the latest: those that Apply has made
    assert (seen.made.folder, seen.parent.folder) == (first.folder, base.folder)
    assert seen.edits == base.folder / edits.EDITS
    assert edits.read(seen.edits, *SIZE).strokes == (stroke(5.0),)
    second = decide(seen, strokes=(stroke(5.0), stroke(80.0)))
    assert second.facts["ancestors"] == [base.folder.name]
    both = second.person_mask()
    assert both[2, 100, [5, 80]].all()
    third = decide(look(), strokes=(stroke(80.0),))  # one is taken back
    assert third.person_mask()[2, 100, [5, 80]].tolist() == [False, True]
    again = decide(look(), strokes=(stroke(5.0),))
    assert again.folder == first.folder  # the same decisions are the same run, and it is the latest once more
    assert generate.prepare(config.GenerateSettings.build({})).manifest["parents"] == [first.folder.name]
    unmarked = decide(look(), strokes=())
    assert unmarked.sha256() == base.sha256()
    assert len([run for run in runs.list_runs("inspect") if run.path(inputs.FACTS).is_file()]) == 4
    seen = look(base.folder)
    assert decide(seen, strokes=(stroke(80.0),)).folder == third.folder
    assert decide(seen, strokes=()).folder == unmarked.folder


def test_pose_corrections_are_not_made_twice(base: inputs.AnimateInputs) -> None:
    swap = corrections.SwapHands(1, 1)
    decide(look(), pose=(swap,))
    corrected = decide(look(), strokes=(stroke(5.0),))
    expected = corrections.apply(base.keypoints(), [swap])
    np.testing.assert_array_equal(corrected.keypoints(), expected)
    np.testing.assert_array_equal(decide(look(), pose=()).keypoints(), base.keypoints())


def test_a_chain_that_was_asked_for_stays_until_another_is_decided(base: inputs.AnimateInputs) -> None:
    decide(look(), strokes=(stroke(5.0),))
    chained = look(mask_chain="snap:16").made
    assert chained.person_mask()[2, 100, 5]  # what was decided is in it
    made = decide(look(), strokes=(stroke(80.0),))
    np.testing.assert_array_equal(made.mask(), mask.snap(made.person_mask(), 16))
    assert made.person_mask()[2, 100, [5, 80]].tolist() == [False, True]
    made = decide(look(), mask_chain="grow:3")
    np.testing.assert_array_equal(made.mask(), mask.grow(made.person_mask(), 3))
    made = decide(look(), mask_chain=None)
    np.testing.assert_array_equal(made.mask(), mask.apply_chain(made.person_mask(), mask.DEFAULT_CHAIN))


def test_inputs_that_hold_no_decision_are_a_start(base: inputs.AnimateInputs) -> None:
    chained = look(mask_chain="grow:3").made
    found = decisions.origin(chained)
    assert [each.folder for each in found.trail] == [chained.folder, base.folder]
    assert (found.start.folder, found.file) == (chained.folder, base.folder / edits.EDITS)
    made = decide(look(), strokes=(stroke(5.0),))
    np.testing.assert_array_equal(made.mask(), mask.grow(made.person_mask(), 3))
    runs_of = made.facts["ancestors"]
    assert runs_of == [chained.folder.name, base.folder.name]
    shutil.rmtree(chained.folder)
    assert decisions.origin(made).start.folder == base.folder  # the nearest that is still there


def test_copies_and_moved_outputs_find_their_base(base: inputs.AnimateInputs, tmp_path: Path) -> None:
    made = decide(look(), strokes=(stroke(5.0),))
    copied = Path(shutil.copytree(made.folder, tmp_path / "copied", ignore=shutil.ignore_patterns("manifest.json")))
    assert decisions.origin(inputs.read(copied)).file == base.folder / edits.EDITS
    moved = (base.folder.parent).rename(tmp_path / "moved")
    found = decisions.origin(inputs.read(moved / made.folder.name))
    assert found.file == moved / base.folder.name / edits.EDITS


def test_where_the_base_is_gone_decisions_come_on_top(base: inputs.AnimateInputs) -> None:
    first = decide(look(), strokes=(stroke(5.0),), pose=(corrections.SwapHands(1, 1),))
    shutil.rmtree(base.folder)
    seen = look(first.folder)
    assert (seen.parent.folder, seen.edits) == (first.folder, first.folder / edits.EDITS)
    (note,) = [note for note in runs.Run(seen.folder).manifest["notes"] if "on top" in note]
    assert (
        f"outputs/{first.folder.name} was made with, which stay: the inputs that they were made from are gone" in note
    )
    assert decisions.unapplied(first) is None
    second = decide(seen, strokes=(stroke(80.0),))
    assert second.person_mask()[2, 100, [5, 80]].all()
    np.testing.assert_array_equal(second.keypoints(), first.keypoints())
    third = decide(look(), strokes=())
    assert third.sha256() == first.sha256()


def test_a_base_of_another_tool_outside_the_project(replacing: Path, outputs: Path) -> None:
    seen = look(replacing)
    edits.update(seen.edits, strokes=[edits.as_json(stroke(5.0, y=80.0))])
    made = inspect.replay(seen).made
    assert made.facts["ancestors"] == [None]
    assert str(replacing.parent) not in (made.folder / inputs.FACTS).read_text()
    again = look()
    assert (again.parent.folder, again.edits) == (replacing, replacing / edits.EDITS)
    (replacing / inputs.DRIVING).unlink()  # the new inputs hold the video too
    edits.update(again.edits, strokes=[edits.as_json(stroke(50.0, y=80.0))])
    other = inspect.replay(again).made
    assert other.person_mask()[2, 80, [5, 50]].tolist() == [False, True]


def test_decisions_of_another_file_are_shown_too(base: inputs.AnimateInputs, tmp_path: Path) -> None:
    elsewhere = tmp_path / "mine.json"
    edits.update(elsewhere, strokes=[edits.as_json(stroke(5.0))])
    made = look(edits=str(elsewhere)).made
    assert decisions.unapplied(made) is None
    seen = look()
    assert seen.edits == base.folder / edits.EDITS
    assert edits.read(seen.edits, *SIZE).strokes == (stroke(5.0),)
    assert decide(seen, mask_chain=None).folder == made.folder


def test_what_is_not_applied_is_said_in_the_notebook_and_on_the_command_line(
    base: inputs.AnimateInputs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "execute", lambda *_: (0, None))
    main.run_step("generate", {"inputs": base.folder})
    assert viz.not_applied(base) is None
    edits.update(base.folder / edits.EDITS, strokes=[edits.as_json(stroke(5.0))])
    shown = viz.not_applied(base)
    assert shown is not None
    assert '<a href="20_inspect.ipynb">' in str(shown.data)
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    assert "href" not in str(viz.not_applied(base).data)  # type: ignore[union-attr]  # a report stands elsewhere
    assert capsys.readouterr().err == ""
    main.run_step("generate", {"inputs": base.folder})
    assert capsys.readouterr().err.startswith("warning: these inputs differ from ")


def test_what_is_not_applied_is_said_with_the_command(base: inputs.AnimateInputs) -> None:
    assert decisions.unapplied(base) is None
    where = f"outputs/{base.folder.name}"
    edits.update(base.folder / edits.EDITS, strokes=[edits.as_json(stroke(5.0))], stretch=[0, 1])
    assert decisions.unapplied(base) == (
        f"these inputs differ from {where}/edits.json (not applied: 1 brush stroke on 1 frame, frames 0 to 1 only); "
        f"to apply it: wanlab inspect --inputs {base.folder} --edits {base.folder}/edits.json"  # as it can be pasted
    )
    made = decide(look(), stretch=None)
    assert decisions.unapplied(made) is None
    edits.update(base.folder / edits.EDITS, strokes=[], mask_chain="fill")
    said = decisions.unapplied(made)
    assert said is not None
    assert "(not applied: mask chain fill; applied, but taken back since: 1 brush stroke on 1 frame)" in said
    (base.folder / edits.EDITS).write_text("{")
    said = decisions.unapplied(made)
    assert said is not None
    assert f"the decisions in {where}/edits.json are not applied: they cannot be read" in said
    (base.folder / edits.EDITS).unlink()
    assert decisions.unapplied(made) is None


def test_a_generation_says_what_is_not_applied(folder: Path, outputs: Path, capsys: pytest.CaptureFixture) -> None:
    chosen = config.GenerateSettings.build({"inputs": folder, "num_inference_steps": 1})
    begun = generate.prepare(chosen)
    assert not [note for note in begun.manifest["notes"] if "edits.json" in note]
    (folder / edits.EDITS).write_text(json.dumps({"schema": 1, "pose": [HIDE]}))
    run = generate.prepare(chosen)
    (note,) = [note for note in run.manifest["notes"] if "edits.json" in note]
    assert "these inputs differ from process_results/edits.json (not applied: face hidden in frames 1 to 2)" in note
    assert str(folder) not in note
    assert f"wanlab inspect --inputs {folder} --edits {folder}/edits.json" in capsys.readouterr().out
    run.save(status="completed", notes=[])
    assert note not in generate.prepare(chosen).manifest["notes"]  # the video is there already, and was made before
    assert f"wanlab inspect --inputs {folder}" in capsys.readouterr().out


def test_headless_an_inspection_says_whether_decisions_are_applied(
    base: inputs.AnimateInputs, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits.update(base.folder / edits.EDITS, strokes=[edits.as_json(stroke(5.0))])
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    seen = look()
    assert inspect.replay(seen) is seen
    assert f"--edits {base.folder}/edits.json" in capsys.readouterr().out
    made = look(edits=str(base.folder / edits.EDITS))
    inspect.replay(made)
    seen = look()
    assert seen.made.folder == made.folder
    inspect.replay(seen)
    assert "edits.json are applied" in capsys.readouterr().out
    edits.update(base.folder / edits.EDITS, strokes=[])
    back = look(made.folder, edits=str(base.folder / edits.EDITS))
    assert back.made.sha256() == base.sha256()
    (back.folder / inputs.DRIVING).unlink()  # made again, though nothing is decided
    assert look(back.folder).made.driving() is not None
    assert "changed by hand: nothing any more" in capsys.readouterr().out


def test_in_the_mask_comparison_the_mask_in_use_can_be_chosen_again(
    base: inputs.AnimateInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MaskComparison, "send", lambda *_: None)
    first = decide(look(), mask_chain="grow:3")
    seen = look()
    assert seen.clip is not None
    widget = MaskComparison(seen, seen.clip)
    assert "in use" in widget.names
    for name, chain in (("outline", ""), ("in use", "grow:3")):
        widget.use(name)
        widget.wait()
        assert edits.read(seen.edits, *SIZE).mask_chain == chain
        np.testing.assert_array_equal(inputs.find("latest")[0].mask(), mask.apply_chain(base.person_mask(), chain))
    assert inputs.find("latest")[0].folder == first.folder


def test_nothing_is_run_that_strokes_do_not_need(base: inputs.AnimateInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "detect", lambda *_: pytest.fail("was run"))
    decide(look(), strokes=(stroke(5.0),))
