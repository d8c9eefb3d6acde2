"""Notebooks without JupyterLab: how they end, and which notebook and page a run keeps."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from wanlab import config, files, runs
from wanlab.cli import main
from wanlab.config import paths as config_paths
from wanlab.runs import notebook
from wanlab.runs import notebook as notebook_module
from wanlab.runs.notebook import NOTEBOOK, execute
from wanlab.runs.page import REPORT, render

WORK = """
import os, signal, sys, threading, time
from IPython.display import display
from wanlab import config, files, runs
run = runs.open_run("generate", config.GenerateSettings.build({}), inputs={}, models={}, result_version=1)
display(run)
"""
LONG_STEP = """
def step(seconds):  # of a library in C: an interrupt is heard when it returns
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    time.sleep(seconds)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])

with run.working(), files.part(run.path("half.txt")):
    run.keep("1 of 5 segments")
    run.path("pid").write_text(str(os.getpid()))
    for _ in range(100):
        step({length})
"""
COMMAND = """
import sys
from pathlib import Path
from wanlab import config
from wanlab.config import paths
from wanlab.runs import notebook
config.project_root = paths.project_root = lambda: Path(sys.argv[1])
try:
    sys.exit(notebook.execute("generate", "slow", {})[0])
except KeyboardInterrupt:
    sys.exit(1)
"""


def project(place: Path, *cells: str) -> Path:
    """Return a project folder whose only notebook has these cells after its parameters."""
    (place / "notebooks").mkdir(exist_ok=True)
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.cells = [nbformat.v4.new_markdown_cell("# Slow"), *map(nbformat.v4.new_code_cell, cells)]
    nbformat.write(notebook, place / "notebooks" / "slow.ipynb")
    return place


def begun(outputs: Path, command: subprocess.Popen) -> runs.Run:
    """Wait for the run of a command until it is in its long step."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and command.poll() is None:
        found = [run for run in runs.list_runs() if run.path("pid").is_file()]
        if found:
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"no run works, the command's status is {command.poll()}")


