"""Sweeps: points, one load, skipped and continued points, points that fail or that another process works on."""

from __future__ import annotations

import collections
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from wanlab import config, inputs, mask, media, runs
from wanlab.mask import grabcut
from wanlab.model import checkpoints, loading, networks
from wanlab.pose import detection
from wanlab.results import compare
from wanlab.steps import denoise, generate, inspect, report, sweep
from wanlab.viz import player

GRID = {"num_inference_steps": [1, 2], "shift": [3, 5]}


def settings(folder: Path, **more: object) -> config.SweepSettings:
    chosen = {"inputs": str(folder), "checkpoint": checkpoints.NANO, "segment_frame_length": 5, "guidance_scale": 1}
    return config.SweepSettings.build({**chosen, "num_inference_steps": 1, "grid": GRID, **more})


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> collections.Counter[str]:
    """Count what the networks are asked for."""
    counted: collections.Counter[str] = collections.Counter()
    for name in ("__init__", "encode_text", "encode_image", "encode", "denoise"):
        original = getattr(networks.Networks, name)

        def counting(self, *args, _name=name, _original=original):
            counted[_name] += 1
            return _original(self, *args)

        monkeypatch.setattr(networks.Networks, name, counting)
    return counted


def frames_of(run_id: str) -> np.ndarray:
    return media.read_video(runs.find_run(run_id).path(denoise.MASTER)).frames


def ids(entries: list) -> list[str]:
    return [entry["run"] for entry in entries]


def test_points_are_every_combination_and_the_cases_none_twice(outputs: Path, folder: Path) -> None:
    found = sweep.points(settings(folder, cases=[{"seed": 7}, {"shift": 5, "num_inference_steps": 1}, {"seed": 7.0}]))
    assert [dict(point.values) for point in found] == [
        {"num_inference_steps": 1, "shift": 3},
        {"num_inference_steps": 1, "shift": 5},
        {"num_inference_steps": 2, "shift": 3},
        {"num_inference_steps": 2, "shift": 5},
        {"seed": 7},
    ]
    assert [point.number for point in found] == [1, 2, 3, 4, 5]
    assert found[4].settings.shift == 5  # the checkpoint's


NAMING_FILES = {
    "inputs", "mode", "backend", "checkpoint", "wan22_dir", "wan22_python", "lora", "use_relighting_lora", "continue_from",
    "more_references",
}  # fmt: skip
OTHERS = {
    "prompt": "a dance", "num_inference_steps": 2, "guidance_scale": 2, "shift": 3, "seed": 1, "max_frames": 6,
    "segment_frame_length": "auto:9", "prev_segment_conditioning_frames": 5, "solver": "lcm", "sigma_schedule": "simple",
    "precision": "official", "quantization": "fp8", "attention": "sdpa", "vae_precision": "bfloat16", "noise_device": "cuda", "pose_strength": 0.5, "face_strength": 0.5, "colour_hold": True,
}  # fmt: skip


