"""Run folders: found by hash, trusted after any kind of end."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from wanlab import config, files, runs
from wanlab.cli import main
from wanlab.config import GenerateSettings
from wanlab.files import locks
from wanlab.runs import manage
from wanlab.runs import run as run_module


def open_run(**changes) -> runs.Run:
    how = {"inputs": {"inputs": {"sha256": "a"}}, "models": {"nano": "b"}, "result_version": 1, **changes}
    return runs.open_run("generate", how.pop("settings", GenerateSettings.build({})), **how)


def test_a_completed_run_is_reused_and_its_manifest_tells_everything(outputs: Path) -> None:
    run = open_run()
    assert (run.news, run.status) == ("new", "pending")
    with run.working():
        assert runs.Run(run.folder).status == "running"
        with run.stage("think"):
            run.path("result.txt").write_text("done")
        run.add_artefact("text", "result.txt", lines=1)
    again = open_run()
    assert (again.news, again.id) == ("reused", run.id)
    saved = json.loads((run.folder / "manifest.json").read_text())
    assert saved["status"] == "completed"
    assert saved["artefacts"]["text"] == {
        "file": "result.txt", "bytes": 4, "lines": 1, "sha256": hashlib.sha256(b"done").hexdigest()
    }  # fmt: skip
    assert saved["settings"]["seed"] == 42
    assert saved["inputs"]["inputs"]["sha256"] == "a"
    assert saved["environment"]["versions"]["numpy"]
    assert saved["peak_memory_bytes"] > 10_000_000
    assert set(saved["seconds"]) == {"think"}


def test_who_watches_hears_how_far_the_work_is_and_may_end_it(outputs: Path, capsys: pytest.CaptureFixture) -> None:
    run, heard = open_run(), []

    def watch(what: str, done: int, total: int) -> None:
        heard.append((what, done, total))
        if done == 2:
            raise InterruptedError("enough")

    run.progress.watch = watch
    with pytest.raises(InterruptedError, match="enough"), run.working():
        list(run.progress.iterate(range(5), "think", 5))
    assert heard == [("think", 0, 5), ("think", 1, 5), ("think", 2, 5)]
    assert (run.status, run.manifest["error"]["text"]) == ("failed", "enough")
    assert "think" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        {"settings": GenerateSettings.build({"seed": 43})},
        {"inputs": {"inputs": {"sha256": "other"}}},
        {"models": {"nano": "other"}},
        {"result_version": 2},
        {"fresh": True},
    ],
)
def test_what_changes_the_result_makes_another_folder(outputs: Path, change: dict) -> None:
    run = open_run()
    with run.working():
        pass
    assert open_run(**change).news == "new"
    assert len(runs.list_runs()) == 2


def test_a_failed_run_keeps_its_error_and_is_continued_in_its_folder(outputs: Path) -> None:
    run = open_run()
    run.path("half.txt").write_text("kept")
    with pytest.raises(ZeroDivisionError), run.working(), run.stage("divide"):
        1 / 0  # noqa: B018
    found = open_run()
    assert (found.news, found.status, found.id) == ("continued", "failed", run.id)
    assert found.manifest["error"]["type"] == "ZeroDivisionError"
    assert found.path("half.txt").read_text() == "kept"
    with found.working(), found.stage("divide"):
        pass
    assert "error" not in runs.Run(run.folder).manifest
    assert runs.Run(run.folder).completed


def test_a_killed_kernel_reads_as_failed_and_is_continued(outputs: Path) -> None:
    code = """
        import sys, time
        sys.path.insert(0, "tests/runs")
        import test_run
        run = test_run.open_run()
        with run.working():
            print(run.folder, flush=True)
            time.sleep(60)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, cwd=config.project_root()
    )
    assert child.stdout is not None
    folder = Path(child.stdout.readline().strip())
    assert runs.Run(folder).status == "running"
    with pytest.raises(RuntimeError, match=rf"must not be worked on twice.*{child.pid}"):
        open_run()
    with pytest.raises(RuntimeError, match="must not be worked on twice"), runs.Run(folder).working():
        pass
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert runs.Run(folder).manifest["error"]["text"] == runs.DIED
    assert runs.Run(folder).status == "failed"
    run = open_run()
    assert (run.news, run.folder) == ("continued", folder)
    with run.working():
        pass
    assert runs.Run(folder).completed


