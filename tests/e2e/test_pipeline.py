"""The command line from start to shared page, as a user runs it: real kernels, a real browser without a network."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch

from wanlab import config, inputs, mask, media, runs
from wanlab.files import targets
from wanlab.inputs import decisions
from wanlab.model import checkpoints
from wanlab.model.networks import Networks
from wanlab.steps import denoise, generate, preprocess

FRAMES = 3  # in one segment of the shortest length; steps and guidance are the checkpoint's without the last two
SMALL = ["--resolution", "96 128", "--max_frames", str(FRAMES)]
SHORT = ["--segment_frame_length", "5", "--num_inference_steps", "1", "--guidance_scale", "1"]


def wanlab(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("wanlab")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


COMMANDS = """
import sys
from wanlab.cli import main

def wanlab(*words):
    status = main.main([str(word) for word in words])
    if status:
        sys.exit(f"wanlab {words[0]} ended with status {status}")
"""
ANIMATED = (
    COMMANDS
    + f"""
from wanlab import runs
given = ["--video_path", "video.mp4", "--refer_path", "face.png"]
wanlab("pipeline", *given, "--save_path", "process_results", "--output_path", "out/video.mp4", *{SMALL}, *{SHORT})
wanlab("sweep", "--grid", "{{shift: [3, 8], seed: [1]}}", *{SHORT})
sweep = runs.list_runs("sweep")[-1]
wanlab("report", "--run", sweep.id)
"""
)
REPLACED = (
    COMMANDS
    + f"""
import json
from pathlib import Path
from wanlab import runs
from wanlab.files import targets
from wanlab.inputs import copies, edits
given = ["--video_path", "video.mp4", "--refer_path", "face.png"]
wanlab("pipeline", "--replace", *given, "--points", "points.json", "--mask_chain", "snap:16", *{SMALL[2:]}, *{SHORT[:2]})
place = Path("replace/process_results")
copies.write(runs.list_runs("preprocess")[-1].folder, str(place.resolve()), targets.Kept())
edits.update(
    place / edits.EDITS,
    points=json.loads(Path("points.json").read_text()),
    pose=[{{"do": "hide", "part": "left hand", "first": 1, "last": 2}}],
    mask_chain="grow:10,blockify:32",
)
wanlab("inspect", "--inputs", place, "--edits", place / edits.EDITS, "--save_path", "replace/process_results2")
"""
)


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run both modes, and what goes on from them, from a folder outside the project with paths that start there.

    ANIMATED and REPLACED work at the same time, one on each core, each with outputs of its own.

    Returns:
        that folder.
    """
    place = tmp_path_factory.mktemp("elsewhere")
    media.write_video(
        place / "video.mp4", media.open_clip(config.ASSETS / "sample" / "half.mp4", max_frames=FRAMES), Fraction(16)
    )
    (place / "face.png").write_bytes((config.ASSETS / "sample" / "character.png").read_bytes())
    point = {"x": 96, "y": 150, "frame": 2}
    (place / "points.json").write_text(json.dumps({"width": 192, "height": 256, "positive": [point]}))
    with contextlib.ExitStack() as files:
        running = []
        for code, outputs in ((ANIMATED, place / "outputs"), (REPLACED, place / "replace" / "outputs")):
            said = files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            env = {**os.environ, "WANLAB_OUTPUTS": str(outputs)}
            command = [sys.executable, "-c", code]
            running.append((subprocess.Popen(command, cwd=place, env=env, stdout=said, stderr=said), said))
        for process, said in running:
            process.wait()
            said.seek(0)
            assert process.returncode == 0, said.read()
    return place


@pytest.fixture(scope="module")
def finished(pipelines: Path) -> Path:
    """Return the folder below which animate's outputs lie, and what the pipeline was given."""
    return pipelines


@pytest.fixture(scope="module")
def replaced(pipelines: Path) -> Path:
    """Return the folder below which replace's outputs lie."""
    return pipelines / "replace"


def folder(place: Path, step: str) -> Path:
    """Return the run that the pipeline made: the first of its step."""
    return min((place / "outputs").glob(f"*_{step}_*"))