@pytest.mark.parametrize(
    ("signals", "length"),
    [(["SIGINT"], 4), pytest.param(["SIGTERM"], 4, marks=pytest.mark.slow), (["SIGINT", "SIGINT"], 60)],
)
def test_an_interrupt_in_a_long_step_is_cancelled_not_a_death(
    outputs: Path, tmp_path: Path, signals: list[str], length: int
) -> None:
    """After one the step comes to its end, after a second one it does not."""
    cells = WORK, LONG_STEP.format(length=length), "print('never')"
    command = [sys.executable, "-c", COMMAND, str(project(tmp_path, *cells))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        run = begun(outputs, process)
        time.sleep(0.3)
        start = time.monotonic()
        for name in signals:
            process.send_signal(signal.Signals[name])
            time.sleep(0.2)
        _, said = process.communicate()
    assert time.monotonic() - start < 50
    manifest = runs.Run(run.folder).manifest
    assert (manifest["status"], manifest["error"]["text"], manifest["kept"]) == ("cancelled", "interrupted", "1 of 5 segments")  # fmt: skip
    assert process.returncode == 1
    assert "wanlab: interrupted; the current step is ended first" in said
    again = runs.open_run("generate", config.GenerateSettings.build({}), inputs={}, models={}, result_version=1)
    assert (again.news, again.id) == ("continued", run.id)
    with again.working():
        pass
    assert runs.Run(run.folder).completed
    assert not [path for path in outputs.rglob("*") if files.is_part(path)]
    if len(signals) == 1:
        page = (run.folder / REPORT).read_text()
        assert "KeyboardInterrupt" in page
        assert "never" not in (run.folder / NOTEBOOK).read_text().split("outputs")[-1]


def test_a_killed_kernel_is_a_death(outputs: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMMAND, str(project(tmp_path, WORK, LONG_STEP.format(length=4)))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        run = begun(outputs, process)
        os.kill(int(run.path("pid").read_text()), signal.SIGKILL)
        _, said = process.communicate()
    ended = runs.Run(run.folder)
    assert (ended.status, ended.manifest["error"]["text"]) == ("failed", runs.DIED)
    assert process.returncode == 1
    assert runs.DIED in said


def test_a_completed_run_gets_the_completed_notebook_and_keeps_it(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (config, config_paths):  # the folder hands the name on
        monkeypatch.setattr(place, "project_root", lambda: tmp_path)
    marks = {"failed": "1 / 0", "completed": "print('all is well')", "reused": "print('only read')"}
    pages = {}
    for name, mark in marks.items():
        project(tmp_path, WORK, f"if not run.completed:\n    with run.working():\n        {mark}\nelse:\n    {mark}")
        status, folder = execute("generate", "slow", {})
        assert status == (name == "failed")
        assert folder is not None
        pages[name] = (folder / REPORT).read_text()
    assert "ZeroDivisionError" in pages["failed"]
    assert "ZeroDivisionError" not in pages["completed"]
    assert "all is well" in pages["completed"]
    assert pages["reused"] == pages["completed"]
    assert json.loads((folder / NOTEBOOK).read_text())["metadata"]["wanlab"] == {"status": "completed"}
    files.remove(folder / REPORT)
    execute("generate", "slow", {})
    assert (folder / REPORT).read_text() == pages["completed"]
    assert [path for path in outputs.iterdir() if path.is_dir()] == [folder]
    assert not [path for path in outputs.rglob("*") if files.is_part(path)]


def test_a_report_is_completed_when_its_page_is_there(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (config, config_paths):  # the folder hands the name on
        monkeypatch.setattr(place, "project_root", lambda: tmp_path)
    stop = "with run.working():\n    run.stop_here()"  # as report.gather does
    project(tmp_path, WORK.replace('"generate"', '"report"'), stop)
    rendered = render

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    monkeypatch.setattr(notebook, "render", killed)
    with pytest.raises(SystemExit):
        execute("report", "slow", {})
    (run,) = runs.list_runs()
    assert run.status == "failed"
    monkeypatch.setattr(notebook, "render", rendered)
    assert execute("report", "slow", {}) == (0, run.folder)
    run = runs.Run(run.folder)
    assert (run.status, run.manifest["artefacts"]["page"]["file"]) == ("completed", REPORT)
    project(tmp_path, WORK.replace('"generate"', '"report"'), stop, "1 / 0")
    assert execute("report", "slow", {})[0] == 1
    assert runs.Run(run.folder).status == "failed"


@pytest.mark.parametrize("hold", ["run.alone()", pytest.param("run.working()", marks=pytest.mark.slow)])
def test_whoever_is_refused_writes_nothing_into_the_run_of_another_process(
    outputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, hold: str
) -> None:
    """The other has opened the run and is about to work (`alone`), or works."""
    opening = WORK.replace("display(run)", "").replace("from IPython.display import display", "")
    holder = f"{opening}\nwith {hold}:\n    print('held', flush=True)\n    time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert "held\n" in iter(other.stdout.readline, "")
        for place in (config, config_paths):  # the folder hands the name on
            monkeypatch.setattr(place, "project_root", lambda: project(tmp_path, WORK, "with run.working():\n    pass"))
        before = {path: path.read_bytes() for path in outputs.rglob("*") if path.is_file() and path.parent != outputs}
        assert execute("generate", "slow", {}) == (1, None)
        (run,) = runs.list_runs()
        assert {
            path: path.read_bytes() for path in outputs.rglob("*") if path.is_file() and path.parent != outputs
        } == before
        assert [path.name for path in outputs.iterdir() if path.is_file()] == [runs.NEW]
        other.kill()
    said = capfd.readouterr().err
    assert (
        f"process {other.pid} of this machine works on it; wait for it, stop it (wanlab runs cancel {run.id})" in said
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk full while writing 30_generate.ipynb; free space"),
        (OSError(errno.ENOSPC, "disk full while writing manifest.json"), "disk full while writing manifest.json"),
        (PermissionError(errno.EACCES, "Permission denied", "x.ipynb"), "Permission denied: 'x.ipynb'"),
    ],
)
def test_a_notebook_that_cannot_be_written_is_said_in_a_line(
    outputs: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    said: str,
) -> None:
    def papermill(*_: object) -> int:
        raise error

    monkeypatch.setattr(notebook_module, "_run", papermill)
    assert main.main(["generate", "--inputs", str(folder)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wanlab: ")
    assert said in line
    assert [path.name for path in outputs.iterdir()] == []


def test_terminal_codes_of_a_notebook_are_not_printed() -> None:
    heard = io.StringIO()
    plain = notebook._Plain(heard)
    plain.write("note: \x1b[31mred\x1b[0m \x1b]0;title\x07 caf\u00e9\r100 %\n")
    plain.flush()
    assert heard.getvalue() == "note: red \ufffd]0;title\ufffd caf\u00e9\r100 %\n"


def test_no_grammar_of_iris_is_built_before_a_notebook_runs() -> None:
    """It takes jsonschema 2 s at each import; who wants it can import it afterwards."""
    code = (
        "import sys\nfrom wanlab.runs import notebook\nnotebook._import_jsonschema()\nimport papermill, nbformat\n"
        "nbformat.validate(nbformat.v4.new_notebook())\n"
        "print('rfc3987_syntax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
