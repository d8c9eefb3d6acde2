"""Settings: one clear line per fault, one hash per meaning, and the names of a live kernel."""

from __future__ import annotations

import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from wanlab import config
from wanlab.config import GenerateSettings, PreprocessSettings, ReportSettings, SettingsError, SweepSettings


@pytest.mark.parametrize(
    ("model", "values", "line"),
    [
        (GenerateSettings, {"sede": 3}, "unknown parameter sede; did you mean seed?"),
        (GenerateSettings, {"num_inference_steps": "many"}, "num_inference_steps must be a whole number, got 'many'"),
        (GenerateSettings, {"num_inference_steps": True}, "num_inference_steps must be a number, got True"),
        (GenerateSettings, {"num_inference_steps": 0}, "num_inference_steps must be at least 1, got 0; use 1"),
        (
            GenerateSettings,
            {"segment_frame_length": 78},
            "segment_frame_length must be 4n + 1 and at least 5, got 78; use 77 or 81",
        ),
        (
            GenerateSettings,
            {"segment_frame_length": 3},
            "segment_frame_length must be 4n + 1 and at least 5, got 3; use 5",
        ),
        (
            GenerateSettings,
            {"segment_frame_length": "auto:50"},
            "segment_frame_length must be 4n + 1 and at least 5, got auto:50; use 49 or 53",
        ),
        (
            GenerateSettings,
            {"segment_frame_length": "long"},
            "segment_frame_length must be 4n + 1, auto, or auto:N with at most N frames, got 'long'; use 77",
        ),
        (GenerateSettings, {"segment_frame_length": 77.5}, "segment_frame_length must be 4n + 1, auto, or auto:N"),
        (
            GenerateSettings,
            {"segment_frame_length": "auto", "backend": "wan22"},
            "segment_frame_length must be a number with backend wan22, got auto",
        ),
        (
            GenerateSettings,
            {"prev_segment_conditioning_frames": 2},
            "prev_segment_conditioning_frames must be one of 1 or 5, got 2",
        ),
        (GenerateSettings, {"prompt": False}, "prompt must be text, got False"),
        (
            GenerateSettings,
            {"solver": "heun"},
            "solver must be one of 'unipc', 'dpm++', 'euler' or 'lcm', got 'heun'; use unipc",
        ),
        (
            GenerateSettings,
            {"solver": "lcm", "backend": "wan22"},
            "solver must be unipc or dpm++ with backend wan22, got lcm: the official script has no other; use unipc, or",
        ),
        (
            GenerateSettings,
            {"sigma_schedule": "simple", "backend": "wan22"},
            "sigma_schedule must be left out with backend wan22, got simple",
        ),
        (
            GenerateSettings,
            {"multi_gpu": True},
            "multi_gpu must be left out with backend wanlab, got True: only the official",
        ),
        (
            GenerateSettings,
            {"compile_model": "maybe"},
            "compile_model must be auto, true or false, got 'maybe'; use auto",
        ),
        (
            GenerateSettings,
            {"no_offload": True, "offload": "blocks"},
            "no_offload must be left out with offload blocks",
        ),
        (GenerateSettings, {"gpu_memory_gb": 0}, "gpu_memory_gb must be more than 0, got 0"),
        (GenerateSettings, {"offload": "blocks", "backend": "wan22"}, "offload must be left out with backend wan22"),
        (GenerateSettings, {"quantization": "fp4"}, "quantization must be one of 'none', 'fp8' or 'int8', got 'fp4'"),
        (PreprocessSettings, {"wan22_dir": "x"}, "wan22_dir must be left out with backend wanlab, got x"),
        (
            GenerateSettings,
            {"backend": "wan22", "nproc_per_node": 2},
            "nproc_per_node must be left out without multi_gpu",
        ),
        (GenerateSettings, {"guidance_scale": 1000}, "guidance_scale must be at most 30, got 1000"),
        (PreprocessSettings, {"resolution": "wide"}, 'resolution must be "width height" in pixels'),
        (PreprocessSettings, {"fps": "fast"}, "fps must be a number or a fraction such as 30000/1001, got 'fast'"),
        (PreprocessSettings, {"start_s": -1}, "start_s must be at least 0, got -1; use 0"),
        (
            PreprocessSettings,
            {"retarget": True, "mode": "replace"},
            "retarget must be None or False in replace, where the person",
        ),
        (ReportSettings, {"runs": "latest"}, "unknown parameter runs; did you mean run?"),
    ],
)
def test_refusal_names_value_rule_and_remedy(model: type[config.Settings], values: dict, line: str) -> None:
    with pytest.raises(SettingsError) as error:
        model.build(values)
    assert line in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_all_faults_are_said_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        GenerateSettings.build({"sede": 1, "shift": "x", "seed": -1})
    assert [line.split()[0] for line in str(error.value).splitlines()] == ["unknown", "shift", "seed"]