def test_every_step_leaves_notebook_report_and_manifest(finished: Path) -> None:
    for step in ("preprocess", "generate", "report"):
        run = folder(finished, step)
        assert {"manifest.json", "notebook.ipynb", "report.html"} <= {path.name for path in run.iterdir()}
        assert json.loads((run / "manifest.json").read_text())["status"] == "completed"
        assert (run / "notebook.ipynb").stat().st_size < 20 * 2**20


def test_copies_are_where_they_were_asked_for(finished: Path) -> None:
    assert {"src_ref.png", "src_pose.mp4", "src_face.mp4"} <= {
        path.name for path in (finished / "process_results").iterdir()
    }
    video = media.read_video(finished / "out" / "video.mp4")
    assert video.frames.shape == (FRAMES, 128, 96, 3)
    assert video.fps == 16
    assert video.frames.std() > 10


def test_nothing_shared_names_this_machine(finished: Path) -> None:
    host = socket.gethostname()
    secrets = [str(config.project_root()), str(finished), f"{Path.home()}/", *([host] if len(host) > 3 else [])]
    for path in (finished / "outputs").rglob("*"):
        if path.name in (runs.PLACES, decisions.ORIGIN):  # for the eyes of who works here: they say where files lie
            assert path.stat().st_mode & 0o077 == 0, path.name
        elif path.suffix in (".html", ".json", ".ipynb"):
            text = path.read_text(encoding="utf-8")
            for secret in secrets:
                assert secret not in text, f"{path.name} names {secret}"


def test_replace_with_points_goes_through_an_inspection(replaced: Path) -> None:
    made = {step: folder(replaced, step) for step in ("preprocess", "inspect", "generate", "report")}
    manifests = {step: json.loads((path / "manifest.json").read_text()) for step, path in made.items()}
    assert manifests["inspect"]["parents"] == [made["preprocess"].name]
    assert manifests["generate"]["parents"] == [made["inspect"].name]
    assert manifests["generate"]["settings"]["mode"] == "replace"
    assert json.loads((made["inspect"] / "inputs.json").read_text())["mask_chain"] == "snap:16"
    page = (made["report"] / "report.html").read_text(encoding="utf-8")
    assert all(f"<h3>{name}</h3>" in page for name in ("10_preprocess", "20_inspect", "30_generate"))
    assert f"wanlab generate --inputs {made['inspect'].name}" in page


def test_one_command_replays_decisions(replaced: Path) -> None:
    """On a copy of the inputs, as another tool's folder would lie there; the copy itself stays as it is."""
    source = inputs.read(folder(replaced, "preprocess"))
    made = inputs.read(replaced / "process_results2")
    assert made.facts["parent"] == source.folder.name
    assert made.facts["by_hand"] == ["1 point on 1 frame", "left hand hidden in frames 1 to 2", "mask chain grow:10,blockify:32"]  # fmt: skip
    np.testing.assert_array_equal(made.mask(), mask.apply_chain(made.person_mask(), "grow:10,blockify:32"))
    before, after = source.person_mask(), made.person_mask()
    assert not (before & ~after).any()  # a click in edits corrects the mask, while points make it anew
    assert (before ^ after).mean() < 0.02
    hidden = made.keypoints()[:, 91:112, 2].max(axis=1) == 0
    assert hidden.tolist() == [source.keypoints()[t, 91:112, 2].max() == 0 or t in (1, 2) for t in range(FRAMES)]
    assert inputs.read(replaced / "process_results").sha256() == source.sha256()


def test_what_is_outside_the_mask_stays_the_film(replaced: Path) -> None:
    """Within little more than the autoencoder's own error: what it makes of the video itself. Inside it is somebody else."""
    made = inputs.read(folder(replaced, "inspect"))
    source, outside = made.driving().read(), ~mask.grow(made.mask(), 8, tapered=False)
    found = media.read_video(folder(replaced, "generate") / denoise.MASTER).frames.astype(float)
    networks = Networks(checkpoints.NANO, "cpu")
    first = made.video("background_video").read()[:1]  # the VAE takes 4n + 1 frames, here are three
    pixels = torch.from_numpy(first).permute(3, 0, 1, 2).float() / 127.5 - 1
    through = ((networks.decode(networks.encode(pixels)).permute(1, 2, 3, 0).numpy() + 1) * 127.5).round()
    error, own = np.abs(found - source)[outside].mean(), np.abs(through - source[:1])[outside[:1]].mean()
    assert outside.mean() > 0.1
    assert error < min(1.6 * own + 1, 6)
    assert np.abs(found - source)[made.mask()].mean() > 3 * error


