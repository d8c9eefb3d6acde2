"""The official scripts as a backend, with a stub clone that takes upstream's arguments and no others."""

from __future__ import annotations

import json
import shutil
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from conftest import Wan22, fill

from wanlab import config, inputs, media, official, runs
from wanlab.cli import main
from wanlab.files import targets
from wanlab.inputs import copies
from wanlab.official import clone, process
from wanlab.steps import generate, inspect, preprocess, sweep


@pytest.fixture
def film(tmp_path: Path, sample: Path) -> Path:
    """Return nine frames of the sample with sound, 128x160, 16 a second, at a place with an awkward name."""
    path = tmp_path / "-my 'video' \"1\".mp4"
    frames = [np.full((128, 160, 3), 20 * n, np.uint8) for n in range(9)]
    media.write_video(path.with_name("silent.mp4"), frames, Fraction(16))
    sound = path.with_name("sound.wav")
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.full((1, 4500), 3000, np.int16), format="s16", layout="mono")
        block.sample_rate, block.pts, block.time_base = 8000, 0, Fraction(1, 8000)
        container.mux([*stream.encode(block), *stream.encode(None)])
    with (
        av.open(str(path), "w") as out,
        av.open(str(path.with_name("silent.mp4"))) as images,
        av.open(str(sound)) as heard,
    ):
        video = out.add_stream_from_template(images.streams.video[0])
        audio = out.add_stream("aac", rate=8000, layout="mono")
        for packet in images.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
        for block in heard.decode(audio=0):
            block.pts = None
            out.mux(audio.encode(block))
        out.mux(audio.encode(None))
    return path


def prepared(wan22: Wan22, film: Path, sample: Path, **more: object) -> runs.Run:
    chosen = {"driving_video": film, "reference_image": sample / "character.png", "resolution": "160 128", **more}
    run = preprocess.prepare(config.PreprocessSettings.build({**wan22.settings, **chosen}))
    preprocess.work(run)
    return run


def chosen(wan22: Wan22, folder: Path, **more: object) -> config.GenerateSettings:
    values = {"inputs": str(folder), "num_inference_steps": 3, "segment_frame_length": 5, **more}
    return config.GenerateSettings.build({**wan22.settings, **values})


def test_animate_gets_exactly_upstream_s_arguments(wan22: Wan22, film: Path, sample: Path, outputs: Path) -> None:
    run = prepared(wan22, film, sample)
    seen = wan22.seen()
    assert seen["args"] == {
        "ckpt_path": str(wan22.checkpoint / "process_checkpoint"),
        "video_path": str(film),
        "refer_path": str(sample / "character.png"),
        "save_path": str(run.folder),
        "resolution_area": [160, 128],
        "fps": -1,
        "replace_flag": False,
        "retarget_flag": True,
        "use_flux": False,
        "iterations": 3, "k": 7, "w_len": 1, "h_len": 1,
    }  # fmt: skip
    assert seen["cwd"] == str(wan22.folder)
    assert run.settings.retarget is True
    assert official.TF32 not in seen["env"]
    assert not {"PYTHONPATH", "MPLBACKEND"} & set(seen["env"])


@pytest.mark.parametrize(
    ("more", "numbers"),
    [
        ({}, (3, 7, 1, 1)),
        ({"mask_chain": "dilate:5x2,cells:4x8"}, (2, 5, 4, 8)),
        ({"mask_chain": ""}, (0, 7, 1, 1)),
    ],
)
def test_replace_gets_the_numbers_of_the_mask_chain(
    wan22: Wan22, film: Path, sample: Path, outputs: Path, more: dict, numbers: tuple[int, ...]
) -> None:
    run = prepared(wan22, film, sample, mode="replace", fps=16, **more)
    args = wan22.seen()["args"]
    assert (args["iterations"], args["k"], args["w_len"], args["h_len"]) == numbers
    assert (args["replace_flag"], args["retarget_flag"], args["fps"]) == (True, False, 16)
    made = inputs.read(run.folder)
    assert (made.mode, made.num_frames, made.height, made.width) == ("replace", 9, 128, 160)
    assert made.mask().any()
    assert made.facts["mask_chain"] == (more.get("mask_chain", "dilate:7x3,cells:1x1"))
    assert made.person_mask() is None


