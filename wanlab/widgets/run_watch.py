"""Watch a run while it works: what it foresees as a moving picture, how far it is, and buttons that end it.

All is read from the run's folder, so the widget attaches to whatever run is going on: this kernel's, or another process's.
The browser asks twice a second and is answered in a thread of its own; no image is sent where nobody looks.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from IPython.display import display

from wanlab import config, runs
from wanlab.runs import watching
from wanlab.steps import live_view
from wanlab.widgets import messages
from wanlab.widgets.stills import Talking, module


class RunWatch(Talking):
    """The run that is going on, of this kernel or of another process."""

    _protocol = messages.RUN_WATCH
    _esm = module("run_watch.js", protocol=_protocol, shared=("parts.js",))

    def __init__(self, step: str) -> None:
        """Take the step whose runs are looked for where this kernel works on none."""
        self._step = step
        self._guard = threading.RLock()  # messages come in a thread of their own
        self._run: Path | None = None  # the folder of the last one that was seen
        super().__init__()

    def received(self, kind: str, content: dict[str, Any]) -> None:
        """Answer one message of the browser."""
        with self._guard:
            if kind == "look":
                self._look(content["picture"])
            elif kind == "pause":
                watching.ask_to_pause(self._named(content["run"]))
            elif kind == "cancel":
                run = self._named(content["run"])
                if run.status == "running":
                    runs.ask_to_stop(_working_on(run).folder)
            else:
                super().received(kind, content)

    def _look(self, known: str) -> None:
        """Tell how far the run is; its picture, where that is another than the browser knows."""
        found = watching.find(self._step)
        if found is not None:
            self._run = found.folder
        if self._run is None or not (self._run / runs.MANIFEST).is_file():
            return self.tell("nothing")
        run = runs.Run(self._run)
        seen = watching.look(run)
        state = {name: value for name, value in seen._asdict().items() if name not in ("place", "points")}
        self.tell(
            "state",
            **state,
            place=dict(seen.place),
            points=list(seen.points),
            canPause=run.status == "running" and watching.can_pause(run),
            canCancel=run.status == "running",
            isHere=runs.working_here() is not None,
            where=config.shown(run.folder),
            seconds=float(run.manifest.get("seconds_total", 0.0)),
        )
        self._send_picture(self._run.parent / (seen.point or seen.run), known)
        return None

    def _send_picture(self, folder: Path, known: str) -> None:
        try:
            mark = f"{folder.name} {(folder / live_view.LIVE).stat().st_mtime_ns}"
        except OSError:
            return
        if mark == known or (found := live_view.read(folder)) is None:
            return
        facts = {"segment": found.segment, "step": found.step, "frames": len(found.frames), "fps": found.fps}
        self.tell("picture", id=mark, **facts, buffers=[(folder / live_view.LIVE).read_bytes()])

    def _named(self, run_id: str) -> runs.Run:
        return runs.Run(config.outputs_root() / Path(run_id).name)


def watch(step: str) -> None:
    """Show the widget that watches the runs of a step; headless, nothing.

    Args:
        step: preprocess, inspect, generate, sweep or report.
    """
    if not config.headless():
        display(RunWatch(step))


def _working_on(run: runs.Run) -> runs.Run:
    """Return the run whose steps are to end: of a sweep its point."""
    seen = watching.look(run)
    return runs.Run(run.folder.parent / seen.point) if seen.point else run
