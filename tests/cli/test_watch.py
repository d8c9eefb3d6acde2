"""`wanlab runs watch`: lines for a log, one line and a moving picture in a terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wanlab import config, runs
from wanlab.cli import main, watch
from wanlab.runs import watching
from wanlab.steps import live_view


@pytest.fixture
def watched(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> runs.Run:
    """Return a running generation that goes a step further at each look, and ends after three."""
    run = runs.open_run("generate", config.GenerateSettings.build({}), inputs={}, models={}, result_version=1)
    work = run.working()
    work.__enter__()
    run.progress.update("step", 0, 9, line=False, more={"segment": 1, "segments": 1, "step": 1, "steps": 9})
    looks, original = list[runs.Run](), watching.look

    def look(looked_at: runs.Run) -> watching.Watched:
        looks.append(looked_at)
        if len(looks) == 3:
            work.__exit__(None, None, None)
        return original(runs.Run(run.folder))

    monkeypatch.setattr(watching, "look", look)
    monkeypatch.setattr(watch, "EVERY_S", 0.01)
    return run


def test_lines_tell_how_far_it_is_until_it_ends(watched: runs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["runs", "watch"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{watched.id}: running, segment 1 of 1, step 1 of 9, ")
    assert first.endswith(" GiB memory")
    assert last == f"{watched.id}: completed"
    assert main.main(["runs", "watch", watched.id]) == 0
    assert main.main(["runs", "watch"]) == 2
    assert "no run works, nothing to watch" in capsys.readouterr().err


def test_a_terminal_shows_the_moving_picture(watched: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    picture = np.zeros((2 * watch.ROWS, 20, 3), np.uint8)
    picture[1::2] = (200, 100, 50)
    facts = '{"frames": 1, "segment": 0, "step": 0, "fps": 4}'
    Image.fromarray(picture).save(watched.folder / live_view.LIVE, "JPEG", quality=100, subsampling=0, comment=facts)
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main.main(["runs", "watch"]) == 0
    rows = [line for line in screen.getvalue().split("\n") if "▀" in line]
    assert len(rows) >= watch.ROWS
    assert rows[0].count("▀") == 20
    assert f"\x1b[{watch.ROWS}A" in screen.getvalue()  # the next one is drawn over it
    monkeypatch.setenv("NO_COLOR", "1")
    assert not watch._is_coloured()


def test_a_run_s_end_after_its_segment_is_asked_for(watched: runs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["runs", "cancel", "--after-segment", watched.id]) == 0
    assert "stops after its segment" in capsys.readouterr().out
    assert watched.progress.pausing
    assert main.main(["runs", "watch"]) == 0
