"""Stage 1 from files to files: sizes, contents, reuse, and inputs that must be refused or lived with."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from onnx_files import stand_ins

from wanlab import config, inputs, mask, media, pose, runs
from wanlab.files import make_folder, remove, write_arrays
from wanlab.media import resize
from wanlab.pose import detection, detector_files, topdown
from wanlab.steps import inspect, preprocess

FRAMES = 6


def settings(sample: Path, **more: object) -> config.PreprocessSettings:
    chosen = {
        "driving_video": sample / "half.mp4",
        "reference_image": sample / "character.png",
        "max_frames": FRAMES,
        **more,
    }
    return config.PreprocessSettings.build(chosen)


def made(sample: Path, **more: object) -> inputs.AnimateInputs:
    return preprocess.work(preprocess.prepare(settings(sample, **more)))


def test_the_checkpoints_detectors_are_taken_where_they_are(outputs: Path, sample: Path, tmp_path: Path) -> None:
    bundled = preprocess.prepare(settings(sample))
    assert bundled.settings.detectors == "bundled"
    assert "the bundled detectors are used (MoveNet, BlazePose)" in " ".join(bundled.manifest["notes"])
    assert preprocess.prepare(settings(sample, detectors="bundled")).id == bundled.id
    place = stand_ins(tmp_path / "networks")
    run = preprocess.prepare(settings(sample, detectors=place))
    assert run.manifest["models"].keys() - bundled.manifest["models"].keys() == {"person detector", "pose network"}
    found = preprocess.work(run).keypoints()
    assert "detectors run on the CPU" in " ".join(run.manifest["notes"])
    networks = topdown.open_networks(detector_files.choose(place)[0])
    expected = topdown.detect(media.open_clip(sample / "half.mp4", max_frames=FRAMES), networks)
    np.testing.assert_array_equal(found, expected.keypoints)
    assert preprocess.prepare(settings(sample, detectors=place / "process_checkpoint")).id == run.id
    assert preprocess.prepare(settings(sample, detectors=place, pose_channel_order="rgb")).id != run.id


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"pose_channel_order": "rgb"}, "pose_channel_order must be left out with the bundled detectors"),
        ({"detectors": "nowhere"}, "detectors must be a folder with yolov10m.onnx and vitpose_h_wholebody.onnx"),
        ({"detectors": "bundled", "backend": "wan22"}, "detectors must be left out with backend wan22"),
    ],
)
def test_detectors_that_are_not_there_are_refused(sample: Path, more: dict[str, str], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        preprocess.prepare(settings(sample, **more))


def test_writes_upstream_s_files_and_the_masters(outputs: Path, sample: Path) -> None:
    result = made(sample, retarget=False)
    names = {path.name for path in result.folder.iterdir()}
    assert {
        "src_ref.png",
        "src_pose.mp4",
        "src_face.mp4",
        "pose.mkv",
        "face.mkv",
        "driving.mkv",
        "keypoints.npz",
        "inputs.json",
    } <= names
    assert (result.num_frames, result.height, result.width, result.fps) == (FRAMES, 256, 192, Fraction(16))
    assert result.mode == "animate"
    clip = media.open_clip(sample / "half.mp4", max_frames=FRAMES)
    np.testing.assert_array_equal(result.driving().read(), clip.read())
    points = result.keypoints()
    assert points.shape == (FRAMES, 133, 3)
    assert points.dtype == np.float32
    meta = pose.letterbox_meta(pose.to_meta(points, clip.height, clip.width), clip.height, clip.width, 256, 192)
    np.testing.assert_array_equal(result.video("pose_video").read(), np.stack(list(pose.draw(meta, 256, 192))))
    assert media.probe_video(result.folder / "src_face.mp4").height == 512
    assert result.reference_keypoints().shape == (133, 3)
    text = (result.folder / "inputs.json").read_text() + (result.folder / "manifest.json").read_text()
    assert str(config.project_root()) not in text
    assert str(Path.home()) + "/" not in text


@pytest.mark.parametrize(
    ("driver", "reference", "shape"),
    [("half.mp4", "wide", (144, 256)), ("half.mp4", "tall", (320, 128)), ("driving.mp4", "wide", (144, 256))],
)
def test_the_output_has_the_reference_s_shape(
    outputs: Path, sample: Path, tmp_path: Path, driver: str, reference: str, shape: tuple[int, int]
) -> None:
    """Driver and reference of other aspects: the skeleton is letterboxed into the result, and stands where it should."""
    size = {"wide": (360, 640), "tall": (640, 256)}[reference]
    image = resize.letterbox(media.read_image(sample / "reference.png"), *size)
    media.write_image(tmp_path / "reference.png", image)
    area = f"{shape[1]} {shape[0]}"
    result = made(
        sample,
        driving_video=sample / driver,
        reference_image=tmp_path / "reference.png",
        resolution=area,
        max_frames=2,
        retarget=False,
    )
    assert (result.height, result.width) == shape
    assert result.reference_image().shape[:2] == shape
    drawn, clip = result.video("pose_video").read()[0], result.driving()
    box = resize.letterbox_geometry(clip.height, clip.width, *shape)
    rows, columns = np.nonzero(drawn.any(axis=-1))
    assert box.x0 - 2 <= columns.min() <= columns.max() <= box.x1 + 2
    assert box.y0 - 2 <= rows.min() <= rows.max() <= box.y1 + 2
    nose = box.place(result.keypoints()[0, :1, :2], clip.height, clip.width)[0]
    dot = drawn[int(nose[1]), int(nose[0])]
    assert dot[0] > 200  # the nose's dot is red
    assert dot[1] == 0


def test_the_skeleton_gets_the_reference_s_proportions_and_place(outputs: Path, sample: Path) -> None:
    """By default in animate: laid over the reference's own skeleton, and what is drawn is kept for the report's measures."""
    result = made(sample)
    drawn, own = result.drawn_keypoints(), result.reference_keypoints()
    assert drawn is not None
    assert own is not None
    assert drawn.shape == (FRAMES, 133, 3)
    neck, its_neck = (each[[5, 6], :2].mean(axis=0) for each in (drawn[0], own))
    np.testing.assert_allclose(neck, its_neck, atol=3)
    spans = [np.linalg.norm(each[5, :2] - each[6, :2]) for each in (drawn[0], own)]
    assert spans[0] == pytest.approx(spans[1], rel=0.15)
    frame = result.video("pose_video").read()[0]
    x, y = drawn[0, 0, :2].astype(int)
    assert tuple(frame[y, x]) == pose.COLOURS[0]
    assert list(result.stands()) == ["frame 0, the driver's", "frame 0, retargeted"]
    notes = json.loads((result.folder / "manifest.json").read_text())["notes"]
    assert "the skeleton gets the reference's proportions and place (retarget wanlab)" in notes


def test_flux_edits_both_images_and_they_are_kept(
    outputs: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in that hands every image back, larger as FLUX does, is asked for legs or arms as upstream asks."""
    from wanlab.model import flux, flux_weights

    asked: list[str] = []

    def edit(image: np.ndarray, prompt: str) -> np.ndarray:
        asked.append(prompt)
        return resize.letterbox(image, 2 * image.shape[0], 2 * image.shape[1])

    with pytest.raises(
        FileNotFoundError, match="use_flux needs FLUX.1-Kontext-dev in .* which is missing: accept its licence"
    ):
        preprocess.prepare(settings(sample, use_flux=True))
    weights = tmp_path / "weights"
    weights.mkdir()
    monkeypatch.setattr(flux_weights, "find", lambda _: weights)
    monkeypatch.setattr(flux, "load", lambda folder: edit)
    result = made(sample, use_flux=True, max_frames=2)
    assert [each.endswith("Hands are visible in the image.") for each in asked] == [True, True]
    assert result.edited()["refer_edit"].shape[:2] == (result.height, result.width)
    assert result.edited()["tpl_edit"].shape[:2] == (512, 384)
    with np.load(result.folder / "keypoints.npz") as saved:
        edited = saved["edited_reference_keypoints"]
    assert np.abs(edited[:17, :2] - result.reference_keypoints()[:17, :2]).max() < 6  # the same image, resized twice


