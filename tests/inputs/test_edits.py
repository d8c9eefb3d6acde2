"""Decisions as a file: what is read and refused, whole updates, and what each decision does to the mask."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wanlab import config, files, inputs, mask, runs
from wanlab.inputs import edits
from wanlab.mask import strokes as strokes_module
from wanlab.mask.regions import Lock
from wanlab.mask.strokes import Stroke
from wanlab.steps import inspect, preprocess

FRAMES, HEIGHT, WIDTH = 6, 48, 64
STROKE: dict[str, Any] = {"frame": 2, "add": True, "radius": 3.0, "path": [[10.0, 10.0], [30.0, 10.0]]}
CLICK = {"x": 20.0, "y": 12.0, "frame": 1, "object": 1}
POINTS = {"width": WIDTH, "height": HEIGHT, "positive": [CLICK], "negative": [], "bboxes": []}


def parse(**sections: Any) -> edits.Edits:
    return edits.parse({"schema": 1, **sections}, "edits.json", FRAMES, HEIGHT, WIDTH)


def test_what_was_decided_is_said_in_words() -> None:
    decided = parse(
        stretch=[1, 4],
        points=POINTS,
        strokes=[STROKE, {**STROKE, "add": False}, {**STROKE, "frame": 3, "carried": True}],
        pose=[{"do": "hide", "part": "left hand", "first": 2, "last": 4}],
        mask_chain="snap:16",
    )
    assert decided.describe() == (
        "1 point on 1 frame",
        "2 brush strokes on 1 frame",
        "1 carried brush stroke on 1 frame",
        "frames 1 to 4 only",
        "left hand hidden in frames 2 to 4",
        "mask chain snap:16",
    )
    assert not decided.empty
    assert parse(stretch=[1, 4]).empty
    assert parse(stretch=[1, 4]).describe() == ()
    assert not parse(mask_chain="").empty  # the outline itself is a choice


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"stretch": [4, 9]}, r"stretch inside the clip \(6 frames\), first to last, got 4 to 9"),
        ({"stretch": "all"}, "stretch in the form"),
        ({"strokes": {}}, "must have a list as strokes, got dict"),
        ({"strokes": [{**STROKE, "frame": 6}]}, "strokes inside the clip"),
        ({"strokes": [{**STROKE, "radius": 0}]}, "a radius above 0"),
        ({"strokes": [{"frame": 1}]}, "strokes in the form"),
        ({"points": {**POINTS, "positive": [{**CLICK, "x": 64}]}}, "points inside the clip"),
        ({"pose": [{"do": "hide", "part": "face", "first": 2, "last": 6}]}, "must have a last from 0 to 5, got 6"),
        ({"mask_chain": "gorw:3"}, "mask_chain must be made of"),
        ({"brush": []}, "must hold stretch, points, strokes, pose, mask_chain, locked, off only, got 'brush'"),
        ({"off": [{"kind": "brush", "at": 0, "what": 1}]}, "must have what is off in the form"),
        ({"off": [{"kind": "stretch", "at": 0, "what": None}]}, "must have what is off in the form"),
        ({"off": [{"kind": "stroke", "at": 0, "what": {**STROKE, "frame": 6}}]}, "strokes inside the clip"),
    ],
)
def test_what_does_not_fit_is_refused(sections: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(**sections)


def test_negative_points_alone_are_decisions_too() -> None:
    decided = parse(points={**POINTS, "positive": [], "negative": [CLICK]})
    assert decided.points.describe() == "1 point on 1 frame"
    assert decided.of_the_mask


def test_locked_frames_are_read_told_and_checked() -> None:
    locks = [Lock.of(t, np.ones((HEIGHT, WIDTH), bool))._asdict() for t in (4, 2)]
    decided = parse(locked=locks)
    assert [lock.frame for lock in decided.locked] == [2, 4]
    assert decided.describe() == ("frames 2, 4 locked",)
    assert not decided.empty
    assert decided.digest() != edits.Edits().digest()
    assert parse(**{**edits.as_content(decided, HEIGHT, WIDTH), "schema": 1}) == decided
    for wrong, message in [
        ([{"frame": 1}], "locked frames in the form"),
        ([locks[0], locks[0]], "once each"),
        ([{**locks[0], "frame": 6}], "frames of the clip"),
        ([{"frame": 1, "mask": "eNo="}], "must be 48x64 pixels"),
    ]:
        with pytest.raises(ValueError, match=message):
            parse(locked=wrong)


def test_updates_keep_the_other_sections_and_come_from_several_threads(tmp_path: Path) -> None:
    path = tmp_path / edits.EDITS
    edits.update(path, mask_chain="snap:16")
    writers = [
        threading.Thread(target=lambda: [edits.update(path, strokes=[STROKE] * n) for n in range(20)]),
        threading.Thread(target=lambda: [edits.update(path, stretch=[0, n % 6]) for n in range(20)]),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    decided = edits.read(path, FRAMES, HEIGHT, WIDTH)
    assert (decided.mask_chain, len(decided.strokes), decided.stretch) == ("snap:16", 19, (0, 1))
    assert edits.as_json(decided.strokes[0]) == {**STROKE, "carried": False}
    with pytest.raises(ValueError, match="section must be one of .* got strokse"):
        edits.update(path, strokse=[])


WRITER = """
import dataclasses, sys
from pathlib import Path
from wanlab.pose import corrections
from wanlab.inputs import edits
path, mine, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for n in range(count):
    stroke = edits.Stroke(mine, True, 1.0 + n, ((1.0, 1.0),))
    edits.change(path, lambda now: dataclasses.replace(now, strokes=(*now.strokes, stroke)), 6, 48, 64)