@pytest.mark.browser
@pytest.mark.parametrize("step", ["preprocess", "generate", "report"])
def test_a_page_needs_no_network(browser: Any, finished: Path, step: str) -> None:
    look_at(browser, folder(finished, step) / "report.html")


@pytest.mark.browser
def test_an_inspection_needs_no_network(browser: Any, replaced: Path) -> None:
    look_at(browser, folder(replaced, "inspect") / "report.html")


@pytest.mark.browser
def test_a_report_of_a_sweep_needs_no_network(browser: Any, finished: Path) -> None:
    page = max((finished / "outputs").glob("*_report_*")) / "report.html"
    look_at(browser, page)
    text = page.read_text(encoding="utf-8")
    assert 'aria-label="2 results, playing in step"' in text
    assert "shift 3.0" in text or "shift 3" in text
    assert "wanlab sweep" in text


@pytest.mark.browser
def test_a_sweeps_own_page_needs_no_network(browser: Any, finished: Path) -> None:
    look_at(browser, folder(finished, "sweep") / "report.html")


def look_at(browser: Any, page_file: Path) -> None:
    """Open a page offline: no request leaves it, nothing is said on the console, every image and video can be seen."""
    page = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}).new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(page_file.as_uri())
    page.wait_for_function("[...document.querySelectorAll('video')].every(v => v.readyState === 4)", timeout=20000)
    sizes = page.evaluate("[...document.querySelectorAll('img, video')].map(e => e.naturalWidth || e.videoWidth)")
    wide = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.context.close()
    outside = [url for url in asked if not url.startswith(("data:", "blob:")) and url != page_file.as_uri()]
    assert (outside, said) == ([], [])
    assert len(sizes) >= 4
    assert min(sizes) > 50
    assert wide


def test_the_report_links_the_full_video(finished: Path) -> None:
    page = folder(finished, "report") / "report.html"
    link = f"../{folder(finished, 'generate').name}/result.mp4"
    assert f'href="{link}"' in page.read_text(encoding="utf-8")
    assert (page.parent / link).is_file()


