"""Pose and face videos made again: unchanged they are the files that preprocessing wrote, corrected they show it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import outputs_in, preprocessed

from wanlab import config, files, inputs, media, pose, runs
from wanlab.files import targets
from wanlab.inputs import copies, edits, pose_videos, shrink
from wanlab.media import resize
from wanlab.pose import corrections
from wanlab.steps import inspect

FRAMES = 5


@pytest.fixture(scope="module", params=["animate", "replace"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[inputs.AnimateInputs]:
    """Preprocess a few frames; yield those inputs. The outputs folder stays set."""
    with outputs_in(tmp_path_factory.mktemp(request.param)):
        crops = "steady" if request.param == "replace" else "official"
        yield preprocessed(mode=request.param, start_s=1.0, max_frames=FRAMES, face_crop=crops)


def rewritten(made: inputs.AnimateInputs, *entries: corrections.Entry) -> tuple[runs.Run, dict]:
    settings = config.InspectSettings.build({"inputs": made.folder, "fresh": True})
    run = runs.open_run("inspect", settings, inputs={}, models={}, result_version=0, parents=(), fresh=True)
    with run.working():
        return run, pose_videos.rewrite(run, made, entries)


def test_unchanged_key_points_give_the_very_files(made: inputs.AnimateInputs) -> None:
    run, facts = rewritten(made)
    for pair in (inputs.EXPORTS[name] for name in pose_videos.VIDEOS):
        for file in pair:
            assert files.sha256(run.path(file)) == files.sha256(made.folder / file)
    with np.load(run.path("keypoints.npz")) as new, np.load(made.folder / "keypoints.npz") as old:
        assert set(new.files) == set(old.files)
        for name in new.files:
            np.testing.assert_array_equal(new[name], old[name])
    assert facts == {name: made.facts[name] for name in ("no_person", "no_face", "cuts", "own")}


def test_a_correction_shows_in_the_frames_that_it_means(made: inputs.AnimateInputs) -> None:
    found = made.keypoints()
    clip = made.driving()
    place = np.add(found[2, 0, :2], (60.0, 0.0)).astype(float)
    run, facts = rewritten(made, corrections.Move(2, 0, *place.tolist()), corrections.Hide("face", 3, 3))
    drawn, before = (media.open_clip(folder / "pose.mkv").read() for folder in (run.folder, made.folder))
    assert {t for t in range(FRAMES) if (drawn[t] != before[t]).any()} == {2}
    box = resize.letterbox_geometry(clip.height, clip.width, made.height, made.width)
    x, y = box.place(place[None], clip.height, clip.width)[0]
    if made.mode == "animate":  # retargeted
        with np.load(run.folder / "keypoints.npz") as saved:
            x, y = saved["drawn_keypoints"][2, 0, :2]
    assert tuple(drawn[2, int(y), int(x)]) == pose.COLOURS[0]  # the nose's dot
    assert tuple(before[2, int(y), int(x)]) == (0, 0, 0)
    assert facts["no_face"] == sorted({*made.facts["no_face"], 3})
    with np.load(run.path("keypoints.npz")) as saved:
        assert saved["face_boxes"].any(axis=1).tolist() == [True, True, True, False, True]
        assert not media.open_clip(run.folder / "face.mkv").read()[3].any()
        np.testing.assert_array_equal(saved["keypoints"][[0, 1, 4]], found[[0, 1, 4]])
        np.testing.assert_allclose(saved["keypoints"][2, 0], [*place, 1], atol=1e-4)


def test_frames_without_a_person_are_counted_anew(made: inputs.AnimateInputs) -> None:
    everything = [corrections.Hide(part, 1, 1) for part in ("head", "face", "torso", *(f"{side} {part}" for side in ("left", "right") for part in ("arm", "hand", "leg", "foot")))]  # fmt: skip
    assert rewritten(made, *everything)[1]["no_person"] == [1]
    assert rewritten(made, *everything, corrections.Move(1, 0, 3, 3))[1]["no_person"] == []


def swapped(made: inputs.AnimateInputs, place: Path, *names: str) -> inputs.AnimateInputs:
    """Return a copy of inputs in which a user has swapped the exports `names` for grey videos."""
    copies.write(made.folder, str(place), targets.Kept())
    for name in names:
        side = (made.height, made.width) if name == "pose_video" else (512, 512)
        media.write_video(place / inputs.EXPORTS[name][0], np.full((FRAMES, *side, 3), 99, np.uint8), made.fps)
    return inputs.read(place)


def test_a_swapped_video_is_kept_and_that_is_said(made: inputs.AnimateInputs, tmp_path: Path) -> None:
    mine = swapped(made, tmp_path / "copy", "pose_video")
    assert pose_videos.own_videos(mine) == ("pose_video",)
    run, facts = rewritten(mine, corrections.Hide("face", 2, 2))
    assert facts["own"] == ["pose_video"]
    assert any(note.startswith("pose_video is your own and is kept") for note in run.manifest["notes"])
    np.testing.assert_array_equal(
        media.open_clip(run.path("pose.mkv")).read(), media.open_clip(tmp_path / "copy" / "src_pose.mp4").read()
    )
    assert 2 in facts["no_face"]


def test_a_video_given_to_preprocessing_is_the_user_s_own(
    outputs: Path, made: inputs.AnimateInputs, tmp_path: Path
) -> None:
    media.write_video(tmp_path / "my.mp4", np.full((FRAMES, 512, 512, 3), 99, np.uint8), made.fps)
    given = preprocessed(face_video=tmp_path / "my.mp4", start_s=1.0, max_frames=FRAMES)
    assert given.facts["own"] == ["face_video"]
    run, _ = rewritten(given, corrections.Hide("face", 2, 2))
    assert files.sha256(run.path("face.mkv")) == files.sha256(given.folder / "face.mkv")
    with pytest.raises(ValueError, match="must be left out where pose_video and face_video are your own"):
        rewritten(swapped(given, tmp_path / "both", "pose_video"))


def test_folders_of_other_tools_are_refused(made: inputs.AnimateInputs, tmp_path: Path) -> None:
    place = tmp_path / "process_results"
    shutil.copytree(made.folder, place, ignore=shutil.ignore_patterns("*.npz", "*.mkv", "*.json"))
    for name in set(inputs.REPLACE_ONLY) & set(made.files):
        shutil.copy(made.folder / inputs.EXPORTS[name][0], place)
    with pytest.raises(ValueError, match="pose corrections need keypoints.npz, which is missing in .*process_results"):
        pose_videos.check_editable(inputs.read(place))


@pytest.fixture
def decided(made: inputs.AnimateInputs) -> Iterator[Path]:
    """Write corrections beside the inputs; take them away afterwards."""
    path = made.folder / edits.EDITS
    chosen = [
        *(corrections.Move(t, 11, 20.5, 30.25) for t in (1, 2)),
        corrections.SwapHands(3, 4),
        corrections.Hide("face", 1, 1),
    ]
    edits.update(path, pose=corrections.to_json(chosen))
    yield path
    path.unlink()


def look(made: inputs.AnimateInputs, **more: object) -> inspect.Inspection:
    chosen = {"inputs": made.folder, "auto_keypoint": False, "compare": [], **more}
    return inspect.work(inspect.prepare(config.InspectSettings.build(chosen)))


def test_the_notebook_s_replay_and_a_headless_one_give_equal_inputs(
    made: inputs.AnimateInputs, decided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = inspect.replay(look(made))
    assert here.new
    said = ("left hip moved in frames 1 to 2", "hands swapped in frames 3 to 4", "face hidden in frame 1")
    assert here.by_hand == said
    assert here.made.facts["by_hand"] == list(said)
    assert here.made.facts["parent"] == made.folder.name
    assert 1 in here.made.facts["no_face"]
    assert here.made.mode == made.mode
    assert here.made.notes == ()
    for name in set(made.files) - set(pose_videos.VIDEOS):  # the character, and in replace the mask and its background
        assert here.made.fingerprint(name) == made.fingerprint(name)
    expected = corrections.apply(made.keypoints(), edits.read(decided, FRAMES, here.clip.height, here.clip.width).pose)
    np.testing.assert_array_equal(here.made.keypoints(), expected)
    assert inspect.decided(here).pose == edits.read(decided, FRAMES, here.clip.height, here.clip.width).pose
    before, after = inspect.videos_before_and_after(here)
    assert {t for t in range(FRAMES) if (before["pose"].read()[t] != after["pose"].read()[t]).any()} >= {2}
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    monkeypatch.setenv("WANLAB_OUTPUTS", str(tmp_path / "elsewhere"))
    small = shrink.shrink(here.made, tmp_path / "small", num_frames=3, height=64, width=48, left_out=())
    assert small[0] == "pose_video is drawn again from the keypoints at the preview's size"
    there = look(made, edits=decided)
    assert there.made.sha256() == here.made.sha256() != made.sha256()
    for path in sorted(set(here.made.files.values()) | {here.folder / inputs.KEYPOINTS}):
        assert files.sha256(path) == files.sha256(there.folder / path.name), path.name


def test_a_pose_and_a_mask_are_corrected_together(made: inputs.AnimateInputs, decided: Path) -> None:
    if made.mode == "animate":
        edits.update(decided, mask_chain="fill")
        with pytest.raises(config.SettingsError, match="must change the pose only for inputs of animate"):
            look(made, edits=decided)
        return
    edits.update(decided, mask_chain="snap:16")
    after = look(made, edits=decided).made
    assert (after.mask() != made.mask()).any()
    assert (after.video("pose_video").read() != made.video("pose_video").read()).any()
    assert after.facts["mask_chain"] == "snap:16"


def test_corrections_that_cannot_be_made_are_refused_before_a_run_is_made(
    made: inputs.AnimateInputs, decided: Path, outputs: Path
) -> None:
    edits.update(decided, pose=[{"do": "interpolate", "part": "face", "first": 0, "last": FRAMES - 1}])
    with pytest.raises(config.SettingsError, match="face must be seen in a frame beside the stretch"):
        look(made, edits=decided)
    assert not outputs.exists()
