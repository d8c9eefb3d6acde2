"""AnimateInputs: whatever a step reads of a folder counts in its hash."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from wanlab import config, files, inputs, media, runs
from wanlab.config import paths as config_paths
from wanlab.model import checkpoints
from wanlab.steps import generate, inspect, report


@pytest.fixture
def made(replacing: Path) -> Path:
    """Return a folder with all that wanlab writes, quick to make."""
    grey = np.full((9, 96, 64, 3), 90, np.uint8)
    for name, size in (("pose", (96, 64)), ("face", (512, 512)), ("background", (96, 64))):
        frames = np.full((9, *size, 3), 60, np.uint8)
        media.write_video(replacing / f"{name}.mkv", frames, Fraction(24), lossless=True)
    person = np.zeros((9, 96, 64), bool)
    person[:, 30:70, 20:50] = True
    inputs.save_masks(replacing, person, person, Fraction(24))
    points = np.zeros((9, 133, 3), np.float32)
    points[:, :17] = (32, 48, 1)
    files.write_arrays(replacing / "keypoints.npz", keypoints=points, reference_keypoints=points[0])
    media.write_image(replacing / "tpl_edit.png", grey[0])
    more = {"no_person": [], "no_face": [], "cuts": [], "own": [], "mask_chain": "grow:4", "by_hand": []}
    inputs.write_facts(replacing, mode="replace", clip_height=96, clip_width=64, run="r", parent=None, **more)
    return replacing


@pytest.mark.parametrize(
    "file", ["src_ref.png", "pose.mkv", "face.mkv", "background.mkv", "driving.mkv", "keypoints.npz", "mask.npz", "tpl_edit.png"]
)  # fmt: skip
def test_every_file_that_a_step_reads_counts(made: Path, tmp_path: Path, file: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    before = inputs.read(made).sha256()
    assert inputs.read(str(copy)).sha256() == before
    if file == "keypoints.npz":
        _rewrite(copy / file, keypoints=np.zeros((9, 133, 3), np.float32))
    elif file == "mask.npz":  # the person's mask, not the one in use
        _rewrite(copy / file, mask=np.zeros((9, 96, 8), np.uint8))
    elif file.endswith(".png"):
        media.write_image(copy / file, np.zeros((96, 64, 3), np.uint8))
    else:
        clip = media.open_clip(copy / file)
        media.write_video(copy / file, 255 - clip.read(), Fraction(24), lossless=True)
    assert inputs.read(copy).sha256() != before


@pytest.mark.parametrize(
    ("fact", "value", "counts"),
    [("mask_chain", "grow:5", True), ("no_person", [2], True), ("preview", ["x"], True), ("run", "other", False), ("by_hand", ["x"], False)],
)  # fmt: skip
def test_of_the_facts_those_count_that_decide(made: Path, fact: str, value: object, counts: bool) -> None:
    before = inputs.read(made).sha256()
    facts = json.loads((made / inputs.FACTS).read_text())
    files.write_json(made / inputs.FACTS, {**facts, fact: value})
    assert (inputs.read(made).sha256() != before) == counts


def test_a_folder_is_known_by_its_hash_of_before(made: Path) -> None:
    read = inputs.read(made)
    earlier = config.digest({name: files.sha256(path) for name, path in read.files.items()})
    assert read.has_hash(earlier)
    assert read.has_hash(read.sha256())
    assert not read.has_hash("0" * 64)


def test_after_a_swap_of_the_key_points_an_inspection_looks_anew(outputs: Path, made: Path) -> None:
    chosen = {"inputs": made, "auto_keypoint": False, "compare": ()}
    first = inspect.prepare(config.InspectSettings.build(chosen))
    assert inspect.prepare(config.InspectSettings.build(chosen)).id == first.id
    _rewrite(made / "keypoints.npz", keypoints=np.full((9, 133, 3), 40, np.float32))
    assert inspect.prepare(config.InspectSettings.build(chosen)).news == "new"
    assert len(runs.list_runs()) == 2


@pytest.fixture
def elsewhere(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder as one that lies outside a project in which another has its name."""
    project = tmp_path / "project"
    shutil.copytree(made, project / made.name)
    media.write_image(project / made.name / "src_ref.png", np.zeros((96, 64, 3), np.uint8))
    for place in (config, config_paths):  # the folder hands the name on
        monkeypatch.setattr(place, "project_root", lambda: project)
    return made