def test_one_value_has_one_identity_however_it_was_written() -> None:
    written = [{"guidance_scale": 1}, {"guidance_scale": 1.0}, {"guidance_scale": "1"}, {"guidance_scale": "1.0"}]
    assert len({config.digest(GenerateSettings.build(values).identity()) for values in written}) == 1
    rates = [{"fps": 16}, {"fps": 16.0}, {"fps": "16"}, {"fps": "32/2"}, {"fps": Fraction(16)}]
    assert len({config.digest(PreprocessSettings.build(values).identity()) for values in rates}) == 1
    assert PreprocessSettings.build({"fps": 29.97}).fps == Fraction(2997, 100)
    sizes = ["1280 720", "1280x720", [1280, 720]]
    assert {PreprocessSettings.build({"resolution": size}).resolution for size in sizes} == {"1280 720"}


def test_device_folder_and_freshness_are_not_in_the_identity() -> None:
    plain = GenerateSettings.build({}).identity()
    assert plain == GenerateSettings.build({"device": "cpu", "output_path": "x.mp4", "fresh": True}).identity()
    assert plain != GenerateSettings.build({"seed": 43}).identity()


def test_how_memory_is_used_is_not_in_the_identity_and_eight_bits_are() -> None:
    plain = GenerateSettings.build({})
    assert plain.identity() == plain.replaced(offload="blocks", gpu_memory_gb=11).identity()
    assert plain.identity() == plain.replaced(no_offload=True).identity()
    assert plain.replaced(quantization="int8").identity() == {**plain.identity(), "quantization": "int8"}


def test_settings_of_the_official_scripts_leave_older_runs_their_hash() -> None:
    later = {"backend", "use_flux", "use_relighting_lora", "no_offload", "multi_gpu", "nproc_per_node", "wan22_dir"}
    for model in (GenerateSettings, PreprocessSettings):
        assert not later & set(model.build({}).identity())
    official = GenerateSettings.build({"backend": "wan22"})
    assert official.identity() == {**GenerateSettings.build({}).identity(), "backend": "wan22"}
    there = {"multi_gpu": True, "nproc_per_node": 2, "wan22_dir": "a", "wan22_python": "b", "no_offload": True}
    assert official.identity() == official.replaced(**there).identity()
    assert official.identity() != official.replaced(use_relighting_lora=True).identity()


def test_loras_are_files_with_strengths(tmp_path: Path) -> None:
    given = GenerateSettings.build({"lora": "loras/a b.safetensors:0.8, c:d.safetensors,e.safetensors:-.5"})
    assert given.loras() == (
        (Path("loras/a b.safetensors"), 0.8), (Path("c:d.safetensors"), 1.0), (Path("e.safetensors"), -0.5),
    )  # fmt: skip
    assert given == GenerateSettings.build({"lora": list(given.published()["lora"])})
    assert given.identity() == GenerateSettings.build({"lora": None}).identity()  # contents and strengths: models
    assert given.places() == {}
    away = GenerateSettings.build({"lora": [f"{tmp_path}/x.safetensors:2"]})
    assert str(tmp_path) not in str(away.published())
    assert away.places() == {"lora": [f"{tmp_path}/x.safetensors:2"]}
    swept = SweepSettings.build({"grid": {"lora": ["a:0.5,b", "", None]}})
    assert swept.with_paths(lambda path: f"/{path}")["grid"] == {"lora": ["/a:0.5,/b", "", None]}


def test_a_wrong_value_from_python_gets_our_sentence() -> None:
    with pytest.raises(SettingsError, match=r"^seed must be a whole number, got 'x'; use 42$"):
        GenerateSettings(seed="x")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="unknown parameter sede; did you mean seed"):
        GenerateSettings(sede=3)  # type: ignore[call-arg]
    assert GenerateSettings(seed=3) == GenerateSettings.build({"seed": 3})
    assert pickle.loads(pickle.dumps(GenerateSettings(seed=3))) == GenerateSettings(seed=3)