def test_runs_are_reused_and_listed(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep's points are generations of their own; nothing else is left."""
    monkeypatch.setenv("WANLAB_OUTPUTS", str(finished / "outputs"))
    made = [run.manifest["step"] for run in runs.list_runs()]
    assert made == ["preprocess", "generate", "report", "sweep", "generate", "generate", "report"]
    left = {path.name for path in (finished / "outputs").iterdir()}
    assert left == {run.id for run in runs.list_runs()} | {runs.NEW, targets.LEDGER}
    listed = wanlab("runs", cwd=finished)
    assert folder(finished, "generate").name in listed.stdout
    assert "completed" in listed.stdout


def test_a_failed_run_has_status_1_and_says_why(outputs: Path, tmp_path: Path) -> None:
    media.write_video(tmp_path / "empty.mp4", np.full((3, 96, 96, 3), 120, np.uint8), Fraction(16))
    done = wanlab("preprocess", "--video_path", "empty.mp4", cwd=tmp_path)
    assert done.returncode == 1
    assert "wanlab: driving_video must show a person, got none in its 3 frames" in done.stderr
    run = runs.list_runs()[-1]
    assert run.status == "failed"
    assert (run.folder / "report.html").is_file()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no video", "video must be a readable video file"), (None, "driving_video must exist, got")],
)
def test_a_bad_film_has_status_2(outputs: Path, tmp_path: Path, content: bytes | None, message: str) -> None:
    if content:
        (tmp_path / "video.mp4").write_bytes(content)
    done = wanlab("preprocess", "--video_path", "video.mp4", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert runs.list_runs() == []


@pytest.mark.filterwarnings("ignore")  # papermill's and ipykernel's own
def test_plain_papermill_with_wrong_parameters_stops_in_the_settings_cell(outputs: Path, tmp_path: Path) -> None:
    """An unknown name and an ill-typed value; both are said."""
    import papermill

    notebook = config.project_root() / "notebooks" / "10_preprocess.ipynb"
    with pytest.raises(papermill.PapermillExecutionError) as raised:
        papermill.execute_notebook(
            str(notebook), str(tmp_path / "out.ipynb"), parameters={"sede": 3, "start_s": "soon"},
            kernel_name="python3", progress_bar=False, cwd=str(notebook.parent),
        )  # fmt: skip
    assert raised.value.ename == "SettingsError"
    assert [line.split()[:3] for line in raised.value.evalue.splitlines()] == [
        ["unknown", "parameter", "sede;"],
        ["start_s", "must", "be"],
    ]
    assert runs.list_runs() == []


@pytest.mark.filterwarnings("ignore")
def test_notebooks_run_with_their_own_folder_as_directory(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As JupyterLab starts them: the kernel's directory is notebooks/, paths start at the project all the same."""
    import papermill

    monkeypatch.setenv("WANLAB_OUTPUTS", str(finished / "outputs"))
    notebook = config.project_root() / "notebooks" / "10_preprocess.ipynb"
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        str(notebook),
        str(out),
        parameters={"max_frames": 3},
        kernel_name="python3",
        progress_bar=False,
        cwd=str(notebook.parent),
    )
    cells = nbformat.read(out, as_version=4).cells
    shown = [o.get("data", {}).get("text/html", "") for cell in cells for o in cell.get("outputs", [])]
    assert [html[:4] for html in shown if html.startswith(("<img", "<svg"))] == ["<img", "<svg", "<img"]


@pytest.mark.slow
def test_a_preview_is_a_short_pipeline_and_the_whole_one_does_not_take_it(outputs: Path, tmp_path: Path) -> None:
    """One second of 8 frames, one segment of 9, nano's own size and steps; marked on every page."""
    done = wanlab("pipeline", "--preview", "--output_path", "video.mp4", "--fps", "8", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {run.manifest["step"]: run for run in runs.list_runs()}
    video = found["generate"].manifest["artefacts"]["video"]
    assert (video["frames"], video["height"], video["width"], video["fps"], video["seams"]) == (8, 256, 192, "8", [])
    chosen = found["generate"].manifest["settings"]
    assert (chosen["segment_frame_length"], chosen["num_inference_steps"]) == (9, 4)
    assert found["generate"].manifest["denoise_calls"] == 8  # 4 steps, twice with guidance
    assert found["generate"].manifest["parents"] == [found["preprocess"].id]
    for run in found.values():
        page = (run.folder / "report.html").read_text(encoding="utf-8")
        assert "<strong>Preview, not the result:</strong> max_frames 8 instead of 32 (the first second)" in page
        assert "(preview, not the result)</title>" in page
    assert "<h1>preview · animate" in page
    assert not (tmp_path / "video.mp4").exists()
    refused = wanlab("generate", cwd=tmp_path)
    assert refused.returncode == 2
    assert f"but the preview {found['preprocess'].id}: name it to take it" in refused.stderr


@pytest.mark.parametrize("film", [pytest.param("animate_driving.mp4", marks=pytest.mark.slow), "replace_driving.mp4"])
def test_real_footage_goes_through(outputs: Path, shared_media: Path, film: str) -> None:
    """The real clip, and a driver with a reference of another aspect."""
    image = shared_media / "animate_reference.jpeg"
    given = {"driving_video": shared_media / film, "reference_image": image, "max_frames": FRAMES}
    made = preprocess.prepare(config.PreprocessSettings.build(given))
    preprocess.work(made)
    assert made.manifest["artefacts"]["keypoints"]["no_person"] == []
    quick = {"segment_frame_length": 5, "num_inference_steps": 1, "guidance_scale": 1}
    video = generate.work(
        generate.prepare(
            config.GenerateSettings.build({"inputs": made.folder, "checkpoint": checkpoints.NANO, **quick})
        )
    )
    reference = media.read_image(image).shape
    assert len(video) == FRAMES
    assert abs(video.width / video.height - reference[1] / reference[0]) < 0.1
