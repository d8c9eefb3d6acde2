"""Progress: a line, a word for other processes, and the end that is asked for."""

from __future__ import annotations

import json
import threading
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from wanlab import runs


def test_a_line_is_printed_and_a_word_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = runs.Progress(tmp_path)
    for n in progress.iterate(range(3), "read", 3):
        word = json.loads((tmp_path / runs.PROGRESS).read_text())
        assert (word["what"], word["done"], word["total"], n < 3) == ("read", 0, 3, True)  # at most one a second
    assert "read: 100%" in capsys.readouterr().out
    progress.update("step", 1, 4, text="segment 1/2 step 2/4", unit="step")
    assert json.loads((tmp_path / runs.PROGRESS).read_text())["what"] == "step"
    progress.finish("step")
    assert "segment 1/2 step 2/4: 100%" in capsys.readouterr().out
    progress.update("loading", 0, 0)
    progress.update("script", 1, 2, line=False)
    assert capsys.readouterr().out == ""


def test_lines_within_each_other_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """JupyterLab knows no way up: each update of a line below another was a line of its own."""
    progress = runs.Progress()
    for number in range(3):
        progress.update("chains", number, 3)
        for frame in progress.iterate(range(5), "segment", 5):
            assert frame < 5
    progress.finish("chains")
    said = capsys.readouterr().out
    assert "\x1b[A" not in said
    assert said.count("\n") == 4


def test_the_end_that_is_asked_for_comes_before_the_next_item(tmp_path: Path) -> None:
    progress, done = runs.Progress(tmp_path), []
    items = progress.iterate(range(5), "read", 5)
    done += [next(items), next(items)]
    (tmp_path / runs.CANCEL).touch()
    with pytest.raises(KeyboardInterrupt):
        next(items)
    assert (done, progress.cancelled) == ([0, 1], True)
    progress.close()


def test_an_event_ends_the_work_of_a_widget() -> None:
    stop, heard = threading.Event(), []
    progress = runs.Progress(watch=lambda *word: heard.append(word), stop=stop)
    items = progress.iterate("abc", "mask", 3)
    assert next(items) == "a"
    stop.set()
    with pytest.raises(CancelledError):
        next(items)
    assert heard == [("mask", 0, 3), ("mask", 1, 3)]
