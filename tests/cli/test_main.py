"""The command line: every refusal before a kernel starts, the earlier scripts' names, any working directory."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import sparse

from wanlab import config
from wanlab.cli import main
from wanlab.cli.flags import PIPELINE, STEPS, given_settings
from wanlab.official import clone
from wanlab.runs import notebook

README = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (config.project_root() / "README.md", *sorted((config.project_root() / "docs").glob("*.md")))
)


def wanlab(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the installed command as a user does."""
    command = [str(Path(sys.executable).with_name("wanlab")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def values(step: str, *arguments: str) -> dict:
    """Return the settings that the command line gives."""
    return given_settings(main._parser().parse_args([step, *arguments]), [step] if step != "pipeline" else PIPELINE)


@pytest.mark.parametrize(
    "command",
    [
        "preprocess",
        "inspect",
        "generate",
        "sweep",
        "report",
        "pipeline",
        "demo",
        "check",
        "models",
        "runs",
        "lab",
        "params",
    ],
)
def test_every_command_explains_itself_from_anywhere(command: str, tmp_path: Path) -> None:
    done = wanlab(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: wanlab {command}")


@pytest.mark.parametrize("name", ["models", "runs", "check"])
def test_looking_commands_work_from_anywhere(name: str, outputs: Path, tmp_path: Path) -> None:
    done = wanlab(name, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"models": "nano", "runs": "no runs", "check": "is used"}[name] in done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["generate", "--sede", "3"], "unknown parameter sede; did you mean seed?"),
        (["generate", "-p", "sede", "3"], "unknown parameter sede; did you mean seed?"),
        (["generate", "--seed", "x"], "seed must be a whole number, got 'x'"),
        (["generate", "--frame_num", "78"], "segment_frame_length must be 4n + 1 and at least 5, got 78; use 77 or 81"),
        (["preprocess", "--video_path", "/nowhere/video.mp4"], "driving_video must exist, got /nowhere/video.mp4"),
        (
            ["preprocess", "--replace", "--mask_source", "segmentor"],
            "mask_source must be auto, segmenter, keypoints, official, centre, or exist, got",
        ),
        (["preprocess", "-f", "/nowhere/params.yaml"], "params file /nowhere/params.yaml does not exist"),
        (["generate", "--inputs", "/nowhere"], "inputs must be latest, or exist, got /nowhere"),
        (
            ["preprocess", "--replace", "--k", "5", "--mask_chain", "fill"],
            "mask_chain must not be given beside --iterations",
        ),
        (["preprocess", "--replace", "--mask_chain", "gorw:3"], "mask_chain must be made of grow:10, "),
        (["inspect", "--compare", "fill gorw:3"], "mask_chain must be made of grow:10, "),
        (
            ["sweep", "--grid", "mask_chain: ['snap:16', 'snap:1']"],
            "mask_chain must have snap in the form snap:16 with",
        ),
        (["sweep", "--cases", "[{mask_chain: 'median:4'}]"], "with an odd number of frames, got 'median:4'"),
        (["pipeline", "--pose_cleaning", "gasp:6"], "pose_cleaning must be made of gaps:6 (frames), jumps, swaps, or"),
        (
            ["inspect", "--pose_cleaning", "gaps:6,hands:2"],
            "with commas between, got 'hands:2'; use gaps:6,jumps,swaps",
        ),
        (["preprocess", "--person", "0"], "person must be a number from 1, or clicks such as 120,300@0"),
        (["pipeline", "--person", "abc"], "pixels of the working clip, frame), got 'abc'; use 1"),
        (["preprocess", "--detectors", "/nowhere"], "detectors must be auto, bundled, or exist, got /nowhere"),
        (
            ["preprocess", "--retarget", "maybe"],
            "retarget must be wanlab, official, true or false, got 'maybe'; use None",
        ),
        (
            ["pipeline", "--noise_device", "cuda"],
            "noise_device must be cpu on a machine without a GPU, got cuda; use cpu",
        ),
        (["generate", "--atention", "sdpa"], "unknown parameter atention; did you mean attention?"),
        (["pipeline", "--retarget", "--replace"], "retarget must be None or False in replace"),
        (["sweep", "--grid", "shift: 3"], "grid must have a list of values for shift, got 3; use"),
        (["inspect", "--mask_chian", "fill"], "unknown parameter mask_chian; did you mean mask_chain?"),
        (["inspect", "--points", "/nowhere/p.json"], "points must exist, got /nowhere/p.json"),
        (["params", "from-comfyui", "/nowhere/x.json"], "workflow must be a file, got /nowhere/x.json"),
        (["params", "from-comfyui", "README.md"], "workflow must be JSON, got README.md"),
        (["params", "from-comfyui", "x.json", "--ouput", "y"], "unknown parameter ouput; did you mean out?"),
        (["pipeline", "--use_flux", "--replace"], "use_flux must be left out without retargeting"),
        (["pipeline", "--wan22_dir", "there"], "wan22_dir must be left out with backend wanlab, got"),
        (["generate", "--lora", "/nowhere/x.safetensors:0.8"], "lora must exist, got /nowhere/x.safetensors"),
        (["generate", "--lora", "x.safetensors:80"], "lora must have strengths of -10 to 10, got 80"),
        (["generate", "--no_offload", "--offload", "blocks"], "no_offload must be left out with offload blocks"),
        (["generate", "--multi_gpu", "--nproc_per_node", "8"], "multi_gpu must be left out with backend wanlab"),
        (["generate", "--backend", "wan22", "--max_frames", "9"], "max_frames must be left out with backend wan22"),
        (["preprocess", "--backend", "wan22", "--start_s", "2"], "start_s must be left out with backend wan22"),
    ],
)
def test_refusals_come_before_a_kernel_with_status_2(
    arguments: list[str], line: str, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main.main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    printed = capsys.readouterr()
    assert status == 2
    assert line in printed.err
    assert printed.err.startswith("wanlab: ")
    assert "Traceback" not in printed.err
    assert not list(outputs.glob("*"))


def test_paths_of_the_command_line_start_at_the_shell_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = values("preprocess", "--driving_video", "video.mp4", "-p", "reference_image", "a/b.png")
    assert given == {"driving_video": str(tmp_path / "video.mp4"), "reference_image": str(tmp_path / "a" / "b.png")}
    monkeypatch.chdir(config.project_root() / "notebooks")
    assert values("preprocess", "--driving_video", "../README.md")["driving_video"] == "README.md"
    assert values("generate", "--inputs", "latest")["inputs"] == "latest"


def test_a_missing_file_is_named_as_it_can_be_pasted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = config.project_root() / "notebooks"
    monkeypatch.chdir(folder)
    monkeypatch.setenv(config.SHELL_FOLDER, str(folder))
    assert main.main(["preprocess", "--driving_video", "../nowhere.mp4"]) == 2
    assert f"driving_video must exist, got {config.project_root()}/nowhere.mp4 (" in capsys.readouterr().err


def test_a_python_of_a_virtual_environment_stays_the_link_that_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path / "bin")
    assert values("generate", "--wan22_python", "python")["wan22_python"] == str(tmp_path / "bin" / "python")


