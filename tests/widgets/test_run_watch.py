"""The widget that watches a run: what the kernel answers, and what the browser shows and asks for."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wanlab import config, runs
from wanlab.runs import watching
from wanlab.steps import live_view
from wanlab.widgets import run_watch
from wanlab.widgets.run_watch import RunWatch

PLACE = {"segment": 2, "segments": 3, "step": 4, "steps": 20}
COLOURS = (230, 40, 40), (40, 200, 40), (40, 40, 230)


def put_picture(run: runs.Run) -> None:
    """Write a moving picture of three frames, each in a colour of its own."""
    frames = np.concatenate([np.full((40, 60, 3), colour, np.uint8) for colour in COLOURS])
    facts = '{"frames": 3, "segment": 1, "step": 3, "fps": 8}'
    Image.fromarray(frames).save(run.folder / live_view.LIVE, "JPEG", quality=95, comment=facts)


@pytest.fixture
def running(outputs: Any) -> Iterator[runs.Run]:
    """Yield a generation in its second segment that this process works on, with a picture."""
    run = runs.open_run("generate", config.GenerateSettings.build({}), inputs={}, models={}, result_version=1)
    with run.working():
        run.progress.update("step", 23, 60, line=False, more={**PLACE, "gpu_bytes": 3 * 2**30})
        put_picture(run)
        yield run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[dict[str, Any], list[bytes]]]]:
    """Return what asks a widget something and returns its answers."""

    def ask(widget: RunWatch, kind: str, **content: Any) -> list[tuple[dict[str, Any], list[bytes]]]:
        said: list[tuple[dict[str, Any], list[bytes]]] = []
        monkeypatch.setattr(widget, "send", lambda message, buffers=(): said.append((message, list(buffers))))
        widget._handle_custom_msg({"kind": kind, **content}, [])
        return said

    return ask


def test_the_run_of_this_kernel_is_seen_with_its_picture_once(running: runs.Run, asked: Any) -> None:
    widget = RunWatch("preprocess")  # of another step: what this kernel does comes first
    (state, _), (picture, buffers) = asked(widget, "look", picture="")
    assert (state["run"], state["status"], state["place"], state["isHere"]) == (running.id, "running", PLACE, True)
    assert (state["canPause"], state["is_pausing"], state["gpu_bytes"]) == (True, False, 3 * 2**30)
    assert {name: picture[name] for name in ("frames", "fps", "segment", "step")} == {
        "frames": 3, "fps": 8.0, "segment": 1, "step": 3,
    }  # fmt: skip
    assert Image.open(io.BytesIO(buffers[0])).size == (60, 120)
    assert [message["kind"] for message, _ in asked(widget, "look", picture=picture["id"])] == ["state"]


def test_stop_and_cancel_leave_their_word_in_the_run_s_folder(running: runs.Run, asked: Any) -> None:
    widget = RunWatch("generate")
    assert asked(widget, "pause", run=running.id) == []
    assert running.progress.pausing
    assert asked(widget, "look", picture="")[0][0]["is_pausing"]
    assert asked(widget, "cancel", run=running.id) == []
    assert running.progress.cancelled


def test_a_run_of_another_process_is_found_and_its_end_is_told(
    outputs: Any, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    widget = RunWatch("generate")
    assert asked(widget, "look", picture="")[0][0] == {"kind": "nothing"}
    run = runs.open_run("generate", config.GenerateSettings.build({}), inputs={}, models={}, result_version=1)
    with run.working():
        monkeypatch.setattr(watching, "working_here", lambda: None)
        assert asked(widget, "look", picture="")[0][0]["run"] == run.id
        assert asked(RunWatch("sweep"), "look", picture="")[0][0] == {"kind": "nothing"}
    state = asked(widget, "look", picture="")[0][0]
    assert (state["run"], state["status"], state["where"]) == (run.id, "completed", f"outputs/{run.id}")
    error = asked(widget, "pause", run=run.id)[0][0]
    assert "must be running to be stopped, got completed" in error["text"]


def test_of_a_sweep_the_point_is_cancelled(outputs: Any, asked: Any) -> None:
    sweep = runs.open_run("sweep", config.SweepSettings.build({}), inputs={}, models={}, result_version=1)
    point = runs.open_run("generate", config.GenerateSettings.build({}), inputs={}, models={}, result_version=1)
    with sweep.working(), point.working():
        sweep.save(points=[{"values": {}, "status": "pending", "run": point.id}])
        put_picture(point)
        (state, _), (picture, _) = asked(RunWatch("sweep"), "look", picture="")
        assert (state["run"], state["points"], picture["frames"]) == (sweep.id, [0, 1], 3)
        asked(RunWatch("sweep"), "cancel", run=sweep.id)
        assert point.progress.cancelled
        runs.Run(point.folder).path(runs.CANCEL).unlink()


def test_headless_there_is_no_widget(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WANLAB_HEADLESS", "1")
    run_watch.watch("generate")
    assert capsys.readouterr().out == ""


@pytest.mark.browser
def test_the_browser_shows_where_the_run_is_and_stops_it(running: runs.Run, mount: Any, shoot: Any) -> None:
    page = mount(RunWatch("generate"), width=700, height=260)
    page.get_by_text("generate · segment 2 of 3 · step 4 of 20").wait_for()
    assert "3.0 GiB on the GPU" in page.locator(".wl-facts").inner_text()
    colours = "() => [...document.querySelector('canvas').getContext('2d').getImageData(9, 9, 1, 1).data].slice(0, 3)"
    page.locator("canvas").wait_for()
    seen: set[int] = set()
    for _ in range(40):
        colour = page.evaluate(colours)
        seen.add(int(np.argmin([np.abs(np.subtract(colour, each)).sum() for each in COLOURS])))
        if len(seen) == 3:
            break
        page.wait_for_timeout(30)
    assert seen == {0, 1, 2}  # it moves
    shoot(page, "run_watch")
    page.get_by_role("button", name="Stop after this segment").click()
    page.get_by_text("stops after this segment").wait_for()
    assert running.progress.pausing
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("ends after the current step").wait_for()
    assert running.progress.cancelled
    later = mount(RunWatch("generate"), width=700, height=260, dark=True)  # a view that comes later
    later.get_by_text("generate · segment 2 of 3 · step 4 of 20").wait_for()
    later.locator("canvas").wait_for()
    shoot(later, "run_watch_dark")