def test_a_finished_run_is_reused_and_a_copy_is_whole(
    outputs: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(sample)
    monkeypatch.setattr(detection, "detect", lambda *_: pytest.fail("detected again"))
    again = preprocess.prepare(settings(sample, save_path=tmp_path / "copy"))
    assert again.news == "reused"
    assert preprocess.work(again).folder == first.folder
    copy = inputs.read(tmp_path / "copy")
    assert copy.sha256() == first.sha256()
    assert not (tmp_path / "copy" / "manifest.json").exists()
    other = preprocess.prepare(settings(sample, max_frames=FRAMES - 1))
    assert other.news == "new"


def test_a_swapped_export_wins_over_its_master(outputs: Path, sample: Path, tmp_path: Path) -> None:
    first = made(sample, save_path=tmp_path / "copy")
    media.write_video(tmp_path / "copy" / "src_pose.mp4", np.full((FRAMES, 256, 192, 3), 77, np.uint8), first.fps)
    swapped = inputs.read(tmp_path / "copy")
    assert swapped.files["pose_video"].name == "src_pose.mp4"
    assert abs(float(swapped.video("pose_video").read().mean()) - 77) < 2
    assert any("src_pose.mp4 was replaced" in note for note in swapped.notes)
    assert swapped.files["face_video"].name == "face.mkv"


def test_a_folder_of_other_tools_is_read(outputs: Path, sample: Path, tmp_path: Path) -> None:
    first = made(sample)
    for name in ("src_ref.png", "src_pose.mp4", "src_face.mp4"):
        (tmp_path / name).write_bytes((first.folder / name).read_bytes())
    read = inputs.read(tmp_path)
    assert (read.num_frames, read.mode, read.keypoints(), read.driving()) == (FRAMES, "animate", None, None)
    (tmp_path / "src_face.mp4").unlink()
    with pytest.raises(FileNotFoundError, match="src_face.mp4 is missing .* wanlab preprocess makes them"):
        inputs.read(tmp_path)


def test_inputs_that_do_not_fit_each_other_are_refused(outputs: Path, sample: Path, tmp_path: Path) -> None:
    made(sample, save_path=tmp_path / "copy")
    media.write_video(tmp_path / "copy" / "src_face.mp4", np.zeros((FRAMES - 2, 512, 512, 3), np.uint8), Fraction(16))
    with pytest.raises(ValueError, match=f"src_face.mp4 must have {FRAMES} frames, got {FRAMES - 2}; use {FRAMES}"):
        inputs.read(tmp_path / "copy")


def test_nobody_anywhere_is_refused_with_a_remedy(outputs: Path, sample: Path, tmp_path: Path) -> None:
    media.write_video(tmp_path / "empty.mp4", np.full((3, 128, 96, 3), 120, np.uint8), Fraction(16))
    run = preprocess.prepare(settings(sample, driving_video=tmp_path / "empty.mp4"))
    with pytest.raises(ValueError, match="driving_video must show a person, got none in its 3 frames; use a video"):
        preprocess.work(run)
    manifest = json.loads((run.folder / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert "driving_video must show a person" in manifest["error"]["text"]


def test_frames_without_a_person_do_not_end_the_run(outputs: Path, sample: Path) -> None:
    result = made(sample, driving_video=sample / "walk.mp4", start_s=22 / 16, max_frames=8)
    assert result.facts["no_person"]
    drawn = result.video("pose_video").read()
    assert not drawn[result.facts["no_person"][-1]].any()
    notes = json.loads((result.folder / "manifest.json").read_text())["notes"]
    assert any("no person in frames" in note for note in notes)


@pytest.mark.slow
def test_a_filter_is_for_the_detectors_alone(outputs: Path, sample: Path) -> None:
    plain, filtered = (made(sample, max_frames=2, detector_filter=each) for each in (None, "brighten"))
    assert plain.folder != filtered.folder
    np.testing.assert_array_equal(plain.driving().read(), filtered.driving().read())
    assert np.abs(plain.keypoints() - filtered.keypoints()).max() > 0.1


def test_two_people_are_said_and_a_reference_without_a_person_too(outputs: Path, sample: Path, tmp_path: Path) -> None:
    media.write_image(tmp_path / "vase.png", np.full((256, 192, 3), 150, np.uint8))
    run = preprocess.prepare(
        settings(
            sample,
            driving_video=sample / "two_people.mp4",
            reference_image=tmp_path / "vase.png",
            max_frames=2,
            person="360,400",
        )
    )
    found = preprocess.work(run)
    notes = " ".join(run.manifest["notes"])
    assert "2 people, 2 of them at once in 2 frames: person 2, the right one at frame 0, is followed" in notes
    assert "no person was found in reference_image" in notes
    boxes, keypoints = found.people_boxes(), found.keypoints()
    assert boxes is not None
    assert keypoints is not None
    assert boxes.shape == (2, 2, 4)
    x1, y1, x2, y2 = boxes[1, 0]
    assert (keypoints[0, [0, 5, 6], :2] > (x1, y1)).all()
    assert (keypoints[0, [0, 5, 6], :2] < (x2, y2)).all()


def test_whom_nobody_means_is_refused_before_anything_is_computed(outputs: Path, sample: Path) -> None:
    with pytest.raises(config.SettingsError, match="person must be a number from 1, or clicks such as"):
        preprocess.prepare(settings(sample, person="the tall one"))
    with pytest.raises(config.SettingsError, match="person must be clicked in a frame from 0 to 1, got frame 7"):
        preprocess.prepare(settings(sample, max_frames=2, person="10,10@7"))
    with pytest.raises(config.SettingsError, match="must be a number from 1 to 1, got 2: one person is in the video"):
        preprocess.work(preprocess.prepare(settings(sample, max_frames=2, person=2)))


@pytest.mark.parametrize(
    ("field", "content", "message"),
    [
        ("driving_video", None, "driving_video must be a file, got .* which does not exist"),
        ("driving_video", b"no video", "driving_video must be a readable video file"),
        ("reference_image", b"no picture", "reference_image must be a readable image"),
    ],
)
def test_bad_files_are_refused_before_a_run_is_made(
    outputs: Path, sample: Path, tmp_path: Path, field: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        preprocess.prepare(settings(sample, **{field: path}))
    assert not list(outputs.glob("*"))


def test_an_odd_sized_film_is_taken_as_it_is(outputs: Path, sample: Path, tmp_path: Path) -> None:
    frames = media.open_clip(sample / "half.mp4", max_frames=2).read()[:, :511, :383]
    media.write_video(tmp_path / "odd.mkv", frames, Fraction(16), lossless=True)
    result = made(sample, driving_video=tmp_path / "odd.mkv")
    np.testing.assert_array_equal(result.driving().read(), frames)
    assert (result.height, result.width) == (256, 192)


def test_a_long_way_below_a_file_is_refused(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WANLAB_OUTPUTS", str(tmp_path / "file" / "outputs"))
    with pytest.raises(NotADirectoryError, match="must be a folder, but .*file is a file"):
        preprocess.prepare(settings(sample))


def test_replace_has_the_film_s_shape_a_mask_and_a_background(outputs: Path, sample: Path) -> None:
    result = made(sample, driving_video=sample / "driving.mp4", mode="replace", resolution="256 256", max_frames=3)
    assert (result.mode, result.height, result.width) == ("replace", 336, 192)
    clip = result.driving()
    assert (clip.height, clip.width) == (336, 192)  # the working clip is at the result's size
    assert result.reference_image().shape == (336, 192, 3)
    with np.load(result.folder / "mask.npz") as saved:
        person = np.unpackbits(saved["mask"], axis=-1)[..., : saved["shape"][2]].astype(bool)
    final = result.mask()
    np.testing.assert_array_equal(final, mask.apply_chain(person, mask.DEFAULT_CHAIN))
    np.testing.assert_array_equal(result.video("background_video").read(), mask.blank_out(clip.read(), final))
    with np.load(sample / "truth.npz") as truth:
        true = np.unpackbits(truth["mask"], axis=-1)[:3, :, :480].astype(np.uint8) * 255
    small = np.stack([resize.resize_by_area(np.repeat(m[..., None], 3, 2), 65536)[..., 0] > 127 for m in true])
    assert (person & small).sum() / (person | small).sum() > 0.85
    assert (final | ~small).mean() > 0.999  # nothing of the person is left
    exported = media.open_clip(result.folder / "src_mask.mp4").read()[..., 0] >= 128
    assert (exported == final).mean() > 0.998
    info = media.probe_video(result.folder / "src_bg.mp4")
    assert (info.num_frames, info.height, info.width) == (3, 336, 192)


def test_a_swapped_mask_wins(outputs: Path, sample: Path, tmp_path: Path) -> None:
    made(sample, mode="replace", max_frames=2, mask_chain="", save_path=tmp_path / "copy")
    drawn = np.zeros((2, 256, 192, 3), np.uint8)
    drawn[:, 64:128, 48:96] = 200  # what another tool calls white
    media.write_video(tmp_path / "copy" / "src_mask.mp4", drawn, Fraction(16))
    swapped = inputs.read(tmp_path / "copy")
    assert any("src_mask.mp4 was replaced" in note for note in swapped.notes)
    assert (swapped.mask() == (drawn[..., 0] > 0)).mean() > 0.99


def test_replace_keeps_the_film_where_nobody_is(outputs: Path, sample: Path) -> None:
    result = made(sample, driving_video=sample / "walk.mp4", mode="replace", start_s=22 / 16, max_frames=8)
    empty = result.facts["no_person"][-1]
    assert not result.mask()[empty].any()
    np.testing.assert_array_equal(result.video("background_video").read()[empty], result.driving().read()[empty])


@pytest.mark.parametrize("name", ["mask_source", "mask_chain", "mask_video", "background_video"])
def test_mask_settings_belong_to_replace(outputs: Path, sample: Path, name: str) -> None:
    value = {"mask_source": "centre", "mask_chain": "fill"}.get(name, str(sample / "half.mp4"))
    with pytest.raises(config.SettingsError, match=f"{name} must be left out in animate"):
        preprocess.prepare(settings(sample, **{name: value}))
    assert not list(outputs.glob("*"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mask_chain": "gorw:3"}, "mask_chain must be made of"),
        (
            {"mask_source": "segmentor"},
            "mask_source must be auto, segmenter, keypoints, official, centre, or a file, got segmentor",
        ),
        ({"mask_video": "half.mp4", "mask_chain": "fill"}, "mask_source and mask_chain must be left out"),
        ({"mask_video": "half.mp4"}, "mask_video must have 6 frames, got 65"),
        ({"pose_video": "short.mp4"}, "pose_video must have the size 256x192 .* got 64x48"),
        ({"pose_video": "points.json"}, "pose_video must be a readable video file"),
        ({"face_video": "short.mp4"}, "face_video must have the size 512x512 .* got 64x48"),
        ({"mask_source": "slow.mp4"}, "mask_source must have 16 frames per second, got 24"),
        ({"resolution": "64 64"}, r'resolution must have \d+ to \d+ pixels with .*, got 64x48 = 3072; use "192 256"'),
        ({"mask_source": "points.json"}, r"points.json must have its points inside the clip \(6 frames of 256x192\)"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_run_is_made(
    outputs: Path, sample: Path, tmp_path: Path, more: dict[str, str], message: str
) -> None:
    media.write_video(tmp_path / "short.mp4", np.zeros((6, 64, 48, 3), np.uint8), Fraction(16))
    media.write_video(tmp_path / "slow.mp4", np.zeros((6, 256, 192, 3), np.uint8), Fraction(24))
    (tmp_path / "points.json").write_text(json.dumps({"positive": [{"x": 192, "y": 10}]}))
    (tmp_path / "half.mp4").write_bytes((sample / "half.mp4").read_bytes())
    files = {n: tmp_path / v if (tmp_path / v).is_file() else v for n, v in more.items()}
    with pytest.raises((config.SettingsError, FileNotFoundError), match=message):
        preprocess.prepare(settings(sample, mode="replace", **files))
    assert not list(outputs.glob("*"))


def person_of(result: inputs.AnimateInputs) -> np.ndarray:
    found = result.person_mask()
    assert found is not None
    return found


def test_clicked_points_make_the_mask(outputs: Path, sample: Path, tmp_path: Path) -> None:
    """A point on the wall beside the person makes the wall theirs; the same point as a negative one does nothing."""
    more = {"mode": "replace", "max_frames": 3, "mask_chain": ""}
    plain = person_of(made(sample, **more))
    wall = {"x": 10, "y": 20, "frame": 1}
    assert not plain[:, 20, 10].any()
    nose = {"x": 96, "y": 70, "frame": 1}
    (tmp_path / "on.json").write_text(json.dumps({"positive": [wall, nose]}))
    (tmp_path / "off.json").write_text(json.dumps({"positive": [nose], "negative": [wall]}))
    on, off = (person_of(made(sample, mask_source=tmp_path / f"{name}.json", **more)) for name in ("on", "off"))
    assert on[1, 20, 10]
    assert not off[:, 20, 10].any()
    assert (off & plain).sum() / (off | plain).sum() > 0.85


def test_the_source_of_the_mask_is_named_and_counts(outputs: Path, sample: Path) -> None:
    more = {"mode": "replace", "max_frames": 2, "mask_chain": ""}
    ids = set()
    for source, words in {"auto": "segmenter", "segmenter": "segmenter", "centre": "GrabCut with 2 points"}.items():
        run = preprocess.prepare(settings(sample, mask_source=source, **more))
        preprocess.work(run)
        ids.add(run.id)
        assert any(words in note and "not from SAM2" in note for note in run.manifest["notes"])
        assert run.manifest["settings"]["mask_source"] == source.replace("auto", "segmenter")
    assert len(ids) == 2


def film(place: Path, frames: np.ndarray) -> Path:
    media.write_video(place, frames, Fraction(16))
    return place


def test_one_s_own_videos_replace_the_computed_ones(outputs: Path, sample: Path, tmp_path: Path) -> None:
    drawn = np.zeros((3, 256, 192, 3), np.uint8)
    drawn[:, 64:256, 48:144] = 255
    grey = np.full((3, 256, 192, 3), 90, np.uint8)
    own = {
        "mask_video": film(tmp_path / "mask.mp4", drawn),
        "background_video": film(tmp_path / "background.mp4", grey),
        "pose_video": film(tmp_path / "pose.mp4", grey // 2),
        "face_video": film(tmp_path / "face.mp4", np.full((3, 512, 512, 3), 200, np.uint8)),
    }
    result = made(sample, mode="replace", max_frames=3, **own)
    assert (result.mask() == (drawn[..., 0] > 0)).mean() > 0.995
    for name, level in (("background_video", 90), ("pose_video", 45), ("face_video", 200)):
        assert abs(result.video(name).read().astype(int) - level).max() <= 2
    run = runs.find_run(result.folder)
    assert set(run.manifest["inputs"]) == {"driving_video", "reference_image", *own}
    assert any("mask_video is your own, mask.mp4" in note for note in run.manifest["notes"])


def test_all_that_does_not_fit_is_said_at_once(outputs: Path, sample: Path, tmp_path: Path) -> None:
    drawn = np.zeros((2, 832, 480, 3), np.uint8)
    drawn[:, 100:400, 100:300] = 0, 255, 0
    media.write_video(tmp_path / "mask.mp4", drawn, Fraction(16))
    chosen = {"driving_video": sample / "driving.mp4", "max_frames": 2, "resolution": "480 832", "mode": "replace"}
    with pytest.raises(config.SettingsError, match="got green") as raised:
        preprocess.prepare(settings(sample, mask_video=tmp_path / "mask.mp4", **chosen))
    assert str(raised.value).startswith("resolution must have 4096 to 147456 pixels with nano, got 832x480")


def test_a_mask_of_one_s_own_is_worked_on_as_a_source(outputs: Path, sample: Path, tmp_path: Path) -> None:
    drawn = np.zeros((2, 256, 192, 3), np.uint8)
    drawn[:, 64:256, 48:144] = 255
    source = film(tmp_path / "mask.mp4", drawn)
    result = made(sample, mode="replace", max_frames=2, mask_source=source, mask_chain="grow:8")
    np.testing.assert_array_equal(result.mask(), mask.grow(person_of(result), 8))


def test_an_inverted_or_empty_mask_is_refused(outputs: Path, sample: Path, tmp_path: Path) -> None:
    person = person_of(made(sample, mode="replace", max_frames=2, mask_chain="grow:4"))
    inverted = film(tmp_path / "inverted.mp4", np.repeat(~person[..., None], 3, axis=3).astype(np.uint8) * 255)
    with pytest.raises(ValueError, match=r"mask_video must be white .* of the person; invert it"):
        made(sample, mode="replace", max_frames=2, mask_video=inverted)
    empty = film(tmp_path / "empty.mp4", np.zeros((2, 256, 192, 3), np.uint8))
    with pytest.raises(ValueError, match="mask_video must be white .* got black in all 2 frames"):
        made(sample, mode="replace", max_frames=2, mask_video=empty)


def test_damaged_inputs_are_made_again_and_what_was_swapped_stays(
    outputs: Path, sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = make_folder(outputs) / "video.mp4"
    shutil.copy(sample / "half.mp4", film)
    chosen = {"mode": "replace", "driving_video": film, "max_frames": 3, "mask_source": "segmenter"}
    result = made(sample, **chosen)
    whole = {path.name: path.read_bytes() for path in result.folder.iterdir()}
    mine = np.zeros((3, result.height, result.width, 3), np.uint8)
    mine[:, :64] = 255
    media.write_video(result.folder / "src_mask.mp4", mine, result.fps)
    points = dict(np.load(result.folder / inputs.KEYPOINTS))
    points["keypoints"][..., 0] += 5
    write_arrays(result.folder / inputs.KEYPOINTS, **points)
    (result.folder / "edits.json").write_text("mine")
    kept = {name: (result.folder / name).read_bytes() for name in ("src_mask.mp4", inputs.KEYPOINTS, "edits.json")}
    for name in ("pose.mkv", "src_pose.mp4", "src_face.mp4", "inputs.json"):
        (result.folder / name).write_bytes(whole[name][: len(whole[name]) // 2])
    remove(result.folder / "driving.mkv")
    again, parent = inspect.complete_inputs(result.folder)
    said = capsys.readouterr().out
    assert "src_face.mp4 is cut off or damaged" in said
    assert "driving.mkv is missing" in said
    assert parent == result.folder.name
    for name in ("pose.mkv", "src_pose.mp4", "src_face.mp4", "driving.mkv"):
        assert (again.folder / name).read_bytes() == whole[name]
    assert kept == {name: (again.folder / name).read_bytes() for name in kept}
    assert json.loads((again.folder / "inputs.json").read_text()) == json.loads(whole["inputs.json"])
    assert again.files["mask_video"].name == "src_mask.mp4"
    (run,) = runs.list_runs()
    assert run.completed
    inspect.complete_inputs(result.folder)
    assert capsys.readouterr().out == ""
    film.unlink()
    (result.folder / "mask.npz").write_bytes(b"")
    with pytest.raises(
        FileNotFoundError, match=r"but mask.npz is empty, and outputs/video.mp4, from which it was made, is gone"
    ):
        inspect.complete_inputs("latest")