def test_settings_are_frozen_and_replaced_is_checked() -> None:
    settings = GenerateSettings.build({})
    with pytest.raises(SettingsError, match=r"frozen; use settings.replaced\(seed=1\)"):
        settings.seed = 1  # type: ignore[misc]
    with pytest.raises(SettingsError):
        settings.replaced(seed="x")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("a = 1\nb: int = 2\nc: str | None = None", {"a", "b", "c"}),
        ("d = e = 3", {"d", "e"}),
        ("%matplotlib inline\nx = 1", set()),
        ("def f():\n    y = 1\nz: int", set()),
        ("", set()),
    ],
)
def test_assigned_names(source: str, names: set[str]) -> None:
    assert config.assigned_names(source) == names


def test_published_paths_hide_the_machine(tmp_path: Path) -> None:
    assert config.shown("wanlab/assets/sample/half.mp4") == "wanlab/assets/sample/half.mp4"
    assert config.shown(tmp_path / "video.mp4") == "video.mp4"


def test_params_file_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"params file .* does not exist"):
        config.read_params([tmp_path / "none.yaml"])
    bad = tmp_path / "bad.yaml"
    bad.write_text("- 1\n- 2\n")
    with pytest.raises(SettingsError, match="must hold `name: value` lines, got a list"):
        config.read_params([bad])
    bad.write_text("a: [1\n")
    with pytest.raises(SettingsError, match="must be YAML"):
        config.read_params([bad])


def test_importing_the_package_and_its_settings_loads_no_heavy_library() -> None:
    code = "import sys, wanlab, wanlab.config, wanlab.cli; print([m for m in ('torch', 'diffusers', 'onnxruntime', 'matplotlib') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


PARAMETERS = "\n".join(f"{name} = {field.default!r}" for name, field in ReportSettings.model_fields.items())
BUILD = "from wanlab import config\nsettings = config.from_notebook(config.ReportSettings)"


@pytest.fixture
def kernel():
    """Give an IPython shell that keeps its history as a kernel does."""
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    yield shell
    InteractiveShell.clear_instance()


def _run(shell, *cells: str):
    for cell in cells:
        result = shell.run_cell(cell, store_history=True)
    return result  # pyright: ignore[reportPossiblyUnboundVariable]


def test_notebook_cell_builds_settings(kernel) -> None:
    assert _run(kernel, PARAMETERS, "title = 'Hello'", BUILD).success
    assert kernel.user_ns["settings"].title == "Hello"


def test_notebook_cell_refuses_a_name_it_does_not_know(kernel) -> None:
    result = _run(kernel, PARAMETERS, "titel = 'Hello'", BUILD)
    assert isinstance(result.error_in_exec, SettingsError)
    assert "did you mean title?" in str(result.error_in_exec)


def test_notebook_cell_leaves_settings_of_other_steps_out(kernel, capsys: pytest.CaptureFixture[str]) -> None:
    """Plain papermill puts all of a params file into the notebook, as `wanlab -f` takes it."""
    assert _run(kernel, PARAMETERS, "title = 'Hello'\nresolution = '256 192'\nseed = 3", BUILD).success
    assert kernel.user_ns["settings"].title == "Hello"
    assert "note: not taken, for they are settings of other steps: resolution, seed" in capsys.readouterr().out


def test_running_the_cell_again_after_all_others_does_not_refuse_their_names(kernel) -> None:
    later = "image = 1\nother = 2"
    assert _run(kernel, PARAMETERS, BUILD, later, BUILD).success
    assert _run(kernel, "title = 'Anew'", BUILD).success
    assert kernel.user_ns["settings"].title == "Anew"
    assert _run(kernel, PARAMETERS, BUILD).success
    assert kernel.user_ns["settings"].title is None


def test_outside_a_notebook_it_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="run the `parameters` cell"):
        config.from_notebook(ReportSettings)


@pytest.mark.parametrize("step", list(config.NOTEBOOKS))
def test_help_of_each_step_shows_settings_that_are_accepted(step: str) -> None:
    import importlib

    said = importlib.import_module(f"wanlab.steps.{step}").__doc__ or ""
    line = next(each for each in said.splitlines() if each.startswith("settings = "))
    assert isinstance(eval(line.removeprefix("settings = "), {"config": config}), config.NOTEBOOKS[step][1])
    assert f"run = {step}.prepare(settings)" in said