def generation(folder: Path, **more: object) -> runs.Run:
    return generate.prepare(config.GenerateSettings.build({"inputs": folder, "checkpoint": checkpoints.NANO, **more}))


def test_a_run_finds_its_inputs_outside_the_project_and_tells_nobody(outputs: Path, elsewhere: Path) -> None:
    run = generation(elsewhere)
    text = (run.folder / "manifest.json").read_text()
    assert str(elsewhere.parent) not in text
    assert json.loads(text)["settings"]["inputs"] == elsewhere.name
    found = inputs.of_run(runs.Run(run.folder))
    assert (found.folder, found.notes) == (elsewhere, ())
    assert (run.folder / runs.PLACES).stat().st_mode & 0o777 == 0o600
    moved = elsewhere.rename(elsewhere.with_name("moved"))
    assert generation(moved).id == run.id  # equal contents, named again: from now on they are there
    assert inputs.of_run(runs.Run(run.folder)).folder == moved
    media.write_image(moved / "src_ref.png", np.ones((96, 64, 3), np.uint8))
    (note,) = inputs.of_run(runs.Run(run.folder)).notes[-1:]
    assert note == f"the inputs moved are not as {run.id} read them: they are shown as they are now"


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_of_a_copied_run_no_others_of_the_same_name_are_taken(
    outputs: Path, elsewhere: Path, content: str | None
) -> None:
    run = generation(elsewhere)
    (run.folder / runs.PLACES).unlink()
    if content:
        (run.folder / runs.PLACES).write_text(content)
    with pytest.raises(
        FileNotFoundError, match="this copy of the run does not record where, only others of that name are"
    ):
        inputs.of_run(runs.Run(run.folder))
    shutil.copy(elsewhere / "src_ref.png", config.project_root() / elsewhere.name)
    assert inputs.of_run(runs.Run(run.folder)).folder == config.project_root() / elsewhere.name  # now they are the same
    shutil.rmtree(config.project_root() / elsewhere.name)
    with pytest.raises(FileNotFoundError, match="does not record where; use them where the run was made"):
        inputs.of_run(runs.Run(run.folder))


def test_an_inspection_of_inputs_outside_the_project_is_opened_again(outputs: Path, elsewhere: Path) -> None:
    chosen = {"inputs": elsewhere, "mask_chain": "grow:2", "auto_keypoint": False, "compare": ()}
    seen = inspect.work(inspect.prepare(config.InspectSettings.build(chosen)))
    again = inspect.reopen(runs.Run(seen.folder))
    assert again.parent.folder == elsewhere
    assert again.chosen == "grow:2"


def test_a_report_shows_the_inputs_outside_the_project(outputs: Path, elsewhere: Path) -> None:
    run = generation(elsewhere)
    with run.working():
        pass
    told = report.prepare(config.ReportSettings.build({"run": run.id}))
    assert report.gather(told).inputs.folder == elsewhere
    assert str(elsewhere.parent) not in (told.folder / "manifest.json").read_text()


def _rewrite(path: Path, **changes: np.ndarray) -> None:
    with np.load(path, allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in saved.files}
    files.write_arrays(path, **{**arrays, **changes})


@pytest.mark.parametrize(
    "text", ['{"schema": 1, "exports": {"src_po', "[]", '{"exports": []}', '{"exports": {"src_pose.mp4": {}}}', "\x00"]
)
def test_a_damaged_inputs_json_is_named_with_the_remedy(folder: Path, text: str) -> None:
    (folder / "inputs.json").write_text(text)
    with pytest.raises(ValueError, match=r"inputs\.json must be as wanlab wrote it.*preprocess again, or remove it"):
        inputs.read(folder)


def test_terminal_codes_in_inputs_json_are_not_said(made: Path) -> None:
    facts = json.loads((made / inputs.FACTS).read_text())
    facts["by_hand"], facts["mask_chain"] = ["\x1b[2J"], "grow:4\x9b31m"
    (made / inputs.FACTS).write_text(json.dumps(facts))
    assert "\x1b" not in str(inputs.read(made).facts)
    assert "\x9b" not in str(inputs.read(made).facts)