def test_the_folder_is_read_back_with_the_working_clip_and_its_sound(
    wan22: Wan22, film: Path, sample: Path, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = prepared(wan22, film, sample, use_flux=True)
    printed = capsys.readouterr().out
    made = inputs.read(run.folder)
    driving = made.driving()
    assert driving is not None
    np.testing.assert_array_equal(driving.read(), media.open_clip(film).read())
    assert driving.info.has_audio
    assert set(made.edited()) == {"refer_edit", "tpl_edit"}
    assert {"refer_edit", "tpl_edit", "pose_video", "driving_video", "inputs"} <= set(run.manifest["artefacts"])
    assert made.keypoints() is None
    assert "target_num: 9" in printed
    assert "Moviepy - Writing video src_pose.mp4" in printed
    log = run.path(process.LOG).read_text()
    assert "frame_index:" in log
    assert str(wan22.folder.parent) not in log + printed + json.dumps(run.manifest)
    assert "Wan2.2 files-" in printed
    copies.write(run.folder, str(outputs / "copy"), targets.Kept())
    assert (outputs / "copy" / "tpl_edit.png").is_file()


def test_generate_gets_exactly_upstream_s_arguments(
    wan22: Wan22, film: Path, sample: Path, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = prepared(wan22, film, sample).folder
    run = generate.prepare(chosen(wan22, made, prompt="a dance", solver="dpm++", guidance_scale=2.5))
    clip = generate.work(run)
    printed = capsys.readouterr().out
    seen = wan22.seen()
    given = {name: value for name, value in seen["args"].items() if value not in (None, False)}
    assert given == {
        "task": "animate-14B",
        "ckpt_dir": str(wan22.checkpoint),
        "src_root_path": str(made),
        "refert_num": 1,
        "sample_solver": "dpm++",
        "sample_steps": 3,
        "sample_guide_scale": 2.5,
        "sample_shift": 5.0,
        "base_seed": 42,
        "frame_num": 5,
        "save_file": str(run.folder / official.ORIGINAL),
        "offload_model": True,
        "ulysses_size": 1,
        "size": "1280*720", "prompt_extend_method": "local_qwen", "prompt_extend_target_lang": "zh", "infer_frames": 80,
    }  # fmt: skip
    assert seen["env"][official.TF32] == "1"
    assert str(outputs) not in printed
    for said in (
        "prompt has no effect",
        f"{official.TF32}=1",
        "attention by FlashAttention 2",
        "command: '…/",
        "real frames: 9",
    ):
        assert said in printed
    assert run.manifest["settings"]["prompt"] == config.PROMPT
    assert generate.prepare(chosen(wan22, made, solver="dpm++", guidance_scale=2.5)).id == run.id
    original = media.open_clip(run.path(official.ORIGINAL))
    assert (original.fps, original.info.has_audio) == (30, False)
    assert (clip.fps, clip.info.has_audio, len(clip)) == (16, True, 9)
    np.testing.assert_array_equal(original.read(), clip.read())
    assert json.loads(media.read_comment(run.path(generate.RESULT)))["id"] == run.id
    assert any("same coded images at the clip's 16, with the video's sound" in note for note in run.manifest["notes"])
    assert "segment 2/2 step 3/3" in printed
    assert "shards" in run.path(process.LOG).read_text()
    assert "flicker" in run.manifest["metrics"]


def test_replace_switches_and_offloading(wan22: Wan22, film: Path, sample: Path, outputs: Path) -> None:
    made = prepared(wan22, film, sample, mode="replace").folder
    generate.work(generate.prepare(chosen(wan22, made, use_relighting_lora=True, no_offload=True)))
    args = wan22.seen()["args"]
    assert (args["replace_flag"], args["use_relighting_lora"], args["offload_model"]) == (True, True, False)


def test_several_gpus_run_under_torchrun(
    wan22: Wan22, film: Path, sample: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAN22_STUB_GPUS", "4")
    made = prepared(wan22, film, sample).folder
    run = generate.prepare(chosen(wan22, made, multi_gpu=True, segment_frame_length=9))
    generate.work(run)
    seen = wan22.seen()
    assert (seen["env"]["WORLD_SIZE"], seen["args"]["ulysses_size"]) == ("4", 4)
    assert seen["args"]["dit_fsdp"]
    assert seen["args"]["t5_fsdp"]
    alone = generate.prepare(chosen(wan22, made, segment_frame_length=9))
    assert alone.id == run.id  # how many GPUs is no matter of the result


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"multi_gpu": True, "nproc_per_node": 8}, "nproc_per_node must be 2 to the number of GPUs with multi_gpu, which is 4, got 8"),
        ({"multi_gpu": True, "nproc_per_node": 3}, "nproc_per_node must divide the model's 40 attention heads, got 3; use 2"),
        ({"segment_frame_length": 5, "prev_segment_conditioning_frames": 5}, "more than the 5 frames taken over, got 5; use 9"),
        ({"max_frames": 5}, "max_frames must be left out with backend wan22"),
        ({"device": "cpu"}, "device must be left out with backend wan22"),
    ],
)  # fmt: skip
def test_what_the_script_would_fail_on_is_refused_before_a_start(
    wan22: Wan22, film: Path, sample: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch, more: dict, message: str
) -> None:
    monkeypatch.setenv("WAN22_STUB_GPUS", "4")
    made = prepared(wan22, film, sample).folder
    before = len(runs.list_runs("generate"))
    with pytest.raises(config.SettingsError, match=message):
        generate.prepare(chosen(wan22, made, **more))
    assert len(runs.list_runs("generate")) == before