edits.update(path, **{"mask_chain": "fill"} if mine else {"stretch": [1, 2]})
"""


def write_twice(path: Path, count: int) -> edits.Edits:
    """Have two processes write `count` decisions each into one file at once; return what it holds then."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(n), str(count)]) for n in (0, 1)]
    assert [writer.wait(300) for writer in writers] == [0, 0]
    return edits.read(path, FRAMES, HEIGHT, WIDTH)


@pytest.mark.parametrize("count", [15, pytest.param(300, marks=pytest.mark.slow)])
def test_two_processes_lose_no_decision(tmp_path: Path, count: int) -> None:
    decided = write_twice(tmp_path / edits.EDITS, count)
    for mine in (0, 1):
        assert [each.radius for each in decided.strokes if each.frame == mine] == [1.0 + n for n in range(count)]
    assert (decided.mask_chain, decided.stretch) == ("fill", (1, 2))


def test_an_action_that_fails_or_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / edits.EDITS
    assert edits.change(path, lambda now: now, FRAMES, HEIGHT, WIDTH) == (edits.Edits(), edits.Edits())
    assert not path.exists()
    edits.update(path, points=POINTS)
    before = path.read_bytes()
    outside = edits.Edits(strokes=(Stroke(6, True, 1.0, ((1.0, 1.0),)),))
    with pytest.raises(ValueError, match="strokes inside the clip"):
        edits.change(path, lambda _: outside, FRAMES, HEIGHT, WIDTH)
    assert path.read_bytes() == before


def add(path: Path, **changes: Any) -> None:
    edits.change(path, lambda now: dataclasses.replace(now, **changes), FRAMES, HEIGHT, WIDTH)


def test_actions_are_undone_and_redone_by_whoever_opens_the_file(tmp_path: Path) -> None:
    path, size = tmp_path / edits.EDITS, (FRAMES, HEIGHT, WIDTH)
    states = [edits.Edits()]
    full = parse(points=POINTS, strokes=[STROKE], pose=[{"do": "hide", "part": "head", "first": 2, "last": 2}])
    for name in ("points", "strokes", "pose"):
        add(path, **{name: getattr(full, name)})
        states.append(edits.read(path, *size))
    add(path, mask_chain="fill", stretch=(1, 3), strokes=full.strokes * 2)
    states.append(edits.read(path, *size))
    for before, after in itertools.pairwise(states[::-1]):
        assert edits.undo(path, *size) == (before, after)
    assert edits.undo(path, *size) is None
    for before, after in itertools.pairwise(states):
        assert edits.redo(path, *size) == (before, after)
    edits.undo(path, *size)
    add(path, mask_chain="snap:16")
    assert edits.redo(path, *size) is None  # a new action ends what could be redone


def test_actions_are_joined_only_if_nothing_came_between(tmp_path: Path) -> None:
    path, size = tmp_path / edits.EDITS, (FRAMES, HEIGHT, WIDTH)
    first = edits.change(path, lambda _: edits.Edits(mask_chain="grow:1"), *size)
    edits.change(path, lambda _: edits.Edits(mask_chain="grow:2"), *size, join=first)
    edits.change(path, lambda _: edits.Edits(mask_chain="grow:3"), *size, join=first)  # no longer the last one
    assert [edits.undo(path, *size)[1].mask_chain for _ in range(2)] == ["grow:2", None]  # type: ignore[index]


def test_undo_refuses_what_cannot_be_and_leaves_the_file(tmp_path: Path) -> None:
    path, size = tmp_path / edits.EDITS, (FRAMES, HEIGHT, WIDTH)
    add(path, mask_chain="fill")

    def never(decided: edits.Edits) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        edits.undo(path, *size, never)
    assert edits.read(path, *size).mask_chain == "fill"
    assert edits.undo(path, *size) is not None