CROWD = """
import sys, time
from pathlib import Path
sys.path.insert(0, "tests/runs")
import test_run
from wanlab.files import locks
print("ready", flush=True)
while not Path(sys.argv[1]).exists():
    time.sleep(0.002)
try:
    run = test_run.open_run()
    before = run.completed
    with run.working() as unfinished:
        if unfinished and not before:
            time.sleep(0.5)
            with Path(sys.argv[2]).open("a") as log:
                log.write("worked")
    print("worked" if unfinished and not before else "used")
except locks.BusyError as error:
    print(error)
"""


def test_of_many_that_ask_at_once_one_works(outputs: Path, tmp_path: Path) -> None:
    """There is one folder, one works, the others hear who does, or use what is finished."""
    go, log = tmp_path / "go", tmp_path / "log"
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, str(go), str(log)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=config.project_root(),
        )
        for _ in range(5)
    ]
    for process in crowd:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    go.touch()
    said = [process.communicate(timeout=60)[0].splitlines()[-1] for process in crowd]
    assert [process.returncode for process in crowd] == [0] * 5
    assert log.read_text() == "worked"
    worker = crowd[said.index("worked")].pid
    others = [line for line in said if line != "worked"]
    assert len(others) == 4
    assert all(line == "used" or f"and process {worker} of this machine works on it" in line for line in others)
    (run,) = runs.list_runs()
    assert run.completed
    assert runs.owner(run.folder) is None


def test_what_another_process_has_finished_meanwhile_is_not_worked_on_again(outputs: Path) -> None:
    first, second = open_run(), open_run()
    second.add_notes("mine")
    with first.working() as unfinished:
        assert unfinished
        first.path("result.txt").write_text("done")
        first.add_artefact("text", "result.txt")
        with pytest.raises(locks.BusyError, match=rf"run {first.id} must not be worked on twice.*cancel {first.id}"):
            second.save(by_hand=["x"])  # its manifest is the one of a moment ago
    with second.working() as unfinished:
        assert not unfinished
    assert second.manifest["artefacts"]["text"]["file"] == "result.txt"
    second.save()
    saved = runs.read_manifest(first.folder)
    assert (saved["status"], saved["notes"]) == ("completed", ["mine"])