def test_a_size_whose_tokens_the_gpus_do_not_divide_is_answered_with_the_nearest(
    wan22: Wan22, film: Path, sample: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert official.num_tokens(720, 1280, 77) == 75600
    assert official.num_tokens(720, 1248, 77) % 8 == 6  # the size of issue 178
    assert official.nearest_size(720, 1248, 77, 8) == (704, 1248)
    monkeypatch.setenv("WAN22_STUB_GPUS", "2")
    fill(wan22.folder / "canned", 9, 144, 144, Fraction(16))
    made = prepared(wan22, film, sample).folder
    line = r"tokens \(243\) the 2 GPUs divide, got 144x144 \(height x width\); use 128x144, or another nproc_per_node"
    with pytest.raises(config.SettingsError, match=line):
        generate.prepare(chosen(wan22, made, multi_gpu=True))


def test_a_clip_no_longer_than_the_overlap_is_refused(wan22: Wan22, film: Path, sample: Path, outputs: Path) -> None:
    fill(wan22.folder / "canned", 5, 128, 160, Fraction(16))
    made = prepared(wan22, film, sample).folder
    assert inputs.read(made).driving() is None  # its count is not the video's
    with pytest.raises(config.SettingsError, match="more frames than the 5 taken over with backend wan22, got 5"):
        generate.prepare(chosen(wan22, made, prev_segment_conditioning_frames=5, segment_frame_length=9))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mask_source": "centre", "mode": "replace"}, "mask_source must be left out with backend wan22"),
        ({"mask_chain": "grow:10", "mode": "replace"}, "mask_chain must be dilate:KxITERATIONS,cells:WxH or '' with backend wan22"),
        ({"start_s": 1}, "start_s must be left out with backend wan22"),
        ({"fps": "30000/1001"}, "fps must be a whole number with backend wan22, got 30000/1001; use 30"),
        ({"retarget": True, "mode": "replace"}, "retarget must be None or False in replace"),
        ({"use_flux": True, "retarget": False}, "use_flux must be left out without retargeting"),
    ],
)  # fmt: skip
def test_settings_without_an_upstream_argument_are_refused(
    wan22: Wan22, film: Path, sample: Path, outputs: Path, more: dict, message: str
) -> None:
    with pytest.raises(config.SettingsError, match=message):
        prepared(wan22, film, sample, **more)
    assert not runs.list_runs()