def test_what_is_off_does_not_count(tmp_path: Path) -> None:
    off = [
        {"kind": "stroke", "at": 0, "what": {**STROKE, "carried": False}},
        {"kind": "mask_chain", "at": 0, "what": "fill"},
    ]
    decided = parse(off=off)
    assert decided.empty
    assert decided.digest() == edits.Edits().digest()
    assert edits.as_content(decided, HEIGHT, WIDTH)["off"] == off
    path = tmp_path / edits.EDITS
    edits.update(path, off=off)
    assert edits.by_hand(tmp_path) == "your decisions in edits.json"  # they are not lost with the folder


def test_a_link_in_the_lock_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".edits.json.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="must be a file, got a link; remove it"):
        edits.update(tmp_path / edits.EDITS, strokes=[])
    assert (tmp_path / "mine").read_text() == "mine"


def test_equal_decisions_have_equal_hashes_and_differences_are_named() -> None:
    first = parse(points=POINTS, strokes=[STROKE], stretch=None)
    assert first.digest() == parse(points={"positive": [CLICK]}, strokes=[{**STROKE, "carried": False}]).digest()
    assert first.digest() != parse(points=POINTS, strokes=[STROKE], stretch=[0, 3]).digest()
    assert parse(stretch=[0, 3]).digest() == edits.Edits().digest()  # alone it decides nothing
    more = parse(points=POINTS, strokes=[STROKE, STROKE], mask_chain="fill")
    assert more.without(first).describe() == ("1 brush stroke on 1 frame", "mask chain fill")
    assert first.without(more).empty


def test_a_file_of_something_else_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / edits.EDITS
    for content in ("mine", "", '{"schema": 2, "strokes": []}'):
        path.write_text(content)
        with pytest.raises(ValueError, match="edits.json must hold decisions"):
            edits.update(path, strokes=[])
        with pytest.raises(ValueError, match="edits.json must hold decisions"):
            edits.change(path, lambda _: edits.Edits(mask_chain="fill"), FRAMES, HEIGHT, WIDTH)
        assert path.read_text() == content


def test_a_stroke_covers_what_lies_within_its_radius() -> None:
    covered = strokes_module.covered(Stroke(0, True, 3.0, ((10.0, 10.0), (30.0, 10.0))), HEIGHT, WIDTH)
    ys, xs = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    expected = np.hypot(xs - np.clip(xs, 10, 30), ys - 10) <= 3
    np.testing.assert_array_equal(covered, expected)
    dot = strokes_module.covered(Stroke(0, True, 2.0, ((63.5, 0.5),)), HEIGHT, WIDTH)  # half of it outside
    assert dot.sum() == 6
    assert dot[0, 63]


def test_more_decisions_than_anybody_makes_are_refused() -> None:
    hidden = {"do": "hide", "part": "face", "first": 0, "last": 1}
    for section, value in (("strokes", STROKE), ("pose", hidden)):
        with pytest.raises(ValueError, match=f"edits.json must hold at most 10,000 decisions as {section}, got 10,001"):
            parse(**{section: [value] * 10_001})
    long = {**STROKE, "path": [[1.0, 2.0]] * 100_001}
    with pytest.raises(ValueError, match="strokes of at most 200,000 places in all, got 200,002"):
        parse(strokes=[long, long])


def test_what_is_left_of_many_decisions_is_found_in_one_pass() -> None:
    strokes = parse(strokes=[{**STROKE, "radius": float(n)} for n in range(1, 6001)]).strokes
    begin = time.process_time()
    left = edits.Edits(strokes=(*strokes, strokes[0])).without(edits.Edits(strokes=strokes[1:] + strokes[:1]))
    assert left.strokes == (strokes[0],)
    assert time.process_time() - begin < 1  # comparing each with each took 4 s


def test_a_stroke_as_wide_as_the_image_costs_no_more_than_one_place() -> None:
    wide = parse(strokes=[{**STROKE, "radius": 1e4, "path": [[float(n % 7), 3.0] for n in range(20_000)]}]).strokes[0]
    begin = time.process_time()
    assert strokes_module.covered(wide, 720, 1280).all()
    assert time.process_time() - begin < 5


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[inputs.AnimateInputs]:
    """Preprocess a few frames in replace mode once; yield those inputs. The outputs folder stays set."""
    place, patch = tmp_path_factory.mktemp("edited"), pytest.MonkeyPatch()
    patch.setenv("WANLAB_OUTPUTS", str(place / "outputs"))
    sample = config.ASSETS / "sample"
    chosen = {"driving_video": sample / "half.mp4", "reference_image": sample / "character.png", "mode": "replace"}
    yield preprocess.work(
        preprocess.prepare(config.PreprocessSettings.build({**chosen, "start_s": 1.0, "max_frames": 4}))
    )
    patch.undo()


