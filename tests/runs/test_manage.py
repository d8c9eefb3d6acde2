"""`wanlab runs`: what it says of runs, compares, removes and cancels."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wanlab import config, runs
from wanlab.cli import main
from wanlab.model import checkpoints
from wanlab.runs import manage


def make(parents: tuple[str, ...] = (), metrics: dict | None = None, **chosen: object) -> runs.Run:
    settings = config.GenerateSettings.build(chosen)
    made = {"inputs": {"folder": "somewhere", "sha256": "a" * 64}}
    run = runs.open_run("generate", settings, inputs=made, models={"nano": "b"}, result_version=1, parents=parents)
    with run.working():
        run.path("result.bin").write_bytes(bytes(2_000_000))
        run.save(metrics=metrics or {})
    return run


WORKER = """
import sys, time
from wanlab import config, runs
run = runs.open_run("generate", config.GenerateSettings.build({"seed": 3}), inputs={}, models={}, result_version=1)
print(run.id, flush=True)
with run.working():
    for _ in run.progress.iterate(range(1000), "denoise", 1000):
        time.sleep(0.05)
"""


@pytest.fixture
def working(outputs: Path):
    """Start a process that works on a run; give it and the run's id."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        while not (outputs / run_id / runs.PROGRESS).is_file():
            time.sleep(0.02)
        yield process, run_id
        process.kill()