def test_a_failed_script_keeps_its_log_and_says_what_to_do(
    wan22: Wan22, film: Path, sample: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAN22_STUB", "empty mask")
    with pytest.raises(process.ScriptFailedError, match="the mask is empty in at least one frame") as error:
        prepared(wan22, film, sample, mode="replace")
    assert "zero-size array to reduction operation minimum" in str(error.value)
    run = runs.list_runs("preprocess")[-1]
    assert run.status == "failed"
    assert "the mask is empty" in run.manifest["error"]["text"]
    assert "get_mask_boxes" in run.path(process.LOG).read_text()
    monkeypatch.setenv("WAN22_STUB", "")
    assert prepared(wan22, film, sample, mode="replace").id == run.id  # the same folder, worked again


@pytest.mark.parametrize(
    ("mode", "error", "message"),
    [
        ("oom", process.ScriptFailedError, "the GPU's memory is too small"),
        ("no video", process.ScriptFailedError, "the video could not be written"),
        ("black", FloatingPointError, "wan22.mp4 must be an image, got black frames only"),
    ],
)
def test_a_run_without_a_film_fails(
    wan22: Wan22, film: Path, sample: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch,
    mode: str, error: type[Exception], message: str,
) -> None:  # fmt: skip
    made = prepared(wan22, film, sample).folder
    monkeypatch.setenv("WAN22_STUB", mode)
    run = generate.prepare(chosen(wan22, made))
    with pytest.raises(error, match=message):
        generate.work(run)
    assert run.status == "failed"
    assert not run.path(generate.RESULT).exists()
    assert run.path(process.LOG).is_file()


@pytest.mark.parametrize("num_gpus", [1, 2])
def test_cancelling_ends_every_process(
    wan22: Wan22, film: Path, sample: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch, num_gpus: int
) -> None:
    made = prepared(wan22, film, sample).folder
    monkeypatch.setenv("WAN22_STUB", "hang")
    monkeypatch.setenv("WAN22_STUB_GPUS", str(num_gpus))
    run = generate.prepare(chosen(wan22, made, multi_gpu=num_gpus > 1))
    files = [wan22.folder / f"pids_{n}" for n in range(num_gpus)]

    def interrupt() -> None:
        while not all(file.is_file() and file.read_text() for file in files):
            time.sleep(0.05)
        time.sleep(0.2)
        psutil.Process().send_signal(2)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        generate.work(run)
    assert run.status == "cancelled"
    assert run.manifest["error"]["text"] == "interrupted"
    pids = [int(pid) for file in files for pid in file.read_text().split()]
    assert len(pids) == 2 * num_gpus
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def test_a_changed_clone_is_another_run(wan22: Wan22, film: Path, sample: Path, outputs: Path) -> None:
    first = prepared(wan22, film, sample)
    with (wan22.folder / "generate.py").open("a") as file:
        file.write("# changed\n")
    assert prepared(wan22, film, sample).id != first.id


def test_inputs_of_an_earlier_pipeline_make_a_video_without_sound(
    wan22: Wan22, sample: Path, outputs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "process_results"
    folder.mkdir()
    for name in ("src_pose.mp4", "src_face.mp4"):
        shutil.copy(wan22.folder / "canned" / name, folder)
    shutil.copy(sample / "character.png", folder / "src_ref.png")
    run = generate.prepare(chosen(wan22, folder))
    clip = generate.work(run)
    assert (len(clip), clip.fps, clip.info.has_audio) == (9, 16, False)
    assert any("without sound: the inputs hold no video that has any" in note for note in run.manifest["notes"])


def test_a_sweep_over_the_official_script_makes_each_point(
    wan22: Wan22, film: Path, sample: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAN22_STUB_GPUS", "2")
    made = prepared(wan22, film, sample).folder
    given = {**wan22.settings, "inputs": str(made), "num_inference_steps": 2, "segment_frame_length": 5}
    settings = config.SweepSettings.build({**given, "grid": {"solver": ["unipc", "dpm++"]}})
    entries = sweep.work(sweep.prepare(settings))
    assert [entry["status"] for entry in entries] == ["completed", "completed"]
    for more, message in (
        ({"preview_steps": 1}, "preview_steps must be None"),
        ({"workers": 2, "multi_gpu": True}, "multi_gpu must"),
    ):
        with pytest.raises(config.SettingsError, match=message):
            sweep.prepare(settings.replaced(**more))


def test_the_official_mask_can_be_worked_on_and_given_back_to_the_script(
    wan22: Wan22, film: Path, sample: Path, outputs: Path
) -> None:
    made = prepared(wan22, film, sample, mode="replace").folder
    more = {"inputs": str(made), "mask_chain": "snap:16", "compare": (), "auto_keypoint": False}
    changed = inspect.work(inspect.prepare(config.InspectSettings.build(more))).made
    assert changed.mask().sum() >= inputs.read(made).mask().sum()
    generate.work(generate.prepare(chosen(wan22, changed.folder)))
    seen = wan22.seen()["args"]
    assert (seen["src_root_path"], seen["replace_flag"]) == (str(changed.folder), True)


def test_two_frames_lost_and_a_rate_of_two_decimals_keep_clip_sound_and_rate(
    wan22: Wan22, sample: Path, outputs: Path, tmp_path: Path
) -> None:
    rate = Fraction(24000, 1001)
    clip = media.open_clip(sample / "half.mp4", max_frames=11)
    media.write_video(tmp_path / "long.mkv", clip, rate, lossless=True)
    fill(wan22.folder / "canned", 9, 128, 160, Fraction(1199, 50))  # 23.98, as the script writes it
    made = inputs.read(prepared(wan22, tmp_path / "long.mkv", sample).folder)
    driving = made.driving()
    assert driving is not None
    assert (len(driving), driving.fps, made.fps, made.num_frames) == (9, rate, rate, 9)
    np.testing.assert_array_equal(driving.read(), clip.read()[:9])


def test_both_stages_are_checked_before_the_first(
    wan22: Wan22,
    film: Path,
    sample: Path,
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    words = ["--backend", "wan22", "--wan22_dir", str(wan22.folder), "--checkpoint", str(wan22.checkpoint)]
    given = ["pipeline", *words, "--driving_video", str(film), "--reference_image", str(sample / "character.png")]
    monkeypatch.setenv("WAN22_STUB_GPUS", "0")
    assert main.main(given) == 2
    assert "backend wan22 needs an NVIDIA GPU, and the clone's torch sees none" in capsys.readouterr().err
    monkeypatch.setattr(clone, "_whole", {})
    monkeypatch.setenv("WAN22_STUB_GPUS", "1")
    assert main.main([*given, "--multi_gpu", "--nproc_per_node", "8"]) == 2
    assert "nproc_per_node must be 2 to the number of GPUs with multi_gpu, which is 1, got 8" in capsys.readouterr().err
    script = wan22.folder / clone.GENERATE
    script.write_text(script.read_text().replace('"--sample_shift"', '"--other"'))
    assert main.main(given) == 2
    assert "generate.py of the clone must know --sample_shift" in capsys.readouterr().err
    script.unlink()
    (wan22.folder / ".git").mkdir()
    assert main.main(given) == 2
    said = capsys.readouterr().err
    assert "which is of before Animate; bring it up to date: git -C" in said
    assert "git clone" not in said
    gone = [str(outputs.parent / "none") if word == str(wan22.checkpoint) else word for word in given]
    assert main.main(gone) == 2
    assert "hf download" in capsys.readouterr().err
    assert runs.list_runs() == []


def test_workers_are_given_the_gpus_that_the_clone_sees(wan22: Wan22, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN22_STUB_GPUS", "4")
    settings = config.GenerateSettings.build(wan22.settings)
    assert official.Generation.open(settings, "animate").num_gpus_here() == 4