def test_flags_win_over_p_and_p_over_files(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("seed: 1\nshift: 3\nguidance_scale: 2\n")
    given = values("generate", "-f", str(file), "-p", "seed", "2", "-p", "shift", "4", "--seed", "3")
    assert config.GenerateSettings.build(given) == config.GenerateSettings.build(
        {"seed": 3, "shift": 4, "guidance_scale": 2}
    )
    assert values("generate", "--fps" if False else "--shift", "None") == {"shift": None}


def test_a_params_file_may_hold_settings_of_other_steps_but_no_unknown_ones(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("seed: 1\nresolution: 832 480\n")
    assert values("generate", "-f", str(file)) == {"seed": 1}
    assert values("pipeline", "-f", str(file)) == {"seed": 1, "resolution": "832 480"}
    file.write_text("seed: 1\nresolutoin: 832 480\n")
    with pytest.raises(config.SettingsError, match="unknown parameter resolutoin"):
        values("generate", "-f", str(file))


def test_every_setting_has_a_flag() -> None:
    for step, (_, model) in config.NOTEBOOKS.items():
        for field in model.model_fields:
            values(step, f"--{field}", "1")
            values(step, f"--{field.replace('_', '-')}", "1")


def test_the_earlier_scripts_commands_are_mapped_in_the_readme() -> None:
    """Each row of README's table names an earlier script's flags and wanlab's; both must parse to the same values."""
    rows = re.findall(
        r"^\| `((?:run_preprocessing|run_generation|pipeline)\.py[^`]*)` \| `(wanlab [^`]*)` \|", README, re.M
    )
    assert {row[0].split()[0] for row in rows} == {"run_preprocessing.py", "run_generation.py", "pipeline.py"}
    assert len(rows) >= 6
    steps = {"run_preprocessing.py": "preprocess", "run_generation.py": "generate", "pipeline.py": "pipeline"}
    for theirs, ours in rows:
        script, *flags = shlex.split(theirs)
        _, step, *new = shlex.split(ours)
        assert step == steps[script]
        assert values(step, *flags) == values(step, *new)


def test_the_earlier_scripts_commands_have_an_exact_equivalent_in_the_readme() -> None:
    """The third column is the earlier command with backend wan22, and with the rate that it always had."""
    rows = re.findall(
        r"^\| `((?:run_preprocessing|run_generation|pipeline)\.py[^`]*)` \| [^|]* \| `(wanlab [^`]*)` \|$", README, re.M
    )
    steps = {"run_preprocessing.py": "preprocess", "run_generation.py": "generate", "pipeline.py": "pipeline"}
    assert len(rows) >= 12
    for theirs, ours in rows:
        script, *flags = shlex.split(theirs)
        _, step, *new = shlex.split(ours)
        assert step == steps[script]
        rate = {} if step == "generate" else {"fps": "30"}
        assert values(step, *flags) | {"backend": "wan22"} | rate == values(step, *new)
        for name, given in main._per_step(values(step, *new), ["preprocess", "generate"]).items():
            if step in (name, "pipeline"):
                assert config.NOTEBOOKS[name][1].build(given).backend == "wan22"
    flags = " ".join(theirs for theirs, _ in rows)
    for flag in ("--replace", "--no_offload", "--multi_gpu --nproc_per_node", "--use_flux", "--use_relighting_lora"):
        assert flag in flags


def test_the_readme_shows_the_commands_that_the_error_shows() -> None:
    assert f"```\n{clone.setup(Path('Wan2.2'))}\n```" in README
    for source in clone.SOURCES:
        assert shlex.join(clone.download(source)) in README


def test_every_command_of_the_readme_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each `wanlab` line of a code block parses, with files of those names there, to settings that are accepted."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params").symlink_to(config.project_root() / "params")
    blocks = [text for language, text in re.findall(r"^```(\w*)\n(.*?)^```", README, re.M | re.S) if not language]
    lines = [line.split("  #")[0] for block in blocks for line in block.splitlines() if line.startswith("wanlab ")]
    assert len(lines) >= 12
    for line in lines:
        _, command, *words = shlex.split(line)
        if command in (*STEPS, "pipeline"):
            for step, given in main._per_step(
                values(command, *words), PIPELINE if command == "pipeline" else [command]
            ).items():
                config.NOTEBOOKS[step][1].build(given)
        else:
            assert main._parser().parse_args([command, *words]).run


def test_a_params_file_of_the_project_fits_its_models() -> None:
    folder = config.project_root() / "params"
    for file in set(folder.rglob("*.yaml")) - set((folder / "cluster").iterdir()):  # those are dask-jobqueue's
        fields = {name for _, model in config.NOTEBOOKS.values() for name in model.model_fields}
        given = config.read_params([file])
        assert given
        assert set(given) <= fields
        for _, model in config.NOTEBOOKS.values():
            model.build({name: value for name, value in given.items() if name in model.model_fields})


@pytest.mark.parametrize(
    ("command", "hint"),
    [("runs remove some --yse", "did you mean yes?"), ("lab --prot 1", "did you mean port?"), ("check --foo", "help")],
)
def test_a_misspelt_option_is_answered_with_those_of_its_command(
    command: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main.main(command.split())
    assert hint in capsys.readouterr().err.splitlines()[0]


def test_bad_parameters_print_one_line_each_and_no_traceback(tmp_path: Path) -> None:
    done = wanlab("generate", "--sede", "3", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "wanlab: unknown parameter sede; did you mean seed?"
    assert not list(tmp_path.iterdir())


def test_swept_paths_start_at_the_shell_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nano = config.ASSETS / "nano"
    given = values("sweep", "--grid", f"{{checkpoint: [tuned, {nano}], seed: [1]}}", "--cases", "[{inputs: latest}]")
    assert given["grid"] == {"checkpoint": [str(tmp_path / "tuned"), "wanlab/assets/nano"], "seed": [1]}
    assert given["cases"] == "[{inputs: latest}]"  # no path among it: as it was typed


def test_swept_paths_are_taken_out_of_a_notebook(tmp_path: Path) -> None:
    place = tmp_path / "executed.ipynb"
    text = f"grid = {{'checkpoint': ['{tmp_path}/private/tuned']}}"
    place.write_text(json.dumps({"cells": [{"source": text}], "metadata": {}}))
    notebook._publish(place, {"grid": {"checkpoint": [f"{tmp_path}/private/tuned"]}}, "completed")
    assert "private" not in place.read_text()
    assert "tuned" in place.read_text()


def test_a_locale_without_utf8_changes_nothing(tmp_path: Path) -> None:
    """Arrows of help texts are printed, and a path with an accent is found and named."""
    locale = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = str(Path(sys.executable).with_name("wanlab"))
    env = {**os.environ, **locale}
    done = subprocess.run([command, "sweep", "--help"], capture_output=True, env=env, check=False)
    assert (done.returncode, "→" in done.stdout.decode()) == (0, True)
    given = [
        "preprocess",
        "--driving_video",
        "café.mp4",
        "--reference_image",
        str(config.ASSETS / "sample" / "character.png"),
    ]
    done = subprocess.run([command, *given], capture_output=True, env=env, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert f"driving_video must exist, got '{tmp_path}/café.mp4'" in done.stderr.decode()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--grid", "seed: [3, 4]", "--grid", "guidance_scale: [1, 2]"],
            "grid must be given once, got seed: [3, 4] and guidance_scale: [1, 2]; "
            "use one: --grid '{seed: [3, 4], guidance_scale: [1, 2]}'",
        ),
        (["--seed", "3", "--seed", "4"], "seed must be given once, got 3 and 4; use one of both"),
        (["--sample_steps", "3", "--num-inference-steps", "4"], "num_inference_steps must be given once, got 3 and 4"),
        (["-p", "seed", "3", "-p", "base_seed", "4"], "seed must be given once, got 3 and 4"),
        (["--mode", "animate", "--no_offload", "--mode", "replace"], "mode must be given once"),
    ],
)
def test_a_setting_given_twice_never_wins_in_silence(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main.main(["sweep", *words])
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert line in capsys.readouterr().err


def test_the_remedy_for_two_grids_can_be_typed() -> None:
    grid = values("sweep", "--grid", "{seed: [3, 4], guidance_scale: [1, 2]}")["grid"]
    assert config.SweepSettings.build({"grid": grid}).grid == {"seed": (3, 4), "guidance_scale": (1, 2)}
    assert values("sweep", "--seed", "3", "--seed", "3")["seed"] == "3"


def test_pasted_paths_are_mended_on_the_command_line_and_in_params_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my film.mp4").touch()
    (tmp_path / "a.yaml").write_text(
        f"reference_image: \"'{tmp_path}/My%20film.mp4'\"\nface_video: file://{tmp_path}/my%20film.mp4 \n"
    )
    found = values("preprocess", "-f", "'a.yaml'", "--driving_video", "'my film.mp4' ", "--save_path", '"out"')
    assert found["driving_video"] == found["face_video"] == f"{tmp_path}/my film.mp4"
    assert found["save_path"] == f"{tmp_path}/out"
    assert "note: driving_video \"'my film.mp4' \" is read as my film.mp4" in capsys.readouterr().out
    assert main.main(["preprocess", "--driving_video", "my flim.mp4"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_models_link_shows_a_params_file_of_comfyui_s_parts(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    models = sparse.comfyui(tmp_path / "ComfyUI")
    assert main.main(["models", "link", "--comfyui_dir", str(models.parent)]) == 0
    (tmp_path / "mine.yaml").write_text(capsys.readouterr().out)
    found = config.read_mapping(tmp_path / "mine.yaml")
    assert found["transformer"] == str(models / "diffusion_models" / "animate_bf16.safetensors")
    assert set(found) == {"transformer", "vae", "text_encoder", "image_encoder", "tokenizer"}
    assert main.main(["models", "link", "--comfyui_dir", str(models.parent), "--vae", "other"]) == 2
    assert "vae must be one of the files that are there, got other; use one of " in capsys.readouterr().err
    assert main.main(["models", "link", "--comfyui_dir", str(tmp_path / "none")]) == 2
    assert "comfyui_dir must be ComfyUI's folder" in capsys.readouterr().err
