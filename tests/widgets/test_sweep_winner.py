"""A star of the grid becomes a file beside the sweep, which the report reads; the report is made by the command."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wanlab import config, files, runs
from wanlab.results import winner
from wanlab.runs.page import REPORT
from wanlab.widgets import sweep_winner

STAR = "(detail) => document.dispatchEvent(new CustomEvent('wanlab-star', { detail }))"


@pytest.fixture
def sweep(outputs: Path) -> runs.Run:
    run = runs.open_run("sweep", config.SweepSettings.build({}), inputs={}, models={}, result_version=1)
    run.save(points=[{"values": {"shift": n}, "run": f"run_{n}", "status": "completed"} for n in (3, 5)])
    return run


def test_a_star_is_kept_and_can_be_taken_back(sweep: runs.Run) -> None:
    assert winner.read(sweep) is None
    winner.write(sweep, 2)
    assert winner.read(runs.Run(sweep.folder)) == 2
    assert '"run_5"' in (sweep.folder / winner.WINNER).read_text()
    winner.write(sweep, None)
    assert winner.read(sweep) is None
    with pytest.raises(ValueError, match="winner must be a point of the sweep, 1 to 2, got 3"):
        winner.write(sweep, 3)
    (sweep.folder / winner.WINNER).write_text('{"point": 9')
    assert winner.read(sweep) is None


@pytest.mark.browser
def test_three_clicks_from_a_sweep_to_its_report(
    sweep: runs.Run, mount: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The star in the grid (1), the report (2), and opening it (3); the report lies outside the server's folder here."""
    asked = []

    def make(command: list[str], **_: Any) -> subprocess.CompletedProcess:
        asked.append(command[3:])
        made = runs.open_run(
            "report", config.ReportSettings.build({}), inputs={}, models={}, result_version=1, parents=(sweep.id,)
        )
        files.write_text(made.folder / REPORT, "<h1>Das Ergebnis: größer</h1>")
        return subprocess.CompletedProcess(command, 0, "", "")

    page = mount(sweep_winner.SweepWinner(sweep))
    monkeypatch.setattr(sweep_winner.subprocess, "run", make)
    page.get_by_text("No winner yet").wait_for()
    page.evaluate("document.addEventListener('wanlab-starred', ({ detail }) => { window.told = detail; })")
    page.evaluate(STAR, {"key": "another sweep", "number": 1})
    page.evaluate(STAR, {"key": sweep.id, "number": 2})
    page.get_by_text("★ Winner: 2 · shift 5").wait_for()
    assert winner.read(sweep) == 2
    assert page.evaluate("window.told") == {"key": sweep.id, "number": 2}
    page.get_by_label("with the full videos").check()
    page.get_by_role("button", name="Make the report").click()
    with page.expect_popup() as opened:
        page.get_by_text("Open the report").click()
    assert opened.value.get_by_role("heading").inner_text() == "Das Ergebnis: größer"
    assert asked == [["report", "--run", sweep.id, "--full"]]


@pytest.mark.browser
def test_a_report_that_fails_says_why(
    sweep: runs.Run, mount: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = mount(sweep_winner.SweepWinner(sweep))
    failed = subprocess.CompletedProcess([], 1, "", "wanlab: disk full while writing\n")
    monkeypatch.setattr(sweep_winner.subprocess, "run", lambda *_, **__: failed)
    page.get_by_role("button", name="Make the report").click()
    page.get_by_text("the report was not made; wanlab: disk full while writing").wait_for()
    assert not page.get_by_text("Open the report").is_visible()
