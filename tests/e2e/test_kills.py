"""Steps that are killed at random moments or run out of disk: nothing finished is lost, the rerun makes the same frames."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import stages

from wanlab import config, files, runs
from wanlab.files import locks
from wanlab.model import checkpoints
from wanlab.steps import segment_files

STAGES = ("preprocess", "inspect", "generate", "sweep", "workers", "report")
QUICK = ("generate",)  # what the default run kills, once
KILLS = int(os.environ.get("WANLAB_KILLS", "20"))  # of each stage in the slow run


class Case(NamedTuple):
    """A step to end early.

    Attributes:
        stage: its name.
        values: its settings.
        before: outputs that it begins with.
        expected: per run the contents of its files when nothing ends it.
        seconds: that it takes then.
        sizes: bytes of the files that it makes.
    """

    stage: str
    values: Mapping[str, Any]
    before: Path
    expected: Mapping[str, Mapping[str, str]]
    seconds: float
    sizes: tuple[int, ...]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, small: Path, small_replacing: Path) -> Callable[[str], Case]:
    """Return what gives the case of a stage; each is run whole once."""
    sample, known = config.ASSETS / "sample", dict[str, Case]()
    short = {"checkpoint": str(checkpoints.NANO), "segment_frame_length": 5, "guidance_scale": 1}
    settings: dict[str, dict[str, Any]] = {
        "preprocess": {
            "driving_video": str(sample / "half.mp4"), "reference_image": str(sample / "character.png"),
            "mode": "replace", "mask_source": "segmenter", "max_frames": 4,
        },
        "inspect": {"inputs": str(small_replacing), "mask_chain": "grow:4", "compare": ["snap:16"], "auto_keypoint": False},
        "generate": {"inputs": str(small), "num_inference_steps": 2, **short},
        "sweep": {"inputs": str(small), "num_inference_steps": 1, "grid": {"shift": [3, 4]}, **short},
        "report": {},
    }  # fmt: skip
    settings["workers"] = {**settings["sweep"], "workers": 2}

    def find(name: str) -> Case:
        if name not in known:
            place, before = tmp_path_factory.mktemp(name), tmp_path_factory.mktemp("before") / "outputs"
            before.mkdir()
            values = settings[name]
            if name == "report":
                stages.whole("preprocess", settings["preprocess"], before)
                stages.whole("generate", {"num_inference_steps": 1, **short}, before)
                values = {"run": next(before.glob("*_generate_*")).name}
            stage = "sweep" if name == "workers" else name
            shutil.copytree(before, place / "outputs")
            seconds = stages.whole(stage, values, place / "outputs")
            made = [path for path in (place / "outputs").rglob("*") if path.is_file()]
            old = {path.relative_to(before) for path in before.rglob("*")}
            sizes = tuple(path.stat().st_size for path in made if path.relative_to(place / "outputs") not in old)
            known[name] = Case(stage, values, before, stages.results(place / "outputs"), seconds, sizes)
        return known[name]

    return find


def begin(case: Case, place: Path, limit: int | None = None) -> tuple[Any, Path]:
    """Start a step with outputs of its own below `place`; return its process and them."""
    outputs = place / "outputs"
    shutil.copytree(case.before, outputs)
    return stages.start(case.stage, case.values, outputs, limit), outputs


def kill_at_random(case: Case, dice: random.Random, place: Path) -> Path:
    """Kill a step and its children somewhere in its course; return the outputs as they are then."""
    moment = dice.uniform(0, case.seconds)
    while True:
        process, outputs = begin(case, place)
        began = time.monotonic()
        process.join(moment)
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        if process.exitcode == -signal.SIGKILL:
            return outputs
        assert process.exitcode == 0, stages.said(outputs)
        shutil.rmtree(place)  # it was quicker this time
        moment = dice.uniform(0, time.monotonic() - began)


def check_what_is_left(case: Case, outputs: Path) -> int:
    """Check that manifests tell the truth, and return how many denoising calls the finished segments and points save."""
    saved = 0
    for run in runs.list_runs():
        made, expected = stages.contents(run.folder), case.expected[f"{run.manifest['step']} {run.manifest['hash']}"]
        assert {name: made[name] for name in made if name in expected}.items() <= expected.items()
        begun = ("begun",) if run.manifest["step"] == "report" else ()  # gathered, and its page not yet there
        assert run.status in ("pending", "failed", "completed", *begun), run.status
        if run.status == "completed":
            assert {name: made[name] for name in expected} == expected
        for facts in run.manifest["artefacts"].values():
            assert run.path(facts["file"]).stat().st_size == facts["bytes"]
        if run.manifest["step"] == "generate":
            segments = (
                2
                if run.completed or "result.mkv" in made
                else len(list((run.folder / segment_files.SEGMENTS).glob("*.npy")))
            )
            saved += segments * run.manifest["settings"]["num_inference_steps"]
    return saved


def check_rerun(case: Case, outputs: Path, saved: int) -> None:
    """Run a step again and check that it makes what an undisturbed one makes, and works on nothing twice."""
    folders = {run.id for run in runs.list_runs()}
    ended = {
        run.id: run.manifest["ended"] for run in runs.list_runs() if run.completed and run.manifest["step"] != "report"
    }
    stages.whole(case.stage, case.values, outputs)
    assert stages.results(outputs) == case.expected
    found = runs.list_runs()
    assert {run.status for run in found} == {"completed"}
    assert folders <= {run.id for run in found}
    assert len(found) == len(case.expected)
    for run in found:
        assert run.id not in ended or run.manifest["step"] == "sweep" or run.manifest["ended"] == ended[run.id]
        assert runs.owner(run.folder) is None
        left = [path.name for path in run.folder.rglob("*") if files.is_part(path)]
        assert left == []
        assert not (run.folder / runs.PROGRESS).exists()
    if case.stage in ("generate", "sweep") and "workers" not in case.values:
        whole = sum(
            2 * run.manifest["settings"]["num_inference_steps"] for run in found if run.manifest["step"] == "generate"
        )
        assert int(re.findall(r"denoising calls: (\d+)", stages.said(outputs))[-1]) == whole - saved


def wait_for_the_orphans() -> None:
    """Wait until the workers or kernel of a killed process have seen that it is gone."""
    deadline = time.monotonic() + 120
    while any(locks.owner(run.folder / runs.LOCK) for run in runs.list_runs()):
        assert time.monotonic() < deadline, "it goes on without the one who asked"
        time.sleep(0.1)


def kill_and_rerun(case: Case, seed: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = kill_at_random(case, random.Random(f"{case.stage} {len(case.values)} {seed}"), place)
    monkeypatch.setenv("WANLAB_OUTPUTS", str(outputs))
    wait_for_the_orphans()
    check_rerun(case, outputs, check_what_is_left(case, outputs))
    shutil.rmtree(place)


@pytest.mark.parametrize("name", QUICK)
def test_killed_at_a_random_moment(
    name: str, case: Callable[[str], Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_and_rerun(case(name), 0, tmp_path / "0", monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", STAGES)
def test_killed_at_twenty_random_moments(
    name: str, case: Callable[[str], Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(1, KILLS + 1):
        kill_and_rerun(case(name), seed, tmp_path / str(seed), monkeypatch)


def run_out_of_disk(case: Case, limit: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no file grow beyond so many bytes, then run again without that."""
    process, outputs = begin(case, place, limit)
    process.join()
    assert process.exitcode == 1, stages.said(outputs)
    assert "disk full while writing" in stages.said(outputs)
    monkeypatch.setenv("WANLAB_OUTPUTS", str(outputs))
    for run in runs.list_runs():
        begun = ("begun",) if case.stage == "report" else ()  # gathered, and its page could not be written
        assert (
            run.status in ("completed", "pending", *begun) or "disk full while writing" in run.manifest["error"]["text"]
        )
        assert [path.name for path in run.folder.rglob("*") if files.is_part(path)] == []
    check_rerun(case, outputs, check_what_is_left(case, outputs))
    shutil.rmtree(place)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["generate", "preprocess", "inspect", "sweep"])