@pytest.fixture
def decided(parent: inputs.AnimateInputs) -> Iterator[Path]:
    """Write decisions beside the inputs; take them away afterwards."""
    path = parent.folder / edits.EDITS
    click = {"x": 10.0, "y": 20.0, "frame": 2}
    edits.update(path, points={"width": parent.width, "height": parent.height, "positive": [click]}, stretch=[1, 2])
    edits.update(path, strokes=[{"frame": 0, "add": True, "radius": 6.0, "path": [[30.0, 200.0], [60.0, 210.0]]}])
    yield path
    path.unlink()


def build(parent: inputs.AnimateInputs, **more: object) -> config.InspectSettings:
    return config.InspectSettings.build({"inputs": parent.folder, "auto_keypoint": False, "compare": [], **more})


def test_the_notebook_s_replay_and_a_headless_one_give_equal_inputs(
    parent: inputs.AnimateInputs, decided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = inspect.work(inspect.prepare(build(parent)))
    assert not seen.new
    here = inspect.replay(seen)
    assert here.new
    outline, before = here.made.person_mask(), parent.person_mask()
    assert outline is not None
    assert before is not None
    np.testing.assert_array_equal(outline[3], before[3])  # outside the stretch
    stroke = edits.read(decided, 4, parent.height, parent.width).strokes[0]
    np.testing.assert_array_equal(outline[0], before[0] | strokes_module.covered(stroke, *before.shape[1:]))
    assert outline[2, 20, 10]
    assert (outline[2] ^ before[2]).mean() < 0.05  # a bounded region
    np.testing.assert_array_equal(here.made.mask(), mask.apply_chain(outline, mask.DEFAULT_CHAIN))
    said = ("1 point on 1 frame", "1 brush stroke on 1 frame", "frames 1 to 2 only")
    assert here.by_hand == said
    assert json.loads((here.folder / inputs.FACTS).read_text())["by_hand"] == list(said)
    assert runs.find_run(here.folder).manifest["by_hand"] == list(said)
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    monkeypatch.setenv("WANLAB_OUTPUTS", str(tmp_path / "elsewhere"))
    there = inspect.work(inspect.prepare(build(parent, edits=decided)))
    assert there.folder != here.folder
    assert there.made.sha256() == here.made.sha256()
    assert inspect.replay(there) is there
    names = [name for pair in inputs.EXPORTS.values() for name in pair]
    for name in (*names, inputs.DRIVING, inputs.KEYPOINTS, inspect.REPLAYED):
        assert files.sha256(here.folder / name) == files.sha256(there.folder / name), name


def test_a_chosen_chain_is_replayed_and_gives_way_to_the_setting(parent: inputs.AnimateInputs, decided: Path) -> None:
    edits.update(decided, points=None, strokes=[], mask_chain="")
    made = inspect.work(inspect.prepare(build(parent, edits=decided))).made
    np.testing.assert_array_equal(made.mask(), parent.person_mask())
    seen = inspect.work(inspect.prepare(build(parent, edits=decided, mask_chain="snap:16")))
    np.testing.assert_array_equal(seen.made.mask(), mask.snap(parent.person_mask(), 16))


def test_without_a_decision_nothing_is_made(
    parent: inputs.AnimateInputs, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copytree(parent.folder, tmp_path / "copied", ignore=shutil.ignore_patterns("manifest.json"))
    seen = inspect.work(inspect.prepare(build(parent, inputs=copied)))
    edits.update(seen.edits, stretch=[0, 1])
    assert inspect.replay(seen) is seen
    assert "nothing was changed by hand" in capsys.readouterr().out
    edits.update(seen.edits, mask_chain="fill")
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    assert inspect.replay(seen) is seen
    assert f"--edits {copied}/edits.json" in capsys.readouterr().out


def test_refusals_name_the_remedy(parent: inputs.AnimateInputs, decided: Path, tmp_path: Path) -> None:
    with pytest.raises(config.SettingsError, match="points must be left out with edits"):
        inspect.prepare(build(parent, edits=decided, points=decided))
    edits.update(tmp_path / "none.json", stretch=[0, 1])
    with pytest.raises(config.SettingsError, match="edits must hold a decision, got none"):
        inspect.prepare(build(parent, edits=tmp_path / "none.json"))
    with pytest.raises(FileNotFoundError, match="edits must be a file, got nowhere.json"):
        inspect.prepare(build(parent, edits="nowhere.json"))