def test_a_lock_that_nobody_holds_to_work_is_waited_for(outputs: Path) -> None:
    """Another process saves or looks: no reason to be refused."""
    run = open_run()
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom wanlab.files import locks\n"
        "with locks.held(Path(sys.argv[1]), 'it'):\n    print(flush=True)\n    time.sleep(2 * locks.PATIENCE)"
    )
    command = [sys.executable, "-c", code, str(run.folder / runs.LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with run.working() as unfinished:
            assert unfinished
    assert run.completed


def test_a_run_that_another_machine_took_over_is_left_to_it(outputs: Path) -> None:
    """This process was silent for too long, as one that was suspended."""
    run = open_run()
    before = b""

    def work() -> None:
        nonlocal before
        with run.working():
            (run.folder / runs.LOCK).write_text(json.dumps({"pid": 1, "host": "0badcafe"}))
            before = (run.folder / runs.MANIFEST).read_bytes()

    with pytest.raises(locks.BusyError, match="process 1 of another machine"):
        work()
    assert (run.folder / runs.MANIFEST).read_bytes() == before
    assert runs.Run(run.folder).status == "running"
    assert runs.owner(run.folder).pid == 1


def test_an_interrupted_run_says_so(outputs: Path) -> None:
    run = open_run()
    with pytest.raises(KeyboardInterrupt), run.working():
        raise KeyboardInterrupt
    ended = runs.Run(run.folder)
    assert (ended.status, ended.manifest["error"]["text"]) == ("cancelled", "interrupted")


def test_sigterm_is_an_interrupt_and_a_second_one_does_not_tear_the_manifest(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, write = open_run(), files.write_json

    def interrupted(path: Path, value: object) -> None:
        if isinstance(value, dict) and value.get("status") == "cancelled":
            os.kill(os.getpid(), signal.SIGINT)
        write(path, value)

    monkeypatch.setattr(files, "write_json", interrupted)
    with pytest.raises(KeyboardInterrupt), run.working():
        os.kill(os.getpid(), signal.SIGTERM)
    assert runs.Run(run.folder).status == "cancelled"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_who_is_asked_to_stop_stops_and_whoever_dies_then_was_cancelled(outputs: Path) -> None:
    run = open_run()
    asking = (runs.ask_to_stop(run.folder) for _ in range(5))
    with pytest.raises(KeyboardInterrupt), run.working():
        list(run.progress.iterate(asking, "think", 5))
    assert runs.Run(run.folder).status == "cancelled"
    run.save(status="running")  # as one that was killed leaves it
    assert runs.Run(run.folder).status == "failed"
    runs.ask_to_stop(run.folder)
    assert (runs.Run(run.folder).status, runs.Run(run.folder).manifest["error"]["text"]) == ("cancelled", "interrupted")
    again = open_run()
    assert (again.news, again.id) == ("continued", run.id)
    with again.working():
        list(again.progress.iterate(range(5), "think", 5))
    assert again.completed


def test_what_only_an_unfinished_run_needs_goes_when_it_is_completed(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, remove, seen = open_run(), files.remove, []
    spare = run.path("segments")
    spare.mkdir()

    def work(divisor: int) -> None:
        with run.working():
            run.remove_when_completed(spare)
            1 / divisor

    def noting(path: Path) -> None:
        if path == spare:
            seen.append(json.loads(run.path(runs.MANIFEST).read_text())["status"])
        remove(path)

    monkeypatch.setattr(files, "remove", noting)
    with pytest.raises(ZeroDivisionError):
        work(0)
    assert spare.is_dir()
    work(1)
    assert seen == ["completed"]
    assert not spare.exists()


def test_parts_of_dead_processes_go_at_the_next_use(outputs: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    name = f".a.{files.host()}-{dead.pid}-01234567.part.mp4"
    run = open_run()
    run.path("segments").mkdir()
    places = [outputs / name, run.path(name), run.path("segments") / name]
    for place in places:
        place.write_text("x")
    with open_run().working():
        pass
    assert not [place for place in places if place.exists()]


DAMAGES = {
    "cut in half": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "no table": lambda text: "[1, 2]",
    "other table": lambda text: '{"a": 1}',
    "later": lambda text: text.replace('"schema": 1', '"schema": 2'),
    "no status": lambda text: text.replace('"status"', '"state"'),
    "unknown status": lambda text: text.replace('"completed"', '"done"'),
    "settings a list": lambda text: json.dumps({**json.loads(text), "settings": [1]}),
    "numbers as text": lambda text: json.dumps({**json.loads(text), "seconds_total": "12", "peak_memory_bytes": "1"}),
    "error a text": lambda text: json.dumps({**json.loads(text), "error": "no"}),
    "inputs without hash": lambda text: json.dumps({**json.loads(text), "inputs": {"inputs": {}}}),
    "deep": lambda text: "[" * 100_000,
    "100 MB": lambda text: json.dumps({**json.loads(text), "notes": ["x" * 100_000_000]}),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_manifest_is_listed_and_stands_in_nobody_s_way(
    outputs: Path, damage: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = open_run(), open_run(result_version=2)
    for each in (run, other):
        with each.working():
            pass
    text = damage(run.path(runs.MANIFEST).read_text())
    run.path(runs.MANIFEST).write_text(text)
    assert [found.id for found in runs.list_runs()] == [other.id]
    assert main.main(["runs"]) == 0
    listed = capsys.readouterr().out
    assert f"{run.id}  damaged (manifest.json: " in listed
    assert f"{other.id}  completed" in listed
    assert "2 runs" in listed
    assert main.main(["runs", "compare", other.id, run.id]) == 1
    assert f"wanlab: {run.id}/manifest.json is damaged: " in capsys.readouterr().err
    again = open_run()
    assert again.news == "new"
    assert run.path(runs.MANIFEST).read_text() == text
    assert "is damaged: " in capsys.readouterr().out
    assert runs.find_run("latest").id == other.id


def test_the_same_kernel_cannot_work_twice_on_one_run(outputs: Path) -> None:
    run = open_run()
    with run.working(), pytest.raises(RuntimeError, match="this process works on it"), runs.Run(run.folder).working():
        pass
    assert runs.Run(run.folder).completed


def test_nothing_of_the_machine_is_in_a_manifest(outputs: Path) -> None:
    film = outputs.parent / "private" / "video.mp4"
    run = open_run(settings=GenerateSettings.build({"inputs": str(film), "output_path": str(film)}))
    with pytest.raises(ValueError, match="video"), run.working():
        raise ValueError(f"{film} and {config.project_root() / 'wanlab'} and {Path.home() / 'x'}")
    text = (run.folder / "manifest.json").read_text()
    assert str(config.project_root()) not in text
    assert str(Path.home()) + "/" not in text
    assert json.loads(text)["settings"]["inputs"] == "video.mp4"


def test_an_embedded_video_is_published_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Base64 holds every word of four letters by chance, `/usr` and `/tmp` among them."""
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    video = "AAAAIGZ0eXBpc29t" * 20 + "/usr/tmp+" + "Zz09" * 20
    text = f'"\\n/usr/lib/x.py" src="data:video/mp4;base64,{video}" /tmp/video.mp4'
    expected = f'"\\npython/lib/x.py" src="data:video/mp4;base64,{video}" …/video.mp4'
    assert runs.scrub(text, ["/tmp"]) == expected


def test_names_stay_inside_the_run_folder(outputs: Path) -> None:
    with pytest.raises(ValueError, match="must stay inside the run folder"):
        open_run().path("../../etc/passwd")


def test_outputs_below_a_regular_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("WANLAB_OUTPUTS", str(tmp_path / "file" / "outputs"))
    with pytest.raises(NotADirectoryError, match=r"must be a folder, but .*file is a file"):
        open_run()


def test_a_full_disk_leaves_the_old_manifest(outputs: Path) -> None:
    code = """
        import resource, signal, sys
        sys.path.insert(0, "tests/runs")
        import test_run
        run = test_run.open_run()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            run.save(notes=["x" * 5000])
        except OSError as error:
            print(error)
        print(run.folder)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        cwd=config.project_root(),
    )
    message, folder = done.stdout.splitlines()
    assert "disk full while writing manifest.json; free space and run again" in message
    assert runs.Run(Path(folder)).manifest["notes"] == []
    assert not list(Path(folder).glob("*.part"))


def test_latest_means_the_newest_completed_run(outputs: Path) -> None:
    with pytest.raises(FileNotFoundError, match="wanlab generate"):
        runs.find_run("latest", "generate")
    first = open_run()
    with first.working():
        pass
    open_run(result_version=2)  # newer, but not completed
    assert runs.find_run("latest", "generate").id == first.id
    assert runs.find_run(first.id).id == first.id
    with pytest.raises(FileNotFoundError, match=r"run must be a run's folder or id, got nonsense.*use latest, or one"):
        runs.find_run("nonsense")
    (outputs / "film.mp4").touch()
    (first.folder / "result.mp4").touch()
    with pytest.raises(
        FileNotFoundError, match=r"got .*film\.mp4, a file; use latest, or one that `wanlab runs` lists"
    ):
        runs.find_run(outputs / "film.mp4")
    with pytest.raises(FileNotFoundError, match=f"did you mean {first.id}"):
        runs.find_run(first.folder / "result.mp4")


def finished(**changes) -> runs.Run:
    run = open_run(**changes)
    with run.working():
        pass
    return run


@pytest.mark.parametrize("step_s", [0, -3600, 1], ids=["frozen", "set back", "going"])
def test_the_order_of_creation_needs_no_clock(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, step_s: int, capsys: pytest.CaptureFixture[str]
) -> None:
    times = [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)]

    def clock() -> datetime.datetime:
        times.append(times[-1] + datetime.timedelta(seconds=step_s))
        return times[-1]

    monkeypatch.setattr(run_module, "_clock", clock)
    made = [finished(result_version=version).id for version in (5, 1, 4, 2, 3)]
    again = [finished(result_version=5, fresh=True).id for _ in range(3)]
    assert [run.id for run in runs.list_runs()] == made + again
    assert runs.find_run("latest", "generate").id == open_run(result_version=5).id == again[-1]
    assert [line.split(" ")[0] for line, _ in manage.overview()] == made + again


def test_folders_that_were_copied_here_and_older_ones_have_their_place(outputs: Path) -> None:
    first, second = finished(), finished(result_version=2)
    copied = outputs / "20200101T000000_generate_copied"
    shutil.copytree(first.folder, copied)
    for folder, order in ((copied, 70), (second.folder, None)):
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest = {**manifest, "id": folder.name, "order": order}
        files.write_json(folder / "manifest.json", {k: v for k, v in manifest.items() if v is not None})
    third = finished(result_version=3)
    fourth = finished(result_version=4)
    assert [run.id for run in runs.list_runs()] == [second.id, first.id, copied.name, third.id, fourth.id]


def test_a_run_of_before_contents_counted_is_named_when_it_is_made_anew(outputs: Path) -> None:
    old = finished(models={"nano": "names and sizes"})
    manifest = json.loads((old.folder / "manifest.json").read_text())
    files.write_json(old.folder / "manifest.json", {name: manifest[name] for name in manifest if name != "order"})
    run = open_run()
    assert run.news == "new"
    assert run.manifest["notes"] == [
        "a run of an earlier wanlab has these settings; now all contents of inputs and weights count: this one is computed once more"
    ]
    assert open_run(models={"nano": "names and sizes"}).id == old.id


def test_two_processes_never_get_one_number(outputs: Path) -> None:
    code = "import sys; sys.path.insert(0, 'tests/runs'); import test_run; [test_run.open_run(fresh=True) for _ in range(8)]"
    command = [sys.executable, "-c", code]
    children = [subprocess.Popen(command, cwd=config.project_root()) for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    assert sorted(run.manifest["order"] for run in runs.list_runs()) == list(range(1, 25))


def test_what_a_run_makes_for_itself_is_not_the_latest(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    point = finished(result_version=2, made_for="the_sweep")
    with pytest.raises(FileNotFoundError, match=f"but {point.id}, made for the_sweep: name it to take it, or make one"):
        runs.find_run("latest", "generate")
    own = finished()
    assert open_run(made_for="the_sweep").manifest.get("made_for") is None  # it was there before
    newer = finished(result_version=3, made_for="the_sweep")
    assert runs.find_run("latest", "generate").id == own.id
    said = f"note: latest is {own.id}; {newer.id} is newer, but made for the_sweep: name it to take it"
    assert said in capsys.readouterr().out
    assert open_run(result_version=2).news == "reused"  # whoever asks for it has it as the newest
    assert runs.find_run("latest", "generate").id == runs.list_runs()[-1].id == point.id


def test_a_change_of_source_is_said(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_run().working():
        pass
    open_run()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(run_module, "source_hash", lambda: "other")
    assert open_run().news == "reused"
    assert "source has changed" in capsys.readouterr().out


def test_a_folder_that_is_being_made_or_removed_is_no_run_and_goes_with_its_process(outputs: Path) -> None:
    run = open_run()
    left = outputs / f".{run.id}.{files.host()}-999999999-0123abcd.part"  # no process has this number
    shutil.copytree(run.folder, left)
    assert [found.id for found in runs.list_runs()] == [run.id]
    assert open_run().id == run.id
    assert not left.exists()


def test_parts_of_a_killed_process_go_when_its_run_goes_on(outputs: Path) -> None:
    run = open_run()
    (run.folder / "segments").mkdir()
    for place in (run.folder, run.folder / "segments"):
        (place / f".000.{files.host()}-999999999-0123abcd.part.mkv").touch()
    with run.working():
        left = [path.name for path in run.folder.rglob("*") if files.is_part(path)]
        assert left == []


def test_what_a_process_that_was_killed_right_after_completion_left_goes(outputs: Path) -> None:
    run = open_run()
    with run.working():
        run.path("result.txt").write_text("done")
    (run.folder / runs.RESERVE).touch()
    (run.folder / runs.PROGRESS).touch()
    (run.folder / "segments").mkdir()
    again = open_run()
    again.tidy(run.folder / "segments")
    assert sorted(path.name for path in run.folder.iterdir()) == ["manifest.json", "result.txt", "run.lock"]