def test_a_file_too_large_for_the_disk(
    name: str, case: Callable[[str], Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_out_of_disk(case(name), max(case(name).sizes) // 2, tmp_path / "0", monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_files_of_all_sizes_too_large_for_the_disk(
    name: str, case: Callable[[str], Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = sorted(size for size in case(name).sizes if size > 3000)  # what is printed must still fit
    for n in range(5):
        run_out_of_disk(case(name), sizes[n * (len(sizes) - 1) // 4] - 1, tmp_path / str(n), monkeypatch)


FILLED = [
    ("generate", 0.2),
    ("generate", 0.6),
    ("generate", 0.9),
    ("preprocess", 0.6),
    ("inspect", 0.6),
    ("sweep", 0.6),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "share"), FILLED)
def test_a_disk_that_fills_up(name: str, share: float, case: Callable[[str], Case], tmp_path: Path) -> None:
    """It has room for a share of what the step writes, and more room when the step is run again."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-Urm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no user namespace in which a small disk could be mounted")
    chosen = case(name)
    size = str(int(sum(chosen.sizes) * share))
    command = [
        sys.executable,
        stages.__file__,
        chosen.stage,
        json.dumps(chosen.values),
        str(tmp_path / "outputs"),
        size,
    ]
    done = subprocess.run([unshare, "-Urm", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert "disk full while writing" in told["message"]
    for status, error in told["found"]:
        assert status in ("completed", "pending") or "disk full while writing" in error
    assert told["results"] == chosen.expected
    if name == "generate":
        segments = [file for made in told["kept"].values() for file in made if file.endswith(".npy")]
        whole = 2 * chosen.values["num_inference_steps"]
        assert told["calls"] == (
            whole if not segments else whole - len(segments) * chosen.values["num_inference_steps"]
        )
