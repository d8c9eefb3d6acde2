"""Whatever place a user names: what wanlab did not write there stays, byte for byte, through links and other spellings."""

from __future__ import annotations

import concurrent.futures
import gc
import hashlib
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from wanlab import comfyui, config, files, inputs, media, runs
from wanlab.cli import main
from wanlab.cli.flags import target_from_shell
from wanlab.comfyui import report
from wanlab.config import paths as config_paths
from wanlab.files import targets, whole
from wanlab.inputs import copies, edits
from wanlab.mask import prompts
from wanlab.model import checkpoints
from wanlab.official import download
from wanlab.runs import manage, notebook
from wanlab.steps import denoise, generate, inspect, preprocess, segment_files

FRAMES = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8)
COMPOSED, APART = (unicodedata.normalize(form, "é.mp4") for form in ("NFC", "NFD"))


def digest(box: Path, *but: Path) -> dict[str, tuple]:
    """Return of every name in `box` what it is and holds: kind, mode, bytes or link; without what lies in `but`."""
    found = {}
    for path in sorted(box.rglob("*")):
        if any(path.is_relative_to(other) for other in but):
            continue
        stat = path.lstat()
        held = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(box))] = (stat.st_mode, stat.st_nlink if path.is_file() else 0, held)
    return found


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project, a home and a folder `work` to be in, full of what is the user's; two finished runs in the outputs."""
    for name in (
        "project/.git",
        "project/outputs",
        "home",
        "work/keep",
        "work/films",
        "work/a folder.mp4",
        "work/empty",
    ):
        (tmp_path / name).mkdir(parents=True)
    for name in ("project/README.md", "project/.git/config", "home/.bashrc", "work/keep/notes.txt", "work/films/other.mp4",
                 "work/a folder.mp4/notes.txt", "work/theirs.mp4", "work/theirs.yaml", f"work/{COMPOSED}"):  # fmt: skip
        (tmp_path / name).write_text(f"the user's own {name}")
    for place in (config, config_paths):  # the folder hands the name on
        monkeypatch.setattr(place, "project_root", lambda: tmp_path / "project")
    monkeypatch.setenv("WANLAB_OUTPUTS", str(tmp_path / "project/outputs"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    work = tmp_path / "work"
    monkeypatch.chdir(work)
    media.write_video(work / "mine.mp4", FRAMES[::-1], Fraction(8))
    (work / "link.mp4").symlink_to("mine.mp4")
    (work / "hard.mp4").hardlink_to(work / "mine.mp4")
    shutil.copyfile(work / "mine.mp4", work / "films/copy.mp4")
    (work / "dangling.mp4").symlink_to("nowhere.mp4")
    (work / "loop.mp4").symlink_to("loop.mp4")
    (work / "link to keep").symlink_to("keep")
    (work / "link to films").symlink_to("films")
    os.mkfifo(work / "fifo.mp4")
    made = make_inputs(work / "mine.mp4")
    copies.write(made.folder, str(work / "in"), targets.Kept())
    (work / "link to in").symlink_to("in")
    (work / "link to run").symlink_to(made.folder)
    (work / "hard pose.mp4").hardlink_to(work / "in/src_pose.mp4")
    (work / "hard of run.mp4").hardlink_to(made.folder / "src_pose.mp4")
    return tmp_path


def make_inputs(film: Path, seed: int = 0, mode: str = "animate") -> runs.Run:
    """Make a finished preprocessing of 5 frames of 64 x 64."""
    settings = config.PreprocessSettings.build({"driving_video": film, "mode": mode})
    facts = {"driving_video": {"file": film.name, "sha256": files.sha256(film)}}
    run = runs.open_run("preprocess", settings, inputs=facts, models={"seed": str(seed)}, result_version=1)
    with run.working():
        media.write_image(run.path(inputs.REFERENCE), FRAMES[0])
        names = ["pose_video", *(["background_video"] if mode == "replace" else [])]
        for name in names:
            inputs.write_pair(run, name, FRAMES // (seed + 1), Fraction(8))
        inputs.write_pair(run, "face_video", np.full((5, 512, 512, 3), 100 + seed, np.uint8), Fraction(8))
        if mode == "replace":
            drawn = np.zeros((5, 64, 64), bool)
            drawn[:, 8:24, 8:24] = True
            inputs.write_masks(run, drawn, drawn, Fraction(8))
        inputs.write_facts(run.folder, mode=mode, clip_height=64, clip_width=64, run=run.id, parent=None)
        run.add_artefact("inputs", inputs.FACTS)
    return run


def settings(box: Path, **more: object) -> config.GenerateSettings:
    return config.GenerateSettings.build({"inputs": box / "work/in", "checkpoint": checkpoints.NANO, **more})


def typed(text: str) -> str:
    """Return what the command line makes of a place."""
    return target_from_shell(text)


def outcome(action) -> str:
    try:
        action()
    except config.SettingsError as error:
        return str(error)
    return ""


VIDEOS = {  # text: what the refusal says
    "": "must be a path", "  ": "must be a path", "a\0b.mp4": "without control characters",
    "keep.gif": "use keep.mp4", "keep.webm": "must end in .mp4, .mov or .mkv", "clip.mkvv": "use clip.mkv",
    "keep/notes.txt": "must end in", "result": "/result/ for a folder", "theirs.yaml": "must end in",
    "theirs.mp4": "use --overwrite", "./theirs.mp4": "use --overwrite", "keep/../theirs.mp4": "use --overwrite",
    "link to films/other.mp4": "use --overwrite", "films/../films/./other.mp4": "use --overwrite", COMPOSED: "--overwrite",
    "theirs.mp4/": "name a folder where it ends in /", "theirs.mp4/x.mp4": "theirs.mp4 is a file",
    "dangling.mp4": "a link to nothing", "loop.mp4": "", "fifo.mp4": "must be a file", "~nobody-here/x.mp4": "must be a place",
    "tagged.mp4": "or it was changed since", "swapped.mp4": "or it was changed since",
    **dict.fromkeys(["x" * 300 + ".mp4"], "must be a place"),
}  # fmt: skip
NEVER = {  # with --overwrite too
    "mine.mp4": "another file than the driving_video", "link.mp4": "the driving_video", "hard.mp4": "the driving_video",
    "films/copy.mp4": "the driving_video", "in/src_pose.mp4": "another place than inputs", "in/new.mp4": "another place than inputs",
    "in": "another place than inputs", "link to in/": "another place than inputs", "keep/../in/new.mp4": "another place than inputs",
    "hard pose.mp4": "another place than inputs", "hard of run.mp4": "outside the run folders", "link to run/new.mp4": "outside the run folders",
    "link to run": "outside the run folders", "../project/outputs/.written/x.mp4": "outside the run folders",
    "{nano}/x.mp4": "another place than checkpoint", "fifo.mp4": "must be a file", "dangling.mp4": "a link to nothing", "": "must be a path",
    "keep.gif": "must end in", "~nobody-here/x.mp4": "must be a place",
}  # fmt: skip


@pytest.fixture
def with_results(box: Path) -> Path:
    """Put two videos of wanlab's into the box that were changed since."""
    for name in ("tagged.mp4", "swapped.mp4"):
        target = targets.File("output_path", str(box / "work" / name), targets.VIDEO_ENDINGS, None)
        with target.writing() as part:
            media.write_video(part, FRAMES, Fraction(8), comment="wanlab's settings")
    media.write_video(box / "work/tagged.mp4", 255 - FRAMES, Fraction(8), comment="wanlab's settings")
    (box / "work/swapped.mp4").write_text("an edit")
    return box


def test_no_output_path_touches_what_is_the_users(with_results: Path) -> None:
    before = digest(with_results)
    assert len(VIDEOS) + len(NEVER) >= 40
    for overwrite, cases in ((False, VIDEOS), (True, NEVER), (False, NEVER)):
        for text, said in cases.items():
            text = text.format(nano=checkpoints.NANO)
            error = outcome(
                lambda text=text, over=overwrite: generate.prepare(
                    settings(with_results, output_path=typed(text), overwrite=over)
                )
            )
            assert error, text
            assert said in error or (not overwrite and cases is NEVER), (text, error)
            assert "output_path" in error
    assert digest(with_results) == before


def finished(box: Path, **more: object) -> runs.Run:
    run = generate.prepare(settings(box, **more))
    if not run.completed:
        with run.working():
            media.write_video(run.path(denoise.MASTER), FRAMES, Fraction(8), lossless=True)
            media.write_video(run.path(generate.RESULT), FRAMES, Fraction(8), comment="how it was made")
            files.write_json(run.path(generate.METRICS), {})
            for name, file in (("master", denoise.MASTER), ("video", generate.RESULT), ("metrics", generate.METRICS)):
                run.add_artefact(name, file, frames=5, height=64, width=64, fps="8")
    return run


PLACES = {  # text: where the copy is
    "new.mp4": "new.mp4", "NEW.MP4": "NEW.MP4", "new.mov": "new.mov", "deep/er/new.mkv": "deep/er/new.mkv", "keep": "keep/{id}.mp4",
    "films/": "films/{id}.mp4", ".": "{id}.mp4", "a folder.mp4": "a folder.mp4/{id}.mp4", "..": "../{id}.mp4", "~": "../home/{id}.mp4",
    "not there/": "not there/{id}.mp4", "keep/../empty": "empty/{id}.mp4", "new one/.": "new one/{id}.mp4", APART: APART,
    "link to empty": "empty/{id}.mp4",
}  # fmt: skip


def test_one_new_file_and_nothing_else(box: Path) -> None:
    (box / "work/link to empty").symlink_to("empty")
    run = finished(box)
    other = run.folder, box / "project/outputs" / targets.LEDGER
    whole = digest(box, *other)
    for text, name in PLACES.items():
        path = Path(os.path.normpath(box / "work" / name.format(id=run.id)))
        before = {found: held for found, held in whole.items() if box / found != path}  # link to empty: there already
        again = finished(box, output_path=typed(text))
        assert again.id == run.id
        generate.work(again)
        whole = digest(box, *other)
        new = {box / found for found in whole if found not in before}
        assert new - set(path.parents) == {path}
        assert {found: whole[found] for found in before} == before
        clip = media.open_clip(path)
        np.testing.assert_array_equal(clip.read(), media.open_clip(run.path(generate.RESULT)).read())
        assert (clip.fps, media.read_comment(path)) == (8, "how it was made")
        with path.open("rb") as file:
            head = file.read(12)
        assert head[:4] == b"\x1aE\xdf\xa3" if path.suffix == ".mkv" else head[4:8] == b"ftyp"
        assert (head[8:12] == b"qt  ") == (path.suffix == ".mov")
        generate.work(again)  # its own file is replaced
        assert digest(box, *other) == whole


def test_overwrite_takes_a_video_of_the_users(with_results: Path) -> None:
    run = finished(with_results)
    for name in ("theirs.mp4", "swapped.mp4", COMPOSED):
        again = finished(with_results, output_path=typed(name), overwrite=True)
        before = digest(with_results / "work")
        generate.work(again)
        after = digest(with_results / "work")
        assert {found for found in after if after[found] != before[found]} == {name}
        assert files.sha256(with_results / "work" / name) == files.sha256(run.path(generate.RESULT))


def test_what_came_to_lie_there_meanwhile_stays(box: Path) -> None:
    run = finished(box, output_path=typed("late.mp4"))
    (box / "work/late.mp4").write_text("came meanwhile")
    with pytest.raises(config.SettingsError, match="use --overwrite"):
        generate.work(run)
    assert (box / "work/late.mp4").read_text() == "came meanwhile"
    target = targets.File("output_path", str(box / "work/later.mp4"), targets.VIDEO_ENDINGS, None)

    def late() -> None:
        with target.writing() as part:
            part.write_text("ours")
            (box / "work/later.mp4").write_text("came while it was written")

    assert "use --overwrite" in outcome(late)
    assert (box / "work/later.mp4").read_text() == "came while it was written"
    assert not [path for path in (box / "work").iterdir() if files.is_part(path)]


def test_a_folder_that_may_not_be_written_is_refused_at_once(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets.os, "access", lambda path, _: Path(path).name != "keep")  # root may write anywhere
    before = digest(box)
    assert "that you may write to" in outcome(lambda: generate.prepare(settings(box, output_path=typed("keep/a.mp4"))))
    keep = targets.Kept()
    assert "that you may write to" in outcome(lambda: copies.check(typed("keep/new/deep"), keep))
    assert digest(box) == before


# save_path

FOLDERS = {
    "": "must be a path", " ": "must be a path", ".": "the folder that you are in", "./": "that you are in", "..": "or a folder around it",
    "~": "your home", "/": "or a folder around it", "../project": "the project", "../project/outputs": "the outputs", "../home/": "your home",
    "../project/../project/.": "the project", "../home/../work/.": "that you are in", "keep": "which holds notes.txt", "keep/": "notes.txt",
    "link to keep": "notes.txt", "keep/../films": "which holds copy.mp4, other.mp4", "theirs.mp4": "the file", "theirs.mp4/x": "theirs.mp4 is a file",
    "a folder.mp4": "notes.txt", "dangling.mp4": "a link to nothing", "link to run": "outside the run folders",
    "link to run/new": "outside the run folders", "link to run/segments": "outside the run folders", "~nobody-here": "must be a place",
    "../project/outputs/.written": "outside the run folders", "../project/outputs/.masks/x": "outside the run folders",
    "swapped": "whose src_pose.mp4 wanlab did not write, or was swapped since", "linked": "whose src_face.mp4 wanlab did not write",
    "added": "whose src_mask.mp4 wanlab did not write", "decided": "whose edits.json holds decisions", "unreadable": "whose edits.json",
    "edited index": "whose inputs.json was changed", "old": "whose inputs.json was changed", "no index": "which holds face.mkv, pose.mkv, src_face.mp4 …",
    "foreign names": "whose inputs.json was changed", "\0": "without control characters", "../work": "that you are in", "/home": "",
}  # fmt: skip


@pytest.fixture
def with_inputs(box: Path) -> Path:
    """Put copies of inputs into the box that were changed in every way."""
    work = box / "work"
    names = (
        "swapped",
        "linked",
        "added",
        "decided",
        "unreadable",
        "edited index",
        "old",
        "no index",
        "foreign names",
        "whole",
    )
    for name in names:
        shutil.copytree(work / "in", work / name)
    media.write_video(work / "swapped/src_pose.mp4", 255 - FRAMES, Fraction(8))
    (work / "linked/src_face.mp4").unlink()
    (work / "linked/src_face.mp4").symlink_to(work / "in/src_face.mp4")
    media.write_video(work / "added/src_mask.mp4", FRAMES, Fraction(8))
    edits.update(work / "decided/edits.json", pose=[{"do": "hide", "part": "left hand", "first": 0, "last": 1}])
    (work / "unreadable/edits.json").write_text('{"schema": 1, "po')
    facts = json.loads((work / "in/inputs.json").read_text())
    files.write_json(work / "edited index/inputs.json", {**facts, "mask_chain": "grow:99"})
    plain = {name: value for name, value in facts.items() if name not in ("files", "digest")}
    files.write_json(work / "old/inputs.json", plain)
    (work / "no index/inputs.json").unlink()
    victim = {"../theirs.mp4": files.sha256(work / "theirs.mp4")}
    files.write_json(
        work / "foreign names/inputs.json", targets.sealed({**plain, "files": {**facts["files"], **victim}})
    )
    return box


def test_no_save_path_touches_what_is_the_users(with_inputs: Path) -> None:
    before = digest(with_inputs)
    new = make_inputs(with_inputs / "work/mine.mp4", seed=1)
    before |= digest(with_inputs)
    for text, said in FOLDERS.items():
        chosen = {"driving_video": with_inputs / "work/mine.mp4", "save_path": typed(text)}
        error = outcome(lambda chosen=chosen: preprocess.prepare(config.PreprocessSettings.build(chosen)))
        assert error, text
        assert said in error, (text, error)
        error = outcome(
            lambda text=text: inspect.prepare(
                config.InspectSettings.build({"inputs": new.folder, "save_path": typed(text)})
            )
        )
        assert said in error
        assert error, text
        assert outcome(lambda text=text: copies.write(new.folder, typed(text), targets.Kept())), text
    reading = {"inputs": with_inputs / "work/in", "save_path": typed("in")}
    assert "inputs" in outcome(lambda: inspect.prepare(config.InspectSettings.build(reading)))
    assert digest(with_inputs) == before


def test_new_empty_and_own_folders_are_filled(with_inputs: Path) -> None:
    both = [make_inputs(with_inputs / "work/mine.mp4", seed=seed) for seed in (1, 2)]
    edits.update(with_inputs / "work/whole/edits.json", pose=[])  # nothing is decided
    (with_inputs / "work/whole/my notes.txt").write_text("mine")
    for n, text in enumerate(("new", "new/deep/", "empty", "whole", "whole/", "keep/../whole", "keep/sub")):
        folder = Path(os.path.normpath(with_inputs / "work" / text))
        own = [
            *(folder / name for name in (*inputs.FILES, inputs.FACTS)),
            with_inputs / "project/outputs" / targets.LEDGER,
        ]
        before, new = digest(with_inputs, *own), both[n % 2]
        copies.write(new.folder, typed(text), targets.Kept())
        after = digest(with_inputs, *own)
        assert {name: after[name] for name in before} == before
        assert {with_inputs / name for name in after.keys() - before.keys()} <= {folder, *folder.parents}
        assert inputs.read(folder).sha256() == inputs.read(new.folder).sha256()
        assert not inputs.read(folder).notes


def test_going_from_replace_to_animate_takes_only_its_own_files_away(box: Path) -> None:
    with_mask, without = (
        make_inputs(box / "work/mine.mp4", seed=i, mode=m) for i, m in ((1, "replace"), (2, "animate"))
    )
    folder, keep = box / "work/new", targets.Kept()
    copies.write(with_mask.folder, str(folder), keep)
    assert inputs.read(folder).mode == "replace"
    (folder / "notes.txt").write_text("mine")
    copies.write(without.folder, str(folder), keep)
    assert inputs.read(folder).mode == "animate"
    names = {"src_ref.png", "src_pose.mp4", "pose.mkv", "src_face.mp4", "face.mkv", "inputs.json", "notes.txt"}
    assert {path.name for path in folder.iterdir()} == names
    copies.write(with_mask.folder, str(folder), keep)
    media.write_video(folder / "src_mask.mp4", FRAMES, Fraction(8))
    before = digest(folder)
    assert "src_mask.mp4" in outcome(lambda: copies.write(without.folder, str(folder), keep))
    assert digest(folder) == before


def test_a_swapped_file_of_a_run_is_copied_as_it_is_and_still_wins(box: Path) -> None:
    run = make_inputs(box / "work/mine.mp4", seed=3)
    media.write_video(run.path("src_pose.mp4"), 255 - FRAMES, Fraction(8))
    for _ in range(2):
        copies.write(run.folder, str(box / "work/new"), targets.Kept())
    assert inputs.read(box / "work/new").files["pose_video"].name == "src_pose.mp4"


def test_a_copy_killed_at_any_moment_never_looks_whole_and_is_mended(box: Path) -> None:
    """In processes of their own, killed at the first, second, … time that a part gets a name, until one comes through."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_targets as t; t.kill_copies(t.Path({str(box)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def kill_copies(box: Path) -> None:
    """Fork and kill; a test's own process must not fork, for it has threads."""
    old, new = (make_inputs(box / "work/mine.mp4", seed=i, mode=m) for i, m in ((1, "replace"), (2, "animate")))
    expected = {inputs.read(run.folder).sha256() for run in (old, new)}
    keep, refused = targets.Kept(), 0
    for start in (None, old):
        for moment in range(1, 100):
            folder = box / "work" / f"{'new' if start is None else 'old'} {moment}"
            if start:
                copies.write(start.folder, str(folder), keep)
                (folder / "notes.txt").write_text("mine")
            status = killed(moment, new.folder, folder)
            try:
                assert inputs.read(folder).sha256() in expected
            except FileNotFoundError as error:
                assert status
                refused += "is not complete" in str(error)
            assert start is None or (folder / "notes.txt").read_text() == "mine"
            copies.write(new.folder, str(folder), keep)
            assert inputs.read(folder).sha256() == inputs.read(new.folder).sha256()
            assert not [path for path in folder.iterdir() if files.is_part(path)]
            if not status:
                break
        assert moment > 10
    assert refused > 5


def killed(moment: int, made: Path, folder: Path) -> int:
    """Copy in a forked process that dies at the `moment`-th renaming; return its status."""
    gc.collect()  # decoders of closed videos: in the child they would wait for threads that it does not have
    gc.disable()
    child = os.fork()
    if child:
        gc.enable()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left, put = [moment], files.put
    try:

        def dying(*paths: Path) -> None:
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            put(*paths)

        files.put = whole.put = dying  # the folder hands it on
        copies.write(made, str(folder), targets.Kept())
        os._exit(0)
    finally:
        os._exit(1)


def test_two_copies_at_once_do_not_mix(box: Path) -> None:
    """Of two threads with five copies each the folder always holds one whole."""
    made = [make_inputs(box / "work/mine.mp4", seed=seed).folder for seed in (1, 2)]
    keep, folder = targets.Kept(), str(box / "work/new")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: copies.write(made[n % 2], folder, keep), range(10)))
    found = inputs.read(box / "work/new")
    assert found.sha256() in {inputs.read(each).sha256() for each in made}
    assert not found.notes


# params, downloads, runs


def test_an_import_replaces_only_what_an_import_wrote(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = box / "work/flow.yaml"  # a workflow may have any name
    flow.write_text("{}")
    (box / "work/linked.yaml").symlink_to("theirs.yaml")
    (box / "work/hard.yaml").hardlink_to(box / "work/theirs.yaml")
    (box / "work/clicked_points.json").write_text("mine")
    found = report.Import({"seed": 3}, {"seed": "a node = 3"})
    clicked = report.Import({"seed": 3}, {"seed": "a node = 3"}, prompts=prompts.Prompts(()), canvas=(8, 8))
    before = digest(box)
    for text in ("", ".", "~", "/", "theirs.yaml", "linked.yaml", "hard.yaml", "flow.yaml", "keep/notes.txt", "new.txt", "x", "theirs.yaml/",
                 "link to run/params.yaml", "dangling.mp4", "clicked.yaml", "theirs.mp4", "../project/outputs/.written/x.yaml"):  # fmt: skip
        for one in (found, clicked):
            if text in (".", "~", "/"):  # a folder: a new file in it
                continue
            if text == "clicked.yaml" and one is found:
                continue
            assert outcome(lambda text=text, one=one: comfyui.write(one, typed(text), flow, overwrite=True)), text
    assert digest(box) == before
    made = comfyui.write(found, typed("new.yaml"), flow)
    assert "use --overwrite" in outcome(lambda: comfyui.write(found, typed("new.yaml"), flow))
    comfyui.write(found, typed("new.yaml"), flow, overwrite=True)
    made[0].write_text(made[0].read_text() + "prompt: filled in by hand\n")
    assert "changed since" in outcome(lambda: comfyui.write(found, typed("new.yaml"), flow, overwrite=True))
    assert comfyui.write(found, typed("keep"), flow) == [box / "work/keep/flow.yaml"]


def test_a_download_goes_to_a_folder_of_its_own(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (box / "work/part/process_checkpoint").mkdir(parents=True)
    before = digest(box)
    called = []
    monkeypatch.setattr(download.subprocess, "run", lambda *a, **_: called.append(a) or pytest.fail("downloaded"))
    for text in ("", ".", "..", "~", "/", "../project", "../project/outputs", "keep", "films/", "theirs.mp4", "link to keep", "dangling.mp4",
                 "link to run", "link to run/new", "theirs.mp4/x", "in", "~nobody-here", "a folder.mp4"):  # fmt: skip
        assert main.main(["models", "download", "--source", "huggingface", "--checkpoint", text]) == 2, text
    assert digest(box) == before
    for text in ("new", "empty", "part", "part/"):
        download.check(typed(text))


def test_only_runs_of_the_outputs_are_removed(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = box / "project/outputs"
    good, other = (make_inputs(box / "work/mine.mp4", seed=seed) for seed in (1, 2))
    shutil.copytree(good.folder, box / "work" / "a run elsewhere")
    shutil.copytree(other.folder, box / "work" / other.id)
    shutil.copyfile(good.folder / "manifest.json", outputs / "manifest.json")
    (outputs / "link").symlink_to(good.folder)
    (outputs / "link out").symlink_to(box / "work" / "a run elsewhere")
    (outputs / "mine").mkdir()
    (outputs / "mine/manifest.json").write_text('{"name": "my web page"}')
    before = digest(box)
    for text in ("", ".", "..", "/", "~", "link", "link out", "mine", str(box / "work/a run elsewhere"), "a run elsewhere", str(outputs),
                 str(box / "work" / other.id), f"./{other.id}", f"{good.folder}/..", str(outputs / "link"), "nonsense", "../project/outputs/"):  # fmt: skip
        assert main.main(["runs", "remove", "--yes", text]) > 0, text
        assert main.main(["runs", "remove", "--yes", good.id, text]) > 0, text  # one is bad: nothing is removed
    assert digest(box) == before
    (good.folder / "out").symlink_to(box / "work/keep")
    edits.update(good.folder / edits.EDITS, pose=[{"do": "hide", "part": "left hand", "first": 0, "last": 1}])
    asked: list[str] = []
    manage.remove([manage.named(good.id)], lambda question: bool(asked.append(question)), edits.by_hand)
    assert "your decisions in edits.json go with it" in asked[0]
    assert main.main(["runs", "remove", "--yes", good.id, good.id, str(other.folder)]) == 0
    assert "removed 2 of 2 runs" in capsys.readouterr().out.replace("removed 2 of 3", "removed 2 of 2")
    after = digest(box, outputs)
    assert {name: held for name, held in after.items()} == digest(box, outputs)
    assert (box / "work/keep/notes.txt").is_file()
    assert (box / "work/a run elsewhere/manifest.json").is_file()
    assert not good.folder.exists()
    assert not other.folder.exists()


# the roads


@pytest.mark.parametrize("command", ["generate", "pipeline"])
def test_it_is_refused_before_anything_starts(box: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "execute", lambda *_: pytest.fail("a kernel was started"))
    before = digest(box)
    film = ["--driving_video", "mine.mp4", "--reference_image", str(config.ASSETS / "sample/character.png")]
    for text in ("", "keep.gif", "theirs.mp4", "dangling.mp4", "theirs.mp4/", "x"):
        assert main.main([command, *(film if command == "pipeline" else []), "--output_path", text]) == 2, text
    if command == "pipeline":
        for more in (
            ["--save_path", "keep"],
            ["--save_path", ""],
            ["--save_path", "."],
            ["--output_path", "mine.mp4", "--overwrite"],
        ):
            assert main.main([command, *film, *more]) == 2, more
    assert digest(box) == before


def test_a_final_slash_stays_on_every_road(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict] = []
    monkeypatch.setattr(notebook, "execute", lambda _step, _name, values: (seen.append(values), (1, None))[1])
    for flags in (["--output_path", "films/"], ["--save_file", "films/"], ["-p", "output_path", "films/"]):
        main.main(["generate", *flags])
    params = box / "work/p.yaml"
    params.write_text("output_path: films/\n")
    main.main(["generate", "-f", str(params)])
    here = f"{box}/work/films/"
    assert [values["output_path"] for values in seen] == [here, here, here, "films/"]
    chosen = config.GenerateSettings.build(seen[0])
    assert chosen.replaced(seed=3).output_path == here
    assert chosen.published()["output_path"] == "films"
    assert chosen.identity() == config.GenerateSettings.build({}).identity()


def test_links_planted_in_a_run_folder_are_not_followed(outputs: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "000.npy").write_text("mine")
    kept = victim / "kept.txt"
    kept.write_text("mine")
    run = runs.open_run("generate", config.GenerateSettings.build({}), inputs={}, models={}, result_version=1)
    for name in ("manifest.json.part", "progress.json.part", "progress.json", "notebook.ipynb", "report.html"):
        (run.folder / name).symlink_to(kept)
    (run.folder / segment_files.SEGMENTS).symlink_to(victim)
    with run.working():
        run.progress.update("x", 1, 2)
        run.save(more=1)
    files.write_text(run.folder / "report.html", "page")
    with pytest.raises(ValueError, match="inside the run folder"):
        run.path(segment_files.SEGMENTS)
    (run.folder / runs.LOCK).unlink()
    (run.folder / runs.LOCK).symlink_to(kept)
    with pytest.raises((OSError, RuntimeError)), run.working():
        pass
    files.remove(run.folder / segment_files.SEGMENTS)
    assert kept.read_text() == "mine"
    assert (victim / "000.npy").read_text() == "mine"


def test_a_failed_notebook_of_the_users_stays(outputs: Path) -> None:
    outputs.mkdir()
    wanted = outputs / "failed_30_generate.ipynb"
    assert targets.unused(wanted) == wanted
    targets.record(wanted, hashlib.sha256(b"ours").hexdigest())
    wanted.write_bytes(b"ours")
    assert targets.unused(wanted) == wanted
    wanted.write_text("edited since")
    assert targets.unused(wanted) == outputs / "failed_30_generate-2.ipynb"
