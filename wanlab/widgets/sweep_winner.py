"""The winner of a sweep in JupyterLab: what is starred in 40_sweep's grid becomes a file, and a report is made of it.

sweep_winner(run)      # below the grid, whose stars it hears of; headless it shows nothing
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import traitlets
from IPython.display import display

from wanlab import config, runs
from wanlab.results import compare, winner
from wanlab.runs.page import REPORT
from wanlab.widgets import messages, stills


def sweep_winner(run: runs.Run) -> None:
    """Show which point of a sweep is starred, and a button that makes a report; nothing where nobody looks.

    Args:
        run: the sweep.
    """
    if not os.environ.get("WANLAB_HEADLESS"):
        display(SweepWinner(run))


class SweepWinner(stills.Talking):
    """The winner of a sweep, and its report.

    Attributes:
        key: of the grid whose stars are meant.
    """

    _protocol = messages.SWEEP_WINNER
    _esm = stills.module("sweep_winner.js", protocol=_protocol, shared=("parts.js",))
    key = traitlets.Unicode().tag(sync=True)

    def __init__(self, run: runs.Run) -> None:
        """Take the sweep."""
        self._run, self._job, self._text = run, None, ""
        self._report: Path | None = None
        super().__init__(key=run.id)

    def received(self, kind: str, content: dict[str, Any]) -> None:
        """Keep a star, or make a report."""
        if kind == "star":
            winner.write(self._run, content["number"])
        elif kind == "report" and not self._working():
            self._job = threading.Thread(target=self._make, args=(content["full"],), daemon=True)
            self._job.start()
        elif kind == "page" and self._report is not None:
            self.tell("page", buffers=[self._report.read_bytes()])
            return
        self._tell_state()

    def _make(self, full: bool) -> None:
        """Make a report as the command does, in a process of its own: this kernel keeps the model."""
        words = ["report", "--run", self._run.id, *(["--full"] if full else [])]
        self._text = "The report is being made: about ten seconds."
        self._tell_state()
        done = subprocess.run([sys.executable, "-m", "wanlab.cli", *words], capture_output=True, text=True, check=False)
        made = [run for run in runs.list_runs("report") if self._run.id in run.manifest["parents"]]
        self._report = made[-1].folder / REPORT if done.returncode == 0 and made else None
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        self._text = "" if self._report else "; ".join(("the report was not made", *said))
        self._job = None
        self._tell_state()

    def _working(self) -> bool:
        return self._job is not None and self._job.is_alive()

    def _tell_state(self) -> None:
        number = winner.read(self._run)
        title = "" if number is None else compare.title(self._run.manifest["points"][number - 1])
        place, root = self._report, config.project_root()
        self.tell(
            "state",
            number=number,
            title=title,
            working=self._working(),
            text=self._text,
            report="" if place is None else config.shown(place),
            file=place.relative_to(root).as_posix() if place and place.is_relative_to(root) else None,
        )
