"""Previews: what they leave out and say of it, smaller inputs, and that nobody takes one for the result."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import preprocessed

from wanlab import config, inputs, mask, media, pose, runs
from wanlab.inputs import shrink
from wanlab.model import checkpoints
from wanlab.results import compare
from wanlab.runs import manage
from wanlab.steps import denoise, generate, inspect, preprocess, report, sweep
from wanlab.steps import preview as preview_module
from wanlab.steps.preview import NOT_MEASURED, Look, at_generation

SMALL = "96 128"  # an area that the bundled 192x256 lies above


def generation(**more: object) -> config.GenerateSettings:
    return config.GenerateSettings.build({"checkpoint": checkpoints.NANO, **more})


def of_14b(made: inputs.AnimateInputs, **more: object) -> Look:
    """Cut a generation with the real checkpoint's recommendations down."""
    facts = json.loads(checkpoints.SETTINGS_14B.read_text())
    checkpoint = checkpoints.Checkpoint(Path("14B"), "14B", facts["recommended"], facts["limits"])
    chosen = {name: facts["recommended"][name] for name in generate.FROM_CHECKPOINT}
    return at_generation(config.GenerateSettings.build({**chosen, **more}), made, checkpoint)


def inputs_of(num_frames: int, height: int, width: int) -> inputs.AnimateInputs:
    return inputs.AnimateInputs(Path(), "animate", {}, num_frames, height, width, Fraction(30), {}, ())


def shrunk(made: inputs.AnimateInputs, folder: Path, look: Look) -> tuple[str, ...]:
    frames = look.settings.max_frames or made.num_frames
    return shrink.shrink(made, folder, num_frames=frames, height=look.height, width=look.width, left_out=look.left_out)


def test_a_preview_with_the_real_checkpoint() -> None:
    look = of_14b(inputs_of(300, 720, 1280))
    chosen = look.settings
    assert (chosen.max_frames, chosen.segment_frame_length, chosen.num_inference_steps) == (77, 77, 8)
    assert (look.height, look.width) == (464, 832)
    assert look.left_out == (
        "num_inference_steps 8 instead of 20",
        "max_frames 77 instead of 300 (the first segment)",
        "464x832 instead of 720x1280 (height x width)",
        NOT_MEASURED,
    )
    assert (chosen.guidance_scale, chosen.shift, chosen.seed) == (1.0, 5.0, 42)


@pytest.mark.parametrize(
    ("num_frames", "more", "expected"),
    [
        (30, {}, (None, 33, 8)),  # a second of video: the segment is no longer than it needs
        (300, {"num_inference_steps": 4, "max_frames": 10}, (10, 13, 4)),
        (300, {"num_inference_steps": 30, "segment_frame_length": 21}, (21, 21, 8)),
        (1, {"prev_segment_conditioning_frames": 5}, (None, 9, 8)),
        (1, {}, (None, 5, 8)),
    ],
)
def test_a_preview_only_caps(num_frames: int, more: dict, expected: tuple) -> None:
    look = of_14b(inputs_of(num_frames, 480, 832), **more)
    chosen = look.settings
    assert (chosen.max_frames, chosen.segment_frame_length, chosen.num_inference_steps) == expected
    assert (look.height, look.width) == (480, 832)


