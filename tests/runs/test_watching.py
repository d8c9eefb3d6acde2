"""How far a run is, read from its folder, and the end after a part that others ask for."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wanlab import config, runs
from wanlab.runs import watching


def opened(step: str = "generate", **more: Any) -> runs.Run:
    model = config.NOTEBOOKS[step][1]
    return runs.open_run(step, model.build({}), inputs={}, models={}, result_version=1, fresh=True, **more)


@pytest.fixture
def running(outputs: Path) -> Iterator[runs.Run]:
    """Yield a generation that this process works on."""
    run = opened()
    with run.working():
        yield run
        run.stop_here()


PLACE = {"segment": 2, "segments": 3, "step": 4, "steps": 20}


def test_a_generation_tells_segment_step_time_and_memory(running: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    running.progress.update("step", 20, 60, unit="step", line=False, more={**PLACE, "gpu_bytes": 7})
    now[0] += 46
    running.progress.update("step", 23, 60, unit="step", line=False, more={**PLACE, "gpu_bytes": 7})
    now[0] += 4
    seen = watching.look(runs.Run(running.folder))
    assert (seen.what, seen.done, seen.total, seen.place) == ("step", 23, 60, PLACE)
    assert seen.left_s == pytest.approx(46 / 23 * 37 - 4)  # of the time since its last word
    assert seen.memory_bytes > 10 * 2**20
    assert seen.gpu_bytes == 7
    assert seen.words() == "running, segment 2 of 3, step 4 of 20, about 70 s left"


def test_what_a_word_does_not_say_is_left_out(running: runs.Run) -> None:
    assert watching.look(running).words() == "running"
    for text in ("", "[]", "7", '{"what": "x"}', '{"what": 1, "done": "a", "total": 1e400}', "[" * 100_000):
        running.path(runs.PROGRESS).write_text(text)
        assert watching.look(running).words() == "running"
    word = {"what": "read", "done": 0, "total": 9, "seconds": 0.0}  # as an older wanlab wrote it
    running.path(runs.PROGRESS).write_text(json.dumps(word))
    assert watching.look(running).words() == "running, read 0 of 9"


def test_a_sweep_is_where_its_point_is(outputs: Path) -> None:
    sweep = opened("sweep")
    with sweep.working():
        states = ("completed", "pending", "pending")
        sweep.save(points=[{"values": {"seed": n}, "status": status} for n, status in enumerate(states)])
        assert watching.look(sweep).words() == "running, 1 of 3 points"
        point = opened(made_for=sweep.id)
        sweep.manifest["points"][1]["run"] = point.id
        with point.working():
            point.progress.update("step", 1, 60, line=False, more=PLACE)
            seen = watching.look(sweep)
            assert (seen.run, seen.step, seen.point) == (sweep.id, "sweep", point.id)
            assert seen.words().startswith("running, 1 of 3 points, segment 2 of 3, step 4 of 20")
            watching.ask_to_pause(sweep)
            assert watching.look(sweep).is_pausing
            assert sweep.progress.pausing
            assert not point.progress.pausing
    assert not (sweep.folder / runs.PAUSE).exists()


def test_what_is_shown_to_a_reader_is_seen_meanwhile(outputs: Path) -> None:
    run = opened("report")
    with run.working():
        run.stop_here()
    with run.showing("videos"):
        assert watching.find("report") is run
        assert watching.look(runs.Run(run.folder)).words() == "running, videos"
    assert watching.look(runs.Run(run.folder)).words() == "begun"
    assert not run.path(runs.PROGRESS).exists()


def test_a_run_that_ended_says_how(outputs: Path) -> None:
    run = opened()
    assert watching.look(run).words() == "pending"
    run.keep("2 of 5 segments")
    with pytest.raises(ValueError, match="first"), run.working():
        raise ValueError("first line\nsecond")
    assert watching.look(runs.Run(run.folder)).words() == "failed, first line, kept: 2 of 5 segments"


def test_what_cannot_stop_in_between_is_not_asked(running: runs.Run, outputs: Path) -> None:
    watching.ask_to_pause(running)
    assert running.progress.pausing
    with pytest.raises(RuntimeError, match="must be running to be stopped, got pending; nothing to do"):
        watching.ask_to_pause(opened())
    running.manifest["settings"]["backend"] = "wan22"
    assert not watching.can_pause(running)
    step = opened("preprocess")
    with (
        pytest.raises(RuntimeError, match="must be a generation by wanlab, or a sweep, to end after a part"),
        step.working(),
    ):
        watching.ask_to_pause(step)


def test_a_process_that_died_is_not_running(outputs: Path) -> None:
    run = opened()
    run.save(status="running")
    (run.folder / runs.LOCK).write_text(json.dumps({"pid": 2**22 + os.getpid(), "host": "elsewhere"}))
    os.utime(run.folder / runs.LOCK, (0, 0))
    assert watching.look(runs.Run(run.folder)).words() == f"failed, {runs.DIED}"
