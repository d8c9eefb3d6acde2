"""Inspection: variants and their numbers, new inputs that name their parent, folders of other tools, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import outputs_in, preprocessed

from wanlab import config, files, inputs, mask, media, runs, viz
from wanlab.inputs import edits
from wanlab.mask import grabcut, keypoint_prompts, metrics, silhouette
from wanlab.pose import detection
from wanlab.steps import generate, inspect

FRAMES = 4


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[inputs.AnimateInputs]:
    """Preprocess a few frames in replace mode once; yield those inputs. The outputs folder stays set."""
    with outputs_in(tmp_path_factory.mktemp("inspected")):
        yield preprocessed(mode="replace", start_s=1.0, max_frames=FRAMES)


def look(place: Path | str, **more: object) -> inspect.Inspection:
    chosen = {"inputs": str(place), "auto_keypoint": False, **more}
    return inspect.work(inspect.prepare(config.InspectSettings.build(chosen)))


def test_variants_are_chains_of_the_outline(parent: inputs.AnimateInputs) -> None:
    seen = look(parent.folder, compare=["grow:10,blockify:32", "snap:16"], base="grow:10,blockify:32")
    assert seen.names == ("outline", "grow:10,blockify:32", "snap:16")  # the one in use is one of them
    assert not seen.new
    outline = parent.person_mask()
    np.testing.assert_array_equal(seen.masks("outline"), outline)
    np.testing.assert_array_equal(seen.masks("snap:16"), mask.snap(outline, 16))
    assert seen.numbers["grow:10,blockify:32"]["IoU"].tolist() == [1.0] * FRAMES
    expected = metrics.iou(mask.snap(outline, 16), parent.mask())
    np.testing.assert_allclose(seen.numbers["snap:16"]["IoU"], expected, atol=1e-4)
    np.testing.assert_allclose(seen.numbers["snap:16"]["area"], mask.snap(outline, 16).mean(axis=(1, 2)), atol=1e-4)
    assert seen.numbers["snap:16"]["leak"].max() == 0
    assert seen.numbers["outline"]["leak"].min() > 0
    means = runs.find_run(seen.folder).manifest["metrics"]
    assert means["snap:16"]["IoU"] == pytest.approx(expected.mean(), abs=1e-4)


def test_the_auto_keypoint_variant_is_upstream_s_prompts_through_grabcut(parent: inputs.AnimateInputs) -> None:
    seen = look(parent.folder, compare=[], auto_keypoint=True)
    clip, found = seen.clip, parent.keypoints()
    assert clip is not None
    clicks = keypoint_prompts.keypoint_clicks(found, clip.height, clip.width)
    looked = zip(clip, found, strict=True)
    likely = [(255 * silhouette.person_probability(*each)).astype(np.uint8).astype(np.float32) / 255 for each in looked]
    cut = np.stack(list(grabcut.grabcut(clip, found, clicks, likely, spread=False)))
    np.testing.assert_array_equal(seen.masks("auto-keypoint"), mask.apply_chain(cut, mask.DEFAULT_CHAIN))


def test_a_chosen_chain_writes_new_inputs_that_name_their_parent(parent: inputs.AnimateInputs, tmp_path: Path) -> None:
    before = {path.name: files.sha256(path) for path in parent.folder.iterdir() if path.is_file()}
    seen = look(parent.folder, mask_chain="grow:3,snap:8", save_path=tmp_path / "copy")
    assert seen.new
    assert seen.chosen == "grow:3,snap:8"
    expected = mask.apply_chain(parent.person_mask(), "grow:3,snap:8")
    for made in (seen.made, inputs.read(tmp_path / "copy")):
        np.testing.assert_array_equal(made.mask(), expected)
        np.testing.assert_array_equal(made.person_mask(), parent.person_mask())
        np.testing.assert_array_equal(
            made.video("background_video").read(), mask.blank_out(parent.driving().read(), expected)
        )
        for name in ("pose_video", "face_video"):
            np.testing.assert_array_equal(made.video(name).read(), parent.video(name).read())
        facts = json.loads((made.folder / "inputs.json").read_text())
        assert facts["parent"] == parent.folder.name
        assert facts["run"] == seen.folder.name
        assert facts["mask_chain"] == "grow:3,snap:8"
    assert {path.name: files.sha256(path) for path in parent.folder.iterdir() if path.is_file()} == before
    assert runs.find_run(seen.folder).manifest["parents"] == [parent.folder.name]
    latest, run_id = inputs.find("latest")
    assert (latest.folder, run_id) == (seen.folder, seen.folder.name)
    assert generate.prepare(config.GenerateSettings.build({})).manifest["parents"] == [seen.folder.name]


def test_points_cut_the_person_out_anew_with_the_chain_in_use(parent: inputs.AnimateInputs, tmp_path: Path) -> None:
    place = {"x": 10, "y": 20, "frame": 2}
    (tmp_path / "p.json").write_text(json.dumps({"positive": [place]}))
    seen = look(parent.folder, points=tmp_path / "p.json")
    assert seen.new
    assert not parent.person_mask()[:, 20, 10].any()
    assert seen.masks("outline")[2, 20, 10]
    assert seen.chosen == mask.DEFAULT_CHAIN
    np.testing.assert_array_equal(seen.made.mask(), mask.apply_chain(seen.masks("outline"), mask.DEFAULT_CHAIN))
    assert "in use" in seen.names
    np.testing.assert_array_equal(seen.masks("in use"), parent.mask())


def test_a_mask_chain_runs_neither_detector_nor_segmenter(
    parent: inputs.AnimateInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((detection, "detect"), (grabcut, "person_probability")):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("was run"))
    assert look(parent.folder, mask_chain="dilate:3x2", fresh=True).new


def upstream_folder(parent: inputs.AnimateInputs, place: Path) -> Path:
    """Return a folder as upstream leaves it: no masters, no facts, no working clip."""
    place.mkdir()
    for name in ("src_ref.png", "src_pose.mp4", "src_face.mp4", "src_bg.mp4", "src_mask.mp4"):
        shutil.copy(parent.folder / name, place / name)
    return place


def test_a_folder_of_other_tools_needs_its_film(parent: inputs.AnimateInputs, tmp_path: Path) -> None:
    folder = upstream_folder(parent, tmp_path / "process_results")
    with pytest.raises(FileNotFoundError, match=r"driving.mkv is missing .* --driving_video video.mp4"):
        look(folder)
    media.write_video(tmp_path / "video.mp4", media.open_clip(config.ASSETS / "sample" / "half.mp4", start_s=1.0, max_frames=FRAMES), Fraction(16))  # fmt: skip
    seen = look(folder, driving_video=tmp_path / "video.mp4", mask_chain="grow:3")
    assert (seen.clip.height, seen.clip.width, len(seen.clip)) == (256, 192, FRAMES)
    assert np.abs(seen.clip.read().astype(int) - parent.driving().read()).mean() < 4
    np.testing.assert_array_equal(seen.made.mask(), mask.grow(inputs.read(folder).mask(), 3))
    facts = json.loads((seen.made.folder / "inputs.json").read_text())
    assert facts["parent"] is None
    assert inputs.read(seen.made.folder).notes == ()
    again = look(seen.made.folder)  # now the video is there
    np.testing.assert_array_equal(again.clip.read(), seen.clip.read())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mask_chain": "gorw:3"}, "mask_chain must be made of .* got 'gorw:3'"),
        ({"compare": ["cells:0x1"]}, "mask_chain must have cells in the form cells:1x1"),
        ({"base": "snap:8"}, "base must be one of outline, in use, .* got snap:8; use snap:16"),
        ({"points": "nowhere.json"}, "points must be a file, got nowhere.json"),
        ({"points": "README.md"}, "README.md must be JSON"),
    ],
)
def test_refusals_come_before_a_run_is_made(
    parent: inputs.AnimateInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict, message: str
) -> None:
    monkeypatch.setenv("WANLAB_OUTPUTS", str(tmp_path / "outputs"))
    with pytest.raises((config.SettingsError, FileNotFoundError), match=message):
        look(parent.folder, **more)
    assert not list((tmp_path / "outputs").glob("*"))


def test_a_film_of_another_length_is_refused(parent: inputs.AnimateInputs, tmp_path: Path) -> None:
    folder = upstream_folder(parent, tmp_path / "process_results")
    with pytest.raises(config.SettingsError, match="driving_video must have 4 frames at 16 per second, .* got 65"):
        look(folder, driving_video=config.ASSETS / "sample" / "half.mp4")


def test_inputs_of_animate_have_no_mask_to_choose(outputs: Path, sample: Path, capsys: pytest.CaptureFixture) -> None:
    made = preprocessed(max_frames=2)
    with pytest.raises(config.SettingsError, match="must be left out for inputs of animate"):
        look(made.folder, mask_chain="fill")
    seen = look(made.folder)
    assert seen.names == ()
    assert viz.mask_views(seen.clip, {}, viz.overlay, seen.base) is None
    assert "these inputs hold no mask" in capsys.readouterr().out


def test_cleaning_is_kept_as_decisions_that_can_be_undone(
    parent: inputs.AnimateInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the rules find lies in edits.json, is named, and is not added again once some of it was taken back."""
    folder = tmp_path / "inputs"
    shutil.copytree(parent.folder, folder)
    monkeypatch.setenv("WANLAB_HEADLESS", "1")  # as `wanlab inspect` does, so that what is found is applied at once
    with pytest.raises(config.SettingsError, match="pose_cleaning must be made of gaps:6"):
        look(folder, pose_cleaning="tidy")
    found = look(folder, pose_cleaning="hands:1,feet:1", auto_keypoint=False, compare=())
    kept = json.loads((folder / "edits.json").read_text())["pose"]
    assert {entry["do"] for entry in kept} == {"hide"}
    assert any("hand hidden in frame" in sentence for sentence in found.by_hand)
    assert (found.made.keypoints()[:, 91:133, 2] == 0).all()
    assert (parent.keypoints()[:, 91:133, 2] > 0).any()
    edits.update(folder / "edits.json", pose=kept[1:])
    again = look(folder, pose_cleaning="hands:1,feet:1", auto_keypoint=False, compare=())
    assert json.loads((folder / "edits.json").read_text())["pose"] == kept[1:]
    assert again.folder != found.folder


