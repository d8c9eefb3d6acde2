"""Stage 2 from inputs to mp4: what is resolved, refused, resumed and recorded."""

from __future__ import annotations

import base64
import io
import json
import re
import resource
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from wanlab import config, files, media, runs
from wanlab.model import checkpoints, loading, networks, parts
from wanlab.runs import watching
from wanlab.steps import denoise, generate, live_view, report, segment_files

FRAMES = 7


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a small folder of inputs as other tools write it, 96x64."""
    place, moving = tmp_path / "inputs", np.arange(FRAMES) * 2
    place.mkdir()
    pose = np.zeros((FRAMES, 96, 64, 3), np.uint8)
    for t, x in enumerate(moving):
        pose[t, 15:45, 10 + x : 15 + x] = (0, 255, 0)
    media.write_image(place / "src_ref.png", np.full((96, 64, 3), (180, 90, 60), np.uint8))
    media.write_video(place / "src_pose.mp4", pose, Fraction(24))
    media.write_video(place / "src_face.mp4", np.full((FRAMES, 512, 512, 3), 127, np.uint8), Fraction(24))
    return place


def settings(folder: Path, **more: object) -> config.GenerateSettings:
    chosen = {"inputs": str(folder), "segment_frame_length": 5, "num_inference_steps": 1, "guidance_scale": 1, **more}
    return config.GenerateSettings.build({**chosen, "checkpoint": checkpoints.NANO})


def test_none_means_as_the_checkpoint_recommends(outputs: Path, folder: Path) -> None:
    run = generate.prepare(config.GenerateSettings.build({"inputs": str(folder), "checkpoint": checkpoints.NANO}))
    chosen = run.manifest["settings"]
    assert {name: chosen[name] for name in generate.FROM_CHECKPOINT} == {
        "num_inference_steps": 4, "guidance_scale": 1.0, "shift": 5.0, "segment_frame_length": 17, "prev_segment_conditioning_frames": 1,
    }  # fmt: skip
    assert chosen["mode"] == "animate"
    same = config.GenerateSettings.build(
        {"inputs": str(folder), "checkpoint": checkpoints.NANO, "num_inference_steps": 4}
    )
    assert generate.prepare(same).id == run.id


def test_parts_that_a_params_file_names_make_the_video_of_their_folder(
    outputs: Path, folder: Path, tmp_path: Path
) -> None:
    places = {name: checkpoints.NANO / name for name in parts.COMPONENTS}
    file = tmp_path / "private" / "mine.yaml"
    file.parent.mkdir()
    file.write_text("".join(f"{name}: {place}\n" for name, place in places.items()))
    chosen = settings(folder, max_frames=5)
    whole, named = (generate.prepare(each) for each in (chosen, chosen.replaced(checkpoint=file)))
    assert whole.id != named.id
    loaded = denoise.LoadedNetworks()
    frames = [generate.work(run, loaded).read() for run in (whole, named)]
    np.testing.assert_array_equal(*frames)
    assert set(named.manifest["models"]) == {"mine"}
    assert "private" not in (named.folder / "manifest.json").read_text()


def written_lora(file: Path, layer: str = "blocks.0.self_attn.q", number: float = 0.5) -> Path:
    size = loading.shapes("transformer", (checkpoints.NANO / "transformer",))["blocks.0.attn1.to_q.weight"][0]
    tensors = {"A": torch.full((2, size), number), "B": torch.full((size, 2), number)}
    save_file({f"diffusion_model.{layer}.lora_{end}.weight": each for end, each in tensors.items()}, file)
    return file


def test_a_lora_counts_by_contents_and_strength_and_changes_the_video(
    outputs: Path, folder: Path, tmp_path: Path
) -> None:
    one, other = written_lora(tmp_path / "one.safetensors"), written_lora(tmp_path / "other.safetensors", number=0.25)
    again = tmp_path / "again.safetensors"
    again.write_bytes(one.read_bytes())
    chosen = settings(folder, max_frames=5)
    given = ("", f"{one}:0.8", f"{again}:0.80", f"{one}:0.4", f"{other}:0.8", f"{other}:0.8,{one}:0.8", f"{one}:0")
    made = [generate.prepare(chosen.replaced(lora=lora)) for lora in given]
    codes = [run.manifest["hash"] for run in made]
    assert codes[1] == codes[2]
    assert len({*codes}) == 6
    assert "LoRA one.safetensors at 0.8: 1 of 1 layers match" in made[1].manifest["notes"]
    assert str(tmp_path) not in (made[1].folder / "manifest.json").read_text()
    assert made[1].manifest["settings"]["lora"] == ["one.safetensors:0.8"]
    loaded = denoise.LoadedNetworks()
    without, with_it = (generate.work(run, loaded).read().astype(int) for run in made[:2])
    assert np.abs(with_it - without).max() > 5


def test_a_lora_of_another_model_is_refused_before_a_run_is_made(outputs: Path, folder: Path, tmp_path: Path) -> None:
    file = written_lora(tmp_path / "x.safetensors", "double_blocks.0.img_attn.qkv")
    with pytest.raises(
        config.SettingsError, match=r"^lora .*x.safetensors must fit the checkpoint, 0 of 1 layers match"
    ):
        generate.prepare(settings(folder, lora=str(file)))
    with pytest.raises(FileNotFoundError, match="lora must be a file, got .*none.safetensors, which does not exist"):
        generate.prepare(settings(folder, lora=f"{tmp_path}/none.safetensors:0.5"))
    assert not list(outputs.glob("*_generate_*"))


def test_the_relighting_lora_that_is_missing_is_said_once(outputs: Path, folder: Path, tmp_path: Path) -> None:
    run = generate.prepare(settings(folder, use_relighting_lora=True))
    said = [note for note in run.manifest["notes"] if "relighting" in note]
    assert said == ["use_relighting_lora has no effect: no relighting LoRA lies with nano; nano has none"]
    copy = tmp_path / "copy"
    shutil.copytree(checkpoints.NANO, copy)
    (copy / "relighting_lora").mkdir()
    written_lora(copy / "relighting_lora" / "adapter_model.safetensors")
    run = generate.prepare(settings(folder, use_relighting_lora=True).replaced(checkpoint=copy))
    assert "LoRA adapter_model.safetensors at 1: 1 of 1 layers match" in run.manifest["notes"]


def test_the_result_keeps_count_rate_sound_and_settings(outputs: Path, folder: Path, tmp_path: Path) -> None:
    _driving_with_sound(folder / "driving.mkv")
    run = generate.prepare(settings(folder, output_path=tmp_path / "copy.mp4"))
    clip = generate.work(run)
    assert (len(clip), clip.height, clip.width, clip.fps) == (FRAMES, 96, 64, Fraction(24))
    assert clip.info.has_audio
    assert clip.read().std() > 5
    comment = json.loads(media.read_comment(tmp_path / "copy.mp4"))
    assert comment["settings"]["seed"] == 42
    assert comment["id"] == run.id
    assert run.manifest["artefacts"]["video"]["seams"] == [5]
    assert run.status == "completed"
    assert not (run.folder / "segments").exists()
    master = media.read_video(run.path(denoise.MASTER)).frames
    assert np.abs(master.astype(int) - clip.read().astype(int)).mean() < 3


def test_another_precision_keeps_the_networks_and_drops_what_they_encoded(outputs: Path, folder: Path) -> None:
    loaded = denoise.LoadedNetworks()
    first = generate.work(generate.prepare(settings(folder, max_frames=5)), loaded).read()
    networks_, kept = loaded.get(checkpoints.NANO, None)
    second = generate.work(generate.prepare(settings(folder, max_frames=5, precision="official")), loaded).read()
    assert 0 < np.abs(first.astype(int) - second).mean() < 3  # pixels are rounded on a CPU too
    assert (networks_.precision, loaded.get(checkpoints.NANO, None, "official")[0]) == ("official", networks_)
    assert loaded.get(checkpoints.NANO, None, "official")[1] is not kept


def test_auto_segments_are_as_few_and_as_short_as_the_clip_needs(outputs: Path, folder: Path) -> None:
    """Seven frames at most nine long are one segment of nine; up to five, the last of two segments ends with padding alone."""
    run = generate.prepare(settings(folder, segment_frame_length="auto:9"))
    assert [end - start for start, end in generate.plan(run).segments] == [9]
    assert generate.prepare(settings(folder, segment_frame_length="auto")).settings.segment_frame_length == "auto:17"
    run = generate.prepare(settings(folder, segment_frame_length="auto:5", prev_segment_conditioning_frames=1))
    assert len(generate.work(run)) == FRAMES
    assert run.manifest["artefacts"]["video"]["seams"] == [5]
    files.remove(run.path("result.mp4"))
    generate.restore(runs.Run(run.folder))
    assert len(media.open_clip(run.path("result.mp4"))) == FRAMES
    with pytest.raises(config.SettingsError, match="segment_frame_length must be 5 to 33 with nano, got 37; use 33"):
        generate.prepare(settings(folder, segment_frame_length="auto:37"))


def test_another_quality_is_written_from_the_master(
    outputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.GenerateSettings.model_fields["video_quality"].default == media.CRF
    run = generate.prepare(settings(folder))
    generate.work(run)
    fine = run.path("result.mp4").read_bytes()
    monkeypatch.setattr(networks.Networks, "denoise", None)  # no model runs
    again = generate.prepare(settings(folder, video_quality=35))
    generate.work(again)
    assert (again.id, again.status) == (run.id, "completed")
    assert len(run.path("result.mp4").read_bytes()) < len(fine) / 2
    assert json.loads(media.read_comment(run.path("result.mp4")))["settings"]["video_quality"] == 35
    generate.work(generate.prepare(settings(folder)))
    assert len(run.path("result.mp4").read_bytes()) == len(fine)


@pytest.mark.parametrize("name", ["device", "noise_device"])
def test_what_needs_a_gpu_is_refused_without_one(
    name: str, outputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denoise, "num_gpus", lambda: 0)
    with pytest.raises(config.SettingsError, match=f"{name} must be cpu on a machine without a GPU, got cuda; use cpu"):
        generate.prepare(settings(folder, **{name: "cuda"}))


def test_stopped_after_a_segment_what_is_finished_is_the_result_until_it_goes_on(
    outputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, original = generate.prepare(settings(folder)), networks.Networks.denoise

    def asked(self: networks.Networks, *args: object) -> object:
        if run.status == "running":
            watching.ask_to_pause(run)
        return original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(networks.Networks, "denoise", asked)
        assert len(generate.work(run)) == 5
    first = media.read_video(run.path(denoise.MASTER)).frames
    assert (run.status, run.manifest["partial"]) == ("completed", {"segments": 1, "of_segments": 2, "frames": 5})
    assert "partial: stopped after segment 1 of 2; the same settings go on from there" in run.manifest["notes"]
    assert watching.look(run).words() == "completed in part, kept: 1 of 2 segments"
    assert generate.seams(run) == ()
    assert run.manifest["metrics"]
    assert runs.find_run("latest", "generate").id == run.id  # a result, which a report shows
    again = generate.prepare(settings(folder))
    assert (again.id, again.news, generate.is_partial(again)) == (run.id, "continued", True)
    assert not generate.is_finished(again.resolved)
    assert len(generate.work(again)) == 7
    assert "partial" not in again.manifest
    assert not [note for note in again.manifest["notes"] if note.startswith("partial")]
    assert not (run.folder / "segments").exists()
    assert generate.seams(again) == (5,)
    assert sorted(path.name for path in (run.folder / "steps").iterdir()) == [
        "000.jpg", "000.json", "001.jpg", "001.json",
    ]  # fmt: skip
    assert not run.path(live_view.LIVE).exists()
    assert not [note for note in again.manifest["notes"] if "could not be shown" in note]
    assert again.manifest["settled_step"] is None  # there is one step
    (strips,) = report.steps_of(again)
    (first_strip, _) = re.findall("data:image/jpeg;base64,([^']+)'", strips.data)
    with Image.open(io.BytesIO(base64.b64decode(first_strip))) as image:
        assert (image.height, image.width) == (120, 80)  # ten times the latents of 96x64
    np.testing.assert_array_equal(media.read_video(again.path(denoise.MASTER)).frames[:5], first)


def test_goes_on_from_the_last_finished_segment(outputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate.prepare(settings(folder))
    generate.work(whole)
    expected = media.read_video(whole.path(denoise.MASTER)).frames
    calls = {"denoise": 0}
    original = networks.Networks.denoise

    def dying(self: networks.Networks, *args: object) -> object:
        calls["denoise"] += 1
        if calls["denoise"] == 2:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(networks.Networks, "denoise", dying)
    run = generate.prepare(settings(folder, fresh=True))
    with pytest.raises(KeyboardInterrupt):
        generate.work(run)
    assert run.status == "cancelled"
    assert (run.folder / "segments" / "000.npy").is_file()
    unfinished = runs.Run(run.folder, run.settings)
    generate.work(unfinished)
    assert calls["denoise"] == 3  # one before, one that died, one after
    np.testing.assert_array_equal(media.read_video(run.path(denoise.MASTER)).frames, expected)


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_clips_no_longer_than_the_overlap_are_one_segment(outputs: Path, folder: Path, num_frames: int) -> None:
    pose = media.read_video(folder / "src_pose.mp4").frames[:num_frames]
    media.write_video(folder / "src_pose.mp4", pose, Fraction(24))
    media.write_video(folder / "src_face.mp4", np.full((num_frames, 512, 512, 3), 127, np.uint8), Fraction(24))
    clip = generate.work(generate.prepare(settings(folder, prev_segment_conditioning_frames=5, segment_frame_length=9)))
    assert len(clip) == num_frames


def test_further_references_count_by_their_contents(outputs: Path, folder: Path, tmp_path: Path) -> None:
    images = [tmp_path / name for name in ("a.png", "b.png")]
    for number, path in enumerate(images):
        media.write_image(path, np.full((32, 24, 3), 90 + 50 * number, np.uint8))
    plain, one, both = (
        generate.prepare(settings(folder, max_frames=5, more_references=given))
        for given in (None, str(images[0]), ",".join(map(str, images)))
    )
    assert len({plain.id, one.id, both.id}) == 3
    assert set(both.manifest["inputs"]) == {"inputs", "reference 1", "reference 2"}
    assert str(tmp_path) not in (both.folder / "manifest.json").read_text()
    assert not np.array_equal(generate.work(plain).read(), generate.work(one).read())
    shutil.copy(images[0], tmp_path / "c.png")
    assert generate.prepare(settings(folder, max_frames=5, more_references=tmp_path / "c.png")).id == one.id
    with pytest.raises(FileNotFoundError, match="more_references must be a file, got none.png"):
        generate.prepare(settings(folder, more_references="none.png"))
    images[0].write_bytes(b"no image")
    with pytest.raises(config.SettingsError, match=r"more_references must be a readable image file .*a\.png"):
        generate.prepare(settings(folder, more_references=images[0]))


def test_a_black_result_is_a_failed_run(outputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks.Networks, "decode", lambda self, latents: latents.new_zeros(3, 5, 96, 64) - 1)
    run = generate.prepare(settings(folder))
    with pytest.raises(FloatingPointError, match="segment 1 must be an image, got black frames only"):
        generate.work(run)
    assert run.status == "failed"
    assert not run.path(generate.RESULT).exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"segment_frame_length": 78}, r"segment_frame_length must be 4n \+ 1 and at least 5, got 78; use 77 or 81"),
        ({"segment_frame_length": 77}, "segment_frame_length must be 5 to 33 with nano, got 77; use 33"),
        ({"mode": "replace"}, "mode must be animate for these inputs, got replace"),
        ({"guidance_scale": "high"}, "guidance_scale must be a number, got 'high'"),
        ({"sede": 3}, "unknown parameter sede; did you mean seed"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_run_is_made(
    outputs: Path, folder: Path, more: dict, message: str
) -> None:
    with pytest.raises(config.SettingsError, match=message):
        generate.prepare(settings(folder, **more))
    assert not list(outputs.glob("*"))


def test_a_full_disk_fails_the_run_and_keeps_what_is_finished(
    outputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first segment fits under the limit, the written video does not."""
    original = media.join

    def limited(*how: object) -> object:
        """Write it into at most 3000 bytes: Python ignores SIGXFSZ, so this reads as a full disk does."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
        try:
            return original(*how)  # type: ignore[arg-type]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    run = generate.prepare(settings(folder))
    monkeypatch.setattr(media, "join", limited)
    said = "disk full while writing result.mkv; free space and run again, finished work is kept"
    with pytest.raises(OSError, match=said):
        generate.work(run)
    monkeypatch.setattr(media, "join", original)
    assert runs.Run(run.folder).status == "failed"
    assert len(list((run.folder / "segments").glob("*.npy"))) == 2
    assert not run.path(denoise.MASTER).exists()
    again = generate.prepare(settings(folder))
    assert (again.news, again.id) == ("continued", run.id)
    assert len(generate.work(again)) == FRAMES


def test_the_prompt_reaches_the_text_encoder_and_the_negative_one_with_guidance(
    outputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    original = networks.Networks.encode_text

    def watched(self: networks.Networks, prompts: list[str]) -> object:
        seen.append(prompts)
        return original(self, prompts)

    monkeypatch.setattr(networks.Networks, "encode_text", watched)
    generate.work(generate.prepare(settings(folder)))
    generate.work(generate.prepare(settings(folder, guidance_scale=2, prompt="a dance")))
    assert seen == [[config.PROMPT], ["a dance", config.NEGATIVE_PROMPT]]


def _driving_with_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("ffv1", rate=24), container.add_stream("flac", rate=8000)
        video.height, video.width, video.pix_fmt, audio.layout = 96, 64, "bgr0", "mono"
        for n in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.full((96, 64, 3), 90, np.uint8), format="rgb24").reformat(
                format="bgr0"
            )
            frame.pts, frame.time_base = n, Fraction(1, 24)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        block = av.AudioFrame.from_ndarray(np.full((1, 2333), 3000, np.int16), format="s16", layout="mono")
        block.sample_rate, block.pts, block.time_base = 8000, 0, Fraction(1, 8000)
        container.mux(audio.encode(block))
        container.mux(audio.encode(None))


def test_a_pose_video_without_any_skeleton_is_refused(outputs: Path, folder: Path) -> None:
    media.write_video(folder / "src_pose.mp4", np.zeros((FRAMES, 96, 64, 3), np.uint8), Fraction(24))
    with pytest.raises(config.SettingsError, match=f"src_pose.mp4 must show a skeleton .* got black in all {FRAMES}"):
        generate.prepare(settings(folder))
    assert not list(outputs.glob("*"))


def test_a_green_mask_is_refused_and_a_soft_one_is_said(outputs: Path, folder: Path) -> None:
    media.write_video(folder / "src_bg.mp4", np.full((FRAMES, 96, 64, 3), 90, np.uint8), Fraction(24))
    drawn = np.zeros((FRAMES, 96, 64, 3), np.uint8)
    drawn[:, 20:45, 15:35, 1] = 255
    media.write_video(folder / "src_mask.mp4", drawn, Fraction(24))
    with pytest.raises(config.SettingsError, match="src_mask.mp4 must be white .* got green .* of frame 0"):
        generate.prepare(settings(folder))
    grey = np.linspace(0, 255, 64, dtype=np.uint8)[None, None, :, None].repeat(FRAMES, 0).repeat(96, 1).repeat(3, 3)
    media.write_video(folder / "src_mask.mp4", grey, Fraction(24))
    assert any("src_mask.mp4 is soft: " in note for note in generate.prepare(settings(folder)).manifest["notes"])


def test_a_swapped_mask_that_cannot_be_meant_is_refused(outputs: Path, folder: Path) -> None:
    """Black everywhere, or white on all but the person: said before a run is made."""
    grey = np.full((FRAMES, 96, 64, 3), 90, np.uint8)
    media.write_video(folder / "src_bg.mp4", grey, Fraction(24))
    points = np.zeros((FRAMES, 133, 3), np.float32)
    points[:, :17] = (24, 32, 1)
    np.savez(folder / "keypoints.npz", keypoints=points)
    inverted = np.full((FRAMES, 96, 64, 3), 255, np.uint8)
    inverted[:, 20:45, 15:35] = 0
    for mask_video, message in ((grey * 0, "got black in all"), (inverted, "on 0% of the person; invert it")):
        media.write_video(folder / "src_mask.mp4", mask_video, Fraction(24))
        with pytest.raises(config.SettingsError, match=f"src_mask.mp4 must be white .*{message}"):
            generate.prepare(settings(folder))
    assert not list(outputs.glob("*"))
    media.write_video(folder / "src_mask.mp4", 255 - inverted, Fraction(24))
    assert generate.prepare(settings(folder)).manifest["settings"]["mode"] == "replace"


def spoil(path: Path, how: str) -> None:
    """Cut a file off in the middle, empty it or remove it, as a full disk or a person does."""
    whole = path.read_bytes()
    if how == "gone":
        files.remove(path)
    else:
        path.write_bytes(whole[: len(whole) // 2] if how == "half" else b"")


def test_a_completed_run_is_looked_at_before_it_is_used(
    outputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can be made from the master is, without the model; a master is generated again."""
    chosen = settings(folder)
    run = generate.prepare(chosen)
    frames = generate.work(run).read()
    numbers = run.manifest["metrics"]
    assert generate.is_finished(generate.resolve(chosen))
    with_model, generated = denoise._generate, []
    monkeypatch.setattr(denoise, "_generate", lambda *how: (generated.append(1), with_model(*how)))
    for file in ("result.mp4", "metrics.json", "result.mkv"):
        for how in ("half", "empty", "gone") if file != "result.mkv" else ("half",):
            spoil(run.path(file), how)
            assert not generate.is_finished(generate.resolve(chosen))
            again = generate.prepare(chosen)
            assert (again.news, again.id, again.status) == ("continued", run.id, "failed")
            assert f"{run.id} was completed, but {file} is " in capsys.readouterr().out
            np.testing.assert_array_equal(generate.work(again).read(), frames)
            assert (again.status, again.manifest["metrics"]) == ("completed", numbers)
            assert generate.prepare(chosen).news == "reused"
    assert len(generated) == 1
    assert not run.path(segment_files.SEGMENTS).exists()