def test_the_list_says_status_and_size(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make()
    assert main.main(["runs"]) == 0
    listed = capsys.readouterr().out
    seconds = run.manifest["seconds_total"]
    assert f"{run.id}  completed, {seconds:.0f} s, 2.0 MB" in listed
    assert "1 runs, 2.0 MB in " in listed


def test_two_runs_are_told_apart(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = make(shift=3, metrics={"psnr": 30.0, "ssim": 0.5})
    second = make(shift=5, metrics={"psnr": 28.5, "ssim": 0.5})
    table = manage.compare(first, second)
    assert table.loc["shift"].tolist() == [3.0, 5.0, "+2"]
    assert table.loc["psnr", "change"] == "-1.5"
    assert not {"ssim", "seed", "model nano", "torch", "fresh"} & set(table.index)
    assert main.main(["runs", "compare", first.id, second.id]) == 0
    assert "psnr" in capsys.readouterr().out
    assert len(manage.compare(first, first)) == 0
    with runs.open_run("report", config.ReportSettings.build({}), inputs={}, models={}, result_version=1).working():
        pass
    assert main.main(["runs", "compare", "latest", second.id]) == 0  # the newest generation: a report has none of these
    assert capsys.readouterr().out == "nothing differs\n"


def test_removing_asks_and_says_what_was_made_from_it(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make()
    second = make(parents=(first.id,), seed=5)
    asked: list[str] = []
    assert manage.remove([first], lambda question: bool(asked.append(question))) == []
    assert asked == [f"remove {first.id} (completed, 0 s, 2.0 MB; {second.id} was made from it)?"]
    assert first.folder.is_dir()
    assert main.main(["runs", "remove", first.id]) == 2  # nobody is there to answer
    assert main.main(["runs", "remove", first.id, "--yes"]) == 0
    assert [run.id for run in runs.list_runs()] == [second.id]
    assert main.main(["runs", "remove", "elsewhere", "--yes"]) == 2


def test_a_working_run_says_how_far_it_is_and_can_be_cancelled(working, capsys: pytest.CaptureFixture[str]) -> None:
    process, run_id = working
    (line,) = [text for name, text in manage.overview() if name == run_id]
    assert line.startswith("running, denoise ")
    assert " of 1000" in line
    assert main.main(["runs", "remove", run_id, "--yes"]) == 1
    assert "must not be removed while it works" in capsys.readouterr().err
    assert main.main(["runs", "cancel"]) == 0  # the newest that works
    assert f"{run_id} has stopped" in capsys.readouterr().out
    process.wait(10)
    run = runs.find_run(run_id)
    assert (run.status, run.manifest["error"]["text"]) == ("cancelled", "interrupted")
    assert not run.path(runs.PROGRESS).exists()
    assert main.main(["runs", "cancel", run_id]) == 1
    assert "must be running to be cancelled, got cancelled" in capsys.readouterr().err
    assert main.main(["runs", "cancel"]) == 2
    assert "no run works, nothing to cancel" in capsys.readouterr().err


def test_a_run_of_another_machine_is_not_cancelled(working, outputs: Path) -> None:
    _, run_id = working
    lock = outputs / run_id / runs.LOCK
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with pytest.raises(
        RuntimeError, match=r"process 1 of another machine \(elsewhere, last heard of 0 s ago\) works on run"
    ):
        manage.cancel(runs.find_run(run_id))


def test_a_detached_command_leaves_its_terminal_and_can_be_cancelled(
    outputs: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [
        "generate",
        "--inputs",
        str(folder),
        "--checkpoint",
        str(checkpoints.NANO),
        "--segment_frame_length",
        "5",
    ]
    assert main.main([*command, "--num_inference_steps", "900", "--detach"]) == 0
    said = capfd.readouterr().out
    run = manage.working()
    assert f"{run.id} works in the background; its output goes to {config.outputs_root()}/.logs/" in said
    while not run.path(runs.PROGRESS).is_file() or "step" not in run.path(runs.PROGRESS).read_text():
        assert runs.Run(run.folder).status == "running"
        time.sleep(0.1)
    assert main.main(["runs"]) == 0
    assert re.search(rf"{run.id} +running, segment 1 of 2, step \d+ of 900", capfd.readouterr().out)
    assert main.main(["runs", "cancel"]) == 0
    assert f"{run.id} has stopped" in capfd.readouterr().out
    ended = runs.Run(run.folder)
    assert (ended.status, ended.manifest["error"]["text"]) == ("cancelled", "interrupted")
    log = outputs / ".logs" / ended.manifest["log"]
    deadline = time.monotonic() + 60
    while "report.html" not in log.read_text():  # the command itself ends in good order, with its report
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_detached_command_with_bad_settings_starts_nothing(outputs: Path, folder: Path, capfd) -> None:
    assert main.main(["generate", "--inputs", str(folder), "--seed", "-1", "--detach"]) == 2
    assert "seed must be at least 0" in capfd.readouterr().err
    assert not list(outputs.glob(".logs/*"))


EDITS = {
    "cut in half": lambda text: text[: len(text) // 2],
    "no status": lambda text: text.replace('"status"', '"state"'),
    "a list as settings": lambda text: json.dumps({**json.loads(text), "settings": []}),
    "numbers as text": lambda text: json.dumps({**json.loads(text), "seconds_total": "12", "order": "3"}),
    "a later version": lambda text: json.dumps({**json.loads(text), "schema": 99}),
    "100 MB": lambda text: text + " " * 100_000_000,
    "deep": lambda text: '{"schema": ' + "[" * 100_000,
    "nothing": lambda text: "",
    "no table": lambda text: "[1]",
    "metrics": lambda text: json.dumps({**json.loads(text), "metrics": {"a": {"b": [1]}, "c": "x"}}),
    "points": lambda text: json.dumps({**json.loads(text), "points": [3]}),
    "parents": lambda text: json.dumps({**json.loads(text), "parents": ["../../x", ""]}),
    "infinite": lambda text: json.dumps({**json.loads(text), "seconds_total": 1e400, "peak_memory_bytes": 10**30}),
}


@pytest.mark.parametrize("kind", EDITS)
def test_an_edited_manifest_ends_in_a_sentence(outputs: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = make(), make(seed=3)
    path = second.folder / runs.MANIFEST
    path.write_text(EDITS[kind](path.read_text()))
    assert main.main(["runs"]) == 0
    assert second.id in capsys.readouterr().out
    assert main.main(["runs", "compare", first.id, second.id]) in (0, 1, 2)
    printed = capsys.readouterr()
    assert printed.out or second.id in printed.err
    assert make(seed=3).status == "completed"  # the same run again: this one, or a new one
    files_written = json.loads(path.read_text()) if kind == "metrics" else {}
    assert files_written.get("status", "completed") == "completed"


def test_terminal_codes_in_manifests_are_not_printed(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = make(), make(seed=3)
    path = second.folder / runs.MANIFEST
    content = json.loads(path.read_text())
    content["error"] = {"type": "x", "text": "\x1b]0;owned\x07\x1b[2J\x9b31m"}
    content["status"] = "failed"
    content["settings"]["prompt"] = "\x1b[31mred"
    path.write_text(json.dumps(content))
    (outputs / "20260101T000000_generate_\x1b[31m").mkdir()
    (outputs / "20260101T000000_generate_\x1b[31m" / runs.MANIFEST).write_text("{}")
    for words in (["runs"], ["runs", "compare", first.id, second.id]):
        assert main.main(words) == 0
        printed = capsys.readouterr().out
        assert "owned" in printed or "red" in printed
        assert not config.base.CONTROLS.search(printed)


def test_terminal_codes_in_a_question_are_not_printed(outputs: Path) -> None:
    run = make()
    named = outputs / f"{run.id}\x1b[2J"
    run.folder.rename(named)
    asked: list[str] = []
    manage.remove([runs.Run(named)], lambda question: bool(asked.append(question)), lambda _: "your \x9b31m decisions")
    assert "decisions go with it" in asked[0]
    assert not config.base.CONTROLS.search(asked[0])


@pytest.mark.parametrize("form", ['"{}"', " {}\n", "'{}'", "file://{}/", "{}/"])
def test_a_pasted_run_is_compared_and_removed(outputs: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    first, second = make(), make(seed=3)
    assert main.main(["runs", "compare", form.format(first.folder), form.format(second.folder)]) == 0
    printed = capsys.readouterr().out
    assert "seed" in printed
    assert ("note: RUN" in printed) == (form != "{}/")
    assert main.main(["runs", "remove", "--yes", form.format(second.folder), f"`{first.id}`"]) == 0
    assert "removed 2 of 2 runs" in capsys.readouterr().out


def test_a_damaged_word_of_progress_is_left_out(outputs: Path, working) -> None:
    _, run_id = working
    run = runs.Run(outputs / run_id)
    for text in ("", "[]", '{"what": "x"}', '{"what": 1, "done": "a", "total": 1e400, "seconds": null}', "[" * 100_000):
        run.path(runs.PROGRESS).write_text(text)
        said = dict(manage.overview())[run_id]
        assert said.startswith("running")
