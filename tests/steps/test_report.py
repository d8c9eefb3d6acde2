"""The report tells what was changed by hand: in words, and the changed frames before and after."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import preprocessed

from wanlab import config, inputs, media, runs, viz
from wanlab.inputs import edits
from wanlab.mask import prompts, strokes
from wanlab.model import checkpoints
from wanlab.results import winner
from wanlab.steps import generate, inspect, report
from wanlab.viz import player

STROKE = {"frame": 1, "add": True, "radius": 8.0, "path": [[20.0, 30.0], [60.0, 30.0]]}


def generated(made: inputs.AnimateInputs) -> runs.Run:
    """Return a run of these inputs that reads as completed; nothing is generated."""
    run = generate.prepare(config.GenerateSettings.build({"inputs": made.folder, "checkpoint": checkpoints.NANO}))
    with run.working():
        pass
    return run


def told(run: runs.Run) -> list:
    return report.by_hand(report.gather(report.prepare(config.ReportSettings.build({"run": run.id}))))


def test_what_was_changed_by_hand_is_told_of_a_generation(outputs: Path, sample: Path) -> None:
    made = preprocessed(mode="replace", max_frames=3)
    assert told(generated(made)) == []
    path = made.folder / edits.EDITS
    edits.update(path, strokes=[STROKE], pose=[{"do": "hide", "part": "head", "first": 2, "last": 2}])
    chosen = {"inputs": made.folder, "edits": path, "auto_keypoint": False, "compare": []}
    seen = inspect.work(inspect.prepare(config.InspectSettings.build(chosen)))
    words = edits.read(path, 3, made.height, made.width).describe()
    edits.update(path, strokes=[], pose=[])  # what is told is what was replayed
    run = generated(seen.made)
    heading, pose_sheet, mask_sheet = told(run)
    assert all(f"<li>{each}</li>" in heading.data for each in words)
    assert "1 brush stroke on 1 frame" in words
    assert pose_sheet.alt == "Frames 2 of driving, pose before, pose after"
    assert mask_sheet.alt == "Frames 1 of before, after, change"
    shutil.rmtree(made.folder)
    heading, gone = told(run)
    assert "are gone" in gone.data
    assert "1 brush stroke on 1 frame" in heading.data


def test_a_star_of_the_sweep_is_the_report_s_winner(outputs: Path, small: Path) -> None:
    """A star given later makes another report; one asked for wins; a point that is not finished cannot."""
    points = []
    for seed in (1, 2):
        chosen = {"inputs": small, "checkpoint": checkpoints.NANO, "seed": seed, "max_frames": 5}
        run = generate.prepare(config.GenerateSettings.build(chosen))
        with run.working():
            pass
        points.append({"values": {"seed": seed}, "run": run.id, "status": "completed"})
    points.append({"values": {"seed": 3}, "status": "failed", "error": "RuntimeError: no memory"})
    sweep = runs.open_run("sweep", config.SweepSettings.build({}), inputs={}, models={}, result_version=1)
    with sweep.working():
        sweep.save(points=points)

    def prepared(**more: object) -> runs.Run:
        return report.prepare(config.ReportSettings.build({"run": sweep.id, **more}))

    without = prepared()
    assert without.settings.winner is None
    winner.write(sweep, 2)
    starred = prepared()
    assert (starred.settings.winner, starred.id == without.id) == (2, False)
    assert prepared(winner=1).settings.winner == 1
    with pytest.raises(config.SettingsError, match="winner must be a finished point, 1, 2, got 3; use 1"):
        prepared(winner=3)
    assert report.star_of(sweep) == player.Star(sweep.id, 2)
    assert report.gather(starred).star == report.star_of(sweep)
    winner.write(sweep, 3)
    assert prepared().settings.winner is None  # it has no result


def test_marks_lie_where_they_were_made_on_their_own_frame() -> None:
    clicks = (prompts.Click(0, 40.5, 50.5, True), prompts.Click(0, 80.5, 50.5, False, object=2))
    decided = edits.Edits(points=prompts.Prompts(clicks), strokes=(strokes.Stroke(1, False, 9, ((10, 20), (30, 20))),))
    empty = np.full((96, 128, 3), 200, np.uint8)
    first, second = (viz.marked(empty, t, decided) for t in (0, 1))
    assert (empty == 200).all()
    rows, columns = np.nonzero((first != 200).any(axis=2))
    assert {(x, y) for x in (40, 80) for y in (50,)} <= set(zip(columns, rows, strict=True))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (35, 85, 45, 55)  # two discs of 5 pixels
    assert (first[48, 40] == 0).all()  # the upright of the plus
    assert (first[48, 80] == viz.OBJECT_COLOURS[1]).all()  # of a minus there is none
    assert (second[20, 10:31] == viz.ERASED_COLOUR).all()
    assert (second[46:55] == 200).all()


def test_frames_with_marks_come_before_those_that_changed_more(tmp_path: Path) -> None:
    media.write_video(tmp_path / "video.mkv", np.full((9, 48, 64, 3), 90, np.uint8), Fraction(8), lossless=True)
    before = np.zeros((9, 48, 64), bool)
    after = before.copy()
    for t in range(9):
        after[t, : t * 4] = True
    decided = edits.Edits(strokes=(strokes.Stroke(1, True, 4, ((5, 5),)),))
    clip = media.open_clip(tmp_path / "video.mkv")
    assert viz.mask_changes(clip, before, after, decided, columns=3).alt == "Frames 1, 7, 8 of before, after, change"
    assert viz.mask_changes(clip, before, after, columns=2).alt == "Frames 7, 8 of before, after, change"
    assert viz.mask_changes(clip, before, before, decided) is None