def test_a_finished_segment_without_its_frames_is_generated_again(outputs: Path, folder: Path) -> None:
    run = generate.prepare(settings(folder))
    frames = generate.work(run).read()
    again = generate.prepare(settings(folder, fresh=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(media, "join", _no_space)
        with pytest.raises(OSError, match="no space"):
            generate.work(again)
    assert again.manifest["kept"] == "2 of 2 segments"
    spoil(again.path(segment_files.SEGMENTS) / "001.mkv", "gone")
    np.testing.assert_array_equal(generate.work(again).read(), frames)


def _no_space(*_: object) -> int:
    raise OSError("no space")


def test_a_report_makes_a_video_again_from_its_master_or_refuses(outputs: Path, folder: Path) -> None:
    folder = folder.rename(files.make_folder(outputs) / "inputs")
    run = generate.prepare(settings(folder))
    frames = generate.work(run).read()
    asked = config.ReportSettings.build({"run": run.id})
    spoil(run.path("result.mp4"), "half")
    report.prepare(asked)
    np.testing.assert_array_equal(media.read_video(run.path("result.mp4")).frames, frames)
    spoil(run.path("result.mkv"), "half")
    report.prepare(asked)  # a report reads no master
    spoil(run.path("result.mp4"), "empty")
    with pytest.raises(FileNotFoundError, match=r"but result.mkv is cut off .*result.mp4 is empty; generate it again"):
        report.prepare(asked)
    assert runs.Run(run.folder).completed