def test_marks_name_what_is_missing_where(parent: inputs.AnimateInputs) -> None:
    facts = {**parent.facts, "no_face": [0, 2], "no_person": [2]}
    made = inputs.AnimateInputs(**{**vars(parent), "facts": facts})
    asked = config.InspectSettings.build({})
    seen = inspect.Inspection(parent.folder, made, False, None, "", None, {}, made, Path("edits.json"), (), asked)
    assert inspect.marks(seen) == {0: "no face", 2: "no person"}


def test_a_completed_inspection_makes_again_what_is_damaged(
    parent: inputs.AnimateInputs, capsys: pytest.CaptureFixture
) -> None:
    chosen = {"mask_chain": "grow:6", "compare": ["grow:6"], "auto_keypoint": False}
    seen = look(parent.folder, **chosen)
    whole = {path.name: path.read_bytes() for path in seen.folder.iterdir()}
    spoilt = ("variants.npz", "variants.json", "mask.npz", "src_bg.mp4", "driving.mkv")
    for name in spoilt:
        (seen.folder / name).write_bytes(whole[name][: len(whole[name]) // 2])
    again = look(parent.folder, **chosen)
    assert again.folder == seen.folder
    assert again.names == seen.names
    assert "src_bg.mp4 is cut off or damaged" in capsys.readouterr().out
    np.testing.assert_array_equal(inputs.read(again.folder).mask(), seen.masks("grow:6"))
    assert [(again.folder / name).read_bytes() == whole[name] for name in spoilt] == [True] * len(spoilt)
    assert runs.Run(seen.folder).completed