def test_whatever_a_generation_takes_a_sweep_varies(
    outputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every setting with another value is a point of its own; those that name files have tests of their own."""
    assert set(sweep.SWEPT) == NAMING_FILES | set(OTHERS)
    monkeypatch.setattr(denoise, "num_gpus", lambda: 1)
    cases = [{name: value} for name, value in OTHERS.items()]
    found = sweep.points(settings(folder, segment_frame_length=9, grid={}, cases=[{"seed": 42}, *cases]))
    assert [dict(point.values) for point in found[1:]] == cases
    assert len({config.digest(point.settings.identity()) for point in found}) == len(cases) + 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"grid": {"sede": [1]}}, "unknown parameter sede; did you mean seed?"),
        ({"grid": {"shift": []}}, "grid must have values for shift, got none"),
        ({"grid": {}}, "grid must have at least one point, got none"),
        ({"grid": {"seed": [1, -1]}}, "point {'seed': -1}: seed must be at least 0, got -1"),
        ({"grid": {"segment_frame_length": [5, 85]}}, "point {'segment_frame_length': 85}: segment_frame_length must"),
        ({"grid": {"mask_chain": ["gorw:3"]}}, "mask_chain must be made of"),
        ({"grid": {"mask_chain": ["fill"]}}, "mask_chain must be left out for inputs of animate"),
        ({"cases": [{"output_path": "x.mp4"}]}, "unknown parameter output_path"),
        (
            {"grid": {"offload": ["none", "blocks"]}},
            "offload must be one for all points, whose videos it does not change",
        ),
    ],
)
def test_what_no_point_can_do_is_said_before_a_run_is_made(
    outputs: Path, folder: Path, more: dict, message: str
) -> None:
    with pytest.raises(config.SettingsError) as raised:
        sweep.prepare(settings(folder, **more))
    assert message in str(raised.value)
    assert not list(outputs.glob("*"))


def test_a_gpu_is_asked_of_the_machine_that_computes(
    outputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denoise, "num_gpus", lambda: 0)
    for given in ({"grid": {"noise_device": ["cuda"]}}, {"device": "cuda", "grid": {"seed": [1]}}):
        with pytest.raises(config.SettingsError, match="device must be cpu on a machine without a GPU, got cuda"):
            sweep.points(settings(folder, **given))
        assert len(sweep.points(settings(folder, **given, cluster="tcp://head:8786"))) == 1


def test_one_load_and_shared_encodings(
    outputs: Path, folder: Path, calls: collections.Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = sweep.prepare(settings(folder))
    entries = sweep.work(run)
    sweep.finish(run)
    # encode: the reference, two pose segments, and for each of four points the condition of two segments
    assert calls == {"__init__": 1, "encode_text": 1, "encode_image": 1, "encode": 3 + 4 * 2, "denoise": 2 * (1 + 1 + 2 + 2)}  # fmt: skip
    assert len({entry["run"] for entry in entries}) == 4
    said = capsys.readouterr().out
    assert "4 points, 4 to do: 12 denoising calls, how long is not known yet" in said
    assert "point 2 of 4, num_inference_steps 1, shift 5: " in said
    assert "  1 left: 4 denoising calls, about " in said
    last = sweep.points(settings(folder))[3].settings
    alone = generate.prepare(last.replaced(fresh=True))
    generate.work(alone)
    np.testing.assert_array_equal(frames_of(alone.id), frames_of(entries[3]["run"]))


def test_finished_points_are_skipped(outputs: Path, folder: Path, calls: collections.Counter[str]) -> None:
    first = sweep.work(sweep.prepare(settings(folder, grid={"shift": [3, 5]})))
    before = calls.copy()
    again = sweep.work(sweep.prepare(settings(folder, grid={"shift": [3, 5]}, fresh=False)))
    assert calls == before
    assert ids(again) == ids(first)
    wider = sweep.work(sweep.prepare(settings(folder, grid={"shift": [3, 4, 5]})))
    assert calls["denoise"] == before["denoise"] + 2
    assert ids(wider)[::2] == ids(first)


def test_a_failing_point_is_recorded_and_the_rest_runs(
    outputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = networks.Networks.decode

    def broken(self, latents):
        return original(self, latents) * (float("nan") if calls_of_decode.pop(0) else 1)

    calls_of_decode = [False, False, True, False, False]
    monkeypatch.setattr(networks.Networks, "decode", broken)
    run = sweep.prepare(settings(folder, grid={"shift": [3, 4, 5]}))
    entries = sweep.work(run)
    assert [entry["status"] for entry in entries] == ["completed", "failed", "completed"]
    assert run.status == "failed"
    entry = run.manifest["points"][1]
    assert "segment 1 must be an image, got values that are no numbers" in entry["error"]
    with pytest.raises(sweep.PointsFailedError, match=r"point 2 \(shift 4\): FloatingPointError"):
        sweep.finish(run)
    table = compare.table(entries)
    assert list(table.columns[:1]) + list(table.columns[-3:]) == ["shift", "seconds", "memory GiB", "run"]
    assert table["shift"].tolist() == [3, 4, 5]
    assert table["seconds"].isna().tolist() == [False, True, False]
    assert table.loc[2, "run"] == entry["error"]
    assert set(compare.clips(entries)) == {"shift 3", "shift 5"}
    monkeypatch.setattr(networks.Networks, "decode", original)
    again = sweep.prepare(settings(folder, grid={"shift": [3, 4, 5]}))
    assert again.id == run.id
    assert ids(sweep.work(again)) == ids(entries)  # the failed one goes on in its folder
    sweep.finish(again)


def test_a_sweep_of_which_every_point_failed_says_why(
    outputs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is away")

    monkeypatch.setattr(sweep.generate, "work", broken)
    run = sweep.prepare(settings(folder, grid={"shift": [3, 4]}))
    entries = sweep.work(run)
    assert "No point has a video" in player.grid(report.player_points(entries)).data
    assert report.plots(entries) == []
    for chosen in ({}, {"run": [run.folder]}):
        with pytest.raises(FileNotFoundError, match=r"failed: point 1 \(shift 3\): RuntimeError: the disk is away"):
            report.prepare(config.ReportSettings.build(chosen))


def test_the_points_are_printed_before_a_sweep_starts(
    outputs: Path, replacing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In YAML, mask_chain: [grow:4,snap:16] is two chains: that is seen, with the spelling for one."""
    sweep.prepare(settings(replacing, grid="{mask_chain: [grow:4,snap:16]}"))
    printed = capsys.readouterr().out
    assert "  1: mask_chain grow:4\n  2: mask_chain snap:16\n" in printed
    assert "note: these are 2 mask chains; one of all these steps would be mask_chain: ['grow:4,snap:16']" in printed
    one = "{mask_chain: ['grow:4,snap:16']}"
    assert config.SweepSettings.build({"grid": one}).grid == {"mask_chain": ("grow:4,snap:16",)}


OTHER = """
import json, os, signal, sys, time
from wanlab import config, runs
from wanlab.steps import denoise, generate
from wanlab.steps import denoise, sweep
first, _, third = sweep.points(config.SweepSettings.build(json.loads(sys.argv[1])))
first, third = generate.prepare(first.settings), generate.prepare(third.settings)
said = []
def wait(*_):
    if not said:
        said.append(print("works", flush=True))
    while not any(run.completed for run in runs.list_runs("generate")):
        time.sleep(0.05)
first.progress.watch = wait
with third.working():
    generate.work(first)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_points_that_another_process_works_on_are_left_to_it_until_it_ends_or_dies(
    outputs: Path, folder: Path, calls: collections.Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = settings(folder, grid={"shift": [3, 4, 5]}, max_frames=5)
    command = [sys.executable, "-c", OTHER, chosen.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert "works\n" in iter(other.stdout.readline, "")
        assert [run.status for run in runs.list_runs("generate")] == ["running"] * 2
        run = sweep.prepare(chosen)
        entries = sweep.work(run)
    sweep.finish(run)
    assert [entry["status"] for entry in entries] == ["completed"] * 3
    assert calls["denoise"] == 2  # the first point's frames are the other's
    said = capsys.readouterr().out
    assert len(runs.list_runs("generate")) == 3
    assert "failed" not in said
    busy = f"process {other.pid} of this machine works on it; it is looked at again at the end"
    assert f"point 1 of 3, shift 3: {busy}" in said
    assert f"point 3 of 3, shift 5: {busy}" in said


def test_a_swept_mask_chain_runs_neither_detector_nor_segmenter(
    outputs: Path, replacing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((detection, "detect"), (grabcut, "person_probability")):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("was run"))
    run = sweep.prepare(settings(replacing, grid={"mask_chain": ["grow:4", "snap:16"]}))
    entries = sweep.work(run)
    sweep.finish(run)
    person = inputs.read(replacing).mask()
    for entry, chain in zip(entries, ("grow:4", "snap:16"), strict=True):
        used, _ = inputs.find(runs.find_run(runs.find_run(entry["run"]).manifest["parents"][0]).folder)
        np.testing.assert_array_equal(used.mask(), mask.apply_chain(person, chain))
    made = [each for each in runs.list_runs() if each.id != run.id]
    assert [each.manifest["made_for"] for each in made] == [run.id] * 4  # two inspections, two generations
    with pytest.raises(FileNotFoundError, match=rf"no completed preprocess run .*, made for {run.id}: name it"):
        inputs.find("latest")
    assert report.prepare(config.ReportSettings.build({})).manifest["parents"] == [run.id]
    chosen = {"inputs": replacing, "mask_chain": "grow:4", "compare": (), "auto_keypoint": False}
    own = inspect.prepare(config.InspectSettings.build(chosen))
    assert own.news == "reused"
    assert inputs.find("latest")[1] == own.id  # whoever asks for it has it


@pytest.mark.slow
def test_first_look_then_finish(outputs: Path, folder: Path, calls: collections.Counter[str]) -> None:
    chosen = {"grid": {"shift": [3, 4, 5]}, "num_inference_steps": 3}
    run = sweep.prepare(settings(folder, **chosen, preview_steps=2))
    looked = sweep.work(run)
    sweep.finish(run)
    assert calls["denoise"] == 3 * 2
    assert (run.status, [entry["status"] for entry in looked]) == ("begun", ["begun"] * 3)
    for _, file in compare.videos(looked).values():
        frames = media.read_video(file).frames
        assert frames.shape == (5, 96, 64, 3)  # the first segment
        assert frames.std() > 5
    again = sweep.work(sweep.prepare(settings(folder, **chosen, preview_steps=1)))  # less than there is
    assert (calls["denoise"], ids(again)) == (3 * 2, ids(looked))

    some = sweep.prepare(settings(folder, **chosen, finish="1,3"))
    assert some.id == run.id
    entries = sweep.work(some)
    assert [entry["status"] for entry in entries] == ["completed", "begun", "completed"]
    assert calls["denoise"] == 3 * 2 + 2 * (3 - 2 + 3)  # nothing was done twice
    assert ids(entries) == ids(looked)
    assert list(compare.videos(entries)) == ["shift 3", "shift 5", "shift 4 (2 of 3 steps)"]
    for number in (0, 2):
        made = runs.find_run(entries[number]["run"])
        assert not made.path(generate.PREVIEW).exists()
        assert made.manifest["denoise_calls"] == 2 * 3
        alone = generate.prepare(sweep.points(settings(folder, **chosen))[number].settings.replaced(fresh=True))
        generate.work(alone)
        np.testing.assert_array_equal(frames_of(alone.id), frames_of(made.id))

    whole = sweep.prepare(settings(folder, **chosen))
    assert [entry["status"] for entry in sweep.work(whole)] == ["completed"] * 3
    assert whole.status == "completed"


def test_a_preview_in_replace_mode_with_guidance_goes_on_bit_for_bit(outputs: Path, replacing: Path) -> None:
    (point,) = sweep.points(settings(replacing, grid={"seed": [3]}, num_inference_steps=3, guidance_scale=2))
    begun = generate.prepare(point.settings)
    generate.first_look(begun, 1)
    generate.first_look(begun, 2)  # a further look goes on from the first
    assert begun.manifest["denoise_calls"] == 2 * 2
    generate.work(begun)
    alone = generate.prepare(point.settings.replaced(fresh=True))
    generate.work(alone)
    np.testing.assert_array_equal(frames_of(alone.id), frames_of(begun.id))


def copy_of_nano(place: Path, changed: bool = False) -> Path:
    """Copy the bundled checkpoint, with `changed` one tensor of its transformer scaled by 1.05."""
    shutil.copytree(checkpoints.NANO, place)
    if changed:
        (file,) = (place / "transformer").glob("*.safetensors")
        tensors = load_file(file)
        name = next(name for name, each in tensors.items() if each.ndim == 2)
        save_file({**tensors, name: (tensors[name] * 1.05).astype(tensors[name].dtype)}, file)
    return place


def test_checkpoints_are_swept_and_told_apart_by_their_contents(outputs: Path, folder: Path, tmp_path: Path) -> None:
    tuned = copy_of_nano(tmp_path / "secret" / "nano", changed=True)
    same = copy_of_nano(tmp_path / "private" / "nano")
    chosen = settings(folder, grid={"checkpoint": [str(tuned), "wanlab/assets/nano", str(same)]}, shift=4)
    found = sweep.points(chosen)
    assert [point.settings.checkpoint for point in found] == [tuned, checkpoints.NANO]  # the third is the second
    assert [point.values["checkpoint"] for point in found] == ["nano (1)", "wanlab/assets/nano"]
    run = sweep.prepare(chosen)
    text = (run.folder / "manifest.json").read_text()
    assert str(tmp_path) not in text
    assert "secret" not in text
    assert (run.folder / runs.PLACES).stat().st_mode & 0o777 == 0o600
    again = sweep.newest_settings()
    assert again["grid"]["checkpoint"] == [str(tuned), str(checkpoints.NANO), str(same)]
    assert sweep.prepare(config.SweepSettings.build({**again, "inputs": str(folder)})).id == run.id
    shutil.rmtree(tuned)
    copy_of_nano(tuned)
    assert sweep.prepare(chosen).id != run.id  # another checkpoint at the same place


def test_strengths_of_a_lora_are_swept(outputs: Path, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "private" / "x.safetensors"
    file.parent.mkdir()
    size = loading.shapes("transformer", (checkpoints.NANO / "transformer",))["blocks.0.attn1.to_q.weight"][0]
    layer = "blocks.0.self_attn.q"
    save_file({f"{layer}.lora_A.weight": np.ones((2, size)), f"{layer}.lora_B.weight": np.ones((size, 2))}, file)
    grid = {"lora": [f"{file}:0.5", f"{file}:1", str(file), None, f"{file}:0.5,{file}:0.5"]}
    found = sweep.points(settings(folder, grid=grid))
    assert [point.values["lora"] for point in found] == [
        "x.safetensors:0.5", "x.safetensors:1", None, "x.safetensors:0.5,x.safetensors:0.5",
    ]  # fmt: skip
    assert [point.settings.loras() for point in found][:3] == [((file, 0.5),), ((file, 1.0),), ()]
    run = sweep.prepare(settings(folder, grid=grid))
    assert str(tmp_path) not in (run.folder / "manifest.json").read_text()
    assert sweep.newest_settings()["grid"]["lora"][0] == f"{file}:0.5"


def test_inputs_are_swept(outputs: Path, folder: Path, replacing: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    media.write_image(other / "src_ref.png", np.full((96, 64, 3), 9, np.uint8))
    grid = {"inputs": [str(folder), str(other)], "mode": ["animate"]}
    run = sweep.prepare(settings(folder, inputs="latest", grid=grid))  # there is no latest, and none is needed
    assert [point.settings.inputs for point in sweep.points(run.settings)] == [folder, other]
    entries = [{"values": dict(point.values), "status": "pending"} for point in sweep.points(run.settings)]
    assert [compare.title(entry) for entry in entries] == [
        f"inputs {folder.name}, mode animate", "inputs other, mode animate",
    ]  # fmt: skip


def test_finish_names_points_that_there_are(outputs: Path, folder: Path) -> None:
    with pytest.raises(config.SettingsError, match="finish must name points from 1 to 4, got 5"):
        sweep.prepare(settings(folder, finish=[5]))
    with pytest.raises(FileNotFoundError, match="finish must follow a sweep, and there is none yet"):
        sweep.newest_settings()
    sweep.prepare(settings(folder, preview_steps=1, seed=9))
    again = sweep.prepare(config.SweepSettings.build({**sweep.newest_settings(), "inputs": folder, "finish": [2]}))
    assert len(runs.list_runs("sweep")) == 1
    assert again.settings.seed == 9