def test_the_first_second_at_the_full_size(
    outputs: Path, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = media.open_clip(sample / "half.mp4", max_frames=40)
    media.write_video(tmp_path / "video.mp4", own, Fraction(16))
    media.write_video(tmp_path / "pose.mp4", np.full((40, 256, 192, 3), 90, np.uint8), Fraction(16))
    chosen = {"driving_video": tmp_path / "video.mp4", "pose_video": tmp_path / "pose.mp4"}
    made = preprocessed(preview=True, save_path=tmp_path / "copy", **chosen)
    assert (made.num_frames, made.height, made.width) == (16, 256, 192)
    run = runs.find_run(made.folder)
    assert run.preview == made.preview == ("max_frames 16 instead of 40 (the first second)",)
    assert "preview, not the result: max_frames 16 instead of 40 (the first second)" in run.manifest["notes"]
    assert run.manifest["settings"]["preview"] is True
    assert run.manifest["settings"]["max_frames"] == 16
    assert "<strong>Preview, not the result:</strong> max_frames 16" in run._repr_mimebundle_()["text/html"]
    assert "a preview is not copied to save_path" in capsys.readouterr().out
    assert not (tmp_path / "copy").exists()
    assert "a preview" in manage.overview()[0][1]
    same_frames = config.PreprocessSettings.build(
        {"reference_image": sample / "character.png", "max_frames": 16, **chosen, "pose_video": None}
    )
    assert preprocess.prepare(same_frames).manifest["hash"] != run.manifest["hash"]


def test_a_film_of_no_more_than_a_second_is_whole(outputs: Path, sample: Path, tmp_path: Path) -> None:
    film = media.open_clip(sample / "half.mp4", max_frames=3)
    media.write_video(tmp_path / "video.mp4", film, Fraction(16))
    run = preprocess.prepare(
        config.PreprocessSettings.build({"driving_video": tmp_path / "video.mp4", "preview": True})
    )
    assert run.preview == ()
    assert "preview leaves nothing out: the clip has 3 frames, no more than a second" in run.manifest["notes"]


def test_only_a_preview_takes_a_preview_for_the_latest(
    outputs: Path, sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"resolution": SMALL}
    preview = preprocessed(fps=3, preview=True, **small)  # a second of 3 frames
    with pytest.raises(FileNotFoundError, match=f"but the preview {preview.folder.name}: name it to take it, or make"):
        generate.prepare(generation())
    whole = preprocessed(max_frames=5, **small)
    newer = preprocessed(fps=2, preview=True, **small)
    capsys.readouterr()
    assert inputs.find("latest")[0].folder == whole.folder
    said = f"note: latest is {whole.folder.name}; {newer.folder.name} is newer, but a preview: name it to take it"
    assert said in capsys.readouterr().out
    looking = inspect.prepare(config.InspectSettings.build({"auto_keypoint": False}))
    swept = sweep.prepare(config.SweepSettings.build({"checkpoint": checkpoints.NANO}))
    assert looking.manifest["parents"] == swept.manifest["parents"] == [whole.folder.name]
    assert generate.prepare(generation()).manifest["parents"] == [whole.folder.name]
    assert generate.prepare(generation(preview=True)).manifest["parents"] == [newer.folder.name]
    whole_again = preprocessed(max_frames=4, **small)
    assert generate.prepare(generation(preview=True)).manifest["parents"] == [whole_again.folder.name]


def test_what_is_made_from_a_preview_says_so(outputs: Path, sample: Path) -> None:
    preview = preprocessed(fps=3, preview=True, mode="replace", resolution=SMALL)
    named = {"inputs": preview.folder, "mask_chain": "snap:16", "compare": (), "auto_keypoint": False}
    looking = inspect.prepare(config.InspectSettings.build(named))
    chosen = inspect.work(looking).made
    assert looking.preview == chosen.preview == preview.preview
    full = generate.prepare(generation(inputs=chosen.folder, num_inference_steps=1))
    assert full.preview == preview.preview
    points = sweep.prepare(config.SweepSettings.build({"checkpoint": checkpoints.NANO, "inputs": chosen.folder}))
    assert points.preview == preview.preview


@pytest.mark.slow
def test_a_preview_on_nano(outputs: Path, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is shrunk, for the inputs are small; the whole run is another one."""
    made = preprocessed(max_frames=10, resolution=SMALL)
    more = {"inputs": made.folder, "segment_frame_length": 5, "num_inference_steps": 6, "guidance_scale": 1}
    settings = generation(preview=True, output_path=tmp_path / "video.mp4", **more)
    run = generate.prepare(settings)
    clip = generate.work(run)
    assert (len(clip), clip.height, clip.width) == (5, 128, 96)
    assert run.preview == (
        "num_inference_steps 4 instead of 6",
        "max_frames 5 instead of 10 (the first segment)",
        NOT_MEASURED,
    )
    assert run.manifest["denoise_calls"] == 4
    assert "metrics" not in run.manifest
    assert not (run.folder / shrink.FOLDER).exists()
    assert not (tmp_path / "video.mp4").exists()
    assert "a preview is not copied to output_path" in capsys.readouterr().out
    assert json.loads(media.read_comment(run.path(generate.RESULT)))["preview"] == list(run.preview)
    assert generate.prepare(settings).news == "reused"
    capped = {**more, "num_inference_steps": 4, "max_frames": 5}
    whole = generate.prepare(generation(**capped))
    assert (whole.news, whole.preview) == ("new", ())
    generate.work(whole)
    assert set(whole.manifest["metrics"]) >= {"flicker", "pose_agreement"}
    np.testing.assert_array_equal(  # what is not cut down is the same
        media.read_video(run.path(denoise.MASTER)).frames, media.read_video(whole.path(denoise.MASTER)).frames
    )
    _never_taken_for_a_result(run, whole, capsys)


def _never_taken_for_a_result(run: runs.Run, whole: runs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.save(order=9999)  # the newest
    latest = report.prepare(config.ReportSettings.build({}))
    assert latest.manifest["parents"] == [whole.id]
    assert f"{run.id} is newer, but a preview" in capsys.readouterr().out
    alone = report.prepare(config.ReportSettings.build({"run": run.id, "title": "Mine"}))
    assert alone.settings.title == "preview · Mine"
    assert alone.preview == run.preview
    both = compare.entries([whole, run])
    assert [entry["values"]["preview"] for entry in both] == [False, True]
    assert compare.table(both)["run"].tolist() == [whole.id, f"{run.id}, preview"]
    assert np.isnan(compare.table(both)["flicker"].tolist()).tolist() == [False, True]
    assert [name.endswith("(preview)") for name in compare.finished(both)] == [False, True]
    assert compare.previews(both) == [f"{run.id}: {phrase}" for phrase in run.preview]
    story = report.gather(report.prepare(config.ReportSettings.build({"run": f"{whole.id},{run.id}"})))
    assert story.title.startswith("preview · 2 generations")
    assert "not measured" in report.numbers(report.gather(alone))[0].data


def test_larger_inputs_are_made_smaller(outputs: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As 10_preprocess makes them at that size: skeletons are drawn there, not shrunk."""
    monkeypatch.setattr(preview_module, "RESOLUTION", SMALL)
    made = preprocessed(max_frames=10, retarget=False)
    run = generate.prepare(generation(inputs=made.folder, preview=True, num_inference_steps=1, segment_frame_length=5))
    clip = generate.work(run)
    assert (len(clip), clip.height, clip.width) == (5, 128, 96)
    assert "128x96 instead of 256x192 (height x width)" in run.preview
    small, expected = generate.inputs_of(run), preprocessed(max_frames=5, resolution=SMALL, retarget=False)
    assert (small.num_frames, small.height, small.width, small.preview) == (5, 128, 96, run.preview)
    film = made.driving()
    meta = pose.to_meta(made.keypoints()[:5], film.height, film.width)
    drawn = pose.draw(pose.letterbox_meta(meta, film.height, film.width, 128, 96), 128, 96)
    np.testing.assert_array_equal(small.video("pose_video").read(), np.stack(list(drawn)))
    np.testing.assert_array_equal(small.video("face_video").read(), made.video("face_video").read()[:5])
    np.testing.assert_array_equal(small.driving().read(), expected.driving().read())
    np.testing.assert_array_equal(small.keypoints(), made.keypoints()[:5])
    assert np.abs(small.reference_image().astype(int) - expected.reference_image()).mean() < 3
    assert np.abs(small.reference_keypoints() * (2, 2, 1) - made.reference_keypoints()).max() < 0.01
    assert small.facts["run"] == made.folder.name
    assert any("drawn again" in note for note in run.manifest["notes"])
    assert report.gather(report.prepare(config.ReportSettings.build({"run": run.id}))).inputs.height == 128


def test_masks_of_larger_inputs_lie_where_they_lay(
    outputs: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = preprocessed(max_frames=3, mode="replace")
    look = Look(generation(max_frames=2), 128, 96, ("smaller",))
    said = shrunk(made, tmp_path / "small", look)
    small = inputs.read(tmp_path / "small")
    assert (small.mode, small.num_frames, small.height, small.width) == ("replace", 2, 128, 96)
    np.testing.assert_allclose(small.keypoints(), made.keypoints()[:2] * np.float32((0.5, 0.5, 1)), atol=1e-3)
    large = made.mask()[:2]
    quarters = large.reshape(2, 128, 2, 96, 2).mean(axis=(2, 4))
    np.testing.assert_array_equal(small.mask()[quarters != 0.5], (quarters > 0.5)[quarters != 0.5])
    np.testing.assert_array_equal(
        small.video("background_video").read(), mask.blank_out(small.driving().read(), small.mask())
    )
    film = made.driving().read()[:2].reshape(2, 128, 2, 96, 2, 3).mean(axis=(2, 4))
    assert np.abs(small.driving().read() - film).max() <= 1
    assert small.video("pose_video").read().any()
    assert any("the mask is shrunk" in sentence for sentence in said)


def test_drawings_of_others_are_shrunk_and_that_is_said(outputs: Path, sample: Path, folder: Path) -> None:
    stripes = folder.parent / "stripes.mkv"
    images = np.zeros((3, 256, 192, 3), np.uint8)
    images[:, :, 64:128] = (200, 40, 60)
    media.write_video(stripes, images, Fraction(16), lossless=True)
    own = preprocessed(max_frames=3, pose_video=stripes)
    for number, (made, height, width) in enumerate([(own, 128, 96), (inputs.read(folder), 48, 32)]):
        place = folder.parent / str(number)
        look = Look(generation(max_frames=2), height, width, ("smaller",))
        said = shrunk(made, place, look)
        assert any("pose_video is shrunk" in sentence for sentence in said)
        small = inputs.read(place).video("pose_video").read()
        large = made.video("pose_video").read()[:2].astype(float)
        halves = large.reshape(2, height, 2, width, 2, 3).mean(axis=(2, 4))
        assert np.abs(small - halves).mean() < 1


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        (config.PreprocessSettings, {"backend": "wan22"}, "preview must be left out with backend wan22"),
        (config.GenerateSettings, {"backend": "wan22"}, "preview must be left out with backend wan22"),
        (config.SweepSettings, {}, "unknown parameter preview; did you mean preview_steps"),
    ],
)
def test_where_there_is_no_preview(model: type[config.Settings], more: dict, message: str) -> None:
    with pytest.raises(config.SettingsError, match=message):
        model.build({"preview": True, **more})


def test_previews_are_not_swept(outputs: Path, folder: Path) -> None:
    swept = {"inputs": folder, "checkpoint": checkpoints.NANO, "grid": {"preview": [True, False]}}
    with pytest.raises(config.SettingsError, match="preview must be left out of a sweep, .* use preview_steps"):
        sweep.points(config.SweepSettings.build(swept))
